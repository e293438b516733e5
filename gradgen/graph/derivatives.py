"""Which nodes are derivatives, of what and by what: remembered, so that a compiler may derive them anew.

In: what `gg.grad` has just derived. Out: for a node, the scalar and the leaf, where it is the derivative of one by the
other. A table beside the graph, as origins are: it never makes equal nodes different.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from gradgen.graph.nodes import Leaf, Node
from gradgen.graph.side_tables import side_table

__all__ = ["Derivative", "derivative", "remember_derivatives"]


@dataclass(frozen=True, slots=True)
class Derivative:
    """d of / d by; `skip` names the rewrites for stability that were left out."""

    of: Node
    by: Leaf
    skip: frozenset[str]


_known: WeakKeyDictionary[Node, Derivative] = side_table("derivatives")


def remember_derivatives(of: Node, by: Sequence[Node], found: Sequence[Node], skip: frozenset[str]) -> None:
    """Note that `found` are the derivatives of a scalar by leaves; what is more than one says the first."""
    for x, node in zip(by, found, strict=True):
        if isinstance(x, Leaf) and node is not of:
            _known.setdefault(node, Derivative(of, x, skip))


def derivative(node: Node) -> Derivative | None:
    """What a node is the derivative of, if that is known."""
    return _known.get(node)
