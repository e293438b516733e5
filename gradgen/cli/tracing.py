"""A trace of a network at a point: which output, by which tensors, in which direction.

In: what the command line says. Out: a `Trace`.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from gradgen.cli.files import parse_values, usage
from gradgen.cli.points import Point
from gradgen.errors import GraphError
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.scalar import FLOATS
from gradgen.inspect.trace import Notation, Trace, forward_trace, reverse_trace
from gradgen.network import Network
from gradgen.passes.prepare.retarget import retarget

__all__ = ["Mode", "trace_network"]


class Mode(StrEnum):
    """What `gradgen trace --mode` takes."""

    reverse = "reverse"
    forward = "forward"


def trace_network(
    network: Network, point: Point, mode: Mode, output: str | None, seeds: Sequence[str], notation: Notation
) -> Trace:
    """The trace of one output, in float64.

    Raises:
        GraphError: nothing to differentiate by, or a model that is too large.
    """
    model = network.model
    name = _chosen_output(network, output)
    (root, *_), renamed = retarget([model.outputs[name], *model.wrt], "float64", point.sizes)
    below = {x.name: x for x in toposort([root]) if isinstance(x, Leaf)}
    leaves = [below[key] for key in point.arrays if key in below]  # in the order of their declaration
    values = {x: np.asarray(point.arrays[x.name], x.dtype) for x in leaves}
    wrt = [x for x in (renamed[y] for y in model.wrt) if x in values] or [x for x in leaves if x.dtype in FLOATS]
    if not wrt:
        raise GraphError(f"{name} of {model.name} depends on no float tensor: there is nothing to differentiate by.")
    if mode is Mode.reverse:
        return reverse_trace(root, name, values, wrt, {}, notation)
    chosen = parse_values([seed if "=" in seed else f"{seed}=1" for seed in seeds], "--seed") or {
        wrt[0].name: np.ones(())
    }
    floats = {x.name: x for x in leaves if x.dtype in FLOATS}
    for seed, value in chosen.items():
        if seed not in floats:
            usage(f"--seed {seed}: {name} depends on no float tensor {seed!r}; those are {', '.join(floats)}.")
        if value.dtype.kind not in "if" or value.shape not in ((), values[floats[seed]].shape):
            usage(f"--seed {seed}: {value.tolist()!r} is no tangent of shape {values[floats[seed]].shape}.")
    moving = dict.fromkeys([*wrt, *[floats[seed] for seed in chosen]])
    tangents = {x: np.full_like(values[x], chosen.get(x.name, 0.0)) for x in moving}
    return forward_trace(root, name, values, tangents, {}, notation)


def _chosen_output(network: Network, wanted: str | None) -> str:
    outputs = {name: y for name, y in network.model.outputs.items() if y.dtype in FLOATS}
    if wanted is not None and wanted not in outputs:
        usage(f"--output {wanted}: {network.model.name} has the float outputs {', '.join(outputs) or 'none'}.")
    if wanted is None and network.model.loss is None and len(outputs) != 1:
        usage(f"{network.model.name} has the float outputs {', '.join(outputs) or 'none'}: choose one with --output.")
    return wanted or network.model.loss or next(iter(outputs))
