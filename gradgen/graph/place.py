"""Where the user's program stands: the file and line that call this package, and the name assigned there.

In: the frames of the call. Out: places for messages, which every module may ask for, and what `origin` keeps for nodes.
It never fails where there is no source to read.
"""

import ast
import itertools
import linecache
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from gradgen.ours import is_ours

_runs = itertools.count()


def here() -> str:
    """The user's file and line now running, with a colon, for the beginning of a message: `mlp.py:14: `."""
    frames = _user_frames()
    return f"{Path(frames[0].f_code.co_filename).name}:{_targets(frames[0])[0]}: " if frames else ""


def warn(message: str, kind: type[Warning]) -> None:
    """A warning that shows the user's line now running."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and _is_ours(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, kind, stacklevel=level)


# ---------------------------------------------------------------- frames


class _Executions(threading.local):
    """Which run of a statement a frame is in: a later node of the same run has the greater path of instructions."""

    def __init__(self) -> None:
        self.latest: dict[tuple[int, int], tuple[tuple[int, ...], int, object]] = {}
        self.call: object = None


_executions = _Executions()


@contextmanager
def one_call() -> Iterator[None]:
    """What is made inside is made by one run of the user's statement, also where this package goes in a loop."""
    outer, _executions.call = _executions.call, object()
    try:
        yield
    finally:
        _executions.call = outer


def _is_ours(frame: FrameType) -> bool:
    """Whether it runs code of this package, that which `dataclass` writes included."""
    file = frame.f_code.co_filename
    return is_ours(file) or (file == "<string>" and frame.f_globals.get("__package__") == "gradgen.graph")


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


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the user's program, in one run of the function around it, and the one name that it assigns."""

    frame: int
    line: int
    name: str | None


def statement_here() -> Statement | None:
    """The user's statement now running; of a `return`, the one that its caller runs. `copy` copies for others."""
    found = _naming_frame([frame for frame in _user_frames() if frame.f_globals.get("__name__") != "copy"])
    if found is None:
        return None
    frame, line, names = found
    return Statement(id(frame), line, names[0] if len(names) == 1 else None)


def _naming_frame(frames: Sequence[FrameType]) -> tuple[FrameType, int, tuple[str, ...]] | None:
    """The innermost frame whose statement is no `return`, the line of that, and the names that it assigns."""
    found = None
    for frame in frames:
        line, names, returns = _targets(frame)
        found = frame, line, names
        if not returns:
            break
    return found


def statement_now(item: int, of: int) -> tuple[str, int, str | None, int] | None:
    """File, line and assigned name of the user's statement, and which run of it this is.

    The name of a `return` is the one that its caller assigns.
    """
    frames = _user_frames()
    found = _naming_frame(frames)
    if found is None:
        return None
    naming, start, names = found
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
    found, call = latest.get(statement), _executions.call
    is_same = found is not None and (path > found[0] or (call is not None and call is found[2]))
    number = found[1] if found is not None and is_same else next(_runs)
    if len(latest) > 256:
        latest.clear()
    latest[statement] = path, number, call
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
    """First line of the statement a frame is in, the names it assigns, and whether it is a return, as in a lambda."""
    candidates = _source(frame).targets.get(frame.f_lineno, [])
    if len(candidates) > 1:
        at = _instruction_place(frame)
        candidates = [t for t in candidates if at is not None and t.start <= at < t.end][-1:]
    if not candidates:
        return frame.f_lineno, (), False
    found = candidates[0]
    if frame.f_code.co_name == "<lambda>":  # the statement around it does not assign what it returns
        return found.line, (), True
    return found.line, found.names, found.returns


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
