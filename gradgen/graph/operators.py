"""Python's operators for what the user writes: scalar expressions and whole tensors have the same ones.

In: two operands. Out: whatever `_apply` of the class makes of a scalar function's name; `records` and `tensor` inherit.
"""

from typing import Any, Generic, TypeVar

from gradgen.errors import GraphError

R = TypeVar("R")


class Operators(Generic[R]):
    """Python's operators, each as the scalar function of that name."""

    __slots__ = ()
    __hash__ = object.__hash__
    __array_ufunc__ = None  # a NumPy scalar or array on the left leaves the operator to us

    def _apply(self, function: str, *arguments: Any) -> R:
        raise TypeError(f"{type(self).__name__} has no operators")

    def __bool__(self) -> bool:
        raise GraphError("an expression has no truth value: use gg.where(condition, a, b), and `is` for identity")

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
        return self._apply("and", self, other)

    def __or__(self, other: Any) -> R:
        return self._apply("or", self, other)

    def __rand__(self, other: Any) -> R:
        return self._apply("and", other, self)

    def __ror__(self, other: Any) -> R:
        return self._apply("or", other, self)

    def __invert__(self) -> R:
        return self._apply("not", self)
