"""One entry point, called with arrays by name: checked in full when something is new, in a few comparisons otherwise.

In: an `Interface` and an emitted module. Out: outputs and gradients by name. A `Plan` is what follows from the sizes of
a call; a `Layout` is what follows from the names given. Numba's dispatcher is left out of repeated calls: the types are
known, so the compiled function is fetched once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from operator import attrgetter, is_, itemgetter
from types import ModuleType
from typing import Any
from weakref import ref

import numpy as np

from gradgen.errors import BindingError
from gradgen.runtime.bindings import (
    Array,
    bind_sizes,
    check_label,
    check_names,
    check_requirements,
    checked,
    label_bounds,
    one_array,
    refuse_overlaps,
)
from gradgen.runtime.interface import Argument, EntryPoint, Interface, evaluate_size

__all__ = ["Caller", "Plan", "WorkspacePool"]

_READABLE = 0x1 | 0x100  # the bits of flags.num: C-contiguous and aligned
_KEPT = 8  # plans and workspaces kept per caller, for callers whose sizes keep changing
_PYTHON: dict[str, type] = {"f": float, "i": int, "b": bool}
_CLASSES = {"p": "Params", "s": "State", "out": "Outputs", "g": "Gradients"}
_shape = attrgetter("shape")


class WorkspacePool:
    """Workspaces by sizes: one is taken for a call and given back after it, so that threads never share one.

    `list.pop` and `list.append` are atomic, so there is no lock.
    """

    def __init__(self, make: Callable[..., Any] | None) -> None:
        self.make = make
        self._free: dict[tuple[int, ...], list[Any]] = {}

    def free(self, sizes: tuple[int, ...]) -> list[Any]:
        """The unused workspaces for these sizes."""
        found = self._free.get(sizes)
        if found is None:
            for old in list(self._free)[: max(0, len(self._free) - _KEPT + 1)]:
                self._free.pop(old, [None]).clear()
            found = self._free.setdefault(sizes, [])
        return found


class Plan:
    """What follows from the sizes of a call: shapes to expect, arrays to make, values that may select."""

    def __init__(self, caller: "Caller", layout: "Layout", sizes: Mapping[str, int]) -> None:
        def shape(x: Argument) -> tuple[int, ...]:
            return tuple(evaluate_size(extent, sizes) for extent in x.shape)

        interface = caller.interface
        self.sizes = sizes
        self.size_key = tuple(sizes[name] for name in interface.workspace)
        self.free = caller.pool.free(self.size_key)
        self.shapes = [shape(x) for x in layout.inputs]
        self.out = [(shape(x), np.dtype(x.dtype)) for x in interface.fields["out"]]
        stacks = {x.at: x.count for x in interface.stacked("g")}
        fields = interface.fields["g"]
        self.g: list[tuple[Any, tuple[int, ...], np.dtype[Any], int]] = []  # how to make it, and its rows, 0 for one
        at = 0
        while at < len(fields):
            count = stacks.get(at, 0)
            members = fields[at : at + (count or 1)]
            make = np.empty if all(x.name in caller.entry.uses for x in members) else np.zeros
            whole = (count, *shape(members[0])) if count else shape(members[0])
            self.g.append((make, whole, np.dtype(members[0].dtype), count))
            at += count or 1
        places = {x.name: at for at, x in enumerate((*layout.inputs, *layout.kept))}
        self.labels = [(places[x.leaf], *label_bounds(x, sizes), x) for x in interface.labels if x.leaf in places]

    def take(self, pool: WorkspacePool) -> Any:
        """A workspace of this call's own."""
        try:
            return self.free.pop()
        except IndexError:
            return None if pool.make is None else pool.make(*self.size_key)


class Layout:
    """What follows from the names given: their order, and the arrays recognised from the call before.

    Parameters and states that are the same objects as before were checked then; their shapes are compared again,
    because NumPy can change them in place. They are recognised by their ids, which are forgotten when one of them dies.
    """

    def __init__(self, caller: "Caller", names: tuple[str, ...]) -> None:
        interface, entry = caller.interface, caller.entry
        known = {x.name: x for x in (*interface.leaves, *interface.cotangents)}
        fields = [x for key in ("p", "s") if key in entry.holders for x in interface.fields[key]]
        kept = {x.name for x in fields}
        rest = [n for n in names if n not in kept and n not in entry.parameters]
        self.inputs = [known[n] for n in (*entry.parameters, *rest)]
        self.kept = [x if x.name in names else replace(x, shape=("0",) * len(x.shape)) for x in fields]
        self.absent = {x.name: np.empty((0,) * len(x.shape), x.dtype) for x in fields if x.name not in names}
        self.used = len(entry.parameters)
        self.first_kept = len(self.inputs)
        self.first_state = self.first_kept + (len(interface.fields["p"]) if "p" in entry.holders else 0)
        self.pick = _picker([x.name for x in (*self.inputs, *self.kept)])
        written = set(interface.updated) if entry.name == "step" else set()
        self.written = [x.name for x in self.kept if x.name in written]
        self.written_at = [self.first_kept + at for at, x in enumerate(self.kept) if x.name in written]
        self.dtypes = [np.dtype(x.dtype) for x in self.inputs]
        places = {x.name: at for at, x in enumerate((*interface.leaves, *interface.cotangents))}
        self.declared = sorted((*self.inputs, *self.kept), key=lambda x: places[x.name])
        self.numbers = [
            (at, _PYTHON[dtype.kind], dtype.type)
            for at, (x, dtype) in enumerate(zip(self.inputs, self.dtypes, strict=True))
            if x.by_value
        ]
        self.plans: dict[tuple[int, ...], Plan] = {}
        self.last: _Recognised | None = None

    def with_numbers(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Python numbers in the dtype of the argument, which they are weaker than."""
        found = list(values)
        for at, python, dtype in self.numbers:
            if type(found[at]) is python:
                found[at] = dtype(found[at])
        return tuple(found)


class _Recognised:
    """The plan of the call before, and the ids of its parameters and states and of the memory they live in."""

    def __init__(self, plan: Plan, kept: Iterable[Array], written: Iterable[Array]) -> None:
        arrays = list(kept)
        self.plan = plan
        self.ids = list(map(id, arrays))
        self.shapes = [*plan.shapes, *map(_shape, arrays)]
        self.owners = {id(x if x.base is None else x.base) for x in written}
        ids = self.ids
        self._alive = [ref(x, lambda _: ids.clear()) for x in arrays]


class Caller:
    """An entry point of a module."""

    def __init__(self, interface: Interface, entry: EntryPoint, module: ModuleType, pool: WorkspacePool) -> None:
        self.interface = interface
        self.entry = entry
        self.pool = pool
        self._function: Any = getattr(module, entry.name)
        self._native: Any = None
        self._params, self._state, self._out, self._g = (
            getattr(module, name) if key in entry.holders else None for key, name in _CLASSES.items()
        )
        self._works = "w" in entry.holders
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._stacks = {key: interface.stacked(key) for key in ("p", "s", "g")}
        self._stack_names = {
            (x.holder, x.at): [f.name for f in interface.fields[x.holder][x.at : x.at + x.count]]
            for x in interface.stacks
        }
        self._used = set(entry.uses)
        self._written = set(interface.updated) if entry.name == "step" else set()
        self._out_names = [x.name for x in interface.fields["out"]]
        self._g_names = [x.name[2:] for x in interface.fields["g"]]
        kinds = {x.name: np.dtype(x.dtype).type for x in interface.outputs}
        self._returns = [(name, kinds[name]) for name in entry.returns]
        self._output_names = [x.name for x in interface.outputs if entry.name != "backward"]
        made = [*(self._out_names if self._out is not None else ()), *entry.returns]
        self._in_order = made == self._output_names

    def __call__(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Outputs and gradients by name."""
        plan, layout, values = self._bound(given)
        workspace = plan.take(self.pool)
        result = self._run(plan, layout, values, workspace)
        plan.free.append(workspace)
        return result

    def saving(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], Any, Plan, dict[str, Any]]:
        """Outputs by name, and what a later call needs: the workspace, the plan it belongs to, the arguments."""
        plan, layout, values = self._bound(given)
        workspace = plan.take(self.pool)
        outputs, _ = self._run(plan, layout, values, workspace)
        names = [x.name for x in (*layout.inputs, *layout.kept)]
        arguments = {n: x for n, x in zip(names, values, strict=True) if n not in layout.absent}
        return outputs, workspace, plan, arguments

    def with_saved(self, given: Mapping[str, Any], workspace: Any) -> dict[str, Any]:
        """Gradients by name, from a workspace that `saving` has filled."""
        plan, layout, values = self._bound(given)
        return self._run(plan, layout, values, workspace)[1]

    def _bound(self, given: Mapping[str, Any]) -> tuple[Plan, Layout, tuple[Any, ...]]:
        """The arguments in order, checked."""
        names = tuple(given)
        layout = self._layouts.get(names)
        if layout is None:
            layout = self._layout(names)
        values = layout.pick({**given, **layout.absent} if layout.absent else given)
        if layout.numbers:
            values = layout.with_numbers(values)
        last = layout.last
        if last is not None and _same(layout, last, values):
            plan = last.plan
        else:
            plan, values = self._prepare(layout, values)
        for at, low, high, label in plan.labels:
            value = values[at]
            if value.size == 1:
                if not low <= value.item() <= high:
                    check_label(label, value, low, high)
            elif value.size:
                if low == 0 and high >= 0:  # as unsigned numbers, negative ones are the largest
                    unsigned = value.view("u8" if value.itemsize == 8 else "u4")
                    if np.maximum.reduce(unsigned, axis=None) > high:
                        check_label(label, value, low, high)
                else:
                    check_label(label, value, low, high)
        return plan, layout, values

    def _run(
        self, plan: Plan, layout: Layout, values: tuple[Any, ...], workspace: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        arguments = [*values[: layout.used]]
        gradients: dict[str, Any] = {}
        outputs: dict[str, Any] = {}
        if self._params is not None:
            arguments.append(_filled(self._params, self._stacked("p", values[layout.first_kept : layout.first_state])))
        if self._state is not None:
            arguments.append(_filled(self._state, self._stacked("s", values[layout.first_state :])))
        if self._works:
            arguments.append(workspace)
        if self._out is not None:
            made = [np.empty(shape, dtype) for shape, dtype in plan.out]
            outputs = dict(zip(self._out_names, made, strict=True))
            arguments.append(_filled(self._out, made))
        if self._g is not None:
            made = [new(shape, dtype) for new, shape, dtype, _ in plan.g]
            rows = made
            if self._stacks["g"]:
                rows = [
                    row
                    for array, (*_, count) in zip(made, plan.g, strict=True)
                    for row in (array if count else [array])
                ]
            gradients = dict(zip(self._g_names, rows, strict=True))
            arguments.append(_filled(self._g, made))
        if self._native is None:
            self._native = _native(self._function, arguments)
        result = self._native(*arguments)
        if self._returns:
            if len(self._returns) == 1:
                name, kind = self._returns[0]
                outputs[name] = kind(result)
            else:
                for (name, kind), value in zip(self._returns, result, strict=True):
                    outputs[name] = kind(value)
        return outputs if self._in_order else {name: outputs[name] for name in self._output_names}, gradients

    def _stacked(self, key: str, fields: tuple[Any, ...]) -> tuple[Any, ...]:
        """The fields of a holder, consecutive rows as the stack that the module takes.

        Rows of one array cost nothing; others are copied for every call, which a step that updates them refuses.
        """
        stacks = self._stacks[key]
        if not stacks:
            return fields
        found: list[Any] = []
        end = 0
        for x in stacks:
            rows, names = fields[x.at : x.at + x.count], self._stack_names[key, x.at]
            found += fields[end : x.at]
            end = x.at + x.count
            if not any(n in self._used for n in names):
                found.append(np.empty((0,) * (rows[0].ndim + 1), rows[0].dtype))
                continue
            whole = one_array(rows)
            if whole is None and any(n in self._written for n in names):
                raise BindingError(
                    f"{names[0]} .. {names[-1]} are updated in place and must be rows of one array. "
                    "Give the arrays of net.init(), or those of net.stack(...)."
                )
            found.append(np.stack(rows) if whole is None else whole)
        return (*found, *fields[end:])

    def _layout(self, names: tuple[str, ...]) -> Layout:
        interface, entry = self.interface, self.entry
        if entry.name == "backward":
            needed = list(names)
        else:
            states = {x.name for x in interface.leaves if x.role == "state"} if entry.name != "step" else set()
            optional = states - set(entry.uses)
            needed = [x.name for x in interface.leaves if x.name not in optional or x.name in names]
        check_names(names, needed, f"{interface.name}.{entry.name}")
        if len(self._layouts) >= _KEPT:
            self._layouts.clear()
        layout = self._layouts[names] = Layout(self, names)
        return layout

    def _prepare(self, layout: Layout, values: tuple[Any, ...]) -> tuple[Plan, tuple[Any, ...]]:
        """Every check, and whatever has to be converted."""
        arguments = [*layout.inputs, *layout.kept]
        names = [x.name for x in arguments]
        sizes = bind_sizes(layout.declared, dict(zip(names, values, strict=True)), self.interface.sizes)
        arrays: list[Any] = []
        for x, value in zip(arguments, values, strict=True):
            arrays.append(checked(x, value, sizes, x.name in layout.written))  # a loop, because warnings count frames
        key = tuple(sizes.values())
        plan = layout.plans.get(key)
        if plan is None:
            check_requirements(self.interface.requirements, sizes)
            if len(layout.plans) >= _KEPT:
                layout.plans.clear()
            plan = layout.plans[key] = Plan(self, layout, sizes)
        by_name = dict(zip(names, arrays, strict=True))
        if layout.written:
            refuse_overlaps(by_name, layout.written)
        kept = arrays[layout.first_kept :]
        if all(map(is_, kept, values[layout.first_kept :])):
            layout.last = _Recognised(plan, kept, [by_name[n] for n in layout.written])
        for at, _, _ in layout.numbers:
            arrays[at] = arrays[at][()]
        return plan, tuple(arrays)


def _same(layout: Layout, last: _Recognised, values: tuple[Any, ...]) -> bool:
    """Whether the arguments fit the plan of the call before, so that nothing needs to be checked again."""
    try:
        shapes = list(map(_shape, values))
    except AttributeError:  # a list, or another number
        return False
    if shapes != last.shapes or list(map(id, values[layout.first_kept :])) != last.ids:
        return False
    owners = last.owners
    for value, dtype in zip(values, layout.dtypes):  # noqa: B905  # the arrays kept follow the inputs
        if type(value) is not np.ndarray:
            if type(value) is not dtype.type:
                return False
        elif value.dtype is not dtype or value.flags.num & _READABLE != _READABLE or not value.ndim:
            return False
        elif owners:
            base = value.base
            if base is None:
                near = id(value) in owners
            else:
                near = id(base) in owners or type(base) is not np.ndarray or base.base is not None
            if near and any(np.may_share_memory(value, values[at]) for at in layout.written_at):
                return False  # to the full check, which refuses it
    return True


def _filled(holder: Any, fields: Iterable[Any]) -> Any:
    """A named tuple from its fields, without the checks of its constructor."""
    return tuple.__new__(holder, fields)


def _native(function: Any, arguments: list[Any]) -> Any:
    """The compiled function for arguments of these types, without the dispatcher that would look at them again.

    Read-only arrays count as writable ones: the emitted code does not write to them, and one signature is enough.
    """
    if not hasattr(function, "compile"):  # plain Python, under NUMBA_DISABLE_JIT=1
        return function
    from numba import typeof

    return function.compile(tuple(typeof(_example(x)) for x in arguments))


def _example(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return np.empty((0,) * x.ndim, x.dtype)
    return tuple.__new__(type(x), map(_example, x)) if isinstance(x, tuple) else x


def _picker(names: list[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """The values of these names, as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: tuple(given[n] for n in names)
