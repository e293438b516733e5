"""Python's operators for what the user writes: scalar expressions and whole tensors have the same ones.

In: two operands. Out: whatever `_apply` of the class makes of a scalar function's name; `records` and `tensor` inherit.
What Python and NumPy ask of numbers and arrays, and a formula cannot answer, is refused here.
"""

import sys
from typing import Any, Generic, NoReturn, Self, TypeVar

from gradgen.errors import DTypeError, GraphError
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.place import here

R = TypeVar("R")

# NumPy's functions that work element by element, where the scalar function has another name.
_NUMPY = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "divide": "div", "equal": "eq",
    "floor_divide": "floordiv", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "logical_and": "and", "logical_not": "not", "logical_or": "or", "multiply": "mul",
    "negative": "neg", "not_equal": "ne", "power": "pow", "remainder": "mod", "rint": "round", "subtract": "sub",
}  # fmt: skip


# What NumPy and PyTorch call by a word of their own.
OTHER_WORDS = {
    "absolute": "gg.abs", "amax": "gg.max", "amin": "gg.min", "bmm": "x @ y", "cat": "gg.concatenate",
    "concat": "gg.concatenate", "dot": "x @ y", "inner": "x @ y", "mm": "x @ y", "mv": "x @ y",
    "permute": "gg.transpose", "unsqueeze": "gg.expand_dims", "vdot": "x @ y",
}  # fmt: skip


def refuse_operand(function: str, value: Any, taken: str = "tensors, formulas, numbers and arrays") -> NoReturn:
    """What is neither tensor, formula nor number cannot be computed with."""
    declared = FUNCTIONS.get(function)
    raise DTypeError(
        f"{here()}{(declared.symbol if declared else '') or function} takes {taken}, "
        f"not {kind_of(value)}: declare arrays with gg.input or gg.param."
    )


def _instead(name: str) -> str:
    """What a function of NumPy is here, if it is anything."""
    if name in OTHER_WORDS:
        return f"use {OTHER_WORDS[name]}, or "
    return f"look for gg.{name}, or " if hasattr(sys.modules["gradgen"], name) else ""


def kind_of(value: Any) -> str:
    """What messages call a value that is none of ours: of an array what it is made of, of others the type."""
    if isinstance(value, Operators):
        return value._described()
    package = type(value).__module__.split(".")[0]
    name = type(value).__name__ if package in ("builtins", "numpy") else f"{package}.{type(value).__name__}"
    dtype = getattr(value, "dtype", None)
    return name if dtype is None else f"{name} of {dtype}"


class Operators(Generic[R]):
    """Python's operators, each as the scalar function of that name."""

    __slots__ = ()
    __hash__ = object.__hash__

    def _apply(self, function: str, *arguments: Any) -> R:
        raise TypeError(f"{type(self).__name__} has no operators")

    def _described(self) -> str:
        """What messages call it."""
        return repr(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same: it does not change, and a copy of a declared tensor would be another one of its name."""
        return self

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> R:
        """NumPy's function of a formula is the scalar function of that name; operators of NumPy's scalars come here."""
        if method == "__call__" and not options:
            if ufunc.__name__ == "invert":
                return ~self
            if ufunc.__name__ == "matmul" and hasattr(self, "__rmatmul__"):  # as tensors have
                a, b = inputs
                found: R = a @ b if isinstance(a, Operators) else self.__rmatmul__(a)
                return found
        name = _NUMPY.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or options or name not in FUNCTIONS:
            self.__array_function__(ufunc, (), inputs, options)
        return self._apply(name, *inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> NoReturn:
        raise DTypeError(
            f"{here()}NumPy's {function.__name__} computes with arrays, and {self._described()} is part of a model: "
            f"{_instead(function.__name__)}write a formula with gg.compute."
        )

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self._refuse_value("an array", ", which read arrays as gg.input or gg.constant")

    def __float__(self) -> NoReturn:
        self._refuse_value("a float")

    def __int__(self) -> NoReturn:
        self._refuse_value("an int")

    def __index__(self) -> NoReturn:
        self._refuse_value("an int")

    def __complex__(self) -> NoReturn:
        self._refuse_value("a complex")

    def _refuse_value(self, wanted: str, formulas: str = "") -> NoReturn:
        raise GraphError(
            f"{here()}{self._described()} has no value while the model is written, and {wanted} is asked for: "
            f"keep it in formulas{formulas}; calls of the compiled network give numbers."
        )

    def __bool__(self) -> bool:
        raise GraphError(
            f"{here()}a formula is neither true nor false while the model is written: use gg.where(condition, a, b) "
            "for `if`, & | ~ for `and`, `or`, `not`, (a < x) & (x < b) for a < x < b, and `is` for identity."
        )

    def __round__(self, digits: Any = None) -> NoReturn:
        raise GraphError(f"{here()}round() gives Python numbers: use gg.round for {self._described()}.")

    def __add__(self, other: Any) -> R:
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> R:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> R:
        return self._apply("sub", self, other)

    def __rsub__(self, other: Any) -> R:
        return self._apply("sub", other, self)

    def __mul__(self, other: Any) -> R:
        return self._apply("mul", self, other)

    def __rmul__(self, other: Any) -> R:
        return self._apply("mul", other, self)

    def __truediv__(self, other: Any) -> R:
        return self._apply("div", self, other)

    def __rtruediv__(self, other: Any) -> R:
        return self._apply("div", other, self)

    def __floordiv__(self, other: Any) -> R:
        return self._apply("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> R:
        return self._apply("floordiv", other, self)

    def __mod__(self, other: Any) -> R:
        return self._apply("mod", self, other)

    def __rmod__(self, other: Any) -> R:
        return self._apply("mod", other, self)

    def __pow__(self, other: Any) -> R:
        return self._apply("pow", self, other)

    def __rpow__(self, other: Any) -> R:
        return self._apply("pow", other, self)

    def __neg__(self) -> R:
        return self._apply("neg", self)

    def __pos__(self) -> R:
        return self._apply("add", self, 0)

    def __abs__(self) -> R:
        return self._apply("abs", self)

    def __lt__(self, other: Any) -> R:
        return self._apply("lt", self, other)

    def __le__(self, other: Any) -> R:
        return self._apply("le", self, other)

    def __gt__(self, other: Any) -> R:
        return self._apply("gt", self, other)

    def __ge__(self, other: Any) -> R:
        return self._apply("ge", self, other)

    def __eq__(self, other: Any) -> R:  # type: ignore[override]  # an elementwise node, as in NumPy
        return self._apply("eq", self, other)

    def __ne__(self, other: Any) -> R:  # type: ignore[override]  # an elementwise node, as in NumPy
        return self._apply("ne", self, other)

    def __and__(self, other: Any) -> R:
        return self._apply("bitwise_and", self, other)

    def __rand__(self, other: Any) -> R:
        return self._apply("bitwise_and", other, self)

    def __or__(self, other: Any) -> R:
        return self._apply("bitwise_or", self, other)

    def __ror__(self, other: Any) -> R:
        return self._apply("bitwise_or", other, self)

    def __xor__(self, other: Any) -> R:
        return self._apply("bitwise_xor", self, other)

    def __rxor__(self, other: Any) -> R:
        return self._apply("bitwise_xor", other, self)

    def __lshift__(self, other: Any) -> R:
        return self._apply("left_shift", self, other)

    def __rlshift__(self, other: Any) -> R:
        return self._apply("left_shift", other, self)

    def __rshift__(self, other: Any) -> R:
        return self._apply("right_shift", self, other)

    def __rrshift__(self, other: Any) -> R:
        return self._apply("right_shift", other, self)

    def __invert__(self) -> R:
        return self._apply("bitwise_xor", self, -1)
