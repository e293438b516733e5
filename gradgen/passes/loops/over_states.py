"""Values of a step that are written over a row of states: over the one they are computed from, or that becomes of them.

In: a `Program` behind `in_place`, which knows whole arrays. Out: the same with fewer arrays: in a loop over t,
`h_sum = h[t] @ X` and `h[t + 1] = tanh(h_sum)` need no `h_sum`, and its adjoint, for which `d_h[t + 1]` is read for the
last time, no array of its own. A buffer that every step writes anew goes from core to core; a row of states does not.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradgen.graph.nodes import same_shape
from gradgen.graph.scalar import Poly, integer, require_poly, substitute
from gradgen.graph.sizes import nonnegative
from gradgen.passes.loops.element_updates import Access, accesses_in, element_by_element
from gradgen.passes.loops.in_place import HEIRS
from gradgen.program.kernels import Kernel, KernelCall, Program
from gradgen.program.loops import (
    Assign,
    Buffer,
    Dot,
    For,
    letter,
    letter_atom,
    loaded,
    reads,
    writes,
)
from gradgen.program.ownership import private
from gradgen.program.rewriting import moved

__all__ = ["over_states"]


def over_states(program: Program) -> Program:
    """Rows of states in the place of what steps write anew, kernel by kernel, until none is left."""
    alone = _touched_by_one(program)
    kernels: list[Kernel] = []
    decisions: dict[str, tuple[str, ...]] = {}
    for kernel in program.kernels:
        current = kernel
        while found := next(_found(current, alone), None):
            at, value, states, row = found
            loop = current.body[at]
            assert isinstance(loop, For)
            steps = replace(loop, body=moved(loop.body, {value: (states, (row,))}))
            parameters = tuple(b for b in current.parameters if b is not value)
            current = replace(current, parameters=parameters, body=(*current.body[:at], steps, *current.body[at + 1 :]))
            told = f"{value.name}: is a row of {states.name}"
            decisions[kernel.name] = (*decisions.get(kernel.name, ()), told)
        kernels.append(current)
    if not decisions:
        return program
    kept = {kernel.name: set(kernel.parameters) for kernel in kernels}

    def called(c: KernelCall) -> KernelCall:
        return replace(c, arguments=tuple(b for b in c.arguments if b in kept[c.kernel]))

    entries = tuple(
        replace(
            e,
            calls=tuple(map(called, e.kernel_calls)),
            decisions=(*e.decisions, *(d for c in e.kernel_calls for d in decisions.get(c.kernel, ()))),
        )
        for e in program.entries
    )
    used = {b for e in entries for c in e.kernel_calls for b in c.buffers}
    before = {b for e in program.entries for c in e.kernel_calls for b in c.buffers}
    buffers = tuple(b for b in program.buffers if b in used or b not in before)
    return replace(program, buffers=buffers, kernels=tuple(kernels), entries=entries)


def _touched_by_one(program: Program) -> set[Buffer]:
    """The arrays in one shape only that one call of each entry touches, at most: what they hold is theirs."""
    counts = [Counter(b.memory for c in e.kernel_calls for b in dict.fromkeys(c.buffers)) for e in program.entries]
    every = {b for k in program.kernels for b in k.parameters}
    aliased = {b.alias_of for b in every if b.alias_of is not None}
    return {b for b in every if b.alias_of is None and b not in aliased and all(count[b] <= 1 for count in counts)}


def _found(kernel: Kernel, alone: set[Buffer]) -> Iterator[tuple[int, Buffer, Buffer, Poly]]:
    """A loop of the kernel, a value of its steps, states, and the row of them that it can be."""
    reshaped = {b.alias_of for b in kernel.parameters}
    stacks = [b for b in kernel.parameters if b.role in HEIRS and b.alias_of is None and b not in reshaped]
    for at, loop in enumerate(kernel.body):
        if not isinstance(loop, For) or loop.kind == "parallel":
            continue
        scratch = {b for b in _matrices(loop) if b.role == "work" and b in alone}
        if scratch:
            scratch -= {b for s in kernel.body if s is not loop for b in reads(s) | writes(s)}
        touched = accesses_in(loop) if scratch else {}
        for value in (b for b in kernel.parameters if b in scratch):
            for states in (b for b in stacks if _is_stack(b, value)):
                for row in _rows(loop, states, touched.get(states, ())):
                    last = states in alone and _is_last(kernel, at, loop, states, row, touched[states])
                    own = _of_row(touched[states], row)
                    becomes = _is_update(touched[value], own, states)
                    update = becomes or (last and _is_update(own, touched[value], value))
                    if update and private(loop, {value}):
                        yield at, value, states, row


def _matrices(loop: For) -> set[Buffer]:
    """What products of a step read and write whole. Rows of other loops keep their names: nothing would be saved."""
    return {m.buffer for s in loop.body if isinstance(s, Dot) for m in (s.left, s.right, s.out) if not m.fixed}


def _rows(loop: For, states: Buffer, touched: Sequence[Access]) -> list[Poly]:
    """The rows of states that every step touches; none unless all are so many steps apart from it."""
    own = letter(loop.letter)
    if not all(x.subscripts and require_poly(x.subscripts[0] - own).constant is not None for x in touched):
        return []
    return [row for row in dict.fromkeys(x.subscripts[0] for x in touched) if _is_there(loop, states, row)]


def _is_stack(states: Buffer, value: Buffer) -> bool:
    return states.dtype == value.dtype and same_shape(states.shape[1:], value.shape)


def _of_row(states: Sequence[Access], row: Poly) -> list[Access]:
    """The accesses to one row, as to an array of its own."""
    return [replace(x, subscripts=x.subscripts[1:]) for x in states if x.subscripts[0] is row]


def _is_update(before: Sequence[Access], after: Sequence[Access], written: Buffer) -> bool:
    """Whether one nest of a step touches the one last, and writes all of the other anew, element by element."""
    if len(before[-1].loops) < 2 or len(after[0].loops) < 2 or before[-1].loops[1] is not after[0].loops[1]:
        return False
    nest = before[-1].loops[1]
    old, new = ([x for x in touched if len(x.loops) > 1 and x.loops[1] is nest] for touched in (before, after))
    return _is_anew(new[0], written) and element_by_element(_in_step(old), _in_step(new))


def _in_step(touched: Sequence[Access]) -> list[Access]:
    """The same accesses as one step sees them, without the loop over all steps."""
    return [replace(x, loops=x.loops[1:]) for x in touched]


def _is_anew(first: Access, written: Buffer) -> bool:
    """Whether all of an array or row is written without a look at it: what lay there would be lost."""
    statement = first.statement
    if not isinstance(statement, Assign) or statement.buffer is not written or first.chosen:
        return False
    if written in loaded(*statement.subscripts, statement.value):
        return False
    ranges = {letter(x.letter): (x.start, x.stop) for x in first.loops if x.stride == 1}
    extents = written.shape[-len(first.subscripts) :]
    runs = (ranges.get(x, (x, x)) for x in first.subscripts)
    return all(start is integer(0) and stop is n for (start, stop), n in zip(runs, extents, strict=True))


def _is_there(loop: For, states: Buffer, row: Poly) -> bool:
    """Whether every step has the row: what a step reads by a condition may not be there in others."""
    if not isinstance(loop.start, Poly) or not isinstance(loop.stop, Poly):
        return False
    start, stop = (loop.start, loop.stop) if loop.stride > 0 else (loop.stop + 1, loop.start + 1)
    own = letter_atom(loop.letter)
    first, behind = (require_poly(substitute(row, {own: require_poly(end)})) for end in (start, stop))
    return nonnegative(first) and nonnegative(require_poly(states.shape[0] - behind))


def _is_last(kernel: Kernel, at: int, loop: For, states: Buffer, row: Poly, touched: Sequence[Access]) -> bool:
    """Whether nobody reads this row once the step is over: no later step, nothing behind the loop."""
    if states.role != "work" or any(states in reads(s) for s in kernel.body[at + 1 :]):
        return False
    ahead = [require_poly(row - x.subscripts[0]).constant or 0 for x in touched]
    return all(distance * loop.stride <= 0 for distance in ahead)
