"""What a network has before the first call: constants, and first values of what it carries.

In: an interface, the leaves as they were declared; for parameters and states, which are drawn as their declarations
say, sizes and a seed. Out: arrays by name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph.constants import numbers_of
from gradgen.graph.nodes import CARRIED, Leaf
from gradgen.graph.sizes import size_names
from gradgen.nn.init import initialiser_of
from gradgen.runtime.bindings import Array
from gradgen.runtime.interface import Argument, Interface, evaluate_shape

__all__ = ["constants_of", "first_values"]


def constants_of(interface: Interface, leaves: Iterable[Leaf]) -> dict[str, Array]:
    """The arrays of the constants, in the dtypes that they are compiled for."""
    dtypes = {x.name: x.dtype for x in interface.leaves}
    found = {x.name: numbers_of(x, dtypes[x.name]) for x in leaves}
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def first_values(
    interface: Interface, declared: Mapping[str, Leaf], sizes: Mapping[str, int], seed: Any
) -> dict[str, Array]:
    """Parameters and states by name, those and these from a generator with this seed each.

    Raises:
        OptionError: no seed.
        ShapeError: a size that only a call knows, or a user's initialiser that draws another shape.
        DTypeError: a user's initialiser that draws no array of the declared dtype.
    """
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError(f"init has seed={seed!r}: give an integer that is not negative.")
    generators = {role: np.random.default_rng(seed) for role in CARRIED}
    found: dict[str, Array] = {}
    for x in interface.leaves:
        if x.role in CARRIED:
            _refuse_unknown_sizes(interface.name, x, declared[x.name], sizes)
            shape = evaluate_shape(x.shape, sizes)
            drawn = initialiser_of(declared[x.name]).draw(generators[x.role], shape, x.dtype)
            found[x.name] = _checked(interface.name, x, np.asarray(drawn), shape)
    return found


def _checked(network: str, x: Argument, drawn: Array, shape: tuple[int, ...]) -> Array:
    if drawn.shape != shape:
        raise ShapeError(f"{network}.init: the initialiser of {x.name} draws {drawn.shape}, and it is {x.shown}.")
    if drawn.dtype != x.dtype:
        raise DTypeError(f"{network}.init: the initialiser of {x.name} draws {drawn.dtype}, and it is {x.dtype}.")
    return drawn


def _refuse_unknown_sizes(network: str, x: Argument, declared: Leaf, sizes: Mapping[str, int]) -> None:
    names = (name for extent in declared.shape for name in size_names(extent))
    unknown = next((name for name in names if name not in sizes), None)
    if unknown is not None:
        raise ShapeError(
            f"{network}.init: {x.name} has shape {x.shown}, and {unknown} is known only at call time. "
            f"Give it with gg.compile(..., sizes={{{unknown!r}: ...}}), or make the array {x.name} yourself."
        )
