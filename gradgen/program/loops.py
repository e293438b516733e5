"""The second representation: buffers and a handful of statements. Both targets print the same ones.

In: what `passes.lower.statements` writes. Out: what `program.verify` checks and `emit` prints. Expressions are scalar
bodies whose accesses go to buffers and whose indices are named loop variables.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from gradgen.graph.intern import digest_of, intern
from gradgen.graph.neutral import neutral
from gradgen.graph.nodes import Shape
from gradgen.graph.scalar import FLOATS, Letter, Poly, Scalar, atom_poly, call, loads

Role = Literal[
    "input", "param", "state", "constant", "output", "saved", "work", "cotangent", "gradient", "local", "one"
]
LoopKind = Literal["parallel", "serial", "reduce"]
Operation = Literal["sum", "max", "min"]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Buffer:
    """Memory with a name; `local` is what a thread has for itself: a variable, or with axes a small array.

    `alias_of` marks another shape of a buffer.

    Role `one` is no memory but the number 1, the cotangent that a gradient starts from.
    """

    name: str
    shape: Shape
    dtype: str
    role: Role
    alias_of: "Buffer | None" = None

    @property
    def digest(self) -> str:
        return digest_of("buffer", self.name, self.dtype)

    @property
    def memory(self) -> "Buffer":
        """The array that holds the elements: who writes one of its shapes writes them all."""
        return self if self.alias_of is None else self.alias_of

    @property
    def is_variable(self) -> bool:
        """Whether it is a scalar variable of a function."""
        return self.role == "local" and not self.shape

    @property
    def is_thread_array(self) -> bool:
        """Whether it is an array that one thread has for itself: no function takes it."""
        return self.role == "local" and bool(self.shape)

    @property
    def by_value(self) -> bool:
        """Whether the emitted code passes a scalar instead of an array; another shape of an array is an array."""
        return not self.shape and self.alias_of is None and self.role in ("local", "input", "cotangent", "one")


ONE = {dtype: Buffer("1", (), dtype, "one") for dtype in FLOATS}


@dataclass(frozen=True, slots=True)
class Sum:
    """What the iterations of a loop put into a buffer by one operation, which does nothing else with it."""

    buffer: Buffer
    operation: Operation

    @property
    def first(self) -> Scalar:
        """The value that an accumulation begins with, if it begins anew."""
        return neutral(self.operation, self.buffer.dtype)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How several threads may run the iterations of a loop, each some of them: `own` is what each needs for itself.

    What is in `sums` they sum up apart, and then together; whatever else is written belongs to one iteration.
    """

    own: tuple[Buffer, ...]
    sums: tuple[Sum, ...] = ()


@dataclass(frozen=True, slots=True)
class For:
    """for letter in range(start, stop, stride): body. The letter stays below `within`, the axis it runs through."""

    letter: str
    start: Scalar
    stop: Scalar
    kind: LoopKind
    body: tuple["Statement", ...]
    stride: int = 1
    within: Poly | None = None
    shared: Sharing | None = None  # among threads, once `place` has decided it


@dataclass(frozen=True, slots=True)
class Assign:
    """buffer[subscripts] = value; a local of rank 0 is defined by its first assignment."""

    buffer: Buffer
    subscripts: tuple[Poly, ...]
    value: Scalar


@dataclass(frozen=True, slots=True)
class Accumulate:
    """buffer[subscripts] = buffer[subscripts] + value, or the larger or smaller of the two (the first nan wins)."""

    buffer: Buffer
    subscripts: tuple[Poly, ...]
    operation: Operation
    value: Scalar


@dataclass(frozen=True, slots=True)
class If:
    condition: Scalar
    then: tuple["Statement", ...]
    otherwise: tuple["Statement", ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix in a buffer: `fixed` subscripts of its leading axes, the rest folded into rows x columns.

    `window` is the part (start, count) of the first axis that is not fixed, None for all of it. `transposed` says that
    the buffer holds columns x rows.
    """

    buffer: Buffer
    fixed: tuple[Poly, ...]
    rows: Poly
    columns: Poly
    transposed: bool = False
    window: tuple[Poly, Poly] | None = None

    @property
    def is_folded(self) -> bool:
        """Whether the axes that are not fixed are others than rows and columns."""
        rest = self.buffer.shape[len(self.fixed) :]
        if self.window is not None:
            rest = (self.window[1], *rest[1:])
        return len(rest) != 2 or rest[0] is not (self.columns if self.transposed else self.rows)


@dataclass(frozen=True, slots=True)
class Dot:
    """out = left @ right, or out += left @ right through `scratch`.

    `adding` are names for this: of the matrix that is added to, of a row, of a column.
    """

    left: Matrix
    right: Matrix
    out: Matrix
    scratch: Buffer | None = None
    adding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Indexed:
    """buffer[fixed, subscripts]: elements of an array by the letters of a contraction, which `fixed` does not have.

    Subscripts are sums of numbers and of letters times numbers.
    """

    buffer: Buffer
    fixed: tuple[Poly, ...]
    subscripts: tuple[Poly, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """out = 0, then out += left * right for all values of the letters for which the three elements are there.

    Each letter runs from 0 up to its extent. A target makes loops, tiles or products in registers of it.
    """

    letters: tuple[tuple[str, Poly], ...]
    out: Indexed
    left: Indexed
    right: Indexed


@dataclass(frozen=True, slots=True)
class Parts:
    """The iterations 0 .. extent of one loop in parts, for threads to share: `body` is a part, from `first` to `last`.

    Of each buffer in `own` a part has its own: row `part` of the array behind it. The first axis of that is `count`
    long, the number of parts, which is fixed when the workspace is made. Scalars that the body assigns are a part's
    own, whatever has their names outside.
    """

    extent: Poly
    body: tuple["Statement", ...]
    own: tuple[tuple[Buffer, Buffer], ...]
    count: Poly
    part: str
    first: str
    last: str

    @property
    def loop(self) -> For:
        """The loop that is divided."""
        return next(s for s in self.body if isinstance(s, For) and s.start is letter(self.first))


@dataclass(frozen=True, slots=True)
class Note:
    """A comment: the formula of `name`, behind the user's line that it comes from, or any other text."""

    text: str
    name: str = ""
    lines: str = ""

    @property
    def shown(self) -> str:
        return f"{self.lines}: {self.text}" if self.lines else self.text


Statement = For | Assign | Accumulate | If | Dot | Contract | Parts | Note


def letter(name: str) -> Poly:
    """A named loop variable as an integer expression."""
    return atom_poly(letter_atom(name))


def letter_atom(name: str) -> Letter:
    """The loop variable itself, as it stands in polynomials."""
    return intern(Letter, name, 0, None, f"letter {name}")


def expressions(statement: Statement) -> tuple[Scalar, ...]:
    """The expressions that a statement evaluates itself (not those of its body)."""
    match statement:
        case For():
            return (statement.start, statement.stop)
        case Parts():
            return (statement.extent,)
        case Assign() | Accumulate():
            return (*statement.subscripts, statement.value)
        case If():
            return (statement.condition,)
        case Dot():
            matrices = (statement.left, statement.right, statement.out)
            return tuple(p for m in matrices for p in (*m.fixed, *(m.window or ())))
        case Contract():
            return tuple(p for x in (statement.out, statement.left, statement.right) for p in x.fixed)
        case Note():
            return ()
        case _:
            assert_never(statement)


def bodies(statement: Statement) -> tuple["Statement", ...]:
    match statement:
        case For() | Parts():
            return statement.body
        case If():
            return (*statement.then, *statement.otherwise)
        case Assign() | Accumulate() | Dot() | Contract() | Note():
            return ()
        case _:
            assert_never(statement)


def statements(roots: Iterable[Statement]) -> Iterator[Statement]:
    """Every statement, outer ones first."""
    for statement in roots:
        yield statement
        yield from statements(bodies(statement))


def loaded(*roots: Scalar) -> set[Buffer]:
    """The memory that expressions read."""
    return {x.tensor.memory for x in loads(*roots)}


def reads(statement: Statement) -> set[Buffer]:
    """The memory that a statement or its body reads; what it updates counts too."""
    return _behind(statement, set[Buffer]().union(*map(_read_itself, statements([statement]))))


def writes(statement: Statement) -> set[Buffer]:
    """The memory that a statement or its body writes."""
    return _behind(statement, set[Buffer]().union(*map(_written_itself, statements([statement]))))


def touched(body: Iterable[Statement], found: dict[int, set[Buffer]] | None = None) -> dict[int, set[Buffer]]:
    """By the id of every statement, however deep inside, the memory that it or its body reads or writes."""
    found = {} if found is None else found
    for s in body:
        inside = bodies(s)
        touched(inside, found)
        mine = touched_itself(s).union(*(found[id(x)] for x in inside))
        found[id(s)] = _behind(s, mine)
    return found


def touched_itself(statement: Statement) -> set[Buffer]:
    """The memory that a statement reads or writes, its body left out."""
    return _read_itself(statement) | _written_itself(statement)


def _read_itself(statement: Statement) -> set[Buffer]:
    found = loaded(*expressions(statement))
    if isinstance(statement, Accumulate):
        found.add(statement.buffer.memory)
    if isinstance(statement, (Dot, Contract)):
        found |= {statement.left.buffer.memory, statement.right.buffer.memory}
    if isinstance(statement, Dot) and statement.scratch is not None:
        found.add(statement.out.buffer.memory)
    return found


def _written_itself(statement: Statement) -> set[Buffer]:
    if isinstance(statement, (Assign, Accumulate)):
        return {statement.buffer.memory}
    if isinstance(statement, Dot) and statement.scratch is not None:
        return {statement.out.buffer.memory, statement.scratch}
    return {statement.out.buffer.memory} if isinstance(statement, (Dot, Contract)) else set()


def _behind(statement: Statement, buffers: set[Buffer]) -> set[Buffer]:
    """The buffers, with the arrays of all parts in place of what a part has for itself."""
    return {dict(statement.own).get(b, b) for b in buffers} if isinstance(statement, Parts) else buffers


def choice(condition: Scalar, then: tuple[Statement, ...], otherwise: tuple[Statement, ...]) -> list[Statement]:
    """if condition: then, else: otherwise, of which nothing may be left."""
    if then:
        return [If(condition, then, otherwise)]
    return [If(call("not", condition), otherwise)] if otherwise else []


def side_by_side(independent: Iterable[Statement]) -> list[Statement]:
    """The same statements, with loops over the same axes, one behind the other, as one nest of loops."""
    found: list[Statement] = []
    for s in independent:
        last = found[-1] if found else None
        if isinstance(s, For) and isinstance(last, For) and _is_same_loop(s, last):
            found[-1] = replace(last, body=tuple(side_by_side([*last.body, *s.body])))
        else:
            found.append(s)
    return found


def _is_same_loop(a: For, b: For) -> bool:
    same = a.start is b.start and a.stop is b.stop and a.within is b.within
    return same and (a.letter, a.kind, a.stride) == (b.letter, b.kind, b.stride)
