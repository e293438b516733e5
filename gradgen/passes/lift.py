"""A body node of a scan for all steps at once: the step becomes the first axis.

In: nodes that mention the step but no carry. Out: ordinary nodes outside the loop, for hoisting before it and for
summing behind it.
"""

from gradgen.errors import GraphError
from gradgen.graph.nodes import (
    Carry,
    Compute,
    Custom,
    Node,
    Project,
    Reshape,
    carry,
    compute,
    custom,
    inputs,
    inside_inputs,
    pointwise,
    reshape,
    toposort,
)
from gradgen.graph.scalar import Load, Poly, Position, Scalar, Step, load, position, rewrite, step
from gradgen.passes.substitute import replace_nodes


def lift(node: Node, length: Poly, depth: int) -> Node:
    """The (length, *shape) tensor of a node's values at every step."""
    lifted: dict[Node, Node] = {}
    for inner in toposort([node], lambda n: inside_inputs(n, depth)):
        if depth in inner.steps:
            lifted[inner] = _lifted(inner, length, depth, lifted)
    if node not in lifted:  # the same value at every step
        rank = len(node.shape)
        extents = (length, *node.shape)
        return compute(
            extents,
            extents,
            [position(k) for k in range(rank + 1)],
            "none",
            load(node, [position(k + 1) for k in range(rank)]),
        )
    return lifted[node]


def sum_over_steps(node: Node, length: Poly, depth: int) -> Node:
    """sum over t of node[t], as one formula where the node is itself a sum."""
    if isinstance(node, Compute) and depth in node.steps and node.reducer in ("none", "sum"):
        lifted = {inner: lift(inner, length, depth) for inner in inside_inputs(node, depth) if depth in inner.steps}
        body, target, extents = _shifted(node, length, depth, lifted)
        return compute(node.shape, extents, target, "sum", body)
    stacked = lift(node, length, depth)
    rank = len(node.shape)
    return compute(
        node.shape,
        stacked.shape,
        [position(k + 1) for k in range(rank)],
        "sum",
        load(stacked, [position(k) for k in range(rank + 1)]),
    )


def row(stack: Node, at: Scalar) -> Node:
    """stack[at, ...]"""
    rank = len(stack.shape) - 1
    return pointwise(stack.shape[1:], load(stack, [at, *[position(k) for k in range(rank)]]))


def _lifted(node: Node, length: Poly, depth: int, lifted: dict[Node, Node]) -> Node:
    match node:
        case Reshape():
            return reshape(lifted[node.source], (length, *node.shape))
        case Compute():
            body, target, extents = _shifted(node, length, depth, lifted)
            return compute((length, *node.shape), extents, [position(0), *target], node.reducer, body)
        case Custom(cotangent=c):
            whole = carry(c.number, (length, *c.shape), c.dtype, c.depth)
            adjoints = replace_nodes(node.adjoints, {c: row(whole, step(depth))}, c.depth)
            value, *operands = (lift(n, length, depth) for n in inputs(node))
            return custom(value, operands, whole, [lift(d_x, length, depth) for d_x in adjoints])
        case Carry() | Project():
            raise GraphError("a value that depends on the carry of a scan is not known for all steps at once")
    return node


def _shifted(
    node: Compute, length: Poly, depth: int, lifted: dict[Node, Node]
) -> tuple[Scalar, list[Poly], tuple[Poly, ...]]:
    """Body, target and extents with the step as position 0 and every other position one further."""

    def atom(a: object) -> Poly | None:
        if isinstance(a, Position):
            return position(a.position + 1)
        return position(0) if isinstance(a, Step) and a.depth == depth else None

    def change(part: Scalar) -> Scalar | None:
        if isinstance(part, Load) and part.tensor in lifted:
            return load(lifted[part.tensor], [position(0), *part.subscripts])
        return None

    def shifted(x: Scalar) -> Poly:
        new = rewrite(x, change, atom)
        assert isinstance(new, Poly)
        return new

    extents = (length, *[shifted(e) for e in node.extents])
    return rewrite(node.body, change, atom), [shifted(t) for t in node.target], extents
