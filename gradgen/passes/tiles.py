"""Values that outgrow memory are computed a few rows at a time: a loop over parts of an axis around all their readers.

In: the items of one level of loops, in order. Out: the same with a `Tile` in place of those that share large values;
unchanged where no axis serves all readers. `schedule` nests loops inside it as anywhere else.
"""

from collections.abc import Callable, Sequence

from gradgen.graph.nodes import Node
from gradgen.passes.contract import volume
from gradgen.passes.fusion import joining_axis, part_axes
from gradgen.passes.trees import Item, ScanLoop, Tile, needed, produced

ELEMENTS = 2**17  # of one value in one part: half of a cache of 1 MB
FEWEST, MOST = 16, 128  # rows of a part

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
    """How many elements of an axis make a part of about ELEMENTS: a power of two."""
    others = volume(item.node.shape[axis + 1 :])
    count = MOST
    while count > FEWEST and count * others > ELEMENTS:
        count //= 2
    return count


def _is_ready(item: Item) -> bool:
    """Whether it is a matrix product with all its loops around it, and in no tile yet."""
    return item.contraction is not None and not item.free and item.tile is None


def _gather_readers(
    tile: Tile, seed: Item, axis: int, entries: Sequence[Entry], large: set[Node]
) -> tuple[list[Entry], list[Entry]] | None:
    """Fill a tile; what goes before and behind it, or None if a large value would be read outside."""
    inside = tile.axis
    before: list[Entry] = []
    behind: list[Entry] = []
    outside: set[Node] = set()  # what is produced behind the tile
    for entry in entries:
        reads = needed(entry)
        concerned = reads & {item.node for item in inside} or (isinstance(entry, Item) and entry.node in large)
        if entry is seed:
            inside[seed] = axis
        elif not reads & outside and not concerned:
            before.append(entry)
        else:
            joined = _joining(entry, tile) if isinstance(entry, Item) and not reads & outside else None
            if isinstance(entry, Item) and joined is not None:
                inside[entry] = joined
            else:
                behind.append(entry)
                outside |= produced(entry)
    for item in _loose_ends(inside, large):
        del inside[item]
        behind.append(item)
    local = large & {item.node for item in inside}
    if any(needed(entry) & local for entry in behind):
        return None
    return before, [e for e in entries if e in behind]


def _joining(item: Item, tile: Tile) -> int | None:
    """The axis along which an item runs through the parts, or None."""
    if needed(item) & {member.node for member in tile.axis}:
        return joining_axis(item, tile)
    return next((k for k in part_axes(item) if k < item.rank and item.extents[k] is tile.extent), None)


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
