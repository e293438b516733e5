"""Solve a differential equation with a small network, whose second derivative is a formula like any other.

    python examples/differential_equation.py [--points 64] [--hidden 16] [--seed 0] [--out build/differential_equation]

The equation is u'' = -pi^2 sin(pi x) for 0 < x < 1 with u(0) = u(1) = 0, solved by u = sin(pi x). The network N has
one number in and one out; u = x (1 - x) N(x) is 0 at both ends whatever N is. The loss is the mean square of
u'' + pi^2 sin(pi x) over some points: it holds a second derivative by x, and its gradient by the parameters is a third
one. SciPy's L-BFGS minimises it, as in `lbfgs.py`.

The last line is the largest error of u and of u' on points that training has not seen, where a process without gradgen
computes them too. The picture has both, their errors, and the losses.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from scipy.optimize import minimize

import gradgen as gg
from drawing import draw, losses_by
from gradgen import nn
from without_gradgen import call_without_gradgen

HERE = Path(__file__).resolve().parent


def networks(hidden: int) -> tuple[gg.Network, gg.Network]:
    """The loss, and the solution with its slope."""
    net = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def u(x: gg.Tensor) -> gg.Tensor:  # of one point
        return x * (1 - x) * net(x.reshape(1))[0]

    def slope(x: gg.Tensor) -> gg.Tensor:
        return gg.grad(u(x), x)

    def bend(x: gg.Tensor) -> gg.Tensor:
        return gg.grad(slope(x), x)

    x = gg.input("x", (gg.size("N"),))
    wrong = gg.vmap(bend)(x) + np.pi**2 * gg.sin(np.pi * x)
    equation = gg.compile({"loss": gg.mean(wrong**2)}, name="equation", dtype="float64")
    found = {"u": gg.vmap(u)(x), "slope": gg.vmap(slope)(x)}
    return equation, gg.compile(found, name="solution", dtype="float64", wrt=[])


def solved(axes: Any, x: np.ndarray, found: dict[str, np.ndarray], true: dict[str, np.ndarray]) -> None:
    """u and u' over the truth."""
    for name, label in (("u", "u"), ("slope", "u'")):
        axes.plot(x, true[name], linewidth=5, alpha=0.3, color="grey", label="exact" if name == "u" else None)
        axes.plot(x, found[name], linewidth=1, label=f"{label} of the network")
    axes.set(xlabel="x", title="u = x (1 - x) N(x) beside sin(πx)")
    axes.legend()


def missed(axes: Any, x: np.ndarray, errors: dict[str, np.ndarray]) -> None:
    """How far u and u' are from the truth."""
    for name, label in (("u", "u"), ("slope", "u'")):
        axes.semilogy(x[1:-1], errors[name][1:-1], linewidth=1, label=f"error of {label}")
    axes.set(xlabel="x", title="Errors at points that training has not seen")
    axes.legend(frameon=True)


def main(points: int, hidden: int, iterations: int, seed: int, out: Path) -> None:
    """Minimise, and compare with the solution."""
    equation, solution = networks(hidden)
    vector, params = equation.flatten(equation.init(seed))
    inside = np.linspace(0.0, 1.0, points)
    losses: list[float] = []
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        task = progress.add_task("minimising")

        def value_and_grad(z: np.ndarray) -> tuple[float, np.ndarray]:
            vector[:] = z
            outputs, gradients = equation.value_and_grad(x=inside, **params)
            losses.append(float(outputs["loss"]))
            progress.update(task, description=f"evaluation {len(losses)}, loss {losses[-1]:.2e}")
            return outputs["loss"], equation.flatten(gradients)[0]

        vector[:] = minimize(
            value_and_grad,
            vector.copy(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxcor": 50, "ftol": 1e-12, "gtol": 1e-9},
        ).x

    x = np.linspace(0.0, 1.0, 1001)
    found = call_without_gradgen(solution, {"x": x, **params}, out, N=len(x))
    true = {"u": np.sin(np.pi * x), "slope": np.pi * np.cos(np.pi * x)}
    errors = {name: np.abs(found[name] - true[name]) for name in true}
    draw(
        out / "solution.png",
        "u'' = -π² sin(πx), solved by a small network",
        losses_by({"mean square of what is wrong": np.array(losses)}, step="evaluation", noisy=False),
        partial(solved, x=x, found=found, true=true),
        partial(missed, x=x, errors=errors),
    )
    print(f"loss {losses[0]:.3f} -> {min(losses):.1e} in {len(losses)} evaluations")
    print(f"largest error of u {errors['u'].max():.1e}, of its slope {errors['slope'].max():.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "differential_equation")
    options = parser.parse_args()
    main(options.points, options.hidden, options.iterations, options.seed, options.out)
