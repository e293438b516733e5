"""Arrays by PyTorch's names: what a state_dict calls a parameter, and how one is read and made.

In: layers, one by itself or several in a dict or a list, and arrays. Out: arrays by the names of the program, or by
those of a state_dict: "fc1.weight" for `fc1_weight`. What `numpy.asarray` takes is an array, PyTorch's tensors too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gradgen.errors import BindingError
from gradgen.graph.node_records import show_shape
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.nn.modules import Module, layers_in

__all__ = ["load_state_dict", "named_parameters", "state_dict", "state_dict_names"]

Arrays = dict[str, npt.NDArray[Any]]


def named_parameters(layers: Any) -> Iterator[tuple[str, Tensor]]:
    """The parameters of layers, and what they carry, by the names of a state_dict: each once.

    A layer that stands in a dict or a list is called by its key or number, as one that is an attribute is by its name;
    of one that is given by itself the parameters are "weight" and the like. A plain function has none.
    """
    seen: set[int] = set()
    for name, x in _all_names(layers):
        if id(x.node) not in seen:
            seen.add(id(x.node))
            yield name, x


def state_dict_names(layers: Any) -> dict[str, str]:
    """How a state_dict calls each parameter: `{"net_fc1_weight": "fc1.weight", ...}`."""
    return {str(x.name): name for name, x in named_parameters(layers)}


def state_dict(layers: Any, arrays: Mapping[str, Any]) -> Arrays:
    """The arrays of layers by the names of a state_dict, which PyTorch's `load_state_dict` takes once they are tensors:

        theirs.load_state_dict({name: torch.tensor(x) for name, x in nn.state_dict(net, state).items()})

    A layer that stands in several places has its arrays at each, as in PyTorch.

    Args:
        layers: a layer, or a dict or a list of layers.
        arrays: arrays by the names of the program, such as the state of a network; it may hold others.

    Raises:
        BindingError: a parameter is not among the arrays.
    """
    named = dict(_all_names(layers))
    _refuse([_listed("lacks", [str(x.name) for x in named.values() if x.name not in arrays])], "what is given")
    return {name: np.asarray(arrays[str(x.name)]) for name, x in named.items()}


def load_state_dict(layers: Any, state: Mapping[str, Any], strict: bool = True) -> Arrays:
    """The arrays of a state_dict by the names of the program:

        state = net.init(0) | nn.load_state_dict(layers, torch.load("trained.pt"))

    Args:
        layers: a layer, or a dict or a list of layers.
        state: arrays by PyTorch's names.
        strict: refuse names that are missing or unknown; without it they are left out.

    Raises:
        BindingError: everything that does not fit: names that are missing, names that no parameter has, shapes.
    """
    named = dict(_all_names(layers))
    found = {name: np.asarray(state[name]) for name in named if name in state}
    shapes = [
        f"{name} has the shape {x.shape} for {show_shape(named[name].node.shape)}"
        for name, x in found.items()
        if x.shape != named[name].shape
    ]
    wrong = ["; ".join(shapes)]
    if strict:
        wrong = [
            _listed("lacks", [name for name in named if name not in state]),
            _listed("has unknown", [name for name in state if name not in named]),
            *wrong,
        ]
    _refuse(wrong, "the state_dict")
    return {str(named[name].name): x for name, x in found.items()}


def _all_names(layers: Any) -> Iterator[tuple[str, Tensor]]:
    """Every name of every parameter: of a layer that stands in several places, one for each."""
    for path, layer in layers_in("", layers):
        yield from _of_layer(path, layer, ())


def _of_layer(path: str, layer: Module, around: tuple[Module, ...]) -> Iterator[tuple[str, Tensor]]:
    if any(layer is outer for outer in around):
        return
    for key, x in layer.own_parameters():
        yield f"{path}.{key}" if path else key, x
    for key, inner in layer.inner_layers():
        yield from _of_layer(f"{path}.{key}" if path else key, inner, (*around, layer))


def _listed(what: str, names: list[str]) -> str:
    return f"{what} {', '.join(names)}" if names else ""


def _refuse(wrong: list[str], what: str) -> None:
    if any(wrong):
        raise BindingError(f"{here()}{what} does not fit the layers: {'; '.join(filter(None, wrong))}.")
