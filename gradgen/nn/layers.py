"""Layers: parameters with PyTorch's names and layouts, and a formula each.

In: sizes. Out: objects that are called with tensors; one object called twice shares its parameters.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradgen.errors import GraphError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.nodes import show_size
from gradgen.graph.origin import assigned_name, naming
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang.array import transpose
from gradgen.lang.declare import Initialiser, checked_name, param
from gradgen.nn import init


class Linear:
    """x @ weight.T + bias, along the last axis: (..., in) -> (..., out).

    `weight` (out, in) and `bias` (out) start uniform within 1 / sqrt(in), as in PyTorch. The parameters of
    `fc1 = Linear(64, 128)`, or of `Linear(64, 128, name="fc1")`, are called `fc1_weight` and `fc1_bias`; in a
    state_dict they are `fc1.weight` and `fc1.bias`.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, name: str | None = None, dtype: str = "float32"
    ) -> None:
        name = self.name = layer_name(name)
        for count in (inputs, outputs):
            if not isinstance(count, (int, np.integer)) or count < 0:
                raise ShapeError(f"{here()}{name} has {shown(count)} for a size: give numbers of inputs and outputs.")
        within = 1.0 / math.sqrt(inputs) if inputs > 0 else 0.0
        start: Initialiser = init.uniform(-within, within)
        self.weight = param(f"{name}_weight", (outputs, inputs), dtype, start)
        self.bias = param(f"{name}_bias", (outputs,), dtype, start) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
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

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters under the names of a state_dict."""
        yield f"{self.name}.weight", self.weight
        if self.bias is not None:
            yield f"{self.name}.bias", self.bias


def layer_name(name: str | None) -> str:
    """The given name of a layer, or the variable it is assigned to.

    Raises:
        GraphError: there is neither, or it is no identifier.
    """
    found = assigned_name() if name is None else name
    if found is None:
        raise GraphError(f'{here()}a layer needs a name for its parameters: give name="fc1".')
    return checked_name(found, "layer")


class Sequential:
    """Layers and functions one after another."""

    def __init__(self, *layers: Callable[[Tensor], Tensor]) -> None:
        self.layers = layers

    def __call__(self, x: Tensor) -> Tensor:
        """The last layer of ... of the first layer of x."""
        name = ""
        for layer in self.layers[:-1]:
            own = getattr(layer, "name", None) or f"{name}_{getattr(layer, '__name__', 'layer')}".lstrip("_")
            with naming(own):
                x = layer(x)
            name = getattr(layer, "name", name)
        return self.layers[-1](x) if self.layers else x

    def __getitem__(self, number: int) -> Callable[[Tensor], Tensor]:
        return self.layers[number]

    def __len__(self) -> int:
        return len(self.layers)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters of all layers, each once, under the names of a state_dict."""
        seen: set[Tensor] = set()
        for layer in self.layers:
            for name, value in named_parameters(layer):
                if value not in seen:
                    seen.add(value)
                    yield name, value


def named_parameters(layer: Any) -> Iterator[tuple[str, Tensor]]:
    """The parameters of a layer under the names of a state_dict; none for a plain function."""
    if hasattr(layer, "named_parameters"):
        yield from layer.named_parameters()


def state_dict_names(layer: Any) -> dict[str, str]:
    """How a state_dict calls each parameter: `{"fc1_weight": "fc1.weight", ...}`."""
    return {str(value.name): name for name, value in named_parameters(layer)}


def from_state_dict(layer: Any, state: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a state_dict under the parameter names of the emitted program.

    Raises:
        KeyError: the state_dict lacks a parameter.
    """
    return {own: state[name] for own, name in state_dict_names(layer).items()}
