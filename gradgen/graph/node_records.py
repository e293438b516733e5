"""The records of tensors: leaves, formulas, other shapes, scans and what reads them, values with given adjoints.

In: fields that their constructors in `nodes` have checked. Out: immutable records, compared by identity, and the ways
to walk over them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

from gradgen.graph.records import Poly, Scalar, loads, shown
from gradgen.graph.scalar import position

Role = Literal["input", "param", "state", "constant", "cotangent"]
CARRIED: tuple[Role, ...] = ("param", "state")  # what callers keep from call to call
Shape = tuple[Poly, ...]


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
    target is any list of subscripts, the reducer one of those in `ACCUMULATING`, and elements that no target names are
    what it gives of nothing: 0, -inf, inf.
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
        return is_gathered(self.shape, self.extents, self.target)

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
    """What a body gets from outside: of a scan what a step hands to the next, of `Custom` the cotangent."""

    number: int
    shape: Shape
    dtype: str
    depth: int
    steps: frozenset[int]
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Scan:
    """A loop of `length` steps. Step t reads state t and writes state t + 1; reversed, it reads t + 1 and writes t.

    `outputs` are stacked along a new first axis. Body nodes are those that mention this depth in their `steps`. Of one
    that is `checkpointed` nothing is kept for its adjoint but the states, and nothing is computed for all steps.
    """

    length: Poly
    depth: int
    reverse: bool
    checkpointed: bool
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


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Custom(_Shown):
    """A value with adjoints that the user gives: one for each of `operands`, formulas of `cotangent`.

    The adjoints are a body as that of a scan is: they mention the depth of their cotangent, and nothing outside does.
    `derive` puts an adjoint in the cotangent's place; afterwards `resolve` leaves the value alone.
    """

    value: "Node"
    operands: tuple["Node", ...]
    cotangent: Carry
    adjoints: tuple["Node", ...]
    shape: Shape
    dtype: str
    steps: frozenset[int]
    digest: str


Node = Leaf | Compute | Reshape | Carry | Project | Custom


def is_gathered(shape: Shape, extents: Shape, target: tuple[Poly, ...]) -> bool:
    """Whether every element of the result is written by its own iteration, and none is left out."""
    return all(t is position(k) and extents[k] is shape[k] for k, t in enumerate(target))


# ---------------------------------------------------------------- walking


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
        case Custom():
            return (node.value, *node.operands)
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
    """The inputs of a node, and for a scan's result the roots of its body too, for a custom one its adjoints."""
    match node:
        case Project():
            return (*node.scan.inits, *node.scan.nexts, *node.scan.outputs)
        case Custom():
            return (*inputs(node), node.cotangent, *node.adjoints)
    return inputs(node)


def stated(node: Node) -> tuple[Node, ...]:
    """The inputs of a node and, for a custom one, the adjoints: everything that may be computed sooner or later."""
    return all_inputs(node) if isinstance(node, Custom) else inputs(node)


def body_nodes(s: Scan, reads: Callable[[Node], tuple[Node, ...]] = inputs) -> list[Node]:
    """The nodes of a scan's body, producers first, without what it captures."""
    ordered = toposort([*s.nexts, *s.outputs], lambda n: reads(n) if s.depth in n.steps else ())
    return [n for n in ordered if s.depth in n.steps]


def same_shape(a: Shape, b: Shape) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def show_shape(shape: Iterable[Poly]) -> str:
    inner = ", ".join(show_size(extent) for extent in shape)
    return f"({inner})"


def tuple_text(extents: Sequence[str]) -> str:
    """A shape as Python writes it, with a comma behind the only extent."""
    return f"({', '.join(extents)}{',' if len(extents) == 1 else ''})"


def show_size(p: Poly) -> str:
    """A size as the user wrote it, up to the order of its terms; Python can evaluate it."""
    return shown(p)
