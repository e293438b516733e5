"""The formulas of a model as its statements wrote them: what one statement made is one formula.

In: declared outputs. Out: their nodes in order, with names, and which of them stand where they are read; `header` and
`display` print them as text, `latex` for a page.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from gradgen.emit.formula import carried, formula
from gradgen.graph.constants import numbered
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Carry, Compute, Custom, Leaf, Node, Project, Reshape, Scan, all_inputs, toposort
from gradgen.graph.origin import origin
from gradgen.graph.scalar import Call, Load, loads, walk
from gradgen.passes.lower.naming import is_named_by_user, name_nodes
from gradgen.passes.rebuild.look_through import is_pointwise
from gradgen.passes.rewrite.separate_scans import separate_carries
from gradgen.program.registers import LARGE

__all__ = ["Written", "as_written", "numbers_behind", "written_near"]


@dataclass(frozen=True, slots=True)
class Written:
    """Nodes, producers first; those in `inside` are parts of the formulas that read them.

    Where the graph is too large for a prompt, `is_cut`: those farther away have names only.
    """

    roots: tuple[Node, ...]
    order: tuple[Node, ...]
    names: Mapping[Node, str]
    inside: Set[Node]
    is_cut: bool = False

    @property
    def leaves(self) -> list[Leaf]:
        """What the caller gives, in the order in which the formulas meet it; the first of equal constants."""
        leaves = [node for node in self.order if isinstance(node, Leaf)]
        known = numbered(leaves, ())
        return [x for x in leaves if x not in known or known[x].first is x]

    @property
    def formulas(self) -> list[Node]:
        """The nodes with a formula of their own; a carry stands for what its scan begins with and hands on."""
        kinds = (Compute, Custom, Project, Reshape, Carry)
        return [node for node in self.order if isinstance(node, kinds) and node not in self.inside]

    def lines(self, node: Node) -> Iterator[tuple[Node, str]]:
        """The formula of a node as text, beside the node whose statement wrote it; of a carry there may be several."""
        if isinstance(node, Carry):
            yield from carried(node, self.order, self.names)
        else:
            yield node, formula(node, self.names, written=self.inside)


def as_written(outputs: Mapping[str, Node]) -> Written:
    """The formulas of outputs, which have these names unless they are leaves."""
    roots = dict(zip(outputs, separate_carries(list(outputs.values())), strict=True))
    order = toposort(list(roots.values()), all_inputs)
    return _written(roots, order, frozenset())


def written_near(name: str, node: Node, most: int) -> Written:
    """The formulas of the nodes that are nearest to one, `most` at most, in a time that does not grow with the graph.

    Tensors made of one number stand where formulas read them, as in derivatives of sums. `name` is the node's, with a
    number behind it where a leaf has it.
    """
    near, is_cut = _nearest(node, most)
    if is_cut:
        near = _without_equal_carries(near)
    else:
        (node,) = separate_carries([node])
        near = toposort([node], all_inputs)
    known = set(near)
    order = toposort([node], lambda x: all_inputs(x) if x in known else ())
    beyond = {x for x in order if x not in known and not isinstance(x, Leaf)}
    name = free_name(name, {x.name for x in order if isinstance(x, Leaf)})
    found = _written({name: node}, order, beyond)
    return replace(found, inside=found.inside | (_numbers(found.order) - {node}), is_cut=is_cut)


def _nearest(node: Node, most: int) -> tuple[list[Node], bool]:
    """The nodes that are fewest steps away, and whether there are more."""
    found, waiting = {node: None}, deque([node])
    while waiting:
        for source in all_inputs(waiting.popleft()):
            if source in found:
                continue
            if len(found) == most:
                return list(found), True
            found[source] = None
            waiting.append(source)
    return list(found), False


def _without_equal_carries(near: Sequence[Node]) -> list[Node]:
    """Without scans whose carries are those of one before them: no text could tell them apart."""
    owners: dict[Carry, Scan] = {}

    def is_told_apart(scan: Scan) -> bool:
        return all(owners.setdefault(c, scan) is scan for c in scan.carries)

    return [node for node in near if not isinstance(node, Project) or is_told_apart(node.scan)]


def _written(roots: Mapping[str, Node], order: Sequence[Node], beyond: Set[Node]) -> Written:
    kept, own = set(roots.values()), [node for node in order if node not in beyond]
    fixed = {n: k for k, n in roots.items() if not isinstance(n, Leaf)} | numbers_behind(order, roots)
    names = name_nodes(own, fixed, rewritten=False)
    if beyond:
        names = name_nodes(order, names, rewritten=False)
    inside = _parts_of_statements(own, kept) | (_unnamed(own, names) - kept)
    return Written(tuple(roots.values()), tuple(own), names, inside)


def numbers_behind(order: Sequence[Node], taken: Iterable[str]) -> dict[Node, str]:
    """What leaves are called that nobody has named, as in a network; equal constants have one name."""
    leaves = [node for node in order if isinstance(node, Leaf)]
    return {x: name for x, (name, _) in numbered(leaves, taken).items()}


def _unnamed(order: Sequence[Node], names: Mapping[Node, str]) -> set[Node]:
    """The nodes that are elements of others, without a name of the user's, where the bodies of formulas read them."""
    elsewhere = _elsewhere(order)
    found = (n for n in order if isinstance(n, Compute) and is_pointwise(n) and isinstance(n.body, Load))
    return {n for n in found if n not in elsewhere and not is_named_by_user(n, names[n])}


def _numbers(order: Sequence[Node]) -> set[Node]:
    """The tensors without accesses in their formulas that nothing but bodies of formulas reads."""
    plain: set[Node] = {n for n in order if isinstance(n, Compute) and is_pointwise(n) and not loads(n.body)}
    return plain - _elsewhere(order)


def _elsewhere(order: Sequence[Node]) -> set[Node]:
    """What is read by anything but bodies of formulas."""
    found = {x for node in order if not isinstance(node, Compute) for x in all_inputs(node)}
    return found | {x.tensor for node in order if isinstance(node, Compute) for x in loads(*node.target)}


def _parts_of_statements(order: Sequence[Node], kept: Set[Node]) -> set[Node]:
    """The nodes that one other node reads, in one place: that of the same statement. What is long stands alone."""
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
        if not isinstance(node, Compute) or not node.gathers or node in kept:
            continue
        is_part = its is not None and its == statements[node] and isinstance(by[0], Compute)
        if is_part and not _is_long(node):
            found.add(node)
    return found


def _is_long(node: Compute) -> bool:
    """Whether a formula is printed in parts: inside of another it would be printed without them."""
    return sum(isinstance(x, Call) for x in walk(node.body)) >= LARGE
