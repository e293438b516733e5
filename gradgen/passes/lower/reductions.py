"""How reductions begin and go on: the value before the first term, the variable they run in, the update of memory.

In: an item of a schedule. Out: values and statements, which `lower` puts around and into loops.
"""

from gradgen.graph.accesses import guarded
from gradgen.graph.neutral import neutral
from gradgen.graph.scalar import Poly, Scalar, conjuncts
from gradgen.passes.rebuild.conditions import conjunction
from gradgen.passes.schedule.trees import Item
from gradgen.program.loops import (
    Accumulate,
    Buffer,
    If,
    Operation,
    Statement,
)


def reduces(item: Item, axis: int) -> bool:
    return not item.gathers or axis >= item.rank


def runs_in_variable(item: Item) -> bool:
    """Whether a reduction has an element at hand from its first term to its last: no loop over elements is inside."""
    reduced = [reduces(item, axis) for axis in item.bound]
    return item.gathers and reduced == sorted(reduced)


def accumulated_dtype(item: Item) -> str:
    """That of the scalar variable of a reduction; a float32 sum over everything is added up in float64."""
    whole = item.rank == 0 and item.node.dtype == "float32" and len(item.extents) > 0
    return "float64" if whole and item.node.reducer == "sum" else item.node.dtype


def added(buffer: Buffer, subscripts: tuple[Poly, ...], value: Scalar, reducer: str) -> list[Statement]:
    """if c: buffer[subscripts] += x, for the value where(c, x, 0): where c fails the place may not be there."""
    conditions, x = guarded(value, reducer)
    update = Accumulate(buffer, subscripts, operation(reducer), x)
    return [If(conjunction([part for c in conditions for part in conjuncts(c)]), (update,))] if conditions else [update]


def operation(reducer: str) -> Operation:
    return "max" if reducer == "max" else "min" if reducer == "min" else "sum"


def initial_value(item: Item) -> Scalar:
    return neutral(item.node.reducer, item.body.dtype)
