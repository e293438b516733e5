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


def test_zero_is_not_unrelated() -> None:
    """What is masked away as a whole, as only a rewrite can show, has the gradient 0 rather than none."""
    i, j = gg.index("i", 3), gg.index("j", 2)
    w, z = gg.param("w", (2,)), gg.param("z", (3,))
    shifted = gg.compute(i, 2 * gg.padded(z)[i + 2])  # its first element alone reads z
    y = gg.compute(j, shifted[j + 1] * w[j])
    loss = gg.sum(y)
    ones = {"w": np.ones(2, np.float32), "z": np.ones(3, np.float32)}
    asked = {
        "loss": loss,
        "d_z": gg.grad(loss, z),
        "J": gg.jacobian(y, z),
        "t": gg.jvp(y, z, z),
        "H": gg.hvp(loss, z, z),
    }
    net = unjitted(gg.compile(asked, name="masked_away", loss="loss"))
    outputs, gradients = net.value_and_grad(**ones)
    _, saved = net.forward(**ones)
    for name, value in {**outputs, **gradients, **net.backward(saved, loss=1.0)}.items():
        np.testing.assert_array_equal(value, np.zeros_like(value), name)
    assert list(gradients) == ["w", "z"]


def test_the_hessian_of_a_linear_loss_is_zero() -> None:
    w, x = gg.param("w", (3,)), gg.input("x", (3,))
    loss = w @ x
    net = unjitted(gg.compile({"loss": loss, "Hv": gg.hvp(loss, [w], [w])[0]}, wrt=[], name="linear_loss"))
    ones = np.ones(3, np.float32)
    np.testing.assert_array_equal(net(w=ones, x=ones)["Hv"], np.zeros(3))


def test_a_jacobian_that_does_not_depend_on_its_point_takes_its_size_from_options() -> None:
    N = gg.size("N")
    x = gg.input("x", (N,))
    net = unjitted(gg.compile({"J": gg.jacobian(3 * x[1:], x)}, sizes={N: 4}, name="steps"))
    assert not net.inputs
    np.testing.assert_array_equal(net()["J"], 3 * np.eye(4)[1:])
