"""From which size on a mechanism pays here: `python -m tests.benchmarks.crossovers [--only product]`, in microseconds.

Each threshold of `gradgen/machine.py` that separates two ways to compute the same is put out of reach, then at its
smallest, for a model of growing size. What a model of that size counts as, in the unit of the threshold; the time
without the mechanism and with it; how many times faster it is. The threshold should stand where that is worth the text.
Least of interleaved runs, calls from Python included; one BLAS thread, as others would keep cores busy between runs.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import gradgen as gg
from gradgen.machine import CPU, SMALLEST, using

RUNS = 200
SECONDS = 0.5  # for one row, at most


@dataclass(frozen=True)
class Family:
    """Models by size: what each counts as, and the tensor that it computes of parameters."""

    field: str
    sizes: Sequence[int]
    counted: Callable[[int], float]
    build: Callable[[int], gg.Tensor]


def product(n: int) -> gg.Tensor:
    return gg.param("a", (n, n)) @ gg.param("b", (n, n))


def window(n: int) -> gg.Tensor:
    a, k = gg.param("a", (1, 8, n + 2, n + 2)), gg.param("K", (16, 8, 3, 3))
    i, o, c, p, q = gg.indices("i o c p q")
    h, w = gg.index("h", n), gg.index("w", n)
    return gg.compute((i, o, h, w), gg.sum(k[o, c, p, q] * a[i, c, h + p, w + q], over=(c, p, q)))


def costly(n: int) -> gg.Tensor:
    return gg.tanh(gg.param("a", (n, 64)))


def rows(n: int) -> gg.Tensor:
    return gg.tanh(gg.param("a", (n, 4)) @ gg.param("b", (4,)))


def largest(n: int) -> gg.Tensor:
    return gg.max(gg.param("a", (1000, n)), axis=1)


FAMILIES = (
    Family("product", (8, 12, 16, 20, 24, 32, 48, 64), lambda n: n**3, product),
    Family("outer", (8, 12, 16, 24, 32, 48, 64), lambda n: 16.0 * 8 * 9 * n * n, window),
    Family("threads", (64, 256, 1024, 4096, 16384), lambda n: 64.0 * n * 20, costly),
    Family("lanes", (1, 2, 4, 8, 16, 32), lambda n: n, rows),
    Family("maximum", (2, 4, 8, 16, 32, 64), lambda n: n, largest),
)


def compiled(family: Family, n: int, value: float) -> tuple[Callable[[], Any], str]:
    with using(replace(CPU, **{family.field: value})):
        y = family.build(n)
        net = gg.compile({"y": y}, name="crossover")
        rng = np.random.default_rng(0)
        arrays = {name: x.astype(np.float32) for name, x in net.init(seed=0).items()}
        arrays = {name: rng.standard_normal(x.shape).astype(np.float32) for name, x in arrays.items()}
        net(**arrays)
    return lambda: net(**arrays), net.source


def least(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Microseconds of each, run by turns."""
    best = [inf] * len(calls)
    until = time.perf_counter() + SECONDS
    for _ in range(RUNS):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[k] = min(best[k], time.perf_counter() - start)
        if time.perf_counter() > until:
            break
    return [1e6 * x for x in best]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.crossovers", description=__doc__)
    names = [family.field for family in FAMILIES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="THRESHOLD", help=", ".join(names))
    wanted = parser.parse_args().only
    for family in FAMILIES:
        if family.field not in wanted:
            continue
        print(f"\n{family.field}: {getattr(CPU, family.field):,}")
        print(f"{'counts as':>14} {'without':>10} {'with':>10} {'times':>7}")
        for n in family.sizes:
            (without, text), (with_it, other) = (
                compiled(family, n, value) for value in (inf, getattr(SMALLEST, family.field))
            )
            if text == other:
                print(f"{family.counted(n):14,.0f}   the same text")
                continue
            slow, fast = least([without, with_it])
            print(f"{family.counted(n):14,.0f} {slow:10.1f} {fast:10.1f} {slow / fast:7.2f}")


if __name__ == "__main__":
    main()
