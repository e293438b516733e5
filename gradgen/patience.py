"""A sign of life on a terminal, for what takes longer than two seconds.

In: what is being done. Out: a line on standard error that is wiped off when it is done; nothing where nobody looks, in
a file, a pipe or a notebook, or where somebody else says it already.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Timer

__all__ = ["PATIENCE", "patience", "told"]

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


@contextmanager
def patience(what: str) -> Iterator[None]:
    """`gradgen: compiling mlp ...` from two seconds on, as long as it takes."""
    terminal = sys.stderr
    if _is_told.get() or terminal is None or not terminal.isatty():
        yield
        return
    line = f"gradgen: {what} ..."
    said: list[str] = []

    def say() -> None:
        said.append(line)
        terminal.write(line)
        terminal.flush()

    timer = Timer(PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        with told():
            yield
    finally:
        timer.cancel()
        timer.join()
        if said:
            terminal.write(f"\r{' ' * len(line)}\r")
            terminal.flush()
