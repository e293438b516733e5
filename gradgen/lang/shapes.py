"""Tensors of other shapes: axes in another order, joined, cut, repeated, padded.

In: tensors and numbers. Out: tensors; what works element by element stands in `elementwise`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from gradgen.errors import ShapeError
from gradgen.graph import axes, indexing
from gradgen.graph.nodes import pointwise
from gradgen.graph.operators import refuse_operand
from gradgen.graph.place import here
from gradgen.graph.scalar import floor_div, integer, number, require_poly
from gradgen.graph.tensor import Tensor, constant, made, tensor
from gradgen.lang.constants import full

__all__ = [
    "broadcast_to", "concatenate", "expand_dims", "flip", "moveaxis", "pad", "ravel", "repeat", "reshape", "roll",
    "split", "squeeze", "stack", "swapaxes", "tile", "transpose",
]  # fmt: skip


def transpose(x: Tensor, order: Sequence[int] | None = None) -> Tensor:
    """The axes in another order; reversed without one."""
    return made(axes.transpose(whole(x, "transpose").node, order))


def reshape(x: Tensor, shape: Any) -> Tensor:
    """The same elements in row-major order under another shape; one size may be -1."""
    return whole(x, "reshape").reshape(shape)


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """A new axis of size 1 at this place of the result."""
    node = whole(x, "expand_dims").node
    return made(axes.with_axis(node, axes.axis_number(axis, len(node.shape) + 1, "the result of expand_dims")))


def squeeze(x: Tensor, axis: int) -> Tensor:
    """Without an axis, whose size must be 1."""
    node = whole(x, "squeeze").node
    at = axes.axis_number(axis, len(node.shape), axes.describe(node))
    if not axes.is_one(node.shape[at]):
        raise ShapeError(f"{here()}axis {at} of {axes.describe(node)} cannot be squeezed: its size is not 1.")
    return made(axes.reshaped(node, [*node.shape[:at], *node.shape[at + 1 :]]))


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """The tensor repeated along new axes in front, and along axes of size 1."""
    return made(axes.broadcast_to(whole(x, "broadcast_to").node, axes.as_shape(shape)))


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after another along an axis; their other sizes are equal."""
    return made(axes.concatenate([x.node for x in wholes("concatenate", *_some(tensors, "concatenate"))], axis))


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    return made(axes.stack([x.node for x in wholes("stack", *_some(tensors, "stack"))], axis))


def moveaxis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Axes at other places, the others in their order."""
    x = whole(x, "moveaxis")
    rank = x.ndim
    what = axes.describe(x.node)
    sources, targets = (
        [axes.axis_number(a, rank, what) for a in (given if isinstance(given, (tuple, list)) else (given,))]
        for given in (source, destination)
    )
    if len(sources) != len(targets) or len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise ShapeError(f"{here()}moveaxis of {what} from {source} to {destination}: give as many places as axes.")
    order = [k for k in range(rank) if k not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        order.insert(target, origin)
    return x if order == list(range(rank)) else transpose(x, order)


def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Two axes in each other's place."""
    x = whole(x, "swapaxes")
    order = list(range(x.ndim))
    first, second = (axes.axis_number(a, x.ndim, axes.describe(x.node)) for a in (axis1, axis2))
    order[first], order[second] = second, first
    return transpose(x, order)


def ravel(x: Tensor) -> Tensor:
    """All elements in row-major order along one axis."""
    return whole(x, "ravel").reshape(-1)


def flip(x: Tensor, axis: Any = None) -> Tensor:
    """The elements in reverse order along an axis, several, or all."""
    x = whole(x, "flip")
    flipped = axes.axis_numbers(axis, x.ndim, axes.describe(x.node))
    return x[tuple(slice(None, None, -1) if k in flipped else slice(None) for k in range(x.ndim))]  # type: ignore[no-any-return]


def roll(x: Tensor, shift: int, axis: int | None = None) -> Tensor:
    """The elements moved on by `shift` places along an axis, those that leave it coming in at the other end.

    Without an axis the elements are taken in row-major order. Along a symbolic size the shift is not larger than it.
    """
    x = whole(x, "roll")
    if axis is None:
        return roll(ravel(x), shift, 0).reshape(x.shape)
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    extent = x.node.shape[at].constant
    if extent is not None:
        shift = shift % extent if extent else 0
    if shift == 0:
        return x
    return concatenate([_sliced(x, at, slice(-shift, None)), _sliced(x, at, slice(None, -shift))], at)


def tile(x: Tensor, repetitions: Any) -> Tensor:
    """The tensor side by side with itself, as often as `repetitions` say along each axis."""
    counts = axes.as_shape(repetitions)
    x = whole(x, "tile")
    rank = max(len(counts), x.ndim)
    x = x.reshape((*[1] * (rank - x.ndim), *x.shape))
    counts = (*[integer(1)] * (rank - len(counts)), *counts)
    between = x.reshape(tuple(part for extent in x.shape for part in (1, extent)))
    wide = tuple(part for count, extent in zip(counts, x.shape, strict=True) for part in (count, extent))
    return broadcast_to(between, wide).reshape(
        tuple(require_poly(c * e) for c, e in zip(counts, x.node.shape, strict=True))
    )


def repeat(x: Tensor, repetitions: Any, axis: int | None = None) -> Tensor:
    """Every element, or every slice along an axis, so many times in a row."""
    x = whole(x, "repeat")
    if axis is None:
        return repeat(ravel(x), repetitions, 0)
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    (count,) = axes.as_shape(repetitions)
    wide = broadcast_to(expand_dims(x, at + 1), (*x.shape[: at + 1], count, *x.shape[at + 1 :]))
    return wide.reshape((*x.shape[:at], require_poly(x.node.shape[at] * count), *x.shape[at + 1 :]))


def split(x: Tensor, parts: Any, axis: int = 0) -> list[Tensor]:
    """The tensor cut along an axis: into so many equal parts, or before each of the given places.

    Raises:
        ShapeError: parts that are not equal.
    """
    x = whole(x, "split")
    at = axes.axis_number(axis, x.ndim, axes.describe(x.node))
    if isinstance(parts, (tuple, list)):
        slices = [slice(a, b) for a, b in pairwise([0, *parts, None])]
        return [_sliced(x, at, part, k, len(slices)) for k, part in enumerate(slices)]
    extent = x.node.shape[at]
    if not isinstance(parts, int):
        raise ShapeError(
            f"{here()}split of {axes.describe(x.node)} into {parts!r}: give a number, or a list of places."
        )
    length = floor_div(extent, integer(parts)) if parts > 0 else extent
    if parts < 1 or length * parts is not extent:
        raise ShapeError(f"{here()}axis {at} of {axes.describe(x.node)} cannot be split into {parts} equal parts.")
    return [_sliced(x, at, slice(length * k, length * (k + 1)), k, parts) for k in range(parts)]


def pad(x: Tensor, width: Any, mode: str = "constant", value: float = 0) -> Tensor:
    """The tensor with more elements before and after each axis.

    Args:
        width: a number for all sides of all axes, a pair (before, after) for all axes, or a pair for each axis.
        mode: "constant" (`value`), "edge" (the outermost element; also "replicate"), "reflect" (mirrored, without
            repeating the edge), "symmetric" (mirrored with it), or "wrap" (from the other end; also "circular").
        value: what a constant padding consists of.

    Raises:
        ShapeError: an unknown mode, a width that does not fit, or one that is larger than what is repeated.
    """
    x = whole(x, "pad")
    widths = _widths(x, width)
    mode = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    if mode not in _PADDING and mode != "constant":
        raise ShapeError(f"{here()}pad has no mode {mode!r}: constant, {', '.join(_PADDING)}.")
    for at, (before, after) in enumerate(widths):
        if before == after == 0:
            continue
        extent = x.node.shape[at]
        if mode == "constant":
            fill = [full((*x.shape[:at], n, *x.shape[at + 1 :]), value, x.dtype) for n in (before, after)]
        else:
            inside = extent.constant
            if inside is not None and max(before, after) > {"edge": inside * 10**9, "reflect": inside - 1}.get(
                mode, inside
            ):
                raise ShapeError(f"{here()}axis {at} of {axes.describe(x.node)} is too short to be padded by {mode}.")
            low, high = _PADDING[mode](before, after, extent)
            fill = [_sliced(x, at, low), _sliced(x, at, high)]
            if mode == "edge":
                fill = [repeat(f, n, at) for f, n in zip(fill, (before, after), strict=True)]
        x = concatenate([part for part, n in ((fill[0], before), (x, 1), (fill[1], after)) if n], at)
    return x


# What stands before and after an axis: slices of it, for so many elements before and after.
_PADDING: dict[str, Callable[[int, int, Any], tuple[slice, slice]]] = {
    "edge": lambda a, b, n: (slice(0, 1), slice(n - 1, n)),
    "reflect": lambda a, b, n: (slice(a, 0, -1), slice(n - 2, n - 2 - b if n.constant != b + 1 else None, -1)),
    "symmetric": lambda a, b, n: (slice(a - 1, None, -1), slice(n - 1, n - 1 - b if n.constant != b else None, -1)),
    "wrap": lambda a, b, n: (slice(n - a, n), slice(0, b)),
}


def _widths(x: Tensor, width: Any) -> list[tuple[int, int]]:
    if isinstance(width, int):
        width = (width, width)
    pairs = [tuple(width)] * x.ndim if all(isinstance(n, int) for n in width) else [tuple(pair) for pair in width]
    if len(pairs) != x.ndim or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ShapeError(f"{here()}the widths of pad for {axes.describe(x.node)} are pairs of numbers from 0 on.")
    return pairs


def _sliced(x: Tensor, axis: int, part: slice, item: int = 0, of: int = 1) -> Tensor:
    """A part of a tensor along an axis: result `item` of `of`."""
    key = [part if k == axis else slice(None) for k in range(x.ndim)]
    return made(indexing.index(x.node, key), None, None, item, of)


def _some(tensors: Sequence[Tensor], what: str) -> Sequence[Tensor]:
    if isinstance(tensors, Tensor) or not tensors:
        raise ShapeError(f"{here()}{what} takes a list of at least one tensor.")
    return tensors


def wholes(what: str, *several: Any) -> list[Tensor]:
    """The tensors that arguments are, as `whole`, arrays with the dtypes of the tensors beside them."""
    beside = [x.dtype for x in several if isinstance(x, Tensor)]
    return [whole(x, what, *beside) for x in several]


def whole(x: Any, what: str, *beside: str) -> Tensor:
    """The tensor that an argument is; a number is one without axes, an array one that is part of the model.

    An array meets tensors of the dtypes `beside`.

    Raises:
        DTypeError: anything else.
    """
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (bool, int, float)):
        return tensor(pointwise((), number(x)))
    found = constant(x, *beside)
    if found is None:
        refuse_operand(what, x, "tensors and arrays")
    return found
