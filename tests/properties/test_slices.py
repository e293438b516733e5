"""Slices of short axes, along symbolic sizes, are those of NumPy, with what is computed of them and its gradients."""

import warnings
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import ShapeError
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from tests.cpu.running import unjitted

FORMULAS = [
    "x[1:-1] ** 2 * 3",
    "x[2:] - 2 * x[1:-1] + x[:-2]",
    "x[1:-1][1:-1][::-1]",
    "m.sum(m.sin(X[1:-1, 1:-1]))",
    "X[1:-1, 1:-1] * 4 - X[:-2, 1:-1] - X[2:, 1:-1]",
    "m.exp(X[1:-1]) / m.sum(m.exp(X[1:-1]), axis=1, keepdims=True)",
    "m.stack([x[1:], x[:-1]])",
    "m.sin(Y[1:-1, 1:-1]) @ w",
]
WITHOUT_LIMIT = ["m.mean(x[1:-1])", "m.var(x[1:-1], ddof=1)"]
JOINED = ["m.concatenate([x[:1], x[1:-1], x[-1:]])", "X[1:-1, 1:-1].reshape(-1)"]
N, K = gg.size("N"), gg.size("K")
SHAPES: dict[str, Any] = {"x": (N,), "X": (N, K), "Y": (N, K, 200), "w": (200, 300)}
FEW = [(0, 3), (1, 2), (1, 1), (2, 1), (3, 3), (5, 4)]


def _network(formulas: list[str]) -> tuple[Network, dict[str, Any], list[Any]]:
    leaves = {name: gg.param(name, shape, dtype="float64") for name, shape in SHAPES.items()}
    ys = [eval(text, {"m": gg, **leaves}) for text in formulas]
    loss = sum(gg.sum(y * y) for y in ys) + sum(gg.sum(leaf) for leaf in leaves.values())
    net = gg.compile({"loss": loss, **{f"y{k}": y for k, y in enumerate(ys)}}, loss="loss", name="slices")
    return unjitted(net), leaves, ys


def _values(n: int, k: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    shapes = {"x": (n,), "X": (n, k), "Y": (n, k, 200), "w": (200, 300)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """NumPy warns of means of nothing."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def test_slices_that_end_before_they_begin_are_empty() -> None:
    net, leaves, ys = _network(FORMULAS)
    for n, k in FEW:
        values = _values(n, k)
        wanted = [np.asarray(eval(text, {"m": np, **values})) for text in FORMULAS]
        by_formula = interpret([y.node for y in ys], {leaves[x].node: a for x, a in values.items()})
        out, gradients = net.value_and_grad(**values)
        _, saved = net.forward(**values)
        pulled = net.backward(saved, loss=1.0)
        for at, array in enumerate(wanted):
            np.testing.assert_allclose(out[f"y{at}"], array, rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(by_formula[at], array, rtol=1e-11, atol=1e-11)
        for name, gradient in gradients.items():
            assert gradient.shape == values[name].shape
            np.testing.assert_allclose(pulled[name], gradient, rtol=1e-11, atol=1e-11)
        along = {name: np.random.default_rng(1).normal(size=array.shape) for name, array in values.items()}
        ends = [float(net(**{x: a + h * along[x] for x, a in values.items()})["loss"]) for h in (-1e-5, 1e-5)]
        slope = sum((gradients[x] * along[x]).sum() for x in values)
        np.testing.assert_allclose((ends[1] - ends[0]) / 2e-5, slope, rtol=1e-6)


def test_means_of_slices_without_elements_are_nan() -> None:
    net, _, _ = _network(WITHOUT_LIMIT)
    for n, k in FEW:
        values = _values(n, k)
        for at, text in enumerate(WITHOUT_LIMIT):
            np.testing.assert_allclose(net(**values)[f"y{at}"], eval(text, {"m": np, **values}), rtol=1e-12)


@pytest.mark.parametrize("text", JOINED)
def test_sizes_that_are_made_of_others_are_not_negative(text: str) -> None:
    net, leaves, (y,) = _network([text])
    for n, k in FEW:
        values = _values(n, k)
        if n < 2 or (k < 2 and "K" in str(y.shape)):
            with pytest.raises(ShapeError, match="which is negative here"):
                net(**values)
            with pytest.raises((ShapeError, IndexError), match=r"not all positive|which has 0 elements"):
                interpret([y.node], {leaves[x].node: a for x, a in values.items()})
        else:
            np.testing.assert_allclose(net(**values)["y0"], eval(text, {"m": np, **values}), rtol=1e-12)
