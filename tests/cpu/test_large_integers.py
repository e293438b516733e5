"""Subscripts, guards and values where int64 is left, or nearly: right, refused, or checked, never another number."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError
from tests.cpu.running import unjitted
from tests.properties.limits import within

N, S = gg.size("N"), gg.size("S")
X = np.array([1.0, 2, 3, 5, 7])
DATA = np.array([-3, 39, 2**31 - 1, -(2**31), 0, 1])
LCG = 6364136223846793005
m, n, k = gg.index("m", 2), gg.index("n", 6), gg.index("k", N)


def gradient(y: gg.Tensor, **arrays: np.ndarray) -> np.ndarray:
    """Of the sum of squares, by x."""
    net = unjitted(gg.compile({"loss": gg.sum(y * y)}, name="large", dtype="float64"))
    return net.value_and_grad(x=X, **arrays)[1]["x"]


INDICES: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "a multiple": (lambda m, s: m * 2**62, m),
    "a large multiple": (lambda m, s: m * LCG, m),
    "a large divisor": (lambda m, s: m // (2**62 + 5), m),
    "beyond int64": (lambda n, s: n * LCG, n),
    "before it": (lambda n, s: 3 - n * 2**62, n),
    "a remainder": (lambda n, s: (n * LCG + 1) % s, n),
}


@pytest.mark.parametrize("size", [5, S], ids=["known", "symbolic"])
@pytest.mark.parametrize("name", INDICES)
@np.errstate(over="ignore")
def test_places_made_of_indices(name: str, size: Any) -> None:
    place, index = INDICES[name]
    x = gg.param("x", (size,))
    places = place(np.arange(2 if index is m else 6), 5)
    wanted = np.zeros(5)
    for p in places[(places >= 0) & (places < 5)]:
        wanted[p] += 2 * X[p]
    with within(20):
        np.testing.assert_array_equal(gradient(gg.compute(index, gg.padded(x)[place(index, size)])), wanted)


def test_a_large_stride_takes_no_longer_than_a_small_one() -> None:
    x, weights = gg.param("x", (5,)), gg.input("weights", (6,))
    with within(20):
        found = gradient(gg.compute((n, m), gg.padded(x)[m * 2**30] * weights[n]), weights=np.arange(6.0))
    np.testing.assert_array_equal(found, [110, 0, 0, 0, 0])


PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "moved": lambda d, k: d + 2**61,
    "flipped": lambda d, k: (d ^ -1) + 2**40,
    "negative divisor": lambda d, k: d % -3,
    "a number of its own": lambda d, k: d % (k % 8 + 1),
    "a quotient": lambda d, k: d // 7,
}


@pytest.mark.parametrize("size", [5, S], ids=["known", "symbolic"])
@pytest.mark.parametrize("name", PLACES)
def test_places_made_of_data(name: str, size: Any) -> None:
    x, d = gg.param("x", (size,)), gg.input("d", (N,), dtype="int64")
    place = PLACES[name](d[k], k)
    y = gg.compute(k, gg.where((place >= 0) & (place < size), x[place] * (k + 1), 0.0))
    places, wanted = PLACES[name](DATA, np.arange(6)), np.zeros(5)
    for at, p in enumerate(places):
        if 0 <= p < 5:
            wanted[p] += 2 * X[p] * (at + 1) ** 2
    np.testing.assert_array_equal(gradient(y, d=DATA), wanted)


def test_the_gradient_of_a_read_at_a_quotient_of_data_is_one_loop() -> None:
    x, d = gg.param("x", (S,)), gg.input("d", (N,), dtype="int64")
    y = gg.compute(k, gg.padded(x)[d[k] // 7])
    net = gg.compile({"loss": gg.sum(y * y)}, name="large")
    assert max(len(line) - len(line.lstrip()) for line in net.source.splitlines() if "for " in line) == 4


def test_narrow_data_modulo_a_size() -> None:
    x, d = gg.param("x", (S,)), gg.input("d", (N,), dtype="int32")
    found = gradient(gg.compute(k, x[d[k] % S]), d=DATA.astype(np.int32))
    np.testing.assert_array_equal(found, [2, 4, 18, 0, 14])


def value(y: gg.Tensor, **arrays: np.ndarray) -> np.ndarray:
    return unjitted(gg.compile({"y": y}, name="large"))(**arrays)["y"]


@np.errstate(over="ignore")
def test_values_of_sums_that_wrap_around() -> None:
    """Also where a tensor holds the sum, and the formula is written into its reader."""
    a, b, i = gg.input("a", (2,), dtype="int64"), gg.input("b", (2,), dtype="int64"), gg.index("i", 2)
    t = gg.compute(i, 2 * a[i] + b[i])
    p, q = np.array([2**62 + 2**60, 5]), np.array([7, 3])
    np.testing.assert_array_equal(value(gg.compute(i, t[i] // 2 + i), a=p, b=q), (2 * p + q) // 2 + np.arange(2))
    p, q = np.array([-(2**62), 5]), np.array([-(2**62), 3])
    np.testing.assert_array_equal(value(gg.compute(i, gg.int64(t[i] >= i)), a=p, b=q), 2 * p + q >= np.arange(2))
    large = gg.compute(i, gg.maximum(a[i] + i + 2**62, a[i] + i))
    p = np.array([2**62, 5])
    np.testing.assert_array_equal(value(large, a=p), np.maximum(p + np.arange(2) + 2**62, p + np.arange(2)))


def test_cubes_of_an_index() -> None:
    n, j = gg.index("n", 2_097_200), np.arange(2_097_200)
    net = gg.compile({"y": gg.compute(n, (3 * n * n * n + n) // 3)}, name="cubes")
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(net()["y"], (3 * j * j * j + j) // 3)


def test_an_order_of_data_says_nothing_of_a_difference_that_wraps_around() -> None:
    a, b, x = gg.input("a", (2,), dtype="int64"), gg.input("b", (2,), dtype="int64"), gg.input("x", (S,))
    i = gg.index("i", 2)
    y = gg.compute(i, gg.where((a[i] >= b[i]) & (a[i] - b[i] < S), x[a[i] - b[i]], 0.0))
    with pytest.raises(BindingError, match="leaves axis 0 of x"):
        value(y, a=np.array([2**63 - 1, 5]), b=np.array([-(2**63) + 41, 3]), x=X.astype(np.float32))
    held = gg.compute(i, a[i] * 2**61)
    y = gg.compute(i, gg.where((held[i] >= 0) & (a[i] < S), x[a[i]], 0.0))
    with pytest.raises(BindingError, match="leaves axis 0 of x"):
        value(y, a=np.array([-80, 5]), x=X.astype(np.float32))


def test_reads_that_read_where_they_read() -> None:
    """Each of them behind tests of its own."""
    a, b, c = (gg.input(name, (2,), dtype="int64") for name in "abc")
    x, at, i = gg.input("x", (S,)), gg.input("at", (N,), dtype="int64"), gg.index("i", 2)
    first = a[i] - b[i]
    second = at[first] - c[i]
    inner = gg.where((at[first] >= c[i]) & (second < S), x[second], 0.0)
    y = gg.compute(i, gg.where((a[i] >= b[i]) & (first < N), inner, 0.0))
    given = {"a": np.array([4, 9]), "b": np.array([3, 3]), "c": np.array([1, 0]), "at": np.array([1, 3, 2])}
    np.testing.assert_array_equal(value(y, x=X.astype(np.float32), **given), [3, 0])


ENDS = np.array([2**62, -1, 2**63 - 1, -(2**63)])


@pytest.mark.parametrize(
    ("declare", "wanted"),
    [
        (lambda y, a, i: y[a[i] % 3 + i], lambda y, a, i: y[a % 3 + i]),
        (lambda y, a, i: y[i - a[i] % 3 + 2], lambda y, a, i: y[i - a % 3 + 2]),
        (lambda y, a, i: gg.where(a[i] % 3 + i >= 3, y[i], 0.0), lambda y, a, i: np.where(a % 3 + i >= 3, y[i], 0.0)),
        (lambda y, a, i: gg.where(a[i] % 3 == i, y[i], 0.0), lambda y, a, i: np.where(a % 3 == i, y[i], 0.0)),
    ],
)
def test_a_remainder_of_the_largest_integers_is_small(declare: Any, wanted: Any) -> None:
    y, a, i = gg.param("y", (7,), dtype="float64"), gg.input("a", (4,), dtype="int64"), gg.index("i", 4)
    net = gg.compile({"output": gg.compute(i, declare(y, a, i)), "whole": gg.sum(y)}, name="ends")
    values = np.arange(1.0, 8.0)
    for found in (unjitted(net), net):
        np.testing.assert_array_equal(found(y=values, a=ENDS)["output"], wanted(values, ENDS, np.arange(4)))
