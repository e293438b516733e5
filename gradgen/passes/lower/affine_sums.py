"""Sums of products that are no products of matrices as one statement, over buffers and loop variables.

In: an item with an affine sum, where the loops around it are open. Out: a `Contract`, of which the target makes loops.
"""

from collections.abc import Sequence

from gradgen.graph.names import free_letter, index_letters
from gradgen.graph.scalar import Load, Poly, mentions, require_poly
from gradgen.passes.lower.here import Here
from gradgen.passes.schedule.trees import Item
from gradgen.program.loops import Buffer, Contract, Indexed, letter, letter_atom

__all__ = ["contract"]


def contract(here: Here, item: Item) -> Contract:
    """The sum that an item is."""
    found = item.outer
    assert found is not None
    used = here.taken
    names: list[str] = []
    for wanted in index_letters(item.node):
        names.append(free_letter(wanted, used))
        used.add(names[-1])
    letters = {k: letter(name) for k, name in enumerate(names)}

    def operand(access: Load) -> Indexed:
        element = here.read(access, letters)
        assert isinstance(element, Load)
        return _indexed(element.tensor, element.subscripts, names)

    place = here.places[item.node]
    target = place.subscripts(tuple(require_poly(here.read(s, letters)) for s in found.target))
    runs = tuple(zip(names, found.extents, strict=True))
    return Contract(runs, _indexed(place.buffer, target, names), operand(found.left), operand(found.right))


def _indexed(buffer: Buffer, subscripts: Sequence[Poly], names: Sequence[str]) -> Indexed:
    """An element: what only the loops around it move is fixed, whether it is a row of a stack or not."""
    own = [letter_atom(name) for name in names]
    fixed = 0
    while fixed < len(subscripts) and subscripts[fixed].constant is None:
        if any(mentions(subscripts[fixed], a) for a in own):
            break
        fixed += 1
    return Indexed(buffer, tuple(subscripts[:fixed]), tuple(subscripts[fixed:]))
