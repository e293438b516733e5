"""Where a node came from: the user's file and line, the name assigned there, the letters of its indices.

In: nodes as they are made. Out: places for messages and names for `emit`. A side table: it never takes part in
equality, and it never fails where there is no source to read.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

from gradgen.graph.nodes import COTANGENT, Carry, Leaf, Node, all_inputs
from gradgen.graph.place import statement_now


@dataclass(eq=False, slots=True, weakref_slot=True)
class Run:
    """One execution of a statement, and the greatest `order` among the nodes that it has made so far."""

    number: int
    latest: int = -1


@dataclass(frozen=True, slots=True)
class Origin:
    """The statement that made a node.

    Several nodes of one statement share `name` and `run`; the one with the greatest `order` among them was made last,
    so it is the outermost and deserves the plain name. `note` is the "d_" of adjoints and the "t_" of tangents; `of` is
    the `mark` of the node whose derivative it is.
    """

    file: str
    line: int
    name: str | None
    run: Run
    order: int
    letters: tuple[str, ...] = ()
    note: str = ""
    mark: int | None = None
    of: int | None = None

    @property
    def is_outermost(self) -> bool:
        """Whether no node of the statement was made later."""
        return self.run.latest == self.order

    @property
    def execution(self) -> int:
        """The number of the run."""
        return self.run.number

    @property
    def place(self) -> str:
        """`mlp.py:14`: the file without its folder, and the first line of the statement."""
        return f"{Path(self.file).name}:{self.line}"


_origins: WeakKeyDictionary[Node, Origin] = WeakKeyDictionary()
_serials = itertools.count()
_runs: WeakValueDictionary[int, Run] = WeakValueDictionary()
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
    run = _runs.setdefault(execution, Run(execution))
    run.latest = next(_serials)
    _origins[node] = Origin(file, line, name or _given_name.get() or assigned, run, run.latest, tuple(letters))


def carry_origin(old: Node, new: Node) -> None:
    """Give `new`, which has the value of `old`, its origin."""
    found = _origins.get(old)
    if found is not None and new not in _origins and _is_ours_alone(new):
        _origins[new] = found


def name_derivative(node: Node, derivative: Node, prefix: str) -> None:
    """d_u for u: a derivative comes from where its value did, and is called after it."""
    found = _origins.get(node)
    if found is not None and found.mark is None:
        found = _origins[node] = replace(found, mark=next(_serials))
    _name(derivative, found, prefix, None if found is None else found.mark)


def name_part(node: Node, part: Node, prefix: str = "") -> None:
    """What a node, or its derivative, is computed from comes from the same line; it has another value."""
    _name(part, _origins.get(node), prefix, None)


def _name(node: Node, found: Origin | None, prefix: str, of: int | None) -> None:
    if found is not None and node not in _origins and _is_ours_alone(node):
        _origins[node] = replace(found, note=f"{prefix}{found.note}", mark=None, of=of)


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
