"""What depends on a row that data choose, and on nothing else of the loop, is computed once for every row.

In: nodes after `simplify`. Out: nodes with the same values; f(x[target[e], i]) is g[target[e], i] for
g[n, i] = f(x[n, i]), where edges are many and rows are few. Gathers of what is left are cheap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gradgen.graph.nodes import Compute, Node, compute, pointwise
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Load,
    Poly,
    Scalar,
    atom_poly,
    children,
    load,
    position,
    position_atom,
    positions_of,
    scalar_cost,
    substitute,
)
from gradgen.machine import machine
from gradgen.passes.rebuild.formulas import map_formulas
from gradgen.program.cost import volume

__all__ = ["once_a_row"]


@dataclass(frozen=True, slots=True)
class Row:
    """The row of an axis that a part of a formula depends on, and the positions that it has besides."""

    chosen: Load
    size: Poly
    others: tuple[int, ...]


def once_a_row(roots: Sequence[Node]) -> list[Node]:
    """Formulas over edges that read what formulas over nodes have computed."""
    return map_formulas(roots, _lifted)


def _lifted(node: Compute, lengths: Mapping[int, Poly]) -> Node:
    found = {part: _computed(node, part, row) for part, row in _parts(node)}
    if not found:
        return node
    return compute(node.shape, node.extents, node.target, node.reducer, substitute(node.body, {}, found))


def _parts(node: Compute) -> Iterator[tuple[Scalar, Row]]:
    """The largest parts of a formula that are worth it."""
    pending, seen = [node.body], set[Scalar]()
    while pending:
        x = pending.pop()
        if x in seen or not isinstance(x, Call):
            continue
        seen.add(x)
        row = _row_of(x) if x.dtype in FLOATS else None
        if row is not None and _pays(node, x, row):
            yield x, row
        else:
            pending += children(x)


def _pays(node: Compute, part: Scalar, row: Row) -> bool:
    """Whether there are several evaluations for each row, of more than a load and a store cost."""
    evaluations = volume(node.extents[k] for k in (*positions_of(row.chosen), *row.others))
    rows = volume([row.size, *(node.extents[k] for k in row.others)])
    return scalar_cost(part) > machine().cheap and evaluations >= 2 * rows


def _row_of(part: Scalar) -> Row | None:
    """The one row that all of a part reads, if it mentions the index that chooses it nowhere else."""
    chosen: dict[tuple[Load, Poly], None] = {}
    others: set[int] = set()
    pending, seen = [part], set[Scalar]()
    while pending:
        x = pending.pop()
        if x in seen:
            continue
        seen.add(x)
        match x:
            case Load(tensor=tensor, subscripts=subscripts):
                for subscript, size in zip(subscripts, tensor.shape, strict=True):
                    if len(subscript.parts) == 1 and isinstance(subscript.parts[0], Load):
                        if subscript is not atom_poly(subscript.parts[0]):
                            return None
                        chosen[subscript.parts[0], size] = None
                    elif subscript.parts:
                        return None
                    else:
                        others.update(positions_of(subscript))
            case Poly(parts=()):
                others.update(positions_of(x))
            case Poly():
                return None
            case _:
                pending += children(x)
    if len(chosen) != 1:
        return None
    ((row, size),) = chosen
    return None if others.intersection(positions_of(row)) else Row(row, size, tuple(sorted(others)))


def _computed(node: Compute, part: Scalar, row: Row) -> Load:
    """The part where it is computed for every row, at the row that is chosen."""
    places = {position_atom(k): position(at) for at, k in enumerate(row.others, 1)}
    body = substitute(part, places, {row.chosen: position(0)})
    rows = pointwise([row.size, *(node.extents[k] for k in row.others)], body)
    return load(rows, [atom_poly(row.chosen), *(position(k) for k in row.others)])
