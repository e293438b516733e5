"""One numbering of the indices of a formula, so that formulas that differ in names or in `over=` are the same node.

In: extents, target and body over positions in any order. Out: the same with positions in canonical order; `nodes` makes
the record.
"""

from collections.abc import Sequence

from gradgen.graph.scalar import (
    Atom,
    Poly,
    Position,
    Scalar,
    contains,
    position,
    position_atom,
    require_poly,
    substitute,
    walk,
)

Extents = tuple[Poly, ...]


def canonical_order(
    shape: Extents, extents: Extents, target: tuple[Poly, ...], body: Scalar, as_given: bool = False
) -> tuple[Extents, tuple[Poly, ...], Scalar]:
    """Extents, target and body with the positions numbered as they are mentioned, those of the result first.

    With `as_given` the others keep their order.
    """
    wanted: list[int] = []
    bare = [bare_position(t) for t in target]
    owned = len(set(bare)) == len(bare) and None not in bare
    if owned and all(extents[k] is extent for k, extent in zip(bare, shape, strict=True) if k is not None):
        wanted = [k for k in bare if k is not None]
    if as_given:
        order = [*wanted, *(k for k in range(len(extents)) if k not in wanted)]
    else:
        order = _order_of_mention([p for p in walk(*target, body) if isinstance(p, Poly)], wanted, extents)
    if order == list(range(len(extents))):
        return extents, target, body
    moved = {position_atom(old): position(new) for new, old in enumerate(order)}
    return (
        tuple(require_poly(substitute(extents[k], moved)) for k in order),
        tuple(require_poly(substitute(t, moved)) for t in target),
        substitute(body, moved),
    )


def bare_position(p: Poly) -> int | None:
    """The position that a subscript is, and nothing else."""
    atoms = p.atoms
    if len(atoms) == 1 and isinstance(atoms[0], Position) and p is position(atoms[0].position):
        return atoms[0].position
    return None


def _order_of_mention(parts: Sequence[Poly], first: Sequence[int], extents: Extents) -> list[int]:
    """Positions in the order in which subscripts mention them, whatever numbers they have now.

    Positions that a subscript mentions first are told apart by their terms in it and by their extents, then by what the
    other subscripts say. Those that nothing tells apart are interchangeable.
    """
    order = list(first)
    pending = True
    while pending:
        ties: list[int] = []
        known = len(order)
        for part in parts:
            new = [a for a in part.atoms if isinstance(a, Position) and a.position not in order]
            groups: dict[str, list[int]] = {}
            for atom in new:
                place = _place_in(part, atom, order, extents) if len(new) > 1 else ""
                groups.setdefault(place, []).append(atom.position)
            for _, positions in sorted(groups.items()):
                if len(positions) == 1:
                    order += positions
                else:
                    ties += positions
        pending = bool(ties)
        if pending and len(order) == known:
            order.append(ties[0])
    return list(dict.fromkeys([*order, *range(len(extents))]))


def _place_in(part: Poly, atom: Position, order: Sequence[int], extents: Extents) -> str:
    """What a subscript says of a position that has no number yet: its terms, and its extent."""
    terms = []
    for monomial, factor in part.terms:
        if contains(monomial, atom):
            others = [a for a in monomial if a is not atom]
            terms.append(f"{factor} {' '.join(sorted(_name(a, order) for a in others))}")
    return f"{sorted(terms)} {extents[atom.position].digest}"


def _name(atom: Atom, order: Sequence[int]) -> str:
    if isinstance(atom, Position):
        return f"{order.index(atom.position):04d}" if atom.position in order else "?"
    return atom.digest
