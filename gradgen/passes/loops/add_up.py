"""What a loop adds to one element of an array is added up in a variable, and to the element behind the loop.

In: statements. Out: statements in which no loop reads and writes an element that does not change with it: compilers
cannot keep it in a register where a store of the loop might be to the same place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gradgen.graph.neutral import neutral
from gradgen.graph.scalar import Poly, load
from gradgen.passes.loops.bounds import known_extent
from gradgen.passes.loops.decided import with_first_terms
from gradgen.passes.loops.hoist import Ranges, in_range, is_entered, letters_of
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    Operation,
    Statement,
    letter_atom,
    loaded,
    statements,
    touched_itself,
    writes,
)
from gradgen.program.ownership import accesses
from gradgen.program.registers import Registers
from gradgen.program.rewriting import with_bodies

__all__ = ["add_up"]

Element = tuple[Buffer, tuple[Poly, ...], Operation]


def add_up(body: Sequence[Statement], registers: Registers) -> list[Statement]:
    """Sums and maxima into elements that an outer loop chooses, in variables."""
    return _Adder(registers).run(body, {})


@dataclass(slots=True)
class _Adder:
    registers: Registers

    def run(self, body: Sequence[Statement], ranges: Ranges) -> list[Statement]:
        found: list[Statement] = []
        for statement in body:
            if isinstance(statement, For):
                found += self.loop(statement, ranges)
            else:
                found.append(with_bodies(statement, lambda body: self.run(body, ranges)))
        return with_first_terms(found)

    def loop(self, loop: For, ranges: Ranges) -> list[Statement]:
        name, extent = letter_atom(loop.letter), known_extent(loop)
        outer = {a: r for a, r in ranges.items() if a is not name}
        before: list[Statement] = []
        behind: list[Statement] = []
        body = loop.body
        for buffer, subscripts, operation in _elements(loop):
            if not (_is_reached(loop, buffer, outer) or in_range(load(buffer, subscripts), outer, None)):
                continue  # where nothing is added, the element may not be there
            total = self.registers.make(f"{buffer.name}_acc", buffer.dtype)
            before.append(Assign(total, (), neutral(operation, buffer.dtype)))
            behind.append(Accumulate(buffer, subscripts, operation, load(total, ())))
            body = tuple(_adding(body, buffer, total))
        inside = self.run(body, outer if extent is None else {**outer, name: extent})
        return [*before, replace(loop, body=tuple(inside)), *behind]


def _elements(loop: For) -> Iterator[Element]:
    """The elements to which a loop adds, or which it makes larger, and which it touches nowhere else."""
    if loop.kind == "parallel":
        return
    found: dict[Buffer, list[Accumulate]] = {}
    for s in statements(loop.body):
        if isinstance(s, Accumulate) and s.buffer.shape and s.buffer.dtype != "bool":
            found.setdefault(s.buffer, []).append(s)
    letters = {letter_atom(s.letter) for s in statements([loop]) if isinstance(s, For)}
    written = writes(loop)
    for buffer, adding in found.items():
        first = adding[0]
        same = all(s.operation == first.operation and _same(s.subscripts, first.subscripts) for s in adding)
        fixed = not any(letters & letters_of(p) for p in first.subscripts) and loaded(*first.subscripts).isdisjoint(
            written
        )
        if same and fixed and _alone(loop, buffer, len(adding)):
            yield buffer, first.subscripts, first.operation


def _is_reached(loop: For, buffer: Buffer, ranges: Ranges) -> bool:
    """Whether something is added to a buffer for certain: in a loop that is entered, and under no condition."""
    if not is_entered(loop, ranges):
        return False
    return any(
        _is_reached(s, buffer, ranges) if isinstance(s, For) else isinstance(s, Accumulate) and s.buffer is buffer
        for s in loop.body
    )


def _same(a: Sequence[Poly], b: Sequence[Poly]) -> bool:
    return all(x is y for x, y in zip(a, b, strict=True))


def _alone(loop: For, buffer: Buffer, count: int) -> bool:
    """Whether nothing but so many accumulations touches an array, in any of its shapes."""
    touching = [s for s in statements(loop.body) if buffer.memory in touched_itself(s)]
    return len(touching) == count and len(list(accesses(loop.body, buffer))) == count


def _adding(body: Sequence[Statement], buffer: Buffer, total: Buffer) -> Iterator[Statement]:
    for s in body:
        if isinstance(s, Accumulate) and s.buffer is buffer:
            yield Accumulate(total, (), s.operation, s.value)
        else:
            yield with_bodies(s, lambda inner: list(_adding(inner, buffer, total)))
