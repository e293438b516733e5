"""A digest of everything that the text of a module depends on: formulas, names, lines, and which statement made what.

In: the roots of a model. Out: one string, equal in every process for the same declarations; `network` looks texts up
by it.
"""

from collections.abc import Sequence

from gradgen.graph.intern import digest_of
from gradgen.graph.nodes import Node, all_inputs, toposort
from gradgen.graph.origin import files_of, origin

__all__ = ["fingerprint"]


def fingerprint(roots: Sequence[Node]) -> str:
    """Nodes by content, origins by what is printed of them; counters count from the first node of this graph."""
    order = toposort(roots, all_inputs)
    origins, files = [origin(node) for node in order], files_of(order)
    executions: dict[int, int] = {}
    ranks = {n: k for k, n in enumerate(sorted(found.order for found in origins if found is not None))}
    marks: dict[int | None, int] = {None: -1}
    derived_from = {
        found.of for found in origins if found is not None
    }  # a mark that nothing here refers to says nothing
    lines = [*(root.digest for root in roots), *files.names]
    for node, found in zip(order, origins, strict=True):
        if found is None:
            lines.append(node.digest)
            continue
        run = executions.setdefault(found.execution, len(executions))
        mark = found.mark if found.mark in derived_from else None
        pair = f"{marks.setdefault(mark, len(marks))} {marks.setdefault(found.of, len(marks))}"
        place = f"{files.lines(node)} {found.name} {run} {ranks[found.order]} {found.is_outermost} {found.is_part}"
        lines.append(f"{node.digest} {place} {' '.join(found.letters)} {found.note} {pair}")
    return digest_of(*lines)
