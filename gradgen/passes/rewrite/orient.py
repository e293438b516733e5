"""A sum that is only read with its axes in another order is computed in that order.

In: simplified nodes. Out: fewer buffers, and loops that run along rows: the gradient of `X` in `h @ X.T`, and what an
update makes of it, are written as X lies.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, all_inputs, compute, toposort
from gradgen.graph.origin import carry_origin, name_part
from gradgen.graph.scalar import (
    Load,
    Poly,
    Position,
    Scalar,
    load,
    loads,
    position,
    position_atom,
    require_poly,
    rewrite,
    substitute,
)
from gradgen.passes.rebuild.look_through import is_pointwise
from gradgen.passes.rebuild.nodes import rebuild, replace_loads

Order = tuple[int, ...]  # where each axis of a tensor stands in its readers


def orient(roots: Sequence[Node]) -> list[Node]:
    """S[j, i] = sum ..., read only as S[j, i] by pointwise formulas over i, j, becomes S[i, j] = sum ..."""
    orders = _reading_orders(roots)
    built: dict[Node, Node] = {}
    for node in toposort(roots, all_inputs):
        if isinstance(node, Compute):
            body = _over_turned(node.body, built, orders)
            target = [require_poly(replace_loads(t, built)) for t in node.target]
            new = compute(node.shape, node.extents, target, node.reducer, body)
            built[node] = _turned(new, orders[node]) if node in orders else new
        else:
            built[node] = rebuild(node, built)
        if node in orders:
            name_part(node, built[node])
        elif built[node] is not node:
            carry_origin(node, built[node])
    return [built[root] for root in roots]


def _reading_orders(roots: Sequence[Node]) -> dict[Node, Order]:
    """The sums that all readers read in one order of axes, not their own."""
    found: dict[Node, Order | None] = dict.fromkeys(roots)
    for node in toposort(roots, all_inputs):
        orders = _orders_in(node)
        for source in all_inputs(node):
            order = orders.get(source)
            found[source] = order if found.get(source, order) == order else None
    return {node: order for node, order in found.items() if order is not None and _is_sum(node)}


def _orders_in(reader: Node) -> dict[Node, Order | None]:
    """The orders in which a pointwise formula reads tensors of its own rank; None for those that it reads otherwise."""
    if not isinstance(reader, Compute) or not is_pointwise(reader):
        return {}
    found: dict[Node, Order | None] = {access.tensor: None for access in loads(*reader.target)}
    for access in loads(reader.body):
        order = _permutation(access.subscripts, len(reader.shape))
        found[access.tensor] = order if found.get(access.tensor, order) == order else None
    return found


def _permutation(subscripts: Sequence[Poly], rank: int) -> Order | None:
    """The positions of a reordering of axes that changes something; every subscript is an index of its own."""
    if len(subscripts) != rank:
        return None
    found = [a.position for s in subscripts for a in s.atoms if isinstance(a, Position) and s is position(a.position)]
    return tuple(found) if sorted(found) == list(range(rank)) and found != sorted(found) else None


def _is_sum(node: Node) -> bool:
    return isinstance(node, Compute) and node.gathers and node.reducer != "none"


def _over_turned(body: Scalar, built: dict[Node, Node], orders: dict[Node, Order]) -> Scalar:
    """A body over rebuilt tensors, with the subscripts of those that are turned in their new order."""

    def change(part: Scalar) -> Scalar | None:
        if not isinstance(part, Load):
            return None
        order = orders.get(part.tensor)
        subscripts = part.subscripts if order is None else _inverse(part.subscripts, order)
        return load(built.get(part.tensor, part.tensor), subscripts)

    return rewrite(body, change, lambda atom: None)


def _inverse(of_axes: Sequence[Poly], order: Order) -> list[Poly]:
    """What belongs to each axis, where the axis stands in the new order."""
    return [of_axes[order.index(k)] for k in range(len(order))]


def _turned(node: Node, order: Order) -> Node:
    assert isinstance(node, Compute)
    moved = {position_atom(axis): position(k) for axis, k in enumerate(order)}
    shape = _inverse(node.shape, order)
    extents = [*shape, *node.extents[len(shape) :]]
    target = [position(k) for k in range(len(shape))]
    return compute(shape, extents, target, node.reducer, substitute(node.body, moved))
