"""Layers of convolutions and transposed convolutions.

In: numbers of channels and kernel sizes. Out: layers with PyTorch's parameter layouts and first values.
"""

import math
from typing import Any

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import shown
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.nn import init
from gradgen.nn.convolution import MODES, convolution, transposed_convolution
from gradgen.nn.modules import Module, Parameter
from gradgen.nn.windows import numbers, windows

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _Convolution(Module):
    """What the layers have in common: weight and bias start uniform within 1 / sqrt(fan-in), as in PyTorch."""

    dims: int
    weight: Tensor
    bias: Tensor | None

    def _sizes(self, in_channels: int, out_channels: int, kernel_size: Any, groups: int) -> tuple[int, ...]:
        for count in (in_channels, out_channels):
            if not isinstance(count, int) or count < 1:
                raise ShapeError(f"{here()}{self.name} has {shown(count)} for a number of channels: from 1 on.")
            if not isinstance(groups, int) or groups < 1 or count % groups:
                raise ShapeError(f"{here()}{self.name} cannot divide {count} channels into {shown(groups)} groups.")
        return numbers(kernel_size, self.dims, f"the kernel size of {self.name}", 1)

    def _parameters(self, weight: tuple[int, ...], out_channels: int, bias: bool, dtype: str) -> None:
        within = 1.0 / math.sqrt(math.prod(weight[1:]))
        start = init.uniform(-within, within)
        self.declare("weight", Parameter(weight, dtype, start))
        self.declare("bias", Parameter((out_channels,), dtype, start) if bias else None)


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        kernel = self._sizes(in_channels, out_channels, kernel_size, groups)
        windows(self.name, self.dims, kernel, stride, padding, dilation)
        if padding_mode not in MODES:
            raise OptionError(
                f"{here()}the padding_mode of {self.name} is {padding_mode!r}: one of {', '.join(map(repr, MODES))}."
            )
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups, self.padding_mode = groups, padding_mode
        self._parameters((out_channels, in_channels // groups, *kernel), out_channels, bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of a tensor (N, C, ...) or (C, ...).

        Raises:
            ShapeError: it has other channels than the layer takes, or an axis shorter than the kernel.
        """
        return convolution(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, self.dims,
            self.padding_mode,
        )  # fmt: skip


class Conv1d(_Conv):
    """y[n, f, t] = sum_{c, p} weight[f, c, p] * x[n, c, stride * t + dilation * p - padding] + bias[f].

    `weight` (out, in / groups, K) and `bias` (out) start uniform within 1 / sqrt(in / groups * K). `padding` is a
    number, "valid" or "same"; what stands there, `padding_mode`, is "zeros", "reflect", "replicate" or "circular".
    """

    dims = 1


class Conv2d(_Conv):
    """`Conv1d` along two axes: (N, C, H, W) -> (N, F, H', W'); numbers for both axes, or one for each."""

    dims = 2


class Conv3d(_Conv):
    """`Conv1d` along three axes: (N, C, D, H, W) -> (N, F, D', H', W'); numbers for all axes, or one for each."""

    dims = 3


class _ConvTranspose(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        kernel = self._sizes(in_channels, out_channels, kernel_size, groups)
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.groups, self.dilation = groups, dilation
        self._parameters((in_channels, out_channels // groups, *kernel), out_channels, bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The transposed convolution of a tensor (N, C, ...) or (C, ...).

        Raises:
            ShapeError: it has other channels than the layer takes, or nothing is left of an axis.
            OptionError: numbers that cannot be.
        """
        return transposed_convolution(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation,
            self.dims,
        )  # fmt: skip


class ConvTranspose1d(_ConvTranspose):
    """y[n, f, stride * t + dilation * p - padding] += weight[c, f, p] * x[n, c, t], and bias[f].

    Without the bias it is the adjoint of a convolution with the same numbers.
    `weight` (in, out / groups, K) and `bias` (out) start uniform within 1 / sqrt(out / groups * K).
    `output_padding` adds places at the end: a convolution with a stride makes one size of several.
    """

    dims = 1


class ConvTranspose2d(_ConvTranspose):
    """`ConvTranspose1d` along two axes: (N, C, H, W) -> (N, F, H', W'); numbers for both axes, or one for each."""

    dims = 2


class ConvTranspose3d(_ConvTranspose):
    """`ConvTranspose1d` along three axes: (N, C, D, H, W) -> (N, F, D', H', W'); numbers for all axes, or each."""

    dims = 3
