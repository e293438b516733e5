"""Scans with the same recurrence become one scan that keeps what any of them is asked for, and nothing else.

In: nodes after `derive`, whose adjoint asks the forward loop for more stacks. Out: the same values from fewer
loops; part of `simplify`.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from gradgen.graph.nodes import Node, Project, Scan, all_inputs, body_nodes, project, scan_like, toposort
from gradgen.graph.origin import carry_origin
from gradgen.passes.rebuild.nodes import rebuild

__all__ = ["merge_scans"]


@dataclass(eq=False, slots=True)
class _Loop:
    """A loop of the result: a scan with its recurrence, what it keeps of every step, and the loops that it waits for.

    Loops are numbered; a set of them is the integer with these bits, and `needs` holds what is needed by what it needs.
    """

    source: Scan
    number: int
    needs: int = 0
    outputs: dict[Node, None] = field(default_factory=dict)


def merge_scans(roots: Sequence[Node]) -> list[Node]:
    """One scan for every recurrence, with the union of the outputs in use, in the order in which they are met.

    What is computed from a result of that scan cannot be kept by it: a second one does so. Loops inside those that
    have become one may be equal by that, so it is done again as long as there are fewer scans, or fewer results.
    """
    current = list(roots)
    while True:
        merged = _merged(current)
        if _size(merged) >= _size(current):
            return merged
        current = merged


def _size(roots: Sequence[Node]) -> tuple[int, int]:
    """The number of loops, and of what they keep or hand out."""
    results = [node for node in toposort(roots, all_inputs) if isinstance(node, Project)]
    scans = dict.fromkeys(node.scan for node in results)
    return len(scans), len(results) + sum(len(s.outputs) for s in scans)


def _merged(roots: Sequence[Node]) -> list[Node]:
    order = toposort(roots, all_inputs)
    loops = _loops(order)
    written: dict[_Loop, Scan] = {}

    def reads(node: Node) -> tuple[Node, ...]:
        if not isinstance(node, Project):
            return all_inputs(node)
        return (*node.scan.inits, *node.scan.nexts, *loops[node].outputs)

    built: dict[Node, Node] = {}
    for node in toposort(roots, reads):
        if isinstance(node, Project):
            loop = loops[node]
            if loop not in written:
                written[loop] = _written(loop, built)
            built[node] = _result(node, loop, written[loop])
        else:
            built[node] = rebuild(node, built)
        if built[node] is not node:
            carry_origin(node, built[node])
    return [built[root] for root in roots]


def _written(loop: _Loop, built: Mapping[Node, Node]) -> Scan:
    s = loop.source
    inits, nexts, outputs = ([built[n] for n in part] for part in (s.inits, s.nexts, loop.outputs))
    return scan_like(s, s.carries, inits, nexts, outputs)


def _result(node: Project, loop: _Loop, new: Scan) -> Node:
    """The same result, taken from the scan that replaces its own."""
    if node.kind == "states":
        return project(new, "states", node.number)
    return project(new, "stack", list(loop.outputs).index(node.scan.outputs[node.number]))


# ---------------------------------------------------------------- which result comes from which loop


def _loops(order: Sequence[Node]) -> dict[Project, _Loop]:
    """The loop of every result: the first with its recurrence that needs nothing of what it would be needed for.

    Scans inside other scans are merged within the same ones only: elsewhere an output may mention a carry or a step
    that means nothing there. The results of a scan are placed together, so that it adds one loop at most.
    """
    owners = _owners(order)
    results: dict[Scan, list[Project]] = {}
    for node in order:
        if isinstance(node, Project):
            results.setdefault(node.scan, []).append(node)
    loops: list[_Loop] = []
    alike: dict[Hashable, list[_Loop]] = {}
    placed: dict[Project, _Loop] = {}
    needs: dict[Node, int] = {}
    for node in order:
        if isinstance(node, Project):
            if node not in placed:
                same = alike.setdefault((_recurrence(node.scan), frozenset(owners.get(node.scan, ()))), [])
                for result in results[node.scan]:
                    placed[result] = _place(result, needs, same, loops)
            needs[node] = 1 << placed[node].number
        else:
            needs[node] = _union(needs[x] for x in all_inputs(node))
    for node in order:
        if isinstance(node, Project) and node.kind == "stack":
            placed[node].outputs[node.scan.outputs[node.number]] = None
    return placed


def _place(result: Project, needs: Mapping[Node, int], same: list[_Loop], loops: list[_Loop]) -> _Loop:
    """The loop of a result, which needs from now on what the result is computed from, as do all that need the loop."""
    s = result.scan
    read = (*s.inits, *s.nexts, *([s.outputs[result.number]] if result.kind == "stack" else []))
    own = _union(needs[x] for x in read)
    own = _union([own, *(loop.needs for loop in loops if own >> loop.number & 1)])
    found = next((loop for loop in same if not own >> loop.number & 1), None)
    if found is None:
        found = _Loop(s, len(loops))
        loops.append(found)
        same.append(found)
    for loop in loops:
        if loop is found or loop.needs >> found.number & 1:
            loop.needs |= own
    return found


def _union(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)


def _owners(order: Sequence[Node]) -> dict[Scan, set[Scan]]:
    """The scans in whose bodies a scan stands."""
    found: dict[Scan, set[Scan]] = {}
    for outer in dict.fromkeys(node.scan for node in order if isinstance(node, Project)):
        for node in body_nodes(outer):
            if isinstance(node, Project):
                found.setdefault(node.scan, set()).add(outer)
    return found


def _recurrence(s: Scan) -> Hashable:
    return s.length, s.depth, s.reverse, s.checkpointed, s.carries, s.inits, s.nexts
