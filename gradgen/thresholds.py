"""From which size on a mechanism pays: every number that keeps one away from small models, in one place.

In: GRADGEN_THRESHOLDS, or what `using` chose. Out: a `Thresholds`, which passes and printers ask when they decide. With
the smallest of them a model of three elements goes the ways of one of three gigabytes: so tests reach them all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from math import inf

from gradgen import env

__all__ = ["SMALLEST", "USUAL", "Thresholds", "thresholds", "using", "without_parts"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is small and what is large; where a word says no more, from there on the mechanism pays."""

    # values
    whole: float = 2**24  # elements that a value may have, however few its arguments have
    excess: float = 4.0  # how many times larger than the largest argument or result an outsized one must be
    part: float = 2**17  # elements of one outsized value in one part: half of a cache of 1 MB
    fewest_rows: int = 16  # of a part
    most_rows: int = 64
    composed: int = 96  # distinct parts of the body of a copy that readers compose rather than read

    # products
    product: float = 16_384  # multiplications from which a BLAS call beats a loop nest
    side: float = 4  # rows that the summed index and the columns of such a product have at least
    outer: float = 1_000_000  # multiplications from which outer products in registers do better still
    vector: int = 4  # elements of a vector of those

    # loops
    threads: float = 1_000_000.0  # operations that pay for starting threads and for compiling a function that does
    beside: float = 1.0  # the least share of the work in matrix products, whose threads would find the cores busy
    share: float = 8.0  # how much costlier than the clearing and adding of its sums a loop in parts must be
    lanes: int = 8  # iterations of a loop that is worth having for costly functions alone
    segments: int = 5  # pieces of one loop, cut where a condition on its variable changes
    growth: int = 40  # statements in all pieces of a loop
    maximum: int = 16  # iterations; in fewer, a maximum one by one is as fast, and shorter to read

    # functions
    statements: int = 60  # in one function
    layers: int = 48  # formulas in all of some equal layers, which are better one loop
    layer: int = 12  # formulas of such a layer: what is in a loop is in one function
    fields: int = 32  # of the named tuples of a function that has branches
    kind: int = 12  # formulas of a kind that are better a loop of calls than one function
    repetitions: int = 4  # of calls that are worth a loop
    forms: int = 4  # functions of one form that are better one, without the lengths of its loops
    local_bytes: int = 1024  # of the arrays of a CUDA thread; larger ones become rows of a workspace


USUAL = Thresholds()
SMALLEST = Thresholds(
    whole=1,
    excess=0.0,
    part=1,
    fewest_rows=1,
    most_rows=1,
    composed=0,
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

_chosen: ContextVar[Thresholds | None] = ContextVar("thresholds", default=None)


def thresholds() -> Thresholds:
    """The thresholds that hold here and now."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    return SMALLEST if env.smallest() else USUAL


@contextmanager
def using(chosen: Thresholds) -> Iterator[None]:
    """Other thresholds for a while."""
    before = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(before)


def without_parts(usual: Thresholds) -> Thresholds:
    """The same, with every value whole and every loop in one piece."""
    return replace(usual, whole=inf, outer=inf, threads=inf)
