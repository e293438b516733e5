"""Loop-invariant accesses and costly expressions leave their loops: the text says what is evaluated once.

In: statements of `lower`. Out: statements in which no inner loop reads memory at subscripts that do not change with
it (compilers cannot move such a load past a store that might alias it), nor divides or calls a function of what does
not change; `cut_kernels` cuts them into functions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from gradgen.graph.scalar import (
    FLOATS,
    Atom,
    Call,
    FloorDiv,
    Letter,
    Load,
    Poly,
    Scalar,
    SizeSymbol,
    as_poly,
    load,
    require_poly,
    rewrite,
    walk,
)
from gradgen.graph.sizes import nonnegative, reads_data, size_names
from gradgen.machine import machine
from gradgen.passes.loops.bounds import known_extent
from gradgen.passes.loops.decided import certain_parts
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    If,
    Statement,
    letter_atom,
    loaded,
    statements,
    writes,
)
from gradgen.program.registers import Registers, element_name, value_name
from gradgen.program.rewriting import with_bodies, with_expressions

Ranges = Mapping[Atom, Poly]


def hoist(body: Sequence[Statement], registers: Registers) -> list[Statement]:
    """Move every access and every costly expression out of the loops that it does not depend on."""
    return _Hoister(registers).run(body, {})


@dataclass(slots=True)
class _Hoister:
    registers: Registers

    def run(self, body: Sequence[Statement], ranges: Ranges) -> list[Statement]:
        found: list[Statement] = []
        ready: dict[Scalar, Buffer] = {}  # what stands in a variable already
        for statement in body:
            match statement:
                case For():
                    found += self.loop(statement, ranges, ready)
                case If():
                    found.append(with_bodies(statement, lambda body: self.run(body, ranges)))
                case _:
                    found.append(replaced(statement, {x: load(b, ()) for x, b in ready.items()}))
            written = writes(statement)
            ready = {x: b for x, b in ready.items() if b not in written and loaded(x).isdisjoint(written)}
        return found

    def loop(self, loop: For, ranges: Ranges, ready: dict[Scalar, Buffer]) -> list[Statement]:
        """The statements that a loop does not need to repeat, and the loop without them."""
        extent = known_extent(loop)
        name = letter_atom(loop.letter)
        outer = {a: r for a, r in ranges.items() if a is not name}
        body = self.run(loop.body, outer if extent is None else {**outer, name: extent})
        always = is_entered(loop, outer)
        entered = sizes_entered(loop)
        before: list[Statement] = []

        def may_move(x: Scalar, written: set[Buffer]) -> bool:
            if name in letters_of(x) or not loaded(x).isdisjoint(written):
                return False
            reads = (part for part in walk(x) if isinstance(part, Load))
            return always or all(in_range(part, outer, entered) for part in reads)

        moved = True
        while moved:
            written = writes(replace(loop, body=tuple(body)))
            moved = False
            for k, s in enumerate(body):
                if isinstance(s, Assign) and _is_only_writer(s, body) and may_move(s.value, written):
                    before.append(body.pop(k))
                    moved = True
                    break

        def take(x: Scalar, name: str) -> None:
            nonlocal body
            register = ready.get(x)
            if register is None:
                register = ready[x] = self.registers.make(name, x.dtype)
                before.append(Assign(register, (), x))
            body = [replaced(s, {x: load(register, ())}) for s in body]

        written = writes(replace(loop, body=tuple(body)))
        while (access := next((x for s in body for x in _loads(s) if may_move(x, written)), None)) is not None:
            take(access, element_name(access))
        while (costly := next((c for s in body for c in _costly(s, lambda x: may_move(x, written))), None)) is not None:
            take(*costly)
        return [*before, replace(loop, body=tuple(body))] if body else before


def _is_only_writer(s: Assign, body: Iterable[Statement]) -> bool:
    """Whether a scalar variable gets its value here and nowhere else in a body."""
    writers = [x for x in statements(body) if isinstance(x, (Assign, Accumulate)) and x.buffer is s.buffer]
    return s.buffer.is_variable and len(writers) == 1


def is_entered(loop: For, ranges: Ranges) -> bool:
    """Whether a loop runs at least once: an access inside is then in range in front of it."""
    start, stop = as_poly(loop.start), as_poly(loop.stop)
    if start is None or stop is None:
        return False
    if loop.stride < 0:
        start, stop = stop, start
    return nonnegative(require_poly(stop - start - 1), ranges)


def sizes_entered(loop: For) -> Set[str] | None:
    """The sizes of the axis that a loop is over, if it is over a whole one; that may be empty."""
    start, stop = as_poly(loop.start), as_poly(loop.stop)
    if start is None or stop is None:
        return None
    if loop.stride < 0:
        start, stop = stop, start
    whole = all(isinstance(a, (SizeSymbol, FloorDiv)) for a in stop.atoms)
    is_whole = start.constant in (0, -1) and whole and not letters_of(stop)
    return set(size_names(loop.stop)) if is_whole else None


def in_range(access: Load, ranges: Ranges, entered: Set[str] | None) -> bool:
    """Whether an access stays inside in front of a loop over a whole axis of the sizes `entered`, or of another loop.

    Data are checked before a call. Other indices decide alone whether they are inside, unless the axis has a size that
    is positive only because the loop is entered.
    """

    def is_decided(s: Poly, extent: Poly) -> bool:
        if entered is None:
            return False
        return reads_data(s) or (bool(letters_of(s)) and entered.isdisjoint(size_names(extent)))

    return all(
        is_decided(s, extent) or (nonnegative(s, ranges) and nonnegative(require_poly(extent - s - 1), ranges))
        for s, extent in zip(access.subscripts, access.tensor.shape, strict=True)
    )


# ---------------------------------------------------------------- what can move


def _loads(statement: Statement) -> Iterator[Load]:
    """The accesses to arrays, those in subscripts first."""
    certain = [x for x in certain_parts(statement) if isinstance(x, Load) and x.subscripts]
    yield from reversed(certain)


def _costly(statement: Statement, movable: Callable[[Scalar], bool]) -> Iterator[tuple[Scalar, str]]:
    """The largest movable expressions that divide or call a function, each with a name for its value."""
    if not isinstance(statement, (Assign, Accumulate)):
        return
    for x in certain_parts(statement):
        if isinstance(x, Call) and x.dtype in FLOATS and _is_costly(x) and movable(x):
            yield x, value_name(x) or f"{statement.buffer.name}_factor"


def _is_costly(x: Call) -> bool:
    """Whether a value that is only known at run time is divided by, or put into a function."""
    costly = (part for part in walk(x) if isinstance(part, Call) and part.function.cost >= machine().costly)
    return any(isinstance(p, (Load, Poly)) for part in costly for p in walk(part))


def letters_of(x: Scalar) -> set[Atom]:
    """The loop variables that an expression mentions."""
    return {a for part in walk(x) if isinstance(part, Poly) for a in part.atoms if isinstance(a, Letter)}


# ---------------------------------------------------------------- replacing


def replaced(statement: Statement, registers: Mapping[Scalar, Load]) -> Statement:
    """The statement with values read from their variables."""

    def new(x: Scalar) -> Scalar:
        return rewrite(x, registers.get, lambda atom: None) if any(part in registers for part in walk(x)) else x

    inner = with_bodies(statement, lambda body: [replaced(s, registers) for s in body])
    return with_expressions(inner, new)
