"""What a legal program is: loops own what they write, values exist before they are read, accesses stay inside.

In: a `Program` from `passes.lower.entries`. Out: the violations in words; a legal program has none. Every target relies
on it: what one iteration owns may run on any thread.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from gradgen.errors import ProgramError
from gradgen.graph.scalar import Load, Poly, require_poly, walk
from gradgen.program.kernels import (
    Entry,
    Kernel,
    KernelCall,
    Program,
    Row,
)
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Note,
    Parts,
    Statement,
    bodies,
    expressions,
    statements,
    writes,
)
from gradgen.program.ownership import private, shared_by_parts, shared_wrongly, unowned
from gradgen.program.reach import Proved, strays


@dataclass(slots=True)
class Seen:
    """What one compilation has found legal or proved already: most passes leave most of a program as it is."""

    loops: dict[int, tuple[Statement, list[str]]] = field(
        default_factory=dict
    )  # by identity; a statement is kept alive
    proofs: Proved = field(default_factory=dict)
    readers: "Readers" = field(default_factory=dict)


def verify_program(program: Program, merged: Program | None = None, seen: Seen | None = None) -> None:
    """Refuse a program that could race, read what was never written, or reach past the end of an array.

    `merged` is the same program with equal functions once, if that is there already: as many loops are walked through.

    Raises:
        ProgramError: a bug of gradgen, with everything that is wrong.
    """
    found = violations(program, merged, seen)
    if found:
        listed = "\n".join(f"  {text}" for text in found)
        raise ProgramError(f"the program of {program.name} is not legal:\n{listed}\nPlease report this with the model.")


def verify_statements(body: Sequence[Statement], where: str, seen: Seen | None = None) -> None:
    """Refuse statements whose loops promise too much.

    Raises:
        ProgramError: a bug of gradgen, with everything that is wrong.
    """
    found = [f"  {text}" for text in dict.fromkeys(wrong_loops(body, seen or Seen()))]
    if found:
        raise ProgramError("\n".join([f"{where} is not legal:", *found, "Please report this with the model."]))


def violations(program: Program, merged: Program | None = None, seen: Seen | None = None) -> list[str]:
    """Everything that is wrong with a program, in the order of its text.

    What functions do by themselves, and in which order, `merged` tells. Whether accesses stay inside depends on what
    other functions have written to the very arrays, which only functions tell that have not been merged.
    """
    whole = program if merged is None else merged
    seen = seen or Seen()
    found: list[str] = []
    for kernel in whole.kernels:
        found += [f"{kernel.name}: {text}" for text in wrong_loops(kernel.body, seen)]
    found += strays(program, seen.proofs)
    kernels = {kernel.name: kernel for kernel in whole.kernels}
    for entry in whole.entries:
        found += [f"{entry.name}: {text}" for text in _undefined(whole, entry, kernels, seen.readers)]
    return list(dict.fromkeys(found))


def wrong_loops(body: Sequence[Statement], seen: Seen) -> Iterator[str]:
    """The loops whose iterations reach what is not theirs, although they may run in any order."""
    for statement in body:
        if id(statement) not in seen.loops:
            found = [text for inner in statements([statement]) for text in _wrong(inner)]
            seen.loops[id(statement)] = statement, [*found, *_shadowed([statement], frozenset())]
        yield from seen.loops[id(statement)][1]


def _wrong(statement: Statement) -> Iterator[str]:
    match statement:
        case For():
            yield from unowned(statement) if statement.kind == "parallel" else ()
            yield from shared_wrongly(statement) if statement.shared is not None else ()
        case Parts():
            yield from shared_by_parts(statement)


def _shadowed(body: Sequence[Statement], around: frozenset[str]) -> Iterator[str]:
    """The loops inside loops of the same letter, which take its value from what stands behind them."""
    for statement in body:
        inside = around
        if isinstance(statement, For):
            if statement.letter in around:
                yield f"a loop over {statement.letter} is inside of another one"
            inside = around | {statement.letter}
        yield from _shadowed(bodies(statement), inside)


# ---------------------------------------------------------------- written before read


@dataclass(slots=True)
class _Reader:
    """Walks one kernel in the order of its text; `defined` is what holds a value."""

    kernel: str
    defined: set[Buffer]
    found: list[str] = field(default_factory=list)

    def run(self, body: Sequence[Statement]) -> None:
        for statement in body:
            match statement:
                case For():
                    self.read(statement)
                    self.loop(statement)
                case If():
                    self.read(statement)
                    self.branches(statement)
                case Assign():
                    self.read(statement)
                    self.defined.add(statement.buffer.memory)
                case Accumulate():
                    self.read(statement)
                    self.need(statement.buffer)
                case Dot() | Contract():
                    self.product(statement)
                case Parts():
                    self.parts(statement)
                case Note():
                    pass
                case _:
                    assert_never(statement)

    def parts(self, parts: Parts) -> None:
        """A part finds nothing in its own buffers, and leaves no scalar variable."""
        self.read(parts)
        outside = set(self.defined)
        self.defined -= {mine for mine, _ in parts.own}
        self.run(parts.body)
        written = {behind.memory for _, behind in parts.own}
        self.defined = {b for b in self.defined if not b.is_variable or b in outside} | written

    def loop(self, loop: For) -> None:
        outside = {b for b in self.defined if b.is_variable}
        hidden = set(private(loop)) if loop.kind == "parallel" else set()
        hidden |= set() if loop.shared is None else {*loop.shared.own}
        if loop.kind == "parallel":
            changed = sorted({b.name for s in loop.body for b in writes(s) if b in outside and b not in hidden})
            self.found += [f"the parallel loop over {loop.letter} of {self.kernel} changes {name}" for name in changed]
        self.run(loop.body)
        self.defined = {b for b in self.defined if (not b.is_variable or b in outside) and b not in hidden}

    def branches(self, choice: If) -> None:
        before = set(self.defined)
        self.run(choice.then)
        after = self.defined
        self.defined = before
        self.run(choice.otherwise)
        both = after & self.defined
        self.defined = both | {b for b in after | self.defined if not b.is_variable}

    def product(self, product: Dot | Contract) -> None:
        self.read(product)
        self.need(product.left.buffer)
        self.need(product.right.buffer)
        if isinstance(product, Dot) and product.scratch is not None:
            self.need(product.out.buffer)
        self.defined.add(product.out.buffer.memory)
        for m in (product.left, product.right, product.out) if isinstance(product, Dot) else ():
            if len(m.fixed) == len(m.buffer.shape):
                self.found.append(f"{self.kernel} takes a number of {m.buffer.name} for a matrix")
        for x in (product.left, product.right):
            other = x.buffer is product.out.buffer and _are_other_rows(x.fixed, product.out.fixed)
            if x.buffer.memory is product.out.buffer.memory and not other:
                self.found.append(f"{self.kernel} multiplies {x.buffer.name} into itself")

    def read(self, statement: Statement) -> None:
        for x in walk(*expressions(statement)):
            if isinstance(x, Load):
                self.need(x.tensor)

    def need(self, buffer: Buffer) -> None:
        empty = any(extent.constant == 0 for extent in buffer.shape)  # read in loops that never run
        if buffer.memory not in self.defined and not empty:
            self.found.append(f"{self.kernel} reads {buffer.name} before anything is written there")


# By the name of a kernel, the identity of its statements, which are kept alive, what it returns, and what holds a value
# when it is called.
Readers = dict[tuple[str, int, tuple[Buffer, ...], frozenset[Buffer]], tuple[tuple[Statement, ...], _Reader]]


def _undefined(program: Program, entry: Entry, kernels: dict[str, Kernel], known: Readers) -> list[str]:
    """Reads of what neither the caller nor an earlier statement has written."""
    given = ("input", "param", "state", "constant", "cotangent", "one")
    arguments = {b for call in entry.kernel_calls for b in call.buffers}
    defined = {b.memory for b in (*entry.parameters, *arguments, *program.buffers) if b.memory.role in given}
    defined |= _left_by(program, entry)
    found: list[str] = []
    for call in entry.kernel_calls:
        kernel = kernels[call.kernel]
        reader = _read(kernel, {own.memory for own, b in _passed(kernel, call) if b.memory in defined}, known)
        found += reader.found
        for own, b in _passed(kernel, call):
            (defined.add if own.memory in reader.defined else defined.discard)(b.memory)
        defined |= {b for x in call.arguments if isinstance(x, Row) for b in x.members} | set(call.results)
    found += [f"{b.name} is returned and never computed" for b in entry.returns if b.memory not in defined]
    return found


def _read(kernel: Kernel, defined: set[Buffer], known: Readers) -> _Reader:
    """The kernel walked through, once for all calls that find the same."""
    key = (kernel.name, id(kernel.body), kernel.returns, frozenset(defined))
    if key not in known:
        reader = _Reader(kernel.name, defined)
        reader.run(kernel.body)
        for own in kernel.returns:
            reader.need(own)
        known[key] = kernel.body, reader
    return known[key][1]


def _passed(kernel: Kernel, call: KernelCall) -> list[tuple[Buffer, Buffer]]:
    """What the parameters of a kernel stand for in a call: of a row, its buffer in the first repetition."""
    given = (x.members[0] if isinstance(x, Row) else x for x in call.arguments)
    return list(zip(kernel.parameters, given, strict=True))


def _left_by(program: Program, entry: Entry) -> set[Buffer]:
    """The saved values that an earlier entry leaves in the workspace."""
    if entry.name != "backward":
        return set()
    kernels = {kernel.name: kernel for kernel in program.kernels}
    calls = [call for e in program.entries if e.name == "forward" for call in e.kernel_calls]
    found: set[Buffer] = set()
    for call in calls:
        kernel = kernels[call.kernel]
        written = {b.memory for s in kernel.body for b in writes(s)}
        for own, x in zip(kernel.parameters, call.arguments, strict=True):
            found |= set(x.members if isinstance(x, Row) else (x,)) if own.memory in written else set()
    return {b.memory for b in found if b.role == "saved"}


__all__ = ["verify_program", "verify_statements", "violations"]


def _are_other_rows(a: Sequence[Poly], b: Sequence[Poly]) -> bool:
    """Whether two matrices lie in different rows of a stack, whatever the indices are."""
    return any(require_poly(x - y).constant not in (None, 0) for x, y in zip(a, b, strict=False))
