"""The dtype of a scalar expression, from those of what it is computed of.

In: a scalar function and dtypes. Out: the dtype of the result; Python numbers are weak, as in NumPy.
"""

from collections.abc import Iterable

from gradgen.errors import DTypeError
from gradgen.graph.declaration import ScalarFunction
from gradgen.graph.place import here
from gradgen.graph.words import integer_dtype

__all__ = ["DEFAULT_FLOAT", "FLOATS", "promote", "result_dtype"]

FLOATS = ("float32", "float64")
DEFAULT_FLOAT = "float32"
LOGIC = {"and": "&", "or": "|", "not": "~"}
_NAMES = {"pyint": "integers", "pyfloat": "floats"}


def promote(dtypes: Iterable[str]) -> str:
    """The dtype of arithmetic between these: Python numbers are weak, int with float32 stays float32."""
    kinds = set(dtypes)
    for name in ("float64", "float32"):
        if name in kinds:
            return name
    if "pyfloat" in kinds:
        return DEFAULT_FLOAT if kinds - {"pyfloat", "pyint"} else "pyfloat"
    if kinds in ({"pyint"}, {"bool"}):
        return kinds.pop()
    narrow = kinds - {"pyint", "bool"}
    return narrow.pop() if len(narrow) == 1 else "int64"


def result_dtype(function: ScalarFunction, dtypes: list[str]) -> str:
    match function.result:
        case "promote":
            dtype = promote(dtypes)
            return "int64" if dtype == "bool" else dtype
        case "float":
            dtype = promote(dtypes)
            if dtype in ("pyint", "pyfloat"):
                return "pyfloat"
            return dtype if dtype in FLOATS else DEFAULT_FLOAT
        case "bool" if function.name in LOGIC and any(dtype != "bool" for dtype in dtypes):
            wrong = next(dtype for dtype in dtypes if dtype != "bool")
            raise DTypeError(
                f"{here()}{LOGIC[function.name]} takes conditions, not {_NAMES.get(wrong, wrong)}: "
                "compare first, as in x > 0."
            )
        case "integer":
            return integer_dtype(function.symbol, dtypes, promote(dtypes))
        case "branches":
            return promote(dtypes[1:])
        case exact:
            return {"bool": "bool", "int": "int64"}.get(exact, exact)
