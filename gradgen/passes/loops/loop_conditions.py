"""The conditions in a loop that its letter decides: where they begin or cease to hold.

In: a loop. Out: conditions that are affine in its letter, or in its residue, of which `bounds` makes bounds, strides
and seams.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Literal

from gradgen.graph.scalar import (
    Atom,
    Call,
    FloorDiv,
    Letter,
    Load,
    Poly,
    Scalar,
    atom_poly,
    floor_div,
    integer,
    mentions,
    require_poly,
    walk,
)
from gradgen.graph.spans import SLACK, fits
from gradgen.passes.loops.decided import certain_parts
from gradgen.program.loops import (
    For,
    expressions,
    letter,
    letter_atom,
    statements,
    writes,
)

__all__ = ["Condition", "conditions_on"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that decides over a loop's letter: factor * letter + rest >= 0, == 0, or == 0 modulo `modulus`."""

    condition: Scalar
    kind: Literal["order", "equality", "residue"]
    factor: int
    rest: Poly
    modulus: int = 0

    @property
    def seam(self) -> Poly:
        """The first letter past the change of an order: it holds from there on (factor > 0) or up to there."""
        if self.factor > 0:
            return floor_div(require_poly(-self.rest + self.factor - 1), integer(self.factor), exact=True)
        return require_poly(floor_div(self.rest, integer(-self.factor), exact=True) + 1)

    def facts(self, name: str, holds: bool = True) -> tuple[Poly, ...]:
        """The inequalities that follow from it, or from its opposite."""
        p = require_poly(self.factor * letter(name) + self.rest)
        if self.kind == "order":
            return (p,) if holds else (require_poly(-p - 1),)
        return (p, require_poly(-p)) if self.kind == "equality" and holds else ()


def conditions_on(loop: For, inside: Callable[[Load], bool]) -> list[Condition]:
    """The conditions in a loop that its letter and what is known outside of it decide.

    They read what every iteration reads, or what is `inside` its array wherever the loop stands.
    """
    name = letter_atom(loop.letter)
    inner = {s.letter for s in statements(loop.body) if isinstance(s, For)}
    written = writes(loop)
    certain = {x for s in loop.body for x in certain_parts(s) if isinstance(x, Load)}
    found: dict[Scalar, Condition] = {}
    for statement in statements(loop.body):
        for x in walk(*expressions(statement)):
            if isinstance(x, Call) and x.function.name in ("ge", "eq") and isinstance(x.arguments[1], Poly):
                p = x.arguments[0]
                c = _condition(x, p, name) if isinstance(p, Poly) else None
                if c is not None and _is_known(c.rest, inner, written, lambda x: x in certain or inside(x)):
                    found[x] = c
    return list(found.values())


def _condition(condition: Call, p: Poly, name: Atom) -> Condition | None:
    if condition.function.name == "eq" and (residue := _residue(p)) is not None:
        p, modulus = residue
        parts = _affine(p, name)
        return None if parts is None else Condition(condition, "residue", parts[0] % modulus, parts[1], modulus)
    parts = _affine(p, name)
    if parts is None:
        return None
    if condition.function.name == "ge":
        found = Condition(condition, "order", *parts)
        return found if fits(found.seam, SLACK) else None
    return Condition(condition, "equality", *parts) if abs(parts[0]) == 1 and fits(parts[1], SLACK) else None


def _affine(p: Poly, name: Atom) -> tuple[int, Poly] | None:
    """factor and rest of p = factor * name + rest, for a factor that is a number other than 0."""
    coefficient = p.coefficient(name)
    if coefficient is None or coefficient.constant is None or coefficient.constant == 0:
        return None
    rest = require_poly(p - coefficient * atom_poly(name))
    return None if mentions(rest, name) else (coefficient.constant, rest)


def _residue(p: Poly) -> tuple[Poly, int] | None:
    """n and d of p = times * (n - d * (n // d))."""
    for monomial, factor in p.terms:
        if len(monomial) == 1 and isinstance(division := monomial[0], FloorDiv):
            divisor = division.denominator.constant
            if divisor is None or divisor <= 1 or factor % divisor:
                continue
            times = -factor // divisor
            if require_poly(times * (division.numerator - divisor * atom_poly(division))) is p:
                return division.numerator, divisor
    return None


def _is_known(p: Poly, inner: set[str], written: Set[object], is_readable: Callable[[Load], bool]) -> bool:
    """Whether an expression can be evaluated in front of the loop."""
    for x in walk(p):
        if isinstance(x, Load):
            if x.tensor.memory in written or not is_readable(x):
                return False
        elif isinstance(x, Poly):
            if any(isinstance(a, Letter) and a.name in inner for a in x.atoms):
                return False
        else:
            return False
    return True
