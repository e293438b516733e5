"""Time and text of derivatives grow with the distinct operations, not with how often their values are read."""

import math
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import CopiesWarning
from tests.cpu.running import unjitted
from tests.properties.limits import within

i, j, k = gg.indices("i j k")


def chain(x: gg.Tensor, n: int) -> gg.Tensor:
    y = x[i]
    for _ in range(n // 2):
        y = gg.sin(y) + y
    return gg.sum(gg.compute(i, y))


def squares(x: gg.Tensor, n: int) -> gg.Tensor:
    y = x[i]
    for _ in range(n // 2):
        y = y * y - 0.5
    return gg.sum(gg.compute(i, y))


def tree(x: gg.Tensor, n: int) -> gg.Tensor:
    level = [x[i] * (m + 1.5) for m in range(n // 2)]
    while len(level) > 1:
        level = [a * b if len(level) % 4 else a + b for a, b in zip(level[::2], level[1::2], strict=False)]
    return gg.sum(gg.compute(i, level[0]))


def choices(x: gg.Tensor, n: int) -> gg.Tensor:
    y = x[i]
    for m in range(n // 4):
        y = gg.where(y > 0.1 * m, gg.sin(y) * y, y * y - 0.1)
    return gg.sum(gg.compute(i, y))


def operators(x: gg.Tensor, n: int) -> gg.Tensor:
    y = x
    for _ in range(n // 4):
        y = gg.where(y > 0.1, gg.sin(y) * y, y * y - 0.1)
    return gg.sum(y)


@pytest.mark.parametrize("model", [chain, squares, tree, choices, operators])
def test_text_is_linear_in_the_operations(model: Callable[[gg.Tensor, int], gg.Tensor]) -> None:
    def letters(n: int) -> int:
        x = gg.param("x", (8,), dtype="float64")
        return len(gg.compile({"loss": model(x, n)}, dtype="float64").source)

    began = time.process_time()
    short, long = letters(16), letters(64)
    assert long < 6 * short
    assert time.process_time() - began < 20  # for ever, where a value is written out once for each reader


FUNCTIONS = {
    "acos": gg.acos, "atan": gg.atan, "exp": gg.exp, "log": gg.log, "sqrt": gg.sqrt, "tanh": gg.tanh, "tan": gg.tan,
    "sigmoid": gg.sigmoid, "silu": gg.silu, "rsqrt": gg.rsqrt,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_text_of_every_order_is_a_few_times_that_of_the_one_before(name: str) -> None:
    x = gg.param("x", (), dtype="float64")
    y, letters = FUNCTIONS[name](x), []
    for _ in range(4):
        y = gg.grad(y, x)
        letters.append(len(gg.compile({"y": y}, wrt=[], dtype="float64").source))
    assert all(after < 4 * before for before, after in pairwise(letters)), letters


def lines(net: gg.Network) -> int:
    return len(net.source.splitlines())


def test_the_third_derivative_of_acos() -> None:
    x = gg.param("x", (), dtype="float64")
    y = gg.grad(gg.grad(gg.acos(x), x), x)
    net = gg.compile({"y": y}, dtype="float64")
    assert lines(net) < 100
    _, gradients = unjitted(net).value_and_grad(x=0.3)
    assert gradients["x"] == pytest.approx(-(1 + 2 * 0.3**2) / (1 - 0.3**2) ** 2.5, rel=1e-12)


def energy(p: gg.Tensor) -> gg.Tensor:
    """Of Lennard-Jones, with the distances written into the formula."""
    r = gg.sqrt(gg.sum((p[i, k] - p[j, k]) ** 2, over=k))
    pairs = gg.sum(gg.where(i != j, 2 * r**-6 * (0.5 * r**-6 - 1), 0.0), over=(i, j))
    return gg.compute((), pairs / 2)


def slopes(at: np.ndarray) -> np.ndarray:
    """The gradient of the energy."""
    d = at[:, None] - at[None]
    r2 = (d**2).sum(-1) + np.eye(len(at))
    return (2 * (6 * r2**-4 - 6 * r2**-7) * (1 - np.eye(len(at))))[..., None] * d


def test_an_energy_of_pairs() -> None:
    p, v = gg.param("p", (5, 3), dtype="float64"), gg.input("v", (5, 3), dtype="float64")
    rng = np.random.default_rng(0)
    at, along = 2.0 * rng.random((5, 3)), rng.standard_normal((5, 3))
    first = gg.compile({"energy": energy(p)}, dtype="float64")
    assert lines(first) < 200
    _, gradients = unjitted(first).value_and_grad(p=at)
    np.testing.assert_allclose(gradients["p"], slopes(at).sum(1), rtol=1e-10)
    second = gg.compile({"product": gg.hvp(energy(p), [p], [v])[0]}, wrt=[], dtype="float64")
    assert lines(second) < 200
    step = 1e-6 * along
    wanted = (slopes(at + step).sum(1) - slopes(at - step).sum(1)) / 2e-6
    np.testing.assert_allclose(unjitted(second)(p=at, v=along)["product"], wanted, rtol=1e-5, atol=1e-4)


def test_a_stack_of_many_parts_is_stored_part_by_part() -> None:
    n = 100
    x = gg.param("x", (n,), dtype="float64")
    y = gg.sum(gg.stack([gg.sin(x[m]) for m in range(n)]) * gg.arange(n))
    with pytest.warns(CopiesWarning, match=r"gg\.scan"):
        net = gg.compile({"y": y}, dtype="float64")
    assert max(len(line) - len(line.lstrip()) for line in net.source.splitlines()) < 24
    at = np.random.default_rng(0).standard_normal(n)
    out, gradients = unjitted(net).value_and_grad(x=at)
    assert out["y"] == pytest.approx((np.sin(at) * np.arange(n)).sum())
    np.testing.assert_allclose(gradients["x"], np.cos(at) * np.arange(n))


def test_a_mask_is_followed_through_what_is_read_twice() -> None:
    x, weights = gg.param("x", (6, 6)), gg.param("weights", (6, 6))
    mask = gg.input("mask", (6, 6), dtype="bool")
    y = gg.where(mask[i, j], x[i, j], 0.0)
    for _ in range(24):
        y = y * 1.5 + y
    sums = gg.compute((i, j), y)
    product = gg.compute((i, k), gg.sum(gg.where(mask[i, j], sums[i, j] * weights[j, k], 0.0), over=j))
    with within(20):  # for ever, where both operands are followed to the same value
        gg.compile({"product": product})


def test_a_choice_among_many_is_a_chain() -> None:
    x = gg.param("x", (9,), dtype="float64")
    body = x[i]
    for m in range(40):
        body = gg.where(x[i] < -0.1 * m, gg.sin(x[i] + m) * gg.exp(x[i]), body)
    net = gg.compile({"y": gg.compute(i, body)}, dtype="float64", wrt=[])
    assert "elif" in net.source
    at = np.linspace(-5, 1, 9)
    wanted = [np.sin(v + min(39, math.ceil(-10 * v) - 1)) * np.exp(v) if v < 0 else v for v in at]
    np.testing.assert_allclose(unjitted(net)(x=at)["y"], wanted, rtol=1e-9)
