"""Which forward values the backward pass finds in the workspace, and which it computes again.

In: outputs and gradients over one graph. Out: the values to save; `entries` gives them buffers that outlive `forward`.
"""

from collections.abc import Iterable, Sequence, Set

from gradgen.graph.nodes import Compute, Leaf, Node, Project, Reshape, all_inputs, toposort
from gradgen.graph.scalar import scalar_cost
from gradgen.machine import machine
from gradgen.passes.rewrite.materialize import is_materialized
from gradgen.passes.schedule.too_large import outsized
from gradgen.passes.schedule.trees import memory
from gradgen.program.cost import volume

__all__ = ["choose_saved"]


def choose_saved(outputs: Sequence[Node], gradients: Sequence[Node]) -> list[Node]:
    """The forward values that the backward pass finds in the workspace: those dearer than a few additions.

    What outgrows the arguments is computed again, from what does not. A cheap value that is all that is read of saved
    ones, and no larger, is saved in their place: relu(u) rather than u.
    """
    forward = set(toposort(outputs, all_inputs))
    scans = {n.scan for n in forward if isinstance(n, Project)}  # whose other stacks are there too
    forward |= {n for n in toposort(gradients, all_inputs) if isinstance(n, Project) and n.scan in scans}
    leaves = [n for n in forward if isinstance(n, Leaf)]
    large = outsized(forward, [*leaves, *(n for y in (*outputs, *gradients) for n in memory(y))])
    saved: dict[Node, None] = {}

    def is_kept(node: Node) -> bool:
        return node in forward and not node.steps and not isinstance(node, (Leaf, Reshape)) and node not in large

    def reads_of(node: Node) -> tuple[Node, ...]:
        if not is_kept(node) or _is_cheap(node):
            return all_inputs(node)
        saved[node] = None
        return ()

    needed = toposort(gradients, reads_of)
    results = {*outputs, *gradients}  # these have arrays of their own, and would be copied
    found = _with_last_values(needed, [n for n in needed if is_kept(n) and n not in results], set(saved))
    kept = [n for n in needed if n in found]  # in an order that does not depend on addresses
    return [n for n in toposort([*outputs, *kept], all_inputs) if n in found]


def _with_last_values(needed: Sequence[Node], candidates: Sequence[Node], saved: Set[Node]) -> set[Node]:
    """The saved values, with cheap ones in place of those that are read only for them."""
    readers: dict[Node, set[Node]] = {}
    for node in needed:
        for n in all_inputs(node) if node not in saved else ():
            readers.setdefault(n, set()).add(node)
    found = set(saved)
    for node in reversed(candidates):
        if node in found:
            continue
        inner, below = _cone(node, found)
        alone = all(readers.get(n, set()) <= inner for n in (inner - {node}) | below)
        if below and alone and _elements([node]) <= _elements(below):
            found = (found - below) | {node}
    return found


def _cone(node: Node, saved: Set[Node]) -> tuple[set[Node], set[Node]]:
    """What a value is computed from cheaply, and the saved values below; none of these where something else is.

    Nor where it is computed in many steps: then it is not cheap.
    """
    inner, below = {node}, set[Node]()
    stack = [node]
    while stack:
        if len(inner) > machine().cone:
            return {node}, set()
        for n in all_inputs(stack.pop()):
            if n in saved:
                below.add(n)
            elif isinstance(n, Reshape) or _is_cheap(n):
                stack += [n] if n not in inner else []
                inner.add(n)
            elif not isinstance(n, Leaf):
                return {node}, set()
    return inner, below


def _elements(nodes: Iterable[Node]) -> float:
    return sum(volume(n.shape) for n in nodes)


def _is_cheap(node: Node) -> bool:
    if not isinstance(node, Compute) or node.reducer != "none" or is_materialized(node):
        return False
    return scalar_cost(node.body) <= machine().cheap
