"""Jacobians and Hessians through the compiler, as plain Python and jitted, against the interpreter."""

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Leaf
from gradgen.lang.interpret import interpret
from tests.cpu.running import assert_close, unjitted

x = gg.input("x", (2, 3), dtype="float64")
a = gg.input("a", (3, 4), dtype="float64")
hidden = gg.tanh(x @ a)
weights = gg.exp(hidden)
share = weights / gg.sum(weights, axis=1, keepdims=True)
OUTPUTS = {
    "layer": gg.jacobian(hidden, a),
    "columns": gg.jacobian(hidden, x, mode="forward"),
    "softmax": gg.jacobian(share, x),
    "running": gg.jacobian(gg.cumprod(x, axis=1), x),
    "hessian": gg.hessian(gg.sum(share[:, 0]), x),
}


@pytest.mark.parametrize("way", ["plain", "jitted"])
def test_compiled_jacobians(way: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((2, 3)), "a": rng.standard_normal((3, 4))}
    net = gg.compile(OUTPUTS, name="jacobians", dtype="float64")
    found = (net if way == "jitted" else unjitted(net))(**arrays)
    leaves: dict[Leaf, np.ndarray] = {x.node: arrays["x"], a.node: arrays["a"]}  # type: ignore[dict-item]
    wanted = interpret([y.node for y in OUTPUTS.values()], leaves)
    for name, value in zip(OUTPUTS, wanted, strict=True):
        assert_close(found[name], value, "float64", name)
