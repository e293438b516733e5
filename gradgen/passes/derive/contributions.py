"""Terms of adjoints, and how they add up.

In: cotangents that nodes hand to what they read. Out: sums of them; `reverse` and `scan_adjoint` collect them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from gradgen.graph.nodes import Node, identity, pointwise
from gradgen.graph.scalar import FLOATS, call, number
from gradgen.passes.derive.supports import Support

__all__ = ["Contribution", "add_nodes", "running_sums", "zeros_like"]


@dataclass(frozen=True, slots=True)
class Contribution:
    """A term of the adjoint of `to`, and where it may be other than 0."""

    to: Node
    adjoint: Node
    support: Support


def zeros_like(x: Node) -> Node:
    """No contribution."""
    return pointwise(x.shape, call(x.dtype, number(0)) if x.dtype in FLOATS else number(0))


def add_nodes(terms: Sequence[Node]) -> Node:
    """The sum of one term or more."""
    *_, total = running_sums(terms)
    return total


def running_sums(terms: Iterable[Node]) -> Iterator[Node]:
    """The sums of the first, of the first two, ..."""
    return accumulate(terms, lambda a, b: pointwise(a.shape, call("add", identity(a), identity(b))))
