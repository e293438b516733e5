"""What is computed of many elements besides sums and extremes: products, variances, norms, running sums.

In: tensors and axes. Out: tensors; products run as loops, because y / x is no derivative where x is 0.
"""

from typing import Any

from gradgen.errors import ShapeError
from gradgen.graph import axes
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, call, require_poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import elementwise, reducers
from gradgen.lang.compute import where
from gradgen.lang.constants import full
from gradgen.lang.scan import scan
from gradgen.lang.shapes import expand_dims, moveaxis, whole

__all__ = ["all", "any", "count_nonzero", "cumprod", "cumsum", "norm", "prod", "std", "var"]


def prod(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The product over an axis, several, or all; 1 for an empty axis. Its derivatives are right at zeros too."""
    reduced = axes.axis_numbers(axis, whole(x, "prod").ndim, axes.describe(x.node))
    if not reduced:
        return x
    kept = [k for k in range(x.ndim) if k not in reduced]
    rest = tuple(x.shape[k] for k in kept)
    walked = x.transpose(*reduced, *kept).reshape((axes.product_of(x.node, reduced), *rest))
    total, _ = _running(walked, "mul")
    for k in reduced if keepdims else ():
        total = expand_dims(total, k)
    return total


def cumsum(x: Tensor, axis: int | None = None) -> Tensor:
    """The sums of the first 1, 2, ... elements along an axis, or of all elements in row-major order."""
    return _cumulated(x, axis, "add")


def cumprod(x: Tensor, axis: int | None = None) -> Tensor:
    """The products of the first 1, 2, ... elements along an axis, or of all elements in row-major order."""
    return _cumulated(x, axis, "mul")


def _cumulated(x: Tensor, axis: int | None, operation: str) -> Tensor:
    if axis is None:
        x, axis = whole(x, "cumsum").reshape(-1), 0
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    _, every = _running(moveaxis(x, at, 0), operation)
    return moveaxis(every, 0, at)


def _running(x: Tensor, operation: str) -> tuple[Tensor, Tensor]:
    """The final and all intermediate results along the first axis."""
    x = x if x.dtype in FLOATS else x.astype("int64")
    start = full(x.shape[1:], 1 if operation == "mul" else 0, x.dtype)

    def step(total: Tensor, element: Tensor) -> tuple[Tensor, Tensor]:
        after = total * element if operation == "mul" else total + element
        return after, after

    last, every = scan(step, start, x)
    return last, every


def var(x: Tensor, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """The mean squared distance from the mean, divided by n - ddof instead of n; nan for an empty axis.

    As in NumPy `ddof` need not be an integer, and n - ddof counts as 0 where it is negative.
    """
    source = x if whole(x, "var").dtype in FLOATS else x.astype("float32")
    centred = source - reducers.mean(source, axis=axis, keepdims=True)
    squares = centred * centred
    if not ddof:
        return reducers.mean(squares, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]
    count = axes.product_of(x.node, axes.axis_numbers(axis, x.ndim, axes.describe(x.node)))
    total = reducers.sum(squares, axis=axis, keepdims=keepdims)
    if count.constant is not None:
        return total / max(count.constant - ddof, 0)  # type: ignore[no-any-return]
    if ddof == int(ddof):
        return total / elementwise.maximum(require_poly(count - int(ddof)), 0)  # type: ignore[no-any-return]
    return total / elementwise.maximum(call(source.dtype, count) - ddof, 0)  # type: ignore[no-any-return]


def std(x: Tensor, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """The square root of the variance; its derivative is infinite or nan where all elements are equal."""
    return elementwise.sqrt(var(x, axis, ddof, keepdims))  # type: ignore[no-any-return]  # of a tensor, a tensor


def norm(x: Tensor, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Tensor:  # noqa: A002  # NumPy's name
    """(sum |x|**ord)**(1 / ord) over an axis, several, or all; the largest |x| for inf, the smallest for -inf.

    Over two axes it is the norm of the elements (Frobenius), not of the matrix. Its derivatives are 0 where all are 0;
    below the order 1 that by an element is 0 where the element is, and for negative orders so are the others.

    Raises:
        ShapeError: the order 0.
    """
    if ord == 0:
        raise ShapeError(f"{here()}the norm of order 0 counts: use gg.count_nonzero.")
    size = elementwise.abs(x)
    if ord == float("inf"):
        return reducers.max(size, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]
    if ord == float("-inf"):
        return reducers.min(size, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]
    if ord == 1:
        return reducers.sum(size, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]
    if ord == 2:
        power = x * x
    elif ord > 1:
        power = size**ord
    else:  # |x|**ord has no slope at 0
        power = where(size == 0, 0.0 if ord > 0 else float("inf"), size**ord)
    total = reducers.sum(power, axis=axis, keepdims=keepdims)
    root = elementwise.sqrt(total) if ord == 2 else total ** (1 / ord)
    if ord > 0:
        return where(total == 0, total, root)  # type: ignore[no-any-return]
    return where(total == float("inf"), 0.0, root)  # type: ignore[no-any-return]


def all(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:  # noqa: A001  # gg.all
    """Whether all elements are true (not 0); so they are of nothing."""
    return reducers.sum(elementwise.logical_not(_truth(x)), axis=axis, keepdims=keepdims) == 0  # type: ignore[no-any-return]


def any(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:  # noqa: A001  # gg.any
    """Whether an element is true (not 0); none is of nothing."""
    return reducers.sum(_truth(x), axis=axis, keepdims=keepdims) > 0  # type: ignore[no-any-return]


def count_nonzero(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0; int64."""
    return reducers.sum(_truth(x), axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]  # of a tensor


def _truth(x: Tensor) -> Tensor:
    return x if whole(x, "a condition").dtype == "bool" else x != 0
