"""Proofs about integers where a statement stands: loop variables between computed bounds, guards, earlier values.

In: an integer expression, the ranges of the open letters, and facts. Out: whether it is proved not to be negative;
`reach` asks this of every subscript. What `graph.sizes` proves about whole axes ends the proofs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen.graph.scalar import (
    Atom,
    Call,
    FloorDiv,
    Letter,
    Load,
    Poly,
    Scalar,
    SizeSymbol,
    atom_poly,
    floor_div,
    require_poly,
    substitute,
)
from gradgen.graph.sizes import is_size, nonnegative

TRIES = 200  # expressions that one proof looks at
DEEPEST = 40  # one inside another
DETOURS = 2  # facts in one proof that are about sizes, or bring in what stands further inside
EXTREMES = ("maximum", "minimum")

Remembered = Callable[[Poly, Atom], bool]  # whether p >= 0 for every value that a program writes where an atom reads


@dataclass(slots=True)
class Proof:
    """A search for p >= 0: what stands innermost in p is replaced by what bounds it, until only sizes are left.

    `depths` counts the open letters from the outermost one, `ranges` says which of them run over 0 .. extent - 1, with
    an extent of at least 1; no fact is negative. `cases` says whether facts may exclude a value of a maximum.
    """

    depths: Mapping[Atom, int]
    ranges: Mapping[Atom, Poly]
    facts: Sequence[Poly]
    remembered: Remembered
    cases: bool = True
    tried: dict[tuple[Poly, int], bool] = field(default_factory=dict)
    depth: int = 0

    def holds(self, p: Poly) -> bool:
        """Whether p >= 0 is proved, the straight ways first."""
        straight = replace(self, cases=False, tried={})
        return (
            any(p is fact for fact in self.facts)
            or straight.nonnegative(p, 0)
            or any(self.nonnegative(p, detours) for detours in range(DETOURS + 1))
            or nonnegative(p, self.ranges, self.facts)
        )

    def nonnegative(self, p: Poly, detours: int) -> bool:
        if p.constant is not None:
            return p.constant >= 0
        key = (p, detours)
        if key not in self.tried and len(self.tried) < TRIES and self.depth < DEEPEST:
            self.tried[key] = False  # while it is looked at
            self.depth += 1
            self.tried[key] = self._follows(p, detours)
            self.depth -= 1
        return self.tried.get(key, False)

    def _follows(self, p: Poly, detours: int) -> bool:
        if self._is_plain(p) and nonnegative(p, self.ranges):
            return True
        innermost = max(p.atoms, key=self._rank)
        atoms = p.atoms if isinstance(innermost, SizeSymbol) else (innermost,)
        ways = (way for atom in atoms for way in self._ways(p, atom, detours))
        return any(all(self.nonnegative(q, left) for q in needed) for needed, left in ways)

    def _is_plain(self, p: Poly) -> bool:
        """Whether the rules for whole axes apply: sizes, letters that run over them, and quotients of these."""
        return all(
            isinstance(a, SizeSymbol)
            or a in self.ranges
            or (isinstance(a, FloorDiv) and self._is_plain(a.numerator) and self._is_plain(a.denominator))
            for a in p.atoms
        )

    def _rank(self, atom: Atom) -> tuple[int, int]:
        """How far inside an atom stands: sizes, data, then letters, and behind each what is made of it."""
        match atom:
            case SizeSymbol():
                return (-2, 0)
            case Letter():
                return (self.depths.get(atom, -1), 0)
            case FloorDiv(numerator=n, denominator=d):
                parts = [*n.atoms, *d.atoms]
            case Call(arguments=arguments) if atom.function.name in EXTREMES:
                parts = [a for x in arguments for a in require_poly(x).atoms]
            case _:
                return (-1, 0)
        depth, nested = max(map(self._rank, parts), default=(-2, 0))
        return (depth, nested + 1)

    # ------------------------------------------------------------ what is enough

    def _ways(self, p: Poly, atom: Atom, detours: int) -> Iterator[tuple[list[Poly], int]]:
        """For p >= 0 one of these is enough, if none of its members is negative; and the detours that are left."""
        c = p.coefficient(atom)
        if c is None:
            yield from (([q], detours) for fact in self._bounding(atom) for q in _without_term(p, fact, atom))
            return
        rises = self._sign(c)
        if rises is None:
            return
        for fact in self._bounding(atom):
            e = fact.coefficient(atom)
            if e is None or e.constant is None or (e.constant > 0) != rises:
                continue
            is_straight = not isinstance(atom, SizeSymbol) and max(fact.atoms, key=self._rank) is atom
            left = detours if is_straight else detours - 1
            if left >= 0:
                times = abs(e.constant)
                yield [require_poly(times * p - (c if rises else -c) * fact + (times - 1))], left
        match atom:
            case FloorDiv():
                yield from (([q], detours) for q in self._without_quotient(p, atom, c, rises))
            case Call(arguments=values) if atom.function.name in EXTREMES:
                cases = [(x, require_poly(substitute(p, {}, {atom: x}))) for x in values]
                yield [case for _, case in cases], detours
                yield [case for x, case in cases if not self._is_excluded(atom, x)], detours
            case Load() | Call():
                if is_size(require_poly(p - c * atom_poly(atom))) and self.remembered(p, atom):
                    yield [], detours

    def _bounding(self, atom: Atom) -> Iterator[Poly]:
        """The expressions with an atom that are not negative."""
        this = atom_poly(atom)
        if isinstance(atom, Call) and atom.function.name in EXTREMES:
            largest = atom.function.name == "maximum"
            yield from (require_poly(this - x if largest else x - this) for x in atom.arguments)
        yield from (fact for fact in self.facts if any(a is atom for a in fact.atoms))
        if atom in self.ranges:
            yield from (this, require_poly(self.ranges[atom] - 1 - this))

    def _is_excluded(self, atom: Call, value: Scalar) -> bool:
        """Whether a fact says that a maximum is not this one of its two values."""
        if not self.cases:
            return False
        proof = replace(self, cases=False, tried={})
        changed = ((fact, require_poly(substitute(fact, {}, {atom: value}))) for fact in self.facts)
        return any(case is not fact and proof.nonnegative(require_poly(-case - 1), 0) for fact, case in changed)

    def _without_quotient(self, p: Poly, atom: FloorDiv, c: Poly, rises: bool) -> Iterator[Poly]:
        """p >= 0 follows from this >= 0, as d * floor(n / d) lies between n - d + 1 and n."""
        n, d = atom.numerator, atom.denominator
        if not self._is_plain(d) or not nonnegative(require_poly(d - 1), self.ranges):
            return
        rest = require_poly(p - c * atom_poly(atom))
        end = require_poly(n - d + 1) if rises else n
        times = floor_div(c, d)
        exact = times * d is c
        yield require_poly(rest + times * end if exact else d * rest + c * end + d - 1)

    def _sign(self, c: Poly) -> bool | None:
        """Whether a coefficient is proved to be positive or zero (True), or negative or zero (False)."""
        if c.constant is not None:
            return c.constant > 0
        if not self._is_plain(c):
            return None
        if nonnegative(c, self.ranges):
            return True
        return False if nonnegative(require_poly(-c), self.ranges) else None


def _without_term(p: Poly, fact: Poly, atom: Atom) -> Iterator[Poly]:
    """p >= 0 follows from this >= 0 and a fact that has the product of an atom in it which p has, squares too."""
    factors = dict(p.terms)
    for monomial, e in fact.terms:
        c = factors.get(monomial, 0)
        if len(monomial) > 1 and c * e > 0 and any(a is atom for a in monomial):
            yield require_poly(abs(e) * p - abs(c) * fact + abs(e) - 1)
