"""Which values are too large to be kept whole: they outgrow everything that the caller holds.

In: the nodes of a program. Out: those that `tiling` computes part by part, and that the backward pass computes again
rather than finds saved.
"""

from collections.abc import Iterable
from math import inf

from gradgen.graph.nodes import Compute, Node, Shape, product
from gradgen.graph.scalar import Step
from gradgen.machine import machine
from gradgen.passes.rewrite.materialize import is_materialized
from gradgen.program.cost import volume


def outsized(order: Iterable[Node], kept: Iterable[Node]) -> set[Node]:
    """The formulas among `order` that outgrow the `kept` tensors, which the caller holds whole anyway.

    With sizes that are known only at call time, a value outgrows them if it is a product of more of these sizes; else
    it must be large and much larger than each of them. What is materialized is whole by request.
    """
    held = set(kept)
    degree = max((_degree(x.shape) for x in held), default=0)
    largest = max((volume(x.shape) for x in held), default=0.0)
    return {
        n
        for n in order
        if isinstance(n, Compute) and n not in held and not is_materialized(n) and is_large(n.shape, degree, largest)
    }


def is_large(shape: Shape, degree: int = 0, largest: float = 0.0) -> bool:
    """Whether a shape outgrows tensors of at most this degree in the sizes of a call, and this many elements."""
    usual = machine()
    more = _degree(shape) > max(degree, 1) or volume(shape) > max(usual.whole, usual.excess * largest)
    return more and usual.whole < inf


def _degree(shape: Shape) -> int:
    """How many sizes of the call are multiplied in the number of elements."""
    return max((sum(not isinstance(a, Step) for a in monomial) for monomial, _ in product(shape).terms), default=0)
