"""From graphs to a program: one schedule per entry point, one set of buffers and kernels for all of them.

In: the roots of every entry and what is in memory when it starts. Out: a `Program` for `emit`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import inf

from gradgen.graph.intern import intern
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Leaf, Node, Project, Reshape, Scan, all_inputs, project, show_size, toposort
from gradgen.graph.origin import Files
from gradgen.graph.scalar import Poly, Scalar, size_symbol
from gradgen.graph.sizes import size_names
from gradgen.passes.lower.cut_kernels import cut, defined_locals, make_kernel
from gradgen.passes.lower.drafts import Draft, Piece
from gradgen.passes.lower.naming import GENERATED, is_named_by_user, name_nodes
from gradgen.passes.lower.statements import Lowering
from gradgen.passes.lower.storage import Buffers, Storage, assign_storage, scan_loops, whole_values
from gradgen.passes.rewrite.materialize import is_materialized
from gradgen.passes.schedule.inline import expand
from gradgen.passes.schedule.nest import schedule
from gradgen.passes.schedule.trees import Item, ScanLoop, Tree, flatten, memory, unsafe_overwrites
from gradgen.program.loops import HOLDERS, Buffer, Checked, Entry, Kernel, KernelCall, Note, Program, Role, reads
from gradgen.program.registers import names_in

WORKSPACE = HOLDERS["w"]


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
class Builder:
    """What the entries of one module share: names, buffers, kernels."""

    name: str
    describe: Callable[[Node, Mapping[Node, str], Scalar, Mapping[int, str], Mapping[int, str]], str]
    files: Files
    notes: tuple[str, ...] = ()  # what was done to the outputs before there were entries
    leaves: tuple[Leaf, ...] = ()  # arguments that an entry may take for their sizes alone
    public: frozenset[str] = frozenset()  # arguments, sizes, outputs, their derivatives: nothing else is called so
    names: dict[Node, str] = field(default_factory=dict)
    kernels: list[Kernel] = field(default_factory=list)
    kernel_names: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)  # names of tensors and variables, which no kernel may have
    drafts: list[Draft] = field(default_factory=list)  # entry by entry, one or several for each
    done: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what was done to the formulas of an entry
    entries: list[Entry] = field(default_factory=list)
    buffers: dict[Buffer, None] = field(default_factory=dict)
    arrays: Buffers = field(default_factory=Buffers)
    declared: dict[str, int] = field(default_factory=dict)  # leaves, gradients: users expect the order of declaration

    @property
    def parts(self) -> Poly:
        """The size that says how many threads share a loop."""
        return size_symbol(free_name("parts", self.public))

    @property
    def reserved(self) -> set[str]:
        """What no value of an entry may be called, unless it is the argument or the result of that name."""
        return {*self.public, *self.kernel_names, *size_names(self.parts)}

    def add(
        self,
        name: str,
        request: Request,
        otherwise: Sequence[Request] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        """One entry point; in several requests where a single one would keep values that outgrow the arguments.

        `notes` say what was done to its formulas.
        """
        drafts = [self.draft(name, request)]
        if drafts[0].whole and otherwise:
            drafts = [self.draft(name, part) for part in otherwise]
        self.drafts += drafts
        self.done[name] = notes

    def entry(self, name: str, drafts: Sequence[Draft]) -> None:
        """The functions of an entry point and the calls of them, once its statements are final."""
        returned = {b for draft in drafts for b in draft.returns}
        calls = self.cut([piece for draft in drafts for piece in draft.everything], returned)
        told = self.telling_sizes(calls, drafts[-1].arrays)
        used = {b for call in calls for b in call.buffers} | {b.alias_of for call in calls for b in call.buffers}
        used |= set(told)
        given = (b for draft in drafts for b in draft.given)
        parameters = dict.fromkeys(b for b in self.in_order([*given, *told]) if b.role in ("input", "cotangent"))
        self.entries.append(
            Entry(
                name,
                tuple(b for b in parameters if b in used),
                tuple(calls),
                tuple(b for draft in drafts for b in draft.returns),
                (
                    *([] if self.entries else self.notes),
                    *self.done[name],
                    *(d for draft in drafts for d in draft.decisions),
                ),
                (*(b for draft in drafts for b in draft.empty), *told),
            )
        )
        self.buffers.update(dict.fromkeys(self.entries[-1].idle))
        for call in calls:
            for b in call.buffers:
                self.buffers.setdefault(b if b.alias_of is None else b.alias_of)

    def telling_sizes(self, calls: Sequence[KernelCall], arrays: Buffers) -> tuple[Buffer, ...]:
        """An array with an axis of each size that no array of the calls has: the first argument that has one.

        A workspace may be larger than a call: of its axes only the number of parts counts, which is the length of one
        of its arrays. Jitted code that asks Numba for the number of threads would be compiled in every process, as
        Numba caches no code that holds an address (numba 0.68).
        """
        touched = [b for call in calls for b in call.buffers]
        names = dict.fromkeys(name for call in calls for name in call.sizes)
        missing = [name for name in names if not _tell(touched, name, size_symbol(name) is self.parts)]
        found = self.tellers(missing)
        if any(size_symbol(name) is self.parts for name in missing):
            found.append(arrays.derive("each_part", (self.parts,), "bool", "work"))
        return tuple(found)

    def telling(self, program: Program) -> Program:
        """The program with arguments for sizes that its calls take since they were made, as guards do."""
        entries: list[Entry] = []
        for entry in program.entries:
            known = {*entry.parameters, *entry.idle}
            more = [
                b for b in self.telling_sizes([*entry.kernel_calls], self.arrays.begin(self.reserved)) if b not in known
            ]
            parameters = self.in_order([*entry.parameters, *(b for b in more if b.role == "input")])
            entries.append(replace(entry, parameters=tuple(parameters), idle=(*entry.idle, *more)))
        buffers = dict.fromkeys([*program.buffers, *(b for e in entries for b in e.idle)])
        return replace(program, entries=tuple(entries), buffers=tuple(self.in_order(buffers)))

    def tellers(self, sizes: Iterable[str]) -> list[Buffer]:
        """The first argument with an axis of each size, where there is one; an input rather than a parameter."""
        leaves = sorted(self.leaves, key=lambda x: x.role != "input")
        having = ([x for x in leaves if any(e is size_symbol(name) for e in x.shape)] for name in sizes)
        return list(dict.fromkeys(self.leaf_buffer(found[0], self.arrays) for found in having if found))

    def told(self, entry: Entry) -> Entry:
        """The entry with arguments that tell every size of the workspace, which has to be as large as they say."""
        touched = [*entry.parameters, *entry.idle, *(b.memory for call in entry.kernel_calls for b in call.buffers)]
        if not any(b.role in WORKSPACE for b in touched):
            return entry
        held = [e for b in self.buffers if b.role in WORKSPACE for e in b.shape]
        sizes = dict.fromkeys(name for e in held for name in size_names(e) if size_symbol(name) is not self.parts)
        more = self.tellers(name for name in sizes if not _tell(touched, name, False))
        parameters = self.in_order([*entry.parameters, *(b for b in more if b.role == "input")])
        return replace(entry, parameters=tuple(parameters), idle=(*entry.idle, *more))

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
            scalar_result = not node.shape and role == "output"
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
        """Another shape of a buffer is a view that the entry makes."""
        for node in order:
            if isinstance(node, Reshape) and node not in places and node.source in places:
                source = places[node.source].buffer
                if not source.shape and source.alias_of is None:  # one element, which may be a variable
                    places[node] = Storage(source, places[node.source].prefix, ())
                    continue
                base = source.alias_of or source
                name = names[node]
                if name in arrays.by_name:
                    name = free_name(f"{name}_view", {*arrays.taken, *arrays.by_name})
                arrays.taken.add(name)
                view = intern(Buffer, name, node.shape, node.dtype, base.role, base)
                places[node] = Storage(view, (), tuple(range(len(node.shape))))

    # ------------------------------------------------------------ pieces and kernels

    def piece(self, tree: Tree, lowering: Lowering, names: Mapping[Node, str], unnamed: Mapping[Node, Scalar]) -> Piece:
        items = list(dict.fromkeys(flatten([tree])))
        body = lowering.trees([tree])
        lowering.buffers.passing |= names_in(body)
        outer_products = isinstance(tree, Item) and tree.outer is not None
        last = names[items[-1].node] if items else "scan"
        if isinstance(tree, ScanLoop):
            last = names[next(_results(tree.scan, names))]
        steps = {loop.scan.depth: loop.letter for loop, _ in scan_loops([tree])}
        formulas = [self.note(item, names, unnamed, steps) for item in items]
        notes = (*self.carried([tree], names, lowering.places), *formulas)
        return Piece(last, notes, tuple(body), alone=outer_products, final=outer_products)

    def carried(
        self, trees: Sequence[Tree], names: Mapping[Node, str], places: Mapping[Node, Storage]
    ) -> Iterator[Note]:
        """What the carries of the scans in a piece are: the states that the step at hand begins with."""
        for tree in trees:
            if isinstance(tree, ScanLoop):
                at = f"{tree.letter} + 1" if tree.scan.reverse else tree.letter
                for number, carry in enumerate(tree.scan.carries):
                    states = places[project(tree.scan, "states", number)]
                    steps = ", ".join([*map(show_size, states.prefix), at])
                    text = f"{names.get(carry, 'carry')} = {states.buffer.name}[{steps}]"
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

    def cut(self, pieces: Sequence[Piece], returned: set[Buffer]) -> list[KernelCall]:
        groups = cut(pieces)
        needed = [set(returned)]  # behind each group, from the last one to the first
        for group in reversed(groups):
            body = [s for piece in group for s in piece.body]
            needed.append((needed[-1] | {b for s in body for b in reads(s)}) - defined_locals(body))
        calls: list[KernelCall] = []
        for group, later in zip(groups, reversed(needed[:-1]), strict=True):
            kernel, call = make_kernel(group, later, self.kernel_names | self.used)
            self.kernels.append(kernel)
            self.kernel_names |= {k.name for k in (kernel, kernel.part) if k is not None}
            calls.append(call)
        return calls

    def in_order(self, buffers: Iterable[Buffer]) -> list[Buffer]:
        """Arguments as they were declared, gradients as what they are taken by, and others after them as they come."""
        return sorted(buffers, key=lambda b: self.declared.get(b.name, inf))

    def program(self, drafts: Sequence[Draft], formulas: Sequence[str], parts: int | None, checked: Checked) -> Program:
        """Every entry cut into functions."""
        for draft in drafts:  # no function is called like a value of any entry
            self.used |= draft.arrays.taken | draft.arrays.passing
        for name, mine in groupby(drafts, key=lambda draft: draft.entry):
            self.entry(name, list(mine))
        entries = [self.told(entry) for entry in self.entries]
        self.buffers.update(dict.fromkeys(b for entry in entries for b in entry.idle))
        return Program(
            self.name,
            tuple(self.in_order(self.buffers)),
            tuple(self.kernels),
            tuple(entries),
            tuple(formulas),
            files=self.files.names,
            parts=parts,
            checked=checked,
        )


def whole(buffer: Buffer) -> Storage:
    return Storage(buffer, (), tuple(range(len(buffer.shape))))


def _results(scan: Scan, nodes: Iterable[Node]) -> Iterator[Node]:
    """The results of a scan among some nodes; one that nobody reads is not in a program."""
    return (n for n in nodes if isinstance(n, Project) and n.scan is scan)


def _tell(arrays: Iterable[Buffer], name: str, workspace: bool) -> bool:
    """Whether an array has an axis of a size, one of the `workspace` counting or not."""
    size = size_symbol(name)
    return any(e is size for b in arrays if workspace or b.role not in WORKSPACE for e in b.shape)


def _is_empty(b: Buffer) -> bool:
    return any(extent.constant == 0 for extent in b.shape)
