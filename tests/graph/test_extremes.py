"""`gg.accumulate(..., reduce="max" | "min")`: groups that data choose, their largest values, and gradients."""

from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import GraphError
from gradgen.lang.interpret import interpret

E, N = 9, 4
DST = np.array([0, 2, 2, 0, 3, 3, 3, 2, 0])
e, g = gg.index("e", E), gg.index("g", N)


def evaluated(outputs: list[gg.Tensor], values: dict[gg.Tensor, Any]) -> list[Any]:
    return interpret([y.node for y in outputs], {x.node: a for x, a in values.items()})  # type: ignore[misc]


def extreme(x: gg.Tensor, dst: gg.Tensor, reduce: str) -> gg.Tensor:
    return gg.accumulate(dst[e], x[e], shape=(N,), reduce=reduce)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_values_ties_and_empty_groups(dtype: str) -> None:
    x, dst = gg.input("x", (E,), dtype=dtype), gg.input("dst", (E,), dtype="int64")
    values = np.array([3, 1, 5, 3, -2, -2, -7, 5, 0], dtype)
    low, high = (-np.inf, np.inf) if dtype in ("float32", "float64") else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    largest, smallest = evaluated([extreme(x, dst, "max"), extreme(x, dst, "min")], {x: values, dst: DST})
    assert largest.dtype == smallest.dtype == dtype
    np.testing.assert_array_equal(largest, np.array([3, low, 5, -2], dtype))
    np.testing.assert_array_equal(smallest, np.array([0, high, 1, -7], dtype))


def test_the_first_of_equal_ones_takes_the_gradient_and_nan_wins() -> None:
    x, dst = gg.input("x", (E,), dtype="float64"), gg.input("dst", (E,), dtype="int64")
    top = extreme(x, dst, "max")
    seed = gg.input("seed", (N,), dtype="float64")
    (pulled,) = gg.vjp(top, [x], seed)
    values = np.array([3, 1, 5, 3, -2, -2, -7, 5, 0], float)
    given = {x: values, dst: DST, seed: np.array([1.0, 2, 3, 4])}
    (found,) = evaluated([pulled], given)
    np.testing.assert_array_equal(found, [1, 0, 3, 0, 4, 0, 0, 0, 0])
    values[6] = np.nan
    top_of, found = evaluated([top, pulled], given)
    assert np.isnan(top_of[3])
    np.testing.assert_array_equal(found, [1, 0, 3, 0, 0, 0, 4, 0, 0])


def test_second_order() -> None:
    x, dst = gg.input("x", (E,), dtype="float64"), gg.input("dst", (E,), dtype="int64")
    top = gg.accumulate(dst[e], gg.sin(x[e]) * x[e], shape=(N,), reduce="max")
    loss = gg.sum(gg.where(gg.isfinite(top), top**3, 0.0))
    first = gg.grad(loss, x)
    second = gg.grad(gg.sum(first * first), x)
    values = np.linspace(-2, 2.1, E)
    got = evaluated([second], {x: values, dst: DST})[0]
    for k in range(E):
        step = 1e-5 * np.eye(E)[k]
        above, below = ((evaluated([first], {x: values + s, dst: DST})[0] ** 2).sum() for s in (step, -step))
        np.testing.assert_allclose(got[k], (above - below) / 2e-5, rtol=1e-5, atol=1e-5)


def test_what_a_mask_leaves_out_may_have_no_place() -> None:
    x, dst = gg.input("x", (E,), dtype="float64"), gg.input("dst", (E,), dtype="int64")
    top = gg.accumulate(dst[e], gg.where(e < E - 1, x[e] * x[e], -np.inf), shape=(N,), reduce="max")
    gradient = gg.grad(gg.sum(gg.where(gg.isfinite(top), top, 0.0)), x)
    outside = np.array([*DST[:-1], 100])
    found, slope = evaluated([top, gradient], {x: np.arange(1.0, E + 1), dst: outside})
    np.testing.assert_array_equal(found, [16, -np.inf, 64, 49])
    np.testing.assert_array_equal(slope, [0, 0, 0, 8, 0, 0, 14, 16, 0])


def test_another_reduction_is_refused() -> None:
    x = gg.input("x", (E,))
    with pytest.raises(GraphError, match="accumulate reduces by 'sum', 'max' or 'min', not by 'mean'"):
        gg.accumulate(e % N, x[e], shape=(N,), reduce="mean")
