"""Elements chosen by data: gathers, scatters, one-hot rows, masks of known count, sorted order.

In: tensors, and integer or bool tensors that choose. Out: tensors. Integers that select are inside their axis and not
negative; what a caller hands in is checked with every call.
"""

from typing import Any

from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph import axes
from gradgen.graph.nodes import same_shape
from gradgen.graph.place import here
from gradgen.graph.polynomials import INTEGERS
from gradgen.graph.scalar import FLOATS, Poly
from gradgen.graph.tensor import Tensor, constant
from gradgen.lang import elementwise, reducers
from gradgen.lang.compute import accumulate, compute, where
from gradgen.lang.declare import index, indices_over
from gradgen.lang.materialize import materialize
from gradgen.lang.shapes import moveaxis, whole, wholes
from gradgen.lang.statistics import cumsum

__all__ = ["argsort", "compress", "one_hot", "scatter_add", "searchsorted", "sort", "take", "take_along_axis", "topk"]


def take(x: Tensor, selected: Tensor, axis: int | None = None) -> Tensor:
    """The slices of a tensor along an axis that integers select; of all elements in row-major order without one."""
    x = whole(x, "take")
    if axis is None:
        return take(x.reshape(-1), selected, 0)
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    return x[(*[slice(None)] * at, _integers(selected, "take"))]  # type: ignore[no-any-return]  # slices give tensors


def take_along_axis(x: Tensor, selected: Tensor, axis: int) -> Tensor:
    """y[i, j] = x[selected[i, j], j] for axis 0, and likewise for others: one choice for every element of the result.

    The other axes of `x` and `selected` have equal sizes.
    """
    x, selected, at = _aligned(x, selected, axis, "take_along_axis")
    places = indices_over(selected.shape)
    return compute(places, x[_replaced(places, at, selected[places])])


def scatter_add(x: Tensor, selected: Tensor, values: Tensor, axis: int = 0) -> Tensor:
    """x with x[selected[i, j], j] += values[i, j] for axis 0, and likewise for others; repeated places add up."""
    x, selected, at = _aligned(x, selected, axis, "scatter_add")
    values = whole(values, "scatter_add", x.dtype)
    if len(values.shape) != len(selected.shape) or _differ(values, selected):
        raise ShapeError(
            f"{here()}scatter_add of {axes.describe(values.node)} by {axes.describe(selected.node)}: "
            "one place for every value."
        )
    places = indices_over(selected.shape)
    added = accumulate(_replaced(places, at, selected[places]), values[places], x.shape)
    return x + added


def one_hot(labels: Tensor, classes: int | Poly, dtype: str = "float32") -> Tensor:
    """1 where the last index is the label, else 0: (...) integers to (..., C)."""
    labels = _integers(labels, "one_hot")
    *places, k = indices_over((*labels.shape, classes))
    label = labels[tuple(places)] if places else labels
    return compute((*places, k), elementwise.cast(label == k, dtype))


def compress(mask: Tensor, x: Tensor, count: int | Poly, axis: int = 0) -> Tensor:
    """The slices of `x` along an axis where a mask holds: the first `count` of them, in order, then zeros.

    NumPy's `x[mask]`, with a size that is known beforehand.

    Raises:
        DTypeError: the mask holds no conditions.
        ShapeError: it has not one element for every slice.
    """
    mask, x = whole(mask, "compress"), whole(x, "compress")
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    if mask.dtype != "bool":
        raise DTypeError(f"{here()}the mask of compress is {mask.dtype}: compare first, as in x > 0.")
    if mask.ndim != 1 or mask.node.shape[0] is not x.node.shape[at]:
        raise ShapeError(f"{here()}compress of {axes.describe(x.node)} along axis {at} by {axes.describe(mask.node)}.")
    before = cumsum(mask, 0)
    rows = moveaxis(x, at, 0)
    k, *rest = indices_over((count, *rows.shape[1:]))
    n = index("n", rows.shape[0])
    chosen = elementwise.logical_and(mask[n], before[n] == k + 1)
    return moveaxis(compute((k, *rest), reducers.sum(where(chosen, rows[(n, *rest)], 0), over=n)), 0, at)


# ---------------------------------------------------------------- order


def argsort(x: Tensor, axis: int = -1, descending: bool = False) -> Tensor:
    """The places of the elements of an axis in increasing order; equal ones stay in theirs, and nan counts as largest.

    The place of an element is the number of those before it, so the work grows with the square of the axis.
    """
    x = whole(x, "argsort")
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    places = indices_over(x.shape)
    i = places[at]
    if x.node.shape[at].constant == 0:
        return compute(places, i)  # no elements, and no remainders by their number
    j = index("other", x.shape[at])
    compared = x if x.dtype == "bool" else materialize(x)  # computed twice, a value may round to two
    here_, there = compared[places], compared[_replaced(places, at, j)]
    low, high = (here_, there) if descending else (there, here_)
    first, first_or_equal = low < high, low <= high
    if x.dtype in FLOATS:  # nan is the highest, and no comparison with it holds
        first = ~(low >= high) & ~elementwise.isnan(low)
        first_or_equal = first_or_equal | elementwise.isnan(high)
    rank = compute(places, reducers.sum(elementwise.int64(where(j < i, first_or_equal, first)), over=j))
    size = x.shape[at]  # no rank is as large; the remainders let the compiler know
    order = accumulate(_replaced(places, at, rank[places] % size), i, x.shape)
    return compute(places, order[places] % size)


def sort(x: Tensor, axis: int = -1, descending: bool = False) -> Tensor:
    """The elements of an axis in increasing order, nan last (first when descending); see `argsort`."""
    return take_along_axis(x, argsort(x, axis, descending), axis)


def topk(x: Tensor, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) elements of an axis in order, and their places, as in PyTorch; see `argsort`."""
    x = whole(x, "topk")
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    order = argsort(x, at, descending=largest)
    first: Tensor = order[(*[slice(None)] * at, slice(0, k))]
    return take_along_axis(x, first, at), first


def searchsorted(a: Tensor, v: Any, side: str = "left") -> Tensor:
    """Where each value of `v` would stand in `a`, sorted along its last axis: before its equals, or behind ("right").

    As in NumPy, with nan as the largest. `a` has one axis, or the leading axes of `v`, each row then for its own
    values, as in PyTorch. The place of a value is the number of elements before it, so the work is that of comparing
    all pairs. int64, from 0 to the number of elements; there is no gradient.

    Raises:
        OptionError: another side.
        ShapeError: `a` has no axes, or several that are not the leading ones of `v`.
    """
    if side not in ("left", "right"):
        raise OptionError(f"{here()}searchsorted has the sides left and right, not {side!r}.")
    a, values = wholes("searchsorted", a, v)
    leading = a.node.shape[:-1]
    fits = not leading or (values.ndim == a.ndim and same_shape(leading, values.node.shape[:-1]))
    if not a.ndim or not fits:
        raise ShapeError(
            f"{here()}searchsorted of {axes.describe(values.node)} in {axes.describe(a.node)}: what is sorted has one "
            "axis, or the leading axes of the values."
        )
    places = indices_over(values.shape)
    j = index("other", a.shape[-1])
    there, here_ = a[(*places[: len(leading)], j)], values[places] if places else values
    before = there < here_ if side == "left" else there <= here_
    if values.dtype in FLOATS:  # nan is the highest, and no comparison with it holds
        behind = elementwise.isnan(here_)
        if side == "left" and a.dtype in FLOATS:
            behind = behind & ~elementwise.isnan(there)
        before = before | behind
    return compute(places, reducers.sum(before, over=j))


# ---------------------------------------------------------------- arguments


def _integers(selected: Any, what: str) -> Tensor:
    found = selected if isinstance(selected, Tensor) else constant(selected)
    if found is None or found.dtype not in INTEGERS:
        raise DTypeError(f"{here()}what selects in {what} is a tensor of integers, not {selected!r}.")
    return found


def _aligned(x: Any, selected: Any, axis: int, what: str) -> tuple[Tensor, Tensor, int]:
    """Both as tensors, and the number of the axis, once the other axes have been found equal."""
    x, selected = whole(x, what), _integers(selected, what)
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    others = [k for k in range(x.ndim) if k != at]
    if selected.ndim != x.ndim or not _equal(x, selected, others):
        raise ShapeError(
            f"{here()}{what} of {axes.describe(x.node)} by {axes.describe(selected.node)}: "
            f"all axes but {at} have equal sizes."
        )
    return x, selected, at


def _equal(x: Tensor, y: Tensor, which: list[int]) -> bool:
    return not [k for k in which if x.node.shape[k] is not y.node.shape[k]]


def _differ(x: Tensor, y: Tensor) -> bool:
    return not _equal(x, y, list(range(x.ndim)))


def _replaced(places: tuple[Poly, ...], at: int, subscript: Any) -> tuple[Any, ...]:
    return (*places[:at], subscript, *places[at + 1 :])
