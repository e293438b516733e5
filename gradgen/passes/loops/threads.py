"""Loops divided among the threads of a CPU, written out.

In: statements behind `place`. Out: the same with a `Parts` for every loop that is shared: every thread runs a range of
iterations. What an iteration has for itself gets a row per part; sums and largest values over the loop are those of
each part, combined in the order of the parts, so that results depend on the number of parts alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gradgen.graph.intern import intern
from gradgen.graph.names import free_name, fresh_names
from gradgen.graph.nodes import Shape
from gradgen.graph.scalar import Load, Poly, integer, load, walk
from gradgen.graph.sizes import size_names
from gradgen.passes.loops.hoist import replaced
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    Parts,
    Role,
    Sharing,
    Statement,
    expressions,
    letter,
    side_by_side,
    statements,
    writes,
)
from gradgen.program.registers import Registers, names_in
from gradgen.program.rewriting import moved

FIXED_PARTS = 16  # where results may not depend on the number of threads

Make = Callable[[str, Shape, str, Role], Buffer]


def on_threads(body: Sequence[Statement], make: Make, taken: Iterable[str], parts: Poly) -> list[Statement]:
    """Every loop that is shared, in as many parts as there are threads; `make` gives arrays of the workspace.

    `parts` is their number, a size; `taken` are names that the rest of the function may use.
    """
    found: list[Statement] = []
    for s in body:
        if isinstance(s, For) and s.shared is not None:
            single, loop = _with_single_elements(s, Registers(body, taken))
            used = {*names_in([*body, *single]), *taken}
            found += [*single, *_in_parts(loop, s.shared, make, used, parts)]
        else:
            found.append(s)
    return found


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


def _in_parts(loop: For, shared: Sharing, make: Make, used: set[str], parts: Poly) -> list[Statement]:
    """The loop in parts, and what combines the sums of all parts."""
    used = used | set(size_names(parts))
    part, first, last = fresh_names({k: k for k in ("part", "first", "last")}, used).values()
    own: dict[Buffer, Buffer] = {}
    of_parts: dict[Buffer, Buffer] = {}
    before: list[Statement] = []
    after: list[Statement] = []
    behind: list[Statement] = []
    sums = {x.buffer: x for x in shared.sums}
    for buffer in sorted({*shared.own, *sums}, key=lambda b: b.name):
        name = f"{buffer.name}_parts"
        if buffer not in sums:
            if buffer.shape:
                own[buffer] = make(name, (parts, *buffer.shape), buffer.dtype, "work")
            continue
        operation, nothing = sums[buffer].operation, sums[buffer].first
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
    mine_only = replace(loop, start=letter(first), stop=letter(last), body=body, shared=None)
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
