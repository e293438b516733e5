"""Which formulas share loops: a tree of loops over the nodes of one program, with a reason for every decision.

In: contracted nodes. Out: `Tree`s in order of execution, which `lower` turns into statements. The graph is only
annotated, never rewritten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gradgen.graph.letters import index_letters
from gradgen.graph.nodes import Compute, Leaf, Node, Project, Reshape, Scan, body_nodes, project, toposort
from gradgen.graph.scalar import Call, Load, Poly, Position, Scalar, call, loads, position, rewrite, substitute, walk
from gradgen.passes.contract import Contraction, classify, volume

CHEAP = 4.0  # additions' worth of work that is repeated rather than stored
SELECTING = ("where", "and", "or", "ge", "eq")  # what may surround a value that is only moved
INNERMOST_VOTES = 2  # weight of the result's last axis when the innermost loop is chosen


@dataclass(eq=False, slots=True)
class Item:
    """A node to be computed: its body over what is really in memory, and its loops that are still to be placed."""

    node: Compute
    body: Scalar
    target: tuple[Poly, ...]
    extents: tuple[Poly, ...]
    free: list[int]
    contraction: Contraction | None = None
    bound: dict[int, str] = field(default_factory=dict)
    overwrites: Leaf | None = None  # the tensor whose memory the result takes over

    @property
    def rank(self) -> int:
        return len(self.node.shape)

    @property
    def gathers(self) -> bool:
        return self.node.gathers


@dataclass(eq=False, slots=True)
class Loop:
    """A loop shared by several items; `axis` names the position of each that it runs over."""

    letter: str
    extent: Poly
    axis: dict[Item, int]
    members: "list[Tree]" = field(default_factory=list)


@dataclass(eq=False, slots=True)
class ScanLoop:
    """The loop of a scan with the trees of its body; `results` are the wanted projections."""

    scan: Scan
    letter: str
    members: "list[Tree]"
    items: list[Item]


Tree = Loop | Item | ScanLoop


@dataclass(eq=False, slots=True)
class Schedule:
    """The trees of one program and what was decided on the way."""

    trees: list[Tree]
    items: dict[Node, Item]
    inlined: dict[Node, Scalar]
    decisions: list[str]


# ---------------------------------------------------------------- inlining


def choose_inlined(
    order: Sequence[Node], kept: set[Node], decisions: list[str], name: Mapping[Node, str]
) -> dict[Node, Scalar]:
    """The pointwise nodes that are written into their readers, with their bodies so expanded."""
    readers: dict[Node, list[Node]] = {}
    for node in order:
        for n in _direct_reads(node):
            readers.setdefault(n, []).append(node)
    inlined: dict[Node, Scalar] = {}
    for node in order:
        if not isinstance(node, Compute) or node.reducer != "none" or not node.gathers or node in kept:
            continue
        body = expand(node.body, inlined)
        reason = _reason_to_inline(node, body, readers.get(node, []))
        if reason is not None:
            inlined[node] = body
            decisions.append(f"{name.get(node, 'value')}: written into its readers, {reason}")
    return inlined


def _direct_reads(node: Node) -> tuple[Node, ...]:
    match node:
        case Compute():
            return tuple(dict.fromkeys(access.tensor for access in loads(node.body, *node.target)))
        case Reshape():
            return (node.source,)
        case Project():
            return (*node.scan.inits, *node.scan.nexts, *node.scan.outputs)
    return ()


def _reason_to_inline(node: Compute, body: Scalar, readers: Sequence[Node]) -> str | None:
    """Why a pointwise node costs less inside its readers, or None."""
    if not all(isinstance(reader, Compute) and classify(reader) is None for reader in readers):
        return None  # a matrix product, a reshape or a scan reads memory
    work = sum(x.function.cost for x in walk(body) if isinstance(x, Call))
    if not node.shape and work > 1:
        return None  # one evaluation, not one for every element of its readers
    if not loads(body):
        return "it reads nothing" if work <= CHEAP else None
    moved = sum(
        1 for x in walk(body) if isinstance(x, Call) and x.function.name not in ("where", "and", "or", "ge", "eq")
    )
    if moved == 0 and len(loads(body)) == 1:
        return "it only moves data"
    size = volume(node.shape)
    evaluations = sum(volume(r.extents) for r in readers if isinstance(r, Compute))
    if len(readers) == 1 and work <= CHEAP and evaluations <= size:
        return f"{work:g} additions cost less than a store and a load"
    return None


def expand(x: Scalar, inlined: Mapping[Node, Scalar]) -> Scalar:
    """The expression with every inlined tensor replaced by its body at the subscripts of the access."""

    def change(part: Scalar) -> Scalar | None:
        if isinstance(part, Load) and part.tensor in inlined:
            atoms = {position(k).atoms[0]: s for k, s in enumerate(part.subscripts)}
            body = substitute(inlined[part.tensor], atoms)
            return body if body.dtype == part.dtype else call(part.dtype, body)
        return None

    return rewrite(x, change, lambda atom: None)


# ---------------------------------------------------------------- the tree


def schedule(
    roots: Sequence[Node],
    given: set[Node],
    names: Mapping[Node, str],
    kept: set[Node],
    sizes: Iterable[str] = (),
    overwrites: Mapping[Node, Leaf] | None = None,
) -> Schedule:
    """Order and group what the roots need; `given` tensors are in memory already, `kept` values must get there.

    Nodes in `overwrites` take over the memory of a leaf; they come last, behind everything that reads it.
    """
    decisions: list[str] = []
    late = overwrites or {}
    keep = set(roots) | kept

    def reads(node: Node) -> tuple[Node, ...]:
        return () if node in given else _direct_reads(node)

    everything = toposort(roots, reads)
    for node in everything:
        if isinstance(node, Project):
            keep |= set(node.scan.inits) | set(node.scan.nexts) | set(node.scan.outputs)
    inlined = choose_inlined([n for n in everything if n not in given], keep, decisions, names)
    letters = _Letters({*names.values(), *sizes})
    builder = _Builder(inlined, given, letters, names, decisions, late)
    first = [r for r in roots if r not in late]
    first += [n for r in roots if r in late for n in builder.reads(r) if n not in late]
    outer = toposort([*first, *late], lambda n: () if n in given else builder.reads(n))
    trees = builder.trees([n for n in outer if n not in given])
    return Schedule(trees, builder.items, inlined, decisions)


class _Letters:
    """Loop variables: the usual letters, none of which is a tensor's name."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._pool = [c for c in "ijkmnpqrsuvwxyzabcdefgh" if c not in taken] + [f"i{k}" for k in range(100)]

    def pick(self, used: Sequence[str], wish: str) -> str:
        if wish not in used and wish not in self._taken:
            return wish
        return next(c for c in self._pool if c not in used)


@dataclass(slots=True)
class _Builder:
    inlined: Mapping[Node, Scalar]
    given: set[Node]
    letters: _Letters
    names: Mapping[Node, str]
    decisions: list[str]
    overwrites: Mapping[Node, Leaf]
    items: dict[Node, Item] = field(default_factory=dict)

    def reads(self, node: Node) -> tuple[Node, ...]:
        """What a node reads from memory: inlined producers are looked through."""
        match node:
            case Compute():
                expanded = [expand(x, self.inlined) for x in (node.body, *node.target)]
                return tuple(dict.fromkeys(access.tensor for access in loads(*expanded)))
            case Reshape():
                return (node.source,)
            case Project():
                inside = list(body_nodes(node.scan))
                captured = [x for n in inside for x in self.reads(n) if node.scan.depth not in x.steps]
                direct = [n for n in (*node.scan.nexts, *node.scan.outputs) if node.scan.depth not in n.steps]
                return tuple(dict.fromkeys([*node.scan.inits, *captured, *direct]))
        return ()

    def trees(self, order: Sequence[Node], path: tuple[str, ...] = ()) -> list[Tree]:
        entries: list[Item | ScanLoop] = []
        scans: set[Scan] = set()
        for node in order:
            if isinstance(node, Compute) and node not in self.inlined:
                entries.append(self.item(node))
            elif isinstance(node, Project) and node.scan not in scans:
                scans.add(node.scan)
                entries.append(self.scan_loop(node.scan, path))
        return self.nest(entries, path)

    def item(self, node: Compute) -> Item:
        body = expand(node.body, self.inlined)
        target = tuple(_poly(expand(t, self.inlined)) for t in node.target)
        found = classify(node)
        free = [*found.loops, *found.summed_loops] if found else loop_order(node, body)
        self.items[node] = Item(node, body, target, node.extents, free, found, overwrites=self.overwrites.get(node))
        return self.items[node]

    def scan_loop(self, scan: Scan, path: tuple[str, ...]) -> ScanLoop:
        letter = "t" if scan.depth == 0 else f"t{scan.depth}"
        inside = toposort(
            [*scan.nexts, *scan.outputs],
            lambda n: self.reads(n) if scan.depth in n.steps and n not in self.given else (),
        )
        body = [n for n in inside if scan.depth in n.steps]
        before = set(self.items)
        trees = self.trees(body, (*path, letter))
        new = [item for node, item in self.items.items() if node not in before]
        return ScanLoop(scan, letter, trees, new)

    def nest(self, entries: Sequence[Item | ScanLoop], path: tuple[str, ...]) -> list[Tree]:
        """Greedy loop fusion: an item joins the last group it may and that it shares data with."""
        groups: list[Loop | Item | ScanLoop] = []
        for entry in entries:
            if isinstance(entry, ScanLoop) or not entry.free:
                groups.append(entry)
                continue
            joined = self.find_group(entry, groups)
            if joined is None:
                axis = entry.free[0]
                groups.append(
                    Loop(self.letters.pick(path, index_letters(entry.node)[axis]), entry.extents[axis], {entry: axis})
                )
            else:
                joined[0].axis[entry] = joined[1]
        for group in groups:
            if isinstance(group, Loop):
                for item, axis in group.axis.items():
                    item.bound[axis] = group.letter
                    item.free.remove(axis)
                group.members = self.nest(list(group.axis), (*path, group.letter))
        return list(groups)

    def find_group(self, item: Item, groups: Sequence[Tree]) -> tuple[Loop, int] | None:
        """The last group that the item may join, and the axis that joins it."""
        needed = {access.tensor for access in loads(item.body, *item.target)}
        for group in reversed(groups):
            if isinstance(group, Loop):
                axis = joining_axis(item, group)
                if axis is not None:
                    names = ", ".join(self.names.get(m.node, "value") for m in group.axis)
                    self.decisions.append(
                        f"{self.names.get(item.node, 'value')}: shares the loop {group.letter} of {names}"
                    )
                    return group, axis
            if needed & _produced(group) or _reads_memory_of(group, item.overwrites):
                return None
        return None


def _reads_memory_of(tree: Tree, leaf: Leaf | None) -> bool:
    """Whether anything in the tree reads the leaf."""
    if leaf is None:
        return False
    if isinstance(tree, ScanLoop):
        return leaf in tree.scan.inits or any(_item_reads(item, leaf) for item in tree.items)
    return any(_item_reads(item, leaf) for item in (tree.axis if isinstance(tree, Loop) else [tree]))


def _item_reads(item: Item, leaf: Leaf) -> bool:
    return any(access.tensor is leaf for access in loads(item.body, *item.target))


def unsafe_overwrites(trees: Sequence[Tree]) -> set[Node]:
    """The nodes that may not take over a leaf's memory: they, or what runs after them, still read its old values."""
    order = list(flatten(trees))
    found: set[Node] = set()
    for k, item in enumerate(order):
        leaf = item.overwrites
        if leaf is None:
            continue
        own = [access for access in loads(item.body, *item.target) if access.tensor is leaf]
        aligned = all(all(_bare(s) == k for k, s in enumerate(access.subscripts)) for access in own)
        pointwise = item.gathers and len(item.extents) == item.rank
        if (own and not (aligned and pointwise)) or any(_item_reads(later, leaf) for later in order[k + 1 :]):
            found.add(item.node)
    return found


def flatten(trees: Sequence[Tree]) -> Iterator[Item]:
    """The items in the order of their execution."""
    for tree in trees:
        if isinstance(tree, Item):
            yield tree
        else:
            yield from flatten(tree.members)


def _produced(tree: Tree) -> set[Node]:
    match tree:
        case Loop():
            return {item.node for item in tree.axis}
        case ScanLoop():
            return set(_projections(tree))
    return {tree.node}


def _projections(tree: ScanLoop) -> set[Node]:
    states = {project(tree.scan, "states", k) for k in range(len(tree.scan.carries))}
    return states | {project(tree.scan, "stack", k) for k in range(len(tree.scan.outputs))}


def joining_axis(item: Item, group: Loop) -> int | None:
    """The axis of the item that runs with the group's loop: dependences at distance 0, or a common operand."""
    required: set[int | None] = set()
    suggested: list[int] = []
    for member, axis in group.axis.items() if item.overwrites is not None else ():
        for access in loads(member.body, *member.target):
            if access.tensor is item.overwrites:  # the old value must be read in the same iteration, before the new one
                axes = [k for k, s in enumerate(access.subscripts) if _bare(s) == axis]
                required.add(axes[0] if len(axes) == 1 and member.contraction is None else None)
    for access in loads(item.body, *item.target):
        for member, axis in group.axis.items():
            if member.node is access.tensor:
                finished = member.gathers and axis < member.rank
                required.add(_bare(access.subscripts[axis]) if finished else None)
            else:
                suggested += _common_axes(access, member, axis)
    candidates = list(required) if required else [k for k in suggested if k in item.free][:1]
    chosen = candidates[0] if len(candidates) == 1 else None
    if chosen is None or chosen not in item.free or item.extents[chosen] is not group.extent:
        return None
    if item.node.reducer in ("argmax", "argmin") and chosen >= item.rank and any(k < item.rank for k in item.free):
        return None  # the best candidate so far is a scalar
    if item.contraction is not None and chosen not in (*item.contraction.loops, *item.contraction.summed_loops):
        return None
    return chosen


def _common_axes(access: Load, member: Item, axis: int) -> list[int]:
    """Axes of the reader that run through a tensor as the member's loop does, possibly from another offset."""
    found = []
    for other in loads(member.body, *member.target):
        if other.tensor is access.tensor:
            for mine, theirs in zip(access.subscripts, other.subscripts, strict=True):
                stride = theirs.coefficient(position(axis).atoms[0])
                if stride is not None and stride.constant not in (0, None):
                    found += [k for k in _single(mine) if mine.coefficient(position(k).atoms[0]) is stride]
    return found


def _single(p: Poly) -> list[int]:
    """The one position that a subscript depends on."""
    positions = [a.position for a in p.atoms if isinstance(a, Position)]
    return positions if len(positions) == 1 else []


def _bare(p: Poly) -> int | None:
    atoms = p.atoms
    if len(atoms) == 1 and isinstance(atoms[0], Position) and p is position(atoms[0].position):
        return atoms[0].position
    return None


def loop_order(node: Compute, body: Scalar) -> list[int]:
    """The positions from the outermost loop to the innermost, the one that runs through memory last."""
    order = list(range(len(node.extents)))
    if not node.gathers or len(order) < 2 or node.reducer in ("argmax", "argmin"):
        return order
    votes = dict.fromkeys(order, 0)
    for access in loads(body):
        last = _bare(access.subscripts[-1]) if access.subscripts else None
        if last is not None:
            votes[last] += 1
    if node.shape:
        votes[len(node.shape) - 1] += INNERMOST_VOTES - 1
    innermost = max(order, key=lambda k: (votes[k], k))
    if innermost < len(node.shape) and len(node.shape) < len(order):
        outer = [k for k in order if k != innermost and k < len(node.shape)]
        return [*outer, *node.reduced, innermost]
    return order


def _poly(x: Scalar) -> Poly:
    assert isinstance(x, Poly)
    return x
