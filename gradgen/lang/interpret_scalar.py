"""What scalar functions and reducers compute, in NumPy: the tables of the reference interpreter.

In: the name of a function or reducer and arrays of one dtype. Out: an array; `interpret` is the only reader.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gradgen.graph.functions import ScalarFunction

__all__ = ["IMPLEMENTATIONS", "WEAK", "Array", "operand_dtype", "reduce_last"]

Array: TypeAlias = NDArray[Any]
WEAK = {"pyint": "int64", "pyfloat": "float64"}  # how a Python number is held until it meets a dtype


def _int_power(x: Array, n: Array) -> Array:
    if np.any(n < 0):
        raise ValueError("an integer to a negative integer power is not an integer: cast to float")
    return np.power(x, n)


def _power(x: Array, y: Array) -> Array:
    return _int_power(x, y) if x.dtype.kind in "iu" else np.power(x, y)


def _keeping_integers(rounding: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: x if x.dtype.kind in "iu" else rounding(x)


# What every function computes, on arrays of one dtype: the call's own, or for a bool result the operands' common one.
IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "neg": np.negative,
    "pow": _power,
    "square": lambda x: x * x,
    "reciprocal": lambda x: x.dtype.type(1) / x,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: x.dtype.type(1) / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "erf": special.erf,
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(x, x.dtype.type(0)),
    "logsigmoid": lambda x: -np.logaddexp(-x, x.dtype.type(0)),
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "abs": np.abs,
    "sign": np.sign,
    "floor": _keeping_integers(np.floor),
    "ceil": _keeping_integers(np.ceil),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "stop_gradient": lambda x: x,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "isnan": np.isnan,
    "float32": lambda x: x,  # the cast of the operand to the call's dtype is all there is
    "float64": lambda x: x,
    "int64": lambda x: x,
}


def operand_dtype(function: ScalarFunction, result: str, dtypes: list[str]) -> str:
    """The dtype in which a call computes: Python numbers are weak, and int with float32 stays float32."""
    if function.name in ("and", "or", "not"):
        return "bool"
    if function.result != "bool":
        return WEAK.get(result, result)
    strong = {d for d in dtypes if d not in WEAK}
    for wide in ("float64", "float32"):
        if wide in strong:
            return wide
    return "float64" if "pyfloat" in dtypes else "bool" if strong == {"bool"} == set(dtypes) else "int64"


def reduce_last(reducer: str, rows: Array, dtype: str) -> Array:
    """Reduce the last axis; in float64 or int64, rounded once."""
    kind = np.dtype(dtype)
    match reducer:
        case "none":
            result = rows.reshape(rows.shape[:-1])
        case "sum":
            result = rows.sum(axis=-1, dtype=np.float64 if kind.kind == "f" else np.int64)
        case "max" | "min":
            result = _extreme(reducer, rows)
        case "logsumexp":
            wide = rows.astype(np.float64)
            top = _extreme("max", wide)
            shift = np.where(np.isfinite(top), top, 0.0)
            result = np.log(np.exp(wide - shift[..., None]).sum(axis=-1)) + shift
        case _:
            if rows.shape[-1] == 0:
                raise ValueError(f"{reducer} over no elements: there is none to name")
            result = rows.argmax(axis=-1) if reducer == "argmax" else rows.argmin(axis=-1)  # the first nan wins
    return np.array(result, kind)


def _extreme(reducer: str, rows: Array) -> Array:
    """max or min; nan where there is one, and of nothing -inf or inf (of integers the least or greatest)."""
    if rows.dtype.kind == "f":
        least, greatest = -np.inf, np.inf
    elif rows.dtype.kind == "b":
        least, greatest = False, True
    else:
        least, greatest = np.iinfo(rows.dtype).min, np.iinfo(rows.dtype).max
    if reducer == "max":
        return np.asarray(rows.max(axis=-1, initial=least))
    return np.asarray(rows.min(axis=-1, initial=greatest))
