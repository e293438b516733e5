"""Every transcendental gets a node of its own, so that its adjoint reads its output instead of computing it again.

In: nodes as the user wrote them, after `stabilize`. Out: the same values; `branches` and `differentiate` come next, and
the schedule fuses the pieces back.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeGuard

from gradgen.graph.nodes import Compute, Node, all_inputs, compute, pointwise
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    FloorDiv,
    Load,
    Poly,
    Scalar,
    load,
    position,
    positions_of,
    substitute,
    walk,
)
from gradgen.graph.shared import shared_integer
from gradgen.passes.inline import at, is_pointwise
from gradgen.passes.substitute import map_nodes

__all__ = ["split", "split_operations"]

_TRANSCENDENTAL = 10.0  # from this cost on, computing a value again is dearer than reading it


def split(roots: Sequence[Node], keep: frozenset[Node] = frozenset()) -> list[Node]:
    """f(x[i]) inside a larger body becomes F[i] with F[i] = f(x[i]), for every expensive f that is always evaluated.

    Branches of `where` are left alone (they may not be evaluated at all), and so is what reads no tensor. Nodes in
    `keep` stay as they are, with everything below them: they are what a gradient is taken by.
    """
    return map_nodes(
        roots,
        lambda n: None if n in keep else _split_node(n, is_transcendental),
        lambda n: () if n in keep else all_inputs(n),
    )


def split_operations(roots: Sequence[Node]) -> list[Node]:
    """Every operation on elements of tensors becomes a node, as if each had been written on a line of its own.

    A sum of products is one operation. Branches of `where` are left alone here too, and so is what adds into computed
    subscripts.
    """

    def change(node: Node) -> Node | None:
        return _split_node(node, _is_operation) if isinstance(node, Compute) and node.gathers else None

    return map_nodes(roots, change)


def share_integers(roots: Sequence[Node]) -> list[Node]:
    """An integer that a formula computes once and reads several times becomes a node, so that it is written once.

    Only what is evaluated in any case, or reads nothing and divides by nothing that could be 0.
    """
    return map_nodes(roots, _with_shared_integers)


def _with_shared_integers(node: Node) -> Node | None:
    if not isinstance(node, Compute):
        return None
    body = node.body
    while (x := shared_integer(body, partial(_is_computed, always_evaluated(body)))) is not None:
        body = substitute(body, {}, {x: _node_of(x, node.extents)})
    return None if body is node.body else compute(node.shape, node.extents, node.target, node.reducer, body)


def _is_computed(evaluated: set[Scalar], x: Scalar) -> bool:
    """Whether a part may be computed for every position that it mentions."""
    return bool(positions_of(x)) and (
        x in evaluated or not any(isinstance(part, Load) or _may_fail(part) for part in walk(x))
    )


def _may_fail(x: Scalar) -> bool:
    """Whether an integer is divided by something that is no number."""
    if isinstance(x, Call):
        return x.function.name in ("floordiv", "mod")
    return isinstance(x, Poly) and any(isinstance(a, FloorDiv) and a.denominator.constant is None for a in x.atoms)


def _split_node(node: Node, apart: Callable[[Scalar], bool]) -> Node | None:
    if not isinstance(node, Compute):
        return None
    body = node.body
    while (x := _innermost(body, is_pointwise(node) or _is_product(body), apart)) is not None:
        body = substitute(body, {}, {x: _node_of(x, node.extents)})
    return None if body is node.body else compute(node.shape, node.extents, node.target, node.reducer, body)


def _innermost(body: Scalar, whole_stays: bool, apart: Callable[[Scalar], bool]) -> Scalar | None:
    """The first part of a body that goes apart and has none inside it; log(1 + exp(x)) gives the one for exp."""
    evaluated = always_evaluated(body)
    found = (x for x in walk(body) if x in evaluated and apart(x) and not (whole_stays and x is body))
    return next(found, None)


def _node_of(x: Scalar, extents: Sequence[Poly]) -> Load:
    """The access of a new pointwise node over exactly the positions that an expression mentions."""
    used = positions_of(x)
    places = [position(0)] * (max(used, default=-1) + 1)
    for new, old in enumerate(used):
        places[old] = position(new)
    return load(pointwise([extents[k] for k in used], at(x, places)), [position(k) for k in used])


def _is_product(x: Scalar) -> bool:
    """Whether it is a product of two accesses: with the sum over it, one operation."""
    return isinstance(x, Call) and x.function.name == "mul" and all(isinstance(a, Load) for a in x.arguments)


def is_transcendental(x: Scalar) -> bool:
    return _is_operation(x) and x.dtype in FLOATS and x.function.cost >= _TRANSCENDENTAL


def _is_operation(x: Scalar) -> TypeGuard[Call]:
    return isinstance(x, Call) and any(isinstance(part, Load) for part in walk(x))


def always_evaluated(root: Scalar) -> set[Scalar]:
    """The parts of an expression that no `where`, `and` or `or` can skip; subscripts are not looked into."""
    found: set[Scalar] = set()
    stack = [root]
    while stack:
        x = stack.pop()
        if x in found:
            continue
        found.add(x)
        if isinstance(x, Call):
            lazy = x.function.name in ("where", "and", "or")
            stack.extend(x.arguments[:1] if lazy else x.arguments)
        elif isinstance(x, Poly):
            stack.extend(x.parts)
    return found
