"""Random numbers as formulas: what stands at a place depends on a seed, a step and the place, and on nothing else.

In: a shape, a seed, a step. Out: uint32 tensors. So forward and adjoint, and any number of threads, see one number, and
nothing has to be stored.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gradgen.errors import DTypeError
from gradgen.graph.axes import shown
from gradgen.graph.nodes import tuple_text
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor, as_formula
from gradgen.lang import array
from gradgen.lang.compute import compute
from gradgen.lang.declare import Assigned, indices_over

MULTIPLIER, WEYL = 0xD256D193, 0x9E3779B9
ROUNDS = 10


def philox(first: Any, second: Any, key: Any) -> tuple[Any, Any]:
    """Two random words of 32 bits from two words that count and a key: Philox 2x32-10 (Salmon et al. 2011).

    All are formulas of dtype uint32.
    """
    for k in range(ROUNDS):
        product = array.int64(first) * MULTIPLIER
        round_key = key + k * WEYL % 2**32
        first, second = array.uint32(product >> 32) ^ round_key ^ second, array.uint32(product)
    return first, second


def random_bits(shape: Any, seed: Any, step: Any = 0) -> Tensor:
    """Independent uniform integers below 2**32, uint32: another tensor for every seed and step.

    Args:
        shape: that of the result, of fewer than 2**32 elements.
        seed: an integer, or an integer tensor without axes; its lowest 32 bits count.
        step: the same.

    Raises:
        DTypeError: seed or step are no integers.
    """
    key, count = _word(seed, "seed"), _word(step, "step")
    places = indices_over(shape)
    position: Any = 0
    for place, size in zip(places, shape, strict=True):
        position = position * size + place
    return compute(places, philox(_word(position, "place"), count, key)[0])


class Seed:
    """A first value that is an arbitrary integer; what else the generator draws does not depend on it."""

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        return rng.spawn(1)[0].integers(np.iinfo(dtype).max, size=shape, dtype=dtype, endpoint=True)

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        given = f"{np.iinfo(dtype).max}, size={tuple_text(shape)}, dtype=np.{dtype}, endpoint=True"
        return [Assigned("...", f"{rng}.spawn(1)[0].integers({given})", draws=True)]


def _word(value: Any, what: str) -> Any:
    x = value % 2**32 if isinstance(value, int) else value
    if not isinstance(x, int) and getattr(x, "dtype", "") not in ("int32", "int64", "uint32", "pyint"):
        raise DTypeError(f"{here()}the {what} of random numbers is {shown(value)}: give an integer.")
    return array.uint32(as_formula(x))
