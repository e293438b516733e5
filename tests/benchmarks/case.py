"""What a case is: a model, its arrays, and which of them are trained. Next: `cases.py`, the cases themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

LEARNING_RATE = 0.1
ADAM_RATE, ADAM_BETAS, ADAM_EPS = 1e-3, (0.9, 0.999), 1e-8
TRAINED = ("mlp", "cnn", "transformer", "step")


@dataclass(frozen=True)
class Mlp:
    """Widths of the layers, the hidden activation, and the loss. Parameters are X1, mu1, X2, mu2, ..."""

    widths: tuple[int, ...]
    activation: str  # "relu" | "tanh"
    loss: str  # "cross_entropy" with labels b, or "mse" with targets y
    last: str = "linear"  # the activation of the last layer: "linear" | "tanh"

    @property
    def layers(self) -> int:
        return len(self.widths) - 1

    @property
    def equal(self) -> bool:
        return len(set(self.widths)) == 1

    def activation_of(self, layer: int) -> str:
        return self.activation if layer < self.layers else self.last


@dataclass(frozen=True)
class Layer:
    """A layer of a library, and the same as a formula. Its parameters have the names of a state_dict."""

    make: Callable[[Any], Any]  # of gradgen.nn, or of torch.nn
    inputs: tuple[str, ...]
    formula: str  # where there is no layer
    options: Mapping[str, Any] = field(default_factory=dict)  # of the formula: what shapes do not tell
    call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)


@dataclass(frozen=True)
class Case:
    """A model, its arrays, and which of them are data (not trained, not differentiated)."""

    name: str
    title: str
    model: str  # one of TRAINED, or the name of a kernel
    inputs: Callable[[], Arrays]
    data: tuple[str, ...]
    option: Any = None  # the Mlp, the Layer, the number of layers of a transformer, the padding of a convolution
    adam: bool = False
    weights: tuple[str, ...] = ("g",)  # of a kernel: what its outputs are multiplied by, among the data

    @property
    def training(self) -> bool:
        return self.model in TRAINED

    def split(self) -> tuple[Arrays, Arrays]:
        """Fresh arrays, differentiated ones first, then the data."""
        arrays = self.inputs()
        data = {name: arrays.pop(name) for name in self.data}
        return arrays, data


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.float32(scale) * rng.standard_normal(shape, dtype=np.float32)
