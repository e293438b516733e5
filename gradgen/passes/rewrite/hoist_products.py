"""Products that do not depend on the carry of a scan, computed before the loop: one large product for all steps.

In: nodes after `simplify`. Out: the same values; the loop reads a row of what was computed before it. Pointwise work
stays in the loop, where it costs no memory.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import (
    Carry,
    Compute,
    Node,
    Project,
    Scan,
    body_nodes,
    inputs,
    project,
    scan_like,
)
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import Load, positions_of, step, walk
from gradgen.passes.rebuild.all_steps import lift, row
from gradgen.passes.rebuild.conditions import mask_of
from gradgen.passes.rebuild.nodes import map_nodes, replace_nodes
from gradgen.passes.rewrite.factors import factors_of

__all__ = ["hoist", "is_contraction"]


def hoist(roots: Sequence[Node]) -> list[Node]:
    """y[i] = sum_j w[i, j] * x[t, j] inside a loop over t becomes row t of Y[t, i] = sum_j w[i, j] * x[t, j]."""
    done: dict[Scan, Scan] = {}

    def change(node: Node) -> Node | None:
        if not isinstance(node, Project):
            return None
        if node.scan not in done:
            done[node.scan] = _hoisted(node.scan)
        new = done[node.scan]
        return None if new is node.scan else project(new, node.kind, node.number)

    return map_nodes(roots, change)


def _hoisted(s: Scan) -> Scan:
    if s.checkpointed:
        return s
    depends: set[Node] = set()  # on a carry, of this loop or of one around it that is not known for all steps
    found: dict[Node, Node] = {}
    for node in body_nodes(s):
        if isinstance(node, (Carry, Project)) or any(x in depends for x in inputs(node)):
            depends.add(node)
        elif isinstance(node, Compute) and is_contraction(node):
            found[node] = row(lift(node, s.length, s.depth), step(s.depth))
            carry_origin(node, found[node])
    if not found:
        return s
    changed = replace_nodes([*s.nexts, *s.outputs], found, s.depth)
    count = len(s.nexts)
    return scan_like(s, s.carries, s.inits, changed[:count], changed[count:])


def is_contraction(node: Compute) -> bool:
    """Whether a node is a sum of products of at least two factors that vary with what is summed."""
    if node.reducer != "sum" or not node.gathers or not node.reduced:
        return False
    body = node.body
    while (mask := mask_of(body)) is not None:
        body = mask[1]
    above, _ = factors_of(body)
    varying = [x for x in above if any(isinstance(part, Load) for part in walk(x))]
    return len([x for x in varying if set(positions_of(x)).intersection(node.reduced)]) >= 2
