"""Normalisations as functions: (x - mean) / sqrt(variance + eps), over axes that each of them chooses.

In: tensors, and running statistics where there are some. Out: tensors of the same shape. What changes the running
statistics is a formula as well (`layers/statistics.py`).
"""

from typing import Any

from gradgen.errors import GraphError, ShapeError
from gradgen.graph.axes import axis_numbers, describe
from gradgen.graph.nodes import same_shape, show_size
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import compute
from gradgen.lang.declare import indices_over
from gradgen.lang.shapes import whole

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"]


def layer_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, axis: Any = -1, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, along the last axis or axes (Ba et al. 2016).

    `weight` and `bias` have the shape of these axes.
    """
    y = standardised(x, axis_numbers(axis, x.ndim, describe(x.node)), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Tensor, weight: Tensor | None = None, axis: Any = -1, eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x**2) + eps) * weight, along the last axis or axes (Zhang and Sennrich 2019).

    `weight` has the shape of these axes. Without an eps it is what lies between 1 and the next number of x's dtype.
    """
    axes = axis_numbers(axis, x.ndim, describe(x.node))
    square = reducers.mean(x * x, axis=axes, keepdims=True)
    y: Tensor = x * array.rsqrt(square + (epsilon(x) if eps is None else eps))
    return y if weight is None else y * weight


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, for each channel (Ioffe and Szegedy 2015).

    Args:
        x: floats (N, C) or (N, C, ...).
        running_mean, running_var: (C), what is taken off and divided by where nothing is trained.
        weight, bias: (C).
        training: take mean and variance over all axes of x but that of the channels. The running statistics are not
            changed by that: their next values are formulas, which `nn.running_updates` gives for a layer.
        eps: added to the variance.

    Raises:
        GraphError: running statistics are missing.
        ShapeError: tensors of other shapes.
    """
    x, running_mean, running_var, weight, bias = with_channels("batch_norm", x, running_mean, running_var, weight, bias)
    if training:
        y = standardised(x, (0, *range(2, x.ndim)), eps)
    else:
        y = by_statistics(x, running_mean, running_var, eps)
    return scaled(y, weight, bias)


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, for each channel of each example (Ulyanov et al. 2016).

    Arguments are those of `batch_norm`, for x of shape (N, C, ...); without `use_input_stats` running statistics are
    taken instead of those of x.

    Raises:
        GraphError: running statistics are missing.
        ShapeError: tensors of other shapes.
    """
    x, running_mean, running_var, weight, bias = with_channels(
        "instance_norm", x, running_mean, running_var, weight, bias
    )
    if use_input_stats:
        y = standardised(x, tuple(range(2, x.ndim)), eps)
    else:
        y = by_statistics(x, running_mean, running_var, eps)
    return scaled(y, weight, bias)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, for groups of channels of each example (Wu and He 2018).

    Args:
        x: floats (N, C, ...).
        num_groups: how many groups the channels fall into.
        weight, bias: (C).
        eps: added to the variance.

    Raises:
        ShapeError: channels that do not fall into so many groups, or tensors of other shapes.
    """
    x, weight, bias = with_channels("group_norm", x, weight, bias)
    channels = x.shape[1]
    if not isinstance(channels, int) or num_groups < 1 or channels % num_groups:
        raise ShapeError(
            f"{here()}group_norm of {describe(x.node)}: {show_size(x.node.shape[1])} channels do not fall into "
            f"{num_groups} equal groups."
        )
    grouped = x.reshape(x.shape[0], num_groups, channels // num_groups, *x.shape[2:])
    y = standardised(grouped, tuple(range(2, grouped.ndim)), eps).reshape(x.shape)
    return scaled(y, weight, bias)


# ---------------------------------------------------------------- what they are made of


def moments(x: Tensor, axes: Any) -> tuple[Tensor, Tensor]:
    """Mean and variance over axes, which stay with the size 1."""
    mean = reducers.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    return mean, reducers.mean(centred * centred, axis=axes, keepdims=True)


def standardised(x: Tensor, axes: Any, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps), with mean and variance over axes."""
    mean, variance = moments(x, axes)
    return (x - mean) * array.rsqrt(variance + eps)  # type: ignore[no-any-return]  # of tensors, a tensor


def by_statistics(x: Tensor, mean: Tensor | None, variance: Tensor | None, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps), with a mean and a variance for each channel."""
    if mean is None or variance is None:
        raise GraphError(f"{here()}without statistics of {describe(x.node)} itself, give running_mean and running_var.")
    return (x - along_channels(mean, x)) * along_channels(array.rsqrt(variance + eps), x)


def scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """y * weight + bias, with a weight and a bias for each channel."""
    y = y if weight is None else y * along_channels(weight, y)
    return y if bias is None else y + along_channels(bias, y)


def along_channels(v: Tensor, x: Tensor) -> Tensor:
    """v[c] at every place (n, c, ...) of x."""
    places = indices_over(x.shape)
    return compute(places, v[places[1]])


def epsilon(x: Tensor) -> float:
    """What lies between 1 and the next number of a dtype."""
    return 2.0**-52 if x.dtype == "float64" else 2.0**-23


def with_channels(what: str, x: Any, *each: Any) -> list[Any]:
    """All as tensors, or None: the first with channels along axis 1, the others with one number for each of them.

    Raises:
        ShapeError: there is such a tensor.
    """
    x = whole(x, what)
    node = x.node
    each = tuple(None if v is None else whole(v, what, x.dtype) for v in each)
    if len(node.shape) < 2:
        raise ShapeError(f"{here()}{what} takes (N, C, ...), with the channels along axis 1, not {describe(node)}.")
    for v in each:
        if v is not None and not same_shape(v.node.shape, (node.shape[1],)):
            raise ShapeError(
                f"{here()}{what} of {describe(node)} with {describe(v.node)}: give one number for each of the "
                f"{show_size(node.shape[1])} channels."
            )
    return [x, *each]
