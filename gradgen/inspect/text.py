"""Graphs as text, for `gg.show`, `gradgen show` and debugging.

In: nodes by name. Out: lines that a person reads: every leaf, then one formula per node.
"""

from collections.abc import Mapping

from gradgen.emit.formula import carried, formula
from gradgen.graph.constants import numbered
from gradgen.graph.nodes import Carry, Leaf, Node, all_inputs, show_shape, toposort
from gradgen.graph.origin import origin
from gradgen.inspect.formulas import numbers_behind
from gradgen.passes.lower.naming import name_nodes
from gradgen.passes.rewrite.separate_scans import separate_carries

__all__ = ["graph_text", "named_graph_text"]


def named_graph_text(roots: Mapping[str, Node]) -> str:
    """`graph_text` of results by their names; the others have those that they would have in a generated file."""
    roots = dict(zip(roots, separate_carries(list(roots.values())), strict=True))
    order = toposort(list(roots.values()), all_inputs)
    fixed: dict[Node, str] = {node: name for name, node in roots.items() if not isinstance(node, Leaf)}
    fixed |= numbers_behind(order, roots)
    return graph_text(roots, name_nodes(order, fixed, rewritten=False))


def graph_text(roots: Mapping[str, Node], names: Mapping[Node, str]) -> str:
    """Every leaf with its shape, then every formula below the roots, producers first, each with the user's line."""
    order = toposort(list(roots.values()), all_inputs)
    known = numbered([node for node in order if isinstance(node, Leaf)], ())
    leaves = [x for x in order if isinstance(x, Leaf) and (x not in known or known[x].first is x)]
    found: list[tuple[str, str]] = []
    for node in order:
        if isinstance(node, Carry):
            found += [(_place(result), text) for result, text in carried(node, order, names)]
        elif not isinstance(node, Leaf):
            found.append((_place(node), formula(node, names)))
    width = max((len(place) for place, _ in found), default=0)
    lines = [f"{x.role} {names[x]} {show_shape(x.shape)} {x.dtype}" for x in leaves]
    lines += [f"{place:{width}}  {text}".rstrip() for place, text in found]
    lines += [f"{name} is {names[node]}" for name, node in roots.items() if names[node] != name]
    return "\n".join(lines)


def _place(node: Node) -> str:
    """`mlp.py:14`, where that is known."""
    found = origin(node)
    return found.place if found is not None else ""
