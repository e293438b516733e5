"""Accesses that no proof keeps inside get a guard where they stand: a condition for a write, a choice for a read.

In: a `Program` before `verify` looks at it. Out: the same values. What a formula reads and writes is inside by its own
conditions, or a call checks it; here nothing is decided but whether that can still be seen, once conditions have become
bounds of loops. Bounds are what code should have, so few programs have anything for this pass to do.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from gradgen.graph.intern import intern
from gradgen.graph.scalar import Load, Poly, Scalar, call, load, number, require_poly, substitute, walk
from gradgen.passes.rebuild.conditions import conjunction
from gradgen.program.extents import sizes_mentioned
from gradgen.program.kernels import (
    Kernel,
    KernelCall,
    Program,
    Repeat,
)
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    If,
    Statement,
)
from gradgen.program.reach import Place, open_accesses
from gradgen.program.rewriting import with_bodies, with_expressions


def keep_inside(program: Program) -> Program:
    """The program with a guard around every access that `verify` would refuse."""
    found: dict[int, list[Place]] = {}
    for place in open_accesses(program):
        found.setdefault(id(place.statement), []).append(place)
    if not found:
        return program
    kernels = {kernel.name: _in_kernel(kernel, found) for kernel in program.kernels}

    def called(c: KernelCall | Repeat) -> KernelCall | Repeat:
        return replace(c, sizes=kernels[c.kernel].sizes) if isinstance(c, KernelCall) else c

    entries = tuple(replace(e, calls=tuple(map(called, e.calls))) for e in program.entries)
    return replace(program, kernels=tuple(kernels.values()), entries=entries)


def _in_kernel(kernel: Kernel, found: dict[int, list[Place]]) -> Kernel:
    body = _guarded(kernel.body, found)
    part = kernel.part
    if part is not None:
        within = _guarded(part.body, found)
        part = replace(part, body=within, sizes=tuple(sorted(sizes_mentioned(within, None))))
    return replace(kernel, body=body, part=part, sizes=tuple(sorted(sizes_mentioned(body, part))))


def _guarded(body: Sequence[Statement], found: dict[int, list[Place]]) -> tuple[Statement, ...]:
    new: list[Statement] = []
    for statement in body:
        places = found.get(id(statement), [])
        match statement:
            case Assign() | Accumulate():
                written = [_read(_inside(place), places) for place in places if place.what == "writes"]
                subscripts = tuple(require_poly(_read(s, places)) for s in statement.subscripts)
                update = replace(statement, subscripts=subscripts, value=_read(statement.value, places))
                new.append(If(conjunction(written), (update,)) if written else update)
            case _:
                reading = with_expressions(statement, partial(_read, places=places)) if places else statement
                new.append(with_bodies(reading, lambda inner: _guarded(inner, found)))
    return tuple(new)


def _read(x: Scalar, places: Sequence[Place]) -> Scalar:
    """An expression that reads 0 where an element is not there: y[k[i]] is read where both y[k[i]] and k[i] are there.

    What chooses an element is no 0 of its own then, which the array that it is chosen from may not have either.
    """
    read = [place for place in places if place.what == "reads"]
    if not read:
        return x
    there: dict[Load, Load] = {}  # the outermost accesses, and what stands for them until none is left
    for part in reversed([part for part in walk(x) if isinstance(part, Load)]):
        if any(_is_read(place, inner) for inner in walk(part) for place in read):
            there[part] = load(intern(Buffer, f"access {len(there)}", (), part.dtype, "local", None), ())
            x = substitute(x, {}, {part: there[part]})
    return substitute(x, {}, {stands: _where_there(part, read) for part, stands in there.items()})


def _where_there(access: Load, read: Sequence[Place]) -> Scalar:
    """The element, or 0; what an access chooses is looked at where that access is known to be there.

    A test of what chooses gets its guard as well, and then says nothing any more of an element chosen without: that is
    tested here again.
    """
    inside: list[Scalar] = []
    for part in (part for part in walk(access) if isinstance(part, Load)):
        inside += [_inside(place) for place in read if _is_read(place, part)]
        for subscript, size in zip(part.subscripts, part.tensor.shape, strict=True):
            if any(_is_read(place, inner) for inner in walk(subscript) for place in read):
                inside.append(_between(subscript, size))
    return call("where", conjunction(inside), access, number(False) if access.dtype == "bool" else number(0))


def _is_read(place: Place, part: Scalar) -> bool:
    return isinstance(part, Load) and place.buffer is part.tensor and place.subscript is part.subscripts[place.axis]


def _inside(place: Place) -> Scalar:
    return _between(place.subscript, place.size)


def _between(subscript: Poly, size: Poly) -> Scalar:
    return call("and", call("ge", subscript, number(0)), call("lt", subscript, size))
