"""logsumexp written with the reducers that loops have: a maximum, sums of exponentials, a logarithm.

In: gathered nodes, after differentiation (whose rule reads the result of logsumexp). Out: nodes for `contract`. A
softmax divides the exponentials of that sum by it, and computes no others; what would cancel is for `cancellation`.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import permutations

from gradgen.graph.accesses import guarded
from gradgen.graph.nodes import Compute, Node, all_inputs, compute, identity, pointwise, toposort
from gradgen.graph.origin import carry_origin, name_part
from gradgen.graph.scalar import Call, Load, Poly, Scalar, call, load, number, position, position_atom, substitute
from gradgen.passes.prepare.cancellation import Share, Shifted, without_cancellation
from gradgen.passes.rebuild.conditions import conjunction
from gradgen.passes.rebuild.nodes import map_nodes, replace_nodes
from gradgen.passes.rebuild.rewrites import Rewrite


def lower_reducers(roots: Sequence[Node], skip: frozenset[str] = frozenset()) -> tuple[list[Node], list[Rewrite]]:
    """Every logsumexp by its parts; exp(x_i - logsumexp_j(x_j)) = terms_i / total, the terms computed once.

    With "cancel" in `skip`, sums stay as they are.
    """
    lowered: dict[Node, Shifted] = {}
    shares: dict[Node, Share] = {}

    def change(node: Node) -> Node | None:
        if not isinstance(node, Compute):
            return None
        if node.reducer == "logsumexp":
            parts = shifted_logsumexp(node)
            lowered[parts.result] = parts
            return parts.result
        share = _as_share(node, lowered)
        if share is not None:
            shares[share.node] = share
            return share.node
        return None

    new, records = map_nodes(roots, change), list[Rewrite]()
    if "cancel" not in skip:
        new, records = without_cancellation(new, lowered, shares)
    used = set(toposort(new, all_inputs)) if lowered else set()
    both = {p.total: _sum_of_both(p) for p in lowered.values() if p.total in used and p.rest in used}
    return (replace_nodes(new, both) if both else new), records


def shifted_logsumexp(node: Compute) -> Shifted:
    """logsumexp x = shift + log1p(rest), shift = max x where that is finite, else 0 (so inf and nan survive).

    The terms are exp(x - shift), and rest is their sum less 1, the greatest of them: log1p keeps of it what a sum that
    is near 1 would have lost.
    """
    highest = compute(node.shape, node.extents, node.target, "max", node.body)
    top = identity(highest)
    finite = call("lt", call("abs", top), number(math.inf))
    shift = pointwise(node.shape, call("where", finite, top, number(0)))
    conditions, x = ([], node.body) if node.gathers else guarded(node.body, node.reducer)
    term = call("exp", call("sub", x, load(shift, node.target)))
    terms = pointwise(node.extents, call("where", conjunction(conditions), term, number(0)) if conditions else term)
    term = identity(terms)
    is_one = call("eq", term, number(1))

    def summed(body: Scalar) -> Node:
        added = call("where", conjunction(conditions), body, number(0)) if conditions else body
        return compute(node.shape, node.extents, node.target, "sum", added)

    others = summed(call("where", is_one, number(0), term))
    ones = summed(call(node.dtype, call("where", is_one, number(1), number(0))))
    rest = pointwise(node.shape, call("difference", identity(others), call("sub", number(1), identity(ones))))
    tail = pointwise(node.shape, call("log1p", identity(rest)))
    result = pointwise(node.shape, call("add", identity(shift), identity(tail)))
    parts = Shifted(node, shift, terms, summed(term), others, ones, rest, tail, result)
    carry_origin(node, result)
    for part in (highest, shift, terms, parts.total, others, ones, rest, tail):
        name_part(node, part)
    return parts


def _sum_of_both(parts: Shifted) -> Node:
    """The sum of the terms from the two sums that are there anyway."""
    total = pointwise(parts.node.shape, call("add", identity(parts.others), identity(parts.ones)))
    name_part(parts.node, total)
    return total


def _as_share(node: Compute, lowered: dict[Node, Shifted]) -> Share | None:
    """exp(x[f] - l[g]) = terms[f] / total[g] where l is the logsumexp of x."""
    power = node.body
    difference = power.arguments[0] if isinstance(power, Call) and power.function.name == "exp" else None
    if not isinstance(difference, Call) or difference.function.name != "sub":
        return None
    x, subtracted = difference.arguments
    if not isinstance(subtracted, Load) or subtracted.tensor not in lowered:
        return None
    parts, outer = lowered[subtracted.tensor], subtracted.subscripts
    for places in _places(parts.node, outer, node):
        moved = {position_atom(k): p for k, p in enumerate(places)}
        if substitute(parts.node.body, moved) is x and all(
            substitute(t, moved) is s for t, s in zip(parts.node.target, outer, strict=True)
        ):
            quotient = call("div", load(parts.terms, places), load(parts.total, outer))
            new = compute(node.shape, node.extents, node.target, node.reducer, quotient)
            return Share(new, parts, outer) if isinstance(new, Compute) and new.reducer == "none" else None
    return None


def _places(reduced: Compute, outer: Sequence[Poly], reader: Compute) -> Iterator[list[Poly]]:
    """Where a reader may stand in what was reduced: `outer` fixes the kept axes, its own positions the others."""
    fixed = list(outer) if reduced.gathers else []
    inner = reduced.extents[len(fixed) :]
    for chosen in permutations(range(len(reader.extents)), len(inner)):
        if all(reader.extents[k] is extent for k, extent in zip(chosen, inner, strict=True)):
            yield [*fixed, *(position(k) for k in chosen)]
