"""Train the network of digits.py on several processes: every one takes its share of every batch.

    mpiexec -n 2 python examples/data_parallel.py [--epochs 20] [--seed 0] [--batch 64] [--save build/digits.npz]
    mpiexec -n 2 python examples/data_parallel.py --time [--width 1024] [--batch 1024] [--repeats 200]

It needs scikit-learn, mpi4py and an MPI: pip install 'gradgen-numba[examples,mpi]'. Without mpiexec it is one process,
which arrives at the same numbers but for their rounding. With `--time` nothing is learned: the lines say what a step
takes, and what it is made of, for a network of the given width and as many ranks as there are.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gradgen as gg
from gradgen import nn
from gradgen.interop import mpi


def network(width: int) -> gg.Network:
    """A training step; its outputs are the loss and the digits that the network reads."""
    B = gg.size("B")
    a = gg.input("a", (B, 64))
    b = gg.input("b", (B,), dtype="int64")
    lr = gg.input("lr", ())
    fc1 = nn.Linear(64, width)
    fc2 = nn.Linear(width, 10)
    scores = fc2(nn.relu(fc1(a)))
    loss = nn.cross_entropy(scores, b)
    outputs = {"loss": loss, "digit": gg.argmax(scores, axis=1)}
    return gg.compile(outputs, updates=gg.optim.adam(loss, lr=lr), name="digits_train")


def learn(epochs: int, seed: int, batch: int, width: int, path: Path | None) -> None:
    """Train and test; the first rank prints."""
    from sklearn.datasets import load_digits  # not needed to measure
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32)
    images, test_images, labels, test_labels = train_test_split(
        images, labels, test_size=450, random_state=seed, stratify=labels
    )
    net = network(width)
    random = np.random.default_rng(seed)  # the same order on every rank
    with mpi.DataParallel(net) as train:
        state = train.init(seed)
        for epoch in range(epochs):
            rate = 3e-3 * 0.5 * (1.0 + np.cos(np.pi * epoch / epochs))
            order = random.permutation(len(images))
            losses = []
            for rows in np.array_split(order, len(images) // batch):
                mine = rows[train.rank :: train.size]
                losses.append(train.step(state, a=images[mine], b=labels[mine], lr=rate)["loss"])
            if train.rank == 0:
                print(f"epoch {epoch + 1:2d}, loss {np.mean(losses):.6f}", flush=True)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                train.save_state(path, state)
        train.check(state)
        if train.rank == 0:
            found = net(a=test_images, b=test_labels, **state)["digit"]
            print(f"test accuracy, {train.size} ranks: {np.mean(found == test_labels):.2%}")


def measure(batch: int, width: int, repeats: int) -> None:
    """What a step takes until the slowest rank has done it, and its parts alone, of calls that begin together."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    net = network(width)
    random = np.random.default_rng(comm.rank)
    share = batch // comm.size
    given = {"a": random.random((share, 64), np.float32), "b": random.integers(0, 10, share)}

    def timed(call: Callable[[], object]) -> list[float]:
        call()
        taken = []
        for _ in range(repeats):
            comm.Barrier()
            began = time.perf_counter()
            call()
            taken.append(comm.allreduce(time.perf_counter() - began, MPI.MAX))
        return taken

    with mpi.DataParallel(net) as train:
        state = train.init()
        vector, weights = net.flatten({x.name: state[x.name] for x in net.model.wrt})
        rows = [
            ("step", lambda: train.step(state, lr=1e-3, **given)),
            ("  its gradient alone", lambda: net.value_and_grad(**weights, **given)),
            ("  its Allreduce alone", lambda: comm.Allreduce(MPI.IN_PLACE, vector)),
            ("  of one number", lambda: comm.Allreduce(MPI.IN_PLACE, vector[:1])),
            ("net.step of the share", lambda: net.step(state, lr=1e-3, **given)),
        ]
        if comm.rank == 0:
            print(f"{comm.size} ranks, {share} examples each, {vector.size:,} parameters, {repeats} times")
            print(f"{'':24}{'median':>10}{'least':>13}")
        for name, call in rows:
            taken = timed(call)
            if comm.rank == 0:
                print(f"{name:24}{1e6 * np.median(taken):10.0f} us{1e6 * min(taken):10.0f} us", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    if options.time:
        measure(options.batch, options.width, options.repeats)
    else:
        learn(options.epochs, options.seed, options.batch, options.width, options.save)
