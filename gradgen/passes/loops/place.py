"""Which loops are shared by threads, and where what each of them needs for itself lives: one decision for each machine.

In: the statements of a piece. Out: the same, with a `Sharing` on loops that the machine shares. A CPU has a thread for
each of its cores and a good deal to do before it pays, so that one loop is shared, the costliest; its threads get their
rows in `threads`. A GPU has a thread for every iteration, of every loop; what an iteration needs for itself are
variables and small arrays, and rows of the workspace where it is large.
"""

from collections.abc import Callable, Sequence
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
    """The statements with loops shared, where the machine is the quicker for it; `make` gives arrays of the workspace.

    What is read later than the last statement nobody has for himself. On a CPU a loop must have more work than the
    matrix products `elsewhere` in the program: threads that wait for the next loop keep the cores busy, and BLAS would
    have to share them.
    """
    found = list(body)
    costs = [operations([s]) if isinstance(s, For) else 0.0 for s in body]
    chosen = _costliest(costs, elsewhere) if machine().parts == "threads" else range(len(body))
    behind: set[Buffer] = set()
    for k in reversed(range(len(body))):
        loop = body[k]
        if k in chosen and isinstance(loop, For) and _is_plain(loop):
            own = tuple(b for b in private(loop) if b not in behind and not read_later(b))
            sums = _sums(loop, own, costs[k])
            if sums is not None:
                found[k] = replace(loop, shared=Sharing(own, sums))
        behind |= reads(loop)
    return found if machine().parts == "threads" else [_with_own_memory(s, make) for s in found]


def _costliest(costs: Sequence[float], elsewhere: float) -> Sequence[int]:
    """The loop that is worth starting threads for, if there is one."""
    best = max(range(len(costs)), key=costs.__getitem__, default=None)
    worth = max(machine().threads, machine().beside * elsewhere)
    return [] if best is None or costs[best] < worth else [best]


def _is_plain(loop: For) -> bool:
    """Whether it may be cut anywhere: no product inside, which has threads of its own, and no recurrence."""
    inside = list(statements(loop.body))
    return (
        loop.kind != "serial"
        and loop.start is integer(0)
        and loop.stride == 1
        and loop.within is None
        and isinstance(loop.stop, Poly)
        and not any(isinstance(s, (Dot, Contract)) or (isinstance(s, For) and s.kind == "serial") for s in inside)
    )


def _sums(loop: For, own: Sequence[Buffer], cost: float) -> tuple[Sum, ...] | None:
    """What the iterations sum up; None where they need each other otherwise, or clearing and adding costs too much."""
    found: list[Sum] = []
    for buffer in sorted({b for s in loop.body for b in writes(s)} - {*own}, key=lambda b: b.name):
        if buffer.shape and owns(loop, buffer):
            continue
        operation = combined(loop, buffer)
        if operation is None or estimate(product(buffer.shape)) * machine().share > cost:
            return None
        found.append(Sum(buffer, operation))
    return tuple(found)


def _with_own_memory(statement: Statement, make: Make) -> Statement:
    """A loop whose every iteration is a thread: what it needs for itself as variables, small arrays, or rows."""
    if not isinstance(statement, For) or statement.shared is None:
        return statement
    loop = statement
    homes: dict[Buffer, tuple[Buffer, tuple[Poly, ...]]] = {}
    used = 0
    for b in (b for b in statement.shared.own if b.shape):
        count = product(b.shape).constant
        if count == 1:
            homes[b] = intern(Buffer, b.name, (), b.dtype, "local", None), ()
        elif count is not None and used + count * BYTES[b.dtype] <= machine().local_bytes:
            used += count * BYTES[b.dtype]
            homes[b] = intern(Buffer, b.name, b.shape, b.dtype, "local", None), ()
        else:
            rows = make(f"{b.name}s", (require_poly(loop.stop), *b.shape), b.dtype, "work")
            homes[b] = rows, (letter(loop.letter),)
    (mine,) = moved((loop,), homes)
    assert isinstance(mine, For)
    assert mine.shared is not None
    return replace(mine, shared=replace(mine.shared, own=tuple(b for b in mine.shared.own if b.role == "local")))
