"""The matrix products alone: `python -m tests.benchmarks.products`, in microseconds.

`a @ X.T` for one layer of the MLPs of `cases.py`, float32: np.dot in compiled code, which is SciPy's BLAS on its own
threads, and the same product in PyTorch if it is there. Most of a wide network's step is this.
Least of interleaved runs.
"""

import importlib.util
import sys
import time
from collections.abc import Callable

import numpy as np
from numba import njit

SHAPES = ((32, 64, 128), (64, 128, 128), (256, 784, 512), (256, 512, 512), (512, 2048, 2048))  # rows, inputs, outputs
RUNS, ROUND_S = 9, 0.05


@njit
def numba_product(times: int, a: np.ndarray, XT: np.ndarray, out: np.ndarray) -> None:
    for _ in range(times):
        np.dot(a, XT, out)


def torch_product(a: np.ndarray, XT: np.ndarray, out: np.ndarray) -> Callable[[int], None]:
    import torch

    operands, result = (torch.from_numpy(a), torch.from_numpy(XT.T).T), torch.from_numpy(out)

    def run(times: int) -> None:
        for _ in range(times):
            torch.mm(*operands, out=result)

    return run


def measured(runs: dict[str, Callable[[int], None]]) -> dict[str, float]:
    times, least = {}, {}
    for name, run in runs.items():
        run(1)
        start = time.perf_counter()
        run(1)
        times[name] = max(1, int(ROUND_S / (time.perf_counter() - start)))
        least[name] = float("inf")
    for _ in range(RUNS):
        for name, run in runs.items():
            time.sleep(ROUND_S)  # threads of the one before spin for a while
            start = time.perf_counter()
            run(times[name])
            least[name] = min(least[name], (time.perf_counter() - start) / times[name] * 1e6)
    return least


def main() -> None:
    for rows, inputs, outputs in SHAPES:
        a, X = np.ones((rows, inputs), np.float32), np.ones((outputs, inputs), np.float32)
        operands = a, X.T, np.empty((rows, outputs), np.float32)
        runs: dict[str, Callable[[int], None]] = {
            "numba": lambda times, operands=operands: numba_product(times, *operands),
        }
        if importlib.util.find_spec("torch"):
            runs["torch"] = torch_product(*operands)
        found = ", ".join(f"{name} {us:,.1f}" for name, us in measured(runs).items())
        sys.stdout.write(f"{rows} x {inputs} x {outputs}: {found}\n")


if __name__ == "__main__":
    main()
