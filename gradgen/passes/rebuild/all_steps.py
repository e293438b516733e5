"""A node that mentions a step, for all steps at once: the step becomes the first axis.

In: nodes that mention the step but no carry of its loop. Out: ordinary nodes outside the loop, for hoisting before it
and for summing behind it. `gg.vmap` and `gg.jacobian` write graphs that mention steps of no loop, and lift them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradgen.errors import GraphError
from gradgen.graph.nodes import (
    Carry,
    Compute,
    Custom,
    Node,
    Project,
    Reshape,
    Scan,
    carry,
    compute,
    custom,
    inputs,
    inside_inputs,
    pointwise,
    project,
    reshape,
    scan_like,
    toposort,
)
from gradgen.graph.scalar import Load, Poly, Position, Scalar, Step, load, position, rewrite, step
from gradgen.passes.rebuild.nodes import replace_nodes


def lift(node: Node, length: Poly, depth: int) -> Node:
    """The (length, *shape) tensor of a node's values at every step."""
    return lift_nodes([node], length, depth)[node]


def lift_nodes(roots: Sequence[Node], length: Poly, depth: int) -> dict[Node, Node]:
    """The (length, *shape) tensors of the values at every step: of the roots, and of all below that mention the step.

    Producers stand before what reads them.
    """
    lifting = _Lifting(length, depth)
    wanted = {root: lifting.whole(root) for root in roots}
    return lifting.lifted | wanted


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


@dataclass(slots=True)
class _Lifting:
    """What has been lifted so far, over the steps of one depth."""

    length: Poly
    depth: int
    lifted: dict[Node, Node] = field(default_factory=dict)
    scans: dict[Scan, Scan] = field(default_factory=dict)

    def whole(self, node: Node) -> Node:
        """The values of a node at every step, repeated where they are the same."""
        for inner in toposort([node], lambda n: inside_inputs(n, self.depth) if n not in self.lifted else ()):
            if self.depth in inner.steps and inner not in self.lifted:
                self.lifted[inner] = self.node(inner)
        return self.lifted[node] if node in self.lifted else self.repeated(node)

    def repeated(self, node: Node) -> Node:
        shape = (self.length, *node.shape)
        return pointwise(shape, load(node, [position(k + 1) for k in range(len(node.shape))]))

    def node(self, node: Node) -> Node:
        """A node that mentions the step, over the lifted ones that it reads."""
        match node:
            case Reshape():
                return reshape(self.lifted[node.source], (self.length, *node.shape))
            case Compute():
                body, target, extents = _shifted(node, self.length, self.depth, self.lifted)
                return compute((self.length, *node.shape), extents, [position(0), *target], node.reducer, body)
            case Custom(cotangent=c):
                whole, adjoints = self.around([c], node.adjoints, c.depth)
                value, *operands = (self.whole(n) for n in inputs(node))
                return custom(value, operands, whole[0], [self.whole(d_x) for d_x in adjoints])
            case Project(scan=s, kind=kind, number=number):
                if s not in self.scans:
                    self.scans[s] = self.scan(s)
                found = project(self.scans[s], kind, number)
                if len(found.shape) == len(node.shape):  # a result that is the same for every step
                    return self.repeated(found)
                order = [position(1), position(0), *[position(k) for k in range(2, len(found.shape))]]
                return pointwise((self.length, *node.shape), load(found, order))
        raise GraphError("a value that depends on the carry of a scan is not known for all steps at once")

    def scan(self, s: Scan) -> Scan:
        """One loop for all steps: a carry has the step as an axis if what it begins with or becomes changes with it."""
        every = range(len(s.carries))
        moving: list[int] = []
        again = [k for k in every if self.depth in s.inits[k].steps | s.nexts[k].steps]
        body: list[Node] = [*s.nexts, *s.outputs]
        wide: dict[int, Carry] = {}
        while again != moving:
            moving = again
            whole, body = self.around([s.carries[k] for k in moving], [*s.nexts, *s.outputs], s.depth)
            wide = dict(zip(moving, whole, strict=True))
            again = [k for k in every if k in moving or self.depth in body[k].steps]
        return scan_like(
            s,
            [wide.get(k, s.carries[k]) for k in every],
            [self.whole(s.inits[k]) if k in wide else s.inits[k] for k in every],
            [self.whole(body[k]) if k in wide else body[k] for k in every],
            [self.whole(n) if self.depth in n.steps else n for n in body[len(every) :]],
        )

    def around(self, carries: Sequence[Carry], body: Sequence[Node], depth: int) -> tuple[list[Carry], list[Node]]:
        """Carries with the step as their first axis, and a body of that depth that reads its own row of them."""
        whole = [carry(c.number, (self.length, *c.shape), c.dtype, c.depth) for c in carries]
        rows: dict[Node, Node] = {c: row(w, step(self.depth)) for c, w in zip(carries, whole, strict=True)}
        return whole, replace_nodes(body, rows, depth)


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
