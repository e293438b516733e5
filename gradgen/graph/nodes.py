"""Tensors: leaves, formulas, other shapes of the same memory, and scans. One constructor each; they check and intern.

In: scalar bodies with positional indices. Out: interned nodes; `tensor` gives them operators, `passes` rewrites them.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.canonical import canonical_order
from gradgen.graph.intern import digest_of, intern
from gradgen.graph.records import shown
from gradgen.graph.scalar import (
    DEFAULT_FLOAT,
    Load,
    Poly,
    Scalar,
    Step,
    floor_div,
    integer,
    load,
    loads,
    position,
    walk,
)

Role = Literal["input", "param", "state", "cotangent"]
Shape = tuple[Poly, ...]
REDUCERS = ("none", "sum", "max", "min", "logsumexp", "argmax", "argmin")


class _Shown:
    """A node for people: `<Leaf X1: float32 (128, 64)>`."""

    __slots__ = ()
    shape: Shape
    dtype: str

    def __repr__(self) -> str:
        name = f" {self.name}" if isinstance(self, Leaf) else ""
        return f"<{type(self).__name__}{name}: {self.dtype} {show_shape(self.shape)}>"


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Leaf(_Shown):
    """A tensor that the caller provides. Unique per declaration."""

    name: str
    shape: Shape
    dtype: str
    role: Role
    serial: int
    digest: str
    steps: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Compute(_Shown):
    """out[target] = reduce body, over a loop nest of `extents`.

    Where `gathers`, position k < rank is axis k of the result and the other positions are reduced. Otherwise the
    target is any list of subscripts, the reducer is a sum, and elements that no target names are zero.
    """

    shape: Shape
    dtype: str
    extents: Shape
    target: tuple[Poly, ...]
    reducer: str
    body: Scalar
    steps: frozenset[int]
    digest: str

    @property
    def gathers(self) -> bool:
        return _gathers(self.shape, self.extents, self.target)

    @property
    def reduced(self) -> range:
        """The positions that do not survive into the result (of a node that gathers)."""
        return range(len(self.shape), len(self.extents))


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Reshape(_Shown):
    """The same elements in row-major order under another shape."""

    source: "Node"
    shape: Shape
    dtype: str
    steps: frozenset[int]
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Carry(_Shown):
    """What a scan hands from step to step, seen from inside its body."""

    number: int
    shape: Shape
    dtype: str
    depth: int
    steps: frozenset[int]
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Scan:
    """A loop of `length` steps. Step t reads state t and writes state t + 1; reversed, it reads t + 1 and writes t.

    `outputs` are stacked along a new first axis. Body nodes are those that mention this depth in their `steps`.
    """

    length: Poly
    depth: int
    reverse: bool
    carries: tuple[Carry, ...]
    inits: tuple["Node", ...]
    nexts: tuple["Node", ...]
    outputs: tuple["Node", ...]
    captured: tuple["Node", ...]
    steps: frozenset[int]
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Project(_Shown):
    """A result of a scan: the states of a carry (length + 1 of them) or a stack of outputs (length of them)."""

    scan: Scan
    kind: Literal["states", "stack"]
    number: int
    shape: Shape
    dtype: str
    steps: frozenset[int]
    digest: str


Node = Leaf | Compute | Reshape | Carry | Project
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
    them. A formula that only renames its indices is its operand.
    """
    if reducer not in REDUCERS:
        raise GraphError(f"unknown reducer {reducer!r}: one of {', '.join(REDUCERS)}")
    extents, target = tuple(extents), tuple(target)
    if reducer not in ("argmax", "argmin"):  # these count the positions in the order given
        extents, target, body = canonical_order(tuple(shape), extents, target, body)
    gathers = _gathers(tuple(shape), extents, target)
    if not gathers and reducer != "sum":
        raise GraphError(f"a formula that writes to computed subscripts accumulates; it cannot reduce by {reducer}")
    if gathers and len(extents) == len(shape):
        reducer = "none" if reducer in ("sum", "max", "min") else reducer
        if reducer == "none" and isinstance(body, Load) and _is_identity(body, extents):
            return body.tensor  # type: ignore[no-any-return]  # an access holds a node
    if gathers and len(extents) > len(shape) and reducer == "none":
        raise GraphError("an index that is not in the result needs a reducer: gg.sum(..., over=index)")
    dtype = "int64" if reducer in ("argmax", "argmin") or (reducer == "sum" and body.dtype == "bool") else body.dtype
    if reducer == "sum" and gathers and dtype == "int32":
        dtype = "int64"  # as NumPy sums; what accumulates into given elements keeps their dtype
    dtype = {"pyfloat": DEFAULT_FLOAT, "pyint": "int64"}.get(dtype, dtype)
    steps = frozenset[int]().union(*[_steps(x) for x in (body, *target, *extents)])
    digest = digest_of(
        "compute", dtype, reducer, body.digest, *[p.digest for p in (*shape, integer(0), *extents, integer(0), *target)]
    )
    return intern(Compute, tuple(shape), dtype, extents, target, reducer, body, steps, digest)


def _gathers(shape: Shape, extents: Shape, target: tuple[Poly, ...]) -> bool:
    """Whether every element of the result is written by its own iteration, and none is left out."""
    return all(t is position(k) and extents[k] is shape[k] for k, t in enumerate(target))


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


def scan(
    length: Poly,
    depth: int,
    carries: Sequence[Carry],
    inits: Sequence[Node],
    nexts: Sequence[Node],
    outputs: Sequence[Node],
    reverse: bool = False,
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
        tuple(carries),
        tuple(inits),
        tuple(nexts),
        tuple(outputs),
        tuple(captured),
        outer,
        digest,
    )


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


# ---------------------------------------------------------------- walking


def _steps(x: Scalar) -> frozenset[int]:
    found: set[int] = set()
    for part in walk(x):
        if isinstance(part, Poly):
            found |= {a.depth for a in part.atoms if isinstance(a, Step)}
        elif isinstance(part, Load):
            found |= part.tensor.steps
    return frozenset(found)


_inputs: WeakKeyDictionary[Compute, tuple[Node, ...]] = WeakKeyDictionary()


def inputs(node: Node) -> tuple[Node, ...]:
    """The nodes that a node reads directly; for a scan's result, what its loop reads from outside."""
    match node:
        case Compute():
            found = _inputs.get(node)
            if found is None:
                found = tuple(dict.fromkeys(access.tensor for access in loads(node.body, *node.target)))
                _inputs[node] = found
            return found
        case Reshape():
            return (node.source,)
        case Project():
            return (*node.scan.inits, *node.scan.captured)
    return ()


def inside_inputs(node: Node, depth: int) -> tuple[Node, ...]:
    """The inputs of a body node of the scan at `depth`; nothing for a node from outside."""
    return inputs(node) if depth in node.steps else ()


def toposort(roots: Iterable[Node], reads: Callable[[Node], tuple[Node, ...]] = inputs) -> list[Node]:
    """Every node below the roots, producers first; deterministic, with an explicit stack."""
    done: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, expanded = stack.pop()
        if node in done:
            continue
        if expanded:
            done[node] = None
        else:
            stack.append((node, True))
            stack.extend((n, False) for n in reversed(reads(node)))
    return list(done)


def all_inputs(node: Node) -> tuple[Node, ...]:
    """The inputs of a node, and for a scan's result the roots of its body too."""
    if isinstance(node, Project):
        return (*node.scan.inits, *node.scan.nexts, *node.scan.outputs)
    return inputs(node)


def body_nodes(s: Scan) -> list[Node]:
    """The nodes of a scan's body, producers first, without what it captures."""
    ordered = toposort([*s.nexts, *s.outputs], lambda n: inside_inputs(n, s.depth))
    return [n for n in ordered if s.depth in n.steps]


def same_shape(a: Shape, b: Shape) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def product(shape: Iterable[Poly]) -> Poly:
    total = integer(1)
    for extent in shape:
        total = _poly(total * extent)
    return total


def identity(node: Node) -> Load:
    """node[0, 1, ...]: the access at the positions themselves."""
    return load(node, [position(k) for k in range(len(node.shape))])


def show_shape(shape: Iterable[Poly]) -> str:
    inner = ", ".join(show_size(extent) for extent in shape)
    return f"({inner})"


def show_size(p: Poly) -> str:
    """A size as the user wrote it, up to the order of its terms; Python can evaluate it."""
    return shown(p)


def ceil_div(a: Poly, b: Poly) -> Poly:
    """ceil(a / b) for b > 0."""
    return _poly(-floor_div(_poly(-a), b))


def iterate(nodes: Iterable[Node]) -> Iterator[Compute]:
    """The formulas among the nodes."""
    return (n for n in nodes if isinstance(n, Compute))
