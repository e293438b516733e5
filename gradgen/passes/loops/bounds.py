"""Conditions on indices leave the loops: they become bounds, strides, or the seams between pieces of a loop.

In: statements of `lower`. Out: statements whose loops run over the elements that count: padding, slices, masks and
the residues of strided adjoints cost nothing inside. `hoist` hoists what is left. A masked element is no value, as in
`conditions`: where a mask on indices leaves a 0, products with it are 0 and sums do without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd

from gradgen.graph.scalar import (
    Atom,
    Call,
    Load,
    Poly,
    Scalar,
    SizeSymbol,
    as_poly,
    call,
    floor_div,
    integer,
    load,
    mentions,
    number,
    require_poly,
    walk,
)
from gradgen.graph.sizes import nonnegative
from gradgen.machine import machine
from gradgen.passes.loops.decided import Known, mentioned, simplified, size, with_first_terms
from gradgen.passes.loops.loop_conditions import Condition, conditions_on
from gradgen.program.loops import (
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Note,
    Statement,
    bodies,
    choice,
    expressions,
    letter_atom,
    statements,
)
from gradgen.program.registers import Registers


@dataclass(frozen=True, slots=True)
class Scope:
    """What holds around a statement: ranges of the open letters, inequalities, and the buffers used elsewhere."""

    ranges: Mapping[Atom, Poly] = field(default_factory=dict)
    facts: tuple[Poly, ...] = ()
    outside: frozenset[Buffer] = frozenset()

    def within(self, name: Atom, extent: Poly | None) -> "Scope":
        """Inside a loop over 0 .. extent - 1, or over a range of which nothing is known."""
        ranges = {a: r for a, r in self.ranges.items() if a is not name}
        facts = tuple(p for p in self.facts if not mentions(p, name))
        return replace(self, ranges=ranges if extent is None else {**ranges, name: extent}, facts=facts)

    def knowing(self, *facts: Poly) -> "Scope":
        """With more inequalities; of those that differ by a number only the one that implies the others."""
        strongest: dict[tuple[object, ...], tuple[int, Poly]] = {}
        for p in (*self.facts, *facts):
            terms = tuple(term for term in p.terms if term[0])
            constant = dict(p.terms).get((), 0)
            if terms not in strongest or constant < strongest[terms][0]:
                strongest[terms] = constant, p
        return replace(self, facts=tuple(p for _, p in strongest.values()))

    def at_least(self, p: Poly, q: Poly) -> bool:
        return nonnegative(require_poly(p - q), self.ranges, self.facts)

    def holds(self, x: Load) -> bool:
        """Whether an access stays inside its array."""
        ends = ((s, require_poly(size - 1 - s)) for s, size in zip(x.subscripts, x.tensor.shape, strict=True))
        return all(self.at_least(p, integer(0)) for pair in ends for p in pair)

    def larger(self, p: Poly, q: Poly) -> Poly:
        if self.at_least(p, q):
            return p
        return q if self.at_least(q, p) else require_poly(call("maximum", p, q))

    def smaller(self, p: Poly, q: Poly) -> Poly:
        if self.at_least(p, q):
            return q
        return p if self.at_least(q, p) else require_poly(call("minimum", p, q))

    def simplified(
        self, body: Sequence[Statement], conditions: Mapping[Scalar, Scalar], letters: Mapping[Atom, Poly] | None = None
    ) -> tuple[Statement, ...]:
        return simplified(body, Known(conditions, letters or {}, self.ranges, self.facts), self.outside)


def bound_loops(body: Sequence[Statement], registers: Registers) -> list[Statement]:
    """Loops over what their conditions on indices let through, in the same order of evaluation."""
    return _Bounder(registers).run(body, Scope())


@dataclass(slots=True)
class _Bounder:
    registers: Registers

    def run(self, body: Sequence[Statement], scope: Scope) -> list[Statement]:
        found: list[Statement] = []
        for k, statement in enumerate(body):
            inside = replace(scope, outside=scope.outside | mentioned([*body[:k], *body[k + 1 :]]))
            match statement:
                case For():
                    found += self.loop(statement, inside)
                case If():
                    then, otherwise = self.run(statement.then, inside), self.run(statement.otherwise, inside)
                    found += choice(statement.condition, tuple(then), tuple(otherwise))
                case _:
                    found.append(statement)
        return with_first_terms(found)

    def loop(self, loop: For, scope: Scope) -> list[Statement]:
        """One loop: as plain statements, over fewer iterations, or in pieces."""
        inside = scope.within(letter_atom(loop.letter), known_extent(loop))
        start, stop = as_poly(loop.start), as_poly(loop.stop)
        if loop.kind == "serial" or loop.stride != 1 or start is None or stop is None:
            return self.around(loop, inside)
        if scope.at_least(start, stop):
            return []
        conditions = conditions_on(loop, scope.holds)
        if not conditions or require_poly(stop - start).constant == 1:
            return self.finish(loop, start, stop, scope, inside)
        return self.restrict(loop, start, stop, conditions, scope, inside)

    def finish(self, loop: For, start: Poly, stop: Poly, scope: Scope, inside: Scope) -> list[Statement]:
        """A loop with its final bounds; a single iteration needs none."""
        if loop.stride == 1 and require_poly(stop - start).constant == 1:
            return self.run(scope.simplified(loop.body, {}, {letter_atom(loop.letter): start}), scope)
        return self.around(replace(loop, start=start, stop=stop), inside)

    def around(self, loop: For, inside: Scope) -> list[Statement]:
        body = tuple(self.run(loop.body, inside))
        return [replace(loop, body=body)] if body else []

    # ------------------------------------------------------------ fewer iterations

    def restrict(
        self, loop: For, low: Poly, high: Poly, conditions: Sequence[Condition], scope: Scope, inside: Scope
    ) -> list[Statement]:
        """Skip the iterations in which a false condition leaves nothing to do."""
        orders = [c for c in conditions if c.kind == "order"]
        if len(orders) > 2 * machine().segments:  # a choice among many: each half has fewer to ask about
            pieces = self.split(loop, low, high, orders, scope, inside)
            if pieces is not None:
                return pieces
        body, stride = loop.body, 1
        residue = integer(0)
        for c in conditions:
            if not _occurs(c.condition, body) or inside.simplified(body, {c.condition: number(False)}):
                continue
            left: Scalar = number(True)
            if c.kind == "residue":
                if stride > 1:
                    continue
                common = gcd(c.factor, c.modulus)
                stride = c.modulus // common
                left = call("eq", _mod(c.rest, common), integer(0))
                quotient = floor_div(c.rest, integer(common), exact=True)
                residue = require_poly(-quotient * pow(c.factor // common, -1, stride))
            elif c.kind == "equality":
                point = require_poly(-c.rest * c.factor)  # the factor is 1 or -1
                low, high = scope.larger(low, point), scope.smaller(high, require_poly(point + 1))
            elif c.factor > 0:
                low = scope.larger(low, c.seam)
            else:
                high = scope.smaller(high, c.seam)
            inside = inside.knowing(*c.facts(loop.letter))
            body = inside.simplified(body, {c.condition: left})
        if not body or scope.at_least(low, high):
            return []
        if stride > 1:
            before: list[Statement] = []
            low = self.named(low, f"{loop.letter}_low", before)
            first = require_poly(low + _mod(require_poly(residue - low), stride))
            return [*before, *self.finish(replace(loop, stride=stride, body=body), first, high, scope, inside)]
        loop = replace(loop, start=low, stop=high, body=body)
        orders = [c for c in conditions_on(loop, scope.holds) if c.kind == "order"]
        pieces = self.split(loop, low, high, orders, scope, inside) if orders else None
        return self.finish(loop, low, high, scope, inside) if pieces is None else pieces

    def named(self, bound: Poly, name: str, before: list[Statement]) -> Poly:
        """A bound that is used twice, as a variable if it takes more than a sum to say."""
        if not any(isinstance(a, Call) for a in bound.atoms):
            return bound
        register = self.registers.make(name, "int64")
        before.append(Assign(register, (), bound))
        return require_poly(load(register, ()))

    # ------------------------------------------------------------ pieces

    def split(
        self, loop: For, start: Poly, stop: Poly, orders: Sequence[Condition], scope: Scope, inside: Scope
    ) -> list[Statement] | None:
        """One loop for every stretch in which the orders are decided, or None where that is too much text."""
        seams: list[Poly] = []
        for new in dict.fromkeys(c.seam for c in orders):
            at = next((k for k, s in enumerate(seams) if scope.at_least(s, new)), len(seams))
            seams.insert(at, new)
        if len(seams) >= machine().segments:
            return self.halved(loop, start, stop, seams[len(seams) // 2], orders, scope, inside)
        found: list[tuple[Poly, Poly, tuple[Statement, ...], Scope]] = []
        before: list[Statement] = []
        low = start
        for k, end in enumerate([*seams, stop]):
            high = stop if end is stop else scope.larger(low, scope.smaller(end, stop))
            high = self.named(high, f"{loop.letter}_seam", before)
            if scope.at_least(low, high):
                continue
            decided: dict[Scalar, Scalar] = {}
            within = inside
            for c in orders:
                behind = _is_behind(c.seam, seams, k, scope)
                if behind is not None:
                    holds = behind == (c.factor > 0)
                    decided[c.condition] = number(holds)
                    within = within.knowing(*c.facts(loop.letter, holds))
            body = within.simplified(loop.body, decided)
            if found and _key(found[-1][2]) == _key(body):
                found[-1] = (found[-1][0], high, body, inside)
            else:
                found.append((low, high, body, within))
            low = high
        if sum(size(body) for _, _, body, _ in found) > max(machine().growth, size(loop.body)):
            return None
        for low, high, body, within in found:
            if body:
                before += self.finish(replace(loop, body=body), low, high, scope, within)
        return before

    def halved(
        self, loop: For, start: Poly, stop: Poly, seam: Poly, orders: Sequence[Condition], scope: Scope, inside: Scope
    ) -> list[Statement] | None:
        """A choice among many, as that of a stack: two loops, each with a part of it, or None where they share much."""
        before: list[Statement] = []
        middle = self.named(scope.larger(start, scope.smaller(seam, stop)), f"{loop.letter}_seam", before)
        halves: list[tuple[For, Scope]] = []
        for low, high, behind in ((start, middle, False), (middle, stop, True)):
            decided: dict[Scalar, Scalar] = {}
            within = inside
            for c in orders:
                if scope.at_least(seam, c.seam) if behind else scope.at_least(c.seam, seam):
                    holds = behind == (c.factor > 0)
                    decided[c.condition] = number(holds)
                    within = within.knowing(*c.facts(loop.letter, holds))
            body = within.simplified(loop.body, decided)
            halves.append((replace(loop, start=low, stop=high, body=body), within))
        if sum(_operations(half.body) for half, _ in halves) > machine().halves * _operations(loop.body):
            return None
        for half, within in halves:
            before += self.loop(half, within) if half.body else []
        return before


def _operations(body: Iterable[Statement]) -> int:
    """How much there is to read in statements."""
    return sum(len(set(walk(*expressions(s)))) for s in statements(body))


def _is_behind(seam: Poly, seams: Sequence[Poly], k: int, scope: Scope) -> bool | None:
    """Whether the k-th piece lies behind a seam, or before it; None where that is open.

    The piece runs from the largest seam before it to seams[k], both clamped; unless it is empty it ends at seams[k] or
    before.
    """
    at = next(j for j, s in enumerate(seams) if s is seam)
    if at < k:
        return True
    return False if at == k or scope.at_least(seam, seams[k]) else None


def known_extent(loop: For) -> Poly | None:
    """A size that the letter stays below, if it starts at 0 or later."""
    if loop.within is not None:
        return loop.within
    first, last = as_poly(loop.start), as_poly(loop.stop)
    if first is None or last is None:
        return None
    if loop.stride == -1:
        first, last = require_poly(last + 1), require_poly(first + 1)
    is_size = all(isinstance(a, SizeSymbol) for a in last.atoms)
    return last if is_size and first.constant is not None and first.constant >= 0 and loop.stride >= -1 else None


def _occurs(condition: Scalar, body: Iterable[Statement]) -> bool:
    return any(x is condition for s in statements(body) for x in walk(*expressions(s)))


def _mod(p: Poly, divisor: int) -> Poly:
    return require_poly(p - divisor * floor_div(p, integer(divisor), exact=True))


def _key(body: Iterable[Statement]) -> object:
    """What makes two bodies the same text."""
    return tuple(
        (
            type(s).__name__,
            getattr(s, "letter", None),
            getattr(s, "buffer", None),
            getattr(s, "operation", None),
            tuple(id(x) for x in expressions(s)),
            _key(s.then) if isinstance(s, If) else None,
            _key(s.otherwise) if isinstance(s, If) else _key(bodies(s)),
            id(s) if isinstance(s, (Dot, Contract, Note)) else None,
        )
        for s in body
    )
