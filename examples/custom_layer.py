"""A layer that no framework has, by its formula: it learns the lengths of roads from the times of arrivals.

    python examples/custom_layer.py [--towns 8] [--steps 600] [--seed 0] [--out build/custom_layer]

In the tropical algebra a sum is a minimum and a product is a sum, so a linear layer is y_i = min_j (W_ij + x_j): who
leaves town j at x_j is in town i at y_i. Its smooth form is y_i = -t log sum_j exp(-(W_ij + x_j) / t), which is the
minimum for a small temperature t. `forward` below is that formula as it stands; gradgen keeps the exponentials from
vanishing, and derives the rest. Adam finds W from departures and arrivals, while t falls from 1 to 0.01.

The lines are the check of the gradient, the kernels that the layer became, how far its values are from those of a
process without gradgen, the loss, and the worst error of a road.
"""

import argparse
import re
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


class Tropical(nn.Module):
    """From (N, inputs) to (N, outputs): the smooth minimum of x_j + W_ij over j."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.W = nn.Parameter((outputs, inputs), init=nn.init.constant(0.5))

    def forward(self, x: gg.Tensor, t: gg.Tensor) -> gg.Tensor:
        n, i, j = gg.indices("n i j")
        return gg.compute((n, i), -t * gg.log(gg.sum(gg.exp(-(self.W[i, j] + x[n, j]) / t), over=j)))


def kernels(net: gg.Network) -> str:
    """The loops of a generated file: forward, then adjoint."""
    return "".join(re.findall(r"^def compute_.*?\n\n(?=\n@njit)", net.source, re.DOTALL | re.MULTILINE))


def roads_found(axes: Any, lengths: np.ndarray, found: np.ndarray) -> None:
    """The lengths found over the true ones."""
    axes.plot([0, 1], [0, 1], linewidth=1, color="grey", label="equal")
    axes.plot(lengths.ravel(), found.ravel(), ".", label="a road")
    axes.set(xlabel="true length", ylabel="length found", title=f"{lengths.size} roads", aspect="equal")
    axes.legend()


def main(towns: int, steps: int, seed: int, out: Path) -> None:
    """Show the layer, then train it."""
    N = gg.size("N")
    leaving, arriving = gg.input("leaving", (N, towns)), gg.input("arriving", (N, towns))
    t, lr = gg.input("t", ()), gg.input("lr", ())
    roads = Tropical(towns, towns)
    y = roads(leaving, t)
    loss = gg.mean((y - arriving) ** 2)
    layer = gg.compile({"y": y}, name="tropical")
    train = gg.compile({"loss": loss}, updates=gg.optim.adam(loss, lr=lr), name="roads")

    random = np.random.default_rng(seed)
    lengths = random.uniform(0, 1, (towns, towns)).astype(np.float32)  # of the roads, from column to row
    times = random.uniform(0, 6, (steps, 64, towns)).astype(np.float32)
    arrivals = (lengths + times[:, :, None, :]).min(axis=3)
    print(
        gg.check_grad(loss, {"leaving": times[0, :2], "arriving": arrivals[0, :2], "t": 0.1, "roads_W": lengths}),
        end="\n\n",
    )
    print(kernels(layer))

    state = train.init(seed)
    losses = np.zeros(steps)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=steps)
        for step in range(steps):
            done = step / steps
            result = train.step(state, leaving=times[step], arriving=arrivals[step], t=0.01**done, lr=0.05 * (1 - done))
            losses[step] = result["loss"]
            progress.update(task, advance=1, description=f"loss {losses[step]:.5f}")

    found = state["roads_W"]
    call_without_gradgen(layer, {"leaving": times[0], "t": np.float32(0.01), "roads_W": found}, out, N=len(times[0]))
    title = "Lengths of roads, learned from departures and arrivals by a tropical layer"
    draw(out / "roads.png", title, losses_by({"loss": losses}), partial(roads_found, lengths=lengths, found=found))
    error = np.abs(found - lengths)
    print(f"loss of the first step {losses[0]:.4f}, of the last {losses[-1]:.7f}")
    print(f"error of a length: mean {error.mean():.4f}, largest {error.max():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towns", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "custom_layer")
    options = parser.parse_args()
    main(options.towns, options.steps, options.seed, options.out)
