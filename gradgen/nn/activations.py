"""Activations as functions, with PyTorch's names and options.

In: a tensor. Out: a tensor of the same shape (`glu`: half of an axis). What `gg` has as well is the same function.
"""

from typing import Any

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import axis_number, describe
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import compute, where
from gradgen.lang.declare import indices_over
from gradgen.lang.shapes import whole, wholes

__all__ = [
    "celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax",
    "logsigmoid", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
]  # fmt: skip

relu = array.relu
relu6 = array.relu6
elu = array.elu
celu = array.celu
selu = array.selu
silu = array.silu
mish = array.mish
sigmoid = array.sigmoid
logsigmoid = array.logsigmoid
tanh = array.tanh
softsign = array.softsign
hardsigmoid = array.hardsigmoid
hardswish = array.hardswish


def gelu(x: Any, approximate: str = "none") -> Any:
    """x times the probability that a standard normal number is below x (Hendrycks and Gimpel 2016).

    Args:
        x: floats of any shape.
        approximate: "tanh" for the formula with a tanh, which differs by up to 5e-4.

    Raises:
        OptionError: another approximation.
    """
    if approximate not in ("none", "tanh"):
        raise OptionError(f'{here()}gelu has no approximation {approximate!r}: give "none" or "tanh".')
    return array.gelu(x) if approximate == "none" else array.gelu_tanh(x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where it is positive, else negative_slope * x (Maas et al. 2013)."""
    return array.leaky_relu(x, negative_slope)


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where it is positive, else weight * x (He et al. 2015).

    Args:
        x: floats of any shape; axis 1 is that of the channels.
        weight: (1), one slope for all, or (C), one for each channel.

    Raises:
        ShapeError: as many slopes as neither one nor channels.
    """
    x, weight = wholes("prelu", x, weight)
    slopes = weight.node.shape
    one = len(slopes) == 1 and slopes[0].constant == 1
    if not one and (len(slopes) != 1 or x.ndim < 2 or x.node.shape[1] is not slopes[0]):
        raise ShapeError(
            f"{here()}prelu of {describe(x.node)} with {describe(weight.node)}: there is one slope for all, or one for "
            "each channel along axis 1."
        )
    places = indices_over(x.shape)
    slope, value = weight[0 if one else places[1]], x[places]
    return compute(places, where(value > 0, value, slope * value))


def threshold(x: Any, threshold: float, value: float) -> Any:
    """x where it is above the threshold, else the value."""
    return where(x > threshold, x, value)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x held between two bounds."""
    return array.hardtanh(x, min_val, max_val)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold.

    The threshold is PyTorch's, and by default too far out to be seen in float32. `gg.softplus` has none, nor needs it.
    """
    return where(beta * x > threshold, x, array.softplus(beta * x) / beta)


def tanhshrink(x: Any) -> Any:
    """x - tanh(x)."""
    return x - tanh(x)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """x moved towards 0 by lambd, and 0 where it is not further than that."""
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, 0.0))


def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """x, and 0 where it is not further from 0 than lambd."""
    return where(abs(x) > lambd, x, 0.0)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum exp(x), along an axis."""
    e = array.exp(x)
    return e / reducers.sum(e, axis=axis, keepdims=True)  # type: ignore[no-any-return]  # of tensors, a tensor


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(exp(x) / sum exp(x)), along an axis."""
    return array.log(softmax(x, axis))  # type: ignore[no-any-return]  # of a tensor, a tensor


def softmin(x: Tensor, axis: int = -1) -> Tensor:
    """exp(-x) / sum exp(-x), along an axis."""
    return softmax(-x, axis)


def glu(x: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b), where a and b are the halves of x along an axis (Dauphin et al. 2017).

    Raises:
        ShapeError: the axis has no halves.
    """
    x = whole(x, "glu")
    a, b = array.split(x, 2, axis_number(dim, x.ndim, describe(x.node)))
    return a * sigmoid(b)  # type: ignore[no-any-return]  # of tensors, a tensor
