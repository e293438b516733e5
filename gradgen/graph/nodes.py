"""Tensors: leaves, formulas, other shapes of the same memory, scans, values with given adjoints. Every name is here.

In: scalar bodies with positional indices. Out: interned nodes, from one constructor each, which checks; `tensor` gives
them operators, `passes` rewrites them.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.canonical import canonical_order
from gradgen.graph.intern import digest_of, intern
from gradgen.graph.node_records import (
    CARRIED,
    Carry,
    Compute,
    Custom,
    Leaf,
    Node,
    Project,
    Reshape,
    Role,
    Scan,
    Shape,
    all_inputs,
    body_nodes,
    inputs,
    inside_inputs,
    is_gathered,
    same_shape,
    show_shape,
    show_size,
    stated,
    toposort,
    tuple_text,
)
from gradgen.graph.scalar import DEFAULT_FLOAT, Load, Poly, Scalar, Step, integer, load, position, walk

__all__ = [
    "CARRIED", "COTANGENT", "REDUCERS", "Carry", "Compute", "Custom", "Leaf", "Node", "Project", "Reshape", "Role",
    "Scan", "Shape", "all_inputs", "body_nodes", "carry", "compute", "cotangent", "custom", "identity", "inputs",
    "inside_inputs", "leaf", "pointwise", "product", "project", "reshape", "same_shape", "scan", "show_shape",
    "show_size", "stated", "toposort", "tuple_text",
]  # fmt: skip

REDUCERS = ("none", "sum", "max", "min", "logsumexp", "argmax", "argmin")
ACCUMULATING = ("sum", "max", "min", "logsumexp")
COTANGENT = -1  # the number of a carry that no scan has
_serials = itertools.count()


def leaf(name: str, shape: Sequence[Poly], dtype: str, role: Role) -> Leaf:
    serial = next(_serials)
    digest = digest_of("leaf", name, dtype, role, *[extent.digest for extent in shape])
    return intern(Leaf, name, tuple(shape), dtype, role, serial, digest)


def compute(
    shape: Sequence[Poly],
    extents: Sequence[Poly],
    target: Sequence[Poly],
    reducer: str,
    body: Scalar,
) -> Node:
    """The node of a formula in canonical form.

    Positions that the target names bare come first, in its order; the others in the order in which the body mentions
    them, or as they are given where of equal elements the first counts. A formula that only renames its indices is its
    operand.
    """
    if reducer not in REDUCERS:
        raise GraphError(f"unknown reducer {reducer!r}: one of {', '.join(REDUCERS)}")
    extents, target = tuple(extents), tuple(target)
    if reducer not in ("argmax", "argmin"):  # these count the positions in the order given
        first_counts = reducer in ("max", "min")
        extents, target, body = canonical_order(tuple(shape), extents, target, body, first_counts)
    gathers = is_gathered(tuple(shape), extents, target)
    if not gathers and reducer not in ACCUMULATING:
        raise GraphError(f"a formula that writes to computed subscripts accumulates; it cannot reduce by {reducer}")
    if gathers and len(extents) == len(shape):
        reducer = "none" if reducer in ("sum", "max", "min") else reducer
        if reducer == "none" and isinstance(body, Load) and _is_identity(body, extents):
            return body.tensor  # type: ignore[no-any-return]  # an access holds a node
    if gathers and len(extents) > len(shape) and reducer == "none":
        raise GraphError("an index that is not in the result needs a reducer: gg.sum(..., over=index)")
    dtype = "int64" if reducer in ("argmax", "argmin") or (reducer == "sum" and body.dtype == "bool") else body.dtype
    if reducer == "sum" and gathers and dtype in ("int32", "uint32"):
        dtype = "int64"  # as NumPy sums; what accumulates into given elements keeps their dtype
    dtype = {"pyfloat": DEFAULT_FLOAT, "pyint": "int64"}.get(dtype, dtype)
    steps = frozenset[int]().union(*[_steps(x) for x in (body, *target, *extents)])
    digest = digest_of(
        "compute", dtype, reducer, body.digest, *[p.digest for p in (*shape, integer(0), *extents, integer(0), *target)]
    )
    return intern(Compute, tuple(shape), dtype, extents, target, reducer, body, steps, digest)


def _is_identity(access: Load, extents: Shape) -> bool:
    return len(access.subscripts) == len(extents) and all(
        s is position(k) and size is extent
        for k, (s, size, extent) in enumerate(zip(access.subscripts, access.tensor.shape, extents, strict=True))
    )


def _poly(x: Scalar) -> Poly:
    assert isinstance(x, Poly)
    return x


def pointwise(shape: Sequence[Poly], body: Scalar) -> Node:
    """out[0, 1, ...] = body, without a reducer."""
    return compute(shape, shape, [position(k) for k in range(len(shape))], "none", body)


def reshape(source: Node, shape: Sequence[Poly]) -> Node:
    shape = tuple(shape)
    if isinstance(source, Reshape):
        source = source.source
    if len(shape) == len(source.shape) and all(a is b for a, b in zip(shape, source.shape, strict=True)):
        return source
    if product(shape) is not product(source.shape):
        raise ShapeError(
            f"cannot reshape {show_shape(source.shape)} to {show_shape(shape)}: different numbers of elements"
        )
    digest = digest_of("reshape", source.digest, *[extent.digest for extent in shape])
    return intern(Reshape, source, shape, source.dtype, source.steps, digest)


def carry(number: int, shape: Sequence[Poly], dtype: str, depth: int) -> Carry:
    digest = digest_of("carry", number, depth, dtype, *[extent.digest for extent in shape])
    return intern(Carry, number, tuple(shape), dtype, depth, frozenset({depth}), digest)


def cotangent(value: Node, depth: int) -> Carry:
    """What stands for the adjoint of a value in a body of that depth."""
    return carry(COTANGENT, value.shape, value.dtype, depth)


def custom(value: Node, operands: Sequence[Node], given: Carry, adjoints: Sequence[Node]) -> Custom:
    """The value, whose derivatives by the operands are `adjoints`, and 0 by anything else."""
    for x, d_x in zip(operands, adjoints, strict=True):
        if not (same_shape(x.shape, d_x.shape) and x.dtype == d_x.dtype):
            raise ShapeError(
                f"the adjoint of a {x.dtype} operand of shape {show_shape(x.shape)} is {d_x.dtype} "
                f"{show_shape(d_x.shape)}: they must be equal"
            )
    inside = frozenset[int]().union(*[n.steps for n in adjoints]) - given.steps
    steps = inside.union(*[n.steps for n in (value, *operands)])
    parts = (value, *operands, given, *adjoints)
    digest = digest_of("custom", len(operands), *[n.digest for n in parts])
    return intern(Custom, value, tuple(operands), given, tuple(adjoints), value.shape, value.dtype, steps, digest)


def scan(
    length: Poly,
    depth: int,
    carries: Sequence[Carry],
    inits: Sequence[Node],
    nexts: Sequence[Node],
    outputs: Sequence[Node],
    reverse: bool = False,
    checkpointed: bool = False,
) -> Scan:
    """The loop whose body is the graph from `carries` to `nexts` and `outputs`."""
    for k, (c, init, following) in enumerate(zip(carries, inits, nexts, strict=True)):
        if not (same_shape(c.shape, init.shape) and same_shape(c.shape, following.shape)):
            raise ShapeError(
                f"carry {k} of the scan has shape {show_shape(init.shape)} before and {show_shape(following.shape)} "
                "after a step: they must be equal"
            )
        if not c.dtype == init.dtype == following.dtype:
            raise DTypeError(
                f"carry {k} of the scan is {init.dtype} before and {following.dtype} after a step: they must be equal"
            )
    captured: dict[Node, None] = {}
    for node in toposort([*nexts, *outputs], lambda n: inside_inputs(n, depth)):
        if depth not in node.steps:
            captured[node] = None
    outer = frozenset[int]().union(*[n.steps for n in (*inits, *nexts, *outputs)]) - {depth}
    digest = digest_of(
        "scan",
        length.digest,
        depth,
        reverse,
        checkpointed,
        *[n.digest for n in carries],
        *[n.digest for n in inits],
        "|",
        *[n.digest for n in nexts],
        "|",
        *[n.digest for n in outputs],
    )
    return intern(
        Scan,
        length,
        depth,
        reverse,
        checkpointed,
        tuple(carries),
        tuple(inits),
        tuple(nexts),
        tuple(outputs),
        tuple(captured),
        outer,
        digest,
    )


def scan_like(
    old: Scan, carries: Sequence[Carry], inits: Sequence[Node], nexts: Sequence[Node], outputs: Sequence[Node]
) -> Scan:
    """A loop over the same steps, walked and kept as those of `old`."""
    return scan(old.length, old.depth, carries, inits, nexts, outputs, old.reverse, old.checkpointed)


def project(source: Scan, kind: Literal["states", "stack"], number: int) -> Node:
    """A result of a scan. A stack of the states themselves is read from the states, not stored twice."""
    element = source.carries[number] if kind == "states" else source.outputs[number]
    if kind == "stack" and element in source.nexts:
        states = project(source, "states", source.nexts.index(element))
        first = position(0) if source.reverse else position(0) + 1
        shape = (source.length, *element.shape)
        return pointwise(shape, load(states, [first, *[position(k + 1) for k in range(len(element.shape))]]))
    count = _poly(source.length + 1) if kind == "states" else source.length
    digest = digest_of("project", source.digest, kind, number)
    return intern(Project, source, kind, number, (count, *element.shape), element.dtype, source.steps, digest)


# ---------------------------------------------------------------- parts


def _steps(x: Scalar) -> frozenset[int]:
    found: set[int] = set()
    for part in walk(x):
        if isinstance(part, Poly):
            found |= {a.depth for a in part.atoms if isinstance(a, Step)}
        elif isinstance(part, Load):
            found |= part.tensor.steps
    return frozenset(found)


def product(shape: Iterable[Poly]) -> Poly:
    total = integer(1)
    for extent in shape:
        total = _poly(total * extent)
    return total


def identity(node: Node) -> Load:
    """node[0, 1, ...]: the access at the positions themselves."""
    return load(node, [position(k) for k in range(len(node.shape))])
