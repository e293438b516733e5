"""Which accesses of a formula are proved to stay inside, whatever the data are that their subscripts read.

In: formulas over positions. Out: what is not proved, which is for the checks of a call; `accesses` proves what no data
decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gradgen.graph.accesses import Access, accesses, is_inside, known, may_divide_by_zero, ranges_in, written
from gradgen.graph.congruent import congruent
from gradgen.graph.enumeration import strays
from gradgen.graph.intern import intern
from gradgen.graph.nodes import Compute, product
from gradgen.graph.polynomials import add, floor_div, integer, mul, valued
from gradgen.graph.scalar import (
    Atom,
    Call,
    FloorDiv,
    Letter,
    Load,
    Poly,
    Scalar,
    as_poly,
    atom_poly,
    call,
    position_atom,
    require_poly,
    substitute,
)


def unproved(node: Compute, steps: Mapping[int, Poly] | None = None) -> list[Access]:
    """The reads and targets of a node that are not proved to stay inside: a call has to check them.

    They are data-dependent subscripts, and numbers on axes whose size may be too small, such as `x[0]` of an empty x.
    """
    ranges = ranges_in(node, steps)
    found = [*accesses((), node.body, *node.target), *written(node.body, node.target, node.shape, node.reducer)]
    return [access for access in found if not _is_proved(access, ranges)]


def _is_proved(access: Access, ranges: dict[Atom, Poly]) -> bool:
    """Whether a subscript stays inside, whatever the data are that it reads, and divides by nothing that may be 0."""
    if may_divide_by_zero(access.subscript, ranges):
        return False
    facts = tuple(_held(_looked_through(fact), ranges) for fact in access.facts)
    looked = replace(access, subscript=_looked_through(access.subscript), facts=facts)
    if all(any(is_inside(*_with_letters(form, ranges)) for form in _forms(case)) for case in _cases(looked)):
        return True
    return strays(looked.subscript, access.size, access.conditions, ranges) == []


def _cases(access: Access) -> list[Access]:
    """The access with each of the values that `where`, `minimum` and `maximum` choose from, where it is chosen."""
    cases: list[Access] = []
    pending = [access]
    while pending and len(cases) + len(pending) < _MOST_CASES:
        case = pending.pop()
        choice = next((c for value in _values(case.subscript) if (c := _choice(value)) is not None), None)
        if choice is None:
            cases.append(case)
            continue
        value, condition, yes, no = choice
        for chosen, facts in ((yes, known(condition, True)), (no, known(condition, False))):
            subscript, *held = [
                require_poly(substitute(p, {}, {value: valued(chosen)})) for p in (case.subscript, *case.facts, *facts)
            ]
            pending.append(replace(case, subscript=subscript, facts=tuple(held)))
    return [access] if pending else cases


def _held(p: Poly, ranges: Mapping[Atom, Poly]) -> Poly:
    """What a polynomial is where its indices stay in their ranges, whose products int64 may hold where not all do."""
    if not any(isinstance(atom, Call) for atom in p.atoms):
        return p
    known = {atom: extent for atom, extent in ranges.items() if extent.constant is not None}
    letters = {
        atom: intern(Letter, "v", _FIRST_SERIAL - k, extent, f"index {k:08d} below {extent.constant}")
        for k, (atom, extent) in enumerate(known.items())
    }
    held = substitute(p, {atom: atom_poly(letter) for atom, letter in letters.items()})
    return require_poly(substitute(held, {letter: atom_poly(atom) for atom, letter in letters.items()}))


def _forms(access: Access) -> Iterator[Access]:
    """The access at what int64 holds of its subscript, in terms of what is known."""
    return (replace(access, subscript=p) for p in congruent(access.subscript, access.facts))


def _choice(value: Scalar) -> tuple[Scalar, Scalar, Poly, Poly] | None:
    """A chosen integer, the condition, and what is chosen by it."""
    match value:
        case Call(function=function, arguments=(condition, a, b)) if function.name == "where":
            pass
        case Call(function=function, arguments=(a, b)) if function.name in ("minimum", "maximum"):
            condition = call("le" if function.name == "minimum" else "ge", a, b)
        case _:
            return None
    yes, no = as_poly(a), as_poly(b)
    return None if yes is None or no is None else (value, condition, yes, no)


def _with_letters(access: Access, ranges: dict[Atom, Poly]) -> tuple[Access, dict[Atom, Poly], tuple[Poly, ...]]:
    """The same question with an index for every value that is read: over the axis that argmax and argmin look at."""
    subscript, facts = access.subscript, access.facts
    values = dict.fromkeys(value for p in (subscript, *facts) for value in _values(p))
    if not values:
        return access, ranges, access.facts
    letters: dict[Scalar, Poly] = {}
    wider = dict(ranges)
    for k, value in enumerate(values):
        letter = intern(Letter, "v", _FIRST_SERIAL - k, None, f"value {k:08d}")
        letters[value] = atom_poly(letter)
        if (
            isinstance(value, Load)
            and isinstance(value.tensor, Compute)
            and value.tensor.reducer in ("argmax", "argmin")
        ):
            wider[letter] = product(value.tensor.extents[k] for k in value.tensor.reduced)
    known_here = tuple(_renamed(fact, letters) for fact in facts)
    subscript = _renamed(subscript, letters)
    return replace(access, subscript=subscript, facts=known_here), wider, known_here


def _renamed(p: Poly, letters: Mapping[Scalar, Poly]) -> Poly:
    """A polynomial over these instead of values, which are not looked into."""
    total = integer(0)
    for monomial, factor in p.terms:
        product = integer(factor)
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                above, below = _renamed(atom.numerator, letters), _renamed(atom.denominator, letters)
                product = mul(product, floor_div(above, below, exact=True))
            else:
                product = mul(product, letters[atom] if isinstance(atom, Scalar) else atom_poly(atom))
        total = add(total, product)
    return total


def _looked_through(p: Poly) -> Poly:
    """The polynomial with the formula instead of an integer that a node computes element by element."""
    while True:
        bodies: dict[Scalar, Scalar] = {}
        for value in _values(p):
            match value:
                case Load(tensor=Compute(reducer="none", body=body), subscripts=at) if as_poly(body) is not None:
                    places = {position_atom(k): subscript for k, subscript in enumerate(at)}
                    bodies[value] = valued(require_poly(substitute(require_poly(body), places)))
        if not bodies:
            return p
        p = require_poly(substitute(p, {}, bodies))


def _values(p: Poly) -> list[Scalar]:
    """What a polynomial reads, floor divisions looked into."""
    return [value for part in p.parts for value in (_values(part) if isinstance(part, Poly) else [part])]


_MOST_CASES = 32
_FIRST_SERIAL = -(1 << 40)  # apart from the letters of users and of proofs
