"""The formulas at the head of a generated file: the model as the user wrote it.

In: the declared outputs and the files they were written in. Out: lines, each with the number of its statement.
"""

from collections.abc import Mapping, Sequence, Set

from gradgen.emit.formula import carried, formula
from gradgen.graph.nodes import Carry, Compute, Custom, Leaf, Node, Project, Reshape, all_inputs, toposort
from gradgen.graph.origin import Files, origin
from gradgen.graph.scalar import Load, loads
from gradgen.passes.lower.naming import is_named_by_user, name_nodes
from gradgen.passes.rebuild.look_through import is_pointwise
from gradgen.passes.rewrite.separate_scans import separate_carries

__all__ = ["header"]


def header(outputs: Mapping[str, Node], files: Files) -> list[str]:
    """The model as the user wrote it, for the head of the generated file: what one statement made is one formula."""
    outputs = dict(zip(outputs, separate_carries(list(outputs.values())), strict=True))
    order = toposort(list(outputs.values()), all_inputs)
    names = name_nodes(order, {n: k for k, n in outputs.items() if not isinstance(n, Leaf)})
    written = _parts_of_statements(order, set(outputs.values())) | (_unnamed(order, names) - set(outputs.values()))
    found: list[tuple[str, str]] = []
    for node in order:
        if isinstance(node, Carry):
            found += [(files.lines(result), text) for result, text in carried(node, order, names)]
        elif isinstance(node, (Compute, Custom, Project, Reshape)) and node not in written:
            found.append((files.lines(node), formula(node, names, written=written)))
    width = max([4, *(len(line) for line, _ in found)])
    return [f"{line:>{width}}  {text}" for line, text in found]


def _unnamed(order: Sequence[Node], names: Mapping[Node, str]) -> set[Node]:
    """The nodes that are elements of others, without a name of the user's, where the bodies of formulas read them."""
    elsewhere = {x for node in order if not isinstance(node, Compute) for x in all_inputs(node)}
    elsewhere |= {x.tensor for node in order if isinstance(node, Compute) for x in loads(*node.target)}
    found = (n for n in order if isinstance(n, Compute) and is_pointwise(n) and isinstance(n.body, Load))
    return {n for n in found if n not in elsewhere and not is_named_by_user(n, names[n])}


def _parts_of_statements(order: Sequence[Node], kept: Set[Node]) -> set[Node]:
    """The nodes that one other node reads, in one place: that of the same statement."""
    readers: dict[Node, list[Node]] = {}
    for node in order:
        read = [x.tensor for x in loads(node.body, *node.target)] if isinstance(node, Compute) else all_inputs(node)
        for source in read:
            readers.setdefault(source, []).append(node)
    statements: dict[Node, tuple[str, int, int] | None] = {}
    found: set[Node] = set()
    for node in reversed(order):
        by = readers.get(node, [])
        its = statements[by[0]] if len(by) == 1 else None
        place = origin(node)
        statements[node] = its if place is None else (place.file, place.line, place.execution)
        whole = isinstance(node, Compute) and node.gathers and node not in kept
        if whole and its is not None and its == statements[node] and isinstance(by[0], Compute):
            found.add(node)
    return found
