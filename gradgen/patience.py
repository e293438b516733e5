"""A sign of life on a terminal, for what takes longer than two seconds.

In: what is being done, and how it is shown. Out: a line on standard error, or another display, that is wiped off when
it is done; nothing where nobody looks, in a file, a pipe or a notebook, or where somebody else says it already.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Timer
from typing import Protocol

__all__ = ["PATIENCE", "Display", "Line", "patience", "told"]

PATIENCE = 2.0  # seconds
_is_told: ContextVar[bool] = ContextVar("gradgen_is_told", default=False)


@contextmanager
def told() -> Iterator[None]:
    """Whatever is done inside, somebody says it already."""
    token = _is_told.set(True)
    try:
        yield
    finally:
        _is_told.reset(token)


class Display(Protocol):
    """What stands on the terminal from `start` to `stop`."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Line:
    """`gradgen: compiling mlp ...`"""

    def __init__(self, what: str) -> None:
        self._text = f"gradgen: {what} ..."
        self._terminal = sys.stderr

    def start(self) -> None:
        self._write(self._text)

    def stop(self) -> None:
        self._write(f"\r{' ' * len(self._text)}\r")

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()


@contextmanager
def patience(what: str, display: Callable[[str], Display] = Line) -> Iterator[None]:
    """Show from two seconds on, and as long as it takes, what is being done; what is done inside shows nothing."""
    if _is_told.get() or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    shown = display(what)
    started: list[Display] = []

    def start() -> None:
        started.append(shown)
        shown.start()

    timer = Timer(PATIENCE, start)
    timer.daemon = True
    timer.start()
    try:
        with told():
            yield
    finally:
        timer.cancel()
        timer.join()
        for each in started:
            each.stop()
