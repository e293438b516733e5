"""Whether a formula may run inside a loop that others run in, and along which of its axes; the order of its loops.

In: items and loops of `schedule`. Out: an axis, or None.
"""

from collections.abc import Sequence

from gradgen.graph.canonical import bare_position
from gradgen.graph.nodes import Compute
from gradgen.graph.scalar import Load, Poly, Position, Scalar, loads, position_atom
from gradgen.passes.schedule.trees import (
    Item,
    Loop,
    Tile,
    Tree,
    flatten,
    memory,
    needed,
    produced,
    reads_memory_of,
    reshaped,
)

INNERMOST_VOTES = 2  # weight of the result's last axis when the innermost loop is chosen


def joining_axis(item: Item, group: Loop | Tile) -> int | None:
    """The axis of the item that runs with the group's loop: dependences at distance 0, or a common operand."""
    if item.overwrites is not None and not item.gathers and reads_memory_of(group, item.overwrites):
        return None  # what it starts from is written in front of the loop
    required: set[int | None] = set()
    suggested: list[int] = []
    for member, axis in group.axis.items() if item.overwrites is not None else ():
        for access in loads(member.body, *member.target):
            if access.tensor is item.overwrites:  # the old value must be read in the same iteration, before the new one
                axes = [k for k, s in enumerate(access.subscripts) if bare_position(s) == axis]
                required.add(axes[0] if len(axes) == 1 and member.contraction is None else None)
            elif any(node is item.overwrites for node in memory(access.tensor)):
                required.add(None)
    for access in loads(item.body, *item.target):
        for member, axis in group.axis.items():
            if member.node is access.tensor:
                finished = member.gathers and axis < member.rank
                required.add(bare_position(access.subscripts[axis]) if finished else None)
            else:
                suggested += _common_axes(access, member, axis)
    if any(member.node in reshaped(item) for member in group.axis):
        return None  # another shape of it is read, which is whole only behind the loop
    candidates = list(required) if required else [k for k in suggested if k in item.free][:1]
    chosen = candidates[0] if len(candidates) == 1 else None
    if chosen is None or item.extents[chosen] is not group.extent:
        return None
    if item.node.reducer in ("argmax", "argmin") and chosen >= item.rank and [chosen] != list(item.free[:1]):
        return None  # the best candidate so far is a scalar, and of equal ones the first wins
    if isinstance(group, Tile):
        return chosen if chosen in part_axes(item) else None
    if chosen not in item.free or any((chosen == item.tile) is not (axis == m.tile) for m, axis in group.axis.items()):
        return None
    if item.contraction is not None and chosen not in (*item.contraction.loops, *item.contraction.summed_loops):
        return None
    return None if _sums_along_memory(item, chosen) else chosen


def _sums_along_memory(item: Item, axis: int) -> bool:
    """Whether every element is one sum over a row of memory; out of that loop it would take all elements at once."""
    reduced = [k for k in (*item.bound, *item.free) if k >= item.rank]
    return item.contraction is None and reduced == [axis] and len(item.free) > 1 and axis == item.free[-1]


def mergeable(early: Loop, late: Loop, between: Sequence[Tree]) -> bool:
    """Whether the members of an earlier loop may run in a later one, ahead of its members."""
    made = produced(early)
    for tree in between:
        if needed(tree) & made or _overwrites_memory_of(tree, early):
            return False
    if early.extent is not late.extent or _overwrites_memory_of(late, early):
        return False
    tiled = {axis == item.tile for loop in (early, late) for item, axis in loop.axis.items()}
    return len(tiled) == 1 and all(
        joining_axis(item, early) == axis for item, axis in late.axis.items() if needed(item) & made
    )


def _overwrites_memory_of(tree: Tree, read: Loop) -> bool:
    items = tree.axis if isinstance(tree, (Loop, Tile)) else flatten([tree])  # loops have no members yet
    return any(reads_memory_of(read, item.overwrites) for item in items if item.overwrites is not None)


def part_axes(item: Item) -> list[int]:
    """The positions of which an item can do a part; a matrix product needs the part in one piece of memory."""
    c = item.contraction
    if c is None:
        return list(item.free)
    if item.free:
        return []  # its loops go around it first
    rows = [] if c.left_transposed else [c.rows[0]]
    return rows if not c.left_transposed or c.right_transposed else [c.summed[0]]


def _common_axes(access: Load, member: Item, axis: int) -> list[int]:
    """Axes of the reader that run through a tensor as the member's loop does, possibly from another offset."""
    found = []
    for other in loads(member.body, *member.target):
        if other.tensor is access.tensor:
            for mine, theirs in zip(access.subscripts, other.subscripts, strict=True):
                stride = theirs.coefficient(position_atom(axis))
                if stride is not None and stride.constant not in (0, None):
                    found += [k for k in _single(mine) if mine.coefficient(position_atom(k)) is stride]
    return found


def _single(p: Poly) -> list[int]:
    """The one position that a subscript depends on."""
    positions = [a.position for a in p.atoms if isinstance(a, Position)]
    return positions if len(positions) == 1 else []


def loop_order(node: Compute, body: Scalar) -> list[int]:
    """The positions from the outermost loop to the innermost, the one that runs through memory last."""
    order = list(range(len(node.extents)))
    if not node.gathers or len(order) < 2 or node.reducer in ("argmax", "argmin"):
        return order
    votes = dict.fromkeys(order, 0)
    found = loads(body)
    within = {x for access in found for x in loads(*access.subscripts)}  # a place to read at, read once for a whole row
    for access in found:
        if access in within:
            continue
        last = bare_position(access.subscripts[-1]) if access.subscripts else None
        if last is not None:
            votes[last] += 1
    if node.shape:
        votes[len(node.shape) - 1] += INNERMOST_VOTES - 1
    innermost = max(order, key=lambda k: (votes[k], k))
    if innermost < len(node.shape) and len(node.shape) < len(order):
        outer = [k for k in order if k != innermost and k < len(node.shape)]
        return [*outer, *node.reduced, innermost]
    return order
