"""NumPy's rules for whole tensors, each as one formula: broadcasting, reductions over axes, products, other shapes.

In: nodes and axis numbers. Out: nodes; `tensor` gives them operators. Errors name the user's line and the tensors.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from numpy import dtype as numpy_dtype

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.lengths import may_be_negative
from gradgen.graph.nodes import (
    Node,
    Shape,
    compute,
    pointwise,
    product,
    reshape,
    same_shape,
    show_shape,
    show_size,
)
from gradgen.graph.operators import Operators
from gradgen.graph.origin import display_name
from gradgen.graph.place import here
from gradgen.graph.scalar import (
    FLOATS,
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

Operand = Node | Scalar
_NODES: tuple[Any, ...] = get_args(Node)


def is_one(p: Poly) -> bool:
    """Whether a size is literally 1: the only size that broadcasts."""
    return p.constant == 1


def broadcast_shape(operands: Sequence[Operand]) -> Shape:
    """The shape of an elementwise result; unequal sizes are an error unless one is literally 1."""
    nodes = [x for x in operands if not isinstance(x, Scalar)]
    rank = max((len(n.shape) for n in nodes), default=0)
    shape: list[Poly] = []
    for axis in range(rank):
        chosen, owner = integer(1), None
        for n in nodes:
            at = axis - rank + len(n.shape)
            if at < 0 or n.shape[at] is chosen or is_one(n.shape[at]):
                continue
            if owner is not None and not is_one(chosen):
                raise ShapeError(
                    f"{here()}{describe(owner)} and {describe(n)} do not broadcast: axis {axis - rank} has sizes "
                    f"{show_size(chosen)} and {show_size(n.shape[at])}. Make the sizes equal; only a size that is "
                    "literally 1 is stretched."
                )
            chosen, owner = n.shape[at], n
        shape.append(chosen)
    return tuple(shape)


def describe(node: Node) -> str:
    """A tensor with its shape, for messages: `u2 (B, 10)`."""
    return f"{display_name(node)} {show_shape(node.shape)}"


def shown(item: Any) -> str:
    """What the user wrote, for messages about a wrong subscript or size."""
    if isinstance(item, Poly):
        return show_size(item)
    if isinstance(item, Operators):
        text, dtype = item._described(), getattr(item, "dtype", "")
        return f"{text if len(text) <= 40 else 'a formula'} of dtype {dtype}".replace("dtype py", "dtype ")
    if isinstance(item, _NODES):
        return f"{describe(item)} of dtype {item.dtype}"
    if isinstance(item, slice):
        return "a slice"
    return "..." if item is Ellipsis else repr(item)


def aligned(node: Node, rank: int, first: int = 0) -> Scalar:
    """The access of a tensor inside a broadcast result of `rank` axes, whose axes start at position `first`."""
    skip = rank - len(node.shape)
    return load(node, [integer(0) if is_one(size) else position(first + skip + k) for k, size in enumerate(node.shape)])


def elementwise(function: str, operands: Sequence[Operand]) -> Node:
    """A scalar function applied element by element, with broadcasting."""
    return mapped(lambda *elements: call(function, *elements), operands)


def mapped(body: Callable[..., Scalar], operands: Sequence[Operand]) -> Node:
    """A scalar body, built from the elements of its operands, with broadcasting."""
    shape = broadcast_shape(operands)
    return pointwise(shape, body(*[x if isinstance(x, Scalar) else aligned(x, len(shape)) for x in operands]))


def broadcast_to(node: Node, shape: Sequence[Poly]) -> Node:
    """The tensor repeated along new axes, and along axes of size 1."""
    shape, skip = tuple(shape), len(shape) - len(node.shape)
    if skip < 0 or not all(is_one(a) or a is b for a, b in zip(node.shape, shape[skip:], strict=True)):
        raise ShapeError(f"{here()}{describe(node)} cannot be broadcast to {show_shape(shape)}.")
    subscripts = [
        integer(0) if is_one(a) and not is_one(b) else position(skip + k)
        for k, (a, b) in enumerate(zip(node.shape, shape[skip:], strict=True))
    ]
    return pointwise(shape, load(node, subscripts))


# ---------------------------------------------------------------- axes


def axis_number(axis: Any, rank: int, what: str) -> int:
    """An axis counted from the front; negative ones count from the back."""
    if not hasattr(axis, "__index__") or isinstance(axis, bool):
        raise ShapeError(f"{here()}{what}: axis is {axis!r}; give an integer.")
    number_ = int(axis.__index__())
    if not -rank <= number_ < rank:
        raise ShapeError(f"{here()}{what} has {rank} axes; axis {number_} is not one of them.")
    return number_ % rank


def axis_numbers(axis: Any, rank: int, what: str) -> tuple[int, ...]:
    """The axes of a reduction: None is all of them."""
    return tuple(sorted(axes_as_given(axis, rank, what)))


def axes_as_given(axis: Any, rank: int, what: str) -> tuple[int, ...]:
    """The same in the order in which they are given, which tells the place among the elements of several axes."""
    if axis is None:
        return tuple(range(rank))
    numbers = [axis_number(a, rank, what) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    if len(set(numbers)) != len(numbers):
        raise ShapeError(f"{here()}{what}: an axis is given twice in {tuple(numbers)}.")
    return tuple(numbers)


def reduce_axes(reducer: str, node: Node, axis: Any, keepdims: bool) -> Node:
    """sum, max, min, logsumexp, argmax or argmin over axes, as one formula."""
    rank = len(node.shape)
    axes = axis_numbers(axis, rank, describe(node))
    if reducer in ("argmax", "argmin"):
        axes = axes_as_given(axis, rank, describe(node))
        for k in axes:
            if node.shape[k].constant == 0:
                raise ShapeError(f"{here()}{reducer} over axis {k} of {describe(node)}, which is empty.")
        if not axes:
            return pointwise(node.shape, number(0))
    if not axes and reducer in ("sum", "max", "min"):
        return node
    kept = [k for k in range(rank) if keepdims or k not in axes]
    shape = [integer(1) if k in axes else node.shape[k] for k in kept]
    places = {k: position(at) for at, k in enumerate(kept) if k not in axes}
    places |= {k: position(len(kept) + at) for at, k in enumerate(axes)}
    body: Scalar = load(node, [places[k] for k in range(rank)])
    if reducer == "logsumexp" and body.dtype not in FLOATS:
        body = call("float32", body)
    target = [position(k) for k in range(len(kept))]
    return compute(shape, [*shape, *[node.shape[k] for k in axes]], target, reducer, body)


def mean_axes(node: Node, axis: Any, keepdims: bool) -> Node:
    """sum / count, in float32 for integers."""
    axes = axis_numbers(axis, len(node.shape), describe(node))
    source = node if node.dtype in FLOATS else elementwise("float32", [node])
    total = reduce_axes("sum", source, axes, keepdims)
    return elementwise("div", [total, count_of(node.shape[k] for k in axes)])


def count_of(extents: Iterable[Poly]) -> Scalar:
    """The number of elements along some axes as an operand, 0 where slices left one without any."""
    found: Scalar = integer(1)
    for extent in extents:
        found = found * (call("maximum", extent, integer(0)) if may_be_negative(extent) else extent)
    return weak(found) if isinstance(found, Poly) else found


def product_of(node: Node, axes: Sequence[int]) -> Poly:
    """The number of elements along some axes."""
    return product(node.shape[k] for k in axes)


def weak(p: Poly) -> Scalar:
    """A size as an operand: a plain number where it is known."""
    return p if p.constant is None else number(p.constant)


def transpose(node: Node, axes: Sequence[Any] | None = None) -> Node:
    """The axes in another order; reversed without one."""
    rank = len(node.shape)
    given = reversed(range(rank)) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    order = tuple(axis_number(a, rank, describe(node)) for a in given)
    if sorted(order) != list(range(rank)):
        raise ShapeError(f"{here()}{order} is not an order of the {rank} axes of {describe(node)}.")
    places = {axis: position(at) for at, axis in enumerate(order)}
    return pointwise([node.shape[a] for a in order], load(node, [places[k] for k in range(rank)]))


def matmul(a: Node, b: Node) -> Node:
    """NumPy's `@`: vectors, matrices, and stacks of matrices with broadcasting."""
    if not a.shape or not b.shape:
        raise ShapeError(f"{here()}{describe(a)} @ {describe(b)}: both need an axis to sum over; use * with a scalar.")
    inner_a, inner_b = a.shape[-1], b.shape[-2 if len(b.shape) > 1 else -1]
    if inner_a is not inner_b:
        raise ShapeError(
            f"{here()}{describe(a)} @ {describe(b)}: sizes {show_size(inner_a)} and {show_size(inner_b)} of the summed "
            "axis differ. Make them equal, or transpose one with .T."
        )
    rows = () if len(a.shape) == 1 else (a.shape[-2],)
    columns = () if len(b.shape) == 1 else (b.shape[-1],)
    stacks = (a.shape[:-2], b.shape[:-2])
    rank = max(len(s) for s in stacks)
    stack: list[Poly] = []
    for k in range(rank):
        sizes = [s[k - rank + len(s)] for s in stacks if k - rank + len(s) >= 0]
        wide = list(dict.fromkeys(size for size in sizes if not is_one(size)))
        if len(wide) > 1:
            raise ShapeError(
                f"{here()}{describe(a)} @ {describe(b)}: the stacks of matrices do not broadcast, sizes "
                f"{show_size(wide[0])} and {show_size(wide[1])}."
            )
        stack.append(wide[0] if wide else integer(1))
    shape = (*stack, *rows, *columns)
    summed = position(len(shape))

    def subscripts(s: Shape, *last: Poly) -> list[Poly]:
        skip = rank - len(s)
        return [*[integer(0) if is_one(size) else position(skip + k) for k, size in enumerate(s)], *last]

    row = [position(rank)] if rows else []
    column = [position(rank + len(rows))] if columns else []
    body = call("mul", load(a, subscripts(stacks[0], *row, summed)), load(b, subscripts(stacks[1], summed, *column)))
    return compute(shape, [*shape, inner_a], [position(k) for k in range(len(shape))], "sum", body)


# ---------------------------------------------------------------- shapes


def as_shape(shape: Any) -> Shape:
    """A tuple of sizes from integers and size polynomials; one size stands for a tuple of one."""
    given = shape if isinstance(shape, (tuple, list)) else (shape,)
    sizes: list[Poly] = []
    for extent in given:
        p = None if isinstance(extent, float) else as_poly(extent)
        if p is None or not is_size(p):
            raise ShapeError(
                f"{here()}{shown(extent)} in a shape: sizes are integers, gg.size(...) and arithmetic on them."
            )
        if p.constant is not None and p.constant < 0:
            raise ShapeError(f"{here()}size {p.constant} in a shape: sizes are not negative.")
        sizes.append(p)
    return tuple(sizes)


def as_bound(value: Any, what: str) -> Poly:
    """An integer or a size, negative ones too.

    Raises:
        ShapeError: anything else.
    """
    p = None if isinstance(value, (float, bool)) else as_poly(value)
    if p is None or not is_size(p):
        raise ShapeError(f"{here()}{shown(value)} in {what}: give integers and sizes.")
    return p


def overlap(rows: Poly, columns: Poly, offset: int) -> Poly:
    """The length of a diagonal: the smaller of what is left of both axes.

    Raises:
        ShapeError: it cannot be decided which is smaller.
    """
    left, right = require_poly(rows - max(-offset, 0)), require_poly(columns - max(offset, 0))
    if nonnegative(require_poly(right - left)):
        shorter = left
    elif nonnegative(require_poly(left - right)):
        shorter = right
    else:
        raise ShapeError(f"{here()}a diagonal of sizes {show_size(rows)} and {show_size(columns)} has no known length.")
    return integer(0) if nonnegative(require_poly(-shorter)) else shorter


def reshaped(node: Node, shape: Sequence[Any]) -> Node:
    """The same elements in row-major order; one size may be -1 and follows from the others."""
    inferred = [k for k, extent in enumerate(shape) if isinstance(extent, int) and extent == -1]
    if len(inferred) > 1:
        raise ShapeError(f"{here()}reshape of {describe(node)}: only one size may be -1.")
    if inferred:
        others = product(as_shape([extent for k, extent in enumerate(shape) if k not in inferred]))
        if others.constant == 0:
            raise ShapeError(f"{here()}reshape of {describe(node)}: -1 cannot be found beside a size of 0.")
        rest = floor_div(product(node.shape), others)
        shape = [rest if k in inferred else extent for k, extent in enumerate(shape)]
    sizes = as_shape(shape)
    if product(sizes) is not product(node.shape):
        raise ShapeError(
            f"{here()}{describe(node)} cannot be reshaped to {show_shape(sizes)}: "
            f"{show_size(product(node.shape))} elements are not {show_size(product(sizes))}."
        )
    return reshape(node, sizes)


def concatenate(nodes: Sequence[Node], axis: Any) -> Node:
    """Tensors one after another along an axis."""
    first = nodes[0]
    rank = len(first.shape)
    at = axis_number(axis, rank, describe(first))
    for n in nodes[1:]:
        if len(n.shape) != rank or not same_shape(_without(n.shape, at), _without(first.shape, at)):
            raise ShapeError(
                f"{here()}{describe(first)} and {describe(n)} cannot be concatenated along axis {at}: "
                "their other sizes must be equal."
            )
    here_, starts = position(at), [integer(0)]
    for n in nodes:
        starts.append(require_poly(starts[-1] + n.shape[at]))
    parts: list[Scalar] = [
        load(n, [here_ - start if k == at else position(k) for k in range(rank)])
        for n, start in zip(nodes, starts, strict=False)
    ]
    body = chosen(here_, parts, starts[1:])
    return pointwise([*first.shape[:at], starts[-1], *first.shape[at + 1 :]], body)


def chosen(at: Poly, parts: Sequence[Scalar], ends: Sequence[Poly]) -> Scalar:
    """The part in whose range a position is, found by halves: choices nest as deep as the logarithm of their number."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    before, behind = chosen(at, parts[:half], ends[:half]), chosen(at, parts[half:], ends[half:])
    return call("where", at < ends[half - 1], before, behind)


def stack(nodes: Sequence[Node], axis: Any) -> Node:
    """Tensors of one shape side by side along a new axis."""
    for n in nodes[1:]:
        if not same_shape(n.shape, nodes[0].shape):
            raise ShapeError(f"{here()}{describe(nodes[0])} and {describe(n)} cannot be stacked: shapes must be equal.")
    rank = len(nodes[0].shape) + 1
    at = axis_number(axis, rank, f"the stack of {describe(nodes[0])}")
    return concatenate([with_axis(n, at) for n in nodes], at)


def with_axis(node: Node, axis: int) -> Node:
    """A new axis of size 1."""
    return reshape(node, [*node.shape[:axis], integer(1), *node.shape[axis:]])


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def cast(node: Node, dtype: Any) -> Node:
    """The elements as float32, float64, int32, int64 or uint32."""
    return elementwise(cast_name(dtype, describe(node)), [node])


def dtype_name(dtype: Any) -> str:
    """NumPy's name of an element type, which may be given as np.float32 or float too; empty where it has none."""
    try:
        return "" if dtype is None else str(numpy_dtype(dtype).name)
    except TypeError:
        return ""


def cast_name(dtype: Any, what: str) -> str:
    """The name of a type to cast to.

    Raises:
        DTypeError: no cast has this result.
    """
    name = dtype_name(dtype)
    if name not in ("float32", "float64", "int32", "int64", "uint32"):
        raise DTypeError(f"{here()}{what} cannot be cast to {dtype!r}: give float32, float64, int32, int64 or uint32.")
    return name
