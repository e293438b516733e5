"""Looking through nodes: the body of a producer as an expression of its consumer.

In: an access. Out: what stands at that place in the producer, or None; `copies`, `supports` and `stabilize` use it.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, Reshape, product, same_shape
from gradgen.graph.scalar import (
    FLOATS,
    Const,
    Load,
    Poly,
    Scalar,
    call,
    integer,
    load,
    position_atom,
    require_poly,
    substitute,
)

__all__ = ["at", "is_pointwise", "pointwise_body", "reshaped_access"]


def is_pointwise(node: Node) -> bool:
    """Whether every element of the result is the body at its own position."""
    return (
        isinstance(node, Compute) and node.reducer == "none" and node.gathers and same_shape(node.extents, node.shape)
    )


def at(x: Scalar, subscripts: Sequence[Poly]) -> Scalar:
    """An expression over positions 0, 1, ... at these subscripts."""
    return substitute(x, {position_atom(k): s for k, s in enumerate(subscripts)})


def pointwise_body(access: Load) -> Scalar | None:
    """T[f] = body at f, for a pointwise T; in T's dtype, so a weak number is made strong."""
    node = access.tensor
    if not isinstance(node, Compute) or not is_pointwise(node):
        return None
    body = at(node.body, access.subscripts)
    if body.dtype == node.dtype:
        return body
    if node.dtype in FLOATS:
        return call(node.dtype, body)
    return require_poly(body) if isinstance(body, Const) and node.dtype == "int64" else None


def reshaped_access(access: Load) -> Load | None:
    """R[f] = source[g] for a reshape R, where g needs no division: every axis of the source is split, or has size 1."""
    node = access.tensor
    if not isinstance(node, Reshape):
        return None
    subscripts: list[Poly] = []
    pairs = [(s, extent) for s, extent in zip(access.subscripts, node.shape, strict=True) if extent.constant != 1]
    for extent in node.source.shape:
        if extent.constant == 1:
            subscripts.append(integer(0))
            continue
        flat, total = integer(0), integer(1)
        while total is not extent:
            if not pairs:
                return None
            s, size = pairs.pop(0)
            flat, total = require_poly(flat * size + s), product([total, size])
        subscripts.append(flat)
    return None if pairs else load(node.source, subscripts)
