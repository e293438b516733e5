"""What only `pytest --all` runs: a check that the default run makes already, in another dtype, model or size.

Numba's compilation is what takes the time of the tests, so what is compiled by default is chosen by turns: with the
even ones of a list in one dtype and the odd ones in the other, each has machine code, and so has each dtype.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest

DTYPES = ("float64", "float32")


def parameter(*values: Any, default: bool = True) -> Any:
    """One case, called by all that it is about; it repeats another one unless the default run has it."""
    return pytest.param(*values, id="-".join(map(str, values)), marks=() if default else pytest.mark.repeats)


def chosen(names: Iterable[Any], default: Collection[Any]) -> list[Any]:
    """A case of each name, of which the default run has some."""
    return [parameter(name, default=name in default) for name in names]


def turn(names: Sequence[Any], name: Any, ways: Sequence[Any] = DTYPES) -> Any:
    """The way of a name in the default run, which is a dtype where nothing else is said."""
    return ways[names.index(name) % len(ways)]


def by_turns(names: Sequence[Any], ways: Sequence[Any] = DTYPES) -> list[Any]:
    """A case of each name in each way, of which the default run has one; a way that stands twice has more turns."""
    return [
        parameter(name, way, default=way == turn(names, name, ways)) for name in names for way in dict.fromkeys(ways)
    ]
