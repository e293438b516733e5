"""Subscripts solved for loop positions: which points of a loop nest write the element at given output positions.

In: the target of an accumulating formula. Out: loop positions as polynomials in output positions, and the conditions
under which they are a point of the loop nest; `gather` builds the gathering formula. Exact integer arithmetic only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradgen.graph.polynomials import mul
from gradgen.graph.scalar import (
    Atom,
    Call,
    FloorDiv,
    Load,
    Poly,
    Position,
    Scalar,
    atom_poly,
    floor_div,
    integer,
    mentions,
    position,
    position_atom,
    require_poly,
    substitute,
)
from gradgen.graph.sizes import Ranges, bounds, is_size, nonnegative
from gradgen.graph.spans import SLACK, fits
from gradgen.program.cost import estimate

__all__ = ["Solution", "solve_subscripts"]


@dataclass(slots=True)
class Solution:
    """Loop position k of `rank` output positions is `rank + k` here; positions made on the way follow.

    `solved` maps positions to polynomials, `unsolved` are still loops, `conditions` hold exactly where the solved
    positions are a point of the loop nest, `predicates` are the equations (== 0) that no position could be solved from.
    """

    rank: int
    ranges: dict[Atom, Poly]
    unsolved: list[Position]
    equations: list[Poly]
    solved: dict[Position, Poly] = field(default_factory=dict)
    conditions: list[Scalar] = field(default_factory=list)
    predicates: list[Poly] = field(default_factory=list)


def solve_subscripts(target: Sequence[Poly], extents: Sequence[Poly], shape: Sequence[Poly], steps: Ranges) -> Solution:
    """Solve target[loop positions] == output positions, for the loop positions of largest extent first."""
    rank = len(shape)
    shifted: dict[Atom, Poly] = {position_atom(k): position(rank + k) for k in range(len(extents))}
    ranges: dict[Atom, Poly] = dict(steps)
    ranges.update({position_atom(k): extent for k, extent in enumerate((*shape, *extents))})
    found = Solution(
        rank,
        ranges,
        [position_atom(rank + k) for k in range(len(extents))],
        [require_poly(substitute(t, shifted) - position(axis)) for axis, t in enumerate(target)],
    )
    while _open_division(found) or _solve_one(found):
        pass
    found.predicates = [e for e in found.equations if not _is_zero(e, ranges)]
    return found


def _is_zero(e: Poly, ranges: Ranges) -> bool:
    return e.constant == 0 or (nonnegative(e, ranges) and nonnegative(require_poly(-e), ranges))


# ---------------------------------------------------------------- floor divisions


def _open_division(s: Solution) -> bool:
    """floor(n / d) == v, with v known, is n == d*v + r for a new position r < d."""
    for number, equation in enumerate(s.equations):
        for atom in equation.atoms:
            if not isinstance(atom, FloorDiv) or not _mentions_any(atom_poly(atom), s.unsolved):
                continue
            sign = equation.coefficient(atom)
            if sign is None or sign.constant not in (1, -1):
                continue
            if not is_size(atom.denominator) or not _is_positive(atom.denominator, s.ranges):
                continue  # the new position has the divisor for its range, and ranges are sizes
            if _reads(atom.numerator):
                continue  # the data tell the place of each, and no place tells which data lead there
            rest = require_poly(equation - sign * atom_poly(atom))
            if _mentions_any(rest, s.unsolved):
                continue
            value = require_poly(-sign * rest)
            fresh = position_atom(max(a.position for a in s.ranges if isinstance(a, Position)) + 1)
            s.ranges[fresh] = atom.denominator
            s.unsolved.append(fresh)
            s.equations[number] = require_poly(atom.numerator - atom.denominator * value - atom_poly(fresh))
            s.equations = [_with_division(e, atom, value) for e in s.equations]
            return True
    return False


def _with_division(p: Poly, division: FloorDiv, value: Poly) -> Poly:
    """The polynomial with a value for one of its floor divisions, where it occurs linearly."""
    coefficient = p.coefficient(division)
    if coefficient is None or coefficient.constant == 0:
        return p
    return require_poly(p - coefficient * atom_poly(division) + coefficient * value)


# ---------------------------------------------------------------- one position


def _solve_one(s: Solution) -> bool:
    """Solve an equation for a position: the leading digit of a number first, then the position of largest extent."""
    candidates: list[tuple[tuple[bool, float, bool, int, int], Poly, Poly | None]] = []
    for number, equation in enumerate(s.equations):
        for order, atom in enumerate(s.unsolved):
            coefficient = _linear(equation, atom, s.ranges)
            if coefficient is None or not fits(equation, SLACK) or not fits(mul(coefficient, s.ranges[atom])):
                continue
            digits = _lower_digits(equation, atom, coefficient, s)
            unit = coefficient.constant in (1, -1)
            candidates.append(
                ((digits is None, -estimate(s.ranges[atom]), not unit, number, order), coefficient, digits)
            )
    if not candidates:
        return False
    (_, _, _, number, order), coefficient, digits = min(candidates, key=lambda c: c[0])
    atom, equation = s.unsolved.pop(order), s.equations.pop(number)
    if not _is_positive(coefficient, s.ranges):
        coefficient, equation = require_poly(-coefficient), require_poly(-equation)
    extent = s.ranges[atom]
    value = require_poly(coefficient * atom_poly(atom) - equation)  # == coefficient * position
    if digits is not None:
        value = require_poly(value + digits)  # == coefficient * position + digits, with 0 <= digits < coefficient
    quotient = floor_div(value, coefficient)
    remainder = require_poly(value - coefficient * quotient)
    if digits is not None:
        s.equations.append(require_poly(digits - remainder))
    s.conditions += [value >= 0, coefficient * extent - 1 - value >= 0, *([remainder == 0] if digits is None else [])]
    _set(s, atom, quotient)
    return True


def _lower_digits(equation: Poly, atom: Position, coefficient: Poly, s: Solution) -> Poly | None:
    """d in c*atom + d == known or -(c*atom + d) == known, shifted to 0 <= d, if it is always below c; else None."""
    positive = _is_positive(coefficient, s.ranges)
    c, e = (coefficient, equation) if positive else (require_poly(-coefficient), require_poly(-equation))
    if c.constant == 1:
        return None
    rest = require_poly(e - c * atom_poly(atom))
    digits = _poly_of([t for t in rest.terms if _mentions_any(_term(t), s.unsolved)])
    span = bounds(digits, s.ranges) if digits.terms and not _reads(digits) else None
    if span is None or not nonnegative(require_poly(c - 1 - (span[1] - span[0])), s.ranges):
        return None
    return require_poly(digits - span[0])


def _set(s: Solution, atom: Position, value: Poly) -> None:
    """Put the value in for the position everywhere."""
    place: dict[Atom, Poly] = {atom: value}
    s.equations = [require_poly(substitute(e, place)) for e in s.equations]
    s.conditions = [substitute(c, place) for c in s.conditions]
    s.solved = {a: require_poly(substitute(v, place)) for a, v in s.solved.items()}
    s.solved[atom] = value


def _linear(equation: Poly, atom: Position, ranges: Ranges) -> Poly | None:
    """c in c * atom + rest == 0, where c is a known integer or a size, not zero, and no data depends on the atom."""
    coefficient = equation.coefficient(atom)
    if coefficient is None or not coefficient.terms or not is_size(coefficient):
        return None
    if any(isinstance(a, (Load, Call)) and mentions(a, atom) for a in equation.atoms):
        return None
    if _is_positive(coefficient, ranges) or _is_positive(require_poly(-coefficient), ranges):
        return coefficient
    return None


def _is_positive(p: Poly, ranges: Ranges) -> bool:
    return nonnegative(require_poly(p - 1), ranges)


def _mentions_any(p: Poly, atoms: Sequence[Position]) -> bool:
    return any(mentions(p, atom) for atom in atoms)


def _reads(p: Poly) -> bool:
    return any(isinstance(a, (Load, Call)) for a in p.atoms)


def _term(term: tuple[tuple[Atom, ...], int]) -> Poly:
    result = integer(term[1])
    for atom in term[0]:
        result = require_poly(result * atom_poly(atom))
    return result


def _poly_of(terms: Sequence[tuple[tuple[Atom, ...], int]]) -> Poly:
    total = integer(0)
    for term in terms:
        total = require_poly(total + _term(term))
    return total
