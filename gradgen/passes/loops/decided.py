"""Statements under decided conditions: branches taken, masked values gone, and what nobody reads any more.

In: the body of a loop, the conditions on indices that hold or fail in a part of it. Out: the shorter body; `bounds`
asks what is left of a loop where a condition fails.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen.graph.neutral import is_neutral
from gradgen.graph.scalar import (
    Atom,
    Call,
    Const,
    Load,
    Poly,
    Scalar,
    call,
    certain,
    is_zero,
    load,
    number,
    require_poly,
    substitute,
    typed,
    walk,
)
from gradgen.graph.sizes import is_index_only
from gradgen.passes.rebuild.conditions import decide
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Statement,
    choice,
    expressions,
    loaded,
    statements,
)
from gradgen.program.rewriting import with_expressions

CASTS = ("float32", "float64", "int32", "int64", "uint32")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known where a body stands: decided or replaced conditions, values of letters, ranges and inequalities."""

    conditions: Mapping[Scalar, Scalar] = field(default_factory=dict)
    letters: Mapping[Atom, Poly] = field(default_factory=dict)
    ranges: Mapping[Atom, Poly] = field(default_factory=dict)
    facts: tuple[Poly, ...] = ()


def simplified(body: Sequence[Statement], known: Known, outside: frozenset[Buffer]) -> tuple[Statement, ...]:
    """The body where this is known. Scalar variables that are not used `outside` go when nothing reads them."""
    once = _assigned_once(body) - outside
    return without_dead_locals(_Simplifier(known, once).run(body), outside)


# ---------------------------------------------------------------- statements


@dataclass(slots=True)
class _Simplifier:
    known: Known
    once: frozenset[Buffer]
    values: dict[Buffer, Scalar] = field(default_factory=dict)  # of variables that became copies or numbers
    masked: set[Buffer] = field(default_factory=set)  # variables that are the 0 of a mask

    def run(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for statement in body:
            match statement:
                case For():
                    start, stop = self.value(statement.start)[0], self.value(statement.stop)[0]
                    inner = self.run(statement.body)
                    if inner:
                        found.append(replace(statement, start=start, stop=stop, body=inner))
                case If():
                    condition = self.value(statement.condition)[0]
                    if isinstance(condition, Const):
                        found += self.run(statement.then if condition.value else statement.otherwise)
                    else:
                        then, otherwise = self.run(statement.then), self.run(statement.otherwise)
                        found += choice(condition, then, otherwise)
                case Assign() | Accumulate():
                    value, masked = self.value(statement.value)
                    if isinstance(statement, Accumulate) and _is_nothing(statement, value):
                        continue
                    subscripts = tuple(require_poly(self.value(s)[0]) for s in statement.subscripts)
                    found.append(replace(statement, subscripts=subscripts, value=value))
                    if statement.buffer in self.once and (masked or self._is_plain(value, statement.value)):
                        self.values[statement.buffer] = value
                        self.masked |= {statement.buffer} if masked else set()
                case Dot() | Contract():
                    found.append(with_expressions(statement, lambda x: self.value(x)[0]))
                case _:
                    found.append(statement)
        return tuple(found)

    def _is_plain(self, value: Scalar, before: Scalar) -> bool:
        """Whether a value has become a number, or the value of another variable that never changes."""
        is_plain = isinstance(_bare(value), Const) or (isinstance(value, Load) and value.tensor in self.once)
        return is_plain and value is not before

    def value(self, root: Scalar) -> tuple[Scalar, bool]:
        """The expression as it is here, and whether it is a 0 that a mask leaves."""
        built: dict[Scalar, Scalar] = {}
        masked: set[Scalar] = set()
        for x in walk(root):
            match x:
                case Call():
                    new, gone = self.call(x, built, masked)
                case Load():
                    new, gone = load(x.tensor, [require_poly(built[s]) for s in x.subscripts]), False
                    if x.tensor in self.values:
                        new, gone = self.values[x.tensor], x.tensor in self.masked
                case Poly():
                    new, gone = require_poly(substitute(x, self.known.letters)) if self.known.letters else x, False
                case _:
                    new, gone = x, False
            built[x] = new
            if gone:
                masked.add(x)
        return built[root], root in masked

    def call(self, x: Call, built: Mapping[Scalar, Scalar], masked: set[Scalar]) -> tuple[Scalar, bool]:
        if x in self.known.conditions:
            return self.known.conditions[x], False
        name, arguments = x.function.name, x.arguments
        new = [built[a] for a in arguments]
        if name == "where" and isinstance(new[0], Const):
            taken = 1 if new[0].value else 2
            value = typed(new[taken], x.dtype)
            return value, is_zero(value) and (arguments[taken] in masked or is_index_only(arguments[0]))
        if all(a is b for a, b in zip(new, arguments, strict=True)):
            return (decide(x, self.known.ranges, self.known.facts) if x.dtype == "bool" else x), False
        gone = [a in masked for a in arguments]
        zero = typed(number(0), x.dtype)
        match name:
            case "mul" if any(gone):
                return zero, True
            case "div" if gone[0]:
                return zero, True
            case "neg" if gone[0]:
                return zero, True
            case _ if name in CASTS and gone[0]:
                return zero, True
            case "add" if any(gone):
                return (zero, True) if all(gone) else (typed(new[1] if gone[0] else new[0], x.dtype), False)
            case "sub" if any(gone):
                left = new[0] if not gone[0] else call("neg", new[1])
                return (zero, True) if all(gone) else (typed(left, x.dtype), False)
            case "where" if gone[1] and gone[2]:
                return zero, True
            case "exp" if _is_minus_infinity(new[0]):
                return zero, True
            case "or" if isinstance(new[0], Const):
                return (new[0] if new[0].value else new[1]), False
        made = call(name, *new)
        return (decide(made, self.known.ranges, self.known.facts) if made.dtype == "bool" else made), False


def _bare(x: Scalar) -> Scalar:
    while isinstance(x, Call) and x.function.name in CASTS:
        x = x.arguments[0]
    return x


def _is_minus_infinity(x: Scalar) -> bool:
    x = _bare(x)
    return isinstance(x, Const) and x.value == -math.inf


def _is_nothing(statement: Accumulate, value: Scalar) -> bool:
    """Whether an accumulation of this value changes nothing."""
    return is_neutral(statement.operation, value, statement.buffer.dtype)


# ---------------------------------------------------------------- variables


def mentioned(body: Iterable[Statement]) -> frozenset[Buffer]:
    """The memory that statements read or write, headers of loops included."""
    found: set[Buffer] = set()
    for statement in statements(body):
        found |= loaded(*expressions(statement))
        if isinstance(statement, (Assign, Accumulate)):
            found.add(statement.buffer.memory)
    return frozenset(found)


def _assigned_once(body: Sequence[Statement]) -> frozenset[Buffer]:
    """The scalar variables with a single assignment, in front of everything that reads them, and no accumulation."""
    at_top = [s.buffer for s in body if isinstance(s, Assign) and s.buffer.is_variable]
    everywhere = [s.buffer for s in statements(body) if isinstance(s, (Assign, Accumulate))]
    return frozenset(b for b in at_top if sum(b is other for other in everywhere) == 1)


def without_dead_locals(body: Sequence[Statement], outside: frozenset[Buffer]) -> tuple[Statement, ...]:
    """Without the scalar variables that only this body mentions and nothing in it reads, and without empty loops."""
    while True:
        read = {x.tensor for s in statements(body) for x in walk(*expressions(s)) if isinstance(x, Load)}
        new = tuple(_without(body, read | outside))
        if sum(1 for _ in statements(new)) == sum(1 for _ in statements(body)):
            return new
        body = new


def _without(body: Iterable[Statement], needed: set[Buffer] | frozenset[Buffer]) -> list[Statement]:
    found: list[Statement] = []
    for statement in body:
        match statement:
            case For():
                inner = tuple(_without(statement.body, needed))
                if inner:
                    found.append(replace(statement, body=inner))
            case Assign() | Accumulate() if statement.buffer.is_variable and statement.buffer not in needed:
                continue
            case _:
                found.append(statement)
    return found


def with_first_terms(body: Sequence[Statement]) -> list[Statement]:
    """total = 0; total += x becomes total = x."""
    found: list[Statement] = []
    for statement in body:
        at = _start_of(statement, found) if isinstance(statement, Accumulate) else None
        if at is not None and isinstance(statement, Accumulate):
            del found[at]
            value = statement.value
            if value.dtype == "bool":  # which would be counted by `or`
                value = call(statement.buffer.dtype, value)
            found.append(Assign(statement.buffer, statement.subscripts, value))
        else:
            found.append(statement)
    return found


def _start_of(term: Accumulate, before: Sequence[Statement]) -> int | None:
    """Where an accumulation starts from nothing, if no statement comes between that has to do with it."""
    for k in reversed(range(len(before))):
        s = before[k]
        if isinstance(s, Assign) and s.buffer is term.buffer:
            same = all(a is b for a, b in zip(s.subscripts, term.subscripts, strict=True))
            return k if same and _is_nothing(term, s.value) and not _reads(term, s.buffer) else None
        if term.buffer.memory in mentioned([s]) or isinstance(s, (Dot, Contract)):
            return None
    return None


def _reads(statement: Accumulate, buffer: Buffer) -> bool:
    return buffer.memory in loaded(statement.value, *statement.subscripts)


def certain_parts(statement: Statement) -> Iterable[Scalar]:
    """The expressions that a statement evaluates whenever it runs, wholes first: no branch of a `where`."""
    return certain(*expressions(statement)) if isinstance(statement, (Assign, Accumulate, If, For)) else ()


def size(body: Iterable[Statement]) -> int:
    return sum(1 for _ in statements(body))
