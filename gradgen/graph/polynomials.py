"""Exact integer algebra: sums, products, floor divisions and comparisons of sizes, indices and integer data.

In: integer polynomials. Out: polynomials in normal form, and conditions with one canonical form each, so that equal
subscripts are the same object; `scalar` folds with them, `sizes` proves with them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from gradgen.errors import DTypeError
from gradgen.graph.declaration import ScalarFunction
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.intern import digest_of, intern_built
from gradgen.graph.operators import Operators
from gradgen.graph.place import here
from gradgen.graph.records import (
    Atom,
    Call,
    Const,
    FloorDiv,
    Letter,
    Load,
    Monomial,
    Poly,
    Position,
    Reduce,
    Scalar,
    SizeSymbol,
    Step,
    contains,
    loads,
    polynomial,
    walk,
)
from gradgen.graph.spans import GREATEST, LEAST, SLACK, fits, is_size, span

INTEGERS = ("int32", "int64", "uint32")
DEGREE = 4  # factors of a product that is written as one term
MANY = 8  # terms of a sum that is made by multiplying out, or of which some are computed


def atom_poly(atom: Atom) -> Poly:
    return polynomial([((atom,), 1)])


@lru_cache(maxsize=1024)
def integer(value: int) -> Poly:
    return polynomial([((), value)])


def as_poly(value: Any) -> Poly | None:
    """An integer expression from an int, a size, an index, or an integer-valued scalar; None for anything else."""
    match value:
        case Poly():
            return value
        case bool():
            return None
        case int():
            return integer(int(value))
        case Const():
            return integer(int(value.value)) if value.dtype == "pyint" else None
        case Call():
            return _of_call(value) if value.dtype in INTEGERS else atom_poly(value) if value.dtype == "pyint" else None
        case Load() | Reduce():
            return atom_poly(value) if value.dtype in (*INTEGERS, "pyint") else None
    if not isinstance(value, Operators) and hasattr(value, "__index__") and getattr(value, "shape", ()) == ():
        return integer(int(value.__index__()))
    return None


def _of_call(root: Call) -> Poly:
    """Arithmetic of int64 in normal form, parts before wholes; every other call is an atom."""
    known: dict[Scalar, Poly] = {}
    stack: list[Scalar] = [root]
    while stack:
        x = stack[-1]
        match x:
            case Call(arguments=arguments) if x.function.name in ARITHMETIC and x.dtype == "int64":
                if any(a.dtype not in INTEGERS and a.dtype != "pyint" for a in arguments):  # conditions that are added
                    known[x] = atom_poly(x)
                elif missing := [a for a in arguments if a not in known]:
                    stack += missing
                    continue
                else:
                    known[x] = ARITHMETIC[x.function.name](*[known[a] for a in arguments])
            case Call() | Load() | Reduce():
                known[x] = atom_poly(x)
            case _:
                known[x] = require_poly(x)
        stack.pop()
    return known[root]


def require_poly(value: Any) -> Poly:
    """An integer expression, or an error that says what a subscript or a size may be."""
    poly = as_poly(value)
    if poly is None:
        raise DTypeError(f"{here()}{value!r} is no integer: subscripts and sizes are.")
    return poly


def add(a: Poly, b: Poly) -> Poly:
    return _held("add", a, b, polynomial([*a.terms, *b.terms]))


def sub(a: Poly, b: Poly) -> Poly:
    return _held("sub", a, b, _difference(a, b))


def _difference(a: Poly, b: Poly) -> Poly:
    return polynomial([*a.terms, *((m, -f) for m, f in b.terms)])


def _held(function: str, a: Poly, b: Poly, total: Poly) -> Poly:
    """A sum in normal form; as it was written where that has numbers beyond int64, or too many computed parts."""
    if total.constant is not None or is_size(total):
        return total
    many = len(total.terms) > MANY and any(isinstance(atom, Call) for atom in total.atoms)
    return as_written(function, a, b) if many or not _has_coefficients(total) else total


def _has_coefficients(p: Poly) -> bool:
    return all(LEAST < factor <= GREATEST for _, factor in p.terms)


def as_written(function: str, *arguments: Poly) -> Poly:
    """A call that is an atom: its value is known to int64, its parts are not looked at."""
    return atom_poly(applied(FUNCTIONS[function], arguments, "int64"))


def settled(p: Poly) -> Poly:
    """The polynomial, if its exact value is the one that int64 holds; else that value as an atom."""
    return p if fits(p) else as_written("wrapped", p)


def mul(a: Poly, b: Poly) -> Poly:
    """The product, multiplied out where that makes it no longer than its factors by much."""
    total = _product(a, b)
    if total.constant is not None or (is_size(a) and is_size(b)):
        return total
    if not _has_coefficients(total):
        return as_written("mul", a, b)
    if a.constant is not None or b.constant is not None or is_size(a) or is_size(b):
        return total
    plain = all(isinstance(atom, (Position, Letter, Step, SizeSymbol, Load)) for atom in total.atoms)
    degree = max(sum(not isinstance(atom, SizeSymbol) for atom in monomial) for monomial, _ in total.terms)
    single = min(len(a.terms), len(b.terms)) == 1
    values = any(isinstance(atom, (Load, Call)) for atom in total.atoms)
    if degree <= DEGREE and (single if values else len(total.terms) <= MANY) and ((plain and single) or fits(total)):
        return total
    return as_written("mul", a, b)


def _product(a: Poly, b: Poly) -> Poly:
    return polynomial((m + n, f * g) for m, f in a.terms for n, g in b.terms)


def neg(a: Poly) -> Poly:
    return polynomial((m, -f) for m, f in a.terms)


def floor_div(a: Poly, b: Poly, exact: bool = False) -> Poly:
    """floor(a / b), with every part of `a` that `b` divides exactly taken out: (H-1)//2 + 1 is (H+1)//2.

    This is for numbers that int64 holds; what wraps around is divided as it is. `exact` says that a and b are held.
    What may be divided by 0 stays as it is written: that is 0, as NumPy has it, and no algebra is true of it.
    """
    if b.constant == 1:
        return a
    if not exact:
        a, b = settled(a), settled(b)
    if _may_be_zero(b):
        return as_written("floordiv", a, b)
    if b.constant is not None and b.constant < 0:
        if not (fits(neg(a)) and fits(neg(b))):
            return atom_poly(_division(a, b))
        a, b = neg(a), neg(b)
    quotient: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for monomial, factor in a.terms:
        if b.constant is not None:
            quotient.append((monomial, factor // b.constant))
            rest.append((monomial, factor % b.constant))
            continue
        divided = _divide_term(monomial, factor, b)
        (quotient if divided else rest).append(divided or (monomial, factor))
    remainder = polynomial(rest)
    if remainder is not a and not fits(remainder):
        return atom_poly(_division(a, b))
    if remainder.constant == 0 or (remainder.constant is not None and b.constant is not None):
        return polynomial(quotient)
    common = math.gcd(*[f for _, f in remainder.terms], *[f for _, f in b.terms])
    if common > 1:
        remainder = polynomial((m, f // common) for m, f in remainder.terms)
        b = polynomial((m, f // common) for m, f in b.terms)
        if b.constant == 1:
            return polynomial([*quotient, *remainder.terms])
    return polynomial([*quotient, ((_division(remainder, b),), 1)])


def _may_be_zero(b: Poly) -> bool:
    """Whether a divisor is not known to differ from 0; sizes are taken to, or nothing could be said of subscripts."""
    if b.constant is None and is_size(b):
        return False
    low, high = span(b)
    return low <= 0 <= high


def _division(a: Poly, b: Poly) -> FloorDiv:
    return intern_built(FloorDiv, (a, b), lambda: FloorDiv(a, b, digest_of("floordiv", a.digest, b.digest)))


def _divide_term(monomial: Monomial, factor: int, by: Poly) -> tuple[Monomial, int] | None:
    """One term divided exactly by a single-term polynomial."""
    if len(by.terms) != 1:
        return None
    divisor, scale = by.terms[0]
    left = list(monomial)
    for atom in divisor:
        if not contains(left, atom):
            return None
        left.pop(next(k for k, other in enumerate(left) if other is atom))
    return (tuple(left), factor // scale) if factor % scale == 0 else None


def mod(a: Poly, b: Poly) -> Poly:
    """a - b * floor(a / b); as it is written where b may be 0, by which it is 0."""
    a, b = settled(a), settled(b)
    if _may_be_zero(b):
        return as_written("mod", a, b)
    return _difference(a, _product(b, floor_div(a, b)))


def divisors(*roots: Scalar) -> list[Scalar]:
    """What integer expressions divide by, but for numbers other than 0; those of parts before those of wholes."""
    found: dict[Scalar, None] = {}
    for x in walk(*roots):
        if isinstance(x, Poly):
            found.update((a.denominator, None) for a in x.atoms if isinstance(a, FloorDiv))
        elif isinstance(x, Call) and x.function.name in ("floordiv", "mod") and x.dtype in INTEGERS:
            found[x.arguments[1]] = None
    return [d for d in found if _known(d) in (None, 0)]


def _known(x: Scalar) -> int | None:
    match x:
        case Poly():
            return x.constant
        case Const(dtype="pyint"):
            return int(x.value)
    return None


ARITHMETIC: Mapping[str, Callable[..., Poly]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "neg": neg,
    "floordiv": floor_div,
    "mod": mod,
}


# ---------------------------------------------------------------- conditions


def at_least_zero(p: Poly) -> Scalar:
    """The canonical form of an order between integers: p >= 0, divided by the common factor of its terms."""
    if p.constant is not None:
        return truth(p.constant >= 0)
    return _comparison("ge", lowest_terms(p))


def lowest_terms(p: Poly) -> Poly:
    """The polynomial that is >= 0 for the same integers, divided by the common factor of its terms."""
    common = math.gcd(*[f for m, f in p.terms if m])
    return p if common < 2 else polynomial((m, f // common) for m, f in p.terms)  # floor of the constant


def sides(p: Poly) -> tuple[Poly, Poly]:
    """a and b of p = a - b, both without negative terms: what is compared, as the difference may leave int64."""
    larger = polynomial((m, f) for m, f in p.terms if f > 0)
    return larger, polynomial((m, -f) for m, f in p.terms if f < 0)


def is_zero(p: Poly) -> Scalar:
    """The canonical form of an equality between integers: p == 0 with a positive leading coefficient."""
    if p.constant is not None:
        return truth(p.constant == 0)
    return _comparison("eq", p if p.terms[0][1] > 0 else neg(p))


CANONICAL: Mapping[str, Callable[[Poly], Scalar]] = {"ge": at_least_zero, "eq": is_zero}  # of p and 0


def _comparison(function: str, p: Poly) -> Scalar:
    return applied(FUNCTIONS[function], (p, integer(0)), "bool")


def applied(function: ScalarFunction, arguments: Sequence[Scalar], dtype: str) -> Call:
    """The record of a call as it stands."""

    def build() -> Call:
        digest = digest_of("call", function.name, *[argument.digest for argument in given])
        return Call(function, given, dtype, digest, loads(*given))

    given = tuple(arguments)
    return intern_built(Call, (function, given, dtype), build)


def truth(value: bool) -> Const:
    """A known condition."""
    text = str(value)
    return intern_built(Const, (text, "bool"), lambda: Const(text, "bool", digest_of("const", "bool", text)))


def order(a: Poly, b: Poly, above: int = 0) -> Scalar:
    """a >= b + above, in canonical form where int64 holds the difference, as written where it does not."""
    for way in _WAYS:
        left, right = way(a), way(b)
        difference = _difference(_difference(left, right), integer(above))
        if all(fits(p, SLACK) for p in (left, right, difference, *sides(difference))):
            return at_least_zero(difference)
    return applied(FUNCTIONS["lt" if above else "le"], (settled(b), settled(a)), "bool")


def _apart(p: Poly) -> Poly:
    """Numbers, indices and sizes as they are, and beside them what int64 holds of the data: twice an element, say.

    A condition has this form whether it was written of the data or of a tensor that holds them.
    """
    data = polynomial((m, f) for m, f in p.terms if any(isinstance(atom, (Load, Call, Reduce)) for atom in m))
    if data.constant is not None or fits(data):
        return p
    held = settled(data) if data.terms[0][1] > 0 else neg(settled(neg(data)))
    return polynomial([*_difference(p, data).terms, *held.terms])


_WAYS: tuple[Callable[[Poly], Poly], ...] = (lambda p: p, _apart, settled)


def valued(p: Poly) -> Poly:
    """A polynomial whose exact value is what int64 holds of p, data near its ends left out: facts are about that."""
    return next(q for q in (way(p) for way in _WAYS) if fits(q, SLACK))


def excess(a: Poly, b: Poly, above: int = 0) -> Poly:
    """a - b - above as an exact number, of what int64 holds of a and b: what an order between them says."""
    return _difference(_difference(valued(a), valued(b)), integer(above))


def distance(a: Poly, b: Poly) -> Poly:
    """a - b as an exact number which is 0 where they are equal: in the ring of int64, where that is the same."""
    difference = _difference(a, b)
    return difference if fits(difference, GREATEST) else _difference(settled(a), settled(b))


def equality(a: Poly, b: Poly) -> Scalar:
    """a == b: equal in the ring of int64, where that is the same as for the exact values."""
    return is_zero(distance(a, b))


def larger(a: Poly, b: Poly) -> Poly | None:
    """The larger of two integers whose difference is a number."""
    difference = _difference(a, b).constant
    if difference is None or not (fits(a, SLACK) and fits(b, SLACK)):
        return None
    return a if difference >= 0 else b


EXACT: Mapping[str, Callable[..., Scalar | None]] = {
    **ARITHMETIC,
    "maximum": larger,
    "minimum": lambda a, b: None if (found := larger(a, b)) is None else b if found is a else a,
    "ge": lambda a, b: order(a, b),
    "le": lambda a, b: order(b, a),
    "gt": lambda a, b: order(a, b, 1),
    "lt": lambda a, b: order(b, a, 1),
    "eq": lambda a, b: equality(a, b),
    "ne": lambda a, b: _opposite(equality(a, b)),
    "wrapped": settled,
}


def _opposite(condition: Scalar) -> Scalar:
    if isinstance(condition, Const):
        return truth(not condition.value)
    return applied(FUNCTIONS["not"], (condition,), "bool")
