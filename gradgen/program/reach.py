"""Whether every access of a program stays inside its array, by loops and guards, by what it wrote, or by checks.

In: a `Program` with what the checks of a call establish. Out: the accesses that nothing keeps inside, in words, for
`verify`; `proofs` decides about one subscript.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never, cast

from gradgen.graph.accesses import accesses, known
from gradgen.graph.congruent import congruent
from gradgen.graph.nodes import product, same_shape
from gradgen.graph.polynomials import valued
from gradgen.graph.scalar import (
    Atom,
    Call,
    Load,
    Poly,
    Scalar,
    as_poly,
    atom_poly,
    integer,
    load,
    mentions,
    require_poly,
    size_symbol,
    substitute,
)
from gradgen.graph.sizes import is_size, size_names
from gradgen.program.kernels import (
    Checked,
    Kernel,
    KernelCall,
    Program,
)
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    Dot,
    For,
    If,
    Matrix,
    Note,
    Parts,
    Statement,
    expressions,
    letter,
    loaded,
    writes,
)
from gradgen.program.proofs import Proof

# What was proved of an expression, or was not, by what held: ranges and depths of letters, facts, alternatives.
Proved = dict[Hashable, bool]


def strays(program: Program, proved: Proved | None = None) -> list[str]:
    """The accesses that are neither proved to stay inside, nor guarded, nor checked.

    `proved` is what other programs have asked already, and learns what this one asks.
    """
    walks = _walks(program, {} if proved is None else proved)
    found = [text for walk in walks for text in (*walk.found, *(x.shown for x in walk.open()))]
    kernels = {kernel.name: kernel for kernel in program.kernels}
    calls = (call for entry in program.entries for call in entry.kernel_calls)
    return [*found, *(text for call in calls for text in _reshaped(call, kernels[call.kernel]))]


def open_accesses(program: Program) -> "list[Place]":
    """The same for single elements, and where they stand."""
    return [place for walk in _walks(program, {}) for place in walk.open()]


def _walks(program: Program, proved: Proved) -> "list[_Walk]":
    """Every kernel walked through; data that choose are checked before all of them but those that check."""
    values = _Values(program.checked.sizes, proved)
    checking = {call.kernel for e in program.entries if e.name == "check" for call in e.kernel_calls}
    unchecked = replace(program.checked, chosen=frozenset())
    walks = [_Walk(k, values, unchecked if k.name in checking else program.checked) for k in program.kernels]
    for walk in walks:
        walk.run(walk.kernel.body, Scope())
    values.complete = True
    return walks


def _reshaped(call: KernelCall, kernel: Kernel) -> Iterator[str]:
    """The arguments of a call that are no arrays of the shape that the kernel reads and writes, in the call's sizes."""
    sizes = {size_symbol(own): size_symbol(given) for own, given in zip(kernel.sizes, call.sizes, strict=True)}
    for own, given in zip(kernel.parameters, call.arguments, strict=True):
        if own.by_value:
            continue
        for extent, wanted in zip(own.shape, given.shape, strict=False):
            for name in size_names(extent):
                if extent is size_symbol(name):
                    sizes.setdefault(extent, wanted)  # a size that only shapes mention, or a length
        shape = tuple(require_poly(substitute(e, {x.atoms[0]: size for x, size in sizes.items()})) for e in own.shape)
        if not same_shape(shape, given.shape):
            yield f"{kernel.name} takes {given.name} for {own.name}, which has another shape"


# ---------------------------------------------------------------- what is known


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What holds where a statement stands.

    `depths` and `ranges` are those of the open letters, as in `Proof`; no fact is negative. `values` is what integer
    variables hold: nothing else here mentions a variable that is among them.
    """

    depths: Mapping[Atom, int] = field(default_factory=dict)
    ranges: Mapping[Atom, Poly] = field(default_factory=dict)
    facts: tuple[Poly, ...] = ()
    values: Mapping[Scalar, Poly] = field(default_factory=dict)

    @property
    def letters(self) -> Hashable:
        """What is known of the open letters."""
        return tuple(self.depths.items()), tuple(self.ranges.items())

    def resolved(self, p: Poly) -> Poly:
        return require_poly(substitute(p, {}, self.values)) if self.values and p.parts else p

    def knowing(self, *facts: Poly) -> "Scope":
        new = dict.fromkeys(p for p in map(self.resolved, facts) if p.constant is None or p.constant < 0)
        return replace(self, facts=tuple(dict.fromkeys((*new, *self.facts)))) if new else self

    def without(self, written: set[Buffer]) -> "Scope":
        """The same, but for what depends on memory that is written."""
        values = {x: p for x, p in self.values.items() if loaded(x, p).isdisjoint(written)}
        facts = tuple(p for p in self.facts if loaded(p).isdisjoint(written))
        is_same = len(values) == len(self.values) and len(facts) == len(self.facts)
        return self if is_same else replace(self, facts=facts, values=values)

    def opened(self, name: Poly) -> "Scope":
        """Inside a loop over a letter: whatever was known of another one of this name means something else."""
        atom = name.atoms[0]
        depths = {a: depth for a, depth in self.depths.items() if a is not atom}
        return Scope(
            {**depths, atom: 1 + max(depths.values(), default=-1)},
            {a: extent for a, extent in self.ranges.items() if a is not atom},
            tuple(p for p in self.facts if not mentions(p, atom)),
            {x: p for x, p in self.values.items() if not mentions(p, atom)},
        )


def _behind(last: Poly, first: Poly) -> Poly:
    """The end of a loop that is entered: of max(first, x) it is x, as otherwise nothing is left."""
    match last.parts:
        case (Call(function=f, arguments=(a, b)) as end,) if f.name == "maximum" and last is atom_poly(end):
            return require_poly(b if a is first else a if b is first else last)
    return last


def _limits(last: Poly) -> tuple[Poly, ...]:
    """What the end of a loop does not exceed."""
    match last.parts:
        case (Call(function=f, arguments=arguments) as end,) if f.name == "minimum" and last is atom_poly(end):
            return (last, *(limit for x in arguments for limit in _limits(require_poly(x))))
    return (last,)


@dataclass(slots=True)
class _Values:
    """The integers that a program writes into its arrays and variables, each with what holds there.

    Of each member of `either`, expressions of sizes, one is not negative.
    """

    either: tuple[tuple[Poly, ...], ...]
    known: Proved
    written: dict[Buffer, list[tuple[Poly | None, Scope]]] = field(default_factory=dict)
    asked: set[tuple[Poly, Atom]] = field(default_factory=set)
    complete: bool = False  # whether all that is written has been seen

    def add(self, buffer: Buffer, value: Poly | None, scope: Scope) -> None:
        self.written.setdefault(buffer.memory, []).append((value, scope))

    def hold(self, p: Poly, atom: Atom) -> bool:
        """Whether p >= 0 whatever of these values an access reads."""
        if not self.complete or not isinstance(atom, Load) or (p, atom) in self.asked:
            return False
        if atom.tensor.memory.role not in ("local", "work", "saved", "output"):
            return False
        self.asked.add((p, atom))
        found = all(
            value is not None and self.proved(require_poly(substitute(p, {}, {atom: value})), scope)
            for value, scope in self.written.get(atom.tensor.memory, [(None, Scope())])
        )
        self.asked.remove((p, atom))
        return found

    def proved(self, p: Poly, scope: Scope, facts: tuple[Poly, ...] = ()) -> bool:
        """Whether p >= 0 where a statement stands; neighbours ask the same of other arrays."""
        everything = (*facts, *scope.facts)
        key = (p, everything, scope.letters, self.either)
        if key not in self.known or loaded(p, *everything):  # values that are read may be known later
            is_reached = all(fact.constant is None or fact.constant >= 0 for fact in everything)
            proof = Proof(scope.depths, scope.ranges, everything, self.hold)
            self.known[key] = not is_reached or proof.holds(p) or self._by_cases(proof, p)
        return self.known[key]

    def _by_cases(self, proof: Proof, p: Poly) -> bool:
        """The same with what is known of sizes: where one alternative is left it is a fact, else all have to do."""
        either = [[fact for fact in x if not proof.nonnegative(require_poly(-fact - 1), 1)] for x in self.either]
        if not either or not all(either):
            return bool(either)  # the sizes are none that a call may have
        settled = replace(proof, facts=(*(x[0] for x in either if len(x) == 1), *proof.facts), tried={})
        cases = ([replace(settled, facts=(fact, *settled.facts), tried={}) for fact in x] for x in either if len(x) > 1)
        return settled.holds(p) or any(all(case.holds(p) for case in x) for x in cases)


# ---------------------------------------------------------------- the statements of a kernel


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """An axis of an element that a statement reads, writes or multiplies, and what holds there."""

    kernel: str
    statement: Statement
    what: str
    buffer: Buffer
    axis: int
    subscript: Poly
    scope: Scope
    facts: tuple[Poly, ...] = ()

    @property
    def size(self) -> Poly:
        return self.buffer.shape[self.axis]

    @property
    def value(self) -> Poly:
        """The subscript with the values of variables in it."""
        return self.scope.resolved(self.subscript)

    @property
    def shown(self) -> str:
        at = f"axis {self.axis} of {self.buffer.name}, whose size is {self.size}"
        return f"{self.kernel} {self.what} {at}, at {self.subscript}, and nothing keeps that inside"


@dataclass(slots=True)
class _Walk:
    """A kernel in the order of its text; what data decides waits until all that is written is known."""

    kernel: Kernel
    values: _Values
    checked: Checked
    found: list[str] = field(default_factory=list)
    waiting: list[Place] = field(default_factory=list)

    def run(self, body: Sequence[Statement], scope: Scope) -> None:
        for statement in body:
            scope = self.statement(statement, scope)

    def statement(self, statement: Statement, scope: Scope) -> Scope:
        """What holds behind a statement."""
        written = writes(statement)
        self.reads(statement, scope)
        match statement:
            case For():
                self.run(statement.body, self.opened(statement, scope.without(written)))
            case If():
                self.run(statement.then, scope.knowing(*known(statement.condition, True)))
                self.run(statement.otherwise, scope.knowing(*known(statement.condition, False)))
            case Parts():
                first, last, part = (letter(x) for x in (statement.first, statement.last, statement.part))
                ends = first, require_poly(last - first), require_poly(statement.extent - last)
                inside = scope.without(written).opened(first).opened(last).opened(part)
                counted = {**inside.ranges, part.atoms[0]: statement.count}
                self.run(statement.body, replace(inside, ranges=counted).knowing(*ends))
            case Dot():
                for m in (statement.left, statement.right, statement.out):
                    self.matrix(statement, m, scope)
            case Contract():  # multiplies what is there
                for x in (statement.left, statement.right, statement.out):
                    self.leading(statement, "multiplies", x.buffer, x.fixed, scope)
            case Assign() | Accumulate():
                self.write(statement, scope)
            case Note():
                pass
            case _:
                assert_never(statement)
        after = scope.without(written)
        if isinstance(statement, Assign) and statement.buffer.dtype in ("int32", "int64") and not statement.subscripts:
            value = self.value(statement, scope)
            if value is not None and statement.buffer not in loaded(value):
                after = replace(after, values={**after.values, load(statement.buffer, ()): value})
        return after

    def value(self, statement: Assign, scope: Scope) -> Poly | None:
        value = as_poly(statement.value)
        return None if value is None else valued(scope.resolved(value))

    def opened(self, loop: For, scope: Scope) -> Scope:
        """What holds in the body of a loop: its letter has a range, and bounds."""
        name = letter(loop.letter)
        first, last = (scope.resolved(require_poly(x)) for x in (loop.start, loop.stop))
        if loop.stride < 0:
            first, last = require_poly(last + 1), require_poly(first + 1)
        if loop.stride > 1 and first.constant is not None and last.constant is not None:
            steps = (last.constant - 1 - first.constant) // loop.stride
            last = integer(first.constant + steps * loop.stride + 1)
        last = _behind(last, first)
        inside = scope.opened(name)
        extent = next((x for x in _limits(last) if is_size(x)), None)
        if extent is not None and (extent.constant is None or extent.constant > 0) and self.values.proved(first, scope):
            inside = replace(inside, ranges={**inside.ranges, name.atoms[0]: extent})
            if extent is last:
                return inside.knowing(require_poly(name - first)) if first.constant != 0 else inside
        return inside.knowing(*map(require_poly, (name - first, last - 1 - name, last - first - 1)))

    def reads(self, statement: Statement, scope: Scope) -> None:
        """The reads of a statement, each under the conditions that it is evaluated under."""
        for access in accesses((), *expressions(statement)):
            facts = tuple(scope.resolved(fact) for fact in access.facts)
            buffer = cast("Buffer", access.tensor)  # nodes are in formulas
            place = Place(self.kernel.name, statement, "reads", buffer, access.axis, access.subscript, scope, facts)
            self.access(place)

    def write(self, statement: Assign | Accumulate, scope: Scope) -> None:
        self.leading(statement, "writes", statement.buffer, statement.subscripts, scope)
        if statement.buffer.dtype in ("int32", "int64"):
            value = self.value(statement, scope) if isinstance(statement, Assign) else None
            self.values.add(statement.buffer, value, scope)

    def leading(
        self, statement: Statement, what: str, buffer: Buffer, subscripts: Sequence[Poly], scope: Scope
    ) -> None:
        for axis, subscript in enumerate(subscripts):
            self.access(Place(self.kernel.name, statement, what, buffer, axis, subscript, scope))

    def matrix(self, dot: Dot, m: Matrix, scope: Scope) -> None:
        """The elements of a matrix: leading subscripts inside, and behind them as many as it has."""
        self.leading(dot, "multiplies", m.buffer, m.fixed, scope)
        rest = m.buffer.shape[len(m.fixed) :]
        if m.window is not None:
            start, count = map(scope.resolved, m.window)
            left = require_poly(rest[0] - start - count)
            if not (self.values.proved(start, scope) and self.values.proved(left, scope)):
                self.found.append(f"{self.kernel.name} multiplies rows of {m.buffer.name} that it does not have")
            rest = (count, *rest[1:])
        wanted = scope.resolved(require_poly(m.rows * m.columns))
        if wanted is not product(rest):
            self.found.append(f"{self.kernel.name} takes {m.buffer.name} for a matrix of {m.rows} x {m.columns}")

    def access(self, place: Place) -> None:
        p = place.value
        if len(p.atoms) == 1 and p is atom_poly(p.atoms[0]) and place.scope.ranges.get(p.atoms[0]) is place.size:
            return
        if loaded(p, *place.facts, *place.scope.facts) or not self.is_inside(place):
            self.waiting.append(place)

    def is_inside(self, place: Place) -> bool:
        return any(
            all(self.values.proved(end, place.scope, place.facts) for end in (p, require_poly(place.size - 1 - p)))
            for p in congruent(place.value, (*place.facts, *place.scope.facts))
        )

    def open(self) -> Iterator[Place]:
        """The accesses that nothing keeps inside, now that it is known what the program writes."""
        for place in self.waiting:
            is_checked = place.size in self.checked.chosen and bool(loaded(place.value))
            if not is_checked and not self.is_inside(place):
                yield place
