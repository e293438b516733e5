"""What every step of a scan writes anew lies in a row of its states, where that is theirs alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.network import Network
from tests.cpu.running import assert_close, unjitted

T, D = gg.size("T"), 32


def compiled(step: Callable[..., Any], read: Callable[[gg.Tensor, gg.Tensor], gg.Tensor]) -> Network:
    """A scan over weights, whose last state and all results are read."""
    h, w = gg.param("h", (D, D)), gg.param("w", (T, D, D))
    last, ys = gg.scan(step, h, w)
    return gg.compile({"loss": read(last, ys)}, name="states", dtype="float64")


def check(net: Network) -> None:
    rng = np.random.default_rng(0)
    given = {"h": 0.3 * rng.standard_normal((D, D)), "w": 0.3 * rng.standard_normal((4, D, D))}
    plain = unjitted(net)
    loss = plain.value_and_grad(**given)[0]["loss"]
    gradients = plain.value_and_grad(**given)[1]
    _, saved = plain.forward(**given)
    apart = plain.backward(saved, loss=1.0)
    for name, g in gradients.items():
        assert_close(apart[name], g, "float64", name)
        direction = rng.standard_normal(g.shape)
        ends = [plain(**{**given, name: given[name] + e * direction})["loss"] for e in (1e-5, -1e-5)]
        assert abs((ends[0] - ends[1]) / 2e-5 - np.sum(g * direction)) < 1e-6 * max(1, abs(loss), np.abs(g).sum())


def tanh(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, None]:
    return gg.tanh(h @ w), None


def test_products_and_adjoints_are_rows() -> None:
    net = compiled(tanh, lambda last, _: gg.sum(last**2))
    assert "np.dot(tanh_states[t], w[t], tanh_states[t + 1])" in net.source
    assert net.explain().count("is a row of") >= 2
    check(net)


def twice(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    u = h @ w
    return gg.tanh(u), gg.sum(u * h)


def before(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    """The state of the step before is read again behind the product."""
    u = h @ w
    return h + 0.1 * gg.sin(u), gg.sum(h * u)


def transposed(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, None]:
    """The state has other elements where the product is read."""
    return gg.tanh((h @ w).T + h), None


def two_products(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, None]:
    return gg.tanh(gg.sin(h @ w) @ w + h), None


@pytest.mark.parametrize("step", [tanh, twice, before, transposed, two_products])
@pytest.mark.parametrize("every", [False, True])
def test_gradients_are_differences(step: Callable[..., Any], every: bool) -> None:
    def read(last: gg.Tensor, ys: gg.Tensor) -> gg.Tensor:
        return gg.sum(last**2) + (gg.sum(ys) if every and ys is not None else 0.0)

    check(compiled(step, read))
