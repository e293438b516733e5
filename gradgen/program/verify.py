"""What a legal program is: parallel loops own what they write, values exist before they are read.

In: a `Program` from `passes.build`. Out: the violations in words; a legal program has none. Every target relies on it:
what one iteration owns may run on any thread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gradgen.errors import GradgenError
from gradgen.graph.nodes import same_shape
from gradgen.graph.scalar import Atom, Load, Poly, Scalar, atom_poly, integer, mentions, require_poly, walk
from gradgen.graph.sizes import index_atoms, nonnegative
from gradgen.program.loops import (
    PARTS,
    Accumulate,
    Assign,
    Buffer,
    Dot,
    Entry,
    For,
    If,
    Kernel,
    KernelCall,
    Parts,
    Program,
    Row,
    Statement,
    expressions,
    letter,
    reads,
    statements,
    writes,
)

Subscripts = tuple[Poly, ...]
Place = tuple[int, Poly, Poly]  # an axis, the step from one iteration to the next along it, and where iteration 0 is


def verify_program(program: Program) -> None:
    """Refuse a program that could race or read what was never written.

    Raises:
        GradgenError: a bug of gradgen, with everything that is wrong.
    """
    found = violations(program)
    if found:
        listed = "\n".join(f"  {text}" for text in found)
        raise GradgenError(f"the program of {program.name} is not legal:\n{listed}\nPlease report this with the model.")


def violations(program: Program) -> list[str]:
    """Everything that is wrong with a program, in the order of its text."""
    found: list[str] = []
    for kernel in program.kernels:
        for statement in statements(kernel.body):
            if isinstance(statement, For) and statement.kind == "parallel":
                found += [f"{kernel.name}: {text}" for text in unowned(statement)]
            elif isinstance(statement, Parts):
                found += [f"{kernel.name}: {text}" for text in shared_by_parts(statement)]
    kernels = {kernel.name: kernel for kernel in program.kernels}
    for entry in program.entries:
        found += [f"{entry.name}: {text}" for text in _undefined(program, entry, kernels)]
    return list(dict.fromkeys(found))


# ---------------------------------------------------------------- ownership


def unowned(loop: For) -> list[str]:
    """What the iterations of a loop write and other iterations reach too; nothing if they may run in any order."""
    mine = private(loop)
    found = []
    for buffer in sorted({b for s in loop.body for b in writes(s)}, key=lambda b: b.name):
        if buffer not in mine and not owns(loop, buffer):
            at = ", ".join(_shown(s) for s in dict.fromkeys(accesses(loop.body, buffer)))
            found.append(f"the parallel loop over {loop.letter} does not own what it writes of {buffer.name}: {at}")
    return found


def owns(loop: For, buffer: Buffer) -> bool:
    """Whether no iteration of a loop reaches what another one writes of a buffer."""
    inner = _inner_loops(loop)
    touched = list(dict.fromkeys(accesses(loop.body, buffer)))
    written = dict.fromkeys(_written(loop.body, buffer))
    places = {subscripts: _places(subscripts, loop.letter, inner) for subscripts in touched}
    varying = {atom_of(loop.letter), *inner}
    return all(places[a] & places[b] or _apart(a, b, varying) for a in written for b in touched)


def shared_by_parts(parts: Parts) -> list[str]:
    """What the parts of a loop write and other parts reach too: neither rows of their own, nor what iterations own."""
    loop, own = parts.loop, dict(parts.own)
    found = []
    for mine, behind in own.items():
        if not same_shape(behind.shape, (PARTS, *mine.shape)) or behind.dtype != mine.dtype:
            found.append(f"{behind.name} does not hold one {mine.name} for each part")
    for buffer in sorted({b for s in parts.body for b in writes(s)}, key=lambda b: b.name):
        if buffer in own or _is_scalar(buffer):
            continue
        outside = any(buffer in writes(s) | reads(s) for s in parts.body if s is not loop)
        if outside or not owns(loop, buffer):
            found.append(f"the parts of the loop over {loop.letter} share what they write of {buffer.name}")
    return found


def private(loop: For) -> list[Buffer]:
    """What every iteration writes before it reads it, all of it anew: each could have a copy of its own.

    Only a workspace, or a scalar variable, and only where the iteration decides no place that is written. Where it
    decides what is read, everything has been written by then.
    """
    own = atom_of(loop.letter)
    found = []
    for buffer in sorted({b for s in loop.body for b in writes(s)}, key=lambda b: b.name):
        if buffer.role not in ("work", "local") or buffer.alias_of is not None:
            continue
        if any(mentions(s, own) for subscripts in _written(loop.body, buffer) for s in subscripts):
            continue
        last = max(k for k, statement in enumerate(loop.body) if buffer in writes(statement))
        early = (x for subscripts in accesses(loop.body[: last + 1], buffer) for x in subscripts)
        if not any(mentions(x, own) for x in early) and _written_first(loop.body, buffer):
            found.append(buffer)
    return found


def accesses(body: Iterable[Statement], buffer: Buffer) -> Iterable[Subscripts]:
    """The subscripts of every read and write of a buffer; a product fixes only the leading ones."""
    for statement in statements(body):
        for x in walk(*expressions(statement)):
            if isinstance(x, Load) and x.tensor is buffer:
                yield x.subscripts
        match statement:
            case Assign() | Accumulate() if statement.buffer is buffer:
                yield statement.subscripts
            case Dot():
                for m in (statement.left, statement.right, statement.out):
                    if m.buffer is buffer:
                        yield m.fixed
                if statement.scratch is buffer:
                    yield ()


def _written(body: Iterable[Statement], buffer: Buffer) -> Iterable[Subscripts]:
    for statement in statements(body):
        match statement:
            case Assign() | Accumulate() if statement.buffer is buffer:
                yield statement.subscripts
            case Dot():
                if statement.out.buffer is buffer:
                    yield statement.out.fixed
                if statement.scratch is buffer:
                    yield ()


def _apart(a: Subscripts, b: Subscripts, varying: set[Atom]) -> bool:
    """Whether two accesses never meet, whatever the iterations: another step of a recurrence."""
    return any(
        require_poly(x - y).constant not in (None, 0) and not any(mentions(x, atom) for atom in varying)
        for x, y in zip(a, b, strict=False)
    )


def atom_of(name: str) -> Atom:
    """The loop variable itself, as it stands in subscripts."""
    return letter(name).atoms[0]


def _places(subscripts: Subscripts, name: str, inner: dict[Atom, For]) -> set[Place]:
    """For each axis along which iterations are apart: how far, and from where on."""
    own = atom_of(name)
    found: set[Place] = set()
    for axis, subscript in enumerate(subscripts):
        step = subscript.coefficient(own)
        if step is None or index_atoms(step) or step.constant == 0:
            continue
        rest = require_poly(subscript - step * atom_poly(own))
        spread, least = _spread(rest, inner)
        if least is None or any(isinstance(x, Load) for x in walk(rest)):
            continue
        if nonnegative(require_poly(step - spread - 1)) or nonnegative(require_poly(-step - spread - 1)):
            found.add((axis, step, least))
    return found


def _spread(rest: Poly, inner: dict[Atom, For]) -> tuple[Poly, Poly | None]:
    """How many places the loops inside reach beyond the first one, and that one; None where that is not known."""
    spread, least = integer(0), rest
    for atom, loop in inner.items():
        factor = rest.coefficient(atom)
        if factor is None:
            return spread, None
        if factor.constant == 0:
            continue
        start, stop = loop.start, loop.stop
        if not isinstance(start, Poly) or not isinstance(stop, Poly) or loop.stride < 1 or index_atoms(factor):
            return spread, None
        if factor.constant is None or factor.constant < 0 or start.constant is None or index_atoms(stop):
            return spread, None
        spread = require_poly(spread + factor * (stop - 1 - start))
        least = require_poly(least - factor * (atom_poly(atom) - start))
    return spread, least


def _inner_loops(loop: For) -> dict[Atom, For]:
    return {atom_of(s.letter): s for s in statements(loop.body) if isinstance(s, For)}


def _written_first(body: Sequence[Statement], buffer: Buffer) -> bool:
    """Whether no read of a buffer comes before a statement that assigns it, loops counted as entered."""
    for statement in body:
        if isinstance(statement, (For, If)):
            if any(_reads(x, buffer) for x in expressions(statement)):
                return False
            for branch in (statement.body,) if isinstance(statement, For) else (statement.then, statement.otherwise):
                if buffer in {b for s in branch for b in reads(s) | writes(s)} and not _written_first(branch, buffer):
                    return False
        elif buffer in reads(statement):
            return isinstance(statement, Dot) and statement.scratch is buffer
        if buffer in writes(statement):
            return True
    return False


def _reads(x: Scalar, buffer: Buffer) -> bool:
    return any(isinstance(part, Load) and part.tensor is buffer for part in walk(x))


def _shown(subscripts: Subscripts) -> str:
    return f"[{', '.join(str(s) for s in subscripts)}]"


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
                    self.defined.add(_memory(statement.buffer))
                case Accumulate():
                    self.read(statement)
                    self.need(statement.buffer)
                case Dot():
                    self.product(statement)
                case Parts():
                    self.parts(statement)

    def parts(self, parts: Parts) -> None:
        """A part finds nothing in its own buffers, and leaves no scalar variable."""
        self.read(parts)
        outside = set(self.defined)
        self.defined -= {mine for mine, _ in parts.own}
        self.run(parts.body)
        written = {_memory(behind) for _, behind in parts.own}
        self.defined = {b for b in self.defined if not _is_scalar(b) or b in outside} | written

    def loop(self, loop: For) -> None:
        outside = {b for b in self.defined if _is_scalar(b)}
        hidden = set(private(loop)) if loop.kind == "parallel" else set()
        if loop.kind == "parallel":
            changed = sorted({b.name for s in loop.body for b in writes(s) if b in outside and b not in hidden})
            self.found += [f"the parallel loop over {loop.letter} of {self.kernel} changes {name}" for name in changed]
        self.run(loop.body)
        self.defined = {b for b in self.defined if (not _is_scalar(b) or b in outside) and b not in hidden}

    def branches(self, choice: If) -> None:
        before = set(self.defined)
        self.run(choice.then)
        after = self.defined
        self.defined = before
        self.run(choice.otherwise)
        both = after & self.defined
        self.defined = both | {b for b in after | self.defined if not _is_scalar(b)}

    def product(self, dot: Dot) -> None:
        self.read(dot)
        self.need(dot.left.buffer)
        self.need(dot.right.buffer)
        if dot.scratch is not None:
            self.need(dot.out.buffer)
        self.defined.add(_memory(dot.out.buffer))

    def read(self, statement: Statement) -> None:
        for x in walk(*expressions(statement)):
            if isinstance(x, Load):
                self.need(x.tensor)

    def need(self, buffer: Buffer) -> None:
        empty = any(extent.constant == 0 for extent in buffer.shape)  # read in loops that never run
        if _memory(buffer) not in self.defined and not empty:
            self.found.append(f"{self.kernel} reads {buffer.name} before anything is written there")


def _undefined(program: Program, entry: Entry, kernels: dict[str, Kernel]) -> list[str]:
    """Reads of what neither the caller nor an earlier statement has written."""
    given = ("input", "param", "state", "cotangent", "one")
    arguments = {b for call in entry.kernel_calls for b in call.buffers}
    defined = {_memory(b) for b in (*entry.parameters, *arguments, *program.buffers) if _memory(b).role in given}
    defined |= _left_by(program, entry)
    found: list[str] = []
    for call in entry.kernel_calls:
        kernel = kernels[call.kernel]
        reader = _Reader(call.kernel, {_memory(own) for own, b in _passed(kernel, call) if _memory(b) in defined})
        reader.run(kernel.body)
        for own in kernel.returns:
            reader.need(own)
        found += reader.found
        for own, b in _passed(kernel, call):
            (defined.add if _memory(own) in reader.defined else defined.discard)(_memory(b))
        defined |= {b for x in call.arguments if isinstance(x, Row) for b in x.members} | set(call.results)
    found += [f"{b.name} is returned and never computed" for b in entry.returns if _memory(b) not in defined]
    return found


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
        written = {_memory(b) for s in kernel.body for b in writes(s)}
        for own, x in zip(kernel.parameters, call.arguments, strict=True):
            found |= set(x.members if isinstance(x, Row) else (x,)) if _memory(own) in written else set()
    return {_memory(b) for b in found if b.role == "saved"}


def _memory(buffer: Buffer) -> Buffer:
    return buffer.alias_of if buffer.alias_of is not None else buffer


def _is_scalar(buffer: Buffer) -> bool:
    return buffer.role == "local" and not buffer.shape


__all__ = ["accesses", "owns", "private", "unowned", "verify_program", "violations"]
