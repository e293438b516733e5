"""Which sizes must not come out negative: a slice that ends before it begins is empty, everything else is an error.

In: the nodes of a graph. Out: the extents for `runtime.requirements` and `lang.interpret` to refuse where they are
negative; all others count as 0 there.
"""

from collections.abc import Iterable

from gradgen.graph.nodes import Compute, Leaf, Node, Project, Reshape
from gradgen.graph.scalar import Load, Poly, integer, loads, position_atom, positions_of, require_poly
from gradgen.graph.sizes import is_size, nonnegative

__all__ = ["may_be_negative", "required"]


def may_be_negative(extent: Poly) -> bool:
    """Whether it is not proved that a size is at least 0; the part of a loop is no size."""
    return is_size(extent) and not nonnegative(extent)


def required(nodes: Iterable[Node]) -> set[Poly]:
    """The extents that must not be negative: those of no slice, and those from which other sizes are made.

    `x[1:-1]` has N - 2 elements, or none. What joins its elements to others, or lays them out in another shape, has
    sizes that are right only where N - 2 is not negative, and so has a loop of N - 2 steps.
    """
    found: set[Poly] = set()
    elsewhere: set[Poly] = set()
    sliced: set[Poly] = set()
    for node in nodes:
        match node:
            case Leaf():
                pass
            case Compute():
                elsewhere.update(node.shape, node.extents)
                sliced |= _sliced(node)
                found |= _joined(node)
            case Reshape() if _long_axes(node.shape) == _long_axes(node.source.shape):
                pass
            case Reshape():
                found.update((*node.shape, *node.source.shape))
            case Project(scan=scan):
                found.update((*node.shape, scan.length))
            case _:
                found.update(node.shape)
    return {extent for extent in found | (elsewhere - sliced) if may_be_negative(extent)}


def _sliced(node: Compute) -> set[Poly]:
    """The extents of axes of which a formula only takes a part, or which it only puts into their places."""
    if not isinstance(node.body, Load):
        return set()
    places = [positions_of(p) for p in (*node.body.subscripts, *node.target)]
    return {node.extents[k] for k in range(len(node.extents)) if all(k not in p or p == [k] for p in places)}


def _joined(node: Compute) -> set[Poly]:
    """The lengths of what a formula puts one after the other along an axis."""
    parts = [x for x in loads(node.body) if len(x.subscripts) == len(node.shape)]
    found: set[Poly] = set()
    for k, extent in enumerate(node.shape):
        lengths = [x.tensor.shape[k] for x in parts if x.subscripts[k].coefficient(position_atom(k)) is integer(1)]
        total = integer(0)
        for length in lengths:
            total = require_poly(total + length)
        if len(lengths) > 1 and total is extent:
            found.update(lengths)
    return found


def _long_axes(shape: Iterable[Poly]) -> list[str]:
    return [extent.digest for extent in shape if extent.constant != 1]
