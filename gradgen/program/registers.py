"""Names for the scalar variables that are added to statements, and statements as branches.

In: the statements of a piece and the names that the rest of its function may use. Out: fresh variables for `bounds`,
`hoist`, `shared_values` and what makes lines readable, each a buffer of its own even where two functions use
the same name.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace

from gradgen.graph.names import Names
from gradgen.graph.scalar import FLOATS, Call, Const, FloorDiv, Letter, Load, Poly, Scalar, SizeSymbol, is_zero, walk
from gradgen.graph.sizes import size_names
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Parts,
    Statement,
    expressions,
    statements,
)

SHARED = 4  # operations from which on a part of an expression that is read twice has a name
LARGE = 24  # operations from which on it has one though it is read once, and a choice is an `if`
LONGEST = 28  # letters in a name made from an expression
DEEPEST = 6  # operations that a name says


class Registers:
    """Hands out scalar variables whose names nothing else has."""

    def __init__(self, body: Sequence[Statement], taken: Iterable[str] = ()) -> None:
        self._names = Names(names_in(body))
        self._taken = taken if isinstance(taken, Set) else set(taken)

    def make(self, name: str, dtype: str) -> Buffer:
        return Buffer(self._names.free(name, self._taken), (), dtype, "local", None)


def names_in(body: Sequence[Statement]) -> set[str]:
    """Every name that the text of these statements will use."""
    found: set[str] = set()
    for statement in statements(body):
        match statement:
            case For():
                found.add(statement.letter)
            case Parts():
                found |= {statement.part, statement.first, statement.last, *size_names(statement.count)}
                found |= {b.name for pair in statement.own for b in pair}
            case Assign() | Accumulate():
                found.add(statement.buffer.name)
            case Dot():
                found |= {m.buffer.name for m in (statement.left, statement.right, statement.out)}
                if statement.scratch is not None:
                    found |= {statement.scratch.name, *statement.adding}
            case Contract():
                found |= {x.buffer.name for x in (statement.out, statement.left, statement.right)}
                found |= {name for name, _ in statement.letters}
        for x in walk(*expressions(statement)):
            if isinstance(x, Load):
                found.add(x.tensor.name)
            elif isinstance(x, Poly):
                found.update(size_names(x))
    return found


# ---------------------------------------------------------------- names from expressions


def element_name(access: Load) -> str:
    """`lse[n]` becomes `lse_n`: the variable is named as it is read."""
    return "_".join([access.tensor.name, *[_subscript_name(s) for s in access.subscripts]])


def value_name(x: Scalar, depth: int = DEEPEST) -> str | None:
    """A name that says the expression, if it is short: `total_inverse`, `var_sqrt`, `y_over_z`."""
    found: str | None = None
    if depth == 0:
        return None
    match x:
        case Load():
            found = element_name(x)
        case Call(function=f, arguments=(Const() as one, y)) if f.name == "div" and one.value == 1:
            found = _suffixed(y, "inverse", depth)
        case Call(function=f, arguments=(a, b)) if f.name == "div":
            left, right = value_name(a, depth - 1), value_name(b, depth - 1)
            found = f"{left}_over_{right}" if left and right else None
        case Call(function=f, arguments=(y,)) if f.name in FLOATS:
            found = value_name(y, depth - 1)
        case Call(function=f, arguments=(y,)):
            found = _suffixed(y, f.name, depth)
    return found if found is not None and len(found) <= LONGEST else None


def _suffixed(x: Scalar, suffix: str, depth: int) -> str | None:
    name = value_name(x, depth - 1)
    return f"{name}_{suffix}" if name else None


def _subscript_name(s: Poly) -> str:
    if s.constant is not None:
        return str(s.constant).replace("-", "minus_")
    names = [a.name if isinstance(a, (Letter, SizeSymbol)) else a.tensor.name for a in _named_atoms(s)]
    return "".join(dict.fromkeys(names)) or "at"


def _named_atoms(s: Poly) -> Iterator[Letter | SizeSymbol | Load]:
    for a in s.atoms:
        if isinstance(a, (Letter, SizeSymbol, Load)):
            yield a
        elif isinstance(a, FloorDiv):
            yield from _named_atoms(a.numerator)


def as_branches(statement: Statement) -> If | None:
    """if c: a = x; else: a = y for a = where(c, x, y)."""
    if not isinstance(statement, (Assign, Accumulate)):
        return None
    match statement.value:
        case Call(function=f, arguments=(condition, yes, no)) if f.name == "where":
            then, otherwise = replace(statement, value=yes), replace(statement, value=no)
            is_mask = isinstance(statement, Accumulate) and statement.operation == "sum" and is_zero(no)
            return If(condition, (then,), () if is_mask else (otherwise,))
    return None
