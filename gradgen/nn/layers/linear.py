"""Linear layers, and layers that only move or forget.

In: sizes. Out: layers along the last axis, with PyTorch's parameter layouts and first values.
"""

import math
from typing import Any

import numpy as np

from gradgen.errors import ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.nodes import show_size
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang.array import transpose
from gradgen.nn import functional, init
from gradgen.nn.modules import Module, Parameter

__all__ = ["Flatten", "Identity", "Linear"]


class Linear(Module):
    """x @ weight.T + bias, along the last axis: (..., in) -> (..., out).

    `weight` (out, in) and `bias` (out) start uniform within 1 / sqrt(in), as in PyTorch. The parameters of
    `fc1 = Linear(64, 128)`, or of `Linear(64, 128, name="fc1")`, are called `fc1_weight` and `fc1_bias`.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, name: str | None = None, dtype: str = "float32"
    ) -> None:
        self.called(name)
        for count in (inputs, outputs):
            if not isinstance(count, (int, np.integer)) or count < 0:
                raise ShapeError(
                    f"{here()}{self.name} has {shown(count)} for a size: give numbers of inputs and outputs."
                )
        within = 1.0 / math.sqrt(inputs) if inputs > 0 else 0.0
        start = init.uniform(-within, within)
        self.declare("weight", Parameter((outputs, inputs), dtype, start))
        self.declare("bias", Parameter((outputs,), dtype, start) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor.

        Raises:
            ShapeError: the last axis of x has not the size that the layer takes.
        """
        size = self.weight.node.shape[1]
        if not x.node.shape or x.node.shape[-1] is not size:
            raise ShapeError(
                f"{here()}{self.name} takes {show_size(size)} inputs along the last axis, "
                f"and is given {describe(x.node)}."
            )
        u = x @ transpose(self.weight)
        return u if self.bias is None else u + self.bias


class Identity(Module):
    """x itself, whatever it is made with."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        """The same."""
        return x


class Flatten(Module):
    """The axes from `start` to `end` as one, `end` included; by default all but the first."""

    def __init__(self, start: int = 1, end: int = -1) -> None:
        self.start, self.end = start, end

    def forward(self, x: Tensor) -> Tensor:
        """The tensor with these axes as one."""
        return functional.flatten(x, self.start, self.end)
