"""Tensors made of numbers: equal ones, counted ones, the identity; and arrays that are part of a model.

In: shapes and numbers. Out: tensors without leaves, which emitted code computes where it reads them; of an array a
leaf, whose numbers every call has.
"""

from math import ceil
from typing import Any

import numpy as np

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph import axes
from gradgen.graph.constants import constant_leaf, read_numbers
from gradgen.graph.nodes import pointwise
from gradgen.graph.operators import kind_of
from gradgen.graph.place import here
from gradgen.graph.scalar import (
    DEFAULT_FLOAT,
    Const,
    Scalar,
    call,
    floor_div,
    integer,
    number,
    position,
    require_poly,
)
from gradgen.graph.sizes import nonnegative
from gradgen.graph.tensor import Tensor, as_formula, made
from gradgen.lang.compute import where
from gradgen.lang.declare import checked_dtype, scoped

__all__ = ["arange", "constant", "eye", "full", "full_like", "linspace", "ones", "ones_like", "zeros", "zeros_like"]


def full(shape: Any, value: Any, dtype: str = "float32") -> Tensor:
    """A tensor with the same number, or tensor without axes, everywhere."""
    return made(pointwise(axes.as_shape(shape), _constant(as_formula(value), dtype)))


def zeros(shape: Any, dtype: str = "float32") -> Tensor:
    """Zeros, of dtype float32, float64, int32, int64, uint32 or bool."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: str = "float32") -> Tensor:
    """Ones, of dtype float32, float64, int32, int64, uint32 or bool."""
    return full(shape, 1, dtype)


def full_like(x: Tensor, value: Any) -> Tensor:
    """The same number everywhere, with the shape and dtype of a tensor."""
    return full(x.shape, value, x.dtype)


def zeros_like(x: Tensor) -> Tensor:
    """Zeros with the shape and dtype of a tensor."""
    return full(x.shape, 0, x.dtype)


def ones_like(x: Tensor) -> Tensor:
    """Ones with the shape and dtype of a tensor."""
    return full(x.shape, 1, x.dtype)


def constant(array: Any, name: str | None = None, dtype: Any = None) -> Tensor:
    """An array as part of the model: a stencil, nodes of a quadrature, a table. Calls need not give it.

        laplace = gg.constant([1.0, -2.0, 1.0])
        y = gg.compute(n, gg.sum(laplace[k] * x[n + k], over=k))

    Operators and functions of tensors take arrays and nested lists in the same way, as in `x @ np.eye(3)`. Saved
    modules hold the numbers in `state()`; no gradient is taken by default. Equal ones without a name are one.

    Args:
        array: an array, or nested lists of numbers, with at most 4,096 elements.
        name: what calls, which may give another array instead, and the emitted text call it; inside `gg.scope` what
            stands in front of it is left out. A number without a name stands in the text.
        dtype: by default bool, int32, uint32 or int64 for booleans and integers, and for floats float32, which
            `gg.compile(..., dtype="float64")` makes float64; the numbers are kept as they are given.

    Raises:
        GraphError: the name is no identifier.
        ShapeError: lists of several lengths, or too many elements: declare those with `gg.input`.
        DTypeError: no numbers, or integers that the dtype does not hold.
    """
    if isinstance(array, Tensor):
        raise DTypeError(f"{here()}gg.constant takes an array, and {axes.describe(array.node)} is a tensor already.")
    wanted = None if dtype is None else checked_dtype(dtype, "a constant")
    called = None if name is None else scoped(name, "tensor")
    value = array.item() if isinstance(array, (np.generic, np.ndarray)) and array.shape == () else array
    is_number = isinstance(value, (bool, int, float))
    if is_number and called is None:  # the text holds it
        return full((), value, wanted or {bool: "bool", int: "int64"}.get(type(value), DEFAULT_FLOAT))
    numbers = read_numbers([value] if is_number else value)
    if numbers is None:
        raise DTypeError(f"{here()}gg.constant takes an array of numbers, not {kind_of(array)}.")
    numbers = numbers.reshape(()) if is_number else numbers
    return made(constant_leaf(numbers, dtype=wanted, name=called), (), called or "constant")


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: str | None = None) -> Tensor:
    """start, start + step, ... below `stop` (above it for a negative step); `arange(n)` is 0, 1, ..., n - 1.

    Args:
        start, stop: integers or sizes, or floats where all three are numbers; `stop` is left out.
        step: a number, not 0.
        dtype: int64 for integers and float32 for floats unless said otherwise.
    """
    if stop is None:
        start, stop = 0, start
    if not isinstance(step, (int, float)) or isinstance(step, bool) or step == 0:
        raise ShapeError(f"{here()}the step of arange is {step!r}: give a number other than 0.")
    if any(isinstance(value, float) for value in (start, stop, step)):
        count: Any = max(0, ceil((stop - start) / step))
        return full((), float(start), dtype or DEFAULT_FLOAT) + arange(count, dtype=dtype or DEFAULT_FLOAT) * float(
            step
        )
    first, last = (axes.as_bound(value, "arange") for value in (start, stop))
    span = require_poly(last - first if step > 0 else first - last)
    extent = floor_div(require_poly(span + abs(step) - 1), integer(abs(step)))
    if nonnegative(require_poly(-extent)):
        extent = integer(0)
    body: Scalar = require_poly(first + step * position(0))
    return made(pointwise((extent,), body if dtype in (None, "int64") else call(_castable(str(dtype)), body)))


def linspace(start: float, stop: float, num: int = 50, endpoint: bool = True, dtype: str = DEFAULT_FLOAT) -> Tensor:
    """`num` numbers at equal distances from `start` to `stop`, which is left out without `endpoint`."""
    if num < 0:
        raise ShapeError(f"{here()}linspace of {num} numbers: give 0 or more.")
    parts = max(num - 1 if endpoint else num, 1)
    k = arange(num, dtype="float64")
    rising = start + k * ((stop - start) / parts)
    exact = rising if not endpoint or num < 2 else where(k == float(num - 1), float(stop), rising)
    return exact.astype(_castable(dtype))


def eye(rows: Any, columns: Any = None, k: int = 0, dtype: str = DEFAULT_FLOAT) -> Tensor:
    """1 on the k-th diagonal of a matrix and 0 elsewhere; square unless `columns` says otherwise."""
    shape = axes.as_shape((rows, rows if columns is None else columns))
    return made(pointwise(shape, call(_castable(dtype), call("eq", position(1) - position(0), integer(k)))))


def _constant(value: Scalar, dtype: Any) -> Scalar:
    dtype = axes.dtype_name(dtype) or dtype
    if dtype == "bool":
        return value if value.dtype == "bool" else call("ne", value, number(0))
    if dtype == DEFAULT_FLOAT and isinstance(value, Const):
        return number(float(value.value))
    return call(_castable(dtype), value)


def _castable(dtype: str) -> str:
    if dtype not in ("float32", "float64", "int32", "int64", "uint32"):
        several = "" if isinstance(dtype, str) else " Several sizes stand in a tuple, as in gg.zeros((2, 3))."
        raise DTypeError(
            f"{here()}a constant has dtype float32, float64, int32, int64, uint32 or bool, not {dtype!r}.{several}"
        )
    return dtype
