"""Where a node came from: the user's file and line, the name assigned there, the letters of its indices.

In: nodes as they are made. Out: places for messages and names for `emit`. A side table: it never takes part in
equality, and it never fails where there is no source to read.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakKeyDictionary

from gradgen.graph.nodes import COTANGENT, Carry, Leaf, Node, all_inputs
from gradgen.graph.place import statement_now

Place = tuple[str, int]  # file and line


@dataclass(frozen=True, slots=True)
class Origin:
    """The statement that made a node.

    Several nodes of one statement share `name` and `execution` (which counts the times the statement ran); the one
    with the greatest `order` among them was made last, so it is the outermost and deserves the plain name.
    """

    file: str
    line: int
    name: str | None
    execution: int
    order: int
    letters: tuple[str, ...] = ()
    note: str = ""
    of: tuple["Place", ...] = ()  # the formulas that an adjoint is the adjoint of
    is_part: bool = False  # made by a rewrite for the sake of a node of this statement

    @property
    def place(self) -> str:
        """`mlp.py:14`: the file without its folder, and the first line of the statement."""
        return f"{Path(self.file).name}:{self.line}"

    @property
    def places(self) -> tuple["Place", ...]:
        """The lines of the formulas that it computes, or is the adjoint of."""
        return self.of or ((self.file, self.line),)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a model: what a text calls the lines of its formulas."""

    paths: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Without folders, so that texts are the same wherever a model lies; what was typed at a prompt has none."""
        return tuple(dict.fromkeys(Path(path).name for path in self.paths if Path(path).is_file()))

    def lines(self, node: Node) -> str:
        """`12`, or `12, 14` for the sum of two adjoints; `mlp.py:12` where there is more than one file."""
        found = _origins.get(node)
        if found is None:
            return ""
        places = sorted({(Path(path).name if Path(path).is_file() else "", line) for path, line in found.places})
        return ", ".join(f"{name}:{line}" if name and len(self.paths) > 1 else f"{line}" for name, line in places)


_origins: WeakKeyDictionary[Node, Origin] = WeakKeyDictionary()
_serials = itertools.count()
_given_name: ContextVar[str | None] = ContextVar("gradgen_given_name", default=None)


def origin(node: Node) -> Origin | None:
    """Where a node came from, if that is known."""
    return _origins.get(node)


def record(node: Node, letters: Sequence[str] = (), name: str | None = None, item: int = 0, of: int = 1) -> None:
    """Note the user's statement now running as the origin of a node that has none yet.

    `name` overrides the name assigned by the statement; the node is result `item` of `of` (`h, c = ...`).
    """
    if node in _origins or not _is_ours_alone(node):
        return
    place = statement_now(item, of)
    if place is None:
        return
    file, line, assigned, execution = place
    _origins[node] = Origin(
        file, line, name or _given_name.get() or assigned, execution, next(_serials), tuple(letters)
    )


def carry_origin(old: Node, new: Node, note: str = "", of: tuple[Place, ...] = ()) -> None:
    """Give `new` the origin of `old`, for a rewrite; a note such as "adjoint of" says what became of it.

    What was made on the way, and has no origin, is part of the same statement.
    """
    found, known = _origins.get(old), _origins.get(new)
    if found is None:
        return
    if (known is None or (known.is_part and not found.is_part)) and _is_ours_alone(new):
        _origins[new] = replace(found, note=note or found.note, of=of or found.of)
    carry_place(old, new)


def carry_adjoint_origin(node: Node, adjoint: Node, prefix: str, terms: Sequence[Node] = ()) -> None:
    """d_u for u, and the lines of the formulas that its terms are the adjoints of."""
    found = _origins.get(node)
    if found is not None:
        of = (place for term in terms if term in _origins for place in _origins[term].places)
        carry_origin(node, adjoint, f"{prefix}{found.note}", tuple(dict.fromkeys(of)))


def carry_place(old: Node, new: Node) -> None:
    """Note that `new`, and what was made for it, is part of what became of `old`: it takes its line, not its name."""
    found = _origins.get(old)
    if found is None:
        return
    seen = {new}
    stack = [new]
    while stack:
        node = stack.pop()
        if node not in _origins and _is_ours_alone(node):
            _origins[node] = replace(found, name=None, letters=(), is_part=True)
        below = {n for n in all_inputs(node) if n not in _origins and not isinstance(n, Leaf)}
        stack += below - seen
        seen |= below


def files_of(nodes: Iterable[Node]) -> Files:
    """The files of the statements that made some nodes."""
    found = (_origins[node].file for node in nodes if node in _origins)
    return Files(tuple(dict.fromkeys(found)))


def _is_ours_alone(node: Node) -> bool:
    """Whether a leaf stands below: other nodes, such as zeros, are shared with other models and keep no origin.

    A node with an origin has a leaf below it, so the search ends soon.
    """
    seen: set[Node] = set()
    stack = [node]
    while stack:
        n = stack.pop()
        if isinstance(n, Leaf) or n in _origins:
            return True
        if n not in seen:
            seen.add(n)
            stack += all_inputs(n)
    return False


def display_name(node: Node) -> str:
    """What a message calls a node: its declared or assigned name, or the line that made it."""
    if isinstance(node, Leaf):
        return node.name
    if isinstance(node, Carry):
        return "the cotangent" if node.number == COTANGENT else f"carry {node.number} of the scan"
    found = _origins.get(node)
    if found is None:
        return "a tensor"
    return found.name or f"the tensor of {found.place}"


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Nodes made inside take this name in place of the assigned one, as the inner layers of a network do."""
    token = _given_name.set(name if name.isidentifier() else None)
    try:
        yield
    finally:
        _given_name.reset(token)


def assigned_name() -> str | None:
    """The one variable or attribute that the user's statement now running assigns to."""
    found = statement_now(0, 1)
    return found[2] if found else None
