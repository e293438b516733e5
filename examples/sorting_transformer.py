"""Train a small transformer that sorts digits, save what was generated, and use it where gradgen is not.

    python examples/sorting_transformer.py [--steps 400] [--digits 8] [--seed 0] [--out build/sorting]

Rows of eight digits go in; the network says, for every place, which digit stands there once the row is sorted. Every
place attends to all others, in two encoder layers of four heads. It is trained by Adam on rows that are drawn anew for
every step, 128 at a time, and tested on rows of which hardly any was among them. The last lines are the share of digits
that are right, in this process and in one without gradgen (`sorting_predict.py`), and the path of the generated step of
training. The picture has the losses, and some rows before and after.
"""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import gradgen as gg
from drawing import draw, losses_by
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


def before_and_after(axes: Any, rows: np.ndarray, found: np.ndarray) -> None:
    """Ten rows on the left, what the network makes of them on the right; what is wrong has a frame."""
    from matplotlib.patches import Rectangle

    digits = rows.shape[1]
    tiles = np.hstack([rows[:10], np.full((10, 1), np.nan), found[:10]])
    axes.imshow(tiles, cmap="YlGnBu", vmin=0, vmax=18)
    for at in np.argwhere(~np.isnan(tiles)):
        axes.text(at[1], at[0], f"{tiles[tuple(at)]:.0f}", ha="center", va="center")
    for row, place in np.argwhere(found[:10] != np.sort(rows[:10], axis=1)):
        axes.add_artist(Rectangle((place + digits + 0.5, row - 0.5), 1, 1, fill=False, edgecolor="red"))
    axes.set_xticks([(digits - 1) / 2, digits + 1 + (digits - 1) / 2], ["rows", "sorted by the network"])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(False)
    share = np.mean(found == np.sort(rows, axis=1))
    axes.set_title(f"{share:.1%} of the digits in {len(rows)} new rows are in order")


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
    title = "A transformer learns to sort"
    tiles = partial(before_and_after, rows=rows, found=found)
    draw(out / "sorting.png", title, losses_by({"cross-entropy": losses}), tiles)
    print(f"digits in order in this process: {np.mean(found == np.sort(rows, axis=1)):.2%}")

    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "weights.npz", **weights)
    np.savez(out / "test.npz", rows=rows)
    generated = train.save(out / "sorting_train.py")
    predict.save(out / "sorting_net.py")
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
