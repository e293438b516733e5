"""Activations that know an axis, as layers with PyTorch's names and options.

In: the axis, or the number of channels. Out: layers; each computes a function of `nn.activations`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from gradgen.errors import ShapeError
from gradgen.graph.axes import shown
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.nn import activations
from gradgen.nn.init import constant
from gradgen.nn.layers.activations import Activation
from gradgen.nn.modules import Module, Parameter

__all__ = ["GLU", "LogSoftmax", "PReLU", "Softmax", "Softmax2d", "Softmin"]


class Softmax(Activation):
    """exp(x) / sum exp(x), along an axis; the last one unless said otherwise."""

    function: ClassVar[Callable[..., Any]] = staticmethod(activations.softmax)

    def __init__(self, dim: int = -1) -> None:
        self.options = (dim,)


class LogSoftmax(Softmax):
    """log(exp(x) / sum exp(x)), along an axis; the last one unless said otherwise."""

    function = staticmethod(activations.log_softmax)


class Softmin(Softmax):
    """exp(-x) / sum exp(-x), along an axis; the last one unless said otherwise."""

    function = staticmethod(activations.softmin)


class GLU(Activation):
    """a * sigmoid(b), where a and b are the halves of x along an axis (Dauphin et al. 2017)."""

    function = staticmethod(activations.glu)

    def __init__(self, dim: int = -1) -> None:
        self.options = (dim,)


class Softmax2d(Activation):
    """exp(x) / sum exp(x) over the channels at every pixel of an image: (N, C, H, W) or (C, H, W)."""

    function = staticmethod(activations.softmax)

    def __init__(self) -> None:
        self.options = (-3,)


class PReLU(Module):
    """x where it is positive, else weight * x (He et al. 2015).

    `weight` (1), or (C) with one slope for each channel along axis 1, starts at `init`.
    """

    weight: Tensor

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, name: str | None = None, dtype: str = "float32"
    ) -> None:
        self.called(name)
        if not isinstance(num_parameters, (int, np.integer)) or num_parameters < 1:
            raise ShapeError(
                f"{here()}{self.name} has {shown(num_parameters)} for its number of slopes: give 1 or more."
            )
        self.declare("weight", Parameter((num_parameters,), dtype, constant(init)))

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor.

        Raises:
            ShapeError: axis 1 of x has another size than there are slopes.
        """
        return activations.prelu(x, self.weight)
