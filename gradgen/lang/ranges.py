"""The ranges of a formula's indices, and the proof that every access stays inside its tensor.

In: a formula with letters. Out: an extent for every letter; `compute` then makes nodes. Data-dependent subscripts are
left to the checks of the call.
"""

from collections.abc import Sequence

from gradgen.errors import GraphError, ShapeError
from gradgen.graph.accesses import Access, accesses, is_inside, written
from gradgen.graph.enumeration import strays
from gradgen.graph.nodes import Shape, show_size
from gradgen.graph.place import here
from gradgen.graph.scalar import (
    Atom,
    Letter,
    Poly,
    Reduce,
    Scalar,
    atom_poly,
    contains,
    floor_div,
    mentions,
    require_poly,
    walk,
)
from gradgen.graph.sizes import bounds, index_atoms, nonnegative, reads_data, smallest

Ranges = dict[Atom, Poly]


def infer_ranges(
    letters: Sequence[Letter],
    expression: Scalar,
    target: Sequence[Poly] = (),
    shape: Shape = (),
    reducer: str = "sum",
) -> Ranges:
    """The extent of every index of a formula: given, or by its bare accesses, or the largest that stays inside.

    Raises:
        ShapeError: accesses that disagree, or one that leaves its tensor.
        GraphError: an index whose range nothing gives.
    """
    found = accesses(letters, expression, *target)
    found += written(expression, target, shape, reducer)
    wanted = list(letters) + [x for part in walk(expression) if isinstance(part, Reduce) for x in part.letters]
    ranges: Ranges = {letter: letter.size for letter in wanted if letter.size is not None}
    missing = [letter for letter in wanted if letter not in ranges]
    for letter in missing:
        if (extent := _bare(letter, [a for a in found if letter not in a.soft])) is not None:
            ranges[letter] = extent
    while missing := [letter for letter in missing if letter not in ranges]:
        if not _resolve_one(missing, found, ranges):
            raise GraphError(
                f'{here()}index {missing[0].name} has no range: give it one with gg.index("{missing[0].name}", size).'
            )
    for access in found:
        _check(access, ranges)
    return ranges


# ---------------------------------------------------------------- inference


def _bare(letter: Letter, candidates: Sequence[Access]) -> Poly | None:
    """The size that the accesses at the index alone agree on."""
    mine = atom_poly(letter)
    first: Access | None = None
    for access in candidates:
        if access.subscript is not mine:
            continue
        if first is not None and first.size is not access.size:
            raise ShapeError(
                f"{here()}index {letter.name} runs over {first.what} and {access.what}. "
                "Make the sizes equal, or use two indices."
            )
        first = first or access
    return None if first is None else first.size


def _resolve_one(missing: Sequence[Letter], found: Sequence[Access], ranges: Ranges) -> bool:
    """Give one more index its range: the largest that keeps its affine accesses inside."""
    for letter in missing:
        affine = [
            a for a in found if letter not in a.soft and mentions(a.subscript, letter) and not reads_data(a.subscript)
        ]
        if affine and all(contains((*ranges, letter), atom) for a in affine for atom in index_atoms(a.subscript)):
            limits = [limit for a in affine if (limit := _largest(letter, a, ranges)) is not None]
            extent = smallest(limits, ranges)
            if extent is None and limits:
                raise GraphError(
                    f"{here()}index {letter.name} has several limits, and none is known to be the smallest: "
                    f"{', '.join(dict.fromkeys(show_size(x) for x in limits))}. "
                    f'Give its range with gg.index("{letter.name}", size).'
                )
            if extent is not None:
                if extent.constant is not None and extent.constant < 0:
                    _check_fits(letter, affine, ranges)
                ranges[letter] = extent
                return True
    for letter in missing:  # nothing else gives a range: what padded and where read of it bare
        extent = _bare(letter, found)
        if extent is not None:
            ranges[letter] = extent
            return True
    return False


def _largest(letter: Letter, access: Access, ranges: Ranges) -> Poly | None:
    """The largest extent of an index that keeps c * index + rest inside the axis."""
    factor = access.subscript.coefficient(letter)
    if factor is None or index_atoms(factor):
        return None
    ends = bounds(require_poly(access.subscript - factor * atom_poly(letter)), ranges)
    if ends is None:
        return None
    if nonnegative(require_poly(factor - 1)):
        return require_poly(floor_div(require_poly(access.size - 1 - ends[1]), factor) + 1)
    if nonnegative(require_poly(-factor - 1)):
        return require_poly(floor_div(ends[0], require_poly(-factor)) + 1)
    return None


def _check_fits(letter: Letter, affine: Sequence[Access], ranges: Ranges) -> None:
    for access in affine:
        limit = _largest(letter, access, ranges)
        if limit is not None and limit.constant is not None and limit.constant < 0:
            raise ShapeError(
                f"{here()}index {letter.name} has no range that keeps {show_size(access.subscript)} "
                f"inside {access.what}."
            )


# ---------------------------------------------------------------- checks


def _check(access: Access, ranges: Ranges) -> None:
    """Refuse what is known to leave its axis; what sizes or data decide is checked at the call."""
    p = access.subscript
    if reads_data(p) or is_inside(access, ranges, access.facts):
        return
    text = f"subscript {show_size(p)} of {access.what}"
    ends = None if access.conditions or not access.certain else bounds(p, ranges)
    if ends is not None and (
        nonnegative(require_poly(-ends[0] - 1), ranges) or nonnegative(require_poly(ends[1] - access.size), ranges)
    ):
        if not index_atoms(p):
            raise ShapeError(f"{here()}{text} is outside: the last one is {show_size(require_poly(access.size - 1))}.")
        raise ShapeError(f"{here()}{text} runs from {show_size(ends[0])} to {show_size(ends[1])}. {_REMEDY}")
    found = strays(p, access.size, access.conditions, ranges) if access.certain else None
    for value, at in found or ():
        place = ", ".join(f"{show_size(atom_poly(atom))} = {k}" for atom, k in at.items())
        raise ShapeError(f"{here()}{text} is {value} for {place}. {_REMEDY}")


_REMEDY = "Give its index a smaller range with gg.index, or read 0 outside with gg.padded."
