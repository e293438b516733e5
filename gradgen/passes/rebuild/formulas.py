"""Rewriting formula by formula, with what is known of the indices of each.

In: nodes and a change of one formula. Out: nodes with the change made everywhere; `simplify` and `gather` use it.
"""

from collections.abc import Callable, Mapping, Sequence

from gradgen.graph.nodes import Compute, Node, Project, Scan, all_inputs, body_nodes, toposort
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import Poly
from gradgen.passes.rebuild.nodes import rebuild

__all__ = ["map_formulas", "step_lengths"]


def map_formulas(roots: Sequence[Node], change: Callable[[Compute, Mapping[int, Poly]], Node]) -> list[Node]:
    """Rebuild the graph below the roots; `change` sees every rebuilt formula and the lengths of scans around it."""
    lengths = step_lengths(roots)
    built: dict[Node, Node] = {}
    for node in toposort(roots, all_inputs):
        new = rebuild(node, built)
        if isinstance(new, Compute):
            new = change(new, lengths.get(node, {}))
        built[node] = new
        if new is not node:
            carry_origin(node, new)
    return [built[root] for root in roots]


def step_lengths(roots: Sequence[Node]) -> dict[Node, dict[int, Poly]]:
    """For the nodes of scan bodies, the length of the scan at each depth around them, where there is only one."""
    scans = dict.fromkeys(n.scan for n in toposort(roots, all_inputs) if isinstance(n, Project))
    found: dict[Node, dict[int, Poly | None]] = {}
    around: dict[Scan, dict[int, Poly | None]] = {}
    for s in sorted(scans, key=lambda s: s.depth):
        context = {**around.get(s, {}), s.depth: s.length}
        for node in body_nodes(s):
            _meet(found.setdefault(node, {}), context)
            if isinstance(node, Project):
                _meet(around.setdefault(node.scan, {}), context)
    return {node: {d: n for d, n in lengths.items() if n is not None} for node, lengths in found.items()}


def _meet(known: dict[int, Poly | None], context: Mapping[int, Poly | None]) -> None:
    for depth, length in context.items():
        known[depth] = length if known.get(depth, length) is length else None
