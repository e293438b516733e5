"""Exact integer algebra: sums, products, floor divisions and comparisons of sizes, indices and integer data.

In: integer polynomials. Out: polynomials in normal form, and conditions with one canonical form each, so that equal
subscripts are the same object; `scalar` folds with them, `sizes` proves with them.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from gradgen.errors import DTypeError, GraphError
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
    Load,
    Monomial,
    Poly,
    Reduce,
    Scalar,
    contains,
    loads,
    polynomial,
)

INTEGERS = ("int32", "int64")


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
        case Call() if value.function.name in ARITHMETIC and value.dtype in INTEGERS:
            operands = [as_poly(argument) for argument in value.arguments]
            known = [operand for operand in operands if operand is not None]
            if len(known) == len(operands):
                return ARITHMETIC[value.function.name](*known)
    if isinstance(value, (Load, Call, Reduce)):
        return atom_poly(value) if value.dtype in (*INTEGERS, "pyint") else None
    if not isinstance(value, Operators) and hasattr(value, "__index__") and getattr(value, "shape", ()) == ():
        return integer(int(value.__index__()))
    return None


def require_poly(value: Any) -> Poly:
    """An integer expression, or an error that says what a subscript or a size may be."""
    poly = as_poly(value)
    if poly is None:
        raise DTypeError(f"{here()}{value!r} is no integer: subscripts and sizes are.")
    return poly


def add(a: Poly, b: Poly) -> Poly:
    return polynomial([*a.terms, *b.terms])


def sub(a: Poly, b: Poly) -> Poly:
    return polynomial([*a.terms, *((m, -f) for m, f in b.terms)])


def mul(a: Poly, b: Poly) -> Poly:
    return polynomial((m + n, f * g) for m, f in a.terms for n, g in b.terms)


def neg(a: Poly) -> Poly:
    return polynomial((m, -f) for m, f in a.terms)


def floor_div(a: Poly, b: Poly) -> Poly:
    """floor(a / b), with every part of `a` that `b` divides exactly taken out: (H-1)//2 + 1 is (H+1)//2."""
    if b.constant == 0:
        raise GraphError(f"{here()}a size or a subscript is divided by zero.")
    if b.constant is not None and b.constant < 0:
        a, b = neg(a), neg(b)
    quotient: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for monomial, factor in a.terms:
        if b.constant is not None:
            quotient.append((monomial, factor // b.constant))
            rest.append((monomial, factor % b.constant))
            continue
        exact = _divide_term(monomial, factor, b)
        (quotient if exact else rest).append(exact or (monomial, factor))
    remainder = polynomial(rest)
    if remainder.constant == 0 or (remainder.constant is not None and b.constant is not None):
        return polynomial(quotient)
    common = math.gcd(*[f for _, f in remainder.terms], *[f for _, f in b.terms])
    if common > 1:
        remainder = polynomial((m, f // common) for m, f in remainder.terms)
        b = polynomial((m, f // common) for m, f in b.terms)
        if b.constant == 1:
            return polynomial([*quotient, *remainder.terms])
    atom = intern_built(
        FloorDiv, (remainder, b), lambda: FloorDiv(remainder, b, digest_of("floordiv", remainder.digest, b.digest))
    )
    return polynomial([*quotient, ((atom,), 1)])


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
    return sub(a, mul(b, floor_div(a, b)))


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


def is_zero(p: Poly) -> Scalar:
    """The canonical form of an equality between integers: p == 0 with a positive leading coefficient."""
    if p.constant is not None:
        return truth(p.constant == 0)
    return _comparison("eq", p if p.terms[0][1] > 0 else neg(p))


def _comparison(function: str, p: Poly) -> Scalar:
    return applied(FUNCTIONS[function], (p, integer(0)), "bool")


def applied(function: ScalarFunction, arguments: tuple[Scalar, ...], dtype: str) -> Call:
    """The record of a call as it stands."""

    def build() -> Call:
        digest = digest_of("call", function.name, *[argument.digest for argument in arguments])
        return Call(function, arguments, dtype, digest, loads(*arguments))

    return intern_built(Call, (function, arguments, dtype), build)


def truth(value: bool) -> Const:
    """A known condition."""
    text = str(value)
    return intern_built(Const, (text, "bool"), lambda: Const(text, "bool", digest_of("const", "bool", text)))


def larger(a: Poly, b: Poly) -> Poly | None:
    """The larger of two integers whose difference is a number."""
    difference = sub(a, b).constant
    return None if difference is None else a if difference >= 0 else b


EXACT: Mapping[str, Callable[..., Scalar | None]] = {
    **ARITHMETIC,
    "maximum": larger,
    "minimum": lambda a, b: None if (found := larger(a, b)) is None else b if found is a else a,
    "ge": lambda a, b: at_least_zero(sub(a, b)),
    "le": lambda a, b: at_least_zero(sub(b, a)),
    "gt": lambda a, b: at_least_zero(sub(sub(a, b), integer(1))),
    "lt": lambda a, b: at_least_zero(sub(sub(b, a), integer(1))),
    "eq": lambda a, b: is_zero(sub(a, b)),
    "ne": lambda a, b: _opposite(is_zero(sub(a, b))),
}


def _opposite(condition: Scalar) -> Scalar:
    if isinstance(condition, Const):
        return truth(not condition.value)
    return applied(FUNCTIONS["not"], (condition,), "bool")
