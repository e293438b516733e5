"""A line that would not fit becomes two named values.

In: the statements of a function and how long each would print. Out: the same values from shorter statements: the
expression that splits the line best becomes a variable in front of it, if it is evaluated in any case; the branches of
a long `where` become those of an `if`. The printers call this before they print.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from gradgen.graph.scalar import FLOATS, Call, Load, Poly, Scalar, children, load, require_poly, rewrite, walk
from gradgen.graph.sizes import is_index_only
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    If,
    Statement,
    expressions,
)
from gradgen.program.registers import Registers, as_branches
from gradgen.program.rewriting import with_bodies

_PART = re.compile(r"_(factor|term|value|test)(_\d+)?$")  # what the name of a part of a statement ends with
LIMIT = 110  # letters in a line, indent included

Width = Callable[[Statement, int], int]  # of the first line of a statement at an indent


def fit_lines(body: Sequence[Statement], width: Width, taken: Iterable[str], indent: int) -> list[Statement]:
    """The statements with every line short enough, where naming can make it so."""
    return _Fitter(width, Registers(body, taken)).run(body, indent)


@dataclass(slots=True)
class _Fitter:
    width: Width
    registers: Registers
    targets: dict[Buffer, str] = field(default_factory=dict)  # whose part a variable is

    def run(self, body: Sequence[Statement], indent: int) -> list[Statement]:
        found: list[Statement] = []
        for statement in body:
            found += self.fitted(statement, indent)
        return found

    def fitted(self, statement: Statement, indent: int) -> list[Statement]:
        before: list[Statement] = []
        while self.width(statement, indent) > LIMIT:
            named = self.named(statement, indent)
            branches = as_branches(statement)
            if branches is not None and (named is None or self.width(named[1], indent) > LIMIT):
                return [*before, *self.fitted(branches, indent)]
            if named is None:
                break
            first, statement = named
            before += self.fitted(first, indent)
        return [*before, with_bodies(statement, lambda body: self.run(body, indent + 1))]

    def named(self, statement: Statement, indent: int) -> tuple[Assign, Statement] | None:
        """A value to name and the statement that reads it: both short if that can be, else the most that fits."""
        target = self.target(statement)
        whole = self.width(statement, indent)
        ways: list[tuple[tuple[int, int], Scalar, str]] = []
        for x, name in _candidates(statement, target):
            alone = Assign(Buffer(name, (), x.dtype, "local"), (), x)
            first, rest = self.width(alone, indent), self.width(_with(statement, x, alone), indent)
            helps = rest < whole - len(name) // 2  # naming one element would not, and could go on for ever
            if first < whole and (helps or rest <= LIMIT):
                longest = max(first, rest)
                fits = 0 if longest <= LIMIT else 1 if first <= LIMIT else 2
                ways.append(((fits, rest if fits == 1 else longest), x, name))
        if not ways:
            return None
        _, x, name = min(ways, key=lambda way: way[0])
        first_value = Assign(self.registers.make(name, x.dtype), (), x)
        self.targets[first_value.buffer] = target
        return first_value, _with(statement, x, first_value)

    def target(self, statement: Statement) -> str:
        """What a statement computes in the end, as the beginning of names."""
        match statement:
            case For():
                return f"{statement.letter}_"
            case Assign() | Accumulate():
                return self.targets.get(statement.buffer, f"{_PART.sub('', statement.buffer.name)}_")
        return ""


def _candidates(statement: Statement, target: str) -> Iterator[tuple[Scalar, str]]:
    """The parts that a statement may evaluate in any case, each with a name that says what it is for."""
    match statement:
        case For():
            if not isinstance(statement.start, Load):
                yield statement.start, f"{target}start"
            yield statement.stop, f"{target}stop"
        case If():
            yield from _parts(statement.condition, target)
        case Assign() | Accumulate():
            yield from _parts(statement.value, target)


def _parts(root: Scalar, target: str) -> Iterator[tuple[Scalar, str]]:
    stack = [root]
    while stack:
        x = stack.pop()
        certain = children(x)
        if isinstance(x, Call):
            name = x.function.name
            kind = {"mul": "factor", "div": "factor", "add": "term", "sub": "term"}.get(name, "value")
            if name == "where" or (name in ("and", "or") and any(_reads_memory(part) for part in certain[1:])):
                certain = certain[:1]  # the others may be read outside where this one decides
            for part in certain:
                if isinstance(part, Call) and part.dtype == "bool":
                    yield part, "inside" if is_index_only(part) else f"{target}test"
                elif isinstance(part, Call) and part.dtype in FLOATS:
                    yield part, f"{target}{kind}"
                elif isinstance(part, Load) and part.subscripts:
                    yield part, f"{part.tensor.name}_element"
        if not isinstance(x, (Load, Poly)):
            stack += reversed(certain)


def _reads_memory(x: Scalar) -> bool:
    return any(isinstance(part, Load) and part.subscripts for part in walk(x))


def _with(statement: Statement, x: Scalar, named: Assign) -> Statement:
    """The statement with a value read from its variable, wherever it occurs."""
    register = load(named.buffer, ())

    def new(root: Scalar) -> Scalar:
        return rewrite(root, lambda part: register if part is x else None, lambda atom: None)

    match statement:
        case Assign() | Accumulate():
            return replace(statement, value=new(statement.value))
        case If():
            return replace(statement, condition=new(statement.condition))
        case For():
            start, stop = (
                require_poly(register) if bound is x else bound for bound in (statement.start, statement.stop)
            )
            return replace(statement, start=start, stop=stop)
    raise AssertionError(f"{type(statement).__name__} evaluates {len(expressions(statement))} expressions")
