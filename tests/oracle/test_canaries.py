"""Each canary against JAX: value and gradient of everything, and second derivatives of three."""

from functools import cache
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

import gradgen as gg  # noqa: E402  # JAX first: it may be absent
from gradgen.graph.scalar import FLOATS  # noqa: E402
from gradgen.graph.tensor import Tensor, tensor  # noqa: E402
from tests.cpu.models import BY_NAME, DIFFERENT_WIDTHS, EQUAL_WIDTHS, compiled_in, leaves_of  # noqa: E402
from tests.cpu.running import case, unjitted  # noqa: E402
from tests.oracle import canaries_jax  # noqa: E402
from tests.repeats import DTYPES, by_turns, parameter  # noqa: E402

# The greatest distance from JAX in float64, as a fraction of the norm. In float32 the inputs are rounded too.
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
SMALLER = (canaries_jax.deep("deep_equal", EQUAL_WIDTHS, 2), canaries_jax.deep("deep_different", DIFFERENT_WIDTHS, 2))
CANARIES = {canary.name: canary for canary in (*canaries_jax.CANARIES, *SMALLER)}
SECOND_ORDER = ("mlp_naive_ce", "conv_strided", "conv_plain", "layernorm_softmax")


def near(found: Any, wanted: Any, dtype: str, what: str) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    assert found.dtype == dtype, what
    assert np.linalg.norm(np.ravel(found - wanted)) <= TOLERANCE[dtype] * np.linalg.norm(np.ravel(wanted)), what


def cast(inputs: canaries_jax.Inputs, dtype: str) -> canaries_jax.Inputs:
    """The float arrays in a dtype, the integers as they are."""
    return {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in inputs.items()}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [parameter(name, dtype, default=dtype == compiled_in(name)) for name in CANARIES for dtype in DTYPES],
)
def test_value_and_gradient(name: str, dtype: str) -> None:
    canary, net = CANARIES[name], case(name, dtype).net
    inputs = canary.inputs(7)
    value, gradients = canaries_jax.value_and_grad(canary, inputs)
    if dtype == "float32":  # one of the two ways in each
        outputs, found = net.value_and_grad(**cast(inputs, dtype))
    else:
        outputs, saved = net.forward(**cast(inputs, dtype))
        found = net.backward(saved, loss=1.0)
    near(outputs["loss"], value, dtype, "the loss")
    assert found.keys() == gradients.keys()
    for key, gradient in gradients.items():
        near(found[key], gradient, dtype, f"the gradient by {key}")


@cache
def second_order(name: str) -> Any:
    """The loss, its tangent, and the product of its Hessian with the same direction, all in one network."""
    outputs = BY_NAME[name].build()
    wrt = [tensor(x) for x in leaves_of(outputs) if x.dtype in FLOATS]
    directions: list[Tensor] = [gg.input(f"v_{x.name}", x.shape) for x in wrt]
    tangent = gg.jvp(outputs["loss"], wrt, directions)
    products = gg.hvp(outputs["loss"], wrt, directions)
    named = {f"H_{x.name}": product for x, product in zip(wrt, products, strict=True)}
    return gg.compile({"tangent": tangent, **named}, name=f"{name}_second", dtype="float64", wrt=[])


@pytest.mark.parametrize(("name", "way"), by_turns(SECOND_ORDER, ("jitted", "plain")))
def test_tangents_and_hessian_vector_products(name: str, way: str) -> None:
    canary, net = CANARIES[name], second_order(name)
    net = net if way == "jitted" else unjitted(net)
    inputs = canary.inputs(8)
    floats = {key: x for key, x in inputs.items() if x.dtype.kind == "f"}
    rng = np.random.default_rng(9)
    directions = {key: rng.standard_normal(x.shape) for key, x in floats.items()}

    def loss(xs: dict[str, Any]) -> Any:
        return canary.loss({**inputs, **xs})

    @jax.jit
    def derivatives(xs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return jax.jvp(loss, (xs,), (directions,))[1], jax.jvp(jax.grad(loss), (xs,), (directions,))[1]

    tangent, products = derivatives(floats)
    found = net(**inputs, **{f"v_{key}": v for key, v in directions.items()})
    near(found["tangent"], tangent, "float64", "the tangent")
    for key, product in products.items():
        near(found[f"H_{key}"], product, "float64", f"the Hessian's rows of {key}")


def test_every_canary_is_here() -> None:
    assert {canary.name for canary in canaries_jax.CANARIES} == set(CANARIES)
