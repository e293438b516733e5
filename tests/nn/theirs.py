"""A case as PyTorch computes it, and the fixtures made of that: `python -m tests.nn.theirs` writes them all anew.

It needs PyTorch, which the tests do not; `python -m tests.nn.theirs attention` writes those of one family.
"""

import sys
import warnings
from typing import Any

import numpy as np

from tests.nn.ours import flat
from tests.nn.table import FIXTURES, Case, families, parameter, weights

Arrays = dict[str, np.ndarray]


def scope() -> dict[str, Any]:
    """What the texts of a table mean here; layers that PyTorch lacks are written in modules beside this one."""
    import torch

    from tests.nn import graph_torch

    return {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "np": np, "graph_torch": graph_torch}


def evaluated(text: str, **more: Any) -> Any:
    """A text's value; not what it warns of: that an option will mean something else, that something is slow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(text, scope() | more)


def layer_of(case: Case) -> Any:
    """PyTorch's layer with the numbers of the case."""
    import torch

    torch.set_default_dtype(torch.float64)
    make = case.make if case.torch_make is None else case.torch_make
    if not make:
        return None
    layer = evaluated(make)
    if isinstance(layer, torch.nn.Module):
        drawn = {name: torch.tensor(parameter(case, name, tuple(x.shape))) for name, x in layer.state_dict().items()}
        layer.load_state_dict(drawn)
    return layer


def results(case: Case) -> Arrays:
    """Outputs and gradients, by the keys of a fixture."""
    import torch

    layer = layer_of(case)
    inputs = {name: torch.tensor(case.array(name)) for name in case.inputs}
    by = {name: x for name, x in inputs.items() if x.is_floating_point() and name not in case.constant}
    for x in by.values():
        x.requires_grad_()
    if isinstance(layer, torch.nn.Module):
        by |= dict(layer.named_parameters())
    call = case.call if case.torch_call is None else case.torch_call
    outputs = flat(evaluated(call, layer=layer, **inputs))
    found = {f"out/{k}": y.detach().numpy() for k, y in enumerate(outputs)}
    losses = [
        (y * torch.tensor(weights(case, k, tuple(y.shape)))).sum()
        for k, y in enumerate(outputs)
        if y.is_floating_point() and y.requires_grad
    ]
    if losses:
        gradients = torch.autograd.grad(sum(losses), list(by.values()), allow_unused=True)
        for (name, x), d in zip(by.items(), gradients, strict=True):
            found[f"grad/{name}"] = np.zeros(tuple(x.shape)) if d is None else d.numpy()
    return found


def write(family: str) -> None:
    """Write the fixtures of a family."""
    FIXTURES.mkdir(exist_ok=True)
    arrays = {f"{case.id}/{key}": x for case in families()[family] for key, x in results(case).items()}
    np.savez_compressed(FIXTURES / f"{family}.npz", **arrays)


if __name__ == "__main__":
    for asked in sys.argv[1:] or families():
        write(asked)
