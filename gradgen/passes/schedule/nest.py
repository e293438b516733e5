"""Which formulas share loops: a tree of loops over the nodes of one program, with a reason for every decision.

In: contracted nodes. Out: `Tree`s in order of execution, which `lower` turns into statements. The graph is only
annotated, never rewritten.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gradgen.graph.names import free_letter, index_letters
from gradgen.graph.nodes import (
    Compute,
    Leaf,
    Node,
    Project,
    Reshape,
    Scan,
    all_inputs,
    body_nodes,
    show_shape,
    show_size,
    toposort,
)
from gradgen.graph.scalar import Scalar, load, loads, position, require_poly
from gradgen.passes.rewrite.contract import classify
from gradgen.passes.rewrite.outer_products import affine_sum
from gradgen.passes.schedule.fission import part_off
from gradgen.passes.schedule.fusion import joining_axis, loop_order, mergeable
from gradgen.passes.schedule.inline import choose_inlined, expand
from gradgen.passes.schedule.repetition import Kinds, is_repeated, repeated
from gradgen.passes.schedule.tiling import rows_of_part, with_tiles
from gradgen.passes.schedule.too_large import outsized
from gradgen.passes.schedule.trees import (
    Item,
    Loop,
    ScanLoop,
    Schedule,
    Tile,
    Tree,
    memory,
    needed,
    produced,
    reads_memory_of,
)


def schedule(
    roots: Sequence[Node],
    given: set[Node],
    names: Mapping[Node, str],
    kept: set[Node],
    taken: Iterable[str] = (),
    overwrites: Mapping[Node, Leaf] | None = None,
) -> Schedule:
    """Order and group what the roots need; `given` tensors are in memory already, `kept` values must get there.

    No loop variable has one of the names in `taken`, or that of a node.
    Nodes in `overwrites` take over the memory of a leaf; they come last, behind everything that reads it.
    """
    decisions: list[str] = []
    late = overwrites or {}
    keep = set(roots) | kept

    def reads(node: Node) -> tuple[Node, ...]:
        return () if node in given else all_inputs(node)

    everything = toposort(roots, reads)
    for node in everything:
        if isinstance(node, Project):
            keep |= set(node.scan.nexts) | set(node.scan.outputs)
    inlined = choose_inlined([n for n in everything if n not in given], keep, decisions, names)
    used = frozenset({*names.values(), *taken})
    large = outsized(everything, [*given, *(n for r in roots for n in memory(r))])
    builder = _Builder(inlined, given, used, names, decisions, late, large)
    first = [r for r in roots if r not in late]
    first += [n for r in roots if r in late for n in builder.reads(r) if n not in late]
    outer = toposort([*first, *late], lambda n: () if n in given else builder.reads(n))
    trees = builder.trees([n for n in outer if n not in given])
    return Schedule(trees, builder.items, inlined, large, decisions, builder.letters)


@dataclass(slots=True)
class _Builder:
    inlined: Mapping[Node, Scalar]
    given: set[Node]
    taken: frozenset[str]  # names that no loop variable may have
    names: Mapping[Node, str]
    decisions: list[str]
    overwrites: Mapping[Node, Leaf]
    large: set[Node]
    items: dict[Node, Item] = field(default_factory=dict)
    letters: set[str] = field(default_factory=set)  # the loop variables so far

    def letter(self, wanted: str, path: Sequence[str]) -> str:
        """A loop variable inside the loops of a path."""
        found = free_letter(wanted, self.taken.union(path))
        self.letters.add(found)
        return found

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
                begun = [access.tensor for access in loads(*self.starts(node.scan))]
                return tuple(dict.fromkeys([*begun, *captured, *direct]))
        return ()

    def starts(self, scan: Scan) -> tuple[Scalar, ...]:
        """What the carries of a scan begin with, each an expression over the axes of its carry."""
        whole = (load(init, [position(k) for k in range(len(init.shape))]) for init in scan.inits)
        return tuple(expand(x, self.inlined) for x in whole)

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
        target = tuple(require_poly(expand(t, self.inlined)) for t in node.target)
        found, outer = classify(node), affine_sum(node)
        free = [*found.loops, *found.summed_loops] if found else [] if outer else loop_order(node, body)
        free = [k for k in free if not (node.gathers and k < len(node.shape) and node.extents[k].constant == 1)]
        late = self.overwrites.get(node)
        self.items[node] = Item(node, body, target, node.extents, free, found, outer, overwrites=late)
        return self.items[node]

    def scan_loop(self, scan: Scan, path: tuple[str, ...]) -> ScanLoop:
        letter = self.letter("t" if scan.depth == 0 else f"t{scan.depth}", path)
        inside = toposort(
            [*scan.nexts, *scan.outputs],
            lambda n: self.reads(n) if scan.depth in n.steps and n not in self.given else (),
        )
        body = [n for n in inside if scan.depth in n.steps]
        if scan.checkpointed:
            shapes = ", ".join(dict.fromkeys(f"{c.dtype} {show_shape(c.shape)}" for c in scan.carries))
            steps = show_size(scan.length)
            self.decisions.append(f"{letter}: of a scan with checkpoints, {steps} steps keep nothing but {shapes} each")
        return ScanLoop(scan, letter, self.starts(scan), self.trees(body, (*path, letter)))

    def nest(self, entries: Sequence[Item | ScanLoop], path: tuple[str, ...]) -> list[Tree]:
        """Greedy loop fusion: an item joins the last group it may and that it shares data with."""
        groups: list[Tree] = []
        kinds = repeated(entry for entry in entries if isinstance(entry, Item))
        for entry in with_tiles(entries, self.large, lambda item, axis: self.tile(item, axis, path)):
            if not isinstance(entry, Item) or not entry.free:
                groups.append(entry)
                continue
            joined = self.find_group(entry, groups, kinds)
            if joined is None:
                axis = entry.free[0]
                wish = entry.tile_letter if axis == entry.tile else index_letters(entry.node)[axis]
                groups.append(Loop(self.letter(wish, path), entry.extents[axis], {entry: axis}))
            else:
                joined[0].axis[entry] = joined[1]
                self.merge(groups, entry, *joined, kinds)
        groups = [part for group in groups for part in self.parted(group)]
        for group in groups:
            if isinstance(group, Loop):
                for item, axis in group.axis.items():
                    item.bound[axis] = group.letter
                    item.free.remove(axis)
                group.members = self.nest(list(group.axis), (*path, group.letter))
            elif isinstance(group, Tile):
                for item, axis in group.axis.items():
                    item.tile, item.tile_letter = axis, group.index
                group.members = self.nest(list(group.axis), (*path, group.letter, group.stop))
                kept = ", ".join(self.names.get(m.node, "value") for m in group.axis if m.node in self.large)
                self.decisions.append(f"{kept}: too large to be whole, {group.rows} rows at a time")
        return groups

    def parted(self, group: Tree) -> list[Tree]:
        """A loop without what vectorises in a loop of its own, and that loop."""
        late = part_off(group) if isinstance(group, Loop) else []
        if not late:
            return [group]
        assert isinstance(group, Loop)
        behind = Loop(group.letter, group.extent, {item: group.axis.pop(item) for item in late})
        names = ", ".join(self.names.get(item.node, "value") for item in late)
        self.decisions.append(f"{names}: behind the loop {group.letter}, to be computed several at a time")
        return [group, behind]

    def tile(self, item: Item, axis: int, path: tuple[str, ...]) -> Tile:
        index = self.letter(index_letters(item.node)[axis], path)
        start = self.letter(f"{index}0", path)
        stop = self.letter(f"{index}1", (*path, start))
        return Tile(index, start, stop, item.extents[axis], rows_of_part(item, axis))

    def merge(self, groups: list[Tree], item: Item, loop: Loop, axis: int, kinds: Kinds) -> None:
        """Earlier loops that run over the same axis of what an item reads become one with the loop that it joined."""
        end = groups.index(loop)
        for k in range(end - 1, -1, -1):
            early = groups[k]
            if not isinstance(early, Loop) or not needed(item) & produced(early):
                continue
            if any(is_repeated(member, loop, kinds) for member in early.axis):
                continue
            if joining_axis(item, early) == axis and mergeable(early, loop, groups[k + 1 : end]):
                loop.axis = {**early.axis, **loop.axis}
                loop.letter = early.letter
                del groups[k]
                end -= 1
                self.decisions.append(f"{self.names.get(item.node, 'value')}: joins two loops over {loop.letter}")

    def find_group(self, item: Item, groups: Sequence[Tree], kinds: Kinds) -> tuple[Loop, int] | None:
        """The last group that the item may join, and the axis that joins it.

        One before it is better in which the item runs through memory in steps of one.
        """
        found: list[tuple[Loop, int]] = []
        reads = needed(item)
        for group in reversed(groups):
            if isinstance(group, Loop):
                axis = None if is_repeated(item, group, kinds) else joining_axis(item, group)
                if axis is not None:
                    found.append((group, axis))
            if reads & produced(group) or reads_memory_of(group, item.overwrites):
                break
        if not found:
            return None
        loop, axis = next((x for x in found if len(item.free) == 1 or x[1] != item.free[-1]), found[0])
        names = ", ".join(self.names.get(m.node, "value") for m in loop.axis)
        self.decisions.append(f"{self.names.get(item.node, 'value')}: shares the loop {loop.letter} of {names}")
        return loop, axis
