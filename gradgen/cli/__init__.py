"""The command line `gradgen`: one command in a function of `commands`, what it needs beside it."""

from gradgen.cli import commands  # noqa: F401  # importing the commands adds them to the application
from gradgen.cli.terminal import app
from gradgen.stages import PASSES

__all__ = ["PASSES", "app"]
