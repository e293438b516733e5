"""logsumexp written with the reducers that loops have: a maximum, a sum of exponentials, a logarithm.

In: gathered nodes, after differentiation (whose rule reads the result of logsumexp). Out: nodes for `contract`.
"""

import math
from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, compute, identity, pointwise
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import call, load, number
from gradgen.passes.substitute import map_nodes


def lower_reducers(roots: Sequence[Node]) -> list[Node]:
    return map_nodes(roots, shifted_logsumexp)


def shifted_logsumexp(node: Node) -> Node | None:
    """logsumexp x = log(sum exp(x - top)) + top, top = max x where that is finite, else 0 (so inf and nan survive)."""
    if not isinstance(node, Compute) or node.reducer != "logsumexp":
        return None
    highest = compute(node.shape, node.extents, node.target, "max", node.body)
    top = load(highest, node.target)
    finite = call("lt", call("abs", top), number(math.inf))
    shift = pointwise(node.shape, call("where", finite, identity(highest), number(0)))
    terms = call("exp", call("sub", node.body, load(shift, node.target)))
    total = compute(node.shape, node.extents, node.target, "sum", terms)
    result = pointwise(node.shape, call("add", call("log", identity(total)), identity(shift)))
    for part in (highest, shift, total, result):
        carry_origin(node, part)
    return result
