"""Updates as formulas: several steps against PyTorch's recurrences, written out in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import GraphError, OptionError
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret

Message = Callable[..., str]
RNG = np.random.default_rng(4)


def model() -> tuple[Tensor, dict[str, Any]]:
    """A least-squares loss, and arrays for its leaves."""
    a, b = gg.input("a", (7, 3)), gg.input("b", (7,))
    w, c = gg.param("w", (3,)), gg.param("c", ())
    values = {"a": RNG.normal(size=(7, 3)), "b": RNG.normal(size=7), "w": RNG.normal(size=3), "c": RNG.normal(size=())}
    return gg.mean((a @ w + c - b) ** 2), {k: v.astype("float32") for k, v in values.items()}


def gradients(v: dict[str, Any]) -> dict[str, Any]:
    r = 2 * (v["a"] @ v["w"] + v["c"] - v["b"]) / 7
    return {"w": v["a"].T @ r, "c": r.sum()}


def run(updates: dict[Tensor, Tensor], values: dict[str, Any], steps: int) -> dict[str, Any]:
    leaves = {t.node: str(t.name) for t in updates}
    state = dict(values)
    for leaf, name in leaves.items():
        state.setdefault(name, np.zeros([s.constant for s in leaf.shape], leaf.dtype))
    outputs = [t.node for t in updates.values()]
    read = [n for n in toposort(outputs) if isinstance(n, Leaf)]
    for _ in range(steps):
        new = interpret(outputs, {n: np.asarray(state[n.name]) for n in read})
        state |= dict(zip(leaves.values(), new, strict=True))
    return state


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}])
def test_sgd(options: dict[str, Any]) -> None:
    loss, v = model()
    got = run(gg.optim.sgd(loss, lr=0.05, **options), v, 4)
    expected = {k: np.asarray(x, "float64") for k, x in v.items()}
    velocity = {"w": 0.0, "c": 0.0}
    momentum = options.get("momentum", 0.0)
    for _ in range(4):
        for k, g in gradients(expected).items():
            d = g + options.get("weight_decay", 0.0) * expected[k]
            velocity[k] = momentum * velocity[k] + d
            step = d + momentum * velocity[k] if options.get("nesterov") else velocity[k]
            expected[k] = expected[k] - 0.05 * step
    for k in ("w", "c"):
        np.testing.assert_allclose(got[k], expected[k], rtol=1e-5, atol=1e-6)
        assert got[k].dtype == np.float32


def test_adam() -> None:
    loss, v = model()
    got = run(gg.optim.adam(loss, lr=0.1, weight_decay=0.01), v, 5)
    expected = {k: np.asarray(x, "float64") for k, x in v.items()}
    m, s = {"w": 0.0, "c": 0.0}, {"w": 0.0, "c": 0.0}
    for t in range(1, 6):
        for k, gradient in gradients(expected).items():
            g = gradient + 0.01 * expected[k]
            m[k] = 0.9 * m[k] + 0.1 * g
            s[k] = 0.999 * s[k] + 0.001 * g * g
            expected[k] = expected[k] - 0.1 / (1 - 0.9**t) * m[k] / (np.sqrt(s[k] / (1 - 0.999**t)) + 1e-8)
    assert got["adam_step"] == 5
    for k in ("w", "c"):
        np.testing.assert_allclose(got[k], expected[k], rtol=1e-4, atol=1e-5)
        assert got[k].dtype == np.float32


def test_the_step_length_may_be_a_tensor() -> None:
    loss, v = model()
    rate = gg.input("rate", (), dtype="float64")
    fixed, given = (
        run(gg.optim.sgd(loss, lr=0.05), v, 2),
        run(gg.optim.sgd(loss, lr=rate), {**v, "rate": np.float64(0.05)}, 2),
    )
    np.testing.assert_allclose(fixed["w"], given["w"], rtol=1e-6)
    fixed, given = (
        run(gg.optim.adam(loss, 0.05), v, 2),
        run(gg.optim.adam(loss, rate), {**v, "rate": np.float64(0.05)}, 2),
    )
    np.testing.assert_allclose(fixed["w"], given["w"], rtol=1e-6)


def test_refusals(message: Message) -> None:
    x = gg.input("x", (3,))
    assert message(GraphError, lambda: gg.optim.sgd(gg.sum(x), 0.1)) == (
        "the loss has no parameters to update: declare some with gg.param."
    )
    assert message(GraphError, lambda: gg.optim.adam(x)) == "a loss has no axes; x (3) has 1. Take its mean first."
    assert message(OptionError, lambda: gg.optim.sgd(gg.sum(x), 0.1, nesterov=True)) == (
        "nesterov needs a momentum above 0."
    )
