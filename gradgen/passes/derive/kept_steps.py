"""What the adjoint of a scan needs of every step: values that the forward loop keeps, values that it keeps itself.

In: the nodes of a step and of its adjoint. Out: those to be stacked, for `derive`.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Custom, Node, Project, Reshape, inputs
from gradgen.graph.scalar import loads, positions_of, scalar_cost
from gradgen.machine import machine

__all__ = ["kept_values", "reading", "stacked_values"]


def reading(order: Sequence[Node], targets: set[Node]) -> set[Node]:
    """The nodes of `order` that are or depend on one of the targets."""
    found = {n for n in order if n in targets}
    for node in order:
        if any(x in found for x in inputs(node)):
            found.add(node)
    return found


def kept_values(adjoint_nodes: Sequence[Node], body: Sequence[Node]) -> list[Node]:
    """The forward values of a step that the adjoint reads and that cost more than a few additions to compute again.

    What products read again and again would have to be stored once more, so it is kept unless it is a copy.
    """
    wanted: set[Node] = set()
    stored: set[Node] = set()
    for node in adjoint_nodes:
        wanted.update(inputs(node))
        stored.update(_read_again(node) if isinstance(node, Compute) and node.reducer != "none" else ())
    kept: list[Node] = []
    for node in reversed(body):
        if node in wanted and isinstance(node, (Compute, Custom, Project, Reshape)):
            if isinstance(node, Reshape) or (isinstance(node, Compute) and _is_cheap(node, node in stored)):
                wanted.update(inputs(node))
                stored.update(inputs(node) if node in stored else ())
            else:
                kept.append(node)
    return kept[::-1]


def stacked_values(contributions: Sequence[Node], carried: set[Node]) -> list[Node]:
    """The values of a step that the contributions to outside tensors read, and that no formula gives for all steps.

    They depend on the carried adjoints or on a scan inside the step.
    """
    wanted: dict[Node, None] = {}
    for d_x in contributions:
        if isinstance(d_x, Compute) and d_x.reducer in ("none", "sum"):
            wanted.update(dict.fromkeys(n for n in inputs(d_x) if n in carried))
        elif d_x in carried:
            wanted[d_x] = None
    return list(wanted)


def _read_again(node: Compute) -> set[Node]:
    """What a reduction reads more than once for each element: its accesses do not change with some index."""
    indices = {k for k, extent in enumerate(node.extents) if extent.constant != 1}
    return {
        x.tensor for x in loads(node.body) if not indices.issubset(p for s in x.subscripts for p in positions_of(s))
    }


def _is_cheap(node: Compute, stored: bool) -> bool:
    return node.reducer == "none" and scalar_cost(node.body) <= (0.0 if stored else machine().repeated)
