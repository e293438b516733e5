"""The Gaussian mixture of ADBench: the log-likelihood of points, and a Wishart prior on the inverse covariances.

    python examples/gaussian_mixture.py [--points 1000] [--dimensions 10] [--components 25]

The objective is that of F. Srajer, Z. Kukelova, A. Fitzgibbon, "A benchmark of selected algorithmic differentiation
tools on some problems in computer vision and machine learning" (2018). Component k has the weight softmax(alphas)[k],
the mean means[k], and the inverse covariance Q^T Q, where Q is lower triangular: the logarithms of its diagonal stand
first in icf[k], then what is below it, column by column.
"""

import argparse
import math
import time

import numpy as np

import gradgen as gg


def mixture(dimensions: int, components: int) -> gg.Tensor:
    """The objective for any number N of points; `gamma` and `m` are the parameters of the prior."""
    N, D, K = gg.size("N"), dimensions, components
    x = gg.input("x", (N, D))
    gamma, m = gg.input("gamma", ()), gg.input("m", ())
    alphas, means = gg.param("alphas", (K,)), gg.param("means", (K, D))
    icf = gg.param("icf", (K, D * (D + 1) // 2))

    n, k = gg.indices("n k")
    i, j = gg.index("i", D), gg.index("j", D)
    below = D + j * (D - 1) - j * (j - 1) // 2 + i - j - 1  # where row i of column j stands
    L = gg.compute((k, i, j), gg.where(i > j, icf[k, below], 0))
    log_det = gg.compute((k,), gg.sum(icf[k, i], over=i))

    centred = gg.compute((n, k, i), x[n, i] - means[k, i])
    Qx = gg.compute((n, k, i), gg.exp(icf[k, i]) * centred[n, k, i] + gg.sum(L[k, i, j] * centred[n, k, j], over=j))
    inner = gg.compute((n, k), alphas[k] + log_det[k] - gg.sum(Qx[n, k, i] ** 2, over=i) / 2)
    fit = gg.compute((), gg.sum(gg.log(gg.sum(gg.exp(inner[n, k]), over=k)), over=n))
    fit = fit - N * gg.log(gg.sum(gg.exp(alphas))) - N * (D * math.log(2 * math.pi) / 2)

    freedom = D + m + 1
    log_gamma = D * (D - 1) / 4 * math.log(math.pi) + gg.compute((), gg.sum(gg.lgamma((freedom - i) / 2), over=i))
    constant = freedom * D * (gg.log(gamma) - math.log(2) / 2) - log_gamma
    squares = gg.sum(gg.exp(icf[:, :D]) ** 2) + gg.sum(icf[:, D:] ** 2)
    prior = gamma**2 / 2 * squares - m * gg.sum(log_det) - K * constant
    return fit + prior


def problem(points: int, dimensions: int, components: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random arguments, scaled so that distances do not grow with the dimension."""
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=(points, dimensions)),
        "gamma": np.array(1.0),
        "m": np.array(0.0),
        "alphas": random.normal(size=components),
        "means": random.uniform(size=(components, dimensions)),
        "icf": random.normal(size=(components, dimensions * (dimensions + 1) // 2)) / math.sqrt(dimensions),
    }


def seconds(call, *, times: int = 10) -> float:
    """The least of several runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def main(points: int, dimensions: int, components: int) -> None:
    """The objective, its gradient, the slope along the gradient, and what each takes."""
    net = gg.compile({"objective": mixture(dimensions, components)}, name="gaussian_mixture", dtype="float64")
    given = problem(points, dimensions, components)
    value, gradients = net.value_and_grad(**given)
    squared = sum(float(np.sum(g * g)) for g in gradients.values())
    step = 1e-6 / math.sqrt(squared)
    ahead, behind = (
        net(**{**given, **{name: given[name] + sign * step * g for name, g in gradients.items()}})["objective"]
        for sign in (1, -1)
    )
    print(f"objective {value['objective']:.6f}")
    print(f"norm of the gradient {math.sqrt(squared):.4f}, by differences {(ahead - behind) / 2e-6:.4f}")
    objective, gradient = seconds(lambda: net(**given)), seconds(lambda: net.value_and_grad(**given))
    print(f"objective {1e3 * objective:.2f} ms, with gradient {1e3 * gradient:.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, default=10)
    parser.add_argument("--components", type=int, default=25)
    options = parser.parse_args()
    main(options.points, options.dimensions, options.components)
