"""ADBench's objectives in JAX: a mixture of Gaussians, component by component and batched; one reprojection error."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def prior(icf: Any, gamma: Any, m: Any, d: int, k: int) -> Any:
    """The Wishart prior."""
    freedom = d + m + 1
    constant = freedom * d * (jnp.log(gamma) - 0.5 * math.log(2)) - jax.scipy.special.multigammaln(0.5 * freedom, d)
    squares = jnp.sum(jnp.exp(icf[:, :d]) ** 2) + jnp.sum(icf[:, d:] ** 2)
    return 0.5 * gamma**2 * squares - m * jnp.sum(icf[:, :d]) - k * constant


def mixture(alphas: Any, means: Any, icf: Any, x: Any, gamma: Any, m: Any) -> Any:
    """ADBench's objective(alphas, means, icf, x, wishart), one component at a time."""
    (n, d), k = x.shape, len(alphas)
    rows, columns = np.triu_indices(d, 1)  # the lower triangle column by column, transposed
    logs = []
    for c in range(k):
        Q = jnp.zeros((d, d)).at[columns, rows].set(icf[c, d:]) + jnp.diag(jnp.exp(icf[c, :d]))
        logs.append(alphas[c] + jnp.sum(icf[c, :d]) - 0.5 * jnp.sum(((x - means[c]) @ Q.T) ** 2, axis=1))
    fit = jnp.sum(jax.scipy.special.logsumexp(jnp.stack(logs), axis=0)) - n * jax.scipy.special.logsumexp(alphas)
    return fit - 0.5 * n * d * math.log(2 * math.pi) + prior(icf, gamma, m, d, k)


def mixture_batched(alphas: Any, means: Any, icf: Any, x: Any, gamma: Any, m: Any) -> Any:
    """The same for all components at once, as one would write it for speed."""
    (n, d), k = x.shape, len(alphas)
    rows, columns = np.triu_indices(d, 1)
    Q = jnp.zeros((k, d, d)).at[:, columns, rows].set(icf[:, d:]) + jax.vmap(jnp.diag)(jnp.exp(icf[:, :d]))
    Qx = jnp.einsum("kij,knj->kni", Q, x[None] - means[:, None])
    logs = alphas + jnp.sum(icf[:, :d], axis=1) - 0.5 * jnp.sum(Qx**2, axis=2).T
    fit = jnp.sum(jax.scipy.special.logsumexp(logs, axis=1)) - n * jax.scipy.special.logsumexp(alphas)
    return fit - 0.5 * n * d * math.log(2 * math.pi) + prior(icf, gamma, m, d, k)


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
