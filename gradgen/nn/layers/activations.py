"""Activations that work element by element, as layers with PyTorch's names and options.

In: options. Out: layers without parameters; each computes a function of `nn.activations`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from gradgen.nn import activations
from gradgen.nn.modules import Module

__all__ = [
    "CELU", "ELU", "GELU", "SELU", "Activation", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "Mish", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh",
    "Tanhshrink", "Threshold",
]  # fmt: skip


class Activation(Module):
    """A function of one tensor as a layer: each below says which, and what options it is called with."""

    function: ClassVar[Callable[..., Any]]
    options: tuple[Any, ...]

    def __init__(self) -> None:
        self.options = ()

    def forward(self, x: Any) -> Any:
        """The function of a tensor, or of whatever else it takes."""
        return type(self).function(x, *self.options)


class ReLU(Activation):
    """max(x, 0)."""

    function = staticmethod(activations.relu)


class ReLU6(Activation):
    """x held between 0 and 6."""

    function = staticmethod(activations.relu6)


class SELU(Activation):
    """elu with the numbers for which mean 0 and variance 1 stay (Klambauer et al. 2017)."""

    function = staticmethod(activations.selu)


class SiLU(Activation):
    """x * sigmoid(x), also called swish."""

    function = staticmethod(activations.silu)


class Mish(Activation):
    """x * tanh(softplus(x)) (Misra 2019)."""

    function = staticmethod(activations.mish)


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    function = staticmethod(activations.sigmoid)


class LogSigmoid(Activation):
    """log(1 / (1 + exp(-x)))."""

    function = staticmethod(activations.logsigmoid)


class Tanh(Activation):
    """tanh(x)."""

    function = staticmethod(activations.tanh)


class Tanhshrink(Activation):
    """x - tanh(x)."""

    function = staticmethod(activations.tanhshrink)


class Softsign(Activation):
    """x / (1 + |x|)."""

    function = staticmethod(activations.softsign)


class Hardsigmoid(Activation):
    """A sigmoid of three straight pieces: x / 6 + 1 / 2, held between 0 and 1."""

    function = staticmethod(activations.hardsigmoid)


class Hardswish(Activation):
    """x * hardsigmoid(x) (Howard et al. 2019)."""

    function = staticmethod(activations.hardswish)


class GELU(Activation):
    """x times the probability that a standard normal number is below x; "tanh" approximates it."""

    function = staticmethod(activations.gelu)

    def __init__(self, approximate: str = "none") -> None:
        self.options = (approximate,)


class LeakyReLU(Activation):
    """x where it is positive, else negative_slope * x."""

    function = staticmethod(activations.leaky_relu)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.options = (negative_slope,)


class ELU(Activation):
    """x where it is positive, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""

    function = staticmethod(activations.elu)

    def __init__(self, alpha: float = 1.0) -> None:
        self.options = (alpha,)


class CELU(Activation):
    """x where it is positive, else alpha * (exp(x / alpha) - 1) (Barron 2017)."""

    function = staticmethod(activations.celu)

    def __init__(self, alpha: float = 1.0) -> None:
        self.options = (alpha,)


class Softplus(Activation):
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold."""

    function = staticmethod(activations.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.options = (beta, threshold)


class Hardtanh(Activation):
    """x held between two bounds."""

    function = staticmethod(activations.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.options = (min_val, max_val)


class Threshold(Activation):
    """x where it is above the threshold, else the value."""

    function = staticmethod(activations.threshold)

    def __init__(self, threshold: float, value: float) -> None:
        self.options = (threshold, value)


class Softshrink(Activation):
    """x moved towards 0 by lambd, and 0 where it is not further than that."""

    function = staticmethod(activations.softshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        self.options = (lambd,)


class Hardshrink(Activation):
    """x, and 0 where it is not further from 0 than lambd."""

    function = staticmethod(activations.hardshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        self.options = (lambd,)
