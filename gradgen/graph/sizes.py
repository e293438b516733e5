"""What can be proved about sizes and subscripts: bounds over index ranges, signs, and the larger of two sizes.

In: integer polynomials, the extent of every index in them, facts known to hold. Out: bounds as polynomials in sizes,
and yes or "not proved"; `lang.ranges` infers and checks ranges with them, `passes` decides loop bounds.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from gradgen.graph.enumeration import nonnegative_everywhere
from gradgen.graph.intern import intern
from gradgen.graph.polynomials import lowest_terms
from gradgen.graph.records import Load, polynomial
from gradgen.graph.scalar import (
    Atom,
    FloorDiv,
    Letter,
    Poly,
    Position,
    Scalar,
    SizeSymbol,
    Step,
    atom_poly,
    floor_div,
    integer,
    mentions,
    require_poly,
    substitute,
    walk,
)
from gradgen.graph.spans import is_size

__all__ = ["Ranges", "bounds", "index_atoms", "is_size", "nonnegative", "reads_data", "size_names", "smallest"]

Ranges = Mapping[Atom, Poly]
_INDICES = (Letter, Position, Step)
_ROUNDS = 12  # floor divisions eliminated before a proof is given up
_remainders = itertools.count()


def nonnegative(p: Poly, ranges: Ranges | None = None, facts: Sequence[Poly] = ()) -> bool:
    """Whether p >= 0 is proved for all sizes >= 0, all indices inside `ranges`, where every fact is >= 0.

    An index runs over 0 .. extent - 1, and every extent in `ranges` is at least 1 (else nothing is read). `False`
    means "not proved".
    """
    return _is_nonnegative(p, ranges or {}, facts, _ROUNDS)


def _is_nonnegative(p: Poly, ranges: Ranges, facts: Sequence[Poly], rounds: int) -> bool:
    if p.constant is not None:
        return p.constant >= 0
    given = tuple(ranges.items())
    prove = _nonnegative if any(map(reads_data, (p, *facts))) else _remembered  # which keeps no arrays alive
    return prove(p, given, tuple(facts), rounds)


def _nonnegative(p: Poly, ranges: tuple[tuple[Atom, Poly], ...], facts: tuple[Poly, ...], rounds: int) -> bool:
    known = dict(ranges)
    p = lowest_terms(p)
    if _proved(p, known, rounds):
        return True
    compound = [e for e in dict.fromkeys(known.values()) if e.constant is None and not _is_symbol(e)]
    given = [*map(lowest_terms, facts), *[require_poly(extent - 1) for extent in compound]]
    return any(_proved(rest, known, rounds) for fact in given for rest in _beyond(p, fact)) or nonnegative_everywhere(
        p, known, facts
    )


def _beyond(p: Poly, fact: Poly) -> Iterator[Poly]:
    """What is left to prove of p >= 0 where the fact >= 0: the difference, and multiples in which a term cancels."""
    yield require_poly(p - fact)
    terms, seen = dict(fact.terms), {(1, 1)}
    for monomial, factor in p.terms:
        other = terms.get(monomial, 0)
        common = math.gcd(factor, other)
        if monomial and factor * other > 0 and (times := (abs(other) // common, abs(factor) // common)) not in seen:
            seen.add(times)
            yield require_poly(times[0] * p - times[1] * fact)


_remembered = lru_cache(maxsize=1 << 14)(_nonnegative)  # passes ask the same of every formula that they meet again


def bounds(p: Poly, ranges: Ranges) -> tuple[Poly, Poly] | None:
    """Least and greatest value of p over the index ranges, as polynomials in sizes; None where that is not affine.

    Both are reached where sizes are large enough: a call is refused by them.
    """
    low, high = (_extreme(p, dict(ranges), sign, _ROUNDS, is_reached=True) for sign in (-1, 1))
    return None if low is None or high is None else (low, high)


def smallest(sizes: Iterable[Poly], ranges: Ranges | None = None) -> Poly | None:
    """The size that is provably no larger than all the others."""
    candidates = list(dict.fromkeys(sizes))
    for candidate in candidates:
        if all(nonnegative(require_poly(other - candidate), ranges) for other in candidates if other is not candidate):
            return candidate
    return None


def index_atoms(p: Poly) -> tuple[Atom, ...]:
    """The indices a polynomial mentions, floor divisions looked into."""
    found: dict[Atom, None] = {}
    for atom in p.atoms:
        if isinstance(atom, _INDICES):
            found[atom] = None
        elif isinstance(atom, FloorDiv):
            found.update(dict.fromkeys([*index_atoms(atom.numerator), *index_atoms(atom.denominator)]))
    return tuple(found)


def is_index_only(x: Scalar) -> bool:
    """Whether an expression is known from indices and sizes alone."""
    return all(not isinstance(part, Load) and not (isinstance(part, Poly) and reads_data(part)) for part in walk(x))


def reads_data(p: Poly) -> bool:
    """Whether the values of a tensor take part in the polynomial."""
    return any(
        reads_data(a.numerator) or reads_data(a.denominator)
        if isinstance(a, FloorDiv)
        else not isinstance(a, (SizeSymbol, *_INDICES))
        for a in p.atoms
    )


# ---------------------------------------------------------------- proofs


def size_names(expression: Scalar) -> list[str]:
    """The size symbols of an extent or another expression, those inside floor divisions included."""
    return [a.name for x in walk(expression) if isinstance(x, Poly) for a in x.atoms if isinstance(a, SizeSymbol)]


def _proved(p: Poly, ranges: dict[Atom, Poly], rounds: int) -> bool:
    """By the least value over the indices; what is proved on the way has half of the rounds, so that this ends."""
    for _ in range(rounds):
        low = _extreme(p, ranges, -1, rounds)
        if low is None:
            return False
        division = next((a for a in low.atoms if isinstance(a, FloorDiv)), None)
        if division is None:
            return _sizes_nonnegative(low, ranges)
        eliminated = _without_division(low, division, ranges)
        if eliminated is None:
            return False
        p = eliminated
    return False


def _sizes_nonnegative(p: Poly, ranges: Mapping[Atom, Poly]) -> bool:
    """Every term is at least zero, once sizes that are extents count from 1."""
    if not all(isinstance(a, SizeSymbol) for a in p.atoms):
        return False
    extents = {atom for e in ranges.values() if len(e.terms) == 1 for atom in e.atoms if isinstance(atom, SizeSymbol)}
    negative = [(m, f) for m, f in p.terms if f < 0]
    if not any(m for m, _ in negative):
        return sum(f for m, f in p.terms if all(a in extents for a in m)) >= 0
    if not extents or all(f < 0 for _, f in p.terms):
        return False
    shifted = require_poly(substitute(p, {a: require_poly(atom_poly(a) + 1) for a in p.atoms if a in extents}))
    return all(factor > 0 for _, factor in shifted.terms)


def _is_symbol(p: Poly) -> bool:
    """Whether a polynomial is one size by itself."""
    if len(p.terms) != 1:
        return False
    monomial, factor = p.terms[0]
    return factor == 1 and len(monomial) == 1 and isinstance(monomial[0], SizeSymbol)


def _without_division(p: Poly, division: FloorDiv, ranges: dict[Atom, Poly]) -> Poly | None:
    """p >= 0 follows from the result >= 0: d * floor(n / d) = n - r with 0 <= r < d, everything times d."""
    coefficient = p.coefficient(division)
    if coefficient is None or not _positive_size(division.denominator, ranges):
        return None
    rest = p - coefficient * atom_poly(division)
    remainder = _remainder(division, ranges)
    times = floor_div(coefficient, division.denominator)
    if times * division.denominator is coefficient:
        return require_poly(rest + times * (division.numerator - remainder))
    scaled = division.denominator * rest + coefficient * (division.numerator - remainder)
    return require_poly(scaled + division.denominator - 1)


def _remainder(division: FloorDiv, ranges: dict[Atom, Poly]) -> Poly:
    serial = next(_remainders)
    letter = intern(Letter, "r", -1 - serial, None, f"remainder {serial:08d}")
    ranges[letter] = division.denominator
    return atom_poly(letter)


def _positive_size(p: Poly, ranges: Ranges) -> bool:
    return p.constant > 0 if p.constant is not None else _sizes_nonnegative(require_poly(p - 1), ranges)


# ---------------------------------------------------------------- bounds


def _extreme(p: Poly, ranges: dict[Atom, Poly], sign: int, rounds: int, is_reached: bool = False) -> Poly | None:
    """The greatest (sign 1) or least (sign -1) value of p over its indices, or, unless it is reached, one beyond."""
    for _ in range(rounds):
        division = next((a for a in p.atoms if isinstance(a, FloorDiv) and _has_index(a)), None)
        if division is None:
            break
        replaced = _bound_division(p, division, ranges, sign, rounds, is_reached)
        if replaced is None:
            return None
        p = replaced
    ends: dict[Atom, Poly] = {}
    data = [part for part in p.atoms if not isinstance(part, (FloorDiv, SizeSymbol, *_INDICES))]
    for atom in index_atoms(p):
        coefficient = p.coefficient(atom)
        if coefficient is None or atom not in ranges or any(mentions(part, atom) for part in data):
            return None
        rises = _sign(coefficient, ranges, rounds // 2)
        if rises is None:
            return None
        ends[atom] = require_poly(ranges[atom] - 1) if rises == (sign > 0) else integer(0)
        if coefficient.constant is None and index_atoms(coefficient):  # a product of indices: one after the other
            ends = {atom: ends[atom]}
            break
    if not ends:
        return p
    p = require_poly(substitute(p, ends))
    return p if not index_atoms(p) else _extreme(p, ranges, sign, rounds, is_reached)


def _sign(coefficient: Poly, ranges: Ranges, rounds: int) -> bool | None:
    """True where a coefficient is proved >= 0, False where <= 0; other indices in it count as sizes do."""
    if coefficient.constant is not None:
        return coefficient.constant >= 0
    for rises, factors in ((True, coefficient), (False, require_poly(-coefficient))):
        if all(f > 0 and all(isinstance(a, (SizeSymbol, *_INDICES)) for a in m) for m, f in factors.terms):
            return rises
        if rounds and not index_atoms(factors) and _is_nonnegative(factors, ranges, (), rounds):
            return rises
    return None


def _has_index(division: FloorDiv) -> bool:
    return bool(index_atoms(division.numerator)) or bool(index_atoms(division.denominator))


def _bound_division(
    p: Poly, division: FloorDiv, ranges: dict[Atom, Poly], sign: int, rounds: int, is_reached: bool
) -> Poly | None:
    coefficient = p.coefficient(division)
    if coefficient is None or index_atoms(division.denominator) or not _positive_size(division.denominator, ranges):
        return None
    rest = p - coefficient * atom_poly(division)
    times = floor_div(coefficient, division.denominator)
    indices = index_atoms(division.numerator)
    beside = polynomial(
        (m, f) for m, f in require_poly(rest).terms if any(mentions(atom_poly(a), i) for a in m for i in indices)
    )
    if times * division.denominator is coefficient and beside.terms:
        return require_poly(rest + times * (division.numerator - _remainder(division, ranges)))  # n - d*(n//d) = r
    if beside.terms and coefficient.constant in (1, -1):
        # ((H - 1) i)//2 is -i + (H i + i)//2 in lowest terms, both parts of which go further than their sum
        whole = require_poly(division.numerator + coefficient * division.denominator * beside)
        end = _extreme(whole, ranges, sign * coefficient.constant, rounds, is_reached)
        if end is not None:
            return require_poly(rest - beside + coefficient * floor_div(end, division.denominator))
    if beside.terms and is_reached:
        return None
    rises = _sizes_nonnegative(coefficient, {})
    if not rises and not _sizes_nonnegative(require_poly(-coefficient), {}):
        return None
    end = _extreme(division.numerator, ranges, sign if rises else -sign, rounds, is_reached)
    if end is None:
        return None
    return require_poly(rest + coefficient * floor_div(end, division.denominator))
