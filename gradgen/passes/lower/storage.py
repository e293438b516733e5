"""Where every value of a program lives: a whole buffer, a part that one iteration owns, or a scalar variable.

In: the trees of `schedule`. Out: a `Storage` for each node, read by `lower`. A value that is produced and consumed
inside the same loops keeps only the axes that run inside them.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen.graph.intern import intern
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Node, Project, identity, project, same_shape
from gradgen.graph.scalar import Poly, integer, loads, require_poly
from gradgen.machine import machine
from gradgen.passes.lower.naming import described
from gradgen.passes.lower.reductions import accumulated_dtype, reduces, runs_in_variable
from gradgen.passes.schedule.too_large import is_large
from gradgen.passes.schedule.trees import Item, Loop, ScanLoop, Schedule, Tile, Tree, memory
from gradgen.program.loops import Buffer, Role, letter

Path = tuple[Loop | Tile | ScanLoop, ...]
Readers = Mapping[Node, Sequence[tuple["Item | None", Path]]]  # who reads a node, inside which loops


@dataclass(frozen=True, slots=True)
class Storage:
    """buffer[prefix + subscripts of the kept axes]; `register` holds the value inside the innermost loop.

    Of the axes in `origin` only a part is held, from there on.
    """

    buffer: Buffer
    prefix: tuple[Poly, ...]
    axes: tuple[int, ...]
    register: Buffer | None = None
    origin: Mapping[int, Poly] = field(default_factory=dict)

    def subscripts(self, of_all_axes: tuple[Poly, ...]) -> tuple[Poly, ...]:
        kept = [
            require_poly(of_all_axes[k] - self.origin[k]) if k in self.origin else of_all_axes[k] for k in self.axes
        ]
        return (*self.prefix, *kept)

    def row(self, at: Poly) -> "Storage":
        """Where a row of the tensor is; where all rows are in one place, it is there."""
        prefix = (*self.prefix, at) if 0 in self.axes else self.prefix
        return Storage(self.buffer, prefix, tuple(k - 1 for k in self.axes if k))


@dataclass(slots=True)
class Buffers:
    """The arrays of a module, one for each name; entries that need the same array share it.

    And the variables of the entry at hand. Nothing that is made here gets a name that means something else there.
    """

    by_name: dict[str, Buffer] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)  # the names of the entry: of tensors, sizes, and what is made for it
    passing: set[str] = field(default_factory=set)  # those that statements written so far use besides
    variables: dict[Hashable, Buffer] = field(default_factory=dict)
    arrays: dict[Hashable, Buffer] = field(default_factory=dict)

    def begin(self, taken: Iterable[str]) -> "Buffers":
        """The same arrays for another request, with names of its own."""
        return Buffers(self.by_name, set(taken))

    def make(self, name: str, shape: tuple[Poly, ...], dtype: str, role: Role) -> Buffer:
        """The array of a tensor, by its name, or with a number behind it where that means another array."""
        if not shape and role == "local":
            return intern(Buffer, name, shape, dtype, role, None)
        if not _Others(self, shape, dtype, role).may_share(name):
            return self._remembered(("tensor", name), name, shape, dtype, role)
        return self._array(name, shape, dtype, role)

    def derive(self, name: str, shape: tuple[Poly, ...], dtype: str, role: Role) -> Buffer:
        """An array that is no tensor of the entry."""
        if not shape and role == "local":
            return self.variable(object(), name, dtype)
        free = free_name(name, _Others(self, shape, dtype, role))
        self.taken.add(free)
        return self._array(free, shape, dtype, role)

    def lend(self, name: str, shape: tuple[Poly, ...], dtype: str, role: Role) -> Buffer:
        """An array for what is needed inside one function only: one for all that ask for this name."""
        return self._remembered(("room", name), name, shape, dtype, role)

    def variable(self, key: Hashable, name: str, dtype: str) -> Buffer:
        """A scalar variable, the same one for the same key."""
        if key not in self.variables:
            free = free_name(name, self.taken | self.passing)
            self.taken.add(free)
            self.variables[key] = intern(Buffer, free, (), dtype, "local", None)
        return self.variables[key]

    def _remembered(self, key: Hashable, name: str, shape: tuple[Poly, ...], dtype: str, role: Role) -> Buffer:
        if key not in self.arrays or not _Others(self, shape, dtype, role).may_share(self.arrays[key].name):
            self.arrays[key] = self.derive(name, shape, dtype, role)
        return self.arrays[key]

    def _array(self, name: str, shape: tuple[Poly, ...], dtype: str, role: Role) -> Buffer:
        return self.by_name.setdefault(name, intern(Buffer, name, shape, dtype, role, None))


@dataclass(frozen=True, slots=True)
class _Others:
    """The names that a new array cannot have."""

    buffers: Buffers
    shape: tuple[Poly, ...]
    dtype: str
    role: Role

    def __contains__(self, name: object) -> bool:
        return name in self.buffers.taken or name in self.buffers.passing or not self.may_share(name)

    def may_share(self, name: object) -> bool:
        """Whether the array of a name, if there is one, can be used for a new one."""
        found = self.buffers.by_name.get(str(name))
        return found is None or _is_alike(found, self.shape, self.dtype, self.role)


def _is_alike(found: Buffer, shape: tuple[Poly, ...], dtype: str, role: Role) -> bool:
    workspace = ("saved", "work")
    same_kind = found.role == role or (found.role in workspace and role in workspace)
    return same_kind and same_shape(found.shape, shape) and found.dtype == dtype


def paths(trees: Iterable[Tree], path: Path = ()) -> Iterator[tuple[Item, Path]]:
    """Every item with the loops around it, outermost first."""
    for tree in trees:
        if isinstance(tree, Item):
            yield tree, path
        else:
            yield from paths(tree.members, (*path, tree))


def scan_loops(trees: Iterable[Tree], path: Path = ()) -> Iterator[tuple[ScanLoop, Path]]:
    for tree in trees:
        if isinstance(tree, ScanLoop):
            yield tree, path
        if not isinstance(tree, Item):
            yield from scan_loops(tree.members, (*path, tree))


def assign_storage(
    plan: Schedule,
    given: Mapping[Node, Buffer],
    roots: Mapping[Node, Buffer],
    names: Mapping[Node, str],
    buffers: Buffers,
    copied: Iterable[Node] = (),
) -> dict[Node, Storage]:
    """A place for every node that the trees compute; `given` and `roots` have theirs.

    What is copied when everything is done must be whole until then.
    """
    places = {node: Storage(buffer, (), tuple(range(len(node.shape)))) for node, buffer in given.items()}
    where = dict(paths(plan.trees))
    loops = dict(scan_loops(plan.trees))
    readers = _readers(where, loops)
    kept = {*places, *roots, *copied}
    for loop in loops:
        for k, node in enumerate(loop.scan.nexts):
            states = project(loop.scan, "states", k)
            if loop.scan.checkpointed and states not in kept and _only_adds_up(loop, k, readers):
                buffer = buffers.make(names[node], node.shape, node.dtype, "work")
                places[states] = Storage(buffer, (), tuple(range(1, len(states.shape))))
    _assign_scans(loops, places, roots, names, buffers)
    for node in copied:
        for source in memory(node):
            readers.setdefault(source, []).append((None, ()))
    for item, path in where.items():
        node = item.node
        if node in places:
            found = places[node]
        elif node in roots:
            found = Storage(roots[node], (), tuple(range(item.rank)))
        else:
            local_axes, parts = _axes_kept(item, path, readers.get(node, []))
            shape = tuple(integer(parts[k].rows) if k in parts else node.shape[k] for k in local_axes)
            role: Role = "work" if shape or _outlives_a_function(path, readers.get(node, [])) else "local"
            less = "_row" if len(shape) == 1 else "_slice"
            suffix = "_part" if parts and shape else less if shape and len(shape) < item.rank else ""
            make = buffers.derive if suffix else buffers.make
            buffer = make(f"{names[node]}{suffix}", shape, node.dtype, role)
            found = Storage(buffer, (), local_axes, origin={k: letter(tile.letter) for k, tile in parts.items()})
        if not found.buffer.by_value:  # a variable needs none beside it
            found = replace(found, register=_register(item, path, readers.get(node, []), names, buffers))
        places[node] = found
    return places


def _outlives_a_function(path: Path, readers: Iterable[tuple[Item | None, Path]]) -> bool:
    """Whether a number may be needed in another function than the one that computes it, which cannot hand it back."""
    return not machine().by_value and any(not other or not path or path[0] is not other[0] for _, other in readers)


def whole_values(plan: Schedule) -> list[Node]:
    """The large values that the trees keep whole although they should not."""
    where = dict(paths(plan.trees))
    readers = _readers(where, dict(scan_loops(plan.trees))) if plan.large else {}
    found: list[Node] = []
    for item, path in where.items() if plan.large else ():
        if item.node in plan.large:
            kept, parts = _axes_kept(item, path, readers.get(item.node, []))
            if not parts and is_large(tuple(item.node.shape[k] for k in kept)):
                found.append(item.node)
    return found


def _assign_scans(
    loops: Mapping[ScanLoop, Path],
    places: dict[Node, Storage],
    roots: Mapping[Node, Buffer],
    names: Mapping[Node, str],
    buffers: Buffers,
) -> None:
    """States and stacks are whole buffers; carries and what follows them are rows of these.

    One that nobody reads as a whole has no name yet: what makes its rows may make those of others, too.
    """
    for loop in loops:
        scan, t = loop.scan, letter(loop.letter)
        before, after = (t + 1, t) if scan.reverse else (t, t + 1)
        for kind, sources, at in (("states", scan.nexts, after), ("stack", scan.outputs, t)):
            for k, node in enumerate(sources):
                whole = project(scan, "states" if kind == "states" else "stack", k)
                if not isinstance(whole, Project):
                    continue  # a stack of states is read from the states
                if whole not in places:
                    name, make = names.get(whole), buffers.make
                    if name is None:
                        name, make = described(whole, names), buffers.derive
                    buffer = roots.get(whole) or make(name, whole.shape, whole.dtype, "work")
                    places[whole] = Storage(buffer, (), tuple(range(len(whole.shape))))
                if kind == "states":
                    places[scan.carries[k]] = places[whole].row(require_poly(before))
                if node not in places and scan.depth in node.steps:
                    places[node] = places[whole].row(require_poly(at))


def _only_adds_up(loop: ScanLoop, number: int, readers: Readers) -> bool:
    """Whether a step needs of a carry nothing but the element that it writes anew, and nobody an earlier state."""
    scan = loop.scan
    own, following = scan.carries[number], scan.nexts[number]
    last = integer(0) if scan.reverse else scan.length
    states = project(scan, "states", number)
    return (
        following not in scan.nexts[number + 1 :] + scan.nexts[:number] + scan.outputs
        and all(
            reader is not None and reader.node is following and reader.gathers and reader.node.reducer == "none"
            and all(same_shape(x.subscripts, identity(own).subscripts) for x in loads(reader.body) if x.tensor is own)
            for reader, _ in readers.get(own, [])
        )
        and all(
            reader is not None and all(x.subscripts[0] is last for x in loads(reader.body) if x.tensor is states)
            for reader, _ in readers.get(states, [])
        )
    )  # fmt: skip


def _readers(where: Mapping[Item, Path], loops: Mapping[ScanLoop, Path]) -> dict[Node, list[tuple[Item | None, Path]]]:
    """Who reads each node, and inside which loops; reads of a whole (by a reshape or a scan) have no item."""
    found: dict[Node, list[tuple[Item | None, Path]]] = {}
    for item, path in where.items():
        for access in loads(item.body, *item.target):
            found.setdefault(access.tensor, []).append((item, path))
            for source in memory(access.tensor):
                if source is not access.tensor:
                    found.setdefault(source, []).append((None, ()))
    for loop, path in loops.items():
        inside = [(node, (*path, loop)) for node in (*loop.scan.nexts, *loop.scan.outputs)]
        begun = [(access.tensor, path) for access in loads(*loop.starts)]
        for node, at in [*begun, *inside]:
            for source in memory(node):
                found.setdefault(source, []).append((None, at))
    return found


def _axes_kept(
    item: Item, path: Path, readers: Iterable[tuple[Item | None, Path]]
) -> tuple[tuple[int, ...], dict[int, Tile]]:
    """The axes of the result that do not run over loops shared with every reader, and those held in parts only."""
    shared = len(path)
    for _, other in readers:
        common = 0
        while common < min(len(path), len(other)) and path[common] is other[common]:
            common += 1
        shared = min(shared, common)
    dropped = {k for k, extent in enumerate(item.node.shape) if extent.constant == 1}
    parts: dict[int, Tile] = {}
    for loop in path[:shared]:
        if item.gathers and isinstance(loop, Loop) and item in loop.axis:
            dropped.add(loop.axis[item])
        elif item.gathers and isinstance(loop, Tile) and item in loop.axis:
            parts[loop.axis[item]] = loop
    kept = tuple(k for k in range(item.rank) if k not in dropped)
    return kept, {k: tile for k, tile in parts.items() if k in kept}


def _register(
    item: Item,
    path: Path,
    readers: Sequence[tuple[Item | None, Path]],
    names: Mapping[Node, str],
    buffers: Buffers,
) -> Buffer | None:
    """A scalar variable for a stored value that is read again where the loops over its own axes stand."""
    if not runs_in_variable(item) or item.contraction is not None or item.outer is not None:
        return None
    own = tuple(loop for loop in path if isinstance(loop, ScanLoop) or not reduces(item, loop.axis.get(item, 0)))
    if not any(reader is not None and other[: len(own)] == own for reader, other in readers):
        return None
    if not own and _outlives_a_function(path, readers):
        return None
    what = "here" if len(own) == len(path) else "acc"
    if what == "acc" and (not own or accumulated_dtype(item) != item.node.dtype):
        return None  # a whole sum ends behind all loops
    return buffers.variable((item.node, what), f"{names[item.node]}_{what}", item.node.dtype)
