"""ADBench's Gaussian mixture: what a gradient costs, beside JAX and a plain C++ objective.

    python -m tests.benchmarks.adbench [--points 1000] [--dimensions 2 10 20 64] [--components 5 25 50] [--rounds 15]

For every size: the objective in C++ (g++ -O3 -march=native, one thread), objective and objective with gradient by
gradgen and by JAX (float64, all threads), and the quotient of the two. The least of interleaved rounds, in
milliseconds. What is not installed is left out, with the reason. For one thread, set OMP_NUM_THREADS=1,
NUMBA_NUM_THREADS=1, OPENBLAS_NUM_THREADS=1 and XLA_FLAGS=--xla_cpu_multi_thread_eigen=false.
"""

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gradgen as gg
from tests.oracle.adbench_example import example

HERE = Path(__file__).resolve().parent
Arguments = dict[str, Any]
Calls = dict[str, Callable[[], Any]]
NAMES = ("alphas", "means", "icf", "x", "gamma", "m")


def compiled(folder: str) -> tuple[Any, str]:
    """The C++ objective as a function of a problem, and why there is none."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None, "no C++: there is no g++ on the path"
    library = Path(folder) / "adbench.so"
    options = ["-O3", "-march=native", "-shared", "-fPIC"]
    done = subprocess.run(
        [compiler, *options, str(HERE / "adbench.cpp"), "-o", str(library)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return None, f"no C++: g++ failed: {done.stderr.splitlines()[:1]}"
    mixture = ctypes.CDLL(str(library)).mixture
    mixture.restype = ctypes.c_double

    def objective(given: Arguments) -> Callable[[], float]:
        n, d = given["x"].shape
        arrays = [np.ascontiguousarray(given[name]).ctypes.data_as(ctypes.c_void_p) for name in NAMES[:4]]
        wishart = [ctypes.c_double(float(given[name])) for name in NAMES[4:]]
        return lambda: float(mixture(n, d, len(given["alphas"]), *arrays, *wishart))

    return objective, ""


def jax_calls(given: Arguments) -> Calls:
    """Objective and gradient by JAX, compiled; nothing where JAX is absent."""
    try:
        import jax
    except ImportError:
        return {}
    jax.config.update("jax_enable_x64", True)
    from tests.oracle.adbench_jax import mixture_batched

    arrays = [jax.numpy.asarray(given[name]) for name in NAMES]
    objective = jax.jit(mixture_batched)
    gradient = jax.jit(jax.value_and_grad(mixture_batched, argnums=(0, 1, 2)))
    return {
        "JAX": lambda: objective(*arrays).block_until_ready(),
        "JAX gradient": lambda: jax.block_until_ready(gradient(*arrays)),
    }


def least(calls: Calls, rounds: int) -> dict[str, float]:
    """The least time of each in milliseconds; each is warm before the first round."""
    for call in calls.values():
        call()
    found = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name] = min(found[name], 1e3 * (time.perf_counter() - start))
    return found


def row(points: int, dimensions: int, components: int, rounds: int, plain: Any) -> str:
    """One line of the table."""
    module = example("gaussian_mixture")
    given = module.problem(points, dimensions, components)
    start = time.process_time()
    objective = {"objective": module.mixture(dimensions, components)}
    net = gg.compile(objective, name="mixture", dtype="float64")
    net.value_and_grad(**given)
    compilation = time.process_time() - start
    alone = gg.compile(objective, name="mixture_alone", dtype="float64", wrt=[])  # saves nothing for a gradient
    calls: Calls = {"gradgen": lambda: alone(**given), "gradgen gradient": lambda: net.value_and_grad(**given)}
    if plain is not None:
        calls["C++"] = plain(given)
        wanted = calls["C++"]()
        assert abs(net(**given)["objective"] - wanted) <= 1e-10 * abs(wanted), "C++ and gradgen disagree"
    times = least(calls | jax_calls(given), rounds)

    def cell(name: str) -> str:
        return f"{times[name]:9.3f}" if name in times else f"{'-':>9}"

    def quotient(above: str, below: str) -> str:
        return f"{times[above] / times[below]:7.1f}" if above in times and below in times else f"{'-':>7}"

    cells = [cell(name) for name in ("C++", "gradgen", "gradgen gradient", "JAX", "JAX gradient")]
    quotients = [
        quotient("gradgen gradient", "gradgen"), quotient("JAX gradient", "JAX"), quotient("gradgen gradient", "C++"),
        quotient("JAX gradient", "C++"),
    ]  # fmt: skip
    return f"{dimensions:4d} {components:4d} {' '.join(cells)} {' '.join(quotients)} {compilation:8.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.adbench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[2, 10, 20, 64])
    parser.add_argument("--components", type=int, nargs="+", default=[5, 25, 50])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, reason = compiled(folder)
        print(f"{options.points} points, {os.cpu_count()} cores; milliseconds, the least of {options.rounds} rounds")
        print("   d    K       C++   gradgen +gradient       JAX +gradient grad/objective: grad/C++:       compile s")
        print(f"{'':59} gradgen     JAX gradgen     JAX")
        for dimensions in options.dimensions:
            for components in options.components:
                print(row(options.points, dimensions, components, options.rounds, plain), flush=True)
    if reason:
        print(reason)
    if "jax" not in sys.modules:
        print("no JAX: it is not installed")
    print(f"load average {os.getloadavg()[0]:.1f} at the end; much above 1, others used the cores: repeat it idle")


if __name__ == "__main__":
    main()
