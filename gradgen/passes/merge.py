"""Scans with the same recurrence become one scan that keeps what any of them is asked for, and nothing else.

In: nodes after `differentiate`, whose adjoint asks the forward loop for more stacks. Out: the same values from fewer
loops; part of `simplify`.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

from gradgen.graph.nodes import Node, Project, Scan, all_inputs, body_nodes, project, scan, toposort
from gradgen.passes.substitute import map_nodes

__all__ = ["merge_scans"]


def merge_scans(roots: Sequence[Node]) -> list[Node]:
    """One scan for every recurrence, with the union of the outputs in use, in the order in which they are met."""
    current = list(roots)
    while True:
        merged = {old: new for old, new in _merged(current).items() if old is not new}
        if not merged:
            return current
        current = map_nodes(current, partial(_reprojected, merged))


def _reprojected(merged: Mapping[Scan, Scan], node: Node) -> Node | None:
    """The same result, taken from the scan that replaces its own."""
    if not isinstance(node, Project) or node.scan not in merged:
        return None
    new = merged[node.scan]
    if node.kind == "states":
        return project(new, "states", node.number)
    return project(new, "stack", new.outputs.index(node.scan.outputs[node.number]))


def _merged(roots: Sequence[Node]) -> dict[Scan, Scan]:
    """What becomes of every scan below the roots.

    Scans inside other scans are merged within the same ones only: elsewhere an output may mention a carry or a step
    that means nothing there.
    """
    groups: dict[Hashable, list[Scan]] = {}
    used: dict[Hashable, dict[Node, None]] = {}
    order = toposort(roots, all_inputs)
    owners = _owners(order)
    for node in order:
        if isinstance(node, Project):
            key: Hashable = (_recurrence(node.scan), frozenset(owners.get(node.scan, ())))
            scans = groups.setdefault(key, [])
            if node.scan not in scans:
                scans.append(node.scan)
            if node.kind == "stack":
                used.setdefault(key, {})[node.scan.outputs[node.number]] = None
    merged: dict[Scan, Scan] = {}
    for same, scans in groups.items():
        s = scans[0]
        outputs = list(used.get(same, {}))
        one = scan(s.length, s.depth, s.carries, s.inits, s.nexts, outputs, s.reverse)
        merged.update(dict.fromkeys(scans, one))
    return merged


def _owners(order: Sequence[Node]) -> dict[Scan, set[Scan]]:
    """The scans in whose bodies a scan stands."""
    found: dict[Scan, set[Scan]] = {}
    for outer in dict.fromkeys(node.scan for node in order if isinstance(node, Project)):
        for node in body_nodes(outer):
            if isinstance(node, Project):
                found.setdefault(node.scan, set()).add(outer)
    return found


def _recurrence(s: Scan) -> Hashable:
    return s.length, s.depth, s.reverse, s.carries, s.inits, s.nexts
