"""Sums over a lattice, as adjoints of strided accesses are gathered, in the form in which they were scattered.

In: the accesses of a sum and its conditions, `e % s == 0` among them for a subscript `e // s`. Out: the same with a
position h in place of the output position j that e contains: the access reads h, and the result lies at `s h - ...`.
`outer_products` takes both as affine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradgen.graph.nodes import Compute
from gradgen.graph.scalar import (
    Atom,
    Call,
    FloorDiv,
    Load,
    Poly,
    Position,
    Scalar,
    atom_poly,
    integer,
    mentions,
    position,
    position_atom,
    require_poly,
)


@dataclass(slots=True)
class Lattice:
    """By output position: the extent of what replaces it, and where the result then lies; what this makes true."""

    extents: dict[int, Poly] = field(default_factory=dict)
    targets: dict[int, Poly] = field(default_factory=dict)
    subscripts: dict[tuple[int, int], Poly] = field(default_factory=dict)  # of (access, axis)
    conditions: list[Scalar] = field(default_factory=list)

    def holds(self, condition: Scalar) -> bool:
        return any(condition is c for c in self.conditions)


def unfold(node: Compute, accesses: Sequence[Load], conditions: Sequence[Scalar]) -> Lattice:
    """sum where(e % s == 0, K[p] * y[e // s], 0) at j  ->  sum K[p] * y[h] at s h - (e - j), e = j + ..."""
    found = Lattice()
    for side, access in enumerate(accesses):
        for axis, (subscript, extent) in enumerate(zip(access.subscripts, access.tensor.shape, strict=True)):
            floor = next((a for a in subscript.atoms if isinstance(a, FloorDiv)), None)
            if floor is None or floor.denominator.constant is None or extent.constant is None:
                continue
            divided = atom_poly(floor)
            step = floor.denominator
            exact = require_poly(step * (subscript - divided) + floor.numerator)  # step * subscript, where it divides
            divides = [c for c in conditions if _left(c, "eq") is require_poly(floor.numerator - step * divided)]
            j = _output_position(node, exact, accesses, (side, axis))
            if not divides or j is None or j in found.targets:
                continue
            last = require_poly(step * extent - 1 - exact)
            found.extents[j] = extent
            found.targets[j] = require_poly(step * position(j) - (exact - position(j)))
            found.subscripts[side, axis] = position(j)
            found.conditions += [*divides, *(c for c in conditions if _is_inside(c, exact, last, step.constant or 1))]
    return found


def _is_inside(condition: Scalar, exact: Poly, last: Poly, step: int) -> bool:
    """Whether a condition says that what is divided is not below 0, or not above the last element."""
    x = _left(condition, "ge")
    beyond = None if x is None else require_poly(last - x).constant
    return x is exact or (beyond is not None and 0 <= beyond < step)


def _left(condition: Scalar, name: str) -> Poly | None:
    """x of x >= 0 or x == 0."""
    match condition:
        case Call(function=f, arguments=(Poly() as x, Poly() as zero)) if f.name == name and zero is integer(0):
            return x
    return None


def _output_position(node: Compute, exact: Poly, accesses: Sequence[Load], here: tuple[int, int]) -> int | None:
    """The one output position that a subscript contains once, and no other subscript mentions."""
    positions = [a.position for a in exact.atoms if isinstance(a, Position) and a.position < len(node.shape)]
    if len(positions) != 1 or len([a for a in exact.atoms if not isinstance(a, Position)]):
        return None
    own: Atom = position_atom(positions[0])
    factor = exact.coefficient(own)
    others = [
        s
        for side, access in enumerate(accesses)
        for axis, s in enumerate(access.subscripts)
        if (side, axis) != here and mentions(s, own)
    ]
    return positions[0] if factor is integer(1) and not others else None
