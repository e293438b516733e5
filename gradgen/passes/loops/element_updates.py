"""Where a nest of loops touches arrays, and whether it does so element by element.

In: a loop. Out: its accesses in the order of the text, for the passes that write one array over another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gradgen.graph.scalar import Letter, Poly
from gradgen.program.loops import (
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Statement,
    letter,
    reads,
    writes,
)
from gradgen.program.ownership import accesses

__all__ = ["Access", "accesses_in", "element_by_element"]


@dataclass(frozen=True, slots=True)
class Access:
    """Where a statement reads or writes an array: its number in the text, the loops around it, and itself."""

    subscripts: tuple[Poly, ...]
    place: int
    loops: tuple[For, ...]
    statement: Statement
    chosen: bool  # whether a condition decides if the statement is reached


def accesses_in(nest: For) -> Mapping[Buffer, Sequence[Access]]:
    """Every access to every array, in the order of the text."""
    found: dict[Buffer, list[Access]] = {}
    place = 0
    pending: list[tuple[Statement, tuple[For, ...], bool]] = [(nest, (), False)]
    while pending:
        statement, loops, chosen = pending.pop()
        place += 1
        match statement:
            case For():
                own: Statement = replace(statement, body=())
                pending += [(s, (*loops, statement), chosen) for s in reversed(statement.body)]
            case If():
                own = If(statement.condition, ())
                pending += [(s, loops, True) for s in reversed((*statement.then, *statement.otherwise))]
            case _:
                own = statement
        for b in reads(own) | writes(own):
            touched = (Access(tuple(at), place, loops, own, chosen) for at in accesses([own], b))
            found.setdefault(b, []).extend(touched)
    return found


def element_by_element(before: Sequence[Access], after: Sequence[Access]) -> bool:
    """Whether each element of the one array is touched for the last time where that of the other is for the first.

    In one statement, unless that is a product, which reads elements again when it has written others.
    """
    at = before[-1].subscripts
    letters = {a.name for p in at for a in p.atoms if isinstance(a, Letter) and p is letter(a.name)}
    if len(letters) < len(at):
        return False
    aligned = all(
        len(x.subscripts) == len(at)
        and all(p is q for p, q in zip(x.subscripts, at, strict=True))
        and letters.issuperset(loop.letter for loop in x.loops)
        for x in (*before, *after)
    )
    read, written = before[-1].loops, after[0].loops
    together = len(read) == len(written) and all(x is y for x, y in zip(read, written, strict=True))
    last, first = before[-1], after[0]
    at_once = last.place == first.place and not isinstance(first.statement, (Dot, Contract))
    return aligned and together and (last.place < first.place or at_once)
