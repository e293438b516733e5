"""Products of matrices as statements: which matrices they mean, and what is added or computed again behind them.

In: an item with a contraction, where the loops around it are open. Out: `Dot` statements, and the repairs of masks.
"""

from collections.abc import Mapping

from gradgen.graph.names import free_letters, fresh_names
from gradgen.graph.nodes import product
from gradgen.graph.scalar import Load, Poly, Position, integer, load, position, require_poly
from gradgen.passes.lower.here import Here
from gradgen.passes.lower.repairs import Elements, added_elements, hides, repaired
from gradgen.passes.rewrite.contract import first_row
from gradgen.passes.schedule.trees import Item
from gradgen.program.loops import (
    Buffer,
    Dot,
    Matrix,
    Statement,
)

__all__ = ["dot", "repair"]


def dot(here: Here, item: Item) -> list[Statement]:
    found = item.contraction
    assert found is not None
    rows, columns, summed = (
        product([here.count(item, k) for k in g]) for g in (found.rows, found.columns, found.summed)
    )
    left = _matrix(here, item, found.left, rows, summed, found.left_transposed)
    right = _matrix(here, item, found.right, summed, columns, found.right_transposed)
    out = _matrix(here, item, load(item.node, [position(k) for k in range(item.rank)]), rows, columns, False)
    if not found.summed_loops and item.tile not in found.summed:
        return [Dot(left, right, out), *repair(here, item)]
    scratch = here.buffers.derive(f"{here.names[item.node]}_term", (rows, columns), item.node.dtype, "work")
    if hides(item):
        return [Dot(left, right, Matrix(scratch, (), rows, columns)), *repair(here, item, scratch)]
    adding = fresh_names({k: k for k in (f"{out.buffer.name}_matrix", "row", "column")}, {*here.taken})
    return [Dot(left, right, out, scratch, tuple(adding.values()))]


def repair(here: Here, item: Item, scratch: Buffer | None = None) -> list[Statement]:
    """What follows a product that leaves out conditions which hide nan, in place or by way of `scratch`."""
    if not hides(item):
        return []
    place, bound, found = here.places[item.node], here.letters(item), item.contraction
    free = [k for k in range(len(item.extents)) if k not in bound]
    names = dict(zip(free, free_letters(len(free), here.taken), strict=True))

    def flat(group: tuple[int, ...], letters: Mapping[int, Poly]) -> Poly:
        at = integer(0)
        for k in group:
            at = require_poly(at * here.count(item, k) + letters[k] - here.span(item, k)[0])
        return at

    def subscripts(letters: Mapping[int, Poly]) -> tuple[Poly, ...]:
        return place.subscripts(tuple(letters[k] for k in range(item.rank)))

    def in_scratch(letters: Mapping[int, Poly]) -> tuple[Poly, ...]:
        assert found is not None
        return flat(found.rows, letters), flat(found.columns, letters)

    into, where = (place.buffer, subscripts) if scratch is None else (scratch, in_scratch)
    elements = Elements(into, bound, names, lambda k: here.span(item, k), where)
    check, again = (here.variable(item, what, item.node.dtype) for what in ("check", "again"))
    body = here.read(item.body, elements.letters)
    added = [added_elements(item, elements, place.buffer, subscripts(elements.letters))] if scratch else []
    return [*repaired(item, elements, body, check, again), *added]


def _matrix(here: Here, item: Item, access: Load, rows: Poly, columns: Poly, transposed: bool) -> Matrix:
    """The matrix that an access means: leading subscripts fixed, the first axis behind them whole or a part.

    What is looped over around the product is fixed, also where one iteration needs no loop.
    """
    place = here.places[access.tensor]
    assert item.contraction is not None
    around_product = {*item.contraction.loops, *item.contraction.summed_loops}
    fixed = [*place.prefix]
    around = len(access.subscripts)
    for axis, s in enumerate(access.subscripts):
        atom = next((a for a in s.atoms if isinstance(a, Position)), None)
        if atom is not None and atom.position not in around_product:
            around = axis
            break
        if axis in place.axes:
            fixed.append(require_poly(here.value(item, s)))
    if around == len(access.subscripts):
        return Matrix(place.buffer, tuple(fixed), rows, columns, transposed)
    first = next(a.position for a in access.subscripts[around].atoms if isinstance(a, Position))
    window = None
    start = first_row(access, item.node, around) if access.tensor is not item.node else None
    if start is not None or first == item.tile or around in place.origin:
        begin = require_poly(here.span(item, first)[0] + (start if start is not None else 0))
        begin = require_poly(begin - place.origin.get(around, integer(0)))
        window = begin, here.count(item, first)
    return Matrix(place.buffer, tuple(fixed), rows, columns, transposed, window)
