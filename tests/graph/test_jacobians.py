"""Jacobians, Hessians and the gradient check, by the reference interpreter; JAX says what is right."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import GraphError, OptionError
from gradgen.graph.nodes import Project, all_inputs, toposort

Evaluate = Callable[..., Any]
jax.config.update("jax_enable_x64", True)
RNG = np.random.default_rng(4)
X, A, V = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 4)), RNG.standard_normal(3)
x = gg.input("x", (2, 3), dtype="float64")
a = gg.input("a", (3, 4), dtype="float64")
v = gg.input("v", (3,), dtype="float64")


def softmax(m: Any, u: Any) -> Any:
    e = m.exp(u)
    return e / (e.sum(axis=-1, keepdims=True))


FORMULAS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "a product": lambda m, x, a, v: x @ a + m.sum(v),
    "a layer": lambda m, x, a, v: m.tanh(x @ a) + m.sum(v),
    "elementwise": lambda m, x, a, v: m.sin(x) * v + m.sum(a),
    "softmax": lambda m, x, a, v: softmax(m, x * v) * m.sum(a),
    "a scalar": lambda m, x, a, v: m.sum(m.exp(x @ a)) * m.sum(v * v),
    "gathered": lambda m, x, a, v: (x[:, ::-1] * v)[1] @ a,
    "maximum": lambda m, x, a, v: m.max(x, axis=1) * m.sum(v * v * v) + m.sum(a),
    "a loop": lambda m, x, a, v: m.cumprod(x * v, axis=1) * m.sum(a),
}


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
@pytest.mark.parametrize("name", FORMULAS)
def test_jacobians(evaluate: Evaluate, name: str, mode: str | None) -> None:
    y = FORMULAS[name](gg, x, a, v)
    wanted = jax.jacobian(lambda *z: FORMULAS[name](jnp, *z), (0, 1, 2))(X, A, V)
    for found, jacobian, wrt in zip(gg.jacobian(y, [x, a, v], mode), wanted, (x, a, v), strict=True):
        assert found.shape == (*y.shape, *wrt.shape)
        given = {n.name: {"x": X, "a": A, "v": V}[n.name] for n in toposort([found.node]) if hasattr(n, "name")}
        np.testing.assert_allclose(evaluate(found, **given), jacobian, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["a scalar", "softmax", "maximum", "a loop"])
def test_hessians(evaluate: Evaluate, name: str) -> None:
    def scalar(m: Any, *z: Any) -> Any:
        return m.sum(FORMULAS[name](m, *z) ** 2)

    wanted = jax.hessian(lambda *z: scalar(jnp, *z), (0, 1, 2))(X, A, V)
    for found, row in zip(gg.hessian(scalar(gg, x, a, v), [x, a, v]), wanted, strict=True):
        for block, matrix in zip(found, row, strict=True):
            given = {n.name: {"x": X, "a": A, "v": V}[n.name] for n in toposort([block.node]) if hasattr(n, "name")}
            np.testing.assert_allclose(evaluate(block, **given), matrix, rtol=1e-11, atol=1e-12)


def test_a_linear_loss_has_no_curvature(evaluate: Evaluate) -> None:
    np.testing.assert_array_equal(evaluate(gg.hessian(gg.sum(v * 2.0), v)), np.zeros((3, 3)))


def test_symbolic_sizes_and_no_loop_over_rows(evaluate: Evaluate) -> None:
    n = gg.size("N")
    u = gg.input("u", (n,), dtype="float64")
    found = gg.jacobian(gg.tanh(u) * gg.sum(u), u)
    assert not any(isinstance(node, Project) for node in toposort([found.node], all_inputs))
    wanted = jax.jacobian(lambda z: jnp.tanh(z) * jnp.sum(z))(V)
    np.testing.assert_allclose(evaluate(found, u=V), wanted, rtol=1e-13)


def test_a_loop_along_a_symbolic_axis(evaluate: Evaluate) -> None:
    u = gg.input("u", (gg.size("N"),), dtype="float64")
    for mode in ("forward", "reverse"):
        found = gg.jacobian(gg.cumprod(u), u, mode)
        np.testing.assert_allclose(evaluate(found, u=V), jax.jacobian(jnp.cumprod)(V), rtol=1e-13)


def test_refusals(message: Callable[..., str]) -> None:
    n = gg.size("N")
    u = gg.input("u", (n,), dtype="float64")
    assert message(OptionError, lambda: gg.jacobian(u * u, u, mode="both")) == (
        "jacobian has the modes forward and reverse, not 'both'."
    )
    assert message(GraphError, lambda: gg.check_grad(u * u, {})).endswith("has axes. Take its sum first.")


def test_a_report_that_a_person_can_read() -> None:
    w, t = gg.param("w", (3, 4)), gg.input("t", (2, 3))
    loss = gg.mean(gg.tanh(t @ w) ** 2)
    report = gg.check_grad(loss, {"w": A, "t": X})
    assert report.ok
    assert bool(report)
    text = str(report)
    assert text.startswith("Slopes along a random direction, in float64:\n")
    assert "\nw (3, 4)  " in text
    assert "  ok\n" in text
    assert text.endswith("The gradient of loss agrees with difference quotients.")
    assert len(gg.check_grad(loss, {"w": A, "t": X}, wrt=[t, w]).lines) == 2


def test_a_gradient_that_is_not_that_of_the_value_is_found() -> None:
    w = gg.param("w", (3,))
    half = gg.sum(w * gg.stop_gradient(w))
    report = gg.check_grad(half, {"w": V})
    assert not report.ok
    assert "WRONG" in str(report)
    assert "The gradient of half differs for w (3): a kink or a jump nearby" in str(report)


def test_sizes_and_integer_inputs() -> None:
    n = gg.size("N")
    table, at = gg.param("table", (4, 2)), gg.input("at", (n,), dtype="int64")
    loss = gg.sum(gg.exp(table[at]))
    assert gg.check_grad(loss, {"table": A[:, :2].repeat(2, 0)[:4], "at": np.array([0, 3, 3])})
