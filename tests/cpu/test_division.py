"""Integers divided by 0: 0 in values and conditions, as in NumPy, and never the choice of a place."""

from collections.abc import Callable

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, GraphError, ShapeError
from tests.cpu.running import unjitted

ARRAYS = {
    "y": np.arange(1.0, 8.0),
    "a": np.array([0, 5, 3, 7]),
    "b": np.array([2, 2, 2, 1]),
    "u": np.array([0, 5, 3, 7], np.uint32),
}
i, q = gg.index("i", 4), gg.index("q", 4)
y = gg.param("y", (7,), dtype="float64")
a, b, u = gg.input("a", (4,), dtype="int64"), gg.input("b", (4,), dtype="int64"), gg.input("u", (4,), dtype="uint32")
M, K = gg.size("M"), np.arange(4)
A, B, U = ARRAYS["a"], ARRAYS["b"], ARRAYS["u"].astype(np.int64)
N, Q = np.meshgrid(K, K, indexing="ij")
FIRST = np.array([np.argmax(A * k) for k in K])


def network(output: gg.Tensor) -> gg.Network:
    """A model that has every argument."""
    whole = gg.sum(y) + gg.sum(1.0 * a) + gg.sum(1.0 * b) + gg.sum(1.0 * u)
    return gg.compile({"output": output, "whole": whole}, name="division", dtype="float64")


VALUES: dict[str, tuple[Callable[[], gg.Tensor], Callable[[], np.ndarray]]] = {
    "q - i * (q // i)": (lambda: gg.compute((i, q), 1.0 * (q - i * (q // i))), lambda: Q - N * (Q // N)),
    "(i*q + 1) // i": (lambda: gg.compute((i, q), 1.0 * ((i * q + 1) // i)), lambda: (N * Q + 1) // N),
    "i*q // i": (lambda: gg.compute((i, q), gg.where(i * q // i >= 1, 1.0, 0.0)), lambda: (N * Q // N >= 1) * 1.0),
    "6 % (i - q)": (lambda: gg.compute((i, q), 1.0 * (6 % (i - q))), lambda: 6 % (N - Q)),
    "a // b": (lambda: gg.compute(i, 1.0 * (b[i] // a[i]) + b[i] % a[i]), lambda: B // A + B % A),
    "u % negative": (lambda: gg.compute((i, q), 1.0 * (u[i] % (-q - 1))), lambda: U[:, None] % (-Q - 1)),
    "9 // argmax": (lambda: gg.compute(i, 1.0 * (9 // gg.argmax(a[q] * i, over=q))), lambda: 9 // FIRST),
    "9 // sum": (lambda: gg.compute(i, 1.0 * (9 // gg.sum(gg.compute(q, q * 0))) + i), lambda: 1.0 * K),
    "a place that is not read": (
        lambda: gg.compute(i, gg.where(a[i] > 0, y[b[i] % a[i]], 0.0)),
        lambda: np.where(A > 0, ARRAYS["y"][B % A], 0.0),
    ),
}


@pytest.mark.parametrize("name", VALUES)
@np.errstate(divide="ignore")
def test_a_value_is_that_of_numpy(name: str) -> None:
    declare, wanted = VALUES[name]
    net = network(declare())
    for found in (unjitted(net), net):
        np.testing.assert_array_equal(found(**ARRAYS)["output"], wanted())


PLACES: dict[str, Callable[[], gg.Tensor]] = {
    "6 // i": lambda: gg.compute(i, y[6 // i]),
    "6 % i": lambda: gg.compute(i, y[6 % i]),
    "6 % i, padded": lambda: gg.compute(i, gg.padded(y)[6 % i]),
    "b % a": lambda: gg.compute(i, y[b[i] % a[i]]),
    "1 // u": lambda: gg.compute(i, y[1 // u[i]]),
    "i % u": lambda: gg.compute(i, y[i % u[i]]),
}


@pytest.mark.parametrize("name", PLACES)
@np.errstate(divide="ignore")
def test_a_place_is_refused(name: str) -> None:
    with pytest.raises((BindingError, ShapeError), match="divides by zero"):
        unjitted(network(PLACES[name]()))(**ARRAYS)


@np.errstate(divide="ignore")
def test_a_place_divided_by_a_size_is_refused_where_that_is_0() -> None:
    w = gg.input("w", (M,), dtype="float64")
    for x in (y, gg.padded(y)):
        net = unjitted(gg.compile({"output": gg.compute(i, x[i // M]), "whole": gg.sum(w)}, name="division"))
        with pytest.raises(ShapeError, match="it divides by zero here: M is 0"):
            net(y=ARRAYS["y"], w=np.zeros(0))
        known = unjitted(net.compiled_with(sizes={"M": 0}))
        with pytest.raises(BindingError, match="or divides by zero, 4 times"):
            known(y=ARRAYS["y"], w=np.zeros(0))


@pytest.mark.parametrize("declare", [lambda: a // 0, lambda: gg.mod(a, 0), lambda: a[i] // 0, lambda: i % 0])
def test_a_written_0_is_refused(declare: Callable[[], object]) -> None:
    with pytest.raises(GraphError, match="an integer is divided by zero"):
        declare()


def test_a_proof_that_divides_by_sizes_ends() -> None:
    N = gg.size("N")
    x = gg.param("x", (N,), dtype="float64")
    place = gg.where(i > 1 % (N + 1), u[i] % 3, 3)
    net = gg.compile({"loss": gg.sum(gg.compute((i, q), gg.padded(x)[place])) + gg.sum(x) + gg.sum(u)}, name="division")
    assert unjitted(net)(x=np.arange(3.0), u=ARRAYS["u"])["loss"] == 4 * 1 + 3 + 15


def test_a_power_with_the_exponent_0_has_the_slope_0_at_0() -> None:
    x, n = gg.param("x", (4,), dtype="float64"), gg.input("n", (4,), dtype="int32")
    net = unjitted(gg.compile({"loss": gg.sum(gg.compute(i, x[i] ** n[i]))}, name="power", loss="loss"))
    _, gradients = net.value_and_grad(x=np.array([0.0, 0.0, 0.0, 2.0]), n=np.array([0, 1, 2, 3], np.int32))
    np.testing.assert_array_equal(gradients["x"], [0.0, 1.0, 0.0, 12.0])
