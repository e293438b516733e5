"""The formulas of `literature` in JAX, and the arrays that both are evaluated at; loops are Python's."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Arrays by name, those that are differentiated first, and the function."""

    params: Arrays
    inputs: Arrays
    function: Callable[[Arrays], Any]


def _kalman(t: Arrays) -> Any:
    xi, P, total = t["xi"], t["P"], 0.0
    for y in t["y"]:
        error, S = y - t["H"] @ xi, t["H"] @ P @ t["H"] + t["R"]
        total -= 0.5 * (jnp.log(2 * math.pi * S) + error**2 / S)
        K = t["F"] @ P @ t["H"] / S
        xi, P = t["F"] @ xi + K * error, t["F"] @ P @ t["F"].T + t["Q"] - jnp.outer(K, K) * S
    return total


def _stillinger_weber(t: Arrays) -> Any:
    x, n, total = t["x"], len(t["x"]), 0.0
    A, B, a, lam, gamma = 7.049556277, 0.6022245584, 1.80, 21.0, 1.20
    far = np.sqrt(((np.asarray(jax.lax.stop_gradient(x))[:, None] - np.asarray(jax.lax.stop_gradient(x))) ** 2).sum(-1))
    near = [[j for j in range(n) if j != i and far[i, j] < a] for i in range(n)]
    for i in range(n):
        for j in near[i]:
            rij = jnp.linalg.norm(x[j] - x[i])
            if i < j:
                total += A * (B / rij**4 - 1) * jnp.exp(1 / (rij - a))
            for k in near[i]:
                if j < k:
                    rik = jnp.linalg.norm(x[k] - x[i])
                    cosine = jnp.dot(x[j] - x[i], x[k] - x[i]) / (rij * rik)
                    total += lam * jnp.exp(gamma / (rij - a) + gamma / (rik - a)) * (cosine + 1 / 3) ** 2
    return total


def _sir(t: Arrays) -> Any:
    def slope(z: Any) -> Any:
        flow = t["beta"] * z[0] * z[1]
        return jnp.stack([-flow, flow - t["gamma"] * z[1]])

    z, total, h = jnp.stack([t["S0"], t["I0"]]), 0.0, 0.5
    for seen in t["seen"]:
        k1 = slope(z)
        k2 = slope(z + h / 2 * k1)
        k3 = slope(z + h / 2 * k2)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(z + h * k3))
        total += (z[1] - seen) ** 2
    return total


def _black_scholes(t: Arrays) -> Any:
    spread = t["v"] * jnp.sqrt(t["time"])
    d1 = (jnp.log(t["x"] / t["c"]) + t["r"] * t["time"]) / spread + spread / 2
    cdf = jax.scipy.stats.norm.cdf
    return jnp.sum(t["x"] * cdf(d1) - t["c"] * jnp.exp(-t["r"] * t["time"]) * cdf(d1 - spread))


def _mean_field(t: Arrays) -> Any:
    m = t["m0"]
    for _ in range(12):
        m = jnp.tanh(t["beta"] * (t["J"] @ m + t["h"]))
    up, down = (1 + m) / 2, (1 - m) / 2
    entropy = jax.scipy.special.xlogy(up, up) + jax.scipy.special.xlogy(down, down)
    return -0.5 * jnp.einsum("i,ij,j", m, t["J"], m) - jnp.dot(t["h"], m) + jnp.sum(entropy) / t["beta"]


def _cox(t: Arrays) -> Any:
    risk, total = t["z"] @ t["b"], 0.0
    for i in np.flatnonzero(t["died"]):
        total += risk[i] - jax.scipy.special.logsumexp(risk[t["time"] >= t["time"][i]])
    return total


def _hidden_markov(t: Arrays) -> Any:
    alpha = t["pi"] * t["b"][:, t["O"][0]]
    for o in t["O"][1:]:
        alpha = (alpha @ t["a"]) * t["b"][:, o]
    return jnp.log(jnp.sum(alpha))


def _dirichlet_multinomial(t: Arrays) -> Any:
    g, alpha, n = jax.scipy.special.gammaln, t["alpha"], t["n"]
    first = jnp.sum(g(alpha.sum()) - g(n.sum(1) + alpha.sum()))
    return first + jnp.sum(g(n + alpha) - g(alpha))


def _gaussian_process(t: Arrays) -> Any:
    z, y = t["x"] / t["length"], t["y"]
    far = jnp.sum((z[:, None] - z[None]) ** 2, axis=-1)
    K = t["sigma_f"] ** 2 * jnp.exp(-far / 2) + t["sigma_n"] ** 2 * jnp.eye(len(y))
    return -0.5 * y @ jnp.linalg.solve(K, y) - 0.5 * jnp.linalg.slogdet(K)[1] - len(y) / 2 * math.log(2 * math.pi)


def _info_nce(t: Arrays) -> Any:
    return -jnp.mean(jnp.diag(jax.nn.log_softmax(t["c"] @ (t["z"] @ t["W"]).T, axis=1)))


def _soft_dtw(t: Arrays) -> Any:
    x, y, gamma = t["x"], t["y"], t["gamma"]
    r: dict[tuple[int, int], Any] = {(-1, -1): 0.0}
    for i in range(len(x)):
        for j in range(len(y)):
            known = [r[at] for at in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if at in r]
            smallest = -gamma * jax.scipy.special.logsumexp(-jnp.stack([jnp.asarray(v) for v in known]) / gamma)
            r[i, j] = jnp.sum((x[i] - y[j]) ** 2) + smallest
    return r[len(x) - 1, len(y) - 1]


def _lattice_boltzmann(t: Arrays) -> Any:
    e, w, f, omega = t["e"], t["w"], t["f"], t["omega"]
    for _ in range(4):
        rho = f.sum(0)
        u = jnp.einsum("qc,qxy->cxy", e, f) / rho
        eu = jnp.einsum("qc,cxy->qxy", e, u)
        rest = w[:, None, None] * rho * (1 + 3 * eu + 4.5 * eu**2 - 1.5 * (u**2).sum(0))
        after = f + omega * (rest - f)
        f = jnp.stack([jnp.roll(after[q], (int(e[q, 0]), int(e[q, 1])), axis=(0, 1)) for q in range(len(e))])
    rho = f.sum(0)
    u = jnp.einsum("qc,qxy->cxy", e, f) / rho
    return jnp.sum(rho * u**2 * t["seen"])


def cases() -> dict[str, Case]:
    """Every formula with arrays of a fixed seed."""
    rng = np.random.default_rng(5)
    normal, uniform = rng.standard_normal, rng.uniform
    lattice = np.array([[a, b, c] for a in range(2) for b in range(2) for c in range(2)], float) * 1.25
    J = normal((6, 6)) * 0.2
    velocities = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [1, 1], [-1, 1], [-1, -1], [1, -1]])
    weights = np.array([4 / 9, *[1 / 9] * 4, *[1 / 36] * 4])
    rows = {
        "kalman": (
            {"F": np.array([[1.0, 0.9], [0.0, 0.8]]), "H": np.array([1.0, 0.2]), "Q": np.diag([0.3, 0.2]),
             "R": np.array(0.5), "xi": normal(2), "P": np.array([[1.0, 0.1], [0.1, 2.0]])},
            {"y": normal(15)}, _kalman,
        ),
        "stillinger_weber": ({"x": lattice + 0.1 * normal(lattice.shape)}, {}, _stillinger_weber),
        "sir": (
            {"beta": np.array(1.1), "gamma": np.array(0.3), "S0": np.array(0.95), "I0": np.array(0.05)},
            {"seen": uniform(0, 0.3, 12)}, _sir,
        ),
        "black_scholes": (
            {"x": uniform(80, 120, 7), "r": uniform(0.01, 0.05, 7), "v": uniform(0.1, 0.4, 7),
             "time": uniform(0.2, 2, 7)},
            {"c": uniform(80, 120, 7)}, _black_scholes,
        ),
        "mean_field": (
            {"J": J + J.T, "h": normal(6), "beta": np.array(0.7)}, {"m0": uniform(-0.5, 0.5, 6)}, _mean_field,
        ),
        "cox": (
            {"b": normal(3)},
            {"z": normal((11, 3)), "time": uniform(0, 5, 11), "died": rng.integers(0, 2, 11).astype(bool)}, _cox,
        ),
        "hidden_markov": (
            {"a": rng.dirichlet(np.ones(4), 4), "b": rng.dirichlet(np.ones(5), 4), "pi": rng.dirichlet(np.ones(4))},
            {"O": rng.integers(0, 5, 13)}, _hidden_markov,
        ),
        "dirichlet_multinomial": (
            {"alpha": uniform(0.3, 3, 4)}, {"n": rng.integers(0, 9, (6, 4))}, _dirichlet_multinomial,
        ),
        "gaussian_process": (
            {"length": uniform(0.5, 2, 2), "sigma_f": np.array(1.3), "sigma_n": np.array(0.4), "x": normal((9, 2))},
            {"y": normal(9)}, _gaussian_process,
        ),
        "info_nce": ({"z": normal((5, 3)), "W": normal((3, 4)), "c": normal((5, 4))}, {}, _info_nce),
        "soft_dtw": ({"x": normal((5, 2)), "y": normal((7, 2))}, {"gamma": np.array(0.8)}, _soft_dtw),
        "lattice_boltzmann": (
            {"f": weights[:, None, None] * uniform(0.8, 1.2, (9, 4, 5)), "omega": np.array(1.2)},
            {"e": velocities, "w": weights, "seen": normal((4, 5))}, _lattice_boltzmann,
        ),
    }  # fmt: skip
    return {name: Case(*row) for name, row in rows.items()}
