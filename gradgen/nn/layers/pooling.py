"""Layers of pooling: the largest, or the mean, of what a window sees.

In: sizes. Out: layers without parameters, with PyTorch's options.
"""

from typing import Any

from gradgen.graph.tensor import Tensor
from gradgen.nn.modules import Module
from gradgen.nn.pooling import adaptive_average_pool, average_pool, maximum_pool

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d",
]  # fmt: skip


class _MaxPool(Module):
    dims: int

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *, ceil_mode: bool = False
    ) -> None:
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        """The largest element of every window, as `gg.nn.pooling.maximum_pool` says."""
        return maximum_pool(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.dims
        )  # fmt: skip


class MaxPool1d(_MaxPool):
    """y[n, c, t] = max_p x[n, c, stride * t + dilation * p - padding]; of equal ones the first has the gradient."""

    dims = 1


class MaxPool2d(_MaxPool):
    """`MaxPool1d` along two axes: (N, C, H, W) -> (N, C, H', W'); numbers for both axes, or one for each."""

    dims = 2


class MaxPool3d(_MaxPool):
    """`MaxPool1d` along three axes: (N, C, D, H, W) -> (N, C, D', H', W'); numbers for all axes, or one for each."""

    dims = 3


class AvgPool1d(Module):
    """y[n, c, t] = sum_p x[n, c, stride * t + p - padding] / K, or by as many as are inside.

    Without `count_include_pad` the padding does not count.
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """The mean of every window, as `gg.nn.pooling.average_pool` says."""
        return average_pool(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, None, 1
        )


class _AvgPool(Module):
    dims: int

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """The mean of every window, as `gg.nn.pooling.average_pool` says."""
        return average_pool(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override, self.dims,
        )  # fmt: skip


class AvgPool2d(_AvgPool):
    """`AvgPool1d` along two axes; `divisor_override` is what to divide by instead."""

    dims = 2


class AvgPool3d(_AvgPool):
    """`AvgPool1d` along three axes; `divisor_override` is what to divide by instead."""

    dims = 3


class _AdaptiveAvgPool(Module):
    dims: int

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """The mean of every part, as `gg.nn.pooling.adaptive_average_pool` says."""
        return adaptive_average_pool(x, self.output_size, self.dims)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of x[n, c, i] over floor(o * L / parts) <= i < ceil((o + 1) * L / parts): (N, C, L) -> (N, C, parts)."""

    dims = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """`AdaptiveAvgPool1d` along two axes: one number of parts, or two; None leaves an axis as it is."""

    dims = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """`AdaptiveAvgPool1d` along three axes: one number of parts, or three; None leaves an axis as it is."""

    dims = 3
