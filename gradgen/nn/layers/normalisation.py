"""Normalisation over the last axes, or over groups of channels, as layers with PyTorch's names, layouts and defaults.

In: sizes and options. Out: layers with a `weight` from 1 and a `bias` from 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradgen.errors import ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.nn import init, normalisation
from gradgen.nn.modules import Module, Parameter

__all__ = ["GroupNorm", "LayerNorm", "RMSNorm", "affine_parameters", "counted"]


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias, along the last axes (Ba et al. 2016).

    `weight` and `bias` have the `normalized_shape`, the sizes of these axes; without `elementwise_affine` there are
    none, without `bias` there is only a weight.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.normalized_shape, self.eps = _sizes(self, normalized_shape), eps
        affine_parameters(self, self.normalized_shape, (elementwise_affine, elementwise_affine and bias), dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor (..., *normalized_shape).

        Raises:
            ShapeError: the last axes of x have other sizes.
        """
        return normalisation.layer_norm(x, self.weight, self.bias, _last(self, x, self.normalized_shape), self.eps)


class RMSNorm(Module):
    """x / sqrt(mean(x**2) + eps) * weight, along the last axes (Zhang and Sennrich 2019).

    `weight` has the `normalized_shape`. Without an eps it is what lies between 1 and the next number of x's dtype.
    """

    weight: Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.normalized_shape, self.eps = _sizes(self, normalized_shape), eps
        self.declare("weight", Parameter(self.normalized_shape, dtype, init.ones()) if elementwise_affine else None)

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor (..., *normalized_shape).

        Raises:
            ShapeError: the last axes of x have other sizes.
        """
        return normalisation.rms_norm(x, self.weight, _last(self, x, self.normalized_shape), self.eps)


class GroupNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias, for groups of channels of each example (Wu and He 2018).

    `weight` and `bias` have the shape (num_channels); without `affine` there are none.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.num_groups = counted(self, num_groups, "groups")
        self.num_channels, self.eps = counted(self, num_channels, "channels"), eps
        if num_channels % num_groups:
            raise ShapeError(
                f"{here()}{self.name} has {num_channels} channels, which do not fall into {num_groups} equal groups."
            )
        affine_parameters(self, (num_channels,), (affine, affine and bias), dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor (N, num_channels, ...).

        Raises:
            ShapeError: x has another number of channels.
        """
        if len(x.node.shape) < 2 or x.node.shape[1].constant != self.num_channels:
            raise ShapeError(
                f"{here()}{self.name} takes {self.num_channels} channels along axis 1, and is given {describe(x.node)}."
            )
        return normalisation.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


# ---------------------------------------------------------------- for all normalisations


def affine_parameters(layer: Module, shape: Sequence[int], has: tuple[Any, Any], dtype: str) -> None:
    """Declare a weight, from 1, and a bias, from 0, or None where a layer has none."""
    for key, there, start in (("weight", has[0], init.ones()), ("bias", has[1], init.zeros())):
        layer.declare(key, Parameter(shape, dtype, start) if there else None)


def counted(layer: Module, count: Any, what: str) -> int:
    """A number of something that a layer has.

    Raises:
        ShapeError: it is none.
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ShapeError(f"{here()}{layer.name} has {shown(count)} for its number of {what}: give 1 or more.")
    return int(count)


def _sizes(layer: Module, given: int | Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not sizes:
        raise ShapeError(f"{here()}{layer.name} has no sizes for its normalized_shape: give one or more.")
    return tuple(counted(layer, size, "elements along an axis") for size in sizes)


def _last(layer: Module, x: Tensor, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes of x, which have these sizes."""
    if len(x.node.shape) < len(sizes) or [s.constant for s in x.node.shape[-len(sizes) :]] != list(sizes):
        raise ShapeError(
            f"{here()}{layer.name} takes the sizes ({', '.join(map(str, sizes))}) along the last axes, "
            f"and is given {describe(x.node)}."
        )
    return tuple(range(-len(sizes), 0))
