"""Simplify: copies composed away, conditions decided, masks outermost, factors out of sums, equal scans merged.

In: nodes after `derive`. Out: nodes with the same values (nan, infinity and -0.0 included; a value under a
condition on indices that fails is no value); `contract` and `gather` come next. Value numbering is interning.
"""

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

from gradgen.graph.accesses import ranges_of
from gradgen.graph.nodes import Compute, Node, compute, pointwise
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Poly,
    Scalar,
    call,
    conjuncts,
    integer,
    is_zero,
    position,
    position_atom,
    require_poly,
    substitute,
)
from gradgen.machine import machine
from gradgen.passes.rebuild.conditions import fold_conditions, mask_of, normal_where
from gradgen.passes.rebuild.formulas import map_formulas
from gradgen.passes.rewrite.algebra import simplify_algebra
from gradgen.passes.rewrite.copies import compose_copies
from gradgen.passes.rewrite.factors import pull_out_factors
from gradgen.passes.rewrite.merge_scans import merge_scans

__all__ = ["simplify"]

_ROUNDS = 8
_simple: WeakKeyDictionary[Compute, set[tuple[object, ...]]] = WeakKeyDictionary()


def simplify(roots: Sequence[Node]) -> list[Node]:
    """Rewrite until nothing changes."""
    current = list(roots)
    for _ in range(_ROUNDS):
        new = merge_scans(map_formulas(current, _simplified))
        if all(a is b for a, b in zip(new, current, strict=True)):
            break
        current = new
    return current


def _simplified(node: Compute, lengths: Mapping[int, Poly]) -> Node:
    """The formula in normal form. One that is found so is remembered: rounds and later calls meet it again."""
    around = (machine().composed, *lengths.items())
    simple = _simple.setdefault(node, set())
    if around in simple:
        return node
    new = _rewritten(node, lengths)
    if new is node:
        simple.add(around)
    return new


def _rewritten(node: Compute, lengths: Mapping[int, Poly]) -> Node:
    body = compose_copies(node.body)
    ranges = ranges_of(node.extents, lengths)
    for _ in range(_ROUNDS):
        new = fold_conditions(normal_where(simplify_algebra(body)), ranges)
        if new is body:
            break
        body = new
    if node.dtype in FLOATS and body.dtype != node.body.dtype:
        body = call(node.dtype, body)  # a weak 0, say, is all that is left
    if not node.gathers and node.reducer == "sum" and is_zero(body):
        return pointwise(node.shape, body)
    target = [require_poly(compose_copies(t)) for t in node.target]
    new_node = _pinned(without_single_terms(compute(node.shape, node.extents, target, node.reducer, body)))
    if isinstance(new_node, Compute):
        pulled = pull_out_factors(new_node)
        if pulled is not None:
            return pulled
    return new_node


def _pinned(node: Node) -> Node:
    """sum_n (x[n] if 4 <= n < 5 else 0) -> x[4]: a reduced position that the mask leaves one value has this value."""
    if not isinstance(node, Compute) or not node.gathers or node.reducer != "sum" or node.dtype not in FLOATS:
        return node
    mask = mask_of(node.body)
    if mask is None or mask[1].dtype != node.dtype:
        return node
    conditions = conjuncts(mask[0])
    found = {k: value for k in node.reduced if (value := _only_value(k, node.extents[k], conditions)) is not None}
    if not found:
        return node
    kept = [k for k in range(len(node.extents)) if k not in found]
    places = {position_atom(k): position(new) for new, k in enumerate(kept)}
    places |= {position_atom(k): integer(value) for k, value in found.items()}
    body = substitute(node.body, places)
    extents = [node.extents[k] for k in kept]
    if len(extents) > len(node.shape):
        return compute(node.shape, extents, node.target, "sum", body)
    return pointwise(node.shape, body if body.dtype == node.dtype else call(node.dtype, body))


def _only_value(k: int, extent: Poly, conditions: Sequence[Scalar]) -> int | None:
    """The one number that a position can be where all of the conditions hold, if that is known and inside."""
    if extent.constant is None:
        return None
    low, high = 0, extent.constant - 1
    for condition in conditions:
        match condition:
            case Call(function=f, arguments=(Poly() as p, Poly())) if f.name in ("ge", "eq"):
                at = position(k)
                below, above = require_poly(at - p).constant, require_poly(p + at).constant
                if below is not None:  # k - below >= 0
                    low, high = max(low, below), min(high, below) if f.name == "eq" else high
                elif above is not None:  # above - k >= 0
                    low, high = max(low, above) if f.name == "eq" else low, min(high, above)
    return low if low == high and extent.constant > 1 else None


def without_single_terms(node: Node) -> Node:
    """reduce over i < 1 of x[i] -> x[0]"""
    if not isinstance(node, Compute) or not node.gathers or node.dtype not in FLOATS:
        return node
    kept = [k for k, extent in enumerate(node.extents) if k < len(node.shape) or extent.constant != 1]
    if len(kept) == len(node.extents):
        return node
    places = {position_atom(k): position(kept.index(k)) if k in kept else integer(0) for k in node.reduced}
    body = substitute(node.body, places)
    extents = [node.extents[k] for k in kept]
    if len(extents) > len(node.shape):
        return compute(node.shape, extents, node.target, node.reducer, body)
    return pointwise(node.shape, body if body.dtype == node.dtype else call(node.dtype, body))
