"""The environment variables gradgen reads: every one of them, typed, read at the time of the question.

`VARIABLES` is the table for the docs and for `gradgen --help`; the functions below it are how modules ask.
"""

import os
from pathlib import Path
from typing import NamedTuple

from gradgen.errors import OptionError

__all__ = ["VARIABLES", "Variable", "blas_kernels", "cache_dir", "check", "debug", "smallest"]


class Variable(NamedTuple):
    """One environment variable: its name, what it may be, what it does."""

    name: str
    values: str
    meaning: str


VARIABLES = (
    Variable(
        "GRADGEN_CACHE_DIR",
        "a directory of your own",
        "where emitted modules and their machine code are kept (default: $XDG_CACHE_HOME/gradgen or ~/.cache/gradgen)",
    ),
    Variable("GRADGEN_CHECK", "0 or 1", "compile anew what could come from the cache, and verify behind every pass"),
    Variable(
        "GRADGEN_DEBUG",
        "0 to 4",
        "print while compiling: 1 passes with node counts and times, 2 graphs, 3 programs, 4 the emitted text",
    ),
    Variable(
        "GRADGEN_THRESHOLDS",
        "usual or smallest",
        "smallest: small models are compiled like large ones, in parts, by products, for threads (for tests)",
    ),
)

_SWITCH = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


def cache_dir() -> Path | None:
    """GRADGEN_CACHE_DIR, else `gradgen` in XDG_CACHE_HOME or in ~/.cache; None where there is no home."""
    if own := os.environ.get("GRADGEN_CACHE_DIR"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():  # the XDG specification ignores relative values
        return Path(base) / "gradgen"
    try:
        return Path.home() / ".cache" / "gradgen"
    except RuntimeError:
        return None


def check() -> bool:
    """GRADGEN_CHECK: whether to compile what could come from the cache, and to verify behind every pass.

    Raises:
        OptionError: the value is neither 0 nor 1.
    """
    given = os.environ.get("GRADGEN_CHECK", "")
    value = _SWITCH.get(given.strip().lower())
    if value is None:
        raise OptionError(f"GRADGEN_CHECK is {given!r}. Set it to 0 or 1.")
    return value


def debug() -> int:
    """GRADGEN_DEBUG: how much to print while compiling, from 0 (nothing) to 4 (the emitted text).

    Raises:
        OptionError: the value is not a number from 0 to 4.
    """
    given = os.environ.get("GRADGEN_DEBUG", "").strip() or "0"
    if given not in {"0", "1", "2", "3", "4"}:
        raise OptionError(f"GRADGEN_DEBUG is {given!r}. Set it to a number from 0 to 4.")
    return int(given)


def smallest() -> bool:
    """GRADGEN_THRESHOLDS: whether every mechanism is used however small a model is.

    Raises:
        OptionError: the value is neither usual nor smallest.
    """
    given = os.environ.get("GRADGEN_THRESHOLDS", "").strip() or "usual"
    if given not in {"usual", "smallest"}:
        raise OptionError(f"GRADGEN_THRESHOLDS is {given!r}. Set it to usual or smallest.")
    return given == "smallest"


def blas_kernels() -> str:
    """OPENBLAS_CORETYPE, which OpenBLAS reads, for the report of what is set: a processor, or nothing."""
    return os.environ.get("OPENBLAS_CORETYPE", "")
