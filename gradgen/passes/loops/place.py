"""Which loops are shared by threads, and where what each of them needs for itself lives: one decision for each machine.

In: the statements of a piece. Out: the same, with a `Sharing` on loops that the machine shares. A CPU has a thread for
each of its cores and a good deal to do before it pays, so that one loop is shared, the costliest; its threads get their
rows in `threads`. A GPU has a thread for every iteration, of every loop; what an iteration needs for itself are
variables and small arrays, and rows of the workspace where it is large.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gradgen.graph.intern import intern
from gradgen.graph.nodes import Shape, product
from gradgen.graph.scalar import Poly, integer, require_poly
from gradgen.machine import machine
from gradgen.program.cost import estimate, operations
from gradgen.program.loops import (
    Buffer,
    Contract,
    Dot,
    For,
    Role,
    Sharing,
    Statement,
    Sum,
    letter,
    reads,
    statements,
    writes,
)
from gradgen.program.ownership import combined, owns, private
from gradgen.program.rewriting import moved

__all__ = ["place"]

Make = Callable[[str, Shape, str, Role], Buffer]
BYTES = {"float32": 4, "float64": 8, "int32": 4, "uint32": 4, "int64": 8, "bool": 1}


def place(
    body: Sequence[Statement],
    make: Make,
    elsewhere: float = 0.0,
    read_later: Callable[[Buffer], bool] = lambda b: False,
) -> list[Statement]:
    """The statements with loops shared as the machine has threads; `make` gives arrays of the workspace.

    A buffer that is read behind its loop, or later than the last statement, is nobody's own. Cores share a loop only
    if it has more work than the matrix products `elsewhere` in the program: threads that wait for the next loop keep
    them busy, and BLAS would have to share them.
    """
    match machine().shared_by:
        case "cores":
            return _for_cores(body, elsewhere, read_later)
        case "iterations":
            return _for_iterations(body, make, read_later)
        case "nobody":
            return list(body)


def _for_cores(body: Sequence[Statement], elsewhere: float, read_later: Callable[[Buffer], bool]) -> list[Statement]:
    """The costliest loop shared, if it is worth starting threads."""
    costs = [operations([s]) if isinstance(s, For) else 0.0 for s in body]
    best = max(range(len(costs)), key=costs.__getitem__, default=None)
    if best is None or costs[best] < max(machine().threads, machine().beside * elsewhere):
        return list(body)
    loop = body[best]
    assert isinstance(loop, For)
    if not _may_be_cut(loop):
        return list(body)
    shared = _sharing(loop, body[best + 1 :], read_later)
    if shared is None or any(_volume(x.buffer) * machine().share > costs[best] for x in shared.sums):
        return list(body)
    return [*body[:best], replace(loop, shared=shared), *body[best + 1 :]]


def _for_iterations(body: Sequence[Statement], make: Make, read_later: Callable[[Buffer], bool]) -> list[Statement]:
    """Every loop shared whose iterations do not need each other."""
    found: list[Statement] = []
    for k, loop in enumerate(body):
        if isinstance(loop, For) and _has_threads(loop):
            shared = _sharing(loop, body[k + 1 :], read_later)
            loop = loop if shared is None else _with_own_memory(loop, shared, make)
        found.append(loop)
    return found


def _may_be_cut(loop: For) -> bool:
    """Whether cores may have ranges of it: from 0 on, no product inside, which has its own threads, no recurrence."""
    inside = list(statements(loop.body))
    return (
        _has_threads(loop)
        and loop.start is integer(0)
        and loop.stride == 1
        and loop.within is None
        and not any(isinstance(s, For) and s.kind == "serial" for s in inside)
    )


def _has_threads(loop: For) -> bool:
    """Whether its iterations are so many threads, whatever they do with memory: they count up, and hold no product."""
    return (
        loop.kind != "serial"
        and loop.stride > 0
        and isinstance(loop.start, Poly)
        and isinstance(loop.stop, Poly)
        and not any(isinstance(s, (Dot, Contract)) for s in statements(loop.body))
    )


def _sharing(loop: For, behind: Iterable[Statement], read_later: Callable[[Buffer], bool]) -> Sharing | None:
    """What each thread has for itself, and what all sum up; None where iterations need each other otherwise."""
    read = {b for s in behind for b in reads(s)}
    own = tuple(b for b in private(loop) if b not in read and not read_later(b))
    sums: list[Sum] = []
    for buffer in sorted({b for s in loop.body for b in writes(s)} - {*own}, key=lambda b: b.name):
        if buffer.shape and owns(loop, buffer):
            continue
        operation = combined(loop, buffer)
        if operation is None:
            return None
        sums.append(Sum(buffer, operation))
    return Sharing(own, tuple(sums))


def _volume(b: Buffer) -> float:
    return estimate(product(b.shape))


def _with_own_memory(loop: For, shared: Sharing, make: Make) -> For:
    """A loop whose every iteration is a thread: what it needs for itself as variables, small arrays, or rows."""
    homes: dict[Buffer, tuple[Buffer, tuple[Poly, ...]]] = {}
    used = 0
    for b in (b for b in shared.own if b.shape):
        count = product(b.shape).constant
        if count == 1:
            homes[b] = intern(Buffer, b.name, (), b.dtype, "local", None), ()
        elif count is not None and used + count * BYTES[b.dtype] <= machine().local_bytes:
            used += count * BYTES[b.dtype]
            homes[b] = intern(Buffer, b.name, b.shape, b.dtype, "local", None), ()
        else:
            name = f"{b.name.removesuffix('_row')}_rows"
            rows = make(name, (require_poly(loop.stop), *b.shape), b.dtype, "work")
            homes[b] = rows, (letter(loop.letter),)
    (mine,) = moved((replace(loop, shared=shared),), homes)
    assert isinstance(mine, For)
    assert mine.shared is not None
    return replace(mine, shared=replace(mine.shared, own=tuple(b for b in mine.shared.own if b.role == "local")))
