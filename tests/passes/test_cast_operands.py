"""Operands of several dtypes: products and sums are put together anew, and none meet in a dtype of their own."""

from collections.abc import Callable

import numpy as np
import pytest

import gradgen as gg
from tests.cpu.running import unjitted

DATA = {
    "uint32": (np.array([4_000_000_000, 2, 3], np.uint32), np.array([3, 3_000_000_000, 5], np.uint32)),
    "int64": (np.array([2**62, 2, 3], np.int64), np.array([3, 2**61, 5], np.int64)),
    "float32": (np.array([1e30, 2, 3], np.float32), np.array([1e20, 3, 5], np.float32)),
}
F, X = np.array([0.5, 2.0, 3.0]), np.array([1.0, 2.0])

i, k = gg.index("i", 3), gg.index("k", 2)
x, f = gg.param("x", (2,), dtype="float64"), gg.input("f", (3,), dtype="float64")

FORMS: dict[str, tuple[Callable[[gg.Tensor, gg.Tensor], gg.Tensor], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "a factor leaves a sum": (
        lambda a, b: gg.compute(k, gg.sum(x[k] * a[i] * b[i] * f[i], over=i)),
        lambda u, v: X * (u * v * F).sum(),
    ),
    "a logarithm of a quotient": (
        lambda a, b: gg.compute(i, gg.log(gg.exp(f[i]) / a[i] / b[i])),
        lambda u, v: F - np.log(u) - np.log(v),
    ),
    "a logarithm of a reciprocal": (
        lambda a, b: gg.compute(i, gg.log(1 / (gg.exp(f[i]) * a[i] * b[i]))),
        lambda u, v: -F - np.log(u) - np.log(v),
    ),
    "a multiple of a logsumexp": (
        lambda a, b: gg.compute(i, gg.logsumexp(f) * a[i] * b[i] - f[i] * a[i]),
        lambda u, v: np.log(np.exp(F).sum()) * u * v - F * u,
    ),
    "a sum": (
        lambda a, b: gg.compute(i, (f[i] - a[i]) - b[i] + gg.logsumexp(f)),
        lambda u, v: F - u - v + np.log(np.exp(F).sum()),
    ),
}


@pytest.mark.parametrize("dtype", DATA)
@pytest.mark.parametrize("name", FORMS)
def test_operands_are_cast_where_they_stand(name: str, dtype: str) -> None:
    declare, by_hand = FORMS[name]
    a, b = (gg.input(letter, (3,), dtype=dtype) for letter in "ab")
    whole = gg.sum(x) + gg.sum(f) + gg.sum(1.0 * a) + gg.sum(1.0 * b)  # every argument is one of the model
    net = unjitted(gg.compile({"y": declare(a, b), "whole": whole}, name="mixed"))
    one, other = DATA[dtype]
    out = net(x=X, f=F, a=one, b=other)
    np.testing.assert_allclose(out["y"], by_hand(one.astype(np.float64), other.astype(np.float64)), rtol=1e-14)


@pytest.mark.parametrize("dtype", DATA)
def test_a_gradient_multiplies_no_operands_of_another_dtype(dtype: str) -> None:
    a = gg.input("a", (3,), dtype=dtype)
    y = gg.compute(i, 1 / ((a[i] * x[0]) ** 2 + 0.5))
    (d_x,) = gg.grad(gg.sum(y), [x])
    net = unjitted(gg.compile({"d_x": d_x}, name="mixed"))
    u = DATA[dtype][0].astype(np.float64)
    wanted = (-2 * u * u / (u * u + 0.5) ** 2).sum()
    np.testing.assert_allclose(net(x=X, a=DATA[dtype][0])["d_x"], [wanted, 0.0], rtol=1e-13)
