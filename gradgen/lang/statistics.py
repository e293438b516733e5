"""What is computed of many elements besides sums and extremes: products, variances, norms, running sums.

In: tensors and axes. Out: tensors; products run as loops, because y / x is no derivative where x is 0.
"""

from collections.abc import Callable
from typing import Any

from gradgen.errors import ShapeError
from gradgen.graph import axes
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Scalar, call, reduce_over, require_poly
from gradgen.graph.tensor import Tensor, made
from gradgen.lang import elementwise, reducers
from gradgen.lang.compute import where
from gradgen.lang.constants import arange, full
from gradgen.lang.running import product_of_rows
from gradgen.lang.scan import scan
from gradgen.lang.shapes import expand_dims, moveaxis, whole

__all__ = ["all", "any", "count_nonzero", "cummax", "cummin", "cumprod", "cumsum", "norm", "prod", "std", "var"]


def prod(x: Any, axis: Any = None, keepdims: bool = False, over: Any = None) -> Any:
    """The product of a formula over indices, or of a tensor over an axis, several, or all; 1 over nothing.

    Its derivatives are right at zeros too. Arguments and errors as for `sum`.
    """
    if over is not None or isinstance(x, Scalar):
        return reduce_over("prod", *reducers.formula_over("prod", x, over, axis, keepdims))
    x = whole(x, "prod")
    reduced = axes.axis_numbers(axis, x.ndim, axes.describe(x.node))
    if not reduced:
        return x
    kept = [k for k in range(x.ndim) if k not in reduced]
    rest = tuple(x.shape[k] for k in kept)
    walked = x if x.dtype in FLOATS else x.astype("int64")
    rows = walked.transpose(*reduced, *kept).reshape((axes.product_of(x.node, reduced), *rest))
    total = made(product_of_rows(rows.node))
    for k in reduced if keepdims else ():
        total = expand_dims(total, k)
    return total


def cumsum(x: Tensor, axis: int | None = None) -> Tensor:
    """The sums of the first 1, 2, ... elements along an axis, or of all elements in row-major order."""
    return _cumulated(x, axis, "add")


def cumprod(x: Tensor, axis: int | None = None) -> Tensor:
    """The products of the first 1, 2, ... elements along an axis, or of all elements in row-major order."""
    return _cumulated(x, axis, "mul")


def cummax(x: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """The largest of the first 1, 2, ... elements along an axis, or of all in row-major order, and their places.

    As in PyTorch, a pair: values, and int64 places along that axis. The first nan wins, else the first of equal ones;
    the gradient goes to the element that was chosen.
    """
    return _chosen(x, axis, elementwise.greater)


def cummin(x: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """The smallest of the first 1, 2, ... elements along an axis, and their places: as `cummax`."""
    return _chosen(x, axis, elementwise.less)


def _chosen(x: Tensor, axis: int | None, is_better: Callable[[Any, Any], Any]) -> tuple[Tensor, Tensor]:
    """The best element so far and its place; the first element is taken whatever it is, -inf included."""
    x = whole(x, "a running extreme")
    if axis is None:
        x, axis = x.reshape(-1), 0
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    rows = moveaxis(x if x.dtype != "bool" else x.astype("int64"), at, 0)

    def step(best: tuple[Tensor, Tensor], row: tuple[Tensor, Tensor]) -> tuple[Any, Any]:
        (value, place), (element, k) = best, row
        better = is_better(element, value)
        if x.dtype in FLOATS:  # no comparison with nan holds, and the first one stays
            better = (better | elementwise.isnan(element)) & ~elementwise.isnan(value)
        taken = better | (k == 0)
        after = where(taken, element, value), where(taken, k, place)
        return after, after

    start = full(rows.shape[1:], 0, rows.dtype), full(rows.shape[1:], 0, "int64")
    _, (values, places) = scan(step, start, (rows, arange(rows.shape[0])))
    return moveaxis(values, 0, at), moveaxis(places, 0, at)


def _cumulated(x: Tensor, axis: int | None, operation: str) -> Tensor:
    x = whole(x, "cumsum")
    if axis is None:
        x, axis = x.reshape(-1), 0
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
    x = whole(x, "var")
    source = x if x.dtype in FLOATS else x.astype("float32")
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
    x = whole(x, "norm")
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


def all(x: Any, axis: Any = None, keepdims: bool = False, over: Any = None) -> Any:  # noqa: A001  # gg.all
    """Whether all elements are true (not 0), over indices of a formula or over axes; so they are of nothing."""
    return _count("all", elementwise.logical_not, x, axis, keepdims, over) == 0


def any(x: Any, axis: Any = None, keepdims: bool = False, over: Any = None) -> Any:  # noqa: A001  # gg.any
    """Whether an element is true (not 0), over indices of a formula or over axes; none is of nothing."""
    return _count("any", lambda truth: truth, x, axis, keepdims, over) > 0


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False, over: Any = None) -> Any:
    """How many elements are not 0, over indices of a formula or over axes; int64."""
    return _count("count_nonzero", lambda truth: truth, x, axis, keepdims, over)


def _count(name: str, counted: Callable[[Any], Any], x: Any, axis: Any, keepdims: bool, over: Any) -> Any:
    """How often `counted` holds, a condition made of whether an element is true."""
    if over is not None or isinstance(x, Scalar):
        body, letters = reducers.formula_over(name, x, over, axis, keepdims)
        return reduce_over("sum", counted(body if body.dtype == "bool" else body != 0), letters)
    condition = whole(x, "a condition")
    return reducers.sum(
        counted(condition if condition.dtype == "bool" else condition != 0), axis=axis, keepdims=keepdims
    )
