"""The two models of ADBench among the examples, against JAX: mixtures of Gaussians and bundle adjustment."""

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

import gradgen as gg  # noqa: E402  # JAX first: it may be absent
from tests.oracle.adbench_example import example  # noqa: E402
from tests.oracle.adbench_jax import mixture, mixture_batched, residual  # noqa: E402
from tests.repeats import parameter  # noqa: E402

TOLERANCE = 1e-10


def near(found: Any, wanted: Any) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("points", "dimensions", "components"), [parameter(30, 3, 4), parameter(70, 8, 5, default=False)]
)
def test_gaussian_mixture(points: int, dimensions: int, components: int) -> None:
    module = example("gaussian_mixture")
    given = module.problem(points, dimensions, components)
    given |= {"gamma": np.array(1.3), "m": np.array(2.0)}
    objective = module.mixture(dimensions, components)
    net = gg.compile({"objective": objective}, name="gaussian_mixture", dtype="float64")  # as the example compiles it
    outputs, gradients = net.value_and_grad(**given)
    names = ("alphas", "means", "icf")
    rest = [given[name] for name in ("x", "gamma", "m")]
    value, wanted = jax.value_and_grad(lambda t: mixture(*t, *rest))([given[name] for name in names])
    near(outputs["objective"], value)
    near(outputs["objective"], mixture_batched(*[given[name] for name in names], *rest))
    for name, gradient in zip(names, wanted, strict=True):
        near(gradients[name], gradient)


def test_bundle_adjustment() -> None:
    module = example("bundle_adjustment")
    given = module.problem(60)
    arguments = (given["cameras"][given["pick"][:, 0]], given["points"][given["pick"][:, 1]], given["w"], given["seen"])
    found = module.bundle()(**given)
    near(found["errors"], jax.vmap(residual)(*arguments))
    camera, point, weight = jax.vmap(jax.jacobian(residual, argnums=(0, 1, 2)))(*arguments)
    blocks = np.concatenate([camera, point, weight[:, :, None]], axis=2)
    assert given["cameras"][given["pick"][0, 0], :3].tolist() == [0, 0, 0]
    for row, wanted in zip(found["jacobian"], blocks, strict=True):
        near(row, wanted)
