"""Subscripts modulo 2**64: what int64 holds of a subscript is what is read, and what a guard is about.

In: a subscript, and facts about integers that int64 may not hold. Out: the same subscript in terms of what it holds
of them; `accesses` proves what a formula reads with these, `program.reach` what a program does.
"""

from collections.abc import Iterator, Sequence

from gradgen.graph.polynomials import atom_poly, require_poly
from gradgen.graph.records import Atom, Call, Poly

__all__ = ["congruent"]


def congruent(p: Poly, facts: Sequence[Poly]) -> Iterator[Poly]:
    """A subscript, and the same modulo 2**64 in terms of the wrapped integers that facts are about.

    What int64 holds of a subscript is what is read, so one of these that is proved to lie inside is the one.
    """
    yield p
    named = dict.fromkeys(a for fact in facts for a in fact.atoms if _wraps(a) is not None)
    plain = p
    for atom in p.atoms:
        if (q := _wraps(atom)) is not None:
            plain = _replaced(plain, atom_poly(atom), q)
    for atom in named:
        q = _wraps(atom)
        if q is not None and (new := _replaced(plain, q, atom_poly(atom))) is not plain:
            yield new


def _wraps(atom: Atom) -> Poly | None:
    """The integer that int64 may not hold, of which an atom is what it holds."""
    return require_poly(atom.arguments[0]) if isinstance(atom, Call) and atom.function.name == "wrapped" else None


def _replaced(p: Poly, old: Poly, new: Poly) -> Poly:
    """p with a multiple of `old` taken out for `new`, where they have a term in common."""
    monomial, factor = next((t for t in old.terms if t[0]), ((), 1))
    times, rest = divmod(dict(p.terms).get(monomial, 0), factor)
    return p if rest or not times else require_poly(p + times * (new - old))
