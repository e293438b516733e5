"""The two models of ADBench among the examples, against JAX: mixtures of Gaussians and bundle adjustment."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOLERANCE = 1e-10


def example(name: str) -> ModuleType:
    """An example as a module; nothing runs but its declarations."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def near(found: Any, wanted: Any) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def mixture(alphas: Any, means: Any, icf: Any, x: Any, gamma: Any, m: Any) -> Any:
    """ADBench's objective(alphas, means, icf, x, wishart), one component at a time."""
    (n, d), k = x.shape, len(alphas)
    rows, columns = np.triu_indices(d, 1)  # the lower triangle column by column, transposed
    logs = []
    for c in range(k):
        Q = jnp.zeros((d, d)).at[columns, rows].set(icf[c, d:]) + jnp.diag(jnp.exp(icf[c, :d]))
        logs.append(alphas[c] + jnp.sum(icf[c, :d]) - 0.5 * jnp.sum(((x - means[c]) @ Q.T) ** 2, axis=1))
    fit = jnp.sum(jax.scipy.special.logsumexp(jnp.stack(logs), axis=0)) - n * jax.scipy.special.logsumexp(alphas)
    freedom = d + m + 1
    constant = freedom * d * (jnp.log(gamma) - 0.5 * math.log(2)) - jax.scipy.special.multigammaln(0.5 * freedom, d)
    squares = jnp.sum(jnp.exp(icf[:, :d]) ** 2) + jnp.sum(icf[:, d:] ** 2)
    prior = 0.5 * gamma**2 * squares - m * jnp.sum(icf[:, :d]) - k * constant
    return fit - 0.5 * n * d * math.log(2 * math.pi) + prior


@pytest.mark.parametrize(("points", "dimensions", "components"), [(30, 3, 4), (130, 20, 5)])
def test_gaussian_mixture(points: int, dimensions: int, components: int) -> None:
    module = example("gaussian_mixture")
    given = module.problem(points, dimensions, components)
    given |= {"gamma": np.array(1.3), "m": np.array(2.0)}
    outputs, gradients = module.mixture(dimensions, components).value_and_grad(**given)
    names = ("alphas", "means", "icf")
    rest = [given[name] for name in ("x", "gamma", "m")]
    value, wanted = jax.value_and_grad(lambda t: mixture(*t, *rest))([given[name] for name in names])
    near(outputs["objective"], value)
    for name, gradient in zip(names, wanted, strict=True):
        near(gradients[name], gradient)


def residual(camera: Any, point: Any, w: Any, seen: Any) -> Any:
    """ADBench's reprojection error of one observation."""
    rotation, centre, focal, principal, radial = camera[:3], camera[3:6], camera[6], camera[7:9], camera[9:11]
    x = point - centre
    square = jnp.sum(rotation**2)
    angle = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    axis = rotation / angle
    turned = x * jnp.cos(angle) + jnp.cross(axis, x) * jnp.sin(angle) + axis * jnp.dot(axis, x) * (1 - jnp.cos(angle))
    y = jnp.where(square > 0, turned, x + jnp.cross(rotation, x))
    flat = y[:2] / y[2]
    r = jnp.sum(flat**2)
    return w * (flat * (1 + radial[0] * r + radial[1] * r**2) * focal + principal - seen)


def test_bundle_adjustment() -> None:
    module = example("bundle_adjustment")
    given = module.problem(60)
    arguments = (given["cameras"][given["pick"][:, 0]], given["points"][given["pick"][:, 1]], given["w"], given["seen"])
    found = module.bundle()(**given)
    near(found["errors"], jax.vmap(residual)(*arguments))
    camera, point, weight = jax.vmap(jax.jacobian(residual, argnums=(0, 1, 2)))(*arguments)
    blocks = jnp.concatenate([camera, point, weight[:, :, None]], axis=2)
    assert given["cameras"][given["pick"][0, 0], :3].tolist() == [0, 0, 0]
    for row, wanted in zip(found["jacobian"], blocks, strict=True):
        near(row, wanted)
