"""Copies composed away: slices, transposes, padded copies, concatenations, rows of stacks, masks of indices.

In: a body. Out: the same body reading the sources of such nodes; `simplify` calls this first.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, Reshape, reshape
from gradgen.graph.origin import carry_place
from gradgen.graph.scalar import (
    Call,
    Const,
    Load,
    Poly,
    Scalar,
    integer,
    load,
    loads,
    position,
    positions_of,
    rewrite,
    walk,
)
from gradgen.graph.sizes import is_index_only, reads_data
from gradgen.graph.spans import fits
from gradgen.machine import machine
from gradgen.passes.rebuild.look_through import is_pointwise, pointwise_body, reshaped_access

__all__ = ["compose_copies", "is_copy"]

_CASTS = frozenset(("float32", "float64", "int32", "int64", "uint32"))
_ON_INDICES = frozenset(("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"))


def compose_copies(body: Scalar) -> Scalar:
    """T[f] = source[g at f] for every access to a node that only moves data; -T[f] = x[f] where T is -x."""
    if not any(is_copy(a.tensor) or _negated(a) is not None or isinstance(a.tensor, Reshape) for a in loads(body)):
        return body

    def change(part: Scalar) -> Scalar | None:
        if isinstance(part, Call) and part.function.name == "neg" and isinstance(part.arguments[0], Load):
            return _negated(part.arguments[0])
        if not isinstance(part, Load):
            return None
        new = composed(part)
        return new if new is not part else None

    return rewrite(body, change, lambda atom: None)


def composed(access: Load) -> Scalar:
    """What an access reads in the end; producers are composed already, so one step does for each of them."""
    current: Scalar = access
    while isinstance(current, Load):
        following: Scalar | None = _reshaped(current) if isinstance(current.tensor, Reshape) else None
        if is_copy(current.tensor):
            following = pointwise_body(current)
        if following is None:
            return current
        current = following
    if any(isinstance(a.tensor, Reshape) or is_copy(a.tensor) for a in loads(current)):
        return compose_copies(current)
    return current


def _negated(access: Load) -> Scalar | None:
    """x for an access to a pointwise node -x: two signs in a row vanish."""
    node = access.tensor
    if not isinstance(node, Compute) or not is_pointwise(node):
        return None
    body = node.body
    if not isinstance(body, Call) or body.function.name != "neg" or body.dtype != node.dtype:
        return None
    found = pointwise_body(access)
    return found.arguments[0] if isinstance(found, Call) and found.function.name == "neg" else None


def is_copy(node: Node) -> bool:
    """Whether a pointwise node only moves data: accesses, casts and numbers, chosen by conditions on indices."""
    return isinstance(node, Compute) and is_pointwise(node) and _moves_data(node.body) and _is_small(node.body)


def _is_small(body: Scalar) -> bool:
    return sum(1 for _ in walk(body)) <= machine().composed


def _moves_data(root: Scalar) -> bool:
    stack = [root]
    while stack:
        match stack.pop():
            case Const():
                continue
            case Poly() as p if not reads_data(p) and fits(p):  # what wraps around is computed, and no place
                continue
            case Load(subscripts=subscripts) if not any(reads_data(s) for s in subscripts):
                continue
            case Call(function=f, arguments=(a,)) if f.name in _CASTS:
                stack.append(a)
            case Call(function=f, arguments=(condition, yes, no)) if f.name == "where" and is_index_only(condition):
                stack += [yes, no]
            case Call(function=f) as x if f.name in _ON_INDICES and is_index_only(x):
                continue
            case _:
                return False
    return True


def _reshaped(access: Load) -> Load | None:
    """R[f] = source[g] for a reshape that only puts in or leaves out axes of size 1, or that of a slice or transpose.

    A value is read through a view of it. So is a copy that is more than one access: its readers share it as it is.
    """
    node = access.tensor
    assert isinstance(node, Reshape)
    found = _squeezed(access)
    if found is None and is_copy(node.source) and isinstance(_body(node.source), Load):
        found = reshaped_access(access)
        return _row_of_reshape(access) if found is None else found
    return found


def _body(node: Node) -> Scalar | None:
    return node.body if isinstance(node, Compute) else None


def _row_of_reshape(access: Load) -> Load | None:
    """R[f] = reshape(X)[t, f], where R is another shape of the row X[t]."""
    node = access.tensor
    assert isinstance(node, Reshape)
    source, row = node.source, _body(node.source)
    if not isinstance(row, Load) or row.dtype != node.dtype:
        return None
    lead = len(row.subscripts) - len(source.shape)
    own = zip(row.subscripts[lead:], row.tensor.shape[lead:], source.shape, strict=True) if lead >= 0 else ()
    if lead < 1 or not all(s is position(k) and a is b for k, (s, a, b) in enumerate(own)):
        return None
    if any(positions_of(s) for s in row.subscripts[:lead]):
        return None
    whole = reshape(row.tensor, (*row.tensor.shape[:lead], *node.shape))
    carry_place(node, whole)
    return load(whole, (*row.subscripts[:lead], *access.subscripts))


def _squeezed(access: Load) -> Load | None:
    """R[f] = source[g] for a reshape that only puts in or leaves out axes of size 1."""
    node = access.tensor
    assert isinstance(node, Reshape)
    wide = [(s, extent) for s, extent in zip(access.subscripts, node.shape, strict=True) if extent.constant != 1]
    sizes = [extent for extent in node.source.shape if extent.constant != 1]
    if len(sizes) != len(wide) or any(a is not b for a, (_, b) in zip(sizes, wide, strict=True)):
        return None
    return load(node.source, _spread([s for s, _ in wide], node.source.shape))


def _spread(subscripts: Sequence[Poly], shape: Sequence[Poly]) -> list[Poly]:
    """The subscripts in order, with 0 for every axis of size 1."""
    left = list(subscripts)
    return [integer(0) if extent.constant == 1 else left.pop(0) for extent in shape]
