"""From trees of loops to statements: the same order, with initial values, updates and stores written out.

In: a `Schedule` and the storage of its nodes. Out: statements, which `hoist` improves and `emit` prints.
"""

from collections.abc import Callable, Iterable

from gradgen.graph.intern import intern
from gradgen.graph.names import free_letters
from gradgen.graph.nodes import Node, Project, Shape, project, same_shape
from gradgen.graph.polynomials import applied
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Load,
    Poly,
    Scalar,
    call,
    integer,
    load,
    position,
    require_poly,
)
from gradgen.passes.lower.affine_sums import contract
from gradgen.passes.lower.here import Here, end_of
from gradgen.passes.lower.matrix_products import dot, repair
from gradgen.passes.lower.naming import is_named_by_user
from gradgen.passes.lower.reductions import (
    accumulated_dtype,
    added,
    initial_value,
    operation,
    reduces,
    runs_in_variable,
)
from gradgen.passes.lower.storage import Storage
from gradgen.passes.schedule.trees import Item, Loop, ScanLoop, Tile, Tree
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    If,
    LoopKind,
    Statement,
    letter,
    side_by_side,
)


class Lowering(Here):
    """Statements for trees, one after the other."""

    __slots__ = ()

    # ------------------------------------------------------------ trees

    def trees(self, trees: Iterable[Tree]) -> list[Statement]:
        found: list[Statement] = []
        for tree in trees:
            match tree:
                case Loop():
                    found += self.loop(tree)
                case Tile():
                    found += self.tile(tree)
                case ScanLoop():
                    found += self.scan(tree)
                case Item():
                    found += self.item(tree)
        return found

    def loop(self, tree: Loop) -> list[Statement]:
        before, body, after = self.around(tree)
        owned = all(item.gathers and axis < item.rank for item, axis in tree.axis.items())
        kind: LoopKind = "parallel" if owned else "reduce"
        item, axis = next(iter(tree.axis.items()))
        start, stop = self.span(item, axis)
        within = tree.extent if axis == item.tile else None
        return [*before, For(tree.letter, start, stop, kind, body, within=within), *after]

    def tile(self, tree: Tile) -> list[Statement]:
        before, body, after = self.around(tree)
        start, end = letter(tree.letter), end_of(tree)
        stop = Assign(end, (), call("minimum", start + tree.rows, tree.extent))
        return [*before, For(tree.letter, integer(0), tree.extent, "reduce", (stop, *body), tree.rows), *after]

    def around(self, tree: Loop | Tile) -> tuple[list[Statement], tuple[Statement, ...], list[Statement]]:
        """What stands before, in, and behind a loop; reductions over it begin before it, and end behind it."""
        reduced = [item for item, axis in tree.axis.items() if reduces(item, axis) and not self._reduced_outside(item)]
        before = side_by_side(s for item in reduced for s in self.start(item))
        after = [s for item in reduced for s in self.finish(item)]
        self.open.append(tree)
        body = self.trees(tree.members)
        self.open.pop()
        return before, tuple(body), after

    def _reduced_outside(self, item: Item) -> bool:
        return any(
            not isinstance(loop, ScanLoop) and item in loop.axis and reduces(item, loop.axis[item])
            for loop in self.open
        )

    def scan(self, tree: ScanLoop) -> list[Statement]:
        scan = tree.scan
        begun: list[Statement] = []
        first = scan.length if scan.reverse else integer(0)
        for k, (init, start) in enumerate(zip(scan.inits, tree.starts, strict=True)):
            states = self.places[project(scan, "states", k)]
            begun += self.assign(start, init.shape, states.row(first))
        self.open.append(tree)
        body = self.trees(tree.members)
        t = letter(tree.letter)
        after = t if scan.reverse else t + 1
        for kind, nodes, at in (("states", scan.nexts, after), ("stack", scan.outputs, t)):
            for k, node in enumerate(nodes):
                whole = project(scan, "states" if kind == "states" else "stack", k)
                if isinstance(whole, Project):
                    wanted = self.places[whole].row(require_poly(at))
                    place = self.places[node]
                    if place.buffer is not wanted.buffer or not same_shape(place.prefix, wanted.prefix):
                        body += self.copy(node, wanted)
        self.open.pop()
        start, stop, stride = (scan.length - 1, integer(-1), -1) if scan.reverse else (integer(0), scan.length, 1)
        return [*side_by_side(begun), For(tree.letter, start, stop, "serial", tuple(body), stride)]

    def copy(self, node: Node, into: Storage) -> list[Statement]:
        """Store a value that is somewhere else already."""
        return self.assign(load(node, [position(k) for k in range(len(node.shape))]), node.shape, into)

    def assign(self, value: Scalar, shape: Shape, into: Storage) -> list[Statement]:
        """Store an expression over the axes of a shape."""
        letters, loops = self.copy_loops(shape)
        return loops(Assign(into.buffer, into.subscripts(letters), self.read(value, dict(enumerate(letters)))))

    def copy_buffer(self, source: Buffer, into: Storage) -> list[Statement]:
        letters, loops = self.copy_loops(source.shape)
        return loops(Assign(into.buffer, into.subscripts(letters), load(source, letters)))

    def copy_loops(self, shape: Shape) -> tuple[tuple[Poly, ...], Callable[[Statement], list[Statement]]]:
        """Loop variables for every axis, and the nest of loops over them around a statement."""
        names = free_letters(len(shape), self.taken)

        def loops(inner: Statement) -> list[Statement]:
            for name, extent in zip(reversed(names), reversed(shape), strict=True):
                inner = For(name, integer(0), extent, "parallel", (inner,))
            return [inner]

        return tuple(letter(name) for name in names), loops

    # ------------------------------------------------------------ items

    def item(self, item: Item) -> list[Statement]:
        if item.contraction is not None:
            return dot(self, item)
        if item.outer is not None:
            return [contract(self, item), *repair(self, item)]
        value = self.value(item, item.body)
        place = self.places[item.node]
        if item.gathers and len(item.extents) == item.rank:
            if item.node.dtype != value.dtype and value.dtype in FLOATS:
                value = call(item.node.dtype, value)
            before, value = self.named_argument(item, value)
            return [*before, *self.store(item, value)]
        reducer = item.node.reducer
        if reducer in ("argmax", "argmin"):
            return self.choose(item, value, reducer)
        accumulator = self.accumulator(item)
        if accumulator is not None:
            return [Accumulate(accumulator, (), operation(reducer), value)]
        if item.gathers:
            return [Accumulate(place.buffer, self.own_subscripts(item), operation(reducer), value)]
        target = tuple(require_poly(self.value(item, t)) for t in item.target)
        return added(place.buffer, place.subscripts(target), value, reducer)

    def named_argument(self, item: Item, value: Scalar) -> tuple[list[Statement], Scalar]:
        """u = a + b; y = f(u) for what the user wrote so, where u has no memory: its value keeps its name."""
        match item.node.body, value:
            case Call(function=f, arguments=(Load(tensor=u),)), Call(function=g, arguments=(x,)) if f is g:
                if u not in self.places and not isinstance(x, Load) and is_named_by_user(u, self.names[u]):
                    variable = intern(Buffer, self.names[u], (), x.dtype, "local", None)
                    return [Assign(variable, (), x)], applied(g, (load(variable, ()),), value.dtype)
        return [], value

    def store(self, item: Item, value: Scalar) -> list[Statement]:
        """The finished value of an item, into its register and its memory."""
        place = self.places[item.node]
        found: list[Statement] = []
        if place.register is not None and place.register is not place.buffer:
            variable = load(place.register, ())
            found += [] if value is variable else [Assign(place.register, (), value)]
            value = variable
        found.append(Assign(place.buffer, self.own_subscripts(item), value))
        return found

    def own_subscripts(self, item: Item) -> tuple[Poly, ...]:
        place = self.places[item.node]
        letters = self.letters(item)
        return place.subscripts(tuple(letters.get(k, integer(0)) for k in range(item.rank)))

    def start(self, item: Item) -> list[Statement]:
        """The value before the first term."""
        initial = initial_value(item)
        if item.contraction is None:
            accumulator = self.accumulator(item)
            reducer = item.node.reducer
            if reducer in ("argmax", "argmin"):
                assert accumulator is not None
                best = self.best(item)
                return [Assign(best, (), initial), Assign(accumulator, (), integer(0))]
            if accumulator is not None:
                return [Assign(accumulator, (), initial)]
        return self.fill(item, initial)

    def fill(self, item: Item, value: Scalar) -> list[Statement]:
        """Set every element that the open loops do not fix."""
        place = self.places[item.node]
        fixed = self.open_letters(item)
        axes = [k for k in place.axes if k not in fixed]
        names = dict(zip(axes, free_letters(len(axes), self.taken), strict=True))
        subscripts = tuple(letter(names[k]) if k in names else fixed.get(k, integer(0)) for k in range(item.rank))
        body: tuple[Statement, ...] = (Assign(place.buffer, place.subscripts(subscripts), value),)
        for k in reversed(axes):
            part = self.span(item, k) if item.gathers and k == item.tile else (integer(0), item.node.shape[k])
            within = item.node.shape[k] if item.gathers and k == item.tile else None
            body = (For(names[k], *part, "parallel", body, within=within),)
        return list(body)

    def finish(self, item: Item) -> list[Statement]:
        """What follows the last term: the accumulator goes where the value lives."""
        if item.contraction is not None:
            return []
        accumulator = self.accumulator(item)
        if accumulator is None or accumulator is self.places[item.node].buffer:
            return []
        value: Scalar = load(accumulator, ())
        if accumulator.dtype != item.node.dtype:
            value = call(item.node.dtype, value)
        return self.store(item, value)

    def accumulator(self, item: Item) -> Buffer | None:
        """The scalar variable that a reduction runs in; None where it runs in memory."""
        if not runs_in_variable(item):
            return None
        place = self.places[item.node]
        if not place.buffer.shape and place.buffer.role == "local" and accumulated_dtype(item) == item.node.dtype:
            return place.buffer
        return self.variable(item, "acc", accumulated_dtype(item))

    def best(self, item: Item) -> Buffer:
        return self.variable(item, "best_acc", item.body.dtype)

    def choose(self, item: Item, value: Scalar, reducer: str) -> list[Statement]:
        """Keep the first nan, else the first largest (or smallest) value, with its flat index."""
        best, index = self.best(item), self.accumulator(item)
        assert index is not None
        flat: Poly = integer(0)
        letters = self.letters(item)
        for k in range(item.rank, len(item.extents)):
            flat = require_poly(flat * item.extents[k] + letters[k])
        candidate = self.variable(item, "candidate_acc", value.dtype)
        x, top = load(candidate, ()), load(best, ())
        better = call("gt" if reducer == "argmax" else "lt", x, top)
        if value.dtype in FLOATS:
            first_nan = call("and", call("ne", x, x), call("eq", top, top))
            better = call("or", call("and", better, call("eq", top, top)), first_nan)
        return [
            Assign(candidate, (), value),
            If(better, (Assign(best, (), x), Assign(index, (), flat))),
        ]
