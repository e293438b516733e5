"""Layers that give their inputs mean 0 and variance 1.

In: shapes. Out: layers, with PyTorch's parameter layouts and first values.
"""

from collections.abc import Sequence

from gradgen.errors import ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.nn import init
from gradgen.nn.functional import layer_norm
from gradgen.nn.modules import Module, Parameter

__all__ = ["LayerNorm"]


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias, along the last axes (Ba et al. 2016).

    `normalized_shape` is their shape, or the size of the last one; `weight` and `bias` have it, too.
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
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        weighted, shifted = elementwise_affine, elementwise_affine and bias
        self.declare("weight", Parameter(self.normalized_shape, dtype, init.ones()) if weighted else None)
        self.declare("bias", Parameter(self.normalized_shape, dtype, init.zeros()) if shifted else None)

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor.

        Raises:
            ShapeError: the last axes of x have not the sizes that the layer takes.
        """
        rank = len(self.normalized_shape)
        if x.ndim < rank or tuple(x.shape[x.ndim - rank :]) != self.normalized_shape:
            shape = ", ".join(str(s) for s in self.normalized_shape)
            raise ShapeError(f"{here()}{self.name} takes ({shape}) as last axes, and is given {describe(x.node)}.")
        return layer_norm(x, self.weight, self.bias, axis=tuple(range(-rank, 0)), eps=self.eps)
