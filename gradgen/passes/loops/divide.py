"""One loop of a kernel divided among threads, where it is worth that.

In: the statements of a piece. Out: the same, or with a `Parts` in place of the costliest loop: every thread runs a
range of iterations. What an iteration has for itself gets a row per part; sums and largest values over the loop are
those of each part, combined in the order of the parts, so that results depend on the number of parts alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gradgen.graph.intern import intern
from gradgen.graph.names import free_name, fresh_names
from gradgen.graph.neutral import neutral
from gradgen.graph.nodes import Shape, product
from gradgen.graph.scalar import Load, Poly, integer, load, walk
from gradgen.graph.sizes import size_names
from gradgen.machine import machine
from gradgen.passes.loops.hoist import replaced
from gradgen.program.cost import estimate, operations
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    Parts,
    Role,
    Statement,
    expressions,
    letter,
    reads,
    side_by_side,
    statements,
    writes,
)
from gradgen.program.ownership import combined, owns, private
from gradgen.program.registers import Registers, names_in
from gradgen.program.rewriting import moved

FIXED_PARTS = 16  # where results may not depend on the number of threads

Make = Callable[[str, Shape, str, Role], Buffer]


def divide(
    body: Sequence[Statement],
    make: Make,
    taken: Iterable[str],
    parts: Poly,
    elsewhere: float = 0.0,
    read_later: Callable[[Buffer], bool] = lambda b: False,
) -> list[Statement]:
    """The costliest loop among the statements in parts, if it is worth it; `make` gives arrays of the workspace.

    `parts` is their number, a size; `taken` are names that the rest of the function may use. What is read later than
    the last statement is no part's own. The loop must have more work than the matrix products `elsewhere` in the
    program: threads that wait for the next loop keep the cores busy, and BLAS would have to share them.
    """
    costs = [operations([s]) if isinstance(s, For) else 0.0 for s in body]
    best = max(range(len(body)), key=costs.__getitem__, default=None)
    if best is None or costs[best] < max(machine().threads, machine().beside * elsewhere):
        return list(body)
    loop = body[best]
    assert isinstance(loop, For)
    if not _is_plain(loop):
        return list(body)
    single, loop = _with_single_elements(loop, Registers(body, taken))
    used = {*names_in([*body, *single]), *taken}
    behind = {b for s in body[best + 1 :] for b in reads(s)}
    mine = [b for b in private(loop) if b not in behind and not read_later(b)]
    found = _in_parts(loop, costs[best], make, mine, used, parts)
    return list(body) if found is None else [*body[:best], *single, *found, *body[best + 1 :]]


def _with_single_elements(loop: For, registers: Registers) -> tuple[list[Statement], For]:
    """Variables for the arrays without axes that a loop only reads: Numba hands such an array to a part as a number."""
    written = writes(loop)
    single = {
        x: registers.make(f"{x.tensor.name}_here", x.dtype)
        for x in dict.fromkeys(x for s in statements([loop]) for x in walk(*expressions(s)) if isinstance(x, Load))
        if not x.subscripts and not x.tensor.by_value and x.tensor.memory not in written
    }
    inside = replaced(loop, {x: load(b, ()) for x, b in single.items()}) if single else loop
    assert isinstance(inside, For)
    return [Assign(b, (), x) for x, b in single.items()], inside


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


def _in_parts(
    loop: For, cost: float, make: Make, mine: Sequence[Buffer], used: set[str], parts: Poly
) -> list[Statement] | None:
    """The loop in parts, and what combines those of all parts; None where iterations need each other otherwise.

    `mine` is what iterations may have copies of.
    """
    used = used | set(size_names(parts))
    part, first, last = fresh_names({k: k for k in ("part", "first", "last")}, used).values()
    own: dict[Buffer, Buffer] = {}
    of_parts: dict[Buffer, Buffer] = {}
    before: list[Statement] = []
    after: list[Statement] = []
    behind: list[Statement] = []
    for buffer in sorted({b for s in loop.body for b in writes(s)}, key=lambda b: b.name):
        name = f"{buffer.name}_parts"
        if buffer in mine:
            if buffer.shape:
                own[buffer] = make(name, (parts, *buffer.shape), buffer.dtype, "work")
            continue
        if buffer.shape and owns(loop, buffer):
            continue
        operation = combined(loop, buffer)
        if operation is None or estimate(product(buffer.shape)) * machine().share > cost:
            return None
        nothing = neutral(operation, buffer.dtype)
        if not buffer.shape:
            row = intern(Buffer, free_name(f"{buffer.name}_part", used), (integer(1),), buffer.dtype, "work", None)
            own[row] = make(name, (parts, integer(1)), buffer.dtype, "work")
            before.append(Assign(buffer, (), nothing))
            after.append(Assign(row, (integer(0),), load(buffer, ())))
            value = load(own[row], (letter(part), integer(0)))
            behind.append(For(part, integer(0), parts, "reduce", (Accumulate(buffer, (), operation, value),)))
        else:
            part_name = free_name(f"{buffer.name}_part", used)
            of_parts[buffer] = intern(Buffer, part_name, buffer.shape, buffer.dtype, "work", None)
            own[of_parts[buffer]] = make(name, (parts, *buffer.shape), buffer.dtype, "work")
            axes = tuple(letter(name) for name in _axis_names(buffer.shape, used))
            first_value = Assign(of_parts[buffer], axes, nothing)
            term = Accumulate(buffer, axes, operation, load(own[of_parts[buffer]], (letter(part), *axes)))
            before += _over(buffer.shape, first_value, used)
            behind.append(For(part, integer(0), parts, "reduce", tuple(_over(buffer.shape, term, used))))
    body = moved(loop.body, {buffer: (of_part, ()) for buffer, of_part in of_parts.items()})
    mine_only = replace(loop, start=letter(first), stop=letter(last), body=body)
    assert isinstance(loop.stop, Poly)
    inside = (*side_by_side(before), mine_only, *after)
    return [Parts(loop.stop, inside, tuple(own.items()), parts, part, first, last), *side_by_side(behind)]


def _axis_names(shape: Shape, used: set[str]) -> list[str]:
    """Loop variables that nothing else is called."""
    wanted = {0: "at"} if len(shape) == 1 else {k: f"at{k}" for k in range(len(shape))}
    return list(fresh_names(wanted, {*used}).values())


def _over(shape: Shape, inner: Statement, used: set[str]) -> list[Statement]:
    """Loops over every axis around a statement."""
    for name, extent in zip(reversed(_axis_names(shape, used)), reversed(shape), strict=True):
        inner = For(name, integer(0), extent, "reduce", (inner,))
    return [inner]
