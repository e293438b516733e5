"""Twelve formulas from twelve papers or textbooks of different fields, typed as they are printed there.

Each is a function of tensors by name; `literature_jax` has the same functions in JAX, and the arrays.
"""

import math
from collections.abc import Mapping
from typing import Any

import gradgen as gg

T = Mapping[str, Any]


def kalman(t: T) -> Any:
    """J. D. Hamilton, Time Series Analysis (1994), 13.4: the log-likelihood of a state-space model, one series."""
    F, H, Q, R = t["F"], t["H"], t["Q"], t["R"]

    def step(carry: Any, y: Any) -> Any:
        xi, P = carry
        error = y - H @ xi
        S = H @ P @ H + R
        K = F @ P @ H / S
        return (F @ xi + K * error, F @ P @ F.T + Q - gg.outer(K, K) * S), -(gg.log(2 * math.pi * S) + error**2 / S) / 2

    _, terms = gg.scan(step, (t["xi"], t["P"]), t["y"])
    return gg.sum(terms)


def stillinger_weber(t: T) -> Any:
    """F. H. Stillinger, T. A. Weber, Physical Review B 31 (1985) 5262: the energy of silicon, reduced units."""
    A, B, p, a, lam, gamma = 7.049556277, 0.6022245584, 4, 1.80, 21.0, 1.20
    x = t["x"]
    i, j, k, c = gg.indices("i j k c")
    d = gg.compute((i, j, c), x[j, c] - x[i, c])
    r = gg.compute((i, j), gg.sqrt(gg.sum(d[i, j, c] ** 2, over=c)))
    pair = gg.where((i < j) & (r[i, j] < a), A * (B * r[i, j] ** -p - 1) * gg.exp(1 / (r[i, j] - a)), 0)
    cosine = gg.sum(d[i, j, c] * d[i, k, c], over=c) / (r[i, j] * r[i, k])
    near = (j < k) & (i != j) & (i != k) & (r[i, j] < a) & (r[i, k] < a)
    angle = lam * gg.exp(gamma / (r[i, j] - a) + gamma / (r[i, k] - a)) * (cosine + 1 / 3) ** 2
    return gg.compute((), gg.sum(pair, over=(i, j)) + gg.sum(gg.where(near, angle, 0), over=(i, j, k)))


def sir(t: T) -> Any:
    """W. O. Kermack, A. G. McKendrick, Proceedings of the Royal Society A 115 (1927) 700; by Kutta's method (1901)."""
    beta, gamma, h = t["beta"], t["gamma"], 0.5

    def slope(S: Any, I: Any) -> Any:  # noqa: E741  # the letters of the paper
        return -beta * S * I, beta * S * I - gamma * I

    def step(carry: Any, seen: Any) -> Any:
        S, I = carry  # noqa: E741
        a1, b1 = slope(S, I)
        a2, b2 = slope(S + h / 2 * a1, I + h / 2 * b1)
        a3, b3 = slope(S + h / 2 * a2, I + h / 2 * b2)
        a4, b4 = slope(S + h * a3, I + h * b3)
        S, I = S + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4), I + h / 6 * (b1 + 2 * b2 + 2 * b3 + b4)  # noqa: E741
        return (S, I), (I - seen) ** 2

    _, errors = gg.scan(step, (t["S0"], t["I0"]), t["seen"])
    return gg.sum(errors)


def black_scholes(t: T) -> Any:
    """F. Black, M. Scholes, Journal of Political Economy 81 (1973) 637, equation 13: the value of a call."""
    x, c, r, v, time = t["x"], t["c"], t["r"], t["v"], t["time"]

    def N(d: Any) -> Any:
        return (1 + gg.erf(d / math.sqrt(2))) / 2

    d1 = (gg.log(x / c) + (r + v**2 / 2) * time) / (v * gg.sqrt(time))
    d2 = (gg.log(x / c) + (r - v**2 / 2) * time) / (v * gg.sqrt(time))
    return gg.sum(x * N(d1) - c * gg.exp(-r * time) * N(d2))


def mean_field(t: T) -> Any:
    """G. Parisi, Statistical Field Theory (1988), chapter 3: the free energy of Ising spins at the mean field."""
    J, h, beta = t["J"], t["h"], t["beta"]
    m, _ = gg.scan(lambda m, _: (gg.tanh(beta * (J @ m + h)), None), t["m0"], length=12)
    entropy = (1 + m) / 2 * gg.log((1 + m) / 2) + (1 - m) / 2 * gg.log((1 - m) / 2)
    return -m @ J @ m / 2 - h @ m + gg.sum(entropy) / beta


def cox(t: T) -> Any:
    """D. R. Cox, Journal of the Royal Statistical Society B 34 (1972) 187, equation 12: partial likelihood."""
    z, b, time, died = t["z"], t["b"], t["time"], t["died"]
    i, j, f, g = gg.indices("i j f g")
    at_risk = gg.sum(gg.where(time[j] >= time[i], gg.exp(gg.sum(b[g] * z[j, g], over=g)), 0), over=j)
    return gg.compute((), gg.sum(gg.where(died[i], gg.sum(b[f] * z[i, f], over=f) - gg.log(at_risk), 0), over=i))


def hidden_markov(t: T) -> Any:
    """L. R. Rabiner, Proceedings of the IEEE 77 (1989) 257, equations 19 to 21: the forward procedure."""
    a, b, pi, O = t["a"], t["b"], t["pi"], t["O"]  # noqa: E741
    i, j = gg.indices("i j")

    def step(alpha: Any, o: Any) -> Any:
        return gg.compute((j,), gg.sum(alpha[i] * a[i, j], over=i) * b[j, o]), None

    alpha, _ = gg.scan(step, gg.compute((j,), pi[j] * b[j, O[0]]), O[1:])
    return gg.log(gg.sum(alpha))


def dirichlet_multinomial(t: T) -> Any:
    """T. P. Minka, Estimating a Dirichlet distribution (2000), equation 3: the log-likelihood of counts."""
    alpha, n = t["alpha"], t["n"]
    i, k = gg.indices("i k")
    total = gg.sum(alpha)
    counts = gg.compute((i,), gg.sum(n[i, k], over=k))
    draws = gg.compute((), gg.sum(gg.lgamma(n[i, k] + alpha[k]) - gg.lgamma(alpha[k]), over=(i, k)))
    return gg.compute((), gg.sum(gg.lgamma(total) - gg.lgamma(counts[i] + total), over=i)) + draws


def gaussian_process(t: T) -> Any:
    """C. E. Rasmussen, C. K. I. Williams, Gaussian Processes (2006), algorithm 2.1 and equation 5.1, by Cholesky."""
    x, y, length, sigma_f, sigma_n = t["x"], t["y"], t["length"], t["sigma_f"], t["sigma_n"]
    p, q, d = gg.indices("p q d")
    far = gg.sum((x[p, d] - x[q, d]) ** 2 / length[d] ** 2, over=d)
    K = gg.compute((p, q), sigma_f**2 * gg.exp(-far / 2) + gg.where(p == q, sigma_n**2, 0))
    n = x.shape[0]

    def column(L: Any, j: Any) -> Any:
        k = gg.index("k")
        rest = gg.compute((p,), K[p, j] - gg.sum(L[p, k] * L[j, k], over=k))
        new = gg.compute((p,), gg.where(p >= j, rest[p] / gg.sqrt(rest[j]), 0))
        return gg.compute((p, q), gg.where(q == j, new[p], L[p, q])), None

    L, _ = gg.scan(column, gg.zeros((n, n), "float64"), gg.arange(n))

    def solve(m: Any, i: Any) -> Any:
        k = gg.index("k")
        value = (y[i] - gg.compute((), gg.sum(L[i, k] * m[k], over=k))) / L[i, i]
        return gg.compute((p,), gg.where(p == i, value, m[p])), None

    m, _ = gg.scan(solve, gg.zeros((n,), "float64"), gg.arange(n))
    return -gg.sum(m**2) / 2 - gg.compute((), gg.sum(gg.log(L[p, p]), over=p)) - n / 2 * math.log(2 * math.pi)


def info_nce(t: T) -> Any:
    """A. van den Oord, Y. Li, O. Vinyals, Contrastive Predictive Coding (2018), equations 3 and 4."""
    z, W, c = t["z"], t["W"], t["c"]
    i, j, e, g = gg.indices("i j e g")
    f = gg.compute((i, j), gg.exp(gg.sum(z[j, e] * W[e, g] * c[i, g], over=(e, g))))
    return gg.compute((), -gg.mean(gg.log(f[i, i] / gg.sum(f[i, j], over=j)), over=i))


def soft_dtw(t: T) -> Any:
    """M. Cuturi, M. Blondel, Soft-DTW: a Differentiable Loss Function for Time-Series (2017), algorithm 1."""
    x, y, gamma = t["x"], t["y"], t["gamma"]
    i, j, c = gg.indices("i j c")
    delta = gg.compute((i, j), gg.sum((x[i, c] - y[j, c]) ** 2, over=c))
    m = y.shape[0]

    def softmin(*a: Any) -> Any:
        return -gamma * gg.log(sum(gg.exp(-value / gamma) for value in a))

    def row(above: Any, costs: Any) -> Any:  # above[0] is r[i - 1, 0], above[j + 1] is r[i - 1, j + 1]
        def cell(left: Any, xs: Any) -> Any:
            cost, diagonal, up = xs
            r = cost + softmin(diagonal, up, left)
            return r, r

        _, cells = gg.scan(cell, gg.full((), math.inf, "float64"), (costs, above[:-1], above[1:]))
        return gg.concatenate([gg.full((1,), math.inf, "float64"), cells]), None

    k = gg.index("k", m + 1)
    first = gg.compute((k,), gg.float64(gg.where(k == 0, 0.0, math.inf)))
    last, _ = gg.scan(row, first, delta)
    return last[m]


def lattice_boltzmann(t: T) -> Any:
    """Y. H. Qian, D. d'Humières, P. Lallemand, Europhysics Letters 17 (1992) 479: nine velocities, one relaxation."""
    omega, e, w = t["omega"], t["e"], t["w"]
    q, r, x, y, c, d = gg.indices("q r x y c d")
    rows, columns = t["f"].shape[1:]
    x, y = gg.index("x", rows), gg.index("y", columns)

    def moments(f: Any) -> Any:
        rho = gg.compute((x, y), gg.sum(f[r, x, y], over=r))
        u = gg.compute((c, x, y), gg.sum(e[r, c] * f[r, x, y], over=r) / rho[x, y])
        return rho, u

    def step(f: Any, _: Any) -> Any:
        rho, u = moments(f)
        eu = gg.compute((q, x, y), gg.sum(e[q, c] * u[c, x, y], over=c))
        uu = gg.compute((x, y), gg.sum(u[d, x, y] ** 2, over=d))
        at_rest = w[q] * rho[x, y] * (1 + 3 * eu[q, x, y] + 4.5 * eu[q, x, y] ** 2 - 1.5 * uu[x, y])
        after = gg.compute((q, x, y), (1 - omega) * f[q, x, y] + omega * at_rest)
        return gg.compute((q, x, y), after[q, (x - e[q, 0]) % rows, (y - e[q, 1]) % columns]), None

    f, _ = gg.scan(step, t["f"], length=4)
    rho, u = moments(f)
    return gg.compute((), gg.sum(rho[x, y] * u[c, x, y] ** 2 * t["seen"][x, y], over=(c, x, y)))


FORMULAS = (
    kalman, stillinger_weber, sir, black_scholes, mean_field, cox, hidden_markov, dirichlet_multinomial,
    gaussian_process, info_nce, soft_dtw, lattice_boltzmann,
)  # fmt: skip
