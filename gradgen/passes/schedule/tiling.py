"""Values that outgrow memory are computed a few rows at a time: a loop over parts of an axis around all their readers.

In: the items of one level of loops, in order. Out: the same with a `Tile` in place of those that share large values;
unchanged where no axis serves all readers. `schedule` nests loops inside it as anywhere else.
"""

from collections.abc import Callable, Mapping, Sequence

from gradgen.graph.canonical import bare_position
from gradgen.graph.nodes import Node
from gradgen.graph.scalar import Poly, loads
from gradgen.machine import machine
from gradgen.passes.schedule.fusion import joining_axis, part_axes
from gradgen.passes.schedule.trees import Item, ScanLoop, Tile, memory, needed, produced
from gradgen.program.cost import volume

Entry = Item | ScanLoop


def with_tiles(entries: Sequence[Entry], large: set[Node], make: Callable[[Item, int], Tile]) -> list[Entry | Tile]:
    """Every product whose result is too large goes into a tile with all that read it, where that can be done."""
    for seed in entries:
        if isinstance(seed, Item) and seed.node in large and _is_ready(seed):
            for axis in part_axes(seed):
                tile = make(seed, axis)
                around = _gather_readers(tile, seed, axis, entries, large) if axis < seed.rank else None
                if around is not None:
                    before, behind = around
                    return [*before, tile, *with_tiles(behind, large, make)]
    return list(entries)


def rows_of_part(item: Item, axis: int) -> int:
    """How many elements of an axis make a part of about as many as one may have: a power of two."""
    others = volume(item.node.shape[axis + 1 :])
    usual = machine()
    count = usual.most_rows
    while count > usual.fewest_rows and count * others > usual.part:
        count //= 2
    return count


def _is_ready(item: Item) -> bool:
    """Whether it is a matrix product with all its loops around it, and in no tile yet."""
    return item.contraction is not None and not item.free and item.tile is None


def _gather_readers(
    tile: Tile, seed: Item, axis: int, entries: Sequence[Entry], large: set[Node]
) -> tuple[list[Entry], list[Entry]] | None:
    """Fill a tile; what goes before and behind it, or None if a large value would be read outside."""
    inside = {seed: axis}
    sources = _sources(seed, entries)
    before: list[Entry] = []
    waiting: dict[Node, Item] = {}  # large values that may be wanted inside, and what is made of them alone
    outside: set[Node] = set()  # what is produced behind the tile
    for entry in entries:
        reads = needed(entry)
        concerned = bool(reads & {item.node for item in inside})
        if entry is seed:
            continue
        if entry in sources:
            before.append(entry)
            continue
        if isinstance(entry, Item) and concerned and not reads & outside:
            tile.axis = inside
            joined = joining_axis(entry, tile)
            wanted = None if joined is None else _with_sources(entry, joined, waiting, tile.extent)
            if wanted is not None:
                inside |= wanted
                continue
        waits = bool(reads & set(waiting)) or (isinstance(entry, Item) and entry.node in large)
        if reads & outside or concerned or (waits and isinstance(entry, ScanLoop)):
            outside |= produced(entry)
        elif waits and isinstance(entry, Item):
            waiting[entry.node] = entry
        else:
            before.append(entry)
    for item in _loose_ends({e: inside[e] for e in entries if isinstance(e, Item) and e in inside}, large):
        del inside[item]
    behind = [e for e in entries if not (isinstance(e, Item) and e in inside) and e not in before]
    local = large & {item.node for item in inside}
    if any(needed(entry) & local for entry in behind):
        return None
    tile.axis = {e: inside[e] for e in entries if isinstance(e, Item) and e in inside}
    return before, behind


def _sources(seed: Item, entries: Sequence[Entry]) -> set[Entry]:
    """What a product needs, all of it: a part of the result may read any part of an operand."""
    found: set[Entry] = set()
    wanted = needed(seed)
    for entry in reversed(entries):
        if not wanted.isdisjoint(produced(entry)):
            found.add(entry)
            wanted |= needed(entry)
    return found


def _with_sources(item: Item, axis: int, waiting: Mapping[Node, Item], extent: Poly) -> dict[Item, int] | None:
    """An item that runs through the parts along an axis, with the values that it reads of those that wait for that."""
    if axis not in part_axes(item) or item.extents[axis] is not extent:
        return None
    found: dict[Item, int] = {item: axis}
    for access in loads(item.body, *item.target):
        source = next((waiting[n] for n in memory(access.tensor) if n in waiting), None)
        if source is None:
            continue
        axes = [k for k, s in enumerate(access.subscripts) if bare_position(s) == axis]
        if source.node is not access.tensor or len(axes) != 1 or not source.gathers:
            return None  # rows of a scatter are complete behind the last part
        below = _with_sources(source, axes[0], waiting, extent)
        if below is None or any(found.get(x, k) != k for x, k in below.items()):
            return None
        found |= below
    return found


def _loose_ends(inside: dict[Item, int], large: set[Node]) -> list[Item]:
    """Items that neither make nor read a large value, nor lie on the way to one: they need not be in the tile."""
    kept = dict.fromkeys(inside)
    found: list[Item] = []
    for item in reversed(list(inside)):
        wanted = any(item.node in needed(other) for other in kept if other is not item)
        if item.node not in large and not needed(item) & large and not wanted:
            found.append(item)
            del kept[item]
    return found
