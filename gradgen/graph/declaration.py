"""What is said about one scalar function: meaning, result dtype, derivative, notation.

In: nothing. Out: the record that `analytic` and `functions` fill in, once for every function.
"""

from dataclasses import dataclass
from typing import Literal

Result = Literal[
    "promote", "float", "bool", "int", "branches", "float32", "float64", "int32", "int64", "uint32", "integer"
]


@dataclass(frozen=True, eq=False, slots=True)
class ScalarFunction:
    """One scalar function.

    `definition` is a SymPy expression in x, y, z; `partials` overrides SymPy's derivative per argument, in terms of
    the arguments and `out`; `"0"` is an explicit zero ("no gradient", which is not the same as forgotten).
    `cost` is in units of one addition, for the scheduler. `latex` is the notation, with $x, $y, $z for the arguments,
    and `meaning` the value in words.
    """

    name: str
    arity: int
    result: Result
    definition: str
    partials: tuple[str, ...] | None = None
    symbol: str = ""
    precedence: int = 0
    cost: float = 1.0
    kink: str = ""
    latex: str = ""
    meaning: str = ""

    def __repr__(self) -> str:
        return self.name


ZERO = "zero everywhere"  # at a kink: the derivative is declared to be 0

_ARGUMENTS = ("x", "y", "z")


def argument_names(function: ScalarFunction) -> tuple[str, ...]:
    """The letters that stand for the arguments of a function in its declaration."""
    return _ARGUMENTS[: function.arity]
