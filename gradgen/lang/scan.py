"""Loops whose body is a graph: recurrences, stacks of equal layers, iterative methods.

In: a Python function for one step, called once. Out: the final carry and the stacked results, as tensors; `passes`
differentiates the loop as a whole, so code and compile time do not depend on the number of steps.
"""

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

from gradgen.errors import DTypeError, GraphError, OptionError, ShapeError
from gradgen.graph import nodes
from gradgen.graph.axes import as_shape, describe
from gradgen.graph.nodes import Node, same_shape, show_shape, show_size
from gradgen.graph.origin import record
from gradgen.graph.place import here
from gradgen.graph.scalar import Poly, integer, load, position, require_poly, step
from gradgen.graph.tensor import Tensor, made, tensor
from gradgen.lang.bodies import inside_body
from gradgen.lang.nested import form_of, leaves, like
from gradgen.lang.shapes import concatenate


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    checkpoint: int | str | None = None,
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
        checkpoint: a number of steps n: gradients keep the carry of every n-th step only, and compute the steps between
            two of them again. Of T steps that is the memory of T/n carries and n whole steps, for one more forward
            pass; "sqrt" takes the n that is best, of a length that is known. Where n does not divide T, what is left
            over is a loop of its own, and the body is called twice.

    Raises:
        ShapeError: xs of different lengths, or a carry that changes its shape.
        DTypeError: a carry that changes its dtype.
        GraphError: no length, or a body that does not return a carry like `init` and a result.
        OptionError: a checkpoint that is no number of steps, or "sqrt" of a length that is not known.
    """
    if not callable(body):
        raise GraphError(f"{here()}the body of gg.scan is {body!r}: give a function of a carry and an element of xs.")
    steps = _length(xs, length)
    every = None if checkpoint is None else _segment(checkpoint, steps)
    if every is None or (steps.constant is not None and every >= steps.constant):
        return _loop(body, init, xs, steps, reverse)
    if every == 1:
        return _loop(body, init, xs, steps, reverse, checkpointed=True)
    return _in_segments(body, init, xs, steps, reverse, every)


def _segment(checkpoint: int | str, steps: Poly) -> int:
    """How many steps stand between two checkpoints."""
    if isinstance(checkpoint, int) and not isinstance(checkpoint, bool) and checkpoint > 0:
        return checkpoint
    if checkpoint != "sqrt":
        raise OptionError(
            f'{here()}checkpoint={checkpoint!r} of gg.scan: give a number of steps, 1 or more, or "sqrt".'
        )
    if steps.constant is None:
        raise OptionError(
            f'{here()}checkpoint="sqrt" of gg.scan needs a length that is known, and here it is {show_size(steps)}: '
            "give a number of steps."
        )
    length = steps.constant
    root = max(isqrt(length), 1)
    near = [n for n in range(1, 3 * root) if length % n == 0 and n + length // n <= 3 * root]
    return min(near, key=lambda n: n + length // n, default=root)


def _in_segments(body: Any, init: Any, xs: Any, steps: Poly, reverse: bool, every: int) -> tuple[Any, Any]:
    """A loop over segments, of which gradients keep the carries alone, around a loop over the steps of one."""
    count = require_poly(steps // every)
    whole = require_poly(count * every)
    rest = require_poly(steps - whole)

    def segment(carry: Any, part: Any) -> tuple[Any, Any]:
        return _loop(body, carry, part, integer(every), reverse)

    def segments(carry: Any) -> tuple[Any, Any]:
        parts = _each(xs, lambda x: x[:whole].reshape((count, every, *x.shape[1:])))
        last, ys = _loop(segment, carry, parts, count, reverse, checkpointed=True)
        return last, _each(ys, lambda y: y.reshape((whole, *y.shape[2:])))

    def others(carry: Any) -> tuple[Any, Any]:
        return _loop(body, carry, _each(xs, lambda x: x[whole:]), rest, reverse)

    if rest.constant == 0:
        return segments(init)
    first, second = (others, segments) if reverse else (segments, others)
    between, y_first = first(init)
    last, y_second = second(between)
    ends = zip(*[leaves(y, "gg.scan") for y in ((y_second, y_first) if reverse else (y_first, y_second))], strict=True)
    return last, like(y_first, [concatenate(pair) for pair in ends])


def _each(nested: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same form, with other tensors."""
    return like(nested, [change(x) for x in leaves(nested, "gg.scan")])


def _loop(body: Any, init: Any, xs: Any, steps: Poly, reverse: bool, checkpointed: bool = False) -> tuple[Any, Any]:
    """One loop."""
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
    loop = nodes.scan(steps, depth, carries, starts, nexts, outputs, reverse, checkpointed)
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
