"""Square brackets on tensors: an access inside a formula, or NumPy's indexing of a whole tensor.

In: a node and what stood between the brackets. Out: a `Load` (indices) or a node (numbers, slices, None, ...);
`tensor` dispatches.
"""

from collections.abc import Sequence
from types import EllipsisType
from typing import Any, get_args

import numpy as np

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.axes import aligned, broadcast_shape, describe, shown
from gradgen.graph.constants import constant_leaf, numbers_of
from gradgen.graph.enumeration import indices_in, is_decidable
from gradgen.graph.names import is_derived
from gradgen.graph.nodes import Leaf, Node, pointwise, show_size
from gradgen.graph.place import here
from gradgen.graph.scalar import (
    Load,
    Poly,
    Scalar,
    as_poly,
    call,
    floor_div,
    integer,
    load,
    number,
    position,
    require_poly,
)
from gradgen.graph.sizes import is_size, nonnegative

_NODES: tuple[Any, ...] = get_args(Node)


def formula_subscripts(node: Node, key: Sequence[Any], from_end: bool = True) -> list[Poly]:
    """The subscripts of an access inside a formula, one per axis; negative numbers count from the end.

    Raises:
        ShapeError: the number of subscripts is not the number of axes.
        DTypeError: a subscript is not an integer expression.
    """
    if len(key) != len(node.shape):
        raise ShapeError(
            f"{here()}{describe(node)} has {len(node.shape)} axes and is given {len(key)} subscripts: "
            "inside a formula every axis takes one."
        )
    subscripts: list[Poly] = []
    for axis, (item, size) in enumerate(zip(key, node.shape, strict=True)):
        p = None if isinstance(item, (slice, EllipsisType, type(None), float)) else as_poly(item)
        if p is None:
            raise DTypeError(
                f"{here()}subscript {axis} of {describe(node)} is {shown(item)}: inside a formula a subscript is made "
                "of integers, sizes, indices and integer accesses."
            )
        if from_end and p.constant is not None and p.constant < 0:
            p = _number(node, axis, p, size)
        subscripts.append(p)
    return subscripts


def index(node: Node, key: Sequence[Any]) -> Node:
    """NumPy's indexing: basic, and by integer tensors, which broadcast.

    The axes that integer tensors give stand where these stand, or in front where something stands between them.

    Raises:
        ShapeError: too many subscripts, one outside its axis, or integer tensors that do not broadcast.
        DTypeError: something that NumPy's basic indexing does not take.
    """
    items = _expand(node, key)
    chosen = [k for k, item in enumerate(items) if isinstance(item, _NODES)]
    if chosen:  # beside integer tensors, numbers are integer tensors without axes
        chosen = [k for k, item in enumerate(items) if not (item is None or isinstance(item, slice))]
    block = broadcast_shape([items[k] for k in chosen if isinstance(items[k], _NODES)])
    adjacent = not chosen or chosen[-1] - chosen[0] + 1 == len(chosen)
    subscripts: list[Poly] = []
    shape: list[Poly] = [] if adjacent else list(block)
    first = 0  # the place of the block in the result
    for k, item in enumerate(items):
        if chosen and adjacent and k == chosen[0]:
            first = len(shape)
            shape += block
        if item is None:
            shape.append(integer(1))
            continue
        axis = len(subscripts)
        if isinstance(item, slice):
            start, step, count = _slice(node, axis, item)
            subscripts.append(require_poly(start + step * position(len(shape))))
            shape.append(count)
        elif isinstance(item, _NODES):  # an integer tensor
            subscripts.append(require_poly(aligned(_from_front(node, axis, item), len(block), first)))
        elif isinstance(item, Load):  # an integer tensor without axes
            subscripts.append(require_poly(item))
        else:
            subscripts.append(_number(node, axis, require_poly(item), node.shape[axis]))
    return pointwise(shape, load(node, subscripts))


def _expand(node: Node, key: Sequence[Any]) -> list[Any]:
    items = list(key)
    dots = [k for k, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ShapeError(f"{here()}{describe(node)}: only one ... may stand between the brackets.")
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > len(node.shape):
        raise ShapeError(f"{here()}{describe(node)} has {len(node.shape)} axes and is given {used} subscripts.")
    at = dots[0] if dots else len(items)
    missing = [slice(None)] * (len(node.shape) - used)
    expanded = [*items[:at], *missing, *items[at + 1 :]]
    for item in expanded:
        if not (item is None or isinstance(item, (slice, Load, *_NODES)) or _is_number(item)):
            raise DTypeError(
                f"{here()}{describe(node)}: {shown(item)} between the brackets; integers, sizes, slices, None, ... and "
                "integer tensors can stand there."
            )
    return expanded


def _is_number(item: Any) -> bool:
    """Whether this is an integer that numbers and sizes make, by whatever functions."""
    if item is None or isinstance(item, (slice, Load, *_NODES, float, bool)):
        return False
    p = as_poly(item)
    return p is not None and is_decidable(p) and not indices_in(p)


def _number(node: Node, axis: int, p: Poly, size: Poly) -> Poly:
    place = require_poly(size + p) if p.constant is not None and p.constant < 0 else p
    if nonnegative(require_poly(place - size)) or nonnegative(require_poly(-place - 1)):
        raise ShapeError(
            f"{here()}subscript {show_size(p)} is outside axis {axis} of {describe(node)}, "
            f"whose size is {show_size(size)}."
        )
    return place


def _from_front(node: Node, axis: int, item: Node) -> Node:
    """Negative numbers of a constant count from the end, and all are inside; of other tensors calls find out."""
    if not isinstance(item, Leaf) or (numbers := numbers_of(item)) is None:
        return item
    size = node.shape[axis]
    if size.constant is not None:
        for value in {int(numbers.min()), int(numbers.max())} if numbers.size else ():
            _number(node, axis, integer(value), size)
    if not (numbers < 0).any():
        return item
    if size.constant is None or not is_derived(item):
        at = load(item, [position(k) for k in range(len(item.shape))])
        return pointwise(item.shape, call("where", call("lt", at, number(0)), call("add", at, size), at))
    return constant_leaf(np.where(numbers < 0, numbers + size.constant, numbers))


def _slice(node: Node, axis: int, item: slice) -> tuple[Poly, Poly, Poly]:
    """First element, step and number of elements of a slice."""
    size = node.shape[axis]
    start, stop, step = (
        None if part is None else _bound(node, axis, part) for part in (item.start, item.stop, item.step)
    )
    by = 1 if step is None else step.constant
    if by is None or by == 0:
        raise ShapeError(f"{here()}the step of a slice of {describe(node)} is a known integer, and not 0.")
    if size.constant is not None and all(part is None or part.constant is not None for part in (start, stop)):
        known = slice(None if start is None else start.constant, None if stop is None else stop.constant, by)
        chosen = range(*known.indices(size.constant))
        return integer(chosen.start), integer(by), integer(len(chosen))
    low, high = (integer(0), size) if by > 0 else (integer(-1), require_poly(size - 1))
    first = _clipped(start, size, low, high) if start is not None else low if by > 0 else high
    last = _clipped(stop, size, low, high) if stop is not None else high if by > 0 else low
    span = require_poly(last - first if by > 0 else first - last)
    count = floor_div(require_poly(span + abs(by) - 1), integer(abs(by)))
    if nonnegative(require_poly(-count)):
        count = integer(0)
    return first, integer(by), count


def _bound(node: Node, axis: int, part: Any) -> Poly:
    p = None if isinstance(part, (Scalar, int)) and not _is_number(part) else as_poly(part)
    if p is None or not is_size(p):
        raise DTypeError(
            f"{here()}a slice of axis {axis} of {describe(node)} has the bound {shown(part)}: use integers or sizes."
        )
    return p


def _clipped(p: Poly, size: Poly, low: Poly, high: Poly) -> Poly:
    """A bound of a slice, from the end where negative, inside the axis where that is known."""
    if p.constant is not None and p.constant < 0:
        p = require_poly(size + p)
    if nonnegative(require_poly(p - high)):
        return high
    return low if nonnegative(require_poly(low - p)) else p
