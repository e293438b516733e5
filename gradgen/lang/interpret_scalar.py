"""What scalar functions and reducers compute, in NumPy: the tables of the reference interpreter.

In: the name of a function or reducer and arrays of one dtype. Out: an array; `interpret` is the only reader.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gradgen.graph.declaration import ScalarFunction

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


def _sinc(x: Array) -> Array:
    return np.asarray(np.sinc(x), x.dtype)


def _polygamma(n: Array, x: Array) -> Array:
    """SciPy's sum, which has no reflection: for n = 1 below 0 it is put in here."""
    found = special.polygamma(n.astype(np.float64), x.astype(np.float64))
    reflected = (np.pi / np.sin(np.pi * (x - np.rint(x)))) ** 2 - special.polygamma(1, 1.0 - x.astype(np.float64))
    negative = (n == 1) & (x < -0.5) & (x != np.floor(x))
    return np.asarray(np.where(negative, reflected, found), x.dtype)


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
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: x.dtype.type(1) / np.sqrt(x),
    "cbrt": np.cbrt,
    "logaddexp": np.logaddexp,
    "xlogy": special.xlogy,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "hypot": np.hypot,
    "sinc": _sinc,
    "erf": special.erf,
    "erfc": special.erfc,
    "erfinv": special.erfinv,
    "lgamma": special.gammaln,
    "digamma": special.digamma,
    "polygamma": _polygamma,
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(x, x.dtype.type(0)),
    "logsigmoid": lambda x: -np.logaddexp(-x, x.dtype.type(0)),
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "abs": np.abs,
    "sign": np.sign,
    "floor": _keeping_integers(np.floor),
    "ceil": _keeping_integers(np.ceil),
    "round": _keeping_integers(np.rint),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": np.where,
    "difference": np.subtract,
    "less_one": lambda share, rest, holds: np.where(
        holds.astype(np.bool_), np.where(share > 0.5, -rest, share - share.dtype.type(1)), share
    ),
    "stop_gradient": lambda x: x,
    "materialize": lambda x: x,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
    "wrapped": lambda x: x,
    "isnan": np.isnan,
    "float32": lambda x: x,  # the cast of the operand to the call's dtype is all there is
    "float64": lambda x: x,
    "int32": lambda x: x,
    "int64": lambda x: x,
    "uint32": lambda x: x,
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
    if "pyfloat" in dtypes:
        return "float64"
    return "bool" if strong == {"bool"} == set(dtypes) else "int64"


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
            if rows.shape[-1] == 0:  # which calls refuse; in an adjoint nobody reads it
                return np.zeros(rows.shape[:-1], kind)
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
