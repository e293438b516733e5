"""What a pendulum is like, from noisy observations of its angle: least squares through every step of its motion.

    python examples/least_squares.py [--observations 120] [--noise 0.05] [--seed 0] [--out build/least_squares]

The motion is theta'' = -stiffness sin(theta) - damping theta'. A step of 0.1 is one of the classical Runge-Kutta
method, a `gg.scan` makes as many as there are observations, and the errors are what the angles differ by from those
that were seen. Four numbers are unknown: stiffness, damping, and the angle and the speed at the start.

SciPy's `least_squares` asks for the errors and for their Jacobian, a row for every observation. `gradgen.interop.scipy`
has both as functions of one vector: the Jacobian goes forward through the loop, with four directions at once, because
four is fewer than the observations. The lines say what was found, beside what is true and how far off it may well be.
The picture has the observations and both motions.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

import gradgen as gg
from gradgen.interop.scipy import residuals

HERE = Path(__file__).resolve().parent
STEP = 0.1
TRUE = {"stiffness": 1.8, "damping": 0.15, "angle": 2.0, "speed": -0.5}
GUESS = {"stiffness": 1.0, "damping": 0.0, "angle": 1.5, "speed": 0.0}

State = tuple[gg.Tensor, gg.Tensor]  # angle and speed

stiffness, damping = gg.param("stiffness", ()), gg.param("damping", ())
angle, speed = gg.param("angle", ()), gg.param("speed", ())


def slope(state: State) -> State:
    """What the angle and the speed change by in a unit of time."""
    theta, omega = state
    return omega, -stiffness * gg.sin(theta) - damping * omega


def moved(state: State, change: State, time: float) -> State:
    """The state after some time, if it changed so all the while."""
    return state[0] + time * change[0], state[1] + time * change[1]


def swing(state: State, _: None) -> tuple[State, gg.Tensor]:
    """One step of Runge-Kutta, and the angle in front of it."""
    k1 = slope(state)
    k2 = slope(moved(state, k1, STEP / 2))
    k3 = slope(moved(state, k2, STEP / 2))
    k4 = slope(moved(state, k3, STEP))
    mean = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return moved(state, mean, STEP), state[0]


T = gg.size("T")
seen = gg.input("seen", (T,))
_, angles = gg.scan(swing, (angle, speed), length=T)
net = gg.compile({"errors": angles - seen, "angles": angles}, dtype="float64", name="swing")


def picture(observed: np.ndarray, motions: dict[str, np.ndarray], path: Path) -> None:
    """The angles over time."""
    import matplotlib.pyplot as plt

    time = STEP * np.arange(len(observed))
    figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
    axes.plot(time, observed, ".", color="gray", label="observed")
    for name, theta in motions.items():
        axes.plot(time, theta, linewidth=1, label=name)
    axes.set(xlabel="time", ylabel="angle")
    axes.legend()
    figure.savefig(path, dpi=150)


def main(observations: int, noise: float, seed: int, out: Path) -> None:
    """Observe, fit, compare."""
    exact = net(seen=np.zeros(observations), **TRUE)["angles"]
    observed = exact + np.random.default_rng(seed).normal(0.0, noise, observations)

    errors = residuals(net, "errors", {"seen": observed, **GUESS})
    found = least_squares(errors, errors.start, jac=errors.jacobian, method="lm")
    params = errors.arrays(found.x)

    spread = np.sqrt(2 * found.cost / (observations - len(found.x)))
    off = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac))) * spread
    print(f"{found.nfev} motions and {found.njev} Jacobians of shape {found.jac.shape}; noise {spread:.4f}")
    for (name, value), error in zip(params.items(), off, strict=True):
        print(f"{name:9}  found {value:7.4f} +- {error:.4f}, true {TRUE[name]:7.4f}")
    if importlib.util.find_spec("matplotlib") is not None:
        out.mkdir(parents=True, exist_ok=True)
        fitted = net(seen=observed, **params)["angles"]
        picture(observed, {"true": exact, "fitted": fitted}, out / "least_squares.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=120)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "least_squares")
    options = parser.parse_args()
    main(options.observations, options.noise, options.seed, options.out)
