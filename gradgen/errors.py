"""Everything gradgen raises or warns about on purpose.

A message names the user's line, the formula or tensor, the sizes by name, and the next action:
`mlp.py:14: index i runs over X2's axis 1 (128) and h1's axis 1 (64). Make the sizes equal, or use two indices.`
Nothing of ours is imported here; every other module may import this one.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "BindingError",
    "CacheError",
    "CacheWarning",
    "CopiesWarning",
    "DTypeError",
    "FileError",
    "GradgenError",
    "GraphError",
    "LayoutWarning",
    "OptionError",
    "ProgramError",
    "ShapeError",
    "StatesWarning",
    "nearest",
]


class GradgenError(Exception):
    """The base of every error that a user of gradgen can cause and mend."""


class ShapeError(GradgenError, ValueError):
    """Sizes, ranges or numbers of axes that do not fit each other."""


class DTypeError(GradgenError, TypeError):
    """An element type that is not the declared one, or that an operation does not take."""


class ProgramError(GradgenError):
    """A program that could race, or read what was never written: a bug of gradgen, with everything that is wrong."""


class BindingError(GradgenError, LookupError):
    """A name that is missing, unknown or given twice, or an index value outside the axis it selects from."""


class GraphError(GradgenError, ValueError):
    """A formula or graph without a meaning: an index without a range, a gradient of something unrelated."""


class OptionError(GradgenError, ValueError):
    """An option or environment variable with a value it cannot have."""


class FileError(GradgenError, OSError):
    """A file that cannot be read or written, or that holds something else."""


class CacheError(FileError):
    """A folder that cannot be the cache, or an entry of it that must not be imported."""


class CacheWarning(UserWarning):
    """The cache cannot be used as asked: results are right, the next process compiles again."""


class CopiesWarning(UserWarning):
    """A model has many copies of one step: numbers are right, compiling takes as many times as long."""


class LayoutWarning(UserWarning):
    """An argument is copied once because its memory layout is not the one the emitted code reads."""


class StatesWarning(UserWarning):
    """A step of training leaves states of layers as they are, which are there to change with every step."""


def nearest(name: str, known: Iterable[str], module: str) -> str:
    """The end of a message about a name that a module has not: the one that is meant, however it is spelled."""
    found = {_spelled(other): other for other in known}
    near = get_close_matches(_spelled(name), found, 1, 0.75)
    return f": did you mean {module}.{found[near[0]]}?" if near else ""


def _spelled(name: str) -> str:
    return name.lower().replace("_", "")
