"""Layers that change resolutions, and layers that pad.

In: sizes. Out: layers without parameters, with PyTorch's options.
"""

from typing import Any

from gradgen.graph.tensor import Tensor
from gradgen.nn.convolution import padded_by
from gradgen.nn.modules import Module
from gradgen.nn.resampling import fold, interpolate, pixel_shuffle, pixel_unshuffle, unfold
from gradgen.nn.windows import check_rank, numbers

__all__ = ["Fold", "PixelShuffle", "PixelUnshuffle", "Unfold", "Upsample", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d"]


class Upsample(Module):
    """The tensor at another resolution, as `interpolate` says: (N, C, ...) -> (N, C, ...)."""

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
    ) -> None:
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        """The tensor at the other resolution."""
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)


class Unfold(Module):
    """The windows of an image as columns: (N, C, H, W) -> (N, C * K * K, L)."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Tensor) -> Tensor:
        """The columns, as `unfold` says."""
        return unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """The image to which columns add up, the adjoint of `Unfold`: (N, C * K * K, L) -> (N, C, H, W)."""

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:  # fmt: skip
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, x: Tensor) -> Tensor:
        """The image, as `fold` says."""
        return fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)


class PixelShuffle(Module):
    """Channels as pixels (Shi et al. 2016): (..., C * r * r, H, W) -> (..., C, H * r, W * r)."""

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        """The larger image, as `pixel_shuffle` says."""
        return pixel_shuffle(x, self.upscale_factor)


class PixelUnshuffle(Module):
    """Pixels as channels: (..., C, H * r, W * r) -> (..., C * r * r, H, W)."""

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, x: Tensor) -> Tensor:
        """The smaller image, as `pixel_unshuffle` says."""
        return pixel_unshuffle(x, self.downscale_factor)


class _ZeroPad(Module):
    dims: int

    def __init__(self, padding: Any) -> None:
        what = f"the padding of ZeroPad{self.dims}d"
        given = numbers(padding, 2 * self.dims, what, 0)
        self.widths = [(given[2 * k], given[2 * k + 1]) for k in reversed(range(self.dims))]

    def forward(self, x: Tensor) -> Tensor:
        """The tensor with zeros around it."""
        what = f"ZeroPad{self.dims}d"
        return padded_by(check_rank(x, self.dims, what), self.widths, "zeros", what)


class ZeroPad1d(_ZeroPad):
    """Zeros around the last axis: one width for both sides, or (left, right)."""

    dims = 1


class ZeroPad2d(_ZeroPad):
    """Zeros around the last two axes: one width for all sides, or (left, right, top, bottom)."""

    dims = 2


class ZeroPad3d(_ZeroPad):
    """Zeros around the last three axes: one width, or (left, right, top, bottom, front, back)."""

    dims = 3
