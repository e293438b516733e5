"""Values of a step that are written over a row of states: over the one they are computed from, or that becomes of them.

In: a `Program` behind `in_place`, which knows whole arrays. Out: the same with fewer arrays: in a loop over t,
`h_sum = h[t] @ X` and `h[t + 1] = tanh(h_sum)` need no `h_sum`, and its adjoint, for which `d_h[t + 1]` is read for the
last time, no array of its own. A buffer that every step writes anew goes from core to core; a row of states does not.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradgen.graph.nodes import same_shape
from gradgen.graph.scalar import Letter, Poly, require_poly
from gradgen.passes.loops.in_place import HEIRS, Access, accesses_in
from gradgen.program.loops import Assign, Buffer, Dot, For, Kernel, KernelCall, Program, letter, loaded, reads, writes
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
    for at, loop in enumerate(kernel.body):
        if not isinstance(loop, For) or loop.kind == "parallel":
            continue
        outside = {b for s in kernel.body if s is not loop for b in reads(s) | writes(s)}
        scratch = {b for b in private(loop) if b.role == "work" and b in alone and b in _matrices(loop)} - outside
        if scratch.isdisjoint(kernel.parameters):
            continue
        touched = accesses_in(loop)
        for value in (b for b in kernel.parameters if b in scratch):
            for states in (b for b in kernel.parameters if b.role in HEIRS and _is_stack(b, value)):
                for row in _rows(loop, touched.get(states, ())):
                    last = states in alone and _is_last(kernel, at, loop, states, row, touched[states])
                    if _becomes(touched[value], touched[states], row, states) or (
                        last and _comes_of(touched[value], touched[states], row, value)
                    ):
                        yield at, value, states, row


def _matrices(loop: For) -> set[Buffer]:
    """What products of a step read and write whole. Rows of other loops keep their names: nothing would be saved."""
    return {m.buffer for s in loop.body if isinstance(s, Dot) for m in (s.left, s.right, s.out) if not m.fixed}


def _rows(loop: For, states: Sequence[Access]) -> list[Poly]:
    """The rows of states that a step touches; none unless all are so many steps apart from it."""
    own = letter(loop.letter)
    if not all(x.subscripts and require_poly(x.subscripts[0] - own).constant is not None for x in states):
        return []
    return list(dict.fromkeys(x.subscripts[0] for x in states))


def _is_stack(states: Buffer, value: Buffer) -> bool:
    return states.dtype == value.dtype and same_shape(states.shape[1:], value.shape)


def _becomes(value: Sequence[Access], states: Sequence[Access], row: Poly, written: Buffer) -> bool:
    """Whether every element of the row is written where that of the value is read for the last time."""
    return _is_update(value, [x for x in states if x.subscripts[0] is row], 0, 1, written)


def _comes_of(value: Sequence[Access], states: Sequence[Access], row: Poly, written: Buffer) -> bool:
    """Whether every element of the value is written where that of the row is read for the last time."""
    return _is_update([x for x in states if x.subscripts[0] is row], value, 1, 0, written)


def _is_update(before: Sequence[Access], after: Sequence[Access], skip: int, skip_after: int, written: Buffer) -> bool:
    """Whether one nest of the step touches the one last, and writes the other anew, element by element."""
    if len(before[-1].loops) < 2 or len(after[0].loops) < 2 or before[-1].loops[1] is not after[0].loops[1]:
        return False
    nest = before[-1].loops[1]
    old = [x for x in before if len(x.loops) > 1 and x.loops[1] is nest]
    new = [x for x in after if len(x.loops) > 1 and x.loops[1] is nest]
    at = old[-1].subscripts[skip:]
    letters = {a.name for p in at for a in p.atoms if isinstance(a, Letter) and p is letter(a.name)}
    if len(letters) < len(at):
        return False
    aligned = all(
        len(subscripts) == len(at)
        and all(p is q for p, q in zip(subscripts, at, strict=True))
        and letters.issuperset(loop.letter for loop in x.loops[1:])
        for x, subscripts in (*((x, x.subscripts[skip:]) for x in old), *((x, x.subscripts[skip_after:]) for x in new))
    )
    first = new[0].statement
    anew = isinstance(first, Assign) and first.buffer is written and written not in loaded(first.value)
    outer, inner = old[-1].loops, new[0].loops
    together = len(outer) == len(inner) and all(x is y for x, y in zip(outer, inner, strict=True))
    return anew and aligned and together and old[-1].place <= new[0].place


def _is_last(kernel: Kernel, at: int, loop: For, states: Buffer, row: Poly, touched: Sequence[Access]) -> bool:
    """Whether nobody reads this row once the step is over: no later step, nothing behind the loop."""
    if states.role != "work" or any(states in reads(s) for s in kernel.body[at + 1 :]):
        return False
    ahead = [require_poly(row - x.subscripts[0]).constant or 0 for x in touched]
    return all(distance * loop.stride <= 0 for distance in ahead)
