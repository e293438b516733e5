"""Pooling along one, two or three axes: the largest, or the mean, of what a window sees of every channel.

In: tensors (N, C, ...) or (C, ...). Out: tensors. One formula each for any number of axes.
"""

from typing import Any

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import compute, where
from gradgen.nn.windows import INNER, OUTER, Windows, check_rank, leading, letters, numbers, windows

__all__ = [
    "adaptive_average_pool", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "average_pool",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "maximum_pool",
]  # fmt: skip


def maximum_pool(
    x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, dims: int
) -> Tensor:
    """y[n, c, o] = max_p x[n, c, stride * o + dilation * p - padding]; of equal ones the first has the gradient.

    Args:
        x: floats of shape (N, C, ...) or (C, ...), with `dims` axes behind the channels.
        kernel_size, padding, dilation: a number, or one for each axis; a padding of at most half the kernel.
        stride: the same, or None for that of the kernel.
        ceil_mode: also windows that begin inside and end outside; sizes are numbers then.

    Raises:
        ShapeError: an axis shorter than a window.
        OptionError: numbers that cannot be.
    """
    what = f"max_pool{dims}d"
    stride = kernel_size if stride is None else stride
    by = windows(what, dims, kernel_size, stride, padding, dilation, pooling=True)
    x = check_rank(x, dims, what)
    sizes = by.counts(x, ceil_mode)
    front, outer, inner = leading(x, dims, "n c"), letters(OUTER, sizes), by.inner()
    seen = by.source(x, -float("inf"), ceil_mode)[(*front, *by.at(outer, inner))]
    return compute((*front, *outer), reducers.max(seen, over=inner))


def average_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    dims: int,
) -> Tensor:
    """y[n, c, o] = sum_p x[n, c, stride * o + p - padding] / the number of elements of the window.

    Args:
        x, kernel_size, stride, padding, ceil_mode: as for `maximum_pool`; 0 stands outside.
        count_include_pad: whether elements of the padding count; what `ceil_mode` reads behind it does not.
        divisor_override: what to divide by instead.

    Raises:
        ShapeError: an axis shorter than a window.
        OptionError: numbers that cannot be.
    """
    what = f"avg_pool{dims}d"
    stride = kernel_size if stride is None else stride
    by = windows(what, dims, kernel_size, stride, padding, pooling=True)
    if divisor_override == 0:
        raise OptionError(f"{here()}the divisor_override of {what} is 0: give another number, or None.")
    x = check_rank(x, dims, what)
    sizes = by.counts(x, ceil_mode)
    front, outer, inner = leading(x, dims, "n c"), letters(OUTER, sizes), by.inner()
    seen = by.source(x, beyond=ceil_mode)[(*front, *by.at(outer, inner))]
    mean = reducers.sum(seen, over=inner)
    for count in [divisor_override] if divisor_override else _counts(x, by, outer, sizes, count_include_pad):
        mean = mean / count
    return compute((*front, *outer), mean)


def _counts(x: Tensor, by: Windows, outer: tuple[Any, ...], sizes: tuple[Any, ...], padded: bool) -> list[Any]:
    """By what a sum is divided: a number, and what depends on the place of a window, for each axis where it does."""
    constant, others = 1, []
    for k, (o, count, size) in enumerate(zip(outer, sizes, x.shape[-by.dims :], strict=True)):
        low, high = (-by.before[k], size + by.after[k]) if padded else (0, size)
        first = by.stride[k] * o - by.before[k]
        overhang = by.stride[k] * (count - 1) + by.kernel[k] - by.before[k] - high
        # Along an axis of unknown size windows end inside of its padding.
        if by.before[k] + low == 0 and (overhang <= 0 if isinstance(overhang, int) else True):
            constant *= by.kernel[k]
        else:
            others.append(array.minimum(first + by.kernel[k], high) - array.maximum(first, low))
    return [*([constant] if constant > 1 else []), *others]


def adaptive_average_pool(x: Tensor, output_size: Any, dims: int) -> Tensor:
    """y[n, c, o] = the mean of x[n, c, i] over floor(o * size / parts) <= i < ceil((o + 1) * size / parts).

    Args:
        x: floats of shape (N, C, ...) or (C, ...), with `dims` axes behind the channels.
        output_size: how many parts an axis is divided into, for all axes or for each; None leaves an axis as it is.

    Raises:
        ShapeError: an axis of unknown size, or without elements, and more parts than 1.
        OptionError: no number from 1 on.
    """
    what = f"adaptive_avg_pool{dims}d"
    x = check_rank(x, dims, what)
    shape = x.shape[-dims:]
    asked = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * dims
    given = numbers(tuple(1 if n is None else n for n in asked), dims, f"the output size of {what}", 1)
    if len(asked) == 1:
        asked *= dims
    kept = [n is None for n in asked]
    parts = [size if keep else n for keep, size, n in zip(kept, shape, given, strict=True)]
    longest = [1 if keep else _longest(x, k - dims, n) for k, (keep, n) in enumerate(zip(kept, given, strict=True))]
    front, outer, inner = leading(x, dims, "n c"), letters(OUTER, parts), letters(INNER, longest)
    axes = list(zip(kept, outer, shape, parts, strict=True))
    first = [o if keep else o * size // n for keep, o, size, n in axes]
    behind = [o + 1 if keep else ((o + 1) * size + n - 1) // n for keep, o, size, n in axes]
    value = x[(*front, *[a + p for a, p in zip(first, inner, strict=True)])]
    for a, b, p in zip(first, behind, inner, strict=True):
        value = where(a + p < b, value, 0)
    mean = reducers.sum(value, over=inner)
    for a, b in zip(first, behind, strict=True):
        mean = mean / (b - a)
    return compute((*front, *outer), mean)


def _longest(x: Tensor, axis: int, parts: int) -> Any:
    """How many elements the longest part of an axis has."""
    size = x.shape[axis]
    if parts == 1:
        return size
    if not isinstance(size, int) or size < 1:
        raise ShapeError(
            f"{here()}axis {x.ndim + axis} of {describe(x.node)} cannot be pooled into {parts} parts: its size has to "
            "be a number from 1 on."
        )
    return max(((o + 1) * size + parts - 1) // parts - o * size // parts for o in range(parts))


# ---------------------------------------------------------------- by PyTorch's names


def max_pool1d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """The `maximum_pool` of (N, C, L) or (C, L)."""
    return maximum_pool(x, kernel_size, stride, padding, dilation, ceil_mode, 1)


def max_pool2d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """The `maximum_pool` of (N, C, H, W) or (C, H, W)."""
    return maximum_pool(x, kernel_size, stride, padding, dilation, ceil_mode, 2)


def max_pool3d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """The `maximum_pool` of (N, C, D, H, W) or (C, D, H, W)."""
    return maximum_pool(x, kernel_size, stride, padding, dilation, ceil_mode, 3)


def avg_pool1d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The `average_pool` of (N, C, L) or (C, L)."""
    return average_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)


def avg_pool2d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The `average_pool` of (N, C, H, W) or (C, H, W)."""
    return average_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 2)


def avg_pool3d(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The `average_pool` of (N, C, D, H, W) or (C, D, H, W)."""
    return average_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 3)


def adaptive_avg_pool1d(x: Tensor, output_size: Any) -> Tensor:
    """The `adaptive_average_pool` of (N, C, L) or (C, L)."""
    return adaptive_average_pool(x, output_size, 1)


def adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    """The `adaptive_average_pool` of (N, C, H, W) or (C, H, W)."""
    return adaptive_average_pool(x, output_size, 2)


def adaptive_avg_pool3d(x: Tensor, output_size: Any) -> Tensor:
    """The `adaptive_average_pool` of (N, C, D, H, W) or (C, D, H, W)."""
    return adaptive_average_pool(x, output_size, 3)
