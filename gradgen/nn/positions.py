"""Where in a sequence an element stands, as features: waves of falling frequency, added or turned by.

In: sizes, tensors. Out: tensors.
"""

import math
from typing import Any

from gradgen.errors import ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.nodes import show_size
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import array
from gradgen.lang.compute import compute
from gradgen.lang.declare import index, indices_over
from gradgen.lang.shapes import whole

__all__ = ["rotary_encoding", "sinusoidal_encoding"]


def sinusoidal_encoding(length: int | Poly, features: int, base: float = 10000.0) -> Tensor:
    """sin(t / base**(2 k / features)) at feature 2 k of position t, and its cosine at 2 k + 1: (length, features).

    To be added to embeddings (Vaswani et al. 2017, section 3.5). Angles are float32.

    Raises:
        ShapeError: a number of features that is odd, or no number.
    """
    if not isinstance(features, int) or features < 0 or features % 2:
        raise ShapeError(f"{here()}sinusoidal_encoding has {features!r} features: give an even number.")
    t, k = index("t", length), index("k", features // 2)
    angle = compute((t, k), _angle(t, k, features, base))
    return array.stack([array.sin(angle), array.cos(angle)], axis=2).reshape(length, features)


def rotary_encoding(x: Tensor, positions: Tensor | None = None, base: float = 10000.0) -> Tensor:
    """Turn the features 2 k and 2 k + 1 of position t by the angle t / base**(2 k / d): (..., T, d) to (..., T, d).

    For queries and keys, whose products then depend on distances only (Su et al. 2021, "RoFormer", section 3.4.2).

    Args:
        x: floats, (..., T, d), d even.
        positions: (T) integers or floats; by default 0 to T - 1.
        base: what the wavelengths are powers of.

    Raises:
        ShapeError: fewer than two axes, an odd d, or positions of another shape.
    """
    x = whole(x, "rotary_encoding")
    u = x.node
    d = u.shape[-1].constant if len(u.shape) > 1 and u.dtype in FLOATS else None
    if d is None or d % 2:
        raise ShapeError(f"{here()}rotary_encoding takes floats (..., T, d) with an even d, not {describe(u)}.")
    if positions is not None and (positions.ndim != 1 or positions.node.shape[0] is not u.shape[-2]):
        raise ShapeError(
            f"{here()}rotary_encoding of {describe(u)} takes {show_size(u.shape[-2])} positions along one axis, "
            f"not {describe(positions.node)}."
        )
    t, k = index("t", u.shape[-2]), index("k", d // 2)
    angle = compute((t, k), _angle(t if positions is None else positions[t], k, d, base, u.dtype))
    pairs = x.reshape(*x.shape[:-1], d // 2, 2)
    (*n, i, j), cosine, sine = indices_over(pairs.shape[:-1]), array.cos(angle), array.sin(angle)
    real = compute((*n, i, j), pairs[(*n, i, j, 0)] * cosine[i, j] - pairs[(*n, i, j, 1)] * sine[i, j])
    imaginary = compute((*n, i, j), pairs[(*n, i, j, 0)] * sine[i, j] + pairs[(*n, i, j, 1)] * cosine[i, j])
    return array.stack([real, imaginary], axis=-1).reshape(x.shape)


def _angle(t: Any, k: Any, features: int, base: float, dtype: str = "float32") -> Any:
    as_float = array.float64 if dtype == "float64" else array.float32
    return as_float(t) * array.exp(as_float(k) * (-2.0 * math.log(base) / max(features, 1)))
