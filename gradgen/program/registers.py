"""Names for the scalar variables that are added to statements.

In: the statements of a piece and the names that the rest of its function may use. Out: fresh variables for `bounds`,
`motion` and what makes lines readable, each a buffer of its own even where two functions use the same name.
"""

from collections.abc import Iterable, Sequence

from gradgen.graph.names import free_name
from gradgen.graph.scalar import Load, Poly, walk
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Dot,
    For,
    Parts,
    Statement,
    expressions,
    size_names,
    statements,
)


class Registers:
    """Hands out scalar variables whose names nothing else has."""

    def __init__(self, body: Sequence[Statement], taken: Iterable[str] = ()) -> None:
        self.taken = set(taken) | names_in(body)

    def make(self, name: str, dtype: str) -> Buffer:
        free = free_name(name, self.taken)
        self.taken.add(free)
        return Buffer(free, (), dtype, "local", None)


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
        for x in walk(*expressions(statement)):
            if isinstance(x, Load):
                found.add(x.tensor.name)
            elif isinstance(x, Poly):
                found.update(size_names(x))
    return found
