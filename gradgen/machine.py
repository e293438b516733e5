"""The machine that code is made for, as passes see it: what costs what, and from which size on a mechanism pays.

In: GRADGEN_THRESHOLDS, or what `using` chose. Out: a `Machine`, which passes and printers ask when they decide. With
every threshold at its smallest a model of three elements goes the ways of one of three gigabytes: so tests reach them
all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from gradgen.env import smallest

__all__ = [
    "CPU", "GPU", "MACHINES", "SMALLEST", "SMALLEST_GPU", "Machine", "machine", "machine_of", "using", "without_parts",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """Every number by which passes choose, with what it says of a CPU with vectors of 256 bits and a BLAS.

    Behind each group stands what measures it: a name alone is a benchmark, `python -m tests.benchmarks.NAME`. Sizes of
    text are chosen, not measured.
    """

    # what it is
    shared_by: Literal["cores", "iterations", "nobody"] = "cores"  # a thread for each: who shares the work of a loop
    by_value: bool = True  # a function hands back numbers; without that a number is an array without axes

    # work, in additions; measured by functions
    cheap: float = 4.0  # is done again rather than stored
    repeated: float = 3.0  # is done again by the adjoint of a step rather than kept
    cone: int = 16  # cheap values on the way from saved ones to one that is saved in their place
    costly: float = 4.0  # a division; cheaper arithmetic stays where it is read
    function: float = 10.0  # a function from which on storing its argument is little
    together: float = 8.0  # elements of a loop that costs one, where it is innermost
    unknown: int = 64  # what a size that is known only at call time is taken for

    # values; measured by workspace, and by --cases attention layernorm of tests.benchmarks
    whole: float = 2**24  # elements that a value may have, however few its arguments have
    excess: float = 4.0  # how many times larger than the largest argument or result an outsized one must be
    part: float = 2**17  # elements of one outsized value in one part: half of a cache of 1 MB
    fewest_rows: int = 16  # of a part
    most_rows: int = 64
    composed: int = 96  # distinct parts of the body of a copy that readers compose rather than read: text

    # products; measured by crossovers
    product: float = 16_384  # multiplications from which a BLAS call beats a loop nest
    side: float = 4  # rows that the summed index and the columns of such a product have at least
    outer: float = 1_000_000  # multiplications from which outer products in registers do better still
    vector: int = 4  # elements of a vector of those

    # outer products in registers, in cycles; measured by --cases conv3x3 conv5x5 of tests.benchmarks
    box_lanes: int = 16  # to a multiple of which the vector index is padded
    block: int = 100  # multiplications in the text of the innermost loop
    registers: int = 31
    nearest: int = 28_000  # bytes of the cache that is nearest to a core, as far as they may be counted on
    near: int = 700_000  # the same of the next one
    from_near: float = 32  # bytes a cycle
    from_far: float = 12
    cores: int = 4  # among which the outermost loop is divided
    visit: float = 15  # to enter the vector loop
    copied: float = 0.15  # one element of a box
    transposed: float = 1.2  # the same against the order of memory
    cleared: float = 0.08
    added: float = 0.3

    # loops; measured by crossovers
    threads: float = 1_000_000.0  # operations that pay for starting threads and for compiling a function that does
    beside: float = 1.0  # the least share of the work in matrix products, whose threads would find the cores busy
    share: float = 8.0  # how much costlier than the clearing and adding of its sums a loop in parts must be
    short: int = 32  # iterations that are too few for four vectors at once: two axes become one
    merged: float = 16_384  # elements of what is worth it
    lanes: int = 8  # iterations of a loop that is worth having for costly functions alone
    maximum: int = 16  # iterations; in fewer, a maximum one by one is as fast, and shorter to read
    segments: int = 5  # pieces of one loop, cut where a condition on its variable changes: text
    growth: int = 40  # statements in all pieces of a loop: text
    halves: float = 1.2  # how much the halves of a loop may have to be read, beside the whole: text

    # functions: text, and what Numba takes for each, in the columns of compilation of tests.benchmarks
    statements: int = 60  # in one function
    layers: int = 48  # formulas in all of some equal layers, which are better one loop
    layer: int = 128  # formulas of such a layer: what is in a loop is in one function
    fields: int = 32  # of the named tuples of a function that has branches
    kind: int = 12  # formulas of a kind that are better a loop of calls than one function
    repetitions: int = 4  # of calls that are worth a loop
    repetition: int = 24  # calls in one of them
    forms: int = 4  # functions of one form that are better one, without the lengths of its loops
    local_bytes: int = 1024  # of the arrays of a CUDA thread; larger ones become rows of a workspace


CPU = Machine()
GPU = replace(  # as far as there is text for it: products are loops, values are whole
    CPU,
    shared_by="iterations",
    by_value=False,
    product=inf,
    outer=inf,
    whole=inf,
    lanes=2**62,  # threads are no vectors: a costly function may stand beside others
)
SMALLEST = replace(
    CPU,
    whole=1,
    excess=0.0,
    part=1,
    fewest_rows=1,
    most_rows=1,
    composed=0,
    short=2**62,
    merged=0,
    product=1,
    side=1,
    outer=1,
    vector=1,
    threads=1.0,
    beside=0.0,
    share=0.0,
    lanes=1,
    segments=1,
    growth=0,
    maximum=1,
    statements=1,
    layers=2,
    layer=24,
    fields=0,
    kind=2,
    repetitions=2,
    forms=2,
    local_bytes=0,
)

SMALLEST_GPU = replace(SMALLEST, shared_by="iterations", by_value=False, product=inf, outer=inf)
MACHINES = {"cpu": (CPU, SMALLEST), "cuda": (GPU, SMALLEST_GPU)}  # as it is, and with every threshold at its smallest

_chosen: ContextVar[Machine | None] = ContextVar("machine", default=None)


def machine() -> Machine:
    """The machine that code is made for here and now: that of the compilation that runs, a CPU outside of any."""
    return machine_of("cpu")


def machine_of(target: str) -> Machine:
    """The machine of a target, unless another one is chosen; a CPU for a target without an entry."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    usual, least = MACHINES.get(target, MACHINES["cpu"])
    return least if smallest() else usual


@contextmanager
def using(chosen: Machine) -> Iterator[None]:
    """Another machine for a while."""
    before = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(before)


def without_parts(usual: Machine) -> Machine:
    """The same, with every value whole and every loop in one piece."""
    return replace(usual, whole=inf, outer=inf, shared_by="nobody")
