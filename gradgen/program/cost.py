"""What statements cost: elementary operations, with a guess for what is known only at call time.

In: statements, shapes, sizes. Out: numbers, by which passes choose: what is stored, what is a product, what several
threads share. Nowhere else is a size taken for a number.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import assert_never

from gradgen.graph.intern import intern
from gradgen.graph.scalar import Atom, Call, FloorDiv, Letter, Load, Poly, Scalar, SizeSymbol, scalar_cost
from gradgen.machine import machine
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Contract,
    Dot,
    For,
    If,
    Note,
    Parts,
    Statement,
)

Values = Mapping[Atom, float]


def operations(body: Iterable[Statement], values: Values | None = None) -> float:
    """Additions' worth of work; loop variables count as the middle of their range."""
    return _total(body, values or {}, everything=True)


def products(body: Iterable[Statement]) -> float:
    """The part of it that is in matrix products, which have threads of their own."""
    return _total(body, {}, everything=False)


def _total(body: Iterable[Statement], values: Values, everything: bool) -> float:
    known = dict(values)
    total = 0.0
    for statement in body:
        match statement:
            case For():
                start, stop = estimate(statement.start, known), estimate(statement.stop, known)
                trips = max(0.0, (stop - start) / statement.stride)
                variable = intern(Letter, statement.letter, 0, None, f"letter {statement.letter}")
                total += trips * _total(statement.body, {**known, variable: (start + stop) / 2}, everything)
            case Assign() | Accumulate() if everything:
                total += 1.0 + scalar_cost(statement.value)
            case If():
                branches = (_total(part, known, everything) for part in (statement.then, statement.otherwise))
                total += (1.0 if everything else 0.0) + max(branches)
            case Dot():
                sides = (statement.out.rows, statement.out.columns, statement.left.columns)
                total += 2.0 * estimate(sides[0], known) * estimate(sides[1], known) * estimate(sides[2], known)
            case Contract() if everything:
                total += 2.0 * prod(estimate(extent, known) for _, extent in statement.letters)
            case Assign() | Accumulate() | Contract() | Note():
                pass
            case Parts():  # divided where the cost of the loop is known already
                pass
            case _:
                assert_never(statement)
    return total


def volume(shape: Iterable[Poly]) -> float:
    """How many elements there are in a shape."""
    return prod(max(estimate(extent), 0.0) for extent in shape)


def estimate(x: Scalar, values: Values | None = None) -> float:
    """An integer expression as a number; sizes that are known only at call time count as `Machine.unknown`."""
    known = values or {}
    match x:
        case Poly():
            total = 0.0
            for monomial, factor in x.terms:
                value = float(factor)
                for atom in monomial:
                    value *= _atom(atom, known)
                total += value
            return total
        case Call(function=f, arguments=(a, b)) if f.name in ("maximum", "minimum"):
            return (max if f.name == "maximum" else min)(estimate(a, known), estimate(b, known))
    return float(machine().unknown)


def _atom(atom: Atom, known: Values) -> float:
    match atom:
        case FloorDiv():
            return estimate(atom.numerator, known) // max(estimate(atom.denominator, known), 1.0)
        case SizeSymbol() | Load():
            return float(machine().unknown)
    return known.get(atom, 0.0)
