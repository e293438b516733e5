"""What every rank runs for test_mpi.py: `mpiexec -n 2 python -m mpi4py ranks.py CASE [PATH]`; rank 0 prints what held.

`-m mpi4py` ends all ranks where an assertion fails on one. Generated code runs un-jitted, so nothing is compiled here.
"""

import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import gradgen as gg
from examples.data_parallel import learn, network
from gradgen import nn
from gradgen.errors import BindingError
from gradgen.interop import mpi

RANK, SIZE = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
random = np.random.default_rng(0)  # the same numbers on every rank

B = gg.size("B")
x = gg.input("x", (B, 3))
y = gg.input("y", (B,))
w = gg.param("w", (3,))
loss = gg.mean((gg.tanh(x @ w) - y) ** 2)
ADAM: dict[str, Any] = {"outputs": {"loss": loss}, "updates": gg.optim.adam(loss), "name": "line"}


def share(rows: int) -> Any:
    """Which of the rows are this rank's; of an odd number, one has more."""
    return np.arange(rows)[RANK::SIZE]


def parallel(make: Callable[[], gg.Network], count: Any = None) -> tuple[gg.Network, mpi.DataParallel]:
    """A network and its step on all ranks; the first rank compiles, then the other finds the texts in the cache."""
    if RANK == 0:
        found = make()
        train = mpi.DataParallel(found, count=count)
    waiting = MPI.COMM_WORLD.Ibarrier()
    while not waiting.Test():
        time.sleep(0.01)
    if RANK > 0:
        found = make()
        train = mpi.DataParallel(found, count=count)
    return found, train


def compiled(outputs: dict[str, gg.Tensor], count: Any = None, **options: Any) -> tuple[gg.Network, mpi.DataParallel]:
    return parallel(lambda: gg.compile(outputs, dtype="float64", **options), count)


def largest_difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    assert a.keys() == b.keys()
    return max(float(np.max(np.abs(a[name] - b[name]))) for name in a)


def batch(rows: int, dtype: str = "float64") -> dict[str, Any]:
    return {"x": random.standard_normal((rows, 3)).astype(dtype), "y": random.standard_normal(rows).astype(dtype)}


def of_rank(given: dict[str, Any]) -> dict[str, Any]:
    mine = share(len(next(iter(given.values()))))
    return {name: a[mine] for name, a in given.items()}


@contextmanager
def refused(text: str) -> Iterator[None]:
    with pytest.raises(BindingError) as caught:
        yield
    assert str(caught.value) == text


# ---------------------------------------------------------------- cases


def whole_batch() -> None:
    """The network of the example, on shares of different length."""

    net, train = parallel(lambda: network(8))
    state, alone = train.init(1), net.init(1)
    for _ in range(5):
        given = {"a": random.random((7, 64), np.float32), "b": random.integers(0, 10, 7)}
        together = train.step(state, lr=1e-3, **of_rank(given))
        whole = net.step(alone, lr=1e-3, **given)
        assert abs(together["loss"] - whole["loss"]) < 1e-6
        assert type(together["loss"]) is type(whole["loss"])
    assert largest_difference(state, alone) < 1e-6
    train.check(state)


def optimisers() -> None:
    """None has code of its own; a norm is that of the averaged gradient."""
    lr = gg.input("lr", ())
    for k, updates in enumerate(
        (
            gg.optim.sgd(loss, lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-2),
            gg.optim.adamw(gg.optim.clip_norm(loss, 0.1), lr=gg.optim.cosine(0.1, 10)),
        )
    ):
        net, train = compiled({"loss": loss}, updates=updates, name=f"optimiser{k}")
        state, alone = train.init(), net.init()
        given = {"lr": 0.1} if any(leaf.name == "lr" for leaf in net.interface.leaves) else {}
        for _ in range(3):
            examples = batch(5)
            train.step(state, **given, **of_rank(examples))
            net.step(alone, **given, **examples)
        assert largest_difference(state, alone) < 1e-12, (k, state, alone)


def layers() -> None:
    """Equal layers, which the generated file keeps in one array: what the ranks share are still its rows."""
    h = x
    for k in range(8):
        h = gg.tanh(h @ gg.param(f"W{k}", (3, 3)))
    error = gg.mean((h[:, 0] - y) ** 2)
    net, train = compiled({"error": error}, updates=gg.optim.sgd(error, lr=0.1), name="deep")
    assert len(net.interface.stacks) > 0
    state, alone = train.init(), net.init()
    given = batch(5)
    with warnings.catch_warnings(action="error"):
        train.step(state, **of_rank(given))
    net.step(alone, **given)
    assert largest_difference(state, alone) < 1e-12


def empty_shares() -> None:
    """A batch of one: the other rank has nothing, whose mean is nan. And none at all."""
    net, train = compiled(**ADAM, count=B)
    state, alone = train.init(), net.init()
    given = batch(1)
    with np.errstate(all="ignore"):
        found = train.step(state, **of_rank(given))["loss"]
        assert abs(found - net.step(alone, **given)["loss"]) < 1e-12
        assert largest_difference(state, alone) < 1e-12
        with refused("line.step: no rank has an example. Leave such a step out."):
            train.step(state, **batch(0))


def counted() -> None:
    """A mean over what a mask leaves: an output says of how many."""
    mask = gg.input("mask", (B,))
    number = gg.sum(mask)
    error = gg.sum(mask * (x @ w - y) ** 2) / number
    net, train = compiled(
        {"error": error, "number": number, "each": x @ w},
        loss="error",
        updates=gg.optim.sgd(error, lr=0.1),
        name="masked",
        count="number",
    )
    state, alone = train.init(), net.init()
    given = batch(6) | {"mask": np.array([1.0, 1, 1, 0, 0, 0])}
    out = train.step(state, **of_rank(given))
    whole = net.step(alone, **given)
    assert abs(out["error"] - whole["error"]) < 1e-12
    assert np.array_equal(out["each"], whole["each"][share(6)])
    assert largest_difference(state, alone) < 1e-12


def statistics() -> None:
    """Batch normalisation: every rank normalises its own share; running statistics are means over the ranks."""
    norm = nn.BatchNorm1d(3, name="norm")
    error = gg.mean((norm(x) @ w - y) ** 2)
    level = gg.state("level", ())
    updates = gg.optim.sgd(error, lr=0.1) | nn.running_updates(norm, error) | {level: 0.5 * level + gg.mean(y)}
    _, train = compiled({"error": error}, updates=updates, name="normed")
    state = train.init()
    given = batch(7)
    train.step(state, **of_rank(given))
    parts = [given["x"][rank::SIZE] for rank in range(SIZE)]
    spread = sum(len(part) * part.var(axis=0, ddof=1) for part in parts) / 7
    assert np.allclose(state["norm_running_mean"], 0.1 * given["x"].mean(axis=0), atol=1e-12)
    assert np.allclose(state["norm_running_var"], 0.9 + 0.1 * spread, atol=1e-12)
    assert abs(state["level"] - given["y"].mean()) < 1e-12
    assert state["norm_num_batches_tracked"] == 1
    train.check(state)


def agreement() -> None:
    """Ranks that begin with other values are named; names are checked as net.step does."""
    net, train = compiled(**ADAM)
    state = net.init(seed=RANK)
    state["w"] += RANK
    mine = of_rank(batch(4))
    with refused(
        "line: rank 1 has other values than rank 0, of w. Begin on every rank with init or load_state of DataParallel."
    ):
        train.step(state, **mine)
    state = train.init(RANK)  # of the first rank
    with refused("line.step: lr unknown. The state holds what init makes, the rest is by name."):
        train.step(state, lr=0.1, **mine)
    with refused("line.step: w given twice. The state holds what init makes, the rest is by name."):
        train.step(state, w=state["w"], **mine)
    train.step(state, **mine)


def files() -> None:
    """The first rank writes, and reads for all."""
    _, train = compiled(**ADAM)
    state = train.init()
    train.step(state, **of_rank(batch(4)))
    path = train.save_state(sys.argv[2], state)
    found = train.load_state(path if RANK == 0 else "nowhere.npz")
    assert largest_difference(found, state) == 0.0


def page() -> None:
    """What docs/data_parallel.md begins with."""
    text = (Path(__file__).parents[2] / "docs" / "data_parallel.md").read_text(encoding="utf-8")
    listing = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    exec(compile(listing, "fit.py", "exec"), {"__name__": "fit"})


def example() -> None:
    """The digits themselves, where scikit-learn is."""
    if find_spec("sklearn"):
        learn(epochs=1, seed=0, batch=674, width=8, path=None)


def numbers() -> None:
    for case in (whole_batch, optimisers, layers, empty_shares, counted, statistics, agreement, files, page, example):
        case()
        if RANK == 0:
            print(case.__name__, flush=True)


# ---------------------------------------------------------------- ends


def until_the_third(step: Callable[[], None]) -> None:
    """Train with a checkpoint behind every step; in the third, the last rank does something else."""
    _, train = compiled(**ADAM)
    with train:
        state = train.init()
        for k in range(1000):
            if k == 2:
                MPI.COMM_WORLD.Barrier()  # the second checkpoint is written
                if RANK == SIZE - 1:
                    step()
            train.step(state, **of_rank(batch(4)))
            train.save_state(sys.argv[2], state)


def raises() -> None:
    def step() -> None:
        raise ValueError("no such batch")

    until_the_third(step)


def dies() -> None:
    until_the_third(lambda: os.kill(os.getpid(), signal.SIGKILL))


if __name__ == "__main__":
    {"numbers": numbers, "raises": raises, "dies": dies}[sys.argv[1]]()
