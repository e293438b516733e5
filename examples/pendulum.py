"""Swing a pendulum up and hold it there: a controller learned through every step of a Runge-Kutta solution.

    python examples/pendulum.py [--steps 500] [--seed 0] [--out build/pendulum]

The motion is theta'' = -sin(theta) - theta' / 10 + u, with theta = 0 hanging and theta = pi upright. The torque u comes
from a network of 3-32-1 that sees cos(theta), sin(theta) and theta'. It is bounded by 0.6: too weak to lift the
pendulum in one go, so it has to swing back first. A step of 0.1 is one of the classical Runge-Kutta method of order
four, written as it stands in a book, and a `gg.scan` makes 80 of them; gradgen differentiates the whole flight.

The loss is the mean of 1 + cos(theta), the height that is missing, and of a price on speed: without it the network
finds that a pendulum that spins is high half of the time, and stays there. In training 64 pendulums start anywhere, in
gusts of wind. In the test 100 others hang and move a bit, and are watched for three times as long as any in training.
The last lines say how many stand at the end, and how far from upright those get in the last third. The picture has the
losses and the angles; the angles are computed once more in a process without gradgen.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import gradgen as gg
from drawing import draw, losses_by
from gradgen import nn
from without_gradgen import call_without_gradgen

HERE = Path(__file__).resolve().parent
LIMIT, STEP = 0.6, 0.1

State = tuple[gg.Tensor, gg.Tensor]  # angles and speeds of N pendulums, (N,) each

control = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 1), nn.Tanh())


def slope(state: State, u: gg.Tensor) -> State:
    """What the angles and the speeds change by in a unit of time."""
    theta, omega = state
    return omega, u - gg.sin(theta) - omega / 10


def moved(state: State, change: State, time: float) -> State:
    """The state after some time, if it changed so all the while."""
    return state[0] + time * change[0], state[1] + time * change[1]


def fly(state: State, wind: gg.Tensor) -> tuple[State, State]:
    """One step of Runge-Kutta, with a torque that is constant for its time; the states in front of it are stacked."""
    theta, omega = state
    seen = gg.stack([gg.cos(theta), gg.sin(theta), omega], axis=1)
    u = LIMIT * control(seen)[:, 0] + wind
    k1 = slope(state, u)
    k2 = slope(moved(state, k1, STEP / 2), u)
    k3 = slope(moved(state, k2, STEP / 2), u)
    k4 = slope(moved(state, k3, STEP), u)
    mean = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return moved(state, mean, STEP), state


T, N = gg.size("T"), gg.size("N")
theta, omega = gg.input("theta", (N,)), gg.input("omega", (N,))
wind = gg.input("wind", (T, N))
lr = gg.input("lr", ())
(last, _), (angles, speeds) = gg.scan(fly, (theta, omega), wind)
loss = gg.mean(1 + gg.cos(angles) + 0.1 * speeds**2)
updates = gg.optim.adam(gg.optim.clip_norm(loss, 1.0), lr=lr)
train = gg.compile({"loss": loss}, updates=updates, name="pendulum_train")
simulate = gg.compile({"angles": angles}, wrt=[], name="pendulum")


def gusts(random: np.random.Generator, steps: int, count: int) -> np.ndarray:
    """Torques that nobody asked for."""
    return random.normal(0.0, 0.05, (steps, count)).astype(np.float32)


def swing(axes: Any, angles: np.ndarray, length: int) -> None:
    """The angles of two dozen pendulums over time."""
    axes.plot(STEP * np.arange(len(angles)), angles[:, :24], linewidth=1, color="tab:blue", alpha=0.6)
    axes.axvspan(0, STEP * length, color="grey", alpha=0.15, linewidth=0, label="as long as flights in training")
    turns = range(round(angles[:, :24].min() / np.pi), round(angles[:, :24].max() / np.pi) + 1)
    axes.set_yticks([turn * np.pi for turn in turns], ["upright" if turn % 2 else "hanging" for turn in turns])
    axes.set(xlabel="time", title="24 other pendulums, in gusts of wind")
    axes.legend(loc="center right")


def main(steps: int, seed: int, length: int, batch: int, out: Path) -> None:
    """Train, then watch others."""
    random = np.random.default_rng(seed)
    state = train.init(seed)
    losses = np.zeros(steps)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=steps)
        for step in range(steps):
            rate = 1e-2 * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            anywhere = random.uniform(-np.pi, np.pi, batch).astype(np.float32)
            speed = random.normal(0.0, 1.0, batch).astype(np.float32)
            wind = gusts(random, length, batch)
            losses[step] = train.step(state, theta=anywhere, omega=speed, wind=wind, lr=rate)["loss"]
            progress.update(task, advance=1, description=f"loss {losses[step]:.4f}")

    weights = {name: state[name] for name in simulate.init()}  # the state also holds Adam's averages
    hanging, slow = random.normal(0.0, 0.3, (2, 100)).astype(np.float32)
    arrays = {"theta": hanging, "omega": slow, "wind": gusts(random, 3 * length, 100), **weights}
    angles = call_without_gradgen(simulate, arrays, out, N=100, T=3 * length)["angles"]
    off = np.abs(np.remainder(angles, 2 * np.pi) - np.pi)  # from upright
    stand = off[-1] < 0.3
    worst = off[-length:, stand].max(initial=0.0)
    title = "A pendulum swung up by a torque too weak to lift it"
    draw(out / "pendulum.png", title, losses_by({"loss": losses}), partial(swing, angles=angles, length=length))
    print(f"loss of the first step {losses[0]:.3f}, of the last {losses[-1]:.3f}")
    print(f"{stand.sum()} of 100 stand; largest angle from upright in the last third: {worst:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--length", type=int, default=80)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "pendulum")
    options = parser.parse_args()
    main(options.steps, options.seed, options.length, options.batch, options.out)
