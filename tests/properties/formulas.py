"""Random graphs at the level of the graph core, with values for their leaves: a Hypothesis strategy.

In: choices of Hypothesis. Out: a `Case`, every access of which is in range or guarded; `test_formulas` checks the
properties that hold for all of them. Structure is drawn, values come from a seeded generator: drawn floats would
land on kinks and ties.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, prod

import numpy as np
from hypothesis import strategies as st

from gradgen.graph.nodes import (
    Compute,
    Leaf,
    Node,
    Project,
    Scan,
    carry,
    compute,
    identity,
    leaf,
    pointwise,
    product,
    project,
    reshape,
    scan,
    toposort,
)
from gradgen.graph.scalar import (
    Load,
    Poly,
    Scalar,
    SizeSymbol,
    call,
    integer,
    load,
    number,
    position,
    size_symbol,
    step,
)
from tests.properties.cases import Case
from tests.properties.scalar_forms import FORMS, POWERS
from tests.properties.subscripts import Extent, Subscripts, Variable

SHAPES_AND_SUBSCRIPTS = (
    "stride", "dilation", "offset", "negative step", "diagonal", "window", "constant subscript", "modulo",
    "floor division", "gather", "gather in two indices", "computed gather", "gather by argmax", "padding",
    "quotient under a guard", "remainder under a guard", "product under a guard",
    "data guard", "data guard of a sum", "computed subscript",
    "several windows", "size one", "empty axis", "symbolic size", "derived size", "unbound size", "scalar result",
)  # fmt: skip
FORMULAS = (
    "sum", "max", "min", "logsumexp", "two reduced axes", "nested reducer", "nested in nested", "count", "index mask",
    "value mask", "index as number", "integral power", "scatter", "scatter through a gather",
    "scatter to computed places", "scatter of extremes", "read of a scatter", "reshape", "chain",
    "scan", "reverse scan", "nested scan", "scan of length zero", "several carries", "step as subscript",
    "several outputs", "scan over a sequence", "scan of length one", "scan of many steps", "scan with stacked outputs",
    "read in two shapes", "parameter shared by steps", "gather inside a scan", "scan of a scan",
)  # fmt: skip
FEATURES = (*SHAPES_AND_SUBSCRIPTS, *FORMULAS, *[f"function {name}" for name in FORMS])


@dataclass
class Writer(Subscripts):
    """Draws nodes one after the other; later ones read earlier ones."""

    draw: Callable
    smooth: bool
    dtype: str
    rng: np.random.Generator
    symbols: dict[str, int]
    tensors: list[Node] = field(default_factory=list)
    extents: dict[Node, tuple[Extent, ...]] = field(default_factory=dict)
    values: dict[Leaf, np.ndarray] = field(default_factory=dict)
    steps: list[Variable] = field(default_factory=list)
    features: set[str] = field(default_factory=set)
    read: set[Node] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    reducing: int = 0
    outside: bool = False

    # ------------------------------------------------------------ small draws

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def pick(self, options: Sequence):
        return options[self.draw(st.integers(0, len(options) - 1))]

    def extent(self) -> Extent:
        value = self.pick((2, 3, 4, 1, 2, 3, 2, 3, 4, 5, 2, 3, 4, 3, 2))
        if value == 5 and self.chance(3):
            value = 0
        found = Extent(integer(value), value)
        if self.chance(3):
            name = self.pick(tuple(self.symbols))
            size, value = size_symbol(name), self.symbols[name]
            found = Extent(size, value)
            self.features.add("symbolic size")
            self.used.add(name)
            if self.chance(4):
                found = self.pick(
                    (
                        Extent(size + 1, value + 1),
                        Extent(2 * size, 2 * value),
                        Extent((size + 1) // 2, (value + 1) // 2),
                    )
                )
                self.features.add("derived size")
        if found.value < 2:
            self.features.add("size one" if found.value else "empty axis")
        return found

    # ------------------------------------------------------------ tensors

    def add(self, node: Node, extents: Sequence[Extent]) -> Node:
        self.extents[node] = tuple(extents)
        if node not in self.tensors:
            self.tensors.append(node)
        return node

    def leaf(self, extents: Sequence[Extent]) -> Leaf:
        name = f"x{len(self.values)}"
        node = leaf(name, [e.size for e in extents], self.dtype, self.pick(("input", "param")))
        self.values[node] = self.rng.uniform(-1.5, 1.5, [e.value for e in extents]).astype(self.dtype)
        self.add(node, extents)
        return node

    def integers(self, extents: Sequence[Extent], below: int, above: int = -1) -> Leaf:
        node = leaf(f"at{len(self.values)}", [e.size for e in extents], "int64", "input")
        self.values[node] = self.rng.integers(above + 1, max(below, above + 2), [e.value for e in extents])
        return node

    def tensor(self, variables: Sequence[Variable]) -> Node:
        """Something to read: one of the newest tensors, or a new leaf that fits the variables."""
        scattered = [n for n in self.tensors if isinstance(n, Compute) and not n.gathers]
        if scattered and self.chance(4):
            return self.pick(scattered)
        if self.tensors and not self.chance(3):
            return self.pick(self.tensors[-4:])
        rank = self.pick((2, 1, 1, 2, 3, 0))
        return self.leaf(
            [self.pick(variables).extent if variables and not self.chance(4) else self.extent() for _ in range(rank)]
        )

    # ------------------------------------------------------------ expressions

    def expression(self, variables: Sequence[Variable], depth: int) -> Scalar:
        """A float expression; a constant, which a decided condition leaves, gets a dtype."""
        made = self.atom(variables) if depth == 0 else self.function(variables, depth)
        return call(self.dtype, made) if made.dtype in ("pyint", "pyfloat") else made

    def function(self, variables: Sequence[Variable], depth: int) -> Scalar:
        parts = [self.expression(variables, depth - 1)]
        if self.chance(5):
            condition = self.index_condition(variables)
            self.features.add("index mask")
            return call("where", condition, parts[0], self.pick((number(0.0), number(0.25), self.atom(variables))))
        if self.chance(8):
            self.features.add("integral power")
            return self.pick(POWERS)(parts[0])
        names = tuple(FORMS) if not self.smooth else tuple(name for name, form in FORMS.items() if form.smooth)
        name = self.pick(("mul", "add", "mul", *names))
        while len(parts) < FORMS[name].arguments:
            parts.append(self.expression(variables, self.pick(range(depth))))
        self.features.add(f"function {name}")
        if name in ("where", "lt", "le", "gt", "ge"):
            self.features.add("value mask")
        return FORMS[name].build(*parts)

    def atom(self, variables: Sequence[Variable]) -> Scalar:
        """An access, guarded where it must be; a nested reducer; an index as a number."""
        if variables and self.chance(10):
            self.features.add("index as number")
            return call("mul", call(self.dtype, self.pick(variables).poly + 1), number(0.25))
        if self.reducing < 2 and self.chance(5):
            return self.nested(variables)
        access, inside = self.access(self.tensor(variables), variables)
        if self.chance(6):  # a guard around more than the access
            self.features.add("function where")
            return call("where", inside, call("sin", access), number(0.5))
        return call("where", inside, access, number(0.0))

    def index_condition(self, variables: Sequence[Variable]) -> Scalar:
        total = integer(0)
        for v in variables[:2]:
            total = total + self.pick((1, 1, 0, 2, -1)) * v.poly
        condition = call(self.pick(("le", "gt", "ne", "eq")), total, integer(self.pick((1, 0, 2))))
        if variables and self.chance(3):
            even = call("eq", self.pick(variables).poly % 2, integer(0))
            condition = call(self.pick(("and", "or")), condition, even)
        return call("not", condition) if self.chance(5) else condition

    def nested(self, variables: Sequence[Variable]) -> Scalar:
        self.features.add("nested in nested" if self.reducing else "nested reducer")
        chosen = [v for v in variables if not self.chance(3)]
        reduced = [self.extent() for _ in range(self.pick((1, 1, 2)))]
        if self.chance(6):
            self.features.add("count")
            node, at = self.inner_node(chosen, reduced, "count")
            return call("mul", call(self.dtype, load(node, at)), number(0.25))
        if any(e.value == 0 for e in reduced):
            reducer = "sum"  # -inf and inf would drown everything else
        else:
            reducer = self.pick(("sum", "max", "min", "logsumexp"))
        node, at = self.inner_node(chosen, reduced, reducer)
        return load(node, at)

    def inner_node(
        self, chosen: Sequence[Variable], reduced: Sequence[Extent], reducer: str
    ) -> tuple[Node, list[Poly]]:
        """A reducer over indices of its own, as a node over the chosen variables, and where to read it."""
        outer = [v for v in chosen if not v.is_step]
        own = [Variable(position(k), v.extent) for k, v in enumerate(outer)]
        new = [Variable(position(len(own) + k), e) for k, e in enumerate(reduced)]
        self.reducing += 1
        body = self.expression([*own, *new, *[v for v in chosen if v.is_step]], self.pick((1, 0, 2)))
        self.reducing -= 1
        if reducer == "count":
            body, reducer = call("gt", body, number(0.1)), "sum"
        elif len(reduced) and not reducer.startswith("arg"):
            self.features.add(reducer)
        shape = [v.extent.size for v in outer]
        extents = [*shape, *[e.size for e in reduced]]
        node = compute(shape, extents, [position(k) for k in range(len(shape))], reducer, body)
        return node, [v.poly for v in outer]

    # ------------------------------------------------------------ nodes

    def node(self) -> Node:
        way = self.pick(("formula", "formula", "scan", "scatter", "reshape", "scan", "two shapes", "scan"))
        if way == "scan" and len(self.steps) < 2:
            return self.scan()
        if way == "reshape" and self.tensors:
            return self.reshape(self.pick(self.tensors[-3:]))
        if way == "two shapes" and (made := [n for n in self.tensors[-4:] if isinstance(n, Compute)]):
            return self.in_two_shapes(self.pick(made))
        return self.formula([self.extent() for _ in range(self.pick((1, 2, 2, 3, 0)))], way == "scatter")

    def formula(self, shape: Sequence[Extent], scattered: bool = False) -> Node:
        if scattered:
            return self.scatter(shape)
        reduced = [self.extent() for _ in range(self.pick((1, 0, 1, 2)))]
        variables = [Variable(position(k), e) for k, e in enumerate([*shape, *reduced])]
        body = self.expression([*variables, *self.steps], self.pick((1, 2, 3)))
        reducer = "none"
        if reduced:
            nothing = any(e.value == 0 for e in reduced)
            reducer = "sum" if nothing or self.chance(2) else self.pick(("max", "min", "logsumexp"))
            self.features.add(reducer)
        if len(reduced) == 2:
            self.features.add("two reduced axes")
        if not shape:
            self.features.add("scalar result")
        target = [position(k) for k in range(len(shape))]
        sizes = [e.size for e in shape]
        return self.add(compute(sizes, [*sizes, *[e.size for e in reduced]], target, reducer, body), shape)

    def scatter(self, shape: Sequence[Extent]) -> Node:
        loops = [self.extent() for _ in range(self.pick((1, 2)))]
        if any(e.value == 0 for e in shape):
            loops[0] = Extent(integer(0), 0)  # an empty result has room for nothing
        variables = [Variable(position(k), e) for k, e in enumerate(loops)]
        body = self.expression([*variables, *self.steps], self.pick((1, 2)))
        target = [self.subscript(e, variables, padded=False)[0] for e in shape]
        self.features.add("scatter")
        loaded = [t for t in target if any(isinstance(a, Load) for a in t.atoms)]
        if loaded:
            self.features.add("scatter through a gather")
        if any(not isinstance(t.terms[0][0][0] if t.terms[0][0] else t, Load) or t.terms[0][1] != 1 for t in loaded):
            self.features.add("scatter to computed places")
        sizes = [e.size for e in shape]
        reducer = self.pick(("sum", "sum", "max", "min", "logsumexp"))
        node = compute(sizes, [e.size for e in loops], target, reducer, body)
        if reducer != "sum":
            self.features.add("scatter of extremes")
            x = identity(node)  # nothing may be meant for a place
            node = pointwise(sizes, call("where", call("lt", call("abs", x), number(inf)), x, number(0.25)))
        return self.add(node, shape)

    def in_two_shapes(self, source: Compute) -> Node:
        """A formula that reads a computed tensor as it is, element by element, and in another shape."""
        shape = self.extents[source]
        variables = [Variable(position(k), e) for k, e in enumerate(shape)]
        body = load(source, [v.poly for v in variables])
        other, inside = self.access(self.reshape(source), [*variables, *self.steps])
        body = call(self.pick(("add", "mul")), body, call("where", inside, other, number(0.25)))
        self.features.add("read in two shapes")
        sizes = [e.size for e in shape]
        return self.add(compute(sizes, sizes, [position(k) for k in range(len(shape))], "none", body), shape)

    def reshape(self, source: Node) -> Node:
        extents = self.extents[source]
        flat = Extent(product(e.size for e in extents), prod(e.value for e in extents))
        one = Extent(integer(1), 1)
        ways = [[flat], [*extents, one], [one, *extents], [*extents[::-1]] if len(set(extents)) < 2 else [flat, one]]
        if len(extents) > 1:
            first = Extent(product(e.size for e in extents[:2]), extents[0].value * extents[1].value)
            ways.append([first, *extents[2:]])
        if flat.size.constant is not None and flat.value % 2 == 0 and flat.value:
            ways.append([Extent(integer(2), 2), Extent(integer(flat.value // 2), flat.value // 2)])
        shape = self.pick(ways)
        self.read.add(source)
        self.features.add("reshape")
        return self.add(reshape(source, [e.size for e in shape]), shape)

    # ------------------------------------------------------------ scans

    @contextmanager
    def inside(self, depth: int, length: Extent) -> Iterator[None]:
        """What is written here belongs to the body of a scan; afterwards only what is outside of it is left."""
        before = list(self.tensors)
        self.steps.append(Variable(step(depth), length, is_step=True))
        yield
        self.steps.pop()
        new = [n for n in self.tensors if isinstance(n, Leaf) and n not in before]
        self.tensors = [*before, *new]

    def scan(self) -> Node:
        depth = len(self.steps)
        length = self.pick((Extent(integer(0), 0), Extent(integer(1), 1), Extent(integer(7), 7), *[None] * 5))
        length = length or self.extent()
        shapes = [[self.extent() for _ in range(self.pick((1, 0, 2)))] for _ in range(self.pick((1, 1, 2, 3)))]
        inits = [self.formula(shape) if self.chance(3) else self.leaf(shape) for shape in shapes]
        carries = [
            carry(k, [e.size for e in s], init.dtype, depth)
            for k, (s, init) in enumerate(zip(shapes, inits, strict=True))
        ]
        outside = set(self.tensors)
        labels = len(self.values)
        with self.inside(depth, length):
            for state, shape in zip(carries, shapes, strict=True):
                self.add(state, shape)
            if self.chance(2):
                self.element(length, depth)
            if self.chance(2):
                self.scan() if depth == 0 and self.chance(2) else self.node()
            nexts = [self.following(state, shape) for state, shape in zip(carries, shapes, strict=True)]
            outputs = [
                self.formula([self.extent() for _ in range(self.pick((1, 0, 2)))]) for _ in range(self.pick((1, 0, 2)))
            ]
            made = [(n, self.extents[n]) for n in outputs]
        self.read.update([*inits, *nexts, *outputs])
        reverse = self.chance(2)
        loop = scan(length.size, depth, carries, inits, nexts, outputs, reverse)
        self.features |= _features_of(loop, length.value, outside)
        self.features |= {"gather inside a scan"} if any(x.dtype == "int64" for x in [*self.values][labels:]) else set()
        for k, (_, shape) in enumerate(made):
            self.add(project(loop, "stack", k), [length, *shape])
        count = Extent(length.size + 1, length.value + 1)
        states = [self.add(project(loop, "states", k), [count, *shape]) for k, shape in enumerate(shapes)]
        return states[0]

    def element(self, length: Extent, depth: int) -> None:
        """One element of a sequence that the scan walks along, forwards or from its other end."""
        rest = [self.extent() for _ in range(self.pick((1, 0)))]
        at = self.pick((step(depth), length.size - 1 - step(depth)))
        sequence = self.leaf([length, *rest])
        self.tensors.remove(sequence)
        element = load(sequence, [at, *[position(k) for k in range(len(rest))]])
        self.add(pointwise([e.size for e in rest], call("mul", element, number(0.5))), rest)
        self.read.add(sequence)
        self.features.add("scan over a sequence")

    def following(self, state: Node, shape: Sequence[Extent]) -> Node:
        """The next state: a formula of the same dtype that keeps it moderate."""
        new = self.formula(shape)
        self.read.add(new)
        at = [position(k) for k in range(len(shape))]
        body = call("tanh", call("add", load(new, at), call("mul", load(state, at), number(0.5))))
        return pointwise(state.shape, call(state.dtype, body))


def _features_of(loop: Scan, length: int, outside: Collection[Node]) -> set[str]:
    shared = [n for n in loop.captured if isinstance(n, Leaf) and n.role == "param"]
    found = {
        "reverse scan" if loop.reverse else "scan": True,
        "nested scan": loop.depth > 0,
        "scan of length zero": length == 0,
        "scan of length one": length == 1,
        "scan of many steps": length > 4,
        "several carries": len(loop.carries) > 1,
        "scan with stacked outputs": bool(loop.outputs),
        "parameter shared by steps": bool(shared) and length > 1,
        "scan of a scan": any(isinstance(n, Project) and n in outside for n in (*loop.captured, *loop.inits)),
    }
    return {feature for feature, holds in found.items() if holds}


@st.composite
def formulas(
    draw: Callable, smooth: bool = False, dtype: str = "float64", scans: bool = False, outside: bool = False
) -> Case:
    """A case; `smooth` leaves out the functions whose gradient is not the derivative of their value.

    With `scans` every case has a scan. With `outside` some computed subscripts leave their axes.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    symbols = {name: draw(st.sampled_from((2, 3, 1, 4, 3, 2, 3, 2, 4, 3, 2, 3, 0))) for name in ("M", "N")}
    writer = Writer(draw, smooth, dtype, rng, symbols, outside=outside)
    count = draw(st.integers(1, 2 if scans else 4))
    made = [writer.scan() if scans else writer.node() for _ in range(count)]
    made += [n for n in writer.tensors if not isinstance(n, Leaf)]
    outputs = [n for n in dict.fromkeys(made) if n not in writer.read] or made[-1:]
    if len(outputs) > 1:
        writer.features.add("several outputs")
    reached = [n for n in toposort(outputs) if isinstance(n, Leaf)]
    bound = {
        size.terms[0][0][0].name
        for n in reached
        for size in n.shape
        if len(size.terms) == 1 and size.terms[0][1] == 1 and [type(a) for a in size.terms[0][0]] == [SizeSymbol]
    }
    free = {name: value for name, value in symbols.items() if name in writer.used - bound}
    if free:
        writer.features.add("unbound size")
    values = {n: writer.values[n] for n in reached}
    return Case(tuple(outputs), values, free, frozenset(writer.features))
