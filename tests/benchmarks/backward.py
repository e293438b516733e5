"""What a gradient costs over the value, and how both grow with depth: `python -m tests.benchmarks.backward`.

First the MLPs of `cases.py`: forward, backward, and their ratio, which operation counts put at 2. Then k equal layers,
64 wide, batch 32, for k from 2 to 100: forward and backward together, in all and for one layer. Least of interleaved
runs, one BLAS thread; then the seconds that compiling took, of CPU time. `--depths` chooses other k.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import gradgen as gg

from .case import Case, Mlp
from .cases import CASES, training
from .peers_gradgen import declare, loss_of

RUNS, ROUND_S = 15, 0.05
MLPS = ("tiny", "digits", "medium", "deep")


class Timed:
    """A case, compiled and called once, with the least time of each phase so far."""

    def __init__(self, case: Case) -> None:
        arrays, data = case.split()
        start = time.process_time()
        loss = loss_of(case.option, {**declare(arrays, gg.param), **declare(data, gg.input)})
        self.net = gg.compile({"loss": loss}, name=case.name)
        given = {**self.net.stack(arrays), **data}
        saved = self.net.forward(**given)[1]
        self.net.backward(saved, loss=1.0)
        self.compiled_s = time.process_time() - start
        self.phases: dict[str, Callable[[], object]] = {
            "forward": lambda: self.net(**given),
            "backward": lambda: self.net.backward(saved, loss=1.0),
        }
        self.least = dict.fromkeys(self.phases, float("inf"))

    def measure(self) -> None:
        for name, call in self.phases.items():
            call()
            count, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < ROUND_S:
                call()
                count += 1
            self.least[name] = min(self.least[name], spent / count * 1e6)


def measured(cases: list[Case]) -> list[Timed]:
    found = [Timed(case) for case in cases]
    for _ in range(RUNS):
        for case in found:
            case.measure()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.backward", description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 5, 10, 20, 50, 100])
    depths = parser.parse_args().depths
    say = sys.stdout.write
    say(f"{'MLP':10s} {'forward us':>11s} {'backward us':>12s} {'ratio':>6s} {'compiled s':>11s}\n")
    for name, x in zip(MLPS, measured([CASES[name] for name in MLPS]), strict=True):
        forward, backward = x.least["forward"], x.least["backward"]
        say(f"{name:10s} {forward:11.2f} {backward:12.2f} {backward / forward:6.2f} {x.compiled_s:11.2f}\n")
    say(f"\n{'layers':10s} {'both us':>11s} {'us a layer':>12s} {'ratio':>6s} {'compiled s':>11s}\n")
    mlps = [training(f"depth{k}", 32, Mlp((64,) * (k + 1), "tanh", "mse", last="tanh")) for k in depths]
    for k, x in zip(depths, measured(mlps), strict=True):
        both = sum(x.least.values())
        ratio = x.least["backward"] / x.least["forward"]
        say(f"{k:<10d} {both:11.1f} {both / k:12.2f} {ratio:6.2f} {x.compiled_s:11.2f}\n")


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
