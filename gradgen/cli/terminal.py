"""What the commands have in common: the application, its errors, and a sign of life after two seconds.

In: what goes wrong. Out: a message and an exit code, the same for every command.
"""

from contextlib import AbstractContextManager
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from gradgen import env
from gradgen.errors import GradgenError
from gradgen.patience import patience

__all__ = ["EXIT_CODES", "app", "working"]

EXIT_CODES = "Exit codes: 0 all is well; 1 a check failed, or a model has an error; 2 the command line has one."


class _Group(TyperGroup):
    """Reports the errors that a model can cause by their message; GRADGEN_DEBUG=1 shows where they come from."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except GradgenError as error:
            if _debugging():
                raise
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None


def _debugging() -> bool:
    try:
        return env.debug() > 0
    except GradgenError:  # the variable is what the message is about
        return False


_VARIABLES = "\n\n".join(f"{v.name} ({v.values}): {v.meaning}." for v in env.VARIABLES)
app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Compile models to readable Numba modules, and look at every step on the way.",
    epilog=f"{EXIT_CODES}\n\nEnvironment variables:\n\n{_VARIABLES}",
)


def working(what: str) -> AbstractContextManager[None]:
    """Say with a spinner what takes so long, from two seconds on, and wipe it off when it is done."""
    return patience(what, lambda text: Console(stderr=True).status(f"{text} ..."))
