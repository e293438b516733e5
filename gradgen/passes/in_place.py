"""Values that take over the memory of what they are computed from, where nobody needs that any more.

In: a `Program` from `build`. Out: the same program with fewer arrays: `u = X @ a` and `h = relu(u)` are one, written
twice. An intermediate value gives its array to another of the same shape if, in every entry, its last access comes
before the other's first one, or is part of the statement-by-statement update of the same element. Rows that every
iteration of a loop writes anew keep their names: there is next to nothing to save.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from gradgen.graph.nodes import same_shape
from gradgen.graph.scalar import Letter, Load, Poly, Scalar, load, require_poly, rewrite, walk
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Dot,
    Entry,
    For,
    If,
    Kernel,
    KernelCall,
    Matrix,
    Note,
    Parts,
    Program,
    Statement,
    letter,
    reads,
    writes,
)
from gradgen.program.ownership import accesses
from gradgen.program.registers import names_in

__all__ = ["update_in_place"]

HEIRS = ("work", "saved", "output", "gradient")


def update_in_place(program: Program) -> Program:
    """Merge intermediate values with their successors, kernel by kernel, until none is left."""
    texts = _Texts()
    uses: _Uses | None = None  # of the program as it is, once a pair asks for them
    for kernel in program.kernels:
        current = next(k for k in program.kernels if k.name == kernel.name)
        while True:
            for pair in _pairs(current, texts):
                uses = uses or _Uses(program, texts)
                if uses.may_merge(*pair):
                    break
            else:
                break
            program, uses = _merged(program, *pair), None
            current = next(k for k in program.kernels if k.name == kernel.name)
    return program


def _pairs(kernel: Kernel, texts: "_Texts") -> Iterator[tuple[Buffer, Buffer]]:
    """An intermediate value of a kernel and one that could be written over it."""
    reshaped = {b.alias_of for b in kernel.parameters if b.alias_of is not None}
    arrays = [b for b in kernel.parameters if b.shape and b.alias_of is None and b not in reshaped]
    for old in arrays:
        for new in arrays:
            apart = old is not new and old.role == "work" and new.role in HEIRS and old.dtype == new.dtype
            if apart and texts.follows(kernel, old, new) and same_shape(old.shape, new.shape):
                yield old, new


# ---------------------------------------------------------------- entries


class _Uses:
    """Where a program uses its arrays: asked for every pair, found once."""

    def __init__(self, program: Program, texts: "_Texts") -> None:
        self._texts = texts
        self._program = program
        self._kernels = {kernel.name: kernel for kernel in program.kernels}
        self._aliased = {b.alias_of for k in program.kernels for b in k.parameters if b.alias_of is not None}
        self._calls = [_spans(call.buffers for call in entry.kernel_calls) for entry in program.entries]

    def may_merge(self, old: Buffer, new: Buffer) -> bool:
        """Whether no entry needs the old value once the new one is there, and no kernel means else by its name."""
        if old in self._aliased or new in self._aliased:
            return False
        others = (k for k in self._program.kernels if old in k.parameters and new not in k.parameters)
        if any(new.name in self._texts.names(k) for k in others):
            return False
        entries = zip(self._program.entries, self._calls, strict=True)
        return all(self._in_order(entry, calls, old, new) for entry, calls in entries)

    def _in_order(self, entry: Entry, calls: "Spans", old: Buffer, new: Buffer) -> bool:
        if old not in calls:
            return True
        if new.role == "saved" and entry.name == "backward":
            return False  # what forward left may be read again
        if new not in calls:
            return new.role == "work"
        last, first = calls[old][1], calls[new][0]
        common = self._kernels[entry.kernel_calls[last].kernel]
        return last < first or (last == first and self._texts.follows(common, old, new))


# ---------------------------------------------------------------- statements

Spans = Mapping[Buffer, tuple[int, int]]  # the numbers of the first and the last that touch an array


def _spans(touched: Iterable[Iterable[Buffer]]) -> Spans:
    found: dict[Buffer, tuple[int, int]] = {}
    for k, arrays in enumerate(touched):
        for b in arrays:
            found[b] = (found[b][0] if b in found else k, k)
    return found


@dataclass(frozen=True, slots=True)
class _Access:
    subscripts: tuple[Poly, ...]
    place: int
    loops: tuple[For, ...]


@dataclass(slots=True)
class _Texts:
    """What functions and loops do with arrays, found once for all pairs; kept, so that no other gets their address."""

    kernels: dict[int, tuple[Kernel, Spans, Set[str]]] = field(default_factory=dict)
    loops: dict[int, tuple[For, Mapping[Buffer, Sequence[_Access]]]] = field(default_factory=dict)

    def names(self, kernel: Kernel) -> Set[str]:
        return self._kernel(kernel)[2]

    def follows(self, kernel: Kernel, old: Buffer, new: Buffer) -> bool:
        """Whether every element of the new value is written where that of the old one was read for the last time."""
        touched = self._kernel(kernel)[1]
        if old not in touched or new not in touched or touched[old][1] != touched[new][0]:
            return False
        common = kernel.body[touched[old][1]]
        if isinstance(common, Parts):
            outside = {b for s in common.body if s is not common.loop for b in reads(s) | writes(s)}
            mine = {b for pair in common.own for b in pair}
            return {old, new}.isdisjoint(outside | mine) and self._is_update(common.loop, old, new)
        return isinstance(common, For) and self._is_update(common, old, new)

    def _is_update(self, loop: For, old: Buffer, new: Buffer) -> bool:
        """Whether a nest reads the element of the old value, then writes that of the new one, once each."""
        if id(loop) not in self.loops:
            self.loops[id(loop)] = loop, _accesses(loop)
        before, after = (self.loops[id(loop)][1][b] for b in (old, new))
        at = before[0].subscripts
        letters = {a.name for p in at for a in p.atoms if isinstance(a, Letter) and p is letter(a.name)}
        if len(letters) < len(at):
            return False
        aligned = all(
            len(x.subscripts) == len(at)
            and all(p is q for p, q in zip(x.subscripts, at, strict=True))
            and letters.issuperset(loop.letter for loop in x.loops)
            for x in (*before, *after)
        )
        read, written = before[-1].loops, after[0].loops
        together = len(read) == len(written) and all(x is y for x, y in zip(read, written, strict=True))
        return aligned and before[-1].place <= after[0].place and together

    def _kernel(self, kernel: Kernel) -> tuple[Kernel, Spans, Set[str]]:
        if id(kernel) not in self.kernels:
            touched = _spans(reads(s) | writes(s) for s in kernel.body)
            self.kernels[id(kernel)] = kernel, touched, names_in(kernel.body)
        return self.kernels[id(kernel)]


def _accesses(nest: For) -> Mapping[Buffer, Sequence[_Access]]:
    """Every access to every array, in the order of the text."""
    found: dict[Buffer, list[_Access]] = {}
    place = 0
    pending: list[tuple[Statement, tuple[For, ...]]] = [(nest, ())]
    while pending:
        statement, loops = pending.pop()
        place += 1
        match statement:
            case For():
                own: Statement = replace(statement, body=())
                pending += [(s, (*loops, statement)) for s in reversed(statement.body)]
            case If():
                own = If(statement.condition, ())
                pending += [(s, loops) for s in reversed((*statement.then, *statement.otherwise))]
            case _:
                own = statement
        for b in reads(own) | writes(own):
            found.setdefault(b, []).extend(_Access(tuple(at), place, loops) for at in accesses([own], b))
    return found


# ---------------------------------------------------------------- renaming


def _merged(program: Program, old: Buffer, new: Buffer) -> Program:
    """The program with one array for both."""

    def passed(given: Sequence[Buffer]) -> tuple[Buffer, ...]:
        return tuple(dict.fromkeys(new if b is old else b for b in given))

    def renamed(k: Kernel) -> Kernel:
        body = tuple(_renamed(s, old, new) for s in k.body)
        part = None if k.part is None else renamed(k.part)
        return replace(k, parameters=passed(k.parameters), body=body, part=part)

    kernels = tuple(renamed(k) if old in k.parameters else k for k in program.kernels)
    entries = tuple(
        replace(
            e,
            calls=tuple(
                replace(c, arguments=passed([b for b in c.arguments if isinstance(b, Buffer)]))
                if isinstance(c, KernelCall)
                else c
                for c in e.calls
            ),
            decisions=(*e.decisions, f"{new.name}: takes over the memory of {old.name}")
            if any(old in c.buffers for c in e.kernel_calls)
            else e.decisions,
        )
        for e in program.entries
    )
    buffers = tuple(b for b in program.buffers if b is not old)
    return replace(program, buffers=buffers, kernels=kernels, entries=entries)


def _renamed(s: Statement, old: Buffer, new: Buffer) -> Statement:
    def value(x: Scalar) -> Scalar:
        if not any(isinstance(part, Load) and part.tensor is old for part in walk(x)):
            return x
        return rewrite(x, lambda part: _moved(part, old, new), lambda atom: None)

    def at(subscripts: Sequence[Poly]) -> tuple[Poly, ...]:
        return tuple(require_poly(value(p)) for p in subscripts)

    def matrix(m: Matrix) -> Matrix:
        window = m.window and (require_poly(value(m.window[0])), m.window[1])
        return replace(m, buffer=new if m.buffer is old else m.buffer, fixed=at(m.fixed), window=window)

    match s:
        case For():
            body = tuple(_renamed(inner, old, new) for inner in s.body)
            return replace(s, start=value(s.start), stop=value(s.stop), body=body)
        case If():
            then, otherwise = (tuple(_renamed(inner, old, new) for inner in part) for part in (s.then, s.otherwise))
            return If(value(s.condition), then, otherwise)
        case Assign() | Accumulate():
            buffer = new if s.buffer is old else s.buffer
            return replace(s, buffer=buffer, subscripts=at(s.subscripts), value=value(s.value))
        case Parts():
            own = tuple((mine, new if behind is old else behind) for mine, behind in s.own)
            return replace(s, body=tuple(_renamed(inner, old, new) for inner in s.body), own=own)
        case Dot():
            scratch = new if s.scratch is old else s.scratch
            return replace(s, left=matrix(s.left), right=matrix(s.right), out=matrix(s.out), scratch=scratch)
        case Note() if s.name == old.name:
            return replace(s, text=f"{s.text}, into {new.name}")
    return s


def _moved(part: Scalar, old: Buffer, new: Buffer) -> Scalar | None:
    return load(new, part.subscripts) if isinstance(part, Load) and part.tensor is old else None
