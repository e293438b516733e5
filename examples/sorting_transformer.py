"""Train a small transformer that sorts digits, save what was generated, and use it where gradgen is not.

    python examples/sorting_transformer.py [--steps 400] [--digits 8] [--seed 0] [--out build/sorting]

Rows of eight digits go in; the network says, for every place, which digit stands there once the row is sorted. Every
place attends to all others, in two encoder layers of four heads. It is trained by Adam on rows that are drawn anew for
every step, 128 at a time, and tested on rows of which hardly any was among them. With matplotlib installed, the folder
gets a picture of the losses. The last lines are the share of digits that are right, in this process and in one without
gradgen (`sorting_predict.py`), and the path of the generated training step.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import gradgen as gg
from gradgen import nn

HERE = Path(__file__).resolve().parent
WIDTH = 32


class Sorter(nn.Module):
    """Digits (N, T) to scores (N, T, 10) of the digits in order."""

    def __init__(self, digits: int) -> None:
        self.digit = nn.Embedding(10, WIDTH)
        self.place = nn.Parameter((digits, WIDTH), init=nn.init.normal())
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, row: gg.Tensor) -> gg.Tensor:
        return self.head(self.encoder(self.digit(row) + self.place))


def networks(digits: int) -> tuple[gg.Network, gg.Network]:
    """A training step, and what it trains."""
    N = gg.size("N")
    row, ordered = (gg.input(name, (N, digits), dtype="int64") for name in ("row", "ordered"))
    lr = gg.input("lr", ())
    sorter = Sorter(digits)
    scores = sorter(row)
    loss = nn.cross_entropy(scores.reshape(-1, 10), ordered.reshape(-1))
    train = gg.compile({"loss": loss}, updates=gg.optim.adam(loss, lr=lr), name="sorting_train")
    return train, gg.compile({"sorted": gg.argmax(scores, axis=2)}, name="sorting_net", wrt=[])


def picture(losses: NDArray[np.float64], path: Path) -> None:
    """The losses, step by step."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.semilogy(losses, linewidth=1)
    axes.set(xlabel="step", ylabel="cross-entropy")
    figure.savefig(path, dpi=150)


def main(steps: int, digits: int, seed: int, out: Path) -> None:
    """Train, save, and sort in another process."""
    train, predict = networks(digits)
    random = np.random.default_rng(seed)
    state = train.init(seed)
    losses = np.zeros(steps)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=steps)
        for step in range(steps):
            rate = 3e-3 * min((step + 1) / 50, 0.5 * (1.0 + np.cos(np.pi * step / steps)))
            rows = random.integers(0, 10, (128, digits))
            losses[step] = train.step(state, row=rows, ordered=np.sort(rows, axis=1), lr=rate)["loss"]
            progress.update(task, advance=1, description=f"loss {losses[max(0, step - 19) : step + 1].mean():.4f}")

    weights = {name: state[name] for name in predict.init()}  # the state also holds Adam's averages
    rows = random.integers(0, 10, (2000, digits))
    found = predict(row=rows, **weights)["sorted"]
    print(f"digits in order in this process: {np.mean(found == np.sort(rows, axis=1)):.2%}")

    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "weights.npz", **weights)
    np.savez(out / "test.npz", rows=rows)
    generated = train.save(out / "sorting_train.py")
    predict.save(out / "sorting_net.py")
    if importlib.util.find_spec("matplotlib") is not None:
        picture(losses, out / "losses.png")
    # -I: no PYTHONPATH and no current directory; the script itself refuses to import gradgen
    command = [sys.executable, "-I", str(HERE / "sorting_predict.py"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout, end="")
    print(f"generated training step: {generated}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--digits", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "sorting")
    options = parser.parse_args()
    main(options.steps, options.digits, options.seed, options.out)
