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


def turn(names: Sequence[str], name: str) -> str:
    """The dtype in which a name is compiled by default."""
    return DTYPES[names.index(name) % len(DTYPES)]


def by_turns(names: Sequence[str]) -> list[Any]:
    """A case of each name in each dtype, of which the default run has one."""
    return [parameter(name, dtype, default=dtype == turn(names, name)) for name in names for dtype in DTYPES]
