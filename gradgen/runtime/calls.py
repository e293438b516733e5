"""One entry point, called with arrays by name: checked in full when something is new, in machine code otherwise.

In: an `Interface` and an emitted module. Out: outputs and gradients by name. The first call with given names goes
through every check of `bindings`, and Numba compiles the functions that the entry point calls, each of them alone. From
the second one on a function of `direct` compares what is given with the call before and runs them at once; what it
refuses takes the long way again.
"""

from collections.abc import Callable, Mapping
from operator import is_
from threading import Lock
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from gradgen.errors import BindingError, GradgenError
from gradgen.patience import patience
from gradgen.program.holders import CLASS_NAMES
from gradgen.runtime.bindings import (
    Array,
    as_array,
    bind_sizes,
    check_label,
    check_names,
    check_requirements,
    checked,
    one_array,
    refuse_overlaps,
    rows_of,
)
from gradgen.runtime.codes import Code, codes_of
from gradgen.runtime.direct import direct_call, headers_are_known
from gradgen.runtime.interface import EntryPoint, Interface
from gradgen.runtime.plans import KEPT, Frames, Layout, Plan, Room, RoomPool

__all__ = ["Caller", "Plan", "Room", "RoomPool"]

Results = tuple[dict[str, Any], dict[str, Any]]
Ran = tuple[Results, Plan, Room, tuple[Any, ...], Layout]
# Calls that use all threads follow each other. Numba's `workqueue` layer, the one that needs neither OpenMP nor TBB,
# aborts the process when two Python threads enter it (numba 0.68, "Concurrent access has been detected").
ONE_AT_A_TIME = Lock()


class Caller:
    """An entry point of a module.

    `strict`: it refuses arrays that it would have to copy. `carried` gives names that may be given and are not looked
    at: what other networks over the same parameters have in their states. `constants` are the arrays by name that a
    call may leave out.
    """

    def __init__(
        self,
        interface: Interface,
        entry: EntryPoint,
        module: ModuleType,
        pool: RoomPool,
        strict: bool,
        carried: Callable[[], frozenset[str]] = frozenset,
        constants: Mapping[str, Array] = MappingProxyType({}),
    ) -> None:
        self.interface = interface
        self.entry = entry
        self.pool = pool
        self.strict = strict
        self._carried = carried
        self._constants = constants
        self._run = self._alone if entry.parallel else self._now
        self._module = module
        self._is_direct = hasattr(getattr(module, entry.name), "compile") and headers_are_known()
        self._direct: Any = None
        self._codes: dict[str, Code] = {}
        self._settling = Lock()
        self._holders = {key: getattr(module, name) for key, name in CLASS_NAMES.items() if key in entry.holders}
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._stacks = {key: interface.stacked(key) if key in entry.holders else () for key in ("p", "s", "g")}
        self._out_names = [x.name for x in interface.fields["out"]]
        self._g_names = [x.of for x in interface.fields["g"]]
        kinds = interface.numbers()
        self._returns = [(name, np.dtype(kinds[name]).type) for name in entry.returns]
        self._output_names = {"backward": [], "check": list(interface.checks)}.get(
            entry.name, [x.name for x in interface.outputs]
        )
        made = [*(self._out_names if "out" in entry.holders else ()), *entry.returns]
        self._in_order = made == self._output_names
        self._numbers_only = self._in_order and not {"out", "g"}.intersection(entry.holders)

    def __call__(self, given: Mapping[str, Any]) -> Results:
        """Outputs and gradients by name."""
        results, plan, room, *_ = self._run(given, None)
        plan.free.append(room)
        return results

    def refuse_outside(self, given: Mapping[str, Any]) -> None:
        """Of the entry point `check`: no computed subscript may leave its axis.

        Raises:
            BindingError: one does.
        """
        for name, count in self(given)[0].items():
            if count:
                message = self.interface.checks[name]
                times = "once" if count == 1 else f"{count} times"
                raise BindingError(f"{message}, {times} here. An element that is not there is not read.")

    def saving(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], Room, Plan, dict[str, Any]]:
        """Outputs by name, and what a later call needs: the room, the plan it belongs to, the arguments."""
        (outputs, _), plan, room, values, layout = self._run(given, None)
        arguments = {x.name: v for x, v in zip(layout.arguments, values, strict=True) if x.name not in layout.absent}
        return outputs, room, plan, arguments

    def with_saved(self, given: Mapping[str, Any], room: Room) -> dict[str, Any]:
        """Gradients by name, from a room that `saved_values` has filled."""
        return self._run(given, room)[0][1]

    def _alone(self, given: Mapping[str, Any], saved: Room | None) -> Ran:
        with ONE_AT_A_TIME:
            return self._now(given, saved)

    def _now(self, given: Mapping[str, Any], saved: Room | None) -> Ran:
        names = tuple(given)
        layout = self._layouts.get(names)
        if layout is None:
            layout = self._layout(names)
        values = layout.pick({**given, **layout.absent} if layout.absent else given)
        if layout.numbers:
            values = layout.with_numbers(values)
        frames = layout.frames
        trial: tuple[Any, ...] | None = values
        while frames is not None and trial is not None:
            plan = frames.plan
            room = plan.take() if saved is None else saved
            frame = room.frames.get(frames)
            words, slots = frame if frame is not None else frames.of(room)
            made = plan.make() if plan.makes else []
            done = self._direct(frames.table, words, *trial, *made)
            if done:
                returned = {name: slot[()] for name, slot in slots}
                if self._numbers_only:
                    return (returned, {}), plan, room, trial, layout
                return self._named(plan, made, returned), plan, room, trial, layout
            if saved is None:
                plan.free.append(room)
            if done is None:
                raise self._failed()
            trial = layout.as_numpy(values) if trial is values else None
        return self._checked(layout, values, saved)

    def _failed(self) -> GradgenError:
        return GradgenError(f"{self.interface.name}.{self.entry.name} failed. Call net.module to see where.")

    def _named(self, plan: Plan, made: list[Array], returned: dict[str, Any]) -> Results:
        """Outputs and gradients from the arrays that were made for them, and the numbers that came back."""
        outputs = dict(zip(self._out_names, made, strict=False)) if plan.out else {}
        outputs |= returned
        gradients: dict[str, Any] = {}
        if plan.g:
            rows = made[len(plan.out) :]
            if self._stacks["g"]:
                parts = zip(rows, plan.g, strict=True)
                rows = [row for x, (*_, count) in parts for row in (rows_of(x) if count else [x])]
            gradients = dict(zip(self._g_names, rows, strict=True))
        return (outputs if self._in_order else {name: outputs[name] for name in self._output_names}), gradients

    # ------------------------------------------------------------ the long way

    def _layout(self, names: tuple[str, ...]) -> Layout:
        interface, entry = self.interface, self.entry
        optional: set[str] = set()
        if entry.name == "backward":
            needed = list(names)
        else:
            optional = interface.optional(entry)
            needed = [x.name for x in interface.leaves if x.name not in optional]
        check_names(names, needed, f"{interface.name}.{entry.name}", optional | self._carried())
        if len(self._layouts) >= KEPT:
            self._layouts.clear()
        known = {*needed, *optional}
        layout = self._layouts[names] = Layout(
            interface, entry, tuple(name for name in names if name in known), self._constants, self.strict
        )
        return layout

    def _checked(self, layout: Layout, given: tuple[Any, ...], saved: Room | None) -> Ran:
        """A call whose arguments are looked at and converted; the next one may compare its own with them."""
        plan, arrays = self._prepare(layout, given)
        values = self._with_rows(layout, arrays)  # the same objects, but for rows that had to be copied
        room = plan.take() if saved is None else saved
        made = plan.make()
        layout.frames = None
        if self._is_direct:
            frames = self._frames(layout, plan, room)
            words, slots = frames.of(room)
            with self._settling:
                frames.settle(values)
                done = self._direct(frames.table, words, *values, *made)
            if done is None:
                raise self._failed()  # once more, what was updated would be updated twice
            if done:
                if all(map(is_, values[layout.first_kept :], arrays[layout.first_kept :])):
                    layout.frames = frames
                return self._named(plan, made, {name: slot[()] for name, slot in slots}), plan, room, arrays, layout
        return self._through_module(plan, layout, values, made, room), plan, room, arrays, layout

    def _prepare(self, layout: Layout, values: tuple[Any, ...]) -> tuple[Plan, tuple[Any, ...]]:
        """Every check, and whatever has to be converted."""
        names = [x.name for x in layout.arguments]
        given = [as_array(x, value) for x, value in zip(layout.arguments, values, strict=True)]
        sizes = bind_sizes(layout.declared, dict(zip(names, given, strict=True)), self.interface.sizes)
        arrays: list[Any] = [
            checked(x, array, sizes, x.name in layout.updated, array is value, self.strict)
            for x, array, value in zip(layout.arguments, given, values, strict=True)
        ]
        key = tuple(sizes.values())
        plan = layout.plans.get(key)
        if plan is None:
            check_requirements(self.interface.requirements, sizes)
            if len(layout.plans) >= KEPT:
                layout.plans.clear()
            plan = layout.plans[key] = Plan(self.pool, self.interface, layout, sizes)
        if layout.updated:
            refuse_overlaps(dict(zip(names, arrays, strict=True)), layout.updated)
        for at, low, high, label in plan.labels:
            if arrays[at].size:
                check_label(label, arrays[at], low, high)
        plain = [_plain(array, x.dtype) for x, array in zip(layout.arguments, arrays, strict=True)]
        for at, *_ in layout.numbers:
            plain[at] = plain[at][()]
        return plan, tuple(plain)

    def warm(self) -> None:
        """Compile what a call needs, for the types that the model declares."""
        if self._is_direct and self._direct is None:
            with patience(f"Numba compiles {self.interface.name}.{self.entry.name}"):
                self._compile()
                self._direct = direct_call()

    def _frames(self, layout: Layout, plan: Plan, room: Room) -> Frames:
        self.warm()
        if plan.frames is None:
            plan.frames = Frames(layout, plan, room, self.interface, self.entry, self._codes)
        return plan.frames

    def _compile(self) -> None:
        """Every function that the entry point calls, alone, for the types that the model declares."""
        from numba import from_dtype, types

        found: dict[str, Any] = {}
        for call in (call for run in self.entry.runs for call in run.calls):
            dtypes = [(x, from_dtype(np.dtype(x.dtype))) for x in call.operands]
            signature = tuple(t if x.by_value else types.Array(t, len(x.shape), "C") for x, t in dtypes)
            function = getattr(self._module, call.function)
            function.compile(signature)
            found[call.function] = function.overloads[signature]
        self._codes = dict(zip(found, codes_of(list(found.values())), strict=True))

    def _through_module(
        self, plan: Plan, layout: Layout, values: tuple[Any, ...], made: list[Array], room: Room
    ) -> Results:
        """By the entry point as the module has it: plain Python, or what Numba makes of it for these arguments."""
        fields = {
            "p": self._stacks_of("p", layout, values[layout.first_kept : layout.first_state]),
            "s": self._stacks_of("s", layout, values[layout.first_state : layout.first_rest]),
            "out": made[: len(plan.out)],
            "g": made[len(plan.out) :],
        }
        arguments = [
            *values[: layout.first_kept],
            *[room.workspace if k == "w" else tuple.__new__(self._holders[k], fields[k]) for k in self.entry.holders],
        ]
        result = getattr(self._module, self.entry.name)(*arguments)
        several = result if len(self._returns) > 1 else [result]
        returned = {name: kind(x) for (name, kind), x in zip(self._returns, several, strict=False)}
        return self._named(plan, made, returned)

    def _with_rows(self, layout: Layout, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same arguments; those that the module takes as one array as the rows of one.

        Rows of one array cost nothing; others are copied for every call, which a step that updates them refuses, as
        does `strict`.
        """
        found = list(values)
        for key, first in (("p", layout.first_kept), ("s", layout.first_state)):
            for x in self._stacks[key]:
                names = [f.name for f in self.interface.fields[key][x.at : x.at + x.count]]
                at = slice(first + x.at, first + x.at + x.count)
                if not any(n in self.entry.uses for n in names) or one_array(found[at]) is not None:
                    continue
                updated = any(n in layout.updated for n in names)
                if updated or self.strict:
                    why = "are updated in place" if updated else "would be copied, which strict=True refuses,"
                    raise BindingError(
                        f"{names[0]} .. {names[-1]} {why} and must be rows of one array. "
                        "Give the arrays of net.init(), or those of net.stack(...)."
                    )
                found[at] = rows_of(np.stack(found[at]))
        return tuple(found)

    def _stacks_of(self, key: str, layout: Layout, fields: tuple[Any, ...]) -> list[Any]:
        """The fields of a holder as the module has them: consecutive rows as one array."""
        found: list[Any] = []
        end = 0
        for x in self._stacks[key]:
            rows = fields[x.at : x.at + x.count]
            whole = one_array(rows)
            names = [f.name for f in self.interface.fields[key][x.at : x.at + x.count]]
            if whole is None and any(name in self.entry.uses for name in names):
                raise GradgenError(f"{self.interface.name}: the rows of a stack are not those of one array")
            found += [*fields[end : x.at], np.empty((0, *rows[0].shape), rows[0].dtype) if whole is None else whole]
            end = x.at + x.count
        return [*found, *fields[end:]]


def _plain(x: Array, dtype: str) -> Array:
    """The same elements as an array of NumPy's own class and of the one object that the dtype usually is."""
    known = np.dtype(dtype)
    return x if type(x) is np.ndarray and x.dtype is known else np.asarray(x).view(known)
