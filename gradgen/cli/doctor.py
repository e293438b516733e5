"""A small model compiled, run and checked here, for `gradgen doctor`.

In: nothing. Out: a `Fact`, as `inspect.machine` has them.
"""

import time

from gradgen.cli.checks import check_network
from gradgen.cli.points import choose_point
from gradgen.compiling import compile as compile_network
from gradgen.inspect.machine import Fact
from gradgen.lang.array import tanh
from gradgen.lang.declare import input as declare_input
from gradgen.lang.declare import param, size
from gradgen.lang.reducers import mean

__all__ = ["trial"]


def trial() -> Fact:
    """tanh(x @ W + mu), its mean square, and the gradient: a product, a loop, a reduction, machine code from Numba."""
    started = time.perf_counter()
    x = declare_input("x", (size("N"), 3))
    W, mu = param("W", (3, 2)), param("mu", (2,))
    h = tanh(x @ W + mu)
    loss = mean(h * h)
    try:
        network = compile_network({"loss": loss}, name="doctor")
        report = check_network(network, choose_point(network, {}, {}, seed=0, first=5))
    except Exception as error:  # whatever is wrong with this installation
        return Fact("a small model", f"{type(error).__name__}: {error}", ok=False)
    seconds = time.perf_counter() - started
    if not report:
        return Fact("a small model", f"compiled, and wrong:\n{report}", ok=False)
    return Fact("a small model", f"compiled, run and checked in {seconds:.1f} s")
