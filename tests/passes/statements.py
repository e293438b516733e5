"""Small statements for the tests of passes on loops, their text, and a run of that text in plain Python."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradgen.emit.cpu import CpuPrinter
from gradgen.graph.intern import intern
from gradgen.graph.scalar import Poly, Scalar, as_scalar, call, load, number, require_poly
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    LoopKind,
    Statement,
    letter,
)

h, i, j, k, t = (letter(name) for name in "hijkt")


class Checked(np.ndarray):  # type: ignore[type-arg]
    """An array that refuses the negative subscripts which Python would take from the end."""

    def __getitem__(self, at: Any) -> Any:
        _refuse_negative(at)
        return super().__getitem__(at)

    def __setitem__(self, at: Any, value: Any) -> None:
        _refuse_negative(at)
        super().__setitem__(at, value)


def _refuse_negative(at: Any) -> None:
    if any(isinstance(x, (int, np.integer)) and x < 0 for x in (at if isinstance(at, tuple) else (at,))):
        raise IndexError(f"{at} is negative")


def array(name: str, *shape: Poly | int, dtype: str = "float64") -> Buffer:
    return intern(Buffer, name, tuple(require_poly(s) for s in shape), dtype, "work", None)


def variable(name: str, dtype: str = "float64") -> Buffer:
    return intern(Buffer, name, (), dtype, "local", None)


def at(buffer: Buffer, *subscripts: Poly | int) -> Scalar:
    return load(buffer, subscripts)


def scalar(value: Scalar | float) -> Scalar:
    found = as_scalar(value)
    assert found is not None
    return found


def where(condition: Scalar, yes: Scalar | float, no: Scalar | float = 0) -> Scalar:
    return call("where", condition, scalar(yes), scalar(no))


def both(*conditions: Scalar) -> Scalar:
    whole: Scalar = number(True)
    for condition in conditions:
        whole = call("and", whole, condition)
    return whole


def assign(buffer: Buffer, subscripts: Sequence[Poly | int], value: Scalar | float) -> Assign:
    return Assign(buffer, tuple(require_poly(s) for s in subscripts), scalar(value))


def add(buffer: Buffer, subscripts: Sequence[Poly | int], value: Scalar | float, operation: Any = "sum") -> Accumulate:
    return Accumulate(buffer, tuple(require_poly(s) for s in subscripts), operation, scalar(value))


def loop(name: Poly, extent: Poly | int, *body: Statement, kind: LoopKind = "parallel", start: int = 0) -> For:
    return For(str(name.atoms[0].name), require_poly(start), require_poly(extent), kind, body)  # type: ignore[union-attr]  # a letter


def text(body: Sequence[Statement]) -> str:
    return "\n".join(CpuPrinter().lines(body)).replace("np.float64", "")


def run(body: Sequence[Statement], arrays: dict[str, np.ndarray[Any, Any]], sizes: dict[str, int]) -> dict[str, Any]:
    """The arrays after these statements; reads outside of an array are errors."""
    names: dict[str, Any] = {name: a.copy().view(Checked) for name, a in arrays.items()}
    functions = {"exp_f64": np.exp, "maximum_f64": np.maximum, "minimum_f64": np.minimum}
    with np.errstate(all="ignore"):
        exec("\n".join(CpuPrinter().lines(body)) or "pass", {"np": np, **functions}, scope := {**names, **sizes})
    return {name: np.asarray(scope[name]) for name in arrays}
