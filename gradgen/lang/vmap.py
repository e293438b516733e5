"""`gg.vmap`: a function of tensors for every element of a new axis.

In: a function for one element, called once with tensors that stand for any of them: they mention a step of no loop.
Out: what it returns, with the step as an axis (`passes.rebuild.all_steps`). No operation has a rule of its own.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from gradgen.errors import GraphError, ShapeError
from gradgen.graph.axes import axis_number, describe, transpose
from gradgen.graph.nodes import Node, pointwise, show_size
from gradgen.graph.origin import carry_lifted
from gradgen.graph.place import here
from gradgen.graph.scalar import Poly, load, position, step
from gradgen.graph.tensor import Tensor, made
from gradgen.lang.bodies import inside_map
from gradgen.lang.nested import form_of, leaves, like
from gradgen.passes.rebuild.all_steps import lift_nodes

__all__ = ["vmap"]


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """The function for every element along an axis of its arguments, with the results along an axis, as in JAX.

        def loss(x, y):
            return (x @ w - y) ** 2

        each = gg.vmap(lambda x, y: gg.grad(loss(x, y), w))(X, Y)  # a gradient for every sample: (N, *w.shape)

    The function is written for one element, and called once. Every formula in it gets one more index; what does not
    change with the element is computed once. Tensors that it reads without being given them are whole in every
    element. Derivatives may be taken inside and outside, and vmap may stand inside vmap.

    Args:
        function: of tensors and of tuples, lists and dicts of these; it returns the same.
        in_axes: the axis of every argument along which its elements lie; None hands an argument on as it is. One for
            all arguments, or a tuple with an entry for each, which may be nested as the argument is. Arguments by
            name are taken along axis 0.
        out_axes: the axis of every result along which its elements will lie, one for all or nested as the results
            are; None is for what is the same for all of them.

    Returns: a function of the whole tensors.

    Raises (when it is called):
        ShapeError: sizes that disagree, or an axis that a tensor does not have.
        GraphError: no argument is mapped, axes that are not nested as what they are for, or None for a result that
            changes with the element.
        DTypeError: something is no tensor.
    """
    if not callable(function):
        raise GraphError(f"{here()}gg.vmap takes a function of tensors, not {function!r}.")

    @wraps(function)
    def mapped(*arguments: Any, **named: Any) -> Any:
        with inside_map() as depth:
            taken: list[tuple[Node, int]] = []

            def element(value: Any, axis: Any) -> Any:
                if axis is None:
                    return value
                return like(value, [_element(x.node, axis, depth, taken) for x in leaves(value, "gg.vmap")])

            given = _each(arguments, in_axes, "in_axes", element)
            by_name = {name: element(value, 0) for name, value in named.items()}
            length = _length(taken)
            result = function(*given, **by_name)
        roots = [x.node for x in leaves(result, "gg.vmap")]
        lifted = lift_nodes(roots, length, depth)
        numbers = iter(range(len(roots)))

        def whole(value: Any, axis: Any) -> Any:
            each = [_whole(x.node, lifted[x.node], axis, depth) for x in leaves(value, "gg.vmap")]
            return like(value, [made(node, None, None, next(numbers), len(roots)) for node in each])

        found = _each(result, out_axes, "out_axes", whole)
        for node, every in lifted.items():
            carry_lifted(node, every)
        return found

    return mapped


def _each(value: Any, axes: Any, what: str, change: Callable[[Any, Any], Any]) -> Any:
    """The same nesting with `change` of every part that has one entry of the axes."""
    match axes:
        case tuple() | list() if isinstance(value, (tuple, list)) and len(axes) == len(value):
            parts = [_each(part, axis, what, change) for part, axis in zip(value, axes, strict=True)]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        case dict() if isinstance(value, dict) and axes.keys() == value.keys():
            return {key: _each(part, axes[key], what, change) for key, part in value.items()}
        case tuple() | list() | dict():
            raise GraphError(f"{here()}gg.vmap: {what}={axes!r} is not nested as {form_of(value)}, which it is for.")
    return change(value, axes)


def _element(node: Node, axis: Any, depth: int, taken: list[tuple[Node, int]]) -> Tensor:
    """x[..., t, ...], for the step t of that depth; what was taken is noted."""
    at = axis_number(axis, len(node.shape), describe(node))
    taken.append((node, at))
    rest = [position(k) for k in range(len(node.shape) - 1)]
    element = load(node, [*rest[:at], step(depth), *rest[at:]])
    return made(pointwise([*node.shape[:at], *node.shape[at + 1 :]], element), None, None, 0, 0)


def _length(taken: list[tuple[Node, int]]) -> Poly:
    """The number of elements, which every mapped tensor agrees on."""
    if not taken:
        raise GraphError(f"{here()}gg.vmap maps none of the arguments: give an axis in in_axes.")
    (first, axis), *others = taken
    length = first.shape[axis]
    for node, at in others:
        if node.shape[at] is not length:
            raise ShapeError(
                f"{here()}gg.vmap: {describe(first)} has {show_size(length)} elements along axis {axis}, and "
                f"{describe(node)} has {show_size(node.shape[at])} along axis {at}. Make them equal, or give None in "
                "in_axes for what is not mapped."
            )
    return length


def _whole(node: Node, every: Node, axis: Any, depth: int) -> Node:
    """A result for all elements, with them along that axis."""
    if axis is None:
        if depth in node.steps:
            raise GraphError(
                f"{here()}gg.vmap: {describe(node)} changes with the element, and out_axes is None for it: give an "
                "axis."
            )
        return node
    rank = len(every.shape)
    at = axis_number(axis, rank, f"a result of gg.vmap, {describe(every)}")
    return transpose(every, [*range(1, at + 1), 0, *range(at + 1, rank)]) if at else every
