"""Costly scalar functions leave a loop that holds other loops, so that they vectorise.

In: the loops of `schedule`. Out: what runs in a loop of its own behind one of them. An innermost loop is computed many
elements at a time, any other one by one; a `tanh` after a short sum costs more than the sum.
"""

from gradgen.graph.scalar import Call, scalar_cost, walk
from gradgen.machine import machine
from gradgen.passes.schedule.trees import Item, Loop, needed, reads_memory_of
from gradgen.program.cost import estimate, volume


def part_off(loop: Loop) -> list[Item]:
    """The members with costly functions, and what follows from them, if they can run behind the loop and it pays.

    `u[i] = sum_j X[i, j] * a[j]` and `h[i] = tanh(u[i])`, sharing a loop over i, get a loop each where j is short.
    """
    movable = [item for item in loop.axis if _is_innermost(item)]
    if len(movable) == len(loop.axis) or estimate(loop.extent) < machine().lanes:
        return []
    movable = _undisturbed(loop, movable)
    late: list[Item] = []
    for item in movable:
        if _is_costly(item) or any(before.node in needed(item) for before in late):
            late.append(item)
    left = sum(_work(item, axis) for item, axis in loop.axis.items() if item not in late)
    return late if sum(scalar_cost(item.body) for item in late) * machine().together >= left else []


def _is_innermost(item: Item) -> bool:
    return len(item.free) == 1 and item.contraction is None and item.outer is None and item.overwrites is None


def _undisturbed(loop: Loop, movable: list[Item]) -> list[Item]:
    """Those that nothing else in the loop reads, and whose operands nothing else in the loop overwrites."""
    while True:
        others = [item for item in loop.axis if item not in movable]
        read = {node for item in others for node in needed(item)}
        kept = [m for m in movable if m.node not in read and not any(reads_memory_of(m, x.overwrites) for x in others)]
        if len(kept) == len(movable):
            return kept
        movable = kept


def _is_costly(item: Item) -> bool:
    return any(isinstance(x, Call) and x.function.cost >= machine().function for x in walk(item.body))


def _work(item: Item, axis: int) -> float:
    """Of one turn of the loop, in additions."""
    inside = [item.extents[k] for k in item.free if k != axis]
    return volume(inside) * (1.0 + scalar_cost(item.body))
