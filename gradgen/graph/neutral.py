"""What a reducer gives of nothing, and what it goes by as if it were not there.

In: the name of a reducer and a dtype. Out: a number; whoever starts, guards or masks a reduction asks here.
"""

import math

from gradgen.graph.scalar import FLOATS, Call, Const, Poly, Scalar, is_zero, number

__all__ = ["is_neutral", "neutral"]


def neutral(reducer: str, dtype: str) -> Const:
    """What a reducer gives of nothing, and what changes nothing: 0, or the least or greatest value of a dtype."""
    if reducer == "sum":
        return number(0)
    least = reducer in ("max", "argmax", "logsumexp")
    if dtype in FLOATS or dtype == "pyfloat":
        return number(-math.inf if least else math.inf)
    if dtype == "bool":
        return number(not least)
    if dtype == "uint32":
        return number(0 if least else 2**32 - 1)
    bits = 32 if dtype == "int32" else 64
    return number(-(2 ** (bits - 1)) if least else 2 ** (bits - 1) - 1)


def is_neutral(reducer: str, x: Scalar, dtype: str) -> bool:
    """Whether a reducer of values of a dtype goes by this one as if it were not there, under casts too."""
    if reducer == "sum":
        return is_zero(x)
    while isinstance(x, Call) and x.function.name in ("float32", "float64", "int64"):
        x = x.arguments[0]
    value = x.value if isinstance(x, Const) else x.constant if isinstance(x, Poly) else None
    return value is not None and value == neutral(reducer, dtype).value
