"""A training step around a network of a model file, by an optimiser of the user's choice.

In: a network with a scalar loss. Out: the same outputs with updates, compiled as `step`.
"""

import inspect
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from gradgen.cli.files import Dtype, usage
from gradgen.compiling import compile as compile_network
from gradgen.graph.tensor import tensor
from gradgen.network import Network
from gradgen.nn import optim

__all__ = ["Optimiser", "with_updates"]


class Optimiser(StrEnum):
    """What `gradgen build --updates` takes."""

    sgd = "sgd"
    adam = "adam"
    adamw = "adamw"
    rmsprop = "rmsprop"
    adagrad = "adagrad"


def with_updates(
    network: Network, chosen: Optimiser, lr: float | None, dtype: Dtype | None, sizes: Mapping[str, int]
) -> Network:
    """The network with a step that makes its loss smaller; in another dtype or with more sizes known, too."""
    model, options = network.model, network.options
    if model.updates:
        usage(f"--updates {chosen}: {model.name} has updates already.")
    if model.loss is None:
        usage(f"--updates {chosen}: {model.name} has no loss. Compile it with one float scalar output, or loss=...")
    optimiser: Any = getattr(optim, chosen)
    if lr is None and inspect.signature(optimiser).parameters["lr"].default is inspect.Parameter.empty:
        usage(f"--updates {chosen} needs a step length: --lr 0.1, say.")
    loss = tensor(model.outputs[model.loss])
    updates = optimiser(loss, lr=lr) if lr is not None else optimiser(loss)
    return compile_network(
        {name: tensor(y) for name, y in model.outputs.items()},
        name=model.name,
        wrt=[tensor(x) for x in model.wrt],
        updates=updates,
        loss=model.loss,
        dtype=dtype or options.dtype,
        sizes={**options.sizes, **sizes},
        skip=options.skip,
    )
