"""Where a node came from: the user's file and line, the name assigned there, the letters of its indices.

In: nodes as they are made. Out: places for messages and names for `emit`. A side table: it never takes part in
equality, and it never fails where there is no source to read.
"""

import ast
import itertools
import linecache
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from weakref import WeakKeyDictionary

from gradgen.graph.nodes import Carry, Leaf, Node, all_inputs

_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


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

    @property
    def place(self) -> str:
        """`mlp.py:14`: the file without its folder, and the first line of the statement."""
        return f"{Path(self.file).name}:{self.line}"


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
    place = _statement_now(item, of)
    if place is None:
        return
    file, line, assigned, execution = place
    _origins[node] = Origin(
        file, line, name or _given_name.get() or assigned, execution, next(_serials), tuple(letters)
    )


def carry_origin(old: Node, new: Node, note: str = "") -> None:
    """Give `new` the origin of `old`, for a rewrite; a note such as "adjoint of" says what became of it."""
    found = _origins.get(old)
    if found is not None and new not in _origins and _is_ours_alone(new):
        _origins[new] = replace(found, note=note or found.note)


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
        return f"carry {node.number} of the scan"
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
    found = _statement_now(0, 1)
    return found[2] if found else None


def here() -> str:
    """The user's file and line now running, with a colon, for the beginning of a message: `mlp.py:14: `."""
    frames = _user_frames()
    return f"{Path(frames[0].f_code.co_filename).name}:{_targets(frames[0])[0]}: " if frames else ""


# ---------------------------------------------------------------- frames


class _Executions(threading.local):
    """Which run of a statement a frame is in: a later node of the same run has the greater path of instructions."""

    def __init__(self) -> None:
        self.latest: dict[tuple[int, int], tuple[tuple[int, ...], int]] = {}


_executions = _Executions()


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE)


def _user_frames() -> list[FrameType]:
    """The innermost run of frames outside this package, innermost first; a few are enough."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    found: list[FrameType] = []
    while frame is not None and not _is_ours(frame) and len(found) < 8:
        found.append(frame)
        frame = frame.f_back
    return found


def _statement_now(item: int, of: int) -> tuple[str, int, str | None, int] | None:
    """File, line and assigned name of the user's statement, and which run of it this is.

    The name of a `return` is the one that its caller assigns.
    """
    frames = _user_frames()
    if not frames:
        return None
    for naming in frames:
        start, names, returns = _targets(naming)
        if not returns:
            break
    path: list[int] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not naming:
        path.append(frame.f_lasti)
        frame = frame.f_back
    path.append(naming.f_lasti)
    name = names[item] if len(names) == of and item < of else None
    execution = _execution((id(naming), start), tuple(reversed(path)))
    return frames[0].f_code.co_filename, _targets(frames[0])[0], name, execution


def _execution(statement: tuple[int, int], path: tuple[int, ...]) -> int:
    latest = _executions.latest
    found = latest.get(statement)
    number = found[1] if found is not None and path > found[0] else next(_serials)
    if len(latest) > 256:
        latest.clear()
    latest[statement] = path, number
    return number


# ---------------------------------------------------------------- the user's source


@dataclass(frozen=True, slots=True)
class _Target:
    start: tuple[int, int]
    end: tuple[int, int]
    line: int
    names: tuple[str, ...]
    returns: bool


@dataclass(slots=True)
class _Source:
    lines: list[str]
    targets: dict[int, list[_Target]] = field(default_factory=dict)


_sources: dict[str, _Source] = {}


def _targets(frame: FrameType) -> tuple[int, tuple[str, ...], bool]:
    """First line of the statement a frame is in, the names it assigns, and whether it is a return."""
    candidates = _source(frame).targets.get(frame.f_lineno, [])
    if len(candidates) > 1:
        at = _instruction_place(frame)
        candidates = [t for t in candidates if at is not None and t.start <= at < t.end][-1:]
    if not candidates:
        return frame.f_lineno, (), False
    return candidates[0].line, candidates[0].names, candidates[0].returns


def _instruction_place(frame: FrameType) -> tuple[int, int] | None:
    at = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), None)
    if at is None or at[0] is None or at[2] is None:
        return None
    return at[0], at[2]


def _source(frame: FrameType) -> _Source:
    file = frame.f_code.co_filename
    lines = linecache.getlines(file, frame.f_globals)
    found = _sources.get(file)
    if found is None or found.lines is not lines:
        found = _sources[file] = _Source(lines)
        try:
            tree = ast.parse("".join(lines))
        except (SyntaxError, ValueError, RecursionError):
            return found
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt) and not hasattr(node, "body"):
                for target in _statement_targets(node):
                    for line in range(target.start[0], target.end[0] + 1):
                        found.targets.setdefault(line, []).append(target)
    return found


def _statement_targets(node: ast.stmt) -> Iterator[_Target]:
    returns = isinstance(node, ast.Return)
    yield _target(node, node.lineno, tuple(_names(_assigned(node))), returns)
    if (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and isinstance(node.targets[0], ast.Tuple)
        and len(node.value.elts) == len(node.targets[0].elts)
    ):
        for name, value in zip(node.targets[0].elts, node.value.elts, strict=True):
            yield _target(value, node.lineno, tuple(_names([name])), returns)


def _target(node: ast.stmt | ast.expr, line: int, names: tuple[str, ...], returns: bool) -> _Target:
    end = (node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
    return _Target((node.lineno, node.col_offset), end, line, names, returns)


def _assigned(node: ast.stmt) -> list[ast.expr]:
    match node:
        case ast.Assign(targets=targets):
            return targets[:1]
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return [target]
    return []


def _names(targets: Iterable[ast.expr]) -> Iterator[str]:
    for target in targets:
        match target:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                yield from _names(parts)
