"""Where a node came from: the user's file and line, the name assigned there, the letters of its indices.

In: nodes as they are made. Out: places for messages and names for `emit`. A side table: it never takes part in
equality, and it never fails where there is no source to read.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

from gradgen.graph.canonical import bare_position
from gradgen.graph.intern import digest_of
from gradgen.graph.nodes import COTANGENT, Carry, Compute, Leaf, Node, all_inputs
from gradgen.graph.place import statement_now
from gradgen.graph.scalar import loads
from gradgen.graph.side_tables import side_table

Place = tuple[str, int]  # file and line


@dataclass(eq=False, slots=True, weakref_slot=True)
class Run:
    """One execution of a statement, and the greatest `order` among the nodes that it has made so far under one name."""

    number: int
    latest: int = -1


@dataclass(frozen=True, slots=True)
class Origin:
    """The statement that made a node.

    Several nodes of one statement share `name` and `run`; the one with the greatest `order` among them was made last,
    so it is the outermost, which the variable is bound to. It alone has the plain name, also where it is not in the
    graph that is looked at, or nowhere any more. `note` is the "d_" of adjoints and the "t_" of tangents; `of` is
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
    formulas: tuple[Place, ...] = ()  # those that an adjoint is the adjoint of
    is_part: bool = False  # made by a rewrite for the sake of a node of this statement
    argument: str | None = None  # the name of the one tensor that it is a function of
    is_given: bool = False  # the name is that of a layer, or was given beside the formula; no variable has it
    is_carried: bool = False  # that of a node in whose place a rewrite put this one

    @property
    def is_outermost(self) -> bool:
        """Whether no node of the statement was made later."""
        return self.run.latest == self.order

    @property
    def bound_name(self) -> str | None:
        """The name of the variable that is bound to the node, with the "d_" of an adjoint; parts of it have none."""
        return f"{self.note}{self.name}" if self.name and self.is_outermost and not self.is_part else None

    @property
    def execution(self) -> int:
        """The number of the run."""
        return self.run.number

    @property
    def place(self) -> str:
        """`mlp.py:14`: the file without its folder, and the first line of the statement."""
        return f"{Path(self.file).name}:{self.line}"

    @property
    def places(self) -> tuple[Place, ...]:
        """The lines of the formulas that it computes, or is the adjoint of."""
        return self.formulas or ((self.file, self.line),)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a model: what a text calls the lines of its formulas."""

    paths: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Without folders, so that texts are the same wherever a model lies; what was typed at a prompt has none."""
        return tuple(dict.fromkeys(Path(path).name for path in self.paths if _is_file(path)))

    def lines(self, node: Node) -> str:
        """`12`, or `12, 14` for the sum of two adjoints; `mlp.py:12` where there is more than one file."""
        found = _origins.get(node)
        if found is None:
            return ""
        places = sorted({(Path(path).name if _is_file(path) else "", line) for path, line in found.places})
        return ", ".join(f"{name}:{line}" if name and len(self.paths) > 1 else f"{line}" for name, line in places)


_origins: WeakKeyDictionary[Node, Origin] = side_table("origins")
_runs: WeakValueDictionary[tuple[int, str | None], Run] = WeakValueDictionary()  # by execution and name
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
    given = name or _given_name.get()
    wanted = given or assigned
    run = Run(execution) if isinstance(node, Leaf) else _runs.setdefault((execution, wanted), Run(execution))
    run.latest = next(_serials)
    around = _runs.get((execution, assigned))
    if around is not None and not isinstance(node, Leaf):
        around.latest = run.latest  # what the variable is bound to comes later than what layers made for it
    _origins[node] = Origin(
        file, line, wanted, run, run.latest, tuple(letters), argument=_argument(node), is_given=given is not None
    )


def note_result() -> None:
    """The statement now running assigns what is made of its tensors, as a network is: none of them has its name."""
    place = statement_now(0, 1)
    run = _runs.get((place[3], place[2])) if place is not None else None
    if run is not None:
        run.latest = next(_serials)


def inherited_letters(node: Node) -> tuple[str, ...]:
    """Letters for the loops of a formula that was written without indices: those of what it reads, or none."""
    if not isinstance(node, Compute):
        return ()
    known: dict[int, str] = {}
    for access in loads(node.body):
        found = _origins.get(access.tensor)
        if found is not None and isinstance(access.tensor, Compute) and access.tensor.gathers:
            for subscript, name in zip(access.subscripts, found.letters, strict=False):
                at = bare_position(subscript)
                if at is not None and name and name not in known.values():
                    known.setdefault(at, name)
    return tuple(known.get(k, "") for k in range(len(node.extents)))


def _argument(node: Node) -> str | None:
    """The name of the one tensor that a formula reads."""
    read = {access.tensor for access in loads(node.body)} if isinstance(node, Compute) else set()
    if len(read) != 1:
        return None
    (tensor,) = read
    found = _origins.get(tensor)
    return tensor.name if isinstance(tensor, Leaf) else found.bound_name if found is not None else None


def carry_origin(old: Node, new: Node) -> None:
    """Give `new`, which has the value of `old`, its origin.

    What was made on the way, and has no origin, is part of the same statement. The letters of what is summed stay only
    with a body that reads as the old one did: positions are numbered as a body mentions them.
    """
    found = _origins.get(old)
    if found is not None:
        if isinstance(new, Compute) and len(new.reduced) > 1 and not _reads_alike(old, new):
            found = replace(found, letters=found.letters[: len(new.shape)])
        _settle(new, replace(found, is_carried=True))
        carry_place(old, new)


def carry_lifted(old: Node, new: Node) -> None:
    """Give `new`, which has the value of `old` for every step along a first axis, its origin."""
    found = _origins.get(old)
    if found is not None:
        several = isinstance(old, Compute) and len(old.reduced) > 1  # numbered as the body mentions them
        letters = found.letters[: len(old.shape)] if several else found.letters
        _settle(new, replace(found, letters=("", *letters) if letters else ()))
        carry_place(old, new)


def carry_merged(old: Node, new: Node, position: int) -> None:
    """Give `new`, which has the elements of `old` with one index for this position and the one before, its origin."""
    found = _origins.get(old)
    if found is not None:
        letters = found.letters[:position] + found.letters[position + 1 :]
        if isinstance(new, Compute) and len(new.reduced) > 1:  # numbered as the body mentions them
            letters = letters[: len(new.shape)]
        _settle(new, replace(found, letters=letters))
        carry_place(old, new)


def _reads_alike(old: Node, new: Compute) -> bool:
    """Whether two formulas read at the same positions, in the same order."""
    if not isinstance(old, Compute):
        return False
    mine, its = ([access.subscripts for access in loads(node.body)] for node in (old, new))
    return len(mine) == len(its) and all(
        len(a) == len(b) and all(p is q for p, q in zip(a, b, strict=True)) for a, b in zip(mine, its, strict=True)
    )


def name_derivative(node: Node, derivative: Node, prefix: str, terms: Iterable[Node] = ()) -> None:
    """d_u for u: a derivative is called after its value, and has the lines of the formulas that its terms come from."""
    found = _origins.get(node)
    if found is None:
        return
    if found.mark is None:
        found = _origins[node] = replace(found, mark=next(_serials))
    lines = dict.fromkeys(place for term in terms if term in _origins for place in _origins[term].places)
    _settle(derivative, replace(found, note=f"{prefix}{found.note}", mark=None, of=found.mark, formulas=(*lines,)))
    carry_place(node, derivative)


def name_part(node: Node, part: Node, prefix: str = "") -> None:
    """What a node, or its derivative, is computed from is called after it, but has another value."""
    found, known = _origins.get(node), _origins.get(part)
    if found is not None:
        lines = found.places if known is None else known.places
        _settle(part, replace(found, note=f"{prefix}{found.note}", mark=None, of=None, formulas=lines))


def _settle(node: Node, found: Origin) -> None:
    """The origin of a node that has none yet, or was part of something."""
    known = _origins.get(node)
    is_better = known is None or (known.is_part and not found.is_part) or _is_inside(known, found)
    if is_better and _is_ours_alone(node):
        _origins[node] = found


def _is_inside(known: Origin, found: Origin) -> bool:
    """Whether both are rewritten nodes of one statement, and the known one was made first: it stands for both now."""
    return (
        known.is_carried
        and found.is_carried
        and (known.run is found.run and known.note == found.note)
        and known.order < found.order
    )


def carry_place(old: Node, new: Node, prefix: str = "") -> None:
    """Note that `new`, and what was made for it, is part of what became of `old`, or of its derivative."""
    found = _origins.get(old)
    if found is None:
        return
    seen = {new}
    stack = [new]
    while stack:
        node = stack.pop()
        if node not in _origins and _is_ours_alone(node):
            note = f"{prefix}{found.note}"
            _origins[node] = replace(found, note=note, letters=(), mark=None, of=None, is_part=True)
        below = {n for n in all_inputs(node) if n not in _origins and not isinstance(n, Leaf)}
        stack += below - seen
        seen |= below


_ELSEWHERE = "elsewhere:"  # what the path of a file begins with on another machine than its own


@lru_cache(maxsize=1024)
def _is_file(path: str) -> bool:
    """Whether a path is one of a file; asked for every formula, so answered once."""
    if path.startswith(_ELSEWHERE):
        return path.startswith(f"{_ELSEWHERE}file ")
    return Path(path).is_file()


def without_folders(found: Origin) -> Origin:
    """An origin as another machine may know it, where texts come out the same: its files have names only.

    In front of a name stands whether that was a file, and a digest, for there may be two files of one name.
    """
    return replace(
        found,
        file=_without_folder(found.file),
        formulas=tuple((_without_folder(path), line) for path, line in found.formulas),
    )


@lru_cache(maxsize=1024)
def _without_folder(path: str) -> str:
    if path.startswith(_ELSEWHERE):
        return path
    return f"{_ELSEWHERE}{'file' if _is_file(path) else 'text'} {digest_of(path)[:8]}/{Path(path).name}"


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
    return found.bound_name or f"the tensor of {found.place}"


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Nodes made inside take this name in place of the assigned one, as the inner layers of a network do."""
    token = _given_name.set(name if name.isidentifier() else None)
    try:
        yield
    finally:
        _given_name.reset(token)
