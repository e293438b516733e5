"""Compiled networks inside SciPy: losses minimised, residuals and their Jacobians, what is refused."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime, least_squares, minimize

import gradgen as gg
from gradgen.errors import BindingError, GradgenError, GraphError, ShapeError
from gradgen.interop.scipy import objective, residuals
from gradgen.network import Network

TRUE = {"rate": np.array([0.3, 1.5]), "height": np.array(2.0)}


@cache
def decay(dtype: str = "float64") -> Network:
    """A sum of two exponentials with one height, at given times; `other` is no part of the errors."""
    T = gg.size("T")
    t, seen = gg.input("t", (T,)), gg.input("seen", (T,))
    rate, other, height = gg.param("rate", (2,)), gg.param("other", (3,)), gg.param("height", ())
    k, i = gg.index("k", T), gg.index("i", 2)
    errors = height * gg.compute(k, gg.sum(gg.exp(-rate[i] * t[k]), over=i)) - seen
    loss = gg.mean(errors**2) + gg.sum(other**2)
    return gg.compile({"errors": errors, "loss": loss}, dtype=dtype, name="decay")


def given(dtype: str = "float64", points: int = 12) -> dict[str, Any]:
    t = np.linspace(0.0, 4.0, points)
    seen = TRUE["height"] * np.exp(-np.outer(t, TRUE["rate"])).sum(1)
    start = {"rate": np.array([0.1, 1.0]), "height": np.array(1.0), "other": np.ones(3)}
    return {name: np.asarray(x, dtype) for name, x in {"t": t, "seen": seen, **start}.items()}


def test_a_loss_is_minimised() -> None:
    loss = objective(decay(), given())
    value, gradient = loss(loss.start)
    np.testing.assert_allclose(gradient, approx_fprime(loss.start, lambda x: loss(x)[0]), rtol=1e-5, atol=1e-6)
    assert isinstance(value, float)
    found = minimize(loss, loss.start, jac=True, method="BFGS", options={"gtol": 1e-10})
    params = loss.arrays(found.x)
    assert params.keys() == {"rate", "other", "height"}
    np.testing.assert_allclose(np.sort(params["rate"]), TRUE["rate"], rtol=1e-3)
    np.testing.assert_allclose(params["other"], 0, atol=1e-6)
    loss(loss.start)
    np.testing.assert_allclose(params["height"], TRUE["height"], rtol=1e-3)  # no view of what the loss is given


@pytest.mark.parametrize("points", [3, 12])  # fewer than there are parameters, and more
def test_residuals_and_their_jacobian(points: int) -> None:
    errors = residuals(decay(), "errors", given(points=points))
    found = errors.jacobian(errors.start)
    assert found.shape == (points, 6)
    np.testing.assert_allclose(found, approx_fprime(errors.start, errors), rtol=1e-5, atol=1e-6)
    names = {name: x.size for name, x in errors.arrays(errors.start).items()}
    at = {name: sum(list(names.values())[:k]) for k, name in enumerate(names)}
    np.testing.assert_array_equal(found[:, at["other"] : at["other"] + 3], 0)
    np.testing.assert_array_equal(found[0, at["height"]], 2)


def test_least_squares_finds_the_parameters() -> None:
    errors = residuals(decay(), "errors", given())
    found = least_squares(errors, errors.start, jac=errors.jacobian)
    params = errors.arrays(found.x)
    np.testing.assert_allclose(np.sort(params["rate"]), TRUE["rate"], rtol=1e-6)
    np.testing.assert_allclose(params["height"], TRUE["height"], rtol=1e-6)


def test_vectors_are_float64_whatever_the_network_is() -> None:
    a = given("float32")
    loss, errors = objective(decay("float32"), a), residuals(decay("float32"), "errors", a)
    assert {
        x.dtype for x in (loss.start, loss(loss.start)[1], errors(errors.start), errors.jacobian(errors.start))
    } == {np.dtype("float64")}
    assert {x.dtype for x in loss.arrays(loss.start).values()} == {np.dtype("float32")}
    found = minimize(loss, loss.start, jac=True, method="L-BFGS-B")
    np.testing.assert_allclose(np.sort(loss.arrays(found.x)["rate"]), TRUE["rate"], rtol=0.1)


def test_inputs_are_in_the_vector_where_the_network_was_compiled_so() -> None:
    x, a = gg.input("x", (2,)), gg.param("a", (2,))
    y = gg.stack([10 * (x[1] - a[1] * x[0] ** 2), a[0] - x[0]])
    net = gg.compile({"y": y}, wrt=[x], dtype="float64", name="rosenbrock")
    errors = residuals(net, "y", {"a": np.ones(2), "x": np.array([-1.2, 1.0])})
    found = least_squares(errors, errors.start, jac=errors.jacobian)
    np.testing.assert_allclose(errors.arrays(found.x)["x"], [1, 1])


def refused(call: Any, kind: type[GradgenError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_what_is_refused() -> None:
    a = given()
    x = gg.param("x", (2,))
    vector = gg.compile({"y": gg.sin(x), "z": gg.cos(gg.input("t", (2,)))}, name="vector")
    arrays = {"x": np.zeros(2, "float32"), "t": np.zeros(2, "float32")}
    assert refused(lambda: objective(vector, arrays), GraphError) == (
        "vector.value_and_grad: no output is a float scalar, only y float32 (2), z float32 (2). Add one, such as a sum "
        "or a mean, or use backward."
    )
    assert refused(lambda: residuals(vector, "z", arrays), GraphError) == "residuals: z depends on none of x."
    assert refused(lambda: residuals(decay(), "error", a), BindingError) == (
        "residuals: no float output is called error. Those are errors, loss."
    )
    assert refused(lambda: objective(decay(), {"t": a["t"], "rate": a["rate"]}), BindingError) == (
        "decay.flatten: other, height missing. Needed are rate, other, height."
    )
    assert refused(lambda: residuals(decay(), "errors", {**a, "t": a["t"][:5]}), ShapeError) == (
        "seen's axis 0 is 12, but the size T is 5 (t's axis 0). Give arrays that agree."
    )
