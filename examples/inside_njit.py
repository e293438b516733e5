"""Call generated functions from your own @njit code: a whole gradient descent in one compiled loop.

    python examples/inside_njit.py [--steps 200]

The model is ridge regression, typed as formulas. `net.module` is the imported generated file; its functions take the
arguments by position or name: inputs, then `p` (parameters), `w` (workspace), `out` and `g` (results) where they apply.
"""

import argparse

import numpy as np
from numba import njit

import gradgen as gg

N, D = gg.size("N"), 8
x = gg.input("x", (N, D))
t = gg.input("t", (N,))
weight = gg.param("weight", (D,))

n, j = gg.indices("n j")
y = gg.compute((n,), gg.sum(x[n, j] * weight[j], over=j))
loss = gg.mean((y - t) ** 2) + 1e-3 * gg.sum(weight * weight)
net = gg.compile({"loss": loss}, name="ridge")

value_and_grad = net.module.value_and_grad


@njit
def descend(x, t, p, w, g, rate, steps):
    """`steps` steps of gradient descent on `p.weight`, in place; the losses before each."""
    losses = np.empty(steps, np.float32)
    for k in range(steps):
        losses[k] = value_and_grad(x=x, t=t, p=p, w=w, g=g)
        for i in range(p.weight.shape[0]):
            p.weight[i] -= rate * g.d_weight[i]
    return losses


def main(steps: int) -> None:
    """Fit weights to made-up data, and compare them with the exact solution."""
    random = np.random.default_rng(0)
    features = random.normal(size=(256, D)).astype(np.float32)
    targets = (features @ np.arange(D)).astype(np.float32)

    module = net.module
    p = module.Params(weight=np.zeros(D, np.float32))
    g = module.Gradients(d_weight=np.empty(D, np.float32))
    losses = descend(features, targets, p, module.workspace(len(features)), g, np.float32(0.1), steps)

    gram = features.T @ features / len(features) + 1e-3 * np.eye(D)
    exact = np.linalg.solve(gram, features.T @ targets / len(features))
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {steps} steps")
    print(f"largest difference from the exact solution: {np.abs(p.weight - exact).max():.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    main(parser.parse_args().steps)
