"""Layers one after another, and lists of layers.

In: layers and functions of tensors. Out: layers, whose parameters are called by the places of what is inside.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from gradgen.errors import GraphError
from gradgen.graph.axes import shown
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.nn import functional
from gradgen.nn.layers.linear import Linear
from gradgen.nn.modules import Module

__all__ = ["MLP", "ModuleList", "Sequential"]

Layer = Callable[[Tensor], Tensor]


class ModuleList(Module):
    """A list of layers that is an attribute by itself: `layers.0.weight` in a state_dict."""

    def __init__(self, layers: Sequence[Layer] = ()) -> None:
        self.hold([(str(k), layer) for k, layer in enumerate(layers)])

    def append(self, layer: Layer) -> "ModuleList":
        """One layer more."""
        self.hold([*self.held, (str(len(self.held)), layer)])
        return self

    def __getitem__(self, number: int) -> Layer:
        layer: Layer = self.held[number][1]
        return layer

    def __iter__(self) -> Iterator[Layer]:
        return (layer for _, layer in self.held)

    def __len__(self) -> int:
        return len(self.held)


class Sequential(ModuleList):
    """Layers and functions one after another: `nn.Sequential(nn.Linear(4, 8), nn.relu, nn.Linear(8, 2))`."""

    def __init__(self, *layers: Layer) -> None:
        for layer in layers:
            if not callable(layer):
                raise GraphError(f"{here()}Sequential takes layers and functions of a tensor; {shown(layer)} is none.")
        super().__init__(layers)

    def forward(self, *inputs: Any) -> Any:
        """The last layer of ... of the first layer of x."""
        (x,) = inputs
        name = ""
        for layer in list(self)[:-1]:
            own = getattr(layer, "name", None) or f"{name}_{getattr(layer, '__name__', 'layer')}".lstrip("_")
            with naming(own):
                x = layer(x)
            name = getattr(layer, "name", name)
        return self[len(self) - 1](x) if len(self) else x


class MLP(Sequential):
    """A multilayer perceptron: linear layers of these widths, with an activation behind each but the last.

    `MLP([64, 128, 128, 10])` has the layers `linear1` to `linear3`; `last` is an activation behind the last one, too.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Layer = functional.relu,
        last: Layer | None = None,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        if len(widths) < 2:
            raise GraphError(f"{here()}{self.name} has the widths {shown(widths)}: give those of two layers or more.")
        held: list[tuple[str, Layer]] = []
        for k, (inputs, outputs) in enumerate(pairwise(widths), 1):
            held.append((f"linear{k}", Linear(inputs, outputs, bias, dtype=dtype)))
            following = last if k == len(widths) - 1 else activation
            if following is not None:
                held.append((f"activation{k}", following))
        self.hold(held)
