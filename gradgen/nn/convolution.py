"""Convolutions and transposed convolutions along one, two or three axes (Dumoulin and Visin 2016).

In: tensors (N, C, ...) or (C, ...), weights with PyTorch's layouts. Out: tensors. One formula each for any number of
axes; groups of channels are an axis of their own.
"""

from typing import Any

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.nodes import show_size
from gradgen.graph.place import here
from gradgen.graph.scalar import as_poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import reducers
from gradgen.lang.compute import accumulate, compute
from gradgen.lang.declare import index, indices
from gradgen.lang.shapes import pad, whole
from gradgen.nn.windows import OUTER, Windows, check_rank, leading, letters, numbers, windows

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
    "padded_by", "transposed_convolution",
]  # fmt: skip

MODES = ("zeros", "reflect", "replicate", "circular")


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    dims: int,
    padding_mode: str = "zeros",
) -> Tensor:
    """y[n, f, o] = sum_{c, p} weight[f, c, p] * x[n, c, stride * o + dilation * p - padding] + bias[f].

    With groups, output channels see only the input channels of their group.

    Args:
        x: floats of shape (N, C, ...) or (C, ...), with `dims` axes behind the channels.
        weight: (F, C / groups, ...), the kernel behind the channels.
        bias: (F), or None.
        stride, dilation: a number, or one for each axis.
        padding: the same, or "valid" (0), or "same" (as many outputs as inputs; stride 1).
        padding_mode: what stands there: "zeros", "reflect", "replicate" or "circular".

    Raises:
        ShapeError: shapes that do not fit each other, or an axis shorter than the kernel.
        OptionError: numbers that cannot be, or "same" with another stride.
    """
    what = f"conv{dims}d"
    x = check_rank(x, dims, what)
    weight = whole(weight, what, x.dtype)
    kernel = _kernel(weight, dims, what)
    by = windows(what, dims, kernel, stride, padding, dilation)
    if padding_mode != "zeros":
        x = padded_by(x, list(zip(by.before, by.after, strict=True)), padding_mode, what)
        by = windows(what, dims, kernel, stride, 0, dilation)
    channels, filters = x.shape[-dims - 1], weight.shape[0]
    share = _divided(filters, groups, f"the {filters} output channels of {what}")
    _check_channels(x, weight, channels, weight.shape[1], groups, what)
    bias = _bias(bias, x, filters, what)
    sizes = by.counts(x)
    examples, outer, inner = leading(x, dims + 1, "n"), letters(OUTER, sizes), by.inner()
    g, f, c = indices("g f c")
    kernels = weight.reshape(groups, share, *weight.shape[1:])
    signal = by.source(x.reshape(*x.shape[: -dims - 1], groups, weight.shape[1], *x.shape[-dims:]))
    taps = kernels[(g, f, c, *inner)] * signal[(*examples, g, c, *by.at(outer, inner))]
    y = compute((*examples, g, f, *outer), reducers.sum(taps, over=(c, *inner)))
    return _with_bias(y.reshape(*x.shape[: -dims - 1], filters, *sizes), bias, dims)


def transposed_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    dims: int,
) -> Tensor:
    """y[n, f, stride * o + dilation * p - padding] += weight[c, f, p] * x[n, c, o] for all n, f, o, c and p.

    It is the adjoint of the convolution with the same numbers: every input adds its multiple of the kernel to the
    output, whose border of width `padding` is cut off. Its size is
    (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1.

    Args:
        x: floats of shape (N, C, ...) or (C, ...), with `dims` axes behind the channels.
        weight: (C, F / groups, ...), the kernel behind the channels.
        bias: (F), or None.
        stride, padding, dilation: a number, or one for each axis.
        output_padding: so many more places at the end of every axis; below stride or dilation.

    Raises:
        ShapeError: shapes that do not fit each other, or an output without elements.
        OptionError: numbers that cannot be.
    """
    what = f"conv_transpose{dims}d"
    x = check_rank(x, dims, what)
    weight = whole(weight, what, x.dtype)
    kernel = _kernel(weight, dims, what)
    if isinstance(padding, str):
        raise OptionError(f"{here()}the padding of {what} is {padding!r}: give numbers.")
    by = windows(what, dims, kernel, stride, padding, dilation)
    more = numbers(output_padding, dims, f"the output_padding of {what}", 0)
    if any(m >= max(s, d) for m, s, d in zip(more, by.stride, by.dilation, strict=True)):
        raise OptionError(f"{here()}the output_padding of {what} is {shown(output_padding)}: below stride or dilation.")
    channels, share = x.shape[-dims - 1], weight.shape[1]
    _check_channels(x, weight, channels, weight.shape[0], 1, what)
    _divided(channels, groups, f"the {channels} input channels of {what}")
    bias = _bias(bias, x, share * groups, what)
    examples, outer, inner = leading(x, dims + 1, "n"), letters(OUTER, x.shape[-dims:]), by.inner()
    g, f, c = index("g", groups), index("f", share), index("c")
    kernels = weight.reshape(groups, -1, share, *kernel)
    signal = x.reshape(*x.shape[: -dims - 1], groups, -1, *x.shape[-dims:])
    full = tuple((n - 1) * s + r + m for n, s, r, m in zip(x.shape[-dims:], by.stride, by.reach, more, strict=True))
    _check_output(x, full, by)
    places = Windows(what, kernel, by.stride, (0,) * dims, (0,) * dims, by.dilation).at(outer, inner)
    painted = accumulate(
        (*examples, g, f, *places),
        kernels[(g, c, f, *inner)] * signal[(*examples, g, c, *outer)],
        shape=(*x.shape[: -dims - 1], groups, share, *full),
    )
    inside = tuple(slice(b, n - b) for b, n in zip(by.before, full, strict=True))
    y = painted[(..., *inside)] if by.pads else painted
    return _with_bias(y.reshape(*x.shape[: -dims - 1], share * groups, *y.shape[-dims:]), bias, dims)


def padded_by(x: Tensor, widths: list[tuple[int, int]], mode: str, what: str) -> Tensor:
    """The tensor with (before, after) more elements along each of its last axes: 0, or as the mode says.

    Raises:
        OptionError: another mode than "zeros", "reflect", "replicate" and "circular".
        ShapeError: an axis that is shorter than what is repeated of it.
    """
    if mode not in MODES:
        raise OptionError(f"{here()}the padding_mode of {what} is {mode!r}: one of {', '.join(map(repr, MODES))}.")
    front = [(0, 0)] * (x.ndim - len(widths))
    return pad(x, [*front, *widths], "constant" if mode == "zeros" else mode)


# ---------------------------------------------------------------- what has to fit


def _kernel(weight: Tensor, dims: int, what: str) -> tuple[Any, ...]:
    """The kernel's size: what stands behind the channels of a weight."""
    if weight.ndim != dims + 2:
        raise ShapeError(f"{here()}the weight of {what} has {dims + 2} axes, not those of {describe(weight.node)}.")
    return weight.shape[2:]


def _divided(count: Any, groups: Any, what: str) -> Any:
    """The channels of one group."""
    if not isinstance(groups, int) or groups < 1:
        raise OptionError(f"{here()}groups is {shown(groups)}: give a number from 1 on.")
    if groups == 1:
        return count
    if not isinstance(count, int) or count % groups:
        raise ShapeError(f"{here()}{what} cannot be divided into {groups} groups.")
    return count // groups


def _check_channels(x: Tensor, weight: Tensor, found: Any, wanted: Any, groups: int, what: str) -> None:
    if as_poly(found) is not as_poly(wanted * groups):
        several = f" in {groups} groups" if groups > 1 else ""
        raise ShapeError(
            f"{here()}{what} of {describe(x.node)} with the weight {describe(weight.node)}{several}: "
            f"it takes {wanted * groups} channels."
        )


def _bias(bias: Any, x: Tensor, filters: Any, what: str) -> Tensor | None:
    if bias is None:
        return None
    found = whole(bias, what, x.dtype)
    if [s is as_poly(filters) for s in found.node.shape] != [True]:
        raise ShapeError(f"{here()}the bias of {what} has the shape ({filters}), not that of {describe(found.node)}.")
    return found


def _check_output(x: Tensor, full: tuple[Any, ...], by: Windows) -> None:
    for k, (n, b) in enumerate(zip(full, by.before, strict=True)):
        if isinstance(n, int) and n - 2 * b < 1:
            raise ShapeError(
                f"{here()}axis {x.ndim - by.dims + k} of {describe(x.node)} has {show_size(x.node.shape[k - by.dims])} "
                f"elements, and {by.what} cuts off all that it makes of them: its padding is {b}."
            )


def _with_bias(y: Tensor, bias: Tensor | None, dims: int) -> Tensor:
    return y if bias is None else y + bias.reshape(-1, *[1] * dims)


# ---------------------------------------------------------------- by PyTorch's names


def conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The `convolution` of (N, C, L) or (C, L) with (F, C / groups, K)."""
    return convolution(x, weight, bias, stride, padding, dilation, groups, 1)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The `convolution` of (N, C, H, W) or (C, H, W) with (F, C / groups, K, K)."""
    return convolution(x, weight, bias, stride, padding, dilation, groups, 2)


def conv3d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The `convolution` of (N, C, D, H, W) or (C, D, H, W) with (F, C / groups, K, K, K)."""
    return convolution(x, weight, bias, stride, padding, dilation, groups, 3)


def conv_transpose1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The `transposed_convolution` of (N, C, L) or (C, L) with (C, F / groups, K)."""
    return transposed_convolution(x, weight, bias, stride, padding, output_padding, groups, dilation, 1)


def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The `transposed_convolution` of (N, C, H, W) or (C, H, W) with (C, F / groups, K, K)."""
    return transposed_convolution(x, weight, bias, stride, padding, output_padding, groups, dilation, 2)


def conv_transpose3d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The `transposed_convolution` of (N, C, D, H, W) or (C, D, H, W) with (C, F / groups, K, K, K)."""
    return transposed_convolution(x, weight, bias, stride, padding, output_padding, groups, dilation, 3)
