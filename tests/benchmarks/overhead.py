"""What a checked call costs over the compiled function: `python -m tests.benchmarks.overhead`, in microseconds.

The network is an MLP 8-32-32-4 with one sample, so small that the call is most of the time. Four rows: `net.step` and
`net.value_and_grad` as users call them, and `module.step` with prebuilt arguments, once through Numba's dispatcher and
once from a compiled loop. The median of interleaved runs, and the smallest of them.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numba
import numpy as np

import gradgen as gg
from gradgen import nn

RUNS, CALLS, INSIDE = 15, 3000, 1000


def network() -> gg.Network:
    """Two hidden layers, cross-entropy, one step of gradient descent."""
    batch = gg.size("B")
    h: gg.Tensor = gg.input("a", (batch, 8))
    labels = gg.input("b", (batch,), dtype="int64")
    for k, (rows, columns) in enumerate(((32, 8), (32, 32), (4, 32)), start=1):
        h = h @ gg.param(f"X{k}", (rows, columns)).T + gg.param(f"mu{k}", (rows,))
        h = gg.relu(h) if k < 3 else h
    loss = nn.cross_entropy(h, labels)
    return gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=1e-3), name="overhead")


def measurements() -> dict[str, Callable[[], float]]:
    """Seconds per call of each row."""
    net = network()
    state = net.init(seed=0)
    data = {"a": np.ones((1, 8), np.float32), "b": np.zeros(1, np.int64)}
    module = net.module
    params = module.Params(**{name: state[name] for name in module.Params._fields})
    work = module.workspace(1)
    raw = [*[data[name] for name in net.interface.entry("step").parameters], params, work]
    step = module.step

    @numba.njit
    def loop(count, *arguments):  # type: ignore[no-untyped-def]  # compiled
        for _ in range(count):
            step(*arguments)

    def timed(call: Callable[[], object], count: int) -> Callable[[], float]:
        def run() -> float:
            call()
            start = time.perf_counter()
            for _ in range(count):
                call()
            return (time.perf_counter() - start) / count

        return run

    inside = timed(lambda: loop(INSIDE, *raw), CALLS // INSIDE)
    return {
        "net.step": timed(lambda: net.step(state, **data), CALLS),
        "net.value_and_grad": timed(lambda: net.value_and_grad(**data, **state), CALLS),
        "module.step through Numba's dispatcher": timed(lambda: step(*raw), CALLS),
        "step inside a compiled loop": lambda: inside() / INSIDE,
    }


def main() -> None:
    rows = measurements()
    for run in rows.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(RUNS):
        for name, run in rows.items():
            times[name].append(run() * 1e6)
    for name, found in times.items():
        sys.stdout.write(f"{name:40s} median {statistics.median(found):6.2f} us, least {min(found):6.2f} us\n")


if __name__ == "__main__":
    main()
