"""Values that take over the memory of what they are computed from, where nobody needs that any more.

In: a `Program` from `entries`. Out: the same program with fewer arrays: `u = X @ a` and `h = relu(u)` are one, written
twice. An intermediate value gives its array to another of the same shape if, in every entry, its last access comes
before the other's first one, or is part of the statement-by-statement update of the same element. What then copies an
array onto itself is left out. Rows that every iteration of a loop writes anew keep their names: there is next to
nothing to save.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from gradgen.graph.nodes import same_shape
from gradgen.graph.scalar import Load
from gradgen.passes.loops.element_updates import Access, accesses_in, element_by_element
from gradgen.program.kernels import (
    Entry,
    Kernel,
    KernelCall,
    Program,
    Repeat,
)
from gradgen.program.loops import (
    Assign,
    Buffer,
    For,
    Note,
    Parts,
    Statement,
    reads,
    writes,
)
from gradgen.program.registers import names_in
from gradgen.program.rewriting import moved, with_bodies

__all__ = ["HEIRS", "update_in_place"]

HEIRS = ("work", "saved", "output", "gradient")


def update_in_place(program: Program) -> Program:
    """Merge intermediate values with their successors, kernel by kernel, until none is left."""
    texts = _Texts()
    merging = _Merging(program, texts)
    for name in [k.name for k in reversed(program.kernels)]:  # a chain is renamed from its end, each link once
        while pair := next((p for p in _pairs(merging.kernels[name], texts) if merging.may_merge(*p)), None):
            merging.merge(*pair)
    return merging.program()


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


class _Merging:
    """A program in which arrays become one: where each is used is found once, and kept up to date."""

    def __init__(self, program: Program, texts: "_Texts") -> None:
        self._texts = texts
        self._program = program
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self._users: dict[Buffer, dict[str, None]] = {}  # the kernels that have an array among their parameters
        for kernel in program.kernels:
            for b in kernel.parameters:
                self._users.setdefault(b, {})[kernel.name] = None
        self._aliased = {b.alias_of for b in self._users if b.alias_of is not None}
        self._calls = [_spans(call.buffers for call in entry.kernel_calls) for entry in program.entries]
        self._heirs: dict[Buffer, Buffer] = {}
        self._decisions: list[list[str]] = [[] for _ in program.entries]

    def may_merge(self, old: Buffer, new: Buffer) -> bool:
        """Whether no entry needs the old value once the new one is there, and no kernel means else by its name."""
        if old in self._aliased or new in self._aliased:
            return False
        others = (self.kernels[name] for name in self._users[old] if name not in self._users[new])
        if any(new.name in self._texts.names(k) for k in others):
            return False
        entries = zip(self._program.entries, self._calls, strict=True)
        return all(self._in_order(entry, calls, old, new) for entry, calls in entries)

    def merge(self, old: Buffer, new: Buffer) -> None:
        """One array for both."""
        for name in self._users.pop(old):
            self.kernels[name] = _renamed_kernel(self.kernels[name], old, new)
            self._users[new][name] = None
        self._heirs[old] = new
        for calls, decisions in zip(self._calls, self._decisions, strict=True):
            if old in calls:
                first, last = calls.pop(old)
                calls[new] = (min(first, calls[new][0]), max(last, calls[new][1])) if new in calls else (first, last)
                decisions.append(f"{new.name}: takes over the memory of {old.name}")

    def program(self) -> Program:
        """The program as it is now."""

        def heir(b: Buffer) -> Buffer:
            while b in self._heirs:
                b = self._heirs[b]
            return b

        kernels = {k.name: k for k in map(_without_idle_copies, self.kernels.values()) if _does_something(k)}

        def called(c: KernelCall | Repeat) -> KernelCall | Repeat:
            if not isinstance(c, KernelCall):
                return c
            arguments = dict.fromkeys(heir(b) for b in c.arguments if isinstance(b, Buffer))
            return replace(c, arguments=tuple(arguments))

        def left(e: Entry) -> Iterator[KernelCall | Repeat]:
            return (c for c in e.calls if not isinstance(c, KernelCall) or c.kernel in kernels)

        entries = tuple(
            replace(e, calls=tuple(map(called, left(e))), decisions=(*e.decisions, *decisions))
            for e, decisions in zip(self._program.entries, self._decisions, strict=True)
        )
        buffers = tuple(b for b in self._program.buffers if b not in self._heirs)
        return replace(self._program, buffers=buffers, kernels=tuple(kernels.values()), entries=entries)

    def _in_order(self, entry: Entry, calls: "Spans", old: Buffer, new: Buffer) -> bool:
        if old not in calls:
            return True
        if new.role == "saved" and entry.name == "backward":
            return False  # what forward left may be read again
        if new not in calls:
            return new.role == "work"
        last, first = calls[old][1], calls[new][0]
        common = self.kernels[entry.kernel_calls[last].kernel]
        return last < first or (last == first and self._texts.follows(common, old, new))


# ---------------------------------------------------------------- statements

Spans = dict[Buffer, tuple[int, int]]  # the numbers of the first and the last that touch an array


def _spans(touched: Iterable[Iterable[Buffer]]) -> Spans:
    found: dict[Buffer, tuple[int, int]] = {}
    for k, arrays in enumerate(touched):
        for b in arrays:
            found[b] = (found[b][0] if b in found else k, k)
    return found


@dataclass(slots=True)
class _Texts:
    """What functions and loops do with arrays, found once for all pairs; kept, so that no other gets their address."""

    kernels: dict[int, tuple[Kernel, Spans, Set[str]]] = field(default_factory=dict)
    loops: dict[int, tuple[For, Mapping[Buffer, Sequence[Access]]]] = field(default_factory=dict)

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
            self.loops[id(loop)] = loop, accesses_in(loop)
        touched = self.loops[id(loop)][1]
        return element_by_element(touched[old], touched[new])

    def _kernel(self, kernel: Kernel) -> tuple[Kernel, Spans, Set[str]]:
        if id(kernel) not in self.kernels:
            touched = _spans(reads(s) | writes(s) for s in kernel.body)
            self.kernels[id(kernel)] = kernel, touched, names_in(kernel.body)
        return self.kernels[id(kernel)]


# ---------------------------------------------------------------- renaming


def _renamed_kernel(k: Kernel, old: Buffer, new: Buffer) -> Kernel:
    parameters = tuple(dict.fromkeys(new if b is old else b for b in k.parameters))
    body = tuple(_noted(s, old, new) for s in moved(k.body, {old: (new, ())}))
    return replace(k, parameters=parameters, body=body, part=k.part and _renamed_kernel(k.part, old, new))


def _without_idle_copies(k: Kernel) -> Kernel:
    """Without `x[i] = x[i]`."""
    return k if k.part is not None else replace(k, body=tuple(_busy(k.body)))


def _busy(body: Iterable[Statement]) -> Iterator[Statement]:
    for s in body:
        match s:
            case Assign(value=Load(tensor=b, subscripts=at)) if b is s.buffer and same_shape(at, s.subscripts):
                continue
            case For():
                if inside := tuple(_busy(s.body)):
                    yield replace(s, body=inside)
            case _:
                yield s


def _does_something(k: Kernel) -> bool:
    return any(not isinstance(s, Note) for s in k.body)


def _noted(s: Statement, old: Buffer, new: Buffer) -> Statement:
    """A comment that says where its value goes now."""
    if isinstance(s, Note) and s.name == old.name:
        return replace(s, text=f"{s.text}, into {new.name}")
    return with_bodies(s, lambda body: [_noted(inner, old, new) for inner in body])
