"""Integers beside floats: products and sums are put together anew, and no two integers meet in their ring."""

from collections.abc import Callable

import numpy as np
import pytest

import gradgen as gg
from tests.cpu.running import unjitted

A = np.array([4_000_000_000, 2, 3], np.uint32)
B = np.array([3, 3_000_000_000, 5], np.uint32)
F, X = np.array([0.5, 2.0, 3.0]), np.array([1.0, 2.0])

i, k = gg.index("i", 3), gg.index("k", 2)
x, f = gg.param("x", (2,), dtype="float64"), gg.input("f", (3,), dtype="float64")
a, b = gg.input("a", (3,), dtype="uint32"), gg.input("b", (3,), dtype="uint32")

FORMS: dict[str, tuple[Callable[[], gg.Tensor], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "a factor leaves a sum": (
        lambda: gg.compute(k, gg.sum(x[k] * a[i] * b[i] * f[i], over=i)),
        lambda u, v: X * (u * v * F).sum(),
    ),
    "a logarithm of a quotient": (
        lambda: gg.compute(i, gg.log(gg.exp(f[i]) / a[i] / b[i])),
        lambda u, v: F - np.log(u) - np.log(v),
    ),
    "a logarithm of a reciprocal": (
        lambda: gg.compute(i, gg.log(1 / (gg.exp(f[i]) * a[i] * b[i]))),
        lambda u, v: -F - np.log(u) - np.log(v),
    ),
    "a multiple of a logsumexp": (
        lambda: gg.compute(i, gg.logsumexp(f) * a[i] * b[i] - f[i] * a[i]),
        lambda u, v: np.log(np.exp(F).sum()) * u * v - F * u,
    ),
    "a sum": (
        lambda: gg.compute(i, (f[i] - a[i]) - b[i] + gg.logsumexp(f)),
        lambda u, v: F - u - v + np.log(np.exp(F).sum()),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_integers_are_floats_beside_floats(name: str) -> None:
    declare, by_hand = FORMS[name]
    net = unjitted(gg.compile({"y": declare(), "all": gg.sum(x) + gg.sum(f) + gg.sum(a) + gg.sum(b)}, name="mixed"))
    out = net(x=X, f=F, a=A, b=B)
    np.testing.assert_allclose(out["y"], by_hand(A.astype(np.float64), B.astype(np.float64)), rtol=1e-14)


def test_a_gradient_multiplies_no_integers() -> None:
    y = gg.compute(i, 1 / ((a[i] * x[0]) ** 2 + 0.5))
    (d_x,) = gg.grad(gg.sum(y), [x])
    net = unjitted(gg.compile({"d_x": d_x}, name="mixed"))
    u = A.astype(np.float64)
    wanted = (-2 * u * u / (u * u + 0.5) ** 2).sum()
    np.testing.assert_allclose(net(x=X, a=A)["d_x"], [wanted, 0.0], rtol=1e-13)
