"""From statements to a program: functions are cut, entry points call them, and arguments tell the sizes.

In: the roots of every entry point, which `requests` lowers; the statements, once they are final. Out: a `Program`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import inf

from gradgen.graph.nodes import Leaf
from gradgen.graph.scalar import size_symbol
from gradgen.graph.sizes import size_names
from gradgen.passes.lower.cut_kernels import cut, defined_locals, make_kernel
from gradgen.passes.lower.drafts import Draft, Piece
from gradgen.passes.lower.requests import Request, RequestLowering
from gradgen.passes.lower.storage import Buffers
from gradgen.program.holders import HOLDERS
from gradgen.program.kernels import (
    Checked,
    Entry,
    Kernel,
    KernelCall,
    Program,
)
from gradgen.program.loops import Buffer, reads

WORKSPACE = HOLDERS["w"]


@dataclass(slots=True)
class Builder:
    """What the entry points of one module share: functions and buffers."""

    name: str
    requests: RequestLowering
    notes: tuple[str, ...] = ()  # what was done to the outputs before there were entries
    leaves: tuple[Leaf, ...] = ()  # arguments that an entry may take for their sizes alone
    kernels: list[Kernel] = field(default_factory=list)
    kernel_names: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)  # names of tensors and variables, which no kernel may have
    drafts: list[Draft] = field(default_factory=list)  # entry by entry, one or several for each
    done: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what was done to the formulas of an entry
    entries: list[Entry] = field(default_factory=list)
    buffers: dict[Buffer, None] = field(default_factory=dict)

    def add(
        self,
        name: str,
        request: Request,
        otherwise: Sequence[Request] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        """One entry point; in several requests where a single one would keep values that outgrow the arguments.

        `notes` say what was done to its formulas.
        """
        drafts = [self.requests.draft(name, request)]
        if drafts[0].whole and otherwise:
            drafts = [self.requests.draft(name, part) for part in otherwise]
        self.drafts += drafts
        self.done[name] = notes

    def entry(self, name: str, drafts: Sequence[Draft]) -> None:
        """The functions of an entry point and the calls of them, once its statements are final."""
        returned = {b for draft in drafts for b in draft.returns}
        calls = self.cut([piece for draft in drafts for piece in draft.everything], returned)
        told = self.telling_sizes(calls, drafts[-1].arrays)
        used = {b for call in calls for b in call.buffers} | {b.alias_of for call in calls for b in call.buffers}
        used |= set(told)
        given = (b for draft in drafts for b in draft.given)
        parameters = dict.fromkeys(b for b in self.in_order([*given, *told]) if b.role in ("input", "cotangent"))
        self.entries.append(
            Entry(
                name,
                tuple(b for b in parameters if b in used),
                tuple(calls),
                tuple(b for draft in drafts for b in draft.returns),
                (
                    *([] if self.entries else self.notes),
                    *self.done[name],
                    *(d for draft in drafts for d in draft.decisions),
                ),
                (*(b for draft in drafts for b in draft.empty), *told),
            )
        )
        self.buffers.update(dict.fromkeys(self.entries[-1].idle))
        for call in calls:
            for b in call.buffers:
                self.buffers.setdefault(b if b.alias_of is None else b.alias_of)

    def telling_sizes(self, calls: Sequence[KernelCall], arrays: Buffers) -> tuple[Buffer, ...]:
        """An array with an axis of each size that no array of the calls has: the first argument that has one.

        A workspace may be larger than a call: of its axes only the number of parts counts, which is the length of one
        of its arrays. Jitted code that asks Numba for the number of threads would be compiled in every process, as
        Numba caches no code that holds an address (numba 0.68).
        """
        touched = [b for call in calls for b in call.buffers]
        names = dict.fromkeys(name for call in calls for name in call.sizes)
        missing = [name for name in names if not _tell(touched, name, size_symbol(name) is self.requests.parts)]
        found = self.tellers(missing)
        if any(size_symbol(name) is self.requests.parts for name in missing):
            found.append(arrays.derive("each_part", (self.requests.parts,), "bool", "work"))
        return tuple(found)

    def telling(self, program: Program) -> Program:
        """The program with arguments for sizes that its calls take since they were made, as guards do."""
        entries: list[Entry] = []
        for entry in program.entries:
            known = {*entry.parameters, *entry.idle}
            arrays = self.requests.arrays.begin(self.requests.reserved | self.kernel_names)
            entries.append(
                self._with(entry, [b for b in self.telling_sizes(entry.kernel_calls, arrays) if b not in known])
            )
        buffers = dict.fromkeys([*program.buffers, *(b for e in entries for b in e.idle)])
        return replace(program, entries=tuple(entries), buffers=tuple(self.in_order(buffers)))

    def told(self, entry: Entry) -> Entry:
        """The entry with arguments that tell every size of the workspace, which has to be as large as they say."""
        touched = [*entry.parameters, *entry.idle, *(b.memory for call in entry.kernel_calls for b in call.buffers)]
        if not any(b.role in WORKSPACE for b in touched):
            return entry
        held = [e for b in self.buffers if b.role in WORKSPACE for e in b.shape]
        sizes = dict.fromkeys(name for e in held for name in size_names(e))
        workspace = [name for name in sizes if size_symbol(name) is not self.requests.parts]
        return self._with(entry, self.tellers(name for name in workspace if not _tell(touched, name, False)))

    def tellers(self, sizes: Iterable[str]) -> list[Buffer]:
        """The first argument with an axis of each size, where there is one; an input rather than a parameter."""
        leaves = sorted(self.leaves, key=lambda x: x.role != "input")
        having = ([x for x in leaves if any(e is size_symbol(name) for e in x.shape)] for name in sizes)
        first = (found[0] for found in having if found)
        return list(dict.fromkeys(self.requests.leaf_buffer(x, self.requests.arrays) for x in first))

    def _with(self, entry: Entry, more: Sequence[Buffer]) -> Entry:
        """An entry with arguments that it takes for their sizes alone."""
        parameters = self.in_order([*entry.parameters, *(b for b in more if b.role == "input")])
        return replace(entry, parameters=tuple(parameters), idle=(*entry.idle, *more))

    def cut(self, pieces: Sequence[Piece], returned: set[Buffer]) -> list[KernelCall]:
        groups = cut(pieces)
        needed = [set(returned)]  # behind each group, from the last one to the first
        for group in reversed(groups):
            body = [s for piece in group for s in piece.body]
            needed.append((needed[-1] | {b for s in body for b in reads(s)}) - defined_locals(body))
        calls: list[KernelCall] = []
        for group, later in zip(groups, reversed(needed[:-1]), strict=True):
            kernel, call = make_kernel(group, later, self.kernel_names | self.used)
            self.kernels.append(kernel)
            self.kernel_names |= {k.name for k in (kernel, kernel.part) if k is not None}
            calls.append(call)
        return calls

    def in_order(self, buffers: Iterable[Buffer]) -> list[Buffer]:
        """Arguments as they were declared, gradients as what they are taken by, and others after them as they come."""
        return sorted(buffers, key=lambda b: self.requests.declared.get(b.name, inf))

    def program(self, drafts: Sequence[Draft], formulas: Sequence[str], parts: int | None, checked: Checked) -> Program:
        """Every entry cut into functions."""
        for draft in drafts:  # no function is called like a value of any entry
            self.used |= draft.arrays.taken | draft.arrays.passing
        for name, mine in groupby(drafts, key=lambda draft: draft.entry):
            self.entry(name, list(mine))
        entries = [self.told(entry) for entry in self.entries]
        self.buffers.update(dict.fromkeys(b for entry in entries for b in entry.idle))
        return Program(
            self.name,
            tuple(self.in_order(self.buffers)),
            tuple(self.kernels),
            tuple(entries),
            tuple(formulas),
            files=self.requests.files.names,
            parts=parts,
            checked=checked,
        )


def _tell(arrays: Iterable[Buffer], name: str, workspace: bool) -> bool:
    """Whether an array has an axis of a size, one of the `workspace` counting or not."""
    size = size_symbol(name)
    return any(e is size for b in arrays if workspace or b.role not in WORKSPACE for e in b.shape)
