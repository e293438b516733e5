"""Tensors that `gg.materialize` asks to be in memory of their own, whatever the schedule would choose.

In: nodes, after every pass that rewrites formulas. Out: a tensor and the same one materialized are one node, which all
readers read. `inline`, `too_large`, `saved_values` and `entries` ask `is_materialized`.
"""

from collections.abc import Sequence

from gradgen.graph.accesses import is_materialized
from gradgen.graph.nodes import Compute, Node, all_inputs, compute, pointwise, same_shape, toposort
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import Call, Load, call, load, position
from gradgen.passes.rebuild.look_through import is_pointwise
from gradgen.passes.rebuild.nodes import rebuild

__all__ = ["is_materialized", "materialize"]


def materialize(roots: Sequence[Node]) -> list[Node]:
    """T[i] = b, M[i] = materialize(T[i]) -> M[i] = materialize(b), read wherever T or M was.

    A sum keeps its node, which M alone reads then. Leaves, scans and reshapes are in memory without being asked.
    """
    order = toposort(roots, all_inputs)
    sources = {node: source for node in order if (source := _source(node)) is not None}
    asked = set(sources.values())
    built: dict[Node, Node] = {}
    for node in order:
        if node in sources:
            built[node] = built[sources[node]]
        else:
            new = rebuild(node, built)
            built[node] = _marked(new) if node in asked and isinstance(new, Compute) else new
        if built[node] is not node:
            carry_origin(node, built[node])
    return [built[root] for root in roots]


def _source(node: Node) -> Node | None:
    """T, for a node that is materialize(T[i])."""
    if not isinstance(node, Compute) or not is_materialized(node) or not is_pointwise(node):
        return None
    (access,) = node.body.arguments if isinstance(node.body, Call) else ()
    if not isinstance(access, Load) or not same_shape(access.tensor.shape, node.shape):
        return None
    return access.tensor if all(s is position(k) for k, s in enumerate(access.subscripts)) else None


def _marked(node: Compute) -> Node:
    if not is_pointwise(node):
        return pointwise(node.shape, call("materialize", load(node, [position(k) for k in range(len(node.shape))])))
    if is_materialized(node):
        return node
    body = node.body if node.body.dtype == node.dtype else call(node.dtype, node.body)
    return compute(node.shape, node.extents, node.target, "none", call("materialize", body))
