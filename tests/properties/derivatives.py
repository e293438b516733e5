"""Derivatives measured by the reference interpreter: central differences along a direction, refused near kinks.

In: nodes, values and a direction. Out: numbers that the adjoint and the tangent programs must reproduce.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from hypothesis import assume

from gradgen.graph.nodes import Leaf, Node, leaf
from gradgen.graph.scalar import FLOATS
from gradgen.lang.interpret import interpret
from tests.properties.cases import Case

Values = Mapping[Leaf, np.ndarray]
STEP = 1e-4
# Truncation and rounding of the differences are below this fraction of the terms that are added up.
TOLERANCE = 1e-6


def float_leaves(values: Values) -> list[Leaf]:
    return [x for x in values if x.dtype in FLOATS]


def float_outputs(case: Case) -> list[Node]:
    return [y for y in case.outputs if y.dtype in FLOATS]


def twins(nodes: Sequence[Node], prefix: str, rng: np.random.Generator, found: Sequence[np.ndarray]) -> dict:
    """A new leaf like each node, with random values: cotangents and tangents."""
    return {
        leaf(f"{prefix}{k}", n.shape, n.dtype, "input"): rng.normal(size=array.shape).astype(array.dtype)
        for k, (n, array) in enumerate(zip(nodes, found, strict=True))
    }


def inner(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    return float(sum(np.sum(x.astype(np.float64) * y) for x, y in zip(a, b, strict=True)))


def magnitude(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """The scale of an inner product's terms, at least one: what a relative error relates to."""
    return max(1.0, float(sum(np.sum(np.abs(x.astype(np.float64) * y)) for x, y in zip(a, b, strict=True))))


def moderate(arrays: Sequence[np.ndarray]) -> bool:
    return all(np.isfinite(a).all() and np.abs(a).max(initial=0) < 1e4 for a in arrays)


def moved(values: Values, direction: Values, by: float) -> dict[Leaf, np.ndarray]:
    return {**values, **{x: values[x] + by * v for x, v in direction.items()}}


def difference(function: Callable[[float], tuple[float, float]]) -> tuple[float, float]:
    """The derivative at 0 and its scale, by extrapolated central differences of (value, scale of its terms).

    Where steps of two lengths disagree, or the two sides do, there is a kink or a jump nearby: the example is dropped.
    """
    values = {k: function(k * STEP / 2) for k in (-2, -1, 0, 1, 2)}
    wide = (values[2][0] - values[-2][0]) / (2 * STEP)
    narrow = (values[1][0] - values[-1][0]) / STEP
    bend = (values[2][0] + values[-2][0] - 2 * values[0][0]) / STEP
    scale = max(1.0, abs(wide), *[s for _, s in values.values()])
    assume(abs(wide - narrow) < 0.3 * TOLERANCE * scale)
    assume(abs(bend) < 1e-2 * scale)
    return (4 * narrow - wide) / 3, scale


def directional(
    nodes: Sequence[Node], weights: Sequence[np.ndarray], case: Case, values: Values, direction: Values
) -> tuple[float, float]:
    """d/dt <weights, nodes(values + t * direction)> at t = 0, and its scale."""

    def at(t: float) -> tuple[float, float]:
        found = interpret(nodes, moved(values, direction, t), case.sizes)
        assume(moderate(found))
        return inner(weights, found), magnitude(weights, found)

    return difference(at)
