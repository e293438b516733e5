"""Other resolutions: interpolation, windows taken apart and put together, channels traded for pixels.

In: tensors (N, C, ...). Out: tensors. Interpolation goes along one axis after another, by one formula each.
"""

from fractions import Fraction
from math import floor, prod
from typing import Any, NamedTuple

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import reducers
from gradgen.lang.compute import accumulate, compute
from gradgen.lang.declare import index
from gradgen.lang.shapes import pad, whole
from gradgen.nn.windows import OUTER, check_rank, leading, letters, numbers, windows

__all__ = ["fold", "interpolate", "pixel_shuffle", "pixel_unshuffle", "unfold"]

MODES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,)}


class Places(NamedTuple):
    """Where the elements of a result lie along the axis they are taken from.

    Element `phases * i + j` lies at `step * i + (slope * j + offset) / divisor`.
    """

    periods: Any
    phases: int
    step: int
    slope: int
    offset: int
    divisor: int


def interpolate(
    x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """The tensor at another resolution: y[o] = sum_i max(0, 1 - |s(o) - i|) * x[i] along every axis, or the nearest.

    Where o lies among the old elements is s(o) = (o + 1/2) * ratio - 1/2, within the outermost ones; with
    `align_corners` it is o * (old - 1) / (new - 1). The ratio is old / new, or 1 / scale_factor where that is given.
    "nearest" takes x[floor(o * ratio)], "nearest-exact" x[floor((o + 1/2) * ratio)].

    Args:
        x: floats of shape (N, C, ...), with one to three axes behind the channels.
        size: the new size, for all of these axes or for each.
        scale_factor: instead, by what the old one is multiplied; the result is rounded down. It is taken as the
            simplest fraction near it, so that 1 / 3 is a third. Along an axis of unknown size it is an integer.
        mode: "nearest", "nearest-exact", or "linear", "bilinear" and "trilinear" along one, two and three axes.
        align_corners: whether the outermost elements stay where they are; not for the nearest.

    Raises:
        ShapeError: a number of axes that the mode is not for, or an axis of unknown size.
        OptionError: an unknown mode, not exactly one of `size` and `scale_factor`, or numbers that cannot be.
    """
    if mode not in MODES:
        raise OptionError(f"{here()}interpolate has no mode {mode!r}: one of {', '.join(map(repr, MODES))}.")
    x = whole(x, "interpolate")
    dims = x.ndim - 2
    if dims not in MODES[mode]:
        axes = " or ".join(str(n + 2) for n in MODES[mode])
        raise ShapeError(f"{here()}interpolate by {mode!r} takes {axes} axes, not those of {describe(x.node)}.")
    if align_corners is not None and mode.startswith("nearest"):
        raise OptionError(f"{here()}align_corners of interpolate is not for the mode {mode!r}.")
    if (size is None) == (scale_factor is None):
        raise OptionError(f"{here()}interpolate takes a size or a scale_factor, one of the two.")
    sizes = (None,) * dims if size is None else numbers(size, dims, "the size of interpolate", 1)
    scales = (None,) * dims if scale_factor is None else _scales(scale_factor, dims)
    for k in range(dims):
        places = _places(x, k + 2, sizes[k], scales[k], mode, bool(align_corners))
        x = _nearest(x, k + 2, places) if mode.startswith("nearest") else _linear(x, k + 2, places)
    return x


def _nearest(x: Tensor, axis: int, at: Places) -> Tensor:
    """y[phases * i + j] = x[floor(place)] along an axis."""
    front, behind, i, j = _around(x, axis, at)
    source = at.step * i + (at.slope * j + at.offset) // at.divisor
    return _joined(compute((*front, i, j, *behind), x[(*front, source, *behind)]), axis)


def _linear(x: Tensor, axis: int, at: Places) -> Tensor:
    """y[phases * i + j] = sum_p (1 - |place - floor(place) - p|) * x[floor(place) + p] along an axis."""
    front, behind, i, j = _around(x, axis, at)
    p = index("p", 2)
    wide = pad(x, [(1, 1) if k == axis else (0, 0) for k in range(x.ndim)], "edge")
    place = at.slope * j + at.offset
    element = wide[(*front, at.step * i + place // at.divisor + p + 1, *behind)]
    weight = at.divisor - abs(place % at.divisor - at.divisor * p)
    return _joined(compute((*front, i, j, *behind), reducers.sum(element * weight / at.divisor, over=p)), axis)


def _around(x: Tensor, axis: int, at: Places) -> tuple[tuple[Any, ...], tuple[Any, ...], Any, Any]:
    names = ["n", "c", *OUTER[x.ndim - 2].split()]
    around = [index(name, size) for name, size in zip(names, x.shape, strict=True)]
    return tuple(around[:axis]), tuple(around[axis + 1 :]), index("i", at.periods), index("j", at.phases)


def _joined(y: Tensor, axis: int) -> Tensor:
    """Periods and phases as one axis."""
    return y.reshape(*y.shape[:axis], y.shape[axis] * y.shape[axis + 1], *y.shape[axis + 2 :])


def _places(x: Tensor, axis: int, size: Any, scale: Fraction | None, mode: str, align: bool) -> Places:
    """Where the new elements of an axis lie among the old ones."""
    old: Any = x.shape[axis]
    if not isinstance(old, int) and (scale is None or scale.denominator > 1 or align):
        raise ShapeError(
            f"{here()}interpolate of {describe(x.node)} needs the size of axis {axis} as a number: only an integer "
            "scale_factor without align_corners does without."
        )
    new: Any = old * scale.numerator if scale is not None and scale.denominator == 1 else size
    new = floor(old * scale) if new is None and scale is not None else new
    if isinstance(new, int) and (new < 1 or old < 1):
        raise ShapeError(f"{here()}interpolate of {describe(x.node)}: nothing is left of axis {axis}, or was there.")
    if align:
        return Places(1, new, 0, old - 1 if new > 1 else 0, 0, max(new - 1, 1))
    ratio = Fraction(old, new) if scale is None else 1 / scale
    a, b = ratio.numerator, ratio.denominator
    whole_periods = not isinstance(new, int) or new % b == 0
    periods, phases = (old if a == 1 else new // b, b) if whole_periods else (1, new)
    if mode == "nearest":
        return Places(periods, phases, a, a, 0, b)
    half = 0 if mode == "nearest-exact" else b
    return Places(periods, phases, a, 2 * a, a - half, 2 * b)


def _scales(given: Any, dims: int) -> tuple[Fraction, ...]:
    several = tuple(given) if isinstance(given, (tuple, list)) else (given,) * dims
    right = len(several) == dims and all(isinstance(s, (int, float)) and 0 < s < float("inf") for s in several)
    if not right:
        of = f", or {dims} of them" if dims > 1 else ""
        raise OptionError(f"{here()}the scale_factor of interpolate is {shown(given)}: give a number above 0{of}.")
    return tuple(Fraction(s).limit_denominator(10**6) for s in several)


# ---------------------------------------------------------------- windows taken apart, and put together


def unfold(x: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of an image as columns: (N, C, H, W) -> (N, C * K * K, L).

    y[n, (c, p, q), (h, w)] = x[n, c, stride * h + dilation * p - padding, stride * w + dilation * q - padding], with
    row-major order in the brackets and 0 outside.

    Raises:
        ShapeError: an axis shorter than a window.
        OptionError: numbers that cannot be.
    """
    by = windows("unfold", 2, kernel_size, stride, padding, dilation)
    x = check_rank(x, 2, "unfold")
    sizes = by.counts(x)
    examples, outer, inner = leading(x, 3, "n"), letters(OUTER, sizes), by.inner()
    c = index("c", x.shape[-3])
    y = compute((*examples, c, *inner, *outer), by.source(x)[(*examples, c, *by.at(outer, inner))])
    return y.reshape(*x.shape[:-3], x.shape[-3] * by.elements, prod(sizes))


def fold(
    x: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:  # fmt: skip
    """The image to which columns add up, the adjoint of `unfold`: (N, C * K * K, L) -> (N, C, H, W).

    y[n, c, stride * h + dilation * p - padding, stride * w + dilation * q - padding] += x[n, (c, p, q), (h, w)].

    Raises:
        ShapeError: other numbers of rows or columns than the windows of an image of this size have.
        OptionError: numbers that cannot be.
    """
    by = windows("fold", 2, kernel_size, stride, padding, dilation)
    size = numbers(output_size, 2, "the output size of fold", 1)
    x = whole(x, "fold")
    if x.ndim not in (2, 3):
        raise ShapeError(f"{here()}fold takes (N, C * K * K, L) or (C * K * K, L), not {describe(x.node)}.")
    full = tuple(n + 2 * b for n, b in zip(size, by.before, strict=True))
    sizes = tuple((n - r) // s + 1 for n, r, s in zip(full, by.reach, by.stride, strict=True))
    rows, columns = x.shape[-2:]
    if not isinstance(rows, int) or rows % by.elements or min(sizes) < 1 or columns != prod(sizes):
        raise ShapeError(
            f"{here()}fold of {describe(x.node)} into {size[0]} x {size[1]}: it takes {by.elements} rows for each "
            f"channel, and {prod(sizes) if min(sizes) > 0 else 'no'} columns."
        )
    channels = rows // by.elements
    examples, outer, inner = leading(x, 2, "n"), letters(OUTER, sizes), by.inner()
    c = index("c", channels)
    places = [s * o + d * p for s, o, d, p in zip(by.stride, outer, by.dilation, inner, strict=True)]
    columns_apart = x.reshape(*x.shape[:-2], channels, *by.kernel, *sizes)
    shape = (*x.shape[:-2], channels, *full)
    y = accumulate((*examples, c, *places), columns_apart[(*examples, c, *inner, *outer)], shape=shape)
    return y[(..., *[slice(b, n - b) for b, n in zip(by.before, full, strict=True)])] if by.pads else y


# ---------------------------------------------------------------- channels and pixels


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Channels as pixels (Shi et al. 2016): (..., C * r * r, H, W) -> (..., C, H * r, W * r).

    y[c, h * r + i, w * r + j] = x[(c, i, j), h, w], with row-major order in the brackets.

    Raises:
        ShapeError: a number of channels that r * r does not divide.
        OptionError: r is no number from 1 on.
    """
    (r,) = numbers(upscale_factor, 1, "the upscale_factor of pixel_shuffle", 1)
    x = whole(x, "pixel_shuffle")
    if x.ndim < 3 or not isinstance(x.shape[-3], int) or x.shape[-3] % (r * r):
        raise ShapeError(f"{here()}pixel_shuffle by {r} takes (..., C * {r * r}, H, W), not {describe(x.node)}.")
    *front, channels, height, width = x.shape
    apart = x.reshape(*front, channels // (r * r), r, r, height, width)
    k = len(front)
    y = apart.transpose(*range(k + 1), k + 3, k + 1, k + 4, k + 2)
    return y.reshape(*front, channels // (r * r), height * r, width * r)


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """Pixels as channels, the inverse of `pixel_shuffle`: (..., C, H * r, W * r) -> (..., C * r * r, H, W).

    Raises:
        ShapeError: a height or width that r does not divide.
        OptionError: r is no number from 1 on.
    """
    (r,) = numbers(downscale_factor, 1, "the downscale_factor of pixel_unshuffle", 1)
    x = whole(x, "pixel_unshuffle")
    if x.ndim < 3 or any(not isinstance(s, int) or s % r for s in x.shape[-2:]):
        raise ShapeError(f"{here()}pixel_unshuffle by {r} takes (..., C, H * {r}, W * {r}), not {describe(x.node)}.")
    *front, channels, height, width = x.shape
    apart = x.reshape(*front, channels, height // r, r, width // r, r)
    k = len(front)
    y = apart.transpose(*range(k + 1), k + 2, k + 4, k + 1, k + 3)
    return y.reshape(*front, channels * r * r, height // r, width // r)
