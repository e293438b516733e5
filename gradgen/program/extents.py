"""Which integers the text of statements mentions: sizes, which a function reads off its arrays, and loop variables.

In: statements. Out: what `passes.lower.cut_kernels` hands to a function and what `emit` writes at its beginning.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from gradgen.graph.scalar import Poly, Scalar, mentions, size_symbol, walk
from gradgen.graph.sizes import size_names
from gradgen.program.kernels import Kernel, Row
from gradgen.program.loops import (
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Parts,
    Statement,
    expressions,
    letter_atom,
)


def sizes_mentioned(body: Iterable[Statement], part: Kernel | None) -> Counter[str]:
    """How often each size occurs in statements; of a loop in parts, what it hands to the function of a `part`."""
    found: Counter[str] = Counter()
    for statement in _outside_parts(body):
        names = [name for x in _written(statement) for p in walk(x) if isinstance(p, Poly) for name in size_names(p)]
        found.update(names)
        if isinstance(statement, Parts):
            assert part is not None
            own = sizes_of_arrays(part.sizes, part.parameters)
            found.update(names)  # the extent is in both bounds of a part
            found.update([*size_names(statement.count), *(name for name in part.sizes if name not in own)])
    return found


def is_mentioned(loop: For) -> bool:
    """Whether anything in a loop depends on its variable."""
    atom = letter_atom(loop.letter)
    return any(mentions(x, atom) for s in _outside_parts(loop.body) for x in _written(s))


def sizes_of_arrays(sizes: Iterable[str], arrays: Sequence[Buffer | Row]) -> dict[str, tuple[Buffer | Row, int]]:
    """For each size the first array that has an axis of it, and which one; sizes that no axis is have none."""
    found: dict[str, tuple[Buffer | Row, int]] = {}
    for name in sizes:
        size = size_symbol(name)
        places = ((b, axis) for b in arrays for axis, extent in enumerate(b.shape) if extent is size)
        place = next(places, None)
        if place is not None:
            found[name] = place
    return found


def _outside_parts(body: Iterable[Statement]) -> Iterator[Statement]:
    """Every statement, but for those that the function of a part runs."""
    for statement in body:
        yield statement
        match statement:
            case For():
                yield from _outside_parts(statement.body)
            case If():
                yield from _outside_parts((*statement.then, *statement.otherwise))


def _written(statement: Statement) -> Iterator[Scalar]:
    """The expressions in the text of a statement: those that it evaluates, and the shapes that it gives matrices."""
    yield from expressions(statement)
    if isinstance(statement, Dot):
        for m in (statement.left, statement.right, statement.out):
            if m.is_folded:
                yield from (m.rows, m.columns)
        if statement.scratch is not None:
            yield from (statement.out.rows, statement.out.columns)
    if isinstance(statement, Contract):
        for x in (statement.out, statement.left, statement.right):
            yield from (*x.subscripts, *x.buffer.shape[len(x.fixed) :])
        yield from (extent for _, extent in statement.letters)
