"""Layers, losses and initialisers, by the reference interpreter and NumPy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.origin import origin
from gradgen.nn.init import fans, initialiser_of

Evaluate = Callable[..., Any]
Message = Callable[..., str]
N = gg.size("N")
RNG = np.random.default_rng(3)


def floats(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


def leaf(tensor: gg.Tensor) -> Leaf:
    assert isinstance(tensor.node, Leaf)
    return tensor.node


def softmax(x: Any, axis: int = -1) -> Any:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def test_the_cross_entropy_of_the_lecture(evaluate: Evaluate) -> None:
    loss = nn.cross_entropy(gg.input("u", (4,)), gg.input("b", (), "int64"))
    u = np.array([0.1, -0.8, 1.4, 1.1], "float32")
    assert round(float(evaluate(loss, u=u, b=1)), 2) == 2.95
    assert round(float(evaluate(loss, u=u, b=2)), 2) == 0.75


@pytest.mark.parametrize("shape", [(5,), (3, 5), (3, 5, 2), (3, 5, 2, 4)])
def test_cross_entropy(evaluate: Evaluate, shape: tuple[int, ...]) -> None:
    rest = shape[:1] * (len(shape) > 1) + shape[2:]
    loss = nn.cross_entropy(gg.input("u", shape), gg.input("b", rest, "int64"))
    u, b = floats(*shape), RNG.integers(0, 5, rest)
    axis = min(1, len(shape) - 1)
    chosen = np.take_along_axis(softmax(u, axis), np.expand_dims(b, axis), axis)
    np.testing.assert_allclose(evaluate(loss, u=u, b=b), -np.log(chosen).mean(), rtol=1e-5)


def test_activations_and_losses(evaluate: Evaluate) -> None:
    x, y = gg.input("x", (N, 5)), gg.input("y", (N, 5))
    v = {"x": floats(3, 5), "y": floats(3, 5)}
    a, b = v["x"], v["y"]
    for tensor, expected in (
        (nn.softmax(x), softmax(a)),
        (nn.softmax(x, axis=0), softmax(a, 0)),
        (nn.log_softmax(x), np.log(softmax(a))),
        (nn.relu(x), np.maximum(a, 0)),
        (nn.silu(x), a / (1 + np.exp(-a))),
        (nn.gelu(x), 0.5 * a * (1 + np.vectorize(math.erf)(a / math.sqrt(2)))),
        (nn.layer_norm(x), (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5)),
        (
            nn.layer_norm(x, y[0], y[1]),
            (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5) * b[0] + b[1],
        ),
        (nn.mse_loss(x, y), np.mean((a - b) ** 2)),
        (nn.l1_loss(x, y), np.mean(np.abs(a - b))),
        (nn.flatten(x, 0), a.reshape(-1)),
    ):
        leaves = {n.name for n in toposort([tensor.node]) if isinstance(n, Leaf)}
        np.testing.assert_allclose(
            evaluate(tensor, **{k: w for k, w in v.items() if k in leaves}), expected, rtol=1e-4, atol=1e-5
        )


def test_one_hot(evaluate: Evaluate) -> None:
    b = np.array([2, 0, 1])
    np.testing.assert_array_equal(evaluate(nn.one_hot(gg.input("b", (N,), "int64"), 4), b=b), np.eye(4)[b])


def test_linear_has_pytorchs_layout_and_names(evaluate: Evaluate) -> None:
    x = gg.input("x", (N, 4))
    fc1 = nn.Linear(4, 3)
    assert fc1.weight.shape == (3, 4)
    assert (fc1.weight.name, fc1.name) == ("fc1_weight", "fc1")
    v = {"x": floats(2, 4), "fc1_weight": floats(3, 4), "fc1_bias": floats(3)}
    np.testing.assert_allclose(evaluate(fc1(x), **v), v["x"] @ v["fc1_weight"].T + v["fc1_bias"], rtol=1e-5)
    assert fc1(x) is fc1(x)
    assert nn.state_dict_names({"fc1": fc1}) == {"fc1_weight": "fc1.weight", "fc1_bias": "fc1.bias"}
    assert nn.state_dict_names(nn.Linear(4, 3, bias=False, name="out")) == {"out_weight": "weight"}


def test_sequential() -> None:
    x = gg.input("x", (N, 4))
    shared = nn.Linear(4, 4, name="shared")
    net = nn.Sequential(shared, nn.relu, shared, nn.relu, nn.Linear(4, 2, name="last"))
    y = net(x)
    assert y.shape[1] == 2
    assert list(nn.state_dict_names(net)) == ["shared_weight", "shared_bias", "last_weight", "last_bias"]
    names = [found.name for n in toposort([y.node]) if not isinstance(n, Leaf) and (found := origin(n))]
    assert list(dict.fromkeys(names)) == ["shared", "shared_relu", "y"]


def test_refusals(message: Message) -> None:
    x = gg.input("x", (N, 4))
    layer = nn.Linear(3, 2, name="fc")
    assert message(ShapeError, lambda: layer(x)) == ("fc takes 3 inputs along the last axis, and is given x (N, 4).")
    assert message(ShapeError, lambda: nn.flatten(x, 1, 0)) == (
        "flatten of x (N, 4) from axis 1 to 0: these are no axes."
    )
    assert message(DTypeError, lambda: nn.cross_entropy(x, gg.input("b", (N,)))) == (
        "the labels of cross_entropy are integers; b (N) is float32."
    )
    assert message(ShapeError, lambda: nn.cross_entropy(x, gg.input("b", (4,), "int64"))) == (
        "cross_entropy of x (N, 4) with b (4): the labels must have the shape (N)."
    )
    assert message(ShapeError, lambda: nn.mse_loss(x, gg.input("t", (N,)))) == (
        "mse_loss of x (N, 4) with t (N): the shapes must be equal."
    )


def test_initialisers() -> None:
    rng = np.random.default_rng(0)
    shape = (200, 100)
    for record, std, bound in (
        (nn.init.zeros(), 0, 0),
        (nn.init.ones(), 0, 1),
        (nn.init.uniform(-2, 2), 2 / math.sqrt(3), 2),
        (nn.init.normal(0, 0.5), 0.5, math.inf),
        (nn.init.kaiming_uniform(math.sqrt(5)), 0.1 / math.sqrt(3), 0.1),
        (nn.init.kaiming_uniform(), math.sqrt(2 / 100), math.sqrt(6 / 100)),
        (nn.init.kaiming_normal(fan="out"), math.sqrt(2 / 200), math.inf),
        (nn.init.xavier_uniform(), math.sqrt(2 / 300), math.sqrt(6 / 300)),
        (nn.init.xavier_normal(2.0), 2 * math.sqrt(2 / 300), math.inf),
    ):
        drawn = record.draw(rng, shape, "float32")
        assert drawn.shape == shape
        assert drawn.dtype == np.float32
        assert abs(float(drawn.std()) - std) <= 0.03 * std
        assert float(np.abs(drawn).max()) <= bound + 1e-6
    assert fans((64, 3, 5, 5)) == (75, 1600)


def test_what_a_parameter_starts_from() -> None:
    assert initialiser_of(leaf(gg.param("X", (5, 4)))) == nn.init.kaiming_uniform(math.sqrt(5))
    assert initialiser_of(leaf(gg.param("mu", (5,)))) == nn.init.zeros()
    assert initialiser_of(leaf(gg.param("g", (5,), init=nn.init.ones()))) == nn.init.ones()
    fc = nn.Linear(16, 4)
    assert fc.bias is not None
    assert initialiser_of(leaf(fc.bias)) == nn.init.uniform(-0.25, 0.25)
