"""Adjoints that the user gave, under the mask of their cotangent.

In: a `Custom`, the adjoint of its value, and where that counts. Out: the same for its operands;
`derive` asks. An adjoint is linear in the cotangent, so each of its terms is 0 where the cotangent is.
"""

from collections.abc import Mapping

from gradgen.graph.nodes import Compute, Custom, Node, Reshape, compute, identity, inputs, reshape, toposort
from gradgen.graph.scalar import Scalar, call, load, number, positions_of
from gradgen.passes.derive.chain_rule import node_derivatives, plus, times
from gradgen.passes.derive.linear import is_linear
from gradgen.passes.derive.supports import EVERYWHERE, Support, condition_of, either, support_node, support_of
from gradgen.passes.rebuild.look_through import at
from gradgen.passes.rebuild.nodes import replace_nodes

__all__ = ["given_adjoints"]


def given_adjoints(node: Custom, d_node: Node, support: Support) -> list[tuple[Node, Support]]:
    """The adjoint of every operand, and where it counts."""
    depth = node.cotangent.depth
    if support == EVERYWHERE or not is_linear(node.adjoints, node.cotangent):
        return [(d_x, EVERYWHERE) for d_x in replace_nodes(node.adjoints, {node.cotangent: d_node}, depth)]
    built: dict[Node, Node] = {node.cotangent: d_node}
    supports: dict[Node, Support] = {node.cotangent: support}
    for x in toposort(node.adjoints, lambda n: inputs(n) if depth in n.steps else ()):
        if any(y in supports for y in inputs(x)):
            built[x], supports[x] = _under_masks(x, built, supports)
    return [(built.get(d_x, d_x), supports.get(d_x, EVERYWHERE)) for d_x in node.adjoints]


def _under_masks(x: Node, built: Mapping[Node, Node], supports: Mapping[Node, Support]) -> tuple[Node, Support]:
    known = {y for y in inputs(x) if y in supports}
    if isinstance(x, Compute) and x.reducer in ("none", "sum"):
        total: Scalar | None = None
        found: list[Support] = []
        for access, derivative in node_derivatives(x, number(1), known):
            where = tuple(tuple(at(c, access.subscripts) for c in path) for path in supports[access.tensor])
            term = times(derivative, load(built[access.tensor], access.subscripts), x.dtype)
            term = term if where == EVERYWHERE else call("where", condition_of(where), term, number(0))
            total = term if total is None else plus(total, term)
            seen = x.gathers and set(positions_of(condition_of(where))) <= set(range(len(x.shape)))
            found.append(where if seen else EVERYWHERE)
        if total is not None:
            return compute(x.shape, x.extents, x.target, x.reducer, call(x.dtype, total)), either(*found)
    if isinstance(x, Reshape):
        held = reshape(support_node(x.source.shape, supports[x.source]), x.shape)
        return reshape(built[x.source], x.shape), support_of(identity(held))
    (new,) = replace_nodes([x], {y: built[y] for y in known})
    return new, EVERYWHERE
