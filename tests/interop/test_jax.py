"""Compiled networks inside JAX: `jit`, `grad` and `vmap`, in 32 and in 64 bits, and what is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, DTypeError, GradgenError, GraphError, OptionError, ShapeError
from gradgen.interop.jax import wrap
from gradgen.network import Network


@contextmanager
def bits(number: int) -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", number == 64)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture(params=[32, 64])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    with bits(request.param):
        yield f"float{request.param}"


@cache
def scores(dtype: str, *, loss_only: bool = False) -> Network:
    """Outputs with gradients by an input and two parameters, one of integers, and an input without a gradient."""
    N = gg.size("N")
    x, shift, label = gg.input("x", (N, 3)), gg.input("shift", ()), gg.input("label", (N,), dtype="int64")
    W, mu = gg.param("W", (4, 3)), gg.param("mu", (4,))
    u = gg.tanh(x @ W.T + mu) + shift
    outputs = {"loss": gg.nn.cross_entropy(u, label), "best": gg.argmax(u, axis=1)}
    more = {} if loss_only else {"u": u}
    return gg.compile({**outputs, **more}, wrt=[x, W, mu], dtype=dtype, name="loss_only" if loss_only else "scores")


def given(dtype: str, **other: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    arrays = {
        name: random.normal(size=shape).astype(dtype) for name, shape in {"x": (5, 3), "W": (4, 3), "mu": 4}.items()
    }
    return {**arrays, "label": np.array([0, 1, 3, 2, 1]), "shift": 0.5, **other}


def same_in_jax(a: dict[str, Any]) -> dict[str, Any]:
    u = jnp.tanh(a["x"] @ a["W"].T + a["mu"]) + a["shift"]
    loss = -jnp.mean(jax.nn.log_softmax(u)[jnp.arange(len(u)), a["label"]])
    return {"loss": loss, "u": u, "best": u.argmax(1)}


def close(found: Any, expected: Any, dtype: str) -> None:
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), found, expected)


def by(a: dict[str, Any]) -> dict[str, Any]:
    return {name: a[name] for name in ("x", "W", "mu")}


@pytest.mark.parametrize(
    ("number", "jitted", "loss_only"), [(32, False, False), (32, False, True), (32, True, True), (64, True, False)]
)
def test_values_and_gradients_are_those_of_the_same_model_in_jax(number: int, jitted: bool, loss_only: bool) -> None:
    precision = f"float{number}"
    with bits(number):
        a, net = given(precision), wrap(scores(precision, loss_only=loss_only))
        call = jax.jit(lambda a: net(**a)) if jitted else (lambda a: net(**a))
        found, expected = call(a), same_in_jax(a)
        assert found.keys() == scores(precision, loss_only=loss_only)(**a).keys()
        for name, x in found.items():
            assert x.dtype == jnp.asarray(expected[name]).dtype
            close(x, expected[name], precision)

        def total(outputs: dict[str, Any]) -> Any:
            return 3 * outputs["loss"] + (0 if loss_only else (outputs["u"] ** 2).sum())

        slope = jax.grad(lambda p: total(call({**a, **p})))(by(a))
        close(slope, jax.grad(lambda p: total(same_in_jax({**a, **p})))(by(a)), precision)
        assert {x.dtype for x in slope.values()} == {np.dtype(precision)}


def test_an_output_that_nobody_uses_has_no_cotangent() -> None:
    with bits(32):
        a, net, loss_only = given("float32"), wrap(scores("float32")), wrap(scores("float32", loss_only=True))
        slope = jax.jit(jax.grad(lambda p: (net(**{**a, **p})["u"] ** 2).sum()))(by(a))
        close(slope, jax.grad(lambda p: (same_in_jax({**a, **p})["u"] ** 2).sum())(by(a)), "float32")
        for call in (net, loss_only):
            unused = jax.grad(lambda p, call=call: (p["x"] ** 2).sum() + call(**{**a, **p})["best"].sum())(by(a))
            close(unused, {"x": 2 * a["x"], "W": 0 * a["W"], "mu": 0 * a["mu"]}, "float32")


@pytest.mark.parametrize("loss_only", [False, True])
def test_vmap_calls_the_network_for_every_element(loss_only: bool) -> None:
    with bits(32):
        a, net = given("float32"), wrap(scores("float32", loss_only=loss_only))
        several = np.stack([a["x"], 2 * a["x"], -a["x"]])

        def slope(x: Any, call: Any) -> Any:
            return jax.grad(lambda p: call({**a, "x": x, **p})["loss"])({"W": a["W"], "mu": a["mu"]})

        found = jax.jit(jax.vmap(lambda x: slope(x, lambda a: net(**a))))(several)
        close(found, jax.vmap(lambda x: slope(x, same_in_jax))(several), "float32")
        labels = jax.vmap(lambda x: net(**{**a, "x": x})["best"])(several)
        close(labels, jax.vmap(lambda x: same_in_jax({**a, "x": x})["best"])(several), "float32")


def test_large_arrays_under_jit() -> None:
    """Callbacks whose arguments JAX is still computing when it calls."""
    n = gg.size("n")
    x = gg.input("x", (n,))
    net = wrap(gg.compile({"y": gg.sum(gg.sin(x)), "x2": 2 * x}, wrt=[x], name="large"))
    slope = jax.jit(jax.grad(lambda x: net(x=jnp.sqrt(x))["y"] + net(x=x)["x2"].sum()))
    x0 = jnp.linspace(1.0, 2.0, 1_000_000, dtype="float32")
    close(slope(x0), jnp.cos(jnp.sqrt(x0)) / (2 * jnp.sqrt(x0)) + 2, "float32")


def test_python_numbers_and_lists_are_weaker_than_the_declared_dtype(precision: str) -> None:
    a = given(precision)
    for dtype in ("float32", precision):
        given_so = {**given(dtype), "shift": 1, "label": a["label"].tolist()}
        found = jax.jit(lambda shift: wrap(scores(dtype))(**{**given_so, "shift": shift}))(1.0)  # noqa: B023  # at once
        assert found["u"].dtype == dtype
        close(found["u"], same_in_jax({**given_so})["u"], "float32")


def test_a_network_that_holds_its_gradient_has_second_derivatives_in_jax() -> None:
    with bits(64):
        x = gg.input("x", (3,))
        y = gg.sum(gg.sin(x) * x**2)
        net = wrap(gg.compile({"slope": gg.grad(y, x)}, wrt=[x], dtype="float64", name="slope"))
        at = jnp.array([0.5, -1.0, 2.0])
        rows = jax.jacrev(lambda x: net(x=x)["slope"])(at)
        close(rows, jax.hessian(lambda x: jnp.sum(jnp.sin(x) * x**2))(at), "float64")


# ---------------------------------------------------------------- what is refused


def refused(call: Any, kind: type[GradgenError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("loss_only", [False, True])
def test_a_second_derivative_is_refused(loss_only: bool) -> None:
    with bits(32):
        a, network = given("float32"), scores("float32", loss_only=loss_only)
        net = wrap(network)
        slope = jax.grad(lambda x: net(**{**a, "x": x})["loss"])
        assert refused(lambda: jax.jit(jax.grad(lambda x: slope(x).sum()))(a["x"]), GraphError) == (
            f"JAX cannot differentiate the gradient of {network.interface.name} again. Let the model hold it: "
            "gg.grad(loss, [x]) is a tensor, an output like any other, and has a gradient."
        )


def test_a_gradient_that_the_network_does_not_have_is_refused() -> None:
    with bits(32):
        a, net = given("float32"), wrap(scores("float32"))
        assert refused(lambda: jax.grad(lambda shift: net(**{**a, "shift": shift})["loss"])(0.5), GraphError) == (
            "JAX wants a gradient by shift, and scores was compiled without one. "
            "Use gg.compile(..., wrt=[shift, ...]), or give jax.lax.stop_gradient(shift)."
        )


def test_arguments_are_checked_when_they_are_traced() -> None:
    with bits(32):
        a, net = given("float32"), wrap(scores("float32"))
        call = jax.jit(lambda a: net(**a))
        assert refused(lambda: call({**a, "W": a["W"][:, :2]}), ShapeError) == (
            "W has shape (4, 2); the model declares (4, 3)."
        )
        assert refused(lambda: call({**a, "label": a["x"][:, 0]}), DTypeError) == (
            "label is float32; the model declares int32. Convert it to int32."
        )
        assert refused(lambda: call({**a, "w": 1}), BindingError) == (
            "scores.forward: w unknown. Needed are x, shift, label, W, mu."
        )
        assert refused(lambda: wrap(scores("float64"))(**a), OptionError) == (
            'scores is compiled for float64, and JAX has 32 bits. Call jax.config.update("jax_enable_x64", True), or '
            'use gg.compile(..., dtype="float32").'
        )
        with pytest.raises(Exception, match=r"label holds 4, outside 0\.\.3"):  # JAX has an error of its own for it
            jax.block_until_ready(call({**a, "label": np.array([0, 1, 4, 2, 1])}))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "float16"])
def test_dtypes_pass_of_which_every_value_does(dtype: str) -> None:
    with bits(32):
        a, net = given("float32"), scores("float32")
        x = np.arange(15).reshape(5, 3).astype(dtype)
        expected = net(**{**a, "x": x})["u"]
        for call in (wrap(net), jax.jit(wrap(net))):
            close(call(**{**a, "x": x})["u"], expected, "float32")
            close(call(**{**a, "x": jnp.asarray(x)})["u"], expected, "float32")
        if dtype != "float16":
            close(wrap(net)(**{**a, "label": (a["label"] > 0).astype(dtype)})["u"], wrap(net)(**a)["u"], "float32")


def test_what_depends_on_values_is_refused() -> None:
    """A trace has none: the call and its jitted form take the same."""
    with bits(32):
        a, net = given("float32"), scores("float32")
        x = np.ones((5, 3), np.int32)
        net(**{**a, "x": x})
        for call in (wrap(net), jax.jit(wrap(net))):
            assert refused(lambda call=call: call(**{**a, "x": x}), DTypeError) == (
                "x is int32; the model declares float32. Convert it to float32."
            )


def test_strict_networks_take_their_own_dtypes() -> None:
    with bits(32):
        w = gg.param("w", (3,))
        net = wrap(gg.compile({"y": gg.sin(w)}, name="strict", strict=True))
        assert refused(lambda: net(w=np.ones(3, np.int8)), DTypeError) == (
            "w is int8; the model declares float32. Convert it to float32."
        )
        assert net(w=[1, 2, 3])["y"].dtype == "float32"
