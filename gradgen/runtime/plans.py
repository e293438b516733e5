"""What stays the same between calls of an entry point: names, sizes, memory to work in.

In: an `Interface`. Out: a `Layout` is what follows from the names given, a `Plan` what follows from the sizes, `Frames`
the same for `direct`; a `Room` is what one call at a time may write to. `calls` puts them together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np

from gradgen.runtime.bindings import Array, as_array, is_foreign, label_bounds, widened
from gradgen.runtime.codes import Code
from gradgen.runtime.direct import ARGUMENTS, DATA, ERRORS, RESULTS, Move, Words, array_words, row, table
from gradgen.runtime.interface import Argument, EntryPoint, Interface, evaluate_shape, evaluate_size
from gradgen.runtime.refusals import out_of_reach
from gradgen.runtime.sequences import Call, Operand

__all__ = ["KEPT", "Frames", "Layout", "Plan", "Room", "RoomPool"]

KEPT = 8  # plans and rooms kept per caller, for callers whose sizes keep changing
_LINE = 64  # bytes in a line of the cache
_WORD = 8  # bytes
_PYTHON: dict[str, type] = {"f": float, "i": int, "u": int, "b": bool}


Frame = tuple[Words, list[tuple[str, Array]]]  # the arguments of functions in memory; the numbers that come back


class Room:
    """A workspace, and the frames of the plans that were used with it."""

    def __init__(self, workspace: Any) -> None:
        self.workspace = workspace
        self.frames: dict[Frames, Frame] = {}


class RoomPool:
    """Rooms by sizes: one is taken for a call and given back after it, so that threads never share one.

    `list.pop` and `list.append` are atomic, so there is no lock.
    """

    def __init__(self, workspace: Callable[..., Any] | None) -> None:
        self._workspace = workspace
        self._free: dict[tuple[int, ...], list[Room]] = {}

    def free(self, sizes: tuple[int, ...]) -> list[Room]:
        """The unused rooms for these sizes."""
        found = self._free.get(sizes)
        if found is None:
            for old in list(self._free)[: max(0, len(self._free) - KEPT + 1)]:
                self._free.pop(old, []).clear()
            found = self._free.setdefault(sizes, [])
        return found

    def make(self, sizes: tuple[int, ...]) -> Room:
        """A new room, whose arrays begin with a line of the cache: loads across two lines cost a kernel up to 70 %."""
        made = None if self._workspace is None else self._workspace(*sizes)
        return Room(made if made is None else tuple.__new__(type(made), map(_aligned, made)))


@dataclass(frozen=True, slots=True)
class Group:
    """What the module takes as one array: an argument, or `count` consecutive ones that are the rows of a stack."""

    first: Argument
    count: int
    used: bool  # all of it where it is a gradient, any of it elsewhere
    written: bool

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        row = evaluate_shape(self.first.shape, sizes)
        return (self.count, *row) if self.count else row


class Layout:
    """What follows from the names given: the order of the arguments, and what each of them is to the entry point.

    First the parameters of the entry point, then the fields of `p` and `s`, then what it does not read.
    """

    def __init__(
        self,
        interface: Interface,
        entry: EntryPoint,
        names: tuple[str, ...],
        constants: Mapping[str, Array],
        strict: bool,
    ) -> None:
        self.strict = strict
        known = {x.name: x for x in (*interface.leaves, *interface.cotangents)}
        fields = {key: interface.fields[key] if key in entry.holders else () for key in ("p", "s", "out", "g")}
        kept = [*fields["p"], *fields["s"]]
        held = {*entry.parameters, *(x.name for x in kept)}
        missing = {x.name: np.empty((0,) * len(x.shape), x.dtype) for x in kept if x.name not in (*names, *constants)}
        self.absent = missing | {x.name: constants[x.name] for x in kept if x.name in constants and x.name not in names}
        placed: dict[str, list[Argument]] = {
            "own": [known[n] for n in entry.parameters],
            "p": [replace(x, shape=("0",) * len(x.shape)) if x.name in missing else x for x in fields["p"]],
            "s": [replace(x, shape=("0",) * len(x.shape)) if x.name in missing else x for x in fields["s"]],
            "rest": [x for n, x in known.items() if n in names and n not in held],
        }
        self.arguments = [x for part in placed.values() for x in part]
        self.first_kept = len(placed["own"])
        self.first_state = self.first_kept + len(placed["p"])
        self.first_rest = self.first_state + len(placed["s"])
        self.pick = _picker([x.name for x in self.arguments])
        order = {name: at for at, name in enumerate(known)}
        self.declared = sorted(self.arguments, key=lambda x: order[x.name])
        self.numbers = [(at, *_number_types(x.dtype)) for at, x in enumerate(self.arguments) if x.by_value]
        updated = set(interface.updated) if entry.name == "step" else set()
        self.updated = [x.name for x in self.arguments if x.name in updated]

        def grouped(key: str, arguments: Sequence[Argument]) -> list[Group]:
            counts = {x.at: x.count for x in interface.stacked(key)}
            found: list[Group] = []
            at = 0
            while at < len(arguments):
                count = counts.get(at, 0)
                members = {x.name for x in arguments[at : at + (count or 1)]}
                chosen = members.intersection(entry.uses)
                used = chosen == members if key == "g" else bool(chosen)
                found.append(Group(arguments[at], count, used, not updated.isdisjoint(members)))
                at += len(members)
            return found

        every = {**placed, "out": fields["out"], "g": fields["g"]}
        self.parts = {key: grouped(key, part) for key, part in every.items()}
        self.holders = entry.holders
        kinds = interface.numbers()
        self.returns = [(name, kinds[name]) for name in entry.returns]
        self.plans: dict[tuple[int, ...], Plan] = {}
        self.frames: Frames | None = None  # of the call before, where they can be tried with the next one

    def with_numbers(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Python numbers in the dtype of the argument, which they are weaker than."""
        found = list(values)
        for at, python, dtype in self.numbers:
            if type(found[at]) is python:
                try:
                    found[at] = dtype(found[at])
                except OverflowError:
                    raise out_of_reach(self.arguments[at], found[at]) from None
        return tuple(found)

    def as_numpy(self, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Arrays of other libraries and dtypes as NumPy's in the declared ones; None where all are that already.

        What is updated stays, for `checked` to refuse, but for arrays whose dtype is another object, as in pickles.
        """
        found = list(values)
        for at, (x, value) in enumerate(zip(self.arguments, values, strict=True)):
            known = np.dtype(x.dtype)
            if isinstance(value, np.ndarray) and value.dtype == known:
                found[at] = value if value.dtype is known else value.view(known)
            elif x.name not in self.updated and (is_foreign(value) or isinstance(value, np.ndarray)):
                array = as_array(x, value)
                array = array if self.strict else widened(x, array)
                found[at] = array[()] if x.by_value else array
        return tuple(found) if any(a is not b for a, b in zip(found, values, strict=True)) else None


class Plan:
    """What follows from the sizes of a call: arrays to make, values that may select."""

    def __init__(self, pool: RoomPool, interface: Interface, layout: Layout, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self._pool = pool
        self._room_sizes = tuple(evaluate_size(name, sizes) for name in interface.workspace)
        self.free = pool.free(self._room_sizes)
        self.out = [(x.shape(sizes), np.dtype(x.first.dtype)) for x in layout.parts["out"]]
        self.g = [
            (np.empty if x.used else np.zeros, x.shape(sizes), np.dtype(x.first.dtype), x.count)
            for x in layout.parts["g"]
        ]
        places = {x.name: at for at, x in enumerate(layout.arguments)}
        self.labels = [
            (places[x.leaf], *label_bounds(x, sizes), x)
            for x in interface.labels
            if x.leaf in places and all(evaluate_size(extent, sizes) for extent in x.loops)
        ]
        self.makes = bool(self.out or self.g)
        self.frames: Frames | None = None

    def make(self) -> list[Array]:
        """The arrays of outputs and gradients."""
        made = [np.empty(shape, dtype) for shape, dtype in self.out]
        return made + [new(shape, dtype) for new, shape, dtype, _ in self.g] if self.g else made

    def take(self) -> Room:
        """A room of this call's own."""
        try:
            return self.free.pop()
        except IndexError:
            return self._pool.make(self._room_sizes)


class Frames:
    """A plan as `direct_call` takes it: a table of what to expect and to run, and memory for every room.

    The memory begins with a word for each group of arguments, which a call fills in; then come the functions' frames.
    """

    def __init__(
        self, layout: Layout, plan: Plan, room: Room, interface: Interface, entry: EntryPoint, codes: Mapping[str, Code]
    ) -> None:
        self._layout, self.plan, self._interface, self._entry, self._codes = layout, plan, interface, entry, codes
        self._shapes = {x: x.shape(plan.sizes) for part in layout.parts.values() for x in part}
        self._slots = {x: at for at, x in enumerate(self._shapes)}
        self._places = {x.name: at for at, x in enumerate(layout.arguments)}
        self._written = [x for x in self._shapes if x.written]
        rows = [expected for x in self._shapes for expected in self._rows(x, self._slots[x])]
        self.table, self._homes = table(rows, len(self._written), self._laid_out(room).steps)

    def of(self, room: Room) -> Frame:
        """The memory of a room, and the numbers that a call leaves in it."""
        found = room.frames.get(self)
        if found is None:
            if len(room.frames) >= KEPT:
                room.frames.clear()
            laid_out = self._laid_out(room)
            words, results = laid_out.memory(), laid_out.results
            numbers = [(name, np.ndarray((), kind, words, results[name])) for name, kind in self._layout.returns]
            found = room.frames[self] = words, numbers
        return found

    def settle(self, values: Sequence[Array]) -> None:
        """Remember where the arrays to be updated are, after they were found to overlap with nothing."""
        starts = [_address(values[self._places[x.first.name]]) for x in self._written]
        ends = [(start, start + self._bytes(x)) for start, x in zip(starts, self._written, strict=True)]
        self._homes[:] = [end for pair in ends for end in pair]

    def _bytes(self, x: Group) -> int:
        return math.prod(self._shapes[x]) * np.dtype(x.first.dtype).itemsize

    def _rows(self, x: Group, slot: int) -> list[list[int]]:
        """What is expected of the objects of a group: the whole, or one row after the other."""
        shape, dtype = self._shapes[x], x.first.dtype
        if x.first.name not in self._places:  # made for the call
            return [row(dtype, shape, slot=slot)]
        first = self._places[x.first.name]
        members = self._layout.arguments[first : first + max(x.count, 1)]
        return [
            row(
                dtype,
                shape[1:] if x.count else shape,
                by_value=x.first.by_value,
                slot=-1 if k else slot,
                follows=k > 0 and x.used,
                written=x.written,
                home=self._written.index(x) if x.written and not k else -1,
                apart=bool(self._written) and not x.written,
                bounds=[(low, high) for _, low, high, y in self.plan.labels if y.leaf == member.name],
            )
            for k, member in enumerate(members)
        ]

    def _laid_out(self, room: Room) -> "_LaidOut":
        counts = {name: room.workspace[at].shape[axis] for name, (at, axis) in self._interface.parts.items()}
        sizes = {**self.plan.sizes, **counts}
        laid_out = _LaidOut(room, self._layout.parts, self._slots, sizes, self._codes)
        for run in self._entry.runs:
            for k in range(run.count):
                for call in run.calls:
                    laid_out.step(call, k)
        return laid_out


def _as_returned(declared: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """How a number lies in memory: of a wider integer the first bytes are those of the declared one."""
    known = np.dtype(declared)
    assert dtype == known or (dtype.kind in "iub" and known.kind in "iub" and dtype.itemsize >= known.itemsize)
    return dtype


class _LaidOut:
    """Frames of functions, as they are written one after the other."""

    def __init__(
        self,
        room: Room,
        parts: Mapping[str, Sequence[Group]],
        slots: Mapping[Group, int],
        sizes: Mapping[str, int],
        codes: Mapping[str, Code],
    ) -> None:
        self.words = [0] * len(slots)
        self.steps: list[tuple[int, list[Move]]] = []
        self.results: dict[str, int] = {}  # at which byte
        self._room, self._parts, self._slots, self._sizes, self._codes = room, parts, slots, sizes, codes
        self._own: list[int] = []  # words that are places in this memory

    def step(self, call: Call, k: int) -> None:
        """One call, in repetition k."""
        start, moves = len(self.words), list[Move]()
        self.steps.append((start, moves))
        code = self._codes[call.function]
        self.words += [code.unpacking, code.function, *[0] * (ARGUMENTS - 2)]
        for x in call.operands:
            self.words += self._operand(x, k, moves)
        assert len(self.words) == start + ARGUMENTS + code.width, "Numba passes arrays in another way"
        returned = zip(call.results, code.returned, strict=True)
        kind = np.dtype([(name, _as_returned(declared, dtype)) for (name, declared), dtype in returned], align=True)
        end = len(self.words) * _WORD
        self.words[start + RESULTS], self.words[start + ERRORS] = end, (start + 2) * _WORD
        self._own += [start + RESULTS, start + ERRORS]
        self.results |= {name: end + offset for name, (_, offset, *_) in (kind.fields or {}).items()}
        self.words += [0] * (kind.itemsize // _WORD + 2)  # nothing is returned as a null pointer

    def _operand(self, x: Operand, k: int, moves: list[Move]) -> list[int]:
        """The words of an argument, and what is to be moved into them."""
        if x.source == "one":
            return [int(np.frombuffer(np.ones(1, x.dtype).tobytes().ljust(_WORD, b"\0"), np.int64)[0])]
        if x.source == "size":
            return [self._sizes[x.name]]
        if x.source == "result":
            moves.append((len(self.words), self.results[x.name], 0))
            return [0]
        row = x.row + x.stride * k
        if x.source == "w":
            array = self._room.workspace[x.at] if x.row < 0 else self._room.workspace[x.at][row]
            shape = evaluate_shape(x.shape, self._sizes) if x.reshaped else array.shape
            return array_words(_address(array), shape, array.itemsize)
        group = self._parts[x.source][x.at]
        slot = self._slots[group] * _WORD
        if x.by_value:
            moves.append((len(self.words), slot, 0))
            return [0]
        words = array_words(0, evaluate_shape(x.shape, self._sizes), np.dtype(x.dtype).itemsize)
        moves.append((len(self.words) + DATA, slot, 0 if x.row < 0 else row * words[2] * words[3]))
        return words

    def memory(self) -> Words:
        """All of it, its own addresses settled."""
        found: Words = np.array(self.words, np.int64)
        found[self._own] += _address(found)
        return found


def _aligned(x: Array) -> Array:
    """An array like this one, at a multiple of a line's bytes; NumPy's are at multiples of 16."""
    memory = np.empty(x.nbytes + _LINE, np.uint8)
    start = -_address(memory) % _LINE
    return np.ndarray(x.shape, x.dtype, memory, start)


def _address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def _number_types(dtype: str) -> tuple[type, type]:
    """The Python numbers that turn into this dtype, and its scalars."""
    found = np.dtype(dtype)
    return _PYTHON[found.kind], found.type


def _picker(names: list[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """The values of these names, as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: tuple(given[n] for n in names)
