"""Tracebacks of errors that a user can mend: they end in the user's own line.

In: a `GradgenError` that nobody caught. Out: its traceback without the frames of this package, in a terminal and in a
notebook; with GRADGEN_DEBUG=1 whole. Other exceptions are shown as before.
"""

import sys
from traceback import TracebackException
from types import TracebackType

from gradgen import env
from gradgen.errors import GradgenError
from gradgen.ours import is_ours

__all__ = ["install", "shown"]


def shown(error: BaseException) -> list[str]:
    """The lines of a traceback, without frames of this package."""
    return _lines(error, trimmed=True)


def _lines(error: BaseException, trimmed: bool) -> list[str]:
    found = TracebackException(type(error), error, error.__traceback__)
    if trimmed:
        _trim(found)
    return [line for part in found.format() for line in part.splitlines()]


def _trim(found: TracebackException) -> None:
    """Leave the frames of users, of this error and of those that led to it; all of them where there is no other."""
    theirs = [frame for frame in found.stack if not is_ours(frame.filename)]
    if theirs:
        found.stack[:] = theirs
    for other in (found.__cause__, found.__context__):
        if other is not None:
            _trim(other)


def _is_trimmed(error: BaseException) -> bool:
    try:
        return isinstance(error, GradgenError) and not env.debug()
    except GradgenError:  # the variable is what the message is about
        return True


def install() -> None:
    """Show errors so from now on, where Python or IPython shows them."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if sys.stderr is not None and _is_trimmed(error):
            sys.stderr.write("\n".join(shown(error)) + "\n")
        else:
            before(kind, error, traceback)

    sys.excepthook = hook
    setattr(GradgenError, "_render_traceback_", _rendered)  # noqa: B010  # IPython asks for it, in notebooks too


def _rendered(error: GradgenError) -> list[str]:
    return _lines(error, trimmed=_is_trimmed(error))
