"""Scalar bodies are graphs: what a piece of code reads several times is computed once, in a variable of its own.

In: statements of `hoist`. Out: the same values from statements whose text is linear in the distinct operations: a part
that is shared, or that would make an expression too long to read, stands in front of the first statement that evaluates
it; a long branch of a `where` becomes that of an `if`. `cut_kernels` cuts the statements into functions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen.graph.polynomials import applied
from gradgen.graph.scalar import FLOATS, Call, Scalar, certain, evaluated_parts, load, walk
from gradgen.graph.sizes import is_index_only
from gradgen.machine import machine
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    If,
    Parts,
    Statement,
    choice,
    writes,
)
from gradgen.program.registers import LARGE, SHARED, Registers, as_branches, value_name

__all__ = ["share"]

Version = tuple[Call, int]  # an expression, and the number of the last statement before it that writes what it reads


def share(body: Sequence[Statement], registers: Registers) -> list[Statement]:
    """Every block of the statements, each on its own: what does not change in a loop has left it already."""
    found: list[Statement] = []
    for statement in _Block(body, registers).run():
        match statement:
            case For() | Parts():
                found.append(replace(statement, body=tuple(share(statement.body, registers))))
            case If(condition=condition, then=then, otherwise=otherwise):
                found += choice(condition, tuple(share(then, registers)), tuple(share(otherwise, registers)))
            case _:
                found.append(statement)
    return found


@dataclass(slots=True)
class _Block:
    """Statements that run one behind the other."""

    body: Sequence[Statement]
    registers: Registers
    written: dict[Buffer, int] = field(default_factory=dict)  # the last statement so far that writes some memory
    uses: Counter[Version] = field(default_factory=Counter)
    kinds: dict[Version, str] = field(default_factory=dict)  # what a part is to the first that reads it
    ready: dict[Version, Buffer] = field(default_factory=dict)  # what stands in a variable

    def run(self) -> Iterator[Statement]:
        self._count()
        self.written.clear()
        for k, statement in enumerate(self.body):
            match statement:
                case Assign() | Accumulate():
                    before, value = self._named(statement.value, f"{statement.buffer.name}_")
                    yield from before
                    yield from _in_branches(replace(statement, value=value))
                case If():
                    before, condition = self._named(statement.condition, "")
                    yield from before
                    yield replace(statement, condition=condition)
                case _:
                    yield statement
            self._write(statement, k)
            if isinstance(statement, Assign) and statement.buffer.by_value and isinstance(statement.value, Call):
                self.ready.setdefault(self._version(statement.value), statement.buffer)

    def _write(self, statement: Statement, k: int) -> None:
        written = writes(statement)
        self.written.update(dict.fromkeys(written, k))
        for version in [v for v, register in self.ready.items() if register in written]:
            del self.ready[version]

    def _version(self, x: Call) -> Version:
        return x, max((self.written.get(access.tensor.memory, -1) for access in x.accesses), default=-1)

    def _count(self) -> None:
        """How often every part is read by what evaluates it in any case."""
        seen: set[Version] = set()
        for k, statement in enumerate(self.body):
            root = _value(statement)
            for x in () if root is None else certain(root, parts=_evaluated):
                if not isinstance(x, Call) or (version := self._version(x)) in seen:
                    continue
                seen.add(version)
                for part in _evaluated(x):
                    if isinstance(part, Call):
                        read = self._version(part)
                        self.uses[read] += 1
                        self.kinds.setdefault(read, _KINDS.get(x.function.name, "value"))
            if isinstance(root, Call):
                self.uses[self._version(root)] += 1
            self.written.update(dict.fromkeys(writes(statement), k))

    def _named(self, root: Scalar, target: str) -> tuple[list[Statement], Scalar]:
        """Variables to assign, and an expression that reads them."""
        before: list[Statement] = []
        built: dict[Scalar, Scalar] = {}
        sizes: dict[Scalar, int] = {}
        sure = certain(root, parts=_evaluated)
        for x in walk(root):
            built[x], sizes[x] = x, 0
            if not isinstance(x, Call):
                continue
            version = self._version(x)
            register = self.ready.get(version)
            if register is not None:
                built[x] = load(register, ())
                continue
            if any(built[part] is not part for part in x.arguments):
                built[x] = applied(x.function, tuple(built[part] for part in x.arguments), x.dtype)
            sizes[x] = 1 + sum(sizes[part] for part in x.arguments)
            if x is not root and x in sure and self._is_worth_it(version, sizes[x]):
                name = value_name(built[x]) or f"{target}{self.kinds[version]}"
                register = self.ready[version] = self.registers.make(name, x.dtype)
                before += _in_branches(Assign(register, (), built[x]))
                built[x], sizes[x] = load(register, ()), 0
        return before, built[root]

    def _is_worth_it(self, version: Version, size: int) -> bool:
        x, _ = version
        if not (x.dtype in FLOATS or (x.dtype == "bool" and not is_index_only(x))):
            return False
        return size >= LARGE or (self.uses[version] > 1 and (size >= SHARED or x.function.cost >= machine().costly))


_KINDS: Mapping[str, str] = {"mul": "factor", "div": "factor", "add": "term", "sub": "term", "where": "test"}


def _value(statement: Statement) -> Scalar | None:
    match statement:
        case Assign() | Accumulate():
            return statement.value
        case If():
            return statement.condition
    return None


def _evaluated(x: Scalar) -> tuple[Scalar, ...]:
    """The arguments that a call evaluates in any case; subscripts are left out."""
    return evaluated_parts(x) if isinstance(x, Call) else ()


def _size(x: Scalar) -> int:
    """How many operations an expression is when it is written out, up to a large number of them."""
    found: dict[Scalar, int] = {}
    for part in walk(x):
        found[part] = 1 + sum(found[a] for a in part.arguments) if isinstance(part, Call) else 0
    return found[x]


def _in_branches(statement: Assign | Accumulate) -> list[Statement]:
    """Where a branch is too long to be read in a line, the two under an `if`."""
    match statement.value:
        case Call(function=f, arguments=(_, yes, no)) if f.name == "where" and max(_size(yes), _size(no)) >= LARGE:
            return [as_branches(statement) or statement]
    return [statement]
