"""`gg.custom`: a value with an adjoint that the user gives.

In: a value and an adjoint, functions of tensors, each called once. Out: a tensor; `passes.derive.reverse` reads what
the adjoint made of a cotangent.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.nodes import Carry, Compute, Leaf, Node, all_inputs, cotangent, inputs, same_shape, toposort
from gradgen.graph.nodes import custom as custom_node
from gradgen.graph.origin import display_name
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Call, Load, Scalar, children, loads
from gradgen.graph.tensor import Tensor, made, tensor
from gradgen.lang.bodies import inside_body

__all__ = ["custom"]


def custom(value: Callable[..., Any], adjoint: Callable[..., Any], *operands: Tensor) -> Tensor:
    """`value(*operands)`, whose gradient is `adjoint(cotangent, *operands)` and not the one that the formula has.

    Forward mode takes the transpose of the adjoint, which must then be linear in the cotangent. The adjoint is itself
    differentiated for second derivatives.

    Args:
        value: a function of the operands that returns one float tensor. Other floats that it reads must stand under
            `gg.stop_gradient`, because no gradient would reach them.
        adjoint: a function of the cotangent, which has the shape and dtype of the value, and of the operands. It
            returns one tensor for each operand, of its shape and dtype, or None for no gradient, as of an integer.
        operands: tensors.

    Raises:
        GraphError: something is no tensor, the adjoint returns another number of them, `value` reads a float that is no
            operand, the adjoint reads or writes where the cotangent says.
        ShapeError: an adjoint of another shape than its operand.
        DTypeError: an adjoint of another dtype than its operand, or one for an integer; a value that is no float.

    A gradient that passes through rounding unchanged, as quantised networks are trained:

        rounded = gg.custom(lambda x: gg.round(x), lambda d_y, x: d_y, x)
    """
    for x in operands:
        if not isinstance(x, Tensor):
            raise GraphError(f"{here()}{shown(x)} is no tensor: the operands of gg.custom are tensors.")
    result = value(*operands)
    if not isinstance(result, Tensor):
        raise GraphError(f"{here()}{shown(result)} is no tensor: the value of gg.custom is one tensor.")
    if result.dtype not in FLOATS:
        raise DTypeError(f"{here()}the value of gg.custom is {result.dtype}, and only floats have gradients.")
    node = result.node
    _check_value(node, {x.node for x in operands})
    with inside_body() as depth:
        d_node = cotangent(node, depth)
        given = adjoint(tensor(d_node), *operands)
    several = list(given) if isinstance(given, (tuple, list)) else [given]
    if len(several) != len(operands):
        raise GraphError(
            f"{here()}the adjoint of gg.custom returns {len(several)} values for {len(operands)} operands: "
            "return one for each, None where there is no gradient."
        )
    pairs = [(x.node, d_x) for x, d_x in zip(operands, several, strict=True) if d_x is not None]
    adjoints = [_checked(x, d_x) for x, d_x in pairs]
    _check_places(adjoints, depth)
    return made(custom_node(node, [x for x, _ in pairs], d_node, adjoints), None, None, 0, 1)


def _checked(x: Node, d_x: Any) -> Node:
    """What the adjoint returned for an operand, if it fits."""
    if x.dtype not in FLOATS:
        raise DTypeError(f"{here()}{describe(x)} is {x.dtype}, which has no gradient: return None for it.")
    if not isinstance(d_x, Tensor):
        raise GraphError(f"{here()}{shown(d_x)} is no tensor: the adjoint of gg.custom returns tensors or None.")
    if not same_shape(d_x.node.shape, x.shape):
        raise ShapeError(f"{here()}{describe(d_x.node)} is the adjoint of {describe(x)}: make the shapes equal.")
    if d_x.dtype != x.dtype:
        raise DTypeError(
            f"{here()}{display_name(d_x.node)} ({d_x.dtype}) is the adjoint of {display_name(x)} ({x.dtype}): "
            "gg.cast changes one."
        )
    return d_x.node


def _check_value(node: Node, operands: set[Node]) -> None:
    """No float reaches the value past the operands: its gradient would silently be 0."""
    for n in toposort([node], lambda n: () if n in operands else _floats_read(n)):
        if isinstance(n, (Leaf, Carry)) and n.dtype in FLOATS and n not in operands:
            raise GraphError(
                f"{here()}the value of gg.custom reads {display_name(n)}, which is not among its operands: give it as "
                f"one (None is no gradient), or read gg.stop_gradient({display_name(n)})."
            )


def _floats_read(node: Node) -> tuple[Node, ...]:
    """The nodes through which derivatives would pass: no integers, no conditions, nothing under stop_gradient."""
    if not isinstance(node, Compute):
        return tuple(n for n in inputs(node) if n.dtype in FLOATS)
    found: dict[Node, None] = {}
    stack: list[Scalar] = [node.body]
    seen: set[Scalar] = set()
    while stack:
        x = stack.pop()
        if x in seen or (isinstance(x, Call) and (x.dtype not in FLOATS or x.function.name == "stop_gradient")):
            continue
        seen.add(x)
        if isinstance(x, Load):
            found.update({x.tensor: None} if x.dtype in FLOATS else {})
        else:
            stack += children(x)
    return tuple(found)


def _check_places(adjoints: Iterable[Node], depth: int) -> None:
    """The cotangent is data of the backward pass alone: nothing before it could check a subscript made of it."""
    for n in toposort(adjoints, lambda n: all_inputs(n) if depth in n.steps else ()):
        if isinstance(n, Compute) and any(depth in x.tensor.steps for x in _in_subscripts(n)):
            raise GraphError(
                f"{here()}the adjoint of gg.custom uses the cotangent in a subscript of {display_name(n)}: "
                "select by the operands instead."
            )


def _in_subscripts(node: Compute) -> Sequence[Load]:
    accesses = loads(node.body, *node.target)
    return loads(*node.target, *[s for x in accesses for s in x.subscripts])
