"""Train an LSTM on the letters of a few sonnets, save what was generated, and let it write where gradgen is not.

    python examples/char_lstm.py [--steps 600] [--seed 0] [--out build/char_lstm]

The text is `examples/data/sonnets.txt`, whose first line names its source. Each letter is a row of a table, two levels
of an LSTM read the rows, and a linear layer scores what comes next; Adam takes steps on random pieces of the text. The
folder then holds two generated modules, the weights, and a picture of the losses and of what was written. That, which
also ends the lines, is by `char_lstm_write.py`, letter by letter, in a process without gradgen.
"""

import argparse
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import gradgen as gg
from drawing import draw, losses_by
from gradgen import nn

HERE = Path(__file__).resolve().parent
TEXT = (HERE / "data" / "sonnets.txt").read_text(encoding="utf-8").split("\n\n", 1)[1]
LETTERS = sorted(set(TEXT))
HIDDEN = 128


class Writer(nn.Module):
    """From letters (T, N) to scores of the letters after them (T, N, letters), and the states after the last."""

    def __init__(self, letters: int, hidden: int) -> None:
        self.table = nn.Parameter((letters, 32), init=nn.init.normal())
        self.lstm = nn.LSTM(32, hidden, num_layers=2)
        self.head = nn.Linear(hidden, letters)

    def forward(self, letter: gg.Tensor, states: tuple[gg.Tensor, gg.Tensor] | None = None):
        t, n, f = gg.indices("t n f")
        y, states = self.lstm(gg.compute((t, n, f), self.table[letter[t, n], f]), states)
        return self.head(y), states


writer = Writer(len(LETTERS), HIDDEN)

T, N = gg.size("T"), gg.size("N")
piece = gg.input("piece", (T, N), dtype="int64")
following = gg.input("following", (T, N), dtype="int64")
lr = gg.input("lr", ())
scores, _ = writer(piece)
loss = nn.cross_entropy(scores.reshape(-1, len(LETTERS)), following.reshape(-1))
train = gg.compile({"loss": loss}, updates=gg.optim.adam(loss, lr=lr), name="char_lstm_train")

letter = gg.input("letter", (1, 1), dtype="int64")
h, c = gg.input("h", (2, 1, HIDDEN)), gg.input("c", (2, 1, HIDDEN))
next_scores, (next_h, next_c) = writer(letter, (h, c))
one_step = {"scores": next_scores, "next_h": next_h, "next_c": next_c}
write = gg.compile(one_step, name="char_lstm_net", wrt=[])


def written(axes: Any, text: str) -> None:
    """What the network wrote."""
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 60) or [""]]
    axes.text(0, 0.95, "\n".join(lines[:18]), family="serif", va="top", linespacing=1.4)
    axes.axis("off")
    axes.set_title("Written without gradgen, letter by letter")


def main(steps: int, seed: int, length: int, batch: int, out: Path) -> None:
    """Train, save, and write in another process."""
    numbers = np.array([LETTERS.index(x) for x in TEXT])
    random = np.random.default_rng(seed)
    state = train.init(seed)
    losses: list[float] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=steps)
        for step in range(steps):
            rate = 5e-3 * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            places = random.integers(0, len(numbers) - length, batch) + np.arange(length)[:, None]
            result = train.step(state, piece=numbers[places], following=numbers[places + 1], lr=rate)
            losses.append(float(result["loss"]))
            progress.update(task, advance=1, description=f"loss {np.mean(losses[-20:]):.3f}")

    out.mkdir(parents=True, exist_ok=True)
    weights = {name: state[name] for name in write.init()}  # the state also holds Adam's averages
    np.savez(out / "weights.npz", letters="".join(LETTERS), **weights)
    generated = train.save(out / "char_lstm_train.py")
    write.save(out / "char_lstm_net.py")
    # -I: no PYTHONPATH and no current directory; the script itself refuses to import gradgen
    command = [sys.executable, "-I", str(HERE / "char_lstm_write.py"), str(out), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    curves = losses_by({"cross-entropy of a letter": np.array(losses)})
    draw(out / "sonnets.png", "An LSTM learns to write like a few sonnets", curves, partial(written, text=done.stdout))
    print(f"loss of the first step {losses[0]:.3f}, of the last {losses[-1]:.3f}")
    print(f"generated training step: {generated}")
    print(done.stdout, end="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "char_lstm")
    options = parser.parse_args()
    main(options.steps, options.seed, options.length, options.batch, options.out)
