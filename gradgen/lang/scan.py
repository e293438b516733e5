"""Loops whose body is a graph: recurrences, stacks of equal layers, iterative methods.

In: a Python function for one step, called once. Out: the final carry and the stacked results, as tensors; `passes`
differentiates the loop as a whole, so code and compile time do not depend on the number of steps.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph import nodes
from gradgen.graph.axes import as_shape, describe
from gradgen.graph.nodes import Node, same_shape, show_shape, show_size
from gradgen.graph.origin import record
from gradgen.graph.place import here
from gradgen.graph.scalar import Poly, integer, load, position, step
from gradgen.graph.tensor import Tensor, made, tensor
from gradgen.lang.bodies import inside_body
from gradgen.lang.nested import form_of, leaves, like


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`carry, y = body(carry, x)` for every x, from `init`; the last carry, and all y stacked along a new first axis.

    Args:
        body: one step. It gets the carry and one element of `xs`, and returns the next carry and a result. It is
            called once, with tensors that stand for any step.
        init: the first carry: a tensor, a number, None, or tuples, lists and dicts of these. The carry keeps its
            shapes and dtypes.
        xs: tensors to be walked along their first axis, likewise; None where there are none.
        length: the number of steps, where there are no xs; it may be 0.
        reverse: walk from the last element to the first. Results stand beside the elements they belong to.

    Raises:
        ShapeError: xs of different lengths, or a carry that changes its shape.
        DTypeError: a carry that changes its dtype.
        GraphError: no length, or a body that does not return a carry like `init` and a result.
    """
    if not callable(body):
        raise GraphError(f"{here()}the body of gg.scan is {body!r}: give a function of a carry and an element of xs.")
    steps = _length(xs, length)
    starts = [x.node for x in leaves(init, "gg.scan")]
    with inside_body() as depth:
        carries = [nodes.carry(k, n.shape, n.dtype, depth) for k, n in enumerate(starts)]
        result = body(
            like(init, [tensor(c) for c in carries]), like(xs, [_element(x, depth) for x in leaves(xs, "gg.scan")])
        )
    if not isinstance(result, tuple) or len(result) != 2:
        raise GraphError(f"{here()}the body of gg.scan returns the next carry and a result: `return carry, y`.")
    following, ys = result
    nexts, outputs = [x.node for x in leaves(following, "gg.scan")], [x.node for x in leaves(ys, "gg.scan")]
    _check_carry(init, following, starts, nexts)
    for n in (*nexts, *outputs):
        if any(d > depth for d in n.steps):
            raise GraphError(f"{here()}the body of gg.scan returns {describe(n)}, which belongs to another scan.")
    loop = nodes.scan(steps, depth, carries, starts, nexts, outputs, reverse)
    count = len(carries) + len(outputs)
    finals = [made(_final(loop, k), None, None, k, count) for k in range(len(carries))]
    stacks = [made(nodes.project(loop, "stack", k), (), None, len(carries) + k, count) for k in range(len(outputs))]
    return like(init, finals), like(ys, stacks)


def _element(xs: Tensor, depth: int) -> Tensor:
    """xs[t], for the step t of the loop."""
    node = xs.node
    return made(
        nodes.pointwise(node.shape[1:], load(node, [step(depth), *[position(k) for k in range(len(node.shape) - 1)]])),
        None, None, 0, 0,
    )  # fmt: skip


def _final(loop: nodes.Scan, number: int) -> Node:
    """The state that no step reads any more."""
    states = nodes.project(loop, "states", number)
    record(states, (), None, 0, 0)
    last = integer(0) if loop.reverse else loop.length
    return nodes.pointwise(states.shape[1:], load(states, [last, *[position(k) for k in range(len(states.shape) - 1)]]))


def _length(xs: Any, length: Any) -> Poly:
    """The number of steps, which every x agrees on."""
    walked = [x.node for x in leaves(xs, "gg.scan")]
    known = None if length is None else as_shape(length)[0]
    for n in walked:
        if not n.shape:
            raise ShapeError(f"{here()}gg.scan walks xs along their first axis; {describe(n)} has no axes.")
        if known is not None and n.shape[0] is not known:
            raise ShapeError(
                f"{here()}gg.scan: {describe(n)} has {show_size(n.shape[0])} elements along its first axis, and the "
                f"loop has {show_size(known)} steps. Make them equal."
            )
        known = n.shape[0]
    if known is None:
        raise GraphError(f"{here()}gg.scan without xs needs a length: gg.scan(body, init, length=...).")
    return known


def _check_carry(init: Any, following: Any, starts: Sequence[Node], nexts: Sequence[Node]) -> None:
    if form_of(init) != form_of(following):
        raise GraphError(
            f"{here()}the body of gg.scan returns a carry of the form {form_of(following)}, and init has the form "
            f"{form_of(init)}: they must be equal."
        )
    for k, (start, after) in enumerate(zip(starts, nexts, strict=True)):
        if not same_shape(start.shape, after.shape):
            raise ShapeError(
                f"{here()}carry {k} of gg.scan has shape {show_shape(start.shape)} before a step and "
                f"{show_shape(after.shape)} after it: they must be equal."
            )
        if start.dtype != after.dtype:
            raise DTypeError(
                f"{here()}carry {k} of gg.scan is {start.dtype} before a step and {after.dtype} after it: "
                "they must be equal; gg.cast changes one."
            )
