"""The maps over statements: what passes over programs change is an expression, a body, or where a buffer lives.

In: a statement, and what to make of its parts. Out: the statement with them, of the same kind.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar, assert_never

from gradgen.graph.scalar import Load, Poly, Scalar, load, loads, require_poly, rewrite
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Indexed,
    Matrix,
    Note,
    Parts,
    Sharing,
    Statement,
    bodies,
)

__all__ = ["moved", "with_bodies", "with_expressions"]

Operand = TypeVar("Operand", Matrix, Indexed)
Homes = Mapping[Buffer, tuple[Buffer, tuple[Poly, ...]]]  # for a buffer another one, and the row of that which it is


def with_bodies(statement: Statement, change: Callable[[tuple[Statement, ...]], Iterable[Statement]]) -> Statement:
    """Every body changed: of a loop, of both branches of a choice, of a loop in parts."""
    match statement:
        case For() | Parts():
            return replace(statement, body=tuple(change(statement.body)))
        case If():
            return If(statement.condition, tuple(change(statement.then)), tuple(change(statement.otherwise)))
        case Assign() | Accumulate() | Dot() | Contract() | Note():
            return statement
        case _:
            assert_never(statement)


def with_expressions(statement: Statement, change: Callable[[Scalar], Scalar]) -> Statement:
    """What the statement itself evaluates changed: bounds, a condition, a value, subscripts; not what its body does."""

    def poly(p: Poly) -> Poly:
        return require_poly(change(p))

    def matrix(m: Matrix) -> Matrix:
        window = m.window and (poly(m.window[0]), poly(m.window[1]))
        return replace(m, fixed=tuple(map(poly, m.fixed)), window=window)

    match statement:
        case For():
            return replace(statement, start=change(statement.start), stop=change(statement.stop))
        case Parts():
            return replace(statement, extent=poly(statement.extent))
        case If():
            return replace(statement, condition=change(statement.condition))
        case Assign() | Accumulate():
            subscripts = tuple(map(poly, statement.subscripts))
            return replace(statement, subscripts=subscripts, value=change(statement.value))
        case Dot():
            left, right, out = map(matrix, (statement.left, statement.right, statement.out))
            return replace(statement, left=left, right=right, out=out)
        case Contract():
            sides = (statement.out, statement.left, statement.right)
            result, first, second = (replace(x, fixed=tuple(map(poly, x.fixed))) for x in sides)
            return replace(statement, out=result, left=first, right=second)
        case Note():
            return statement
        case _:
            assert_never(statement)


def moved(body: Iterable[Statement], homes: Homes) -> tuple[Statement, ...]:
    """The statements with some buffers elsewhere, wherever they are read or written."""

    def at(b: Buffer, subscripts: tuple[Poly, ...]) -> tuple[Buffer, tuple[Poly, ...]]:
        new, row = homes.get(b, (b, ()))
        return (new, (*row, *subscripts)) if new.shape or b not in homes else (new, ())

    def change(x: Scalar) -> Scalar | None:
        return load(*at(x.tensor, x.subscripts)) if isinstance(x, Load) and x.tensor in homes else None

    def value(x: Scalar) -> Scalar:
        is_moved = any(access.tensor in homes for access in loads(x))
        return rewrite(x, change, lambda atom: None) if is_moved else x

    def operand(x: Operand) -> Operand:
        buffer, fixed = at(x.buffer, x.fixed)
        return replace(x, buffer=buffer, fixed=fixed)

    def written(s: Statement) -> Statement:
        match s:
            case Assign() | Accumulate():
                buffer, subscripts = at(s.buffer, s.subscripts)
                return replace(s, buffer=buffer, subscripts=subscripts)
            case Dot():
                scratch = s.scratch and at(s.scratch, ())[0]
                return replace(s, left=operand(s.left), right=operand(s.right), out=operand(s.out), scratch=scratch)
            case Contract():
                return replace(s, out=operand(s.out), left=operand(s.left), right=operand(s.right))
            case Parts():
                return replace(s, own=tuple((mine, at(behind, ())[0]) for mine, behind in s.own))
            case For(shared=Sharing() as shared):
                sums = tuple(replace(x, buffer=at(x.buffer, ())[0]) for x in shared.sums)
                return replace(s, shared=Sharing(tuple(at(b, ())[0] for b in shared.own), sums))
        return s

    return tuple(
        written(with_expressions(with_bodies(s, lambda inner: moved(inner, homes)) if bodies(s) else s, value))
        for s in body
    )
