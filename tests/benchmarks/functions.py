"""Scalar functions one value after the other: `python -m tests.benchmarks.functions`, in nanoseconds.

Each call waits for the one before, as in a loop that cannot become vector code: the emitted function beside NumPy's.
Least of interleaved runs.
"""

import time
from collections.abc import Callable

import numpy as np
from numba import njit

from gradgen.emit.scalar_library import HEADER, SUFFIXES, blocks, emitted_name

FUNCTIONS = ("exp", "log", "expm1", "log1p", "tanh")
COUNT, RUNS = 4000, 100


def chained(function: Callable[[float], float]) -> Callable[[np.ndarray], float]:
    """The sum of a function of each element, to which the sum so far adds nothing but its time."""

    @njit(fastmath={"contract"}, error_model="numpy")
    def run(xs: np.ndarray) -> float:
        total = xs[0]
        for x in xs:
            total += function(x + total * xs.dtype.type(0))
        return total

    return run


def measured(runs: dict[str, Callable[[np.ndarray], float]], xs: np.ndarray) -> dict[str, float]:
    least = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run(xs)
    for _ in range(RUNS):
        for name, run in runs.items():
            start = time.perf_counter()
            run(xs)
            least[name] = min(least[name], (time.perf_counter() - start) / COUNT * 1e9)
    return least


def main() -> None:
    pairs = [(function, dtype) for function in FUNCTIONS for dtype in SUFFIXES]
    names = {"np": np, "njit": njit}
    exec("\n\n".join([HEADER, *blocks(pairs)]).replace("cache=True, ", ""), names)
    for function, dtype in pairs:
        xs = np.random.default_rng(0).uniform(0.1, 1.1, COUNT).astype(dtype)
        emitted, numpy = names[emitted_name(function, dtype)], getattr(np, function)
        found = measured({"emitted": chained(emitted), "NumPy's": chained(numpy)}, xs)
        print(f"{function:6} {dtype}: " + ", ".join(f"{name} {ns:.1f}" for name, ns in found.items()))


if __name__ == "__main__":
    main()
