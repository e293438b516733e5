"""logsumexp written with the reducers that loops have: a maximum, a sum of exponentials, a logarithm.

In: gathered nodes, after differentiation (whose rule reads the result of logsumexp). Out: nodes for `contract`. A
softmax divides the exponentials of that sum by it, and computes no others.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from gradgen.graph.nodes import Compute, Node, compute, identity, pointwise
from gradgen.graph.origin import carry_origin, name_part
from gradgen.graph.scalar import Call, Load, Poly, Scalar, call, load, number, position, substitute
from gradgen.passes.substitute import map_nodes, replace_nodes


@dataclass(frozen=True, slots=True)
class Shifted:
    """log(total) + shift, for total = sum of terms and terms = exp(body - shift)."""

    node: Compute  # the logsumexp
    terms: Scalar
    total: Node


def lower_reducers(roots: Sequence[Node]) -> list[Node]:
    """Every logsumexp by its parts; exp(x_i - logsumexp_j(x_j)) = terms_i / total, the terms computed once."""
    lowered: dict[Node, Shifted] = {}
    stored: dict[Node, Node] = {}

    def change(node: Node) -> Node | None:
        if not isinstance(node, Compute):
            return None
        if node.reducer == "logsumexp":
            result, parts = shifted_logsumexp(node)
            lowered[result] = parts
            return result
        return _as_quotient(node, lowered, stored)

    new = map_nodes(roots, change)
    return replace_nodes(new, stored) if stored else new


def shifted_logsumexp(node: Compute) -> tuple[Node, Shifted]:
    """logsumexp x = log(sum exp(x - top)) + top, top = max x where that is finite, else 0 (so inf and nan survive)."""
    highest = compute(node.shape, node.extents, node.target, "max", node.body)
    top = load(highest, node.target)
    finite = call("lt", call("abs", top), number(math.inf))
    shift = pointwise(node.shape, call("where", finite, identity(highest), number(0)))
    terms = call("exp", call("sub", node.body, load(shift, node.target)))
    total = compute(node.shape, node.extents, node.target, "sum", terms)
    result = pointwise(node.shape, call("add", call("log", identity(total)), identity(shift)))
    carry_origin(node, result)
    for part in (highest, shift, total):
        name_part(node, part)
    return result, Shifted(node, terms, total)


def _as_quotient(node: Compute, lowered: dict[Node, Shifted], stored: dict[Node, Node]) -> Node | None:
    """exp(x[f] - l[g]) = terms[f] / total[g] where l is the logsumexp of x; its sum then reads the terms, `stored`."""
    power = node.body
    difference = power.arguments[0] if isinstance(power, Call) and power.function.name == "exp" else None
    if not isinstance(difference, Call) or difference.function.name != "sub":
        return None
    x, subtracted = difference.arguments
    if not isinstance(subtracted, Load) or subtracted.tensor not in lowered:
        return None
    parts, outer = lowered[subtracted.tensor], subtracted.subscripts
    for places in _places(parts.node, outer, node):
        if substitute(parts.node.body, {position(k).atoms[0]: p for k, p in enumerate(places)}) is x:
            terms = pointwise(parts.node.extents, parts.terms)
            name_part(parts.node, terms)
            stored[parts.total] = compute(
                parts.node.shape, parts.node.extents, parts.node.target, "sum", identity(terms)
            )
            quotient = call("div", load(terms, places), load(parts.total, outer))
            return compute(node.shape, node.extents, node.target, node.reducer, quotient)
    return None


def _places(reduced: Compute, outer: Sequence[Poly], reader: Compute) -> Iterator[list[Poly]]:
    """Where a reader may stand in what was reduced: `outer` fixes the kept axes, its own positions the others."""
    if any(t is not position(k) for k, t in enumerate(reduced.target)):
        return
    inner = reduced.extents[len(outer) :]
    for chosen in permutations(range(len(reader.extents)), len(inner)):
        if all(reader.extents[k] is extent for k, extent in zip(chosen, inner, strict=True)):
            yield [*outer, *(position(k) for k in chosen)]
