"""From a request to statements: what to compute, scheduled, with a place for every value.

In: the roots of a request and what is in memory when it starts. Out: a `Draft`, whose statements passes still change.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gradgen.graph.intern import intern
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Leaf, Node, Project, Reshape, Scan, all_inputs, project, show_size, toposort
from gradgen.graph.origin import Files
from gradgen.graph.scalar import Poly, Scalar, size_symbol
from gradgen.graph.sizes import size_names
from gradgen.machine import machine
from gradgen.passes.lower.drafts import Draft, Piece
from gradgen.passes.lower.naming import GENERATED, described, is_named_by_user, name_nodes
from gradgen.passes.lower.statements import Lowering
from gradgen.passes.lower.storage import Buffers, Storage, assign_storage, scan_loops, whole_values
from gradgen.passes.rewrite.materialize import is_materialized
from gradgen.passes.schedule.inline import expand
from gradgen.passes.schedule.nest import schedule
from gradgen.passes.schedule.trees import Item, ScanLoop, Tree, flatten, memory, unsafe_overwrites
from gradgen.program.loops import Buffer, Contract, Note, Role
from gradgen.program.registers import names_in


@dataclass(frozen=True, slots=True)
class Root:
    """A result of an entry: its public name, its node, and what it is."""

    name: str
    node: Node
    role: Role
    overwrites: Leaf | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Results to compute."""

    roots: tuple[Root, ...]
    saved: tuple[Node, ...] = ()  # forward values that this entry leaves in the workspace
    given: tuple[Node, ...] = ()  # forward values that it finds there


@dataclass(slots=True)
class RequestLowering:
    """What the requests of one module share: names, arrays, and how comments are written."""

    describe: Callable[[Node, Mapping[Node, str], Scalar, Mapping[int, str], Mapping[int, str]], str]
    files: Files
    public: frozenset[str] = frozenset()  # arguments, sizes, outputs, their derivatives: nothing else is called so
    names: dict[Node, str] = field(default_factory=dict)
    arrays: Buffers = field(default_factory=Buffers)
    declared: dict[str, int] = field(default_factory=dict)  # leaves, gradients: users expect the order of declaration

    @property
    def parts(self) -> Poly:
        """The size that says how many threads share a loop."""
        return size_symbol(free_name("parts", self.public))

    @property
    def reserved(self) -> set[str]:
        """What no value of an entry may be called, unless it is the argument or the result of that name."""
        return {*self.public, *size_names(self.parts)}

    def draft(self, entry: str, request: Request) -> Draft:
        """Schedule and lower one request of an entry point."""
        order = toposort([*(root.node for root in request.roots), *request.saved], all_inputs)
        fixed = {n: self.names[n] for n in order if n in self.names}
        for root in request.roots:  # of two results that are one value, the second is a copy of the first
            if not isinstance(root.node, Leaf):
                fixed.setdefault(root.node, root.name)
        names = name_nodes(order, fixed, self.reserved)
        for node in (*request.saved, *request.given):
            self.names[node] = names[node]
        arrays = self.arrays.begin({*names.values(), *self.reserved, *GENERATED})

        given: dict[Node, Buffer] = {n: self.leaf_buffer(n, arrays) for n in order if isinstance(n, Leaf)}
        given |= {n: arrays.make(names[n], n.shape, n.dtype, "saved") for n in request.given}
        kept = {*request.saved, *[n for r in request.roots for n in memory(r.node)]}
        overwrites: dict[Node, Leaf] = {}
        for root in request.roots:
            if root.overwrites is not None and root.node not in given:
                overwrites.setdefault(root.node, root.overwrites)  # the memory that it is computed in
        plan = schedule([r.node for r in request.roots], set(given), names, kept, arrays.taken, overwrites)
        arrays.passing |= plan.letters
        results, copies = self.result_buffers(request, names, given, unsafe_overwrites(plan.trees), arrays)
        saved = {n: arrays.make(names[n], n.shape, n.dtype, "saved") for n in request.saved if n not in results}
        self.names |= {n: b.name for n, b in saved.items()}
        placed = {**results, **saved}
        names |= {n: b.name for n, b in placed.items() if n not in overwrites}  # as comments read them
        own = [n for n in plan.items if is_materialized(n) and n.shape and n not in placed]
        placed |= {n: arrays.make(names[n], n.shape, n.dtype, "work") for n in own}
        places = assign_storage(plan, given, placed, names, arrays, [node for node, _ in copies])
        self.place_reshapes(order, places, names, arrays)
        lowering = Lowering(places, names, arrays)
        unnamed = {n: body for n, body in plan.inlined.items() if not is_named_by_user(n, names[n])}
        pieces = [self.piece(tree, lowering, names, unnamed) for tree in plan.trees]
        early, late = self.copies(request, copies, lowering)
        returns = tuple(self.returned(request, results, copies))
        whole = whole_values(plan)
        decisions = [*plan.decisions, *(f"{names[n]}: kept whole, no axis serves all its readers" for n in whole)]
        asked = (*results.values(), *(b for _, b in copies))
        empty = tuple(b for b in asked if b.role in ("output", "gradient") and _is_empty(b))
        return Draft(
            entry,
            tuple(pieces),
            tuple(early),
            tuple(late),
            returns,
            tuple(given.values()),
            tuple(decisions),
            bool(whole),
            empty,
            arrays,
            self.parts,
        )

    # ------------------------------------------------------------ buffers

    def leaf_buffer(self, leaf: Leaf, arrays: Buffers) -> Buffer:
        self.declared[leaf.name] = leaf.serial
        if not leaf.shape and leaf.role in ("input", "cotangent"):
            return intern(Buffer, leaf.name, (), leaf.dtype, leaf.role, None)
        return arrays.make(leaf.name, leaf.shape, leaf.dtype, leaf.role)

    def result_buffers(
        self,
        request: Request,
        names: Mapping[Node, str],
        given: Mapping[Node, Buffer],
        unsafe: set[Node],
        arrays: Buffers,
    ) -> tuple[dict[Node, Buffer], list[tuple[Node, Buffer]]]:
        """A buffer for every root; roots that are in memory already, or asked for twice, are copied at the end."""
        results: dict[Node, Buffer] = {}
        copies: list[tuple[Node, Buffer]] = []
        reshapes_last = sorted(request.roots, key=lambda root: isinstance(root.node, Reshape))
        for root in reshapes_last:
            if root.role == "saved":
                continue
            node, role = root.node, root.role
            saved = node in request.saved
            if root.overwrites is not None:
                buffer = self.leaf_buffer(root.overwrites, arrays)
                if node in given or node in results or node in unsafe or isinstance(node, (Reshape, Project)):
                    copies.append((node, buffer))
                else:
                    results[node] = buffer
                continue
            scalar_result = not node.shape and role == "output" and machine().by_value
            buffer = arrays.make(root.name, node.shape, node.dtype, "local" if scalar_result else role)
            if node in given or node in results or saved:
                copies.append((node, buffer))
            elif isinstance(node, Reshape):
                *_, source = memory(node)
                elsewhere = source in given or source in results or source in request.saved
                if scalar_result or elsewhere or isinstance(source, Project):
                    copies.append((node, buffer))
                else:
                    results[node] = buffer
                    results[source] = intern(Buffer, names[source], source.shape, source.dtype, role, buffer)
            else:
                results[node] = buffer
        return results, copies

    def copies(
        self,
        request: Request,
        wanted: Sequence[tuple[Node, Buffer]],
        lowering: Lowering,
    ) -> tuple[list[Piece], list[Piece]]:
        """Copies to where results belong: behind everything; what would read a leaf already overwritten, before."""
        overwritten = {root.overwrites for root in request.roots}
        early: list[Piece] = []
        late: list[Piece] = []
        for node, buffer in wanted:
            if _is_empty(buffer):
                continue
            body = lowering.copy(node, whole(buffer))
            *_, source = memory(node)
            if isinstance(source, Leaf) and source in overwritten:
                aside = lowering.buffers.derive(f"{buffer.name}_next", buffer.shape, buffer.dtype, "work")
                early.append(Piece(f"{buffer.name}_aside", (), tuple(lowering.copy(node, whole(aside)))))
                body = lowering.copy_buffer(aside, whole(buffer))
            late.append(Piece(f"{buffer.name}_copy", (), tuple(body)))
        return early, late

    def returned(
        self, request: Request, results: Mapping[Node, Buffer], copies: Sequence[tuple[Node, Buffer]]
    ) -> list[Buffer]:
        everything = [*results.values(), *[b for _, b in copies]]
        return [b for r in request.roots for b in everything if b.name == r.name and b.by_value and r.role == "output"]

    def place_reshapes(
        self, order: Sequence[Node], places: dict[Node, Storage], names: Mapping[Node, str], arrays: Buffers
    ) -> None:
        """Another shape of a buffer is a view that the entry makes; that of a row, the same row of a view of all."""
        for node in order:
            if isinstance(node, Reshape) and node not in places and node.source in places:
                source, row = places[node.source].buffer, places[node.source].prefix
                if not source.shape and source.alias_of is None:  # one element, which may be a variable
                    places[node] = Storage(source, row, ())
                    continue
                base = source.alias_of or source
                name = names[node]
                if name in arrays.by_name:
                    name = free_name(f"{name}_view", {*arrays.taken, *arrays.by_name})
                arrays.taken.add(name)
                view = intern(Buffer, name, (*source.shape[: len(row)], *node.shape), node.dtype, base.role, base)
                places[node] = Storage(view, row, tuple(range(len(node.shape))))

    # ------------------------------------------------------------ pieces

    def piece(self, tree: Tree, lowering: Lowering, names: Mapping[Node, str], unnamed: Mapping[Node, Scalar]) -> Piece:
        items = list(dict.fromkeys(flatten([tree])))
        body = lowering.trees([tree])
        lowering.buffers.passing |= names_in(body)
        last = names[items[-1].node] if items else "scan"
        if isinstance(tree, ScanLoop):
            last = names[next(_results(tree.scan, names))]
        steps = {loop.scan.depth: loop.letter for loop, _ in scan_loops([tree])}
        formulas = [self.note(item, names, unnamed, steps) for item in items]
        notes = (*self.carried([tree], names, lowering.places), *formulas)
        return Piece(last, notes, tuple(body), alone=any(isinstance(s, Contract) for s in body))

    def carried(
        self, trees: Sequence[Tree], names: Mapping[Node, str], places: Mapping[Node, Storage]
    ) -> Iterator[Note]:
        """What the carries of the scans in a piece are: the states that the step at hand begins with."""
        for tree in trees:
            if isinstance(tree, ScanLoop):
                at = f"{tree.letter} + 1" if tree.scan.reverse else tree.letter
                for number, carry in enumerate(tree.scan.carries):
                    whole = project(tree.scan, "states", number)
                    states = places[whole]
                    steps = ", ".join([*map(show_size, states.prefix), at])
                    name, held = states.buffer.name, ""
                    if 0 not in states.axes:
                        name, held = names.get(whole) or described(whole, names), f", the only row that {name} holds"
                    text = f"{names.get(carry, 'carry')} = {name}[{steps}]{held}"
                    yield Note(text, lines=self.files.lines(next(_results(tree.scan, names))))
            if not isinstance(tree, Item):
                yield from self.carried(tree.members, names, places)

    def note(
        self, item: Item, names: Mapping[Node, str], unnamed: Mapping[Node, Scalar], steps: Mapping[int, str]
    ) -> Note:
        """The formula of an item as its loops compute it: their letters, and no name for what is written into it."""
        bound = item.bound if item.tile is None else {**item.bound, item.tile: item.tile_letter}
        text = self.describe(item.node, names, expand(item.node.body, unnamed), bound, steps)
        return Note(text, names[item.node], self.files.lines(item.node))


def whole(buffer: Buffer) -> Storage:
    return Storage(buffer, (), tuple(range(len(buffer.shape))))


def _results(scan: Scan, nodes: Iterable[Node]) -> Iterator[Node]:
    """The results of a scan among some nodes; one that nobody reads is not in a program."""
    return (n for n in nodes if isinstance(n, Project) and n.scan is scan)


def _is_empty(b: Buffer) -> bool:
    return any(extent.constant == 0 for extent in b.shape)
