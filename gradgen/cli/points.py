"""Where a network is looked at: a number for every size, an array for every tensor, some given and the rest drawn.

In: a network and what the command line says. Out: a `Point`; what was chosen for the user is said in its `notes`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradgen.cli.files import usage
from gradgen.errors import GradgenError, ShapeError
from gradgen.graph.nodes import Leaf, all_inputs, toposort
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from gradgen.passes.prepare.retarget import retarget
from gradgen.runtime.interface import Argument, evaluate_shape
from gradgen.runtime.trial_sizes import integers_to_draw, open_sizes, trial_sizes

__all__ = ["Point", "choose_point"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Point:
    """Arrays by name in their declared dtypes, and numbers for all sizes."""

    arrays: dict[str, Array]
    sizes: dict[str, int]
    notes: tuple[str, ...]


def choose_point(
    network: Network, values: Mapping[str, Array], sizes: Mapping[str, int], seed: int, first: int
) -> Point:
    """The given values and sizes; other sizes count from `first`, other arrays are drawn from a generator with `seed`.

    Floats are normal numbers, scaled as layers are, or between 0.1 and 0.9 where the model has no value at those.
    """
    leaves = {x.name: x for x in network.interface.leaves}
    for name in values:
        if name not in leaves:
            usage(f"--at {name}: {network.model.name} has no tensor {name!r}; it has {', '.join(leaves)}.")
    known, chosen = _sizes(network, list(leaves.values()), values, sizes, first)
    given = {name: _given(leaves[name], value, known) for name, value in {**network.constants, **values}.items()}
    drawn = [x for x in leaves.values() if x.name not in given]
    notes = []
    if chosen:
        notes.append(f"sizes {', '.join(f'{name}={known[name]}' for name in chosen)} (--size chooses others)")

    def drawn_by(draw: Draw) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        return {**given, **{x.name: _drawn(network, x, known, rng, draw) for x in drawn}}

    arrays, kind = drawn_by(_normal), "normal numbers"
    if not _has_values(network, arrays, known) and drawn:
        arrays, kind = drawn_by(_positive), "numbers between 0.1 and 0.9"
    if drawn:
        notes.append(f"{_listed([x.name for x in drawn])} drawn, {kind}, seed {seed} (--at gives values)")
    return Point({name: arrays[name] for name in leaves}, known, tuple(notes))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"


# ---------------------------------------------------------------- sizes


def _sizes(
    network: Network, leaves: Sequence[Argument], values: Mapping[str, Array], sizes: Mapping[str, int], first: int
) -> tuple[dict[str, int], list[str]]:
    """All sizes by name, and which of them nobody gave."""
    symbols = open_sizes(network.interface)
    known = {**network.interface.sizes, **sizes}
    for x in leaves:
        shape = np.shape(values.get(x.name, 0))
        for extent, size in zip(x.shape, shape, strict=False):
            if extent in symbols:
                known.setdefault(extent, size)
    return trial_sizes(network.interface, known, first), [name for name in symbols if name not in known]


def _shape(x: Argument, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return evaluate_shape(x.shape, sizes)


# ---------------------------------------------------------------- arrays


def _given(x: Argument, array: Array, sizes: Mapping[str, int]) -> Array:
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and x.dtype not in ("float32", "float64")):
        usage(f"--at {x.name}: {array.tolist()!r} is no {x.dtype}.")
    shape = _shape(x, sizes)
    if array.shape not in ((), shape):
        usage(f"--at {x.name}: the shape is {array.shape}, and {x.name} has {shape}.")
    return np.array(np.broadcast_to(array, shape), x.dtype)


Draw = Callable[[np.random.Generator, tuple[int, ...], str], Array]


def _normal(rng: np.random.Generator, shape: tuple[int, ...], role: str) -> Array:
    """Weights keep the size of what passes through; an average that an optimiser keeps may have to be positive."""
    if role == "state":
        return _positive(rng, shape, role)
    fan = math.prod(shape[1:]) if role == "param" and len(shape) > 1 else 1
    return np.asarray(rng.standard_normal(shape) / math.sqrt(max(fan, 1)))


def _positive(rng: np.random.Generator, shape: tuple[int, ...], role: str) -> Array:
    return np.asarray(rng.uniform(0.1, 0.9, shape))


def _drawn(network: Network, x: Argument, sizes: Mapping[str, int], rng: np.random.Generator, draw: Draw) -> Array:
    shape = _shape(x, sizes)
    if x.dtype in ("float32", "float64"):
        return np.asarray(draw(rng, shape, x.role), x.dtype)
    try:
        low, high = integers_to_draw(network.interface, x, sizes)
    except ShapeError as error:
        raise GradgenError(f"{error} Give larger sizes with --size.") from None
    return np.asarray(rng.integers(low, high + 1, shape), x.dtype)


def _has_values(network: Network, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> bool:
    """Whether all outputs are finite there, in float64."""
    roots, _ = retarget(list(network.model.outputs.values()), "float64", sizes)
    leaves = [x for x in toposort(roots, all_inputs) if isinstance(x, Leaf)]
    try:
        found = interpret(roots, {x: arrays[x.name].astype(x.dtype) for x in leaves}, sizes)
    except IndexError as error:
        raise GradgenError(f"{error}. Give other values with --at.") from None
    return all(bool(np.isfinite(y).all()) for y in found)
