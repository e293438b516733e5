"""What a caller has to know of a compiled module: names, dtypes, shapes and checks, without the graph or the program.

In: a program and its leaves. Out: an `Interface`, kept as JSON beside the module's text, so that a later process calls
the module without running a single pass. `calls` binds arguments by it. Sizes are text, evaluated at call time.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from gradgen.errors import ShapeError
from gradgen.graph.enumeration import Question
from gradgen.graph.nodes import Leaf, Node, product, show_size
from gradgen.graph.scalar import FLOATS, integer, require_poly
from gradgen.program.extents import sizes_of_arrays
from gradgen.program.holders import HOLDERS, entry_holders, held, part_counts, workspace_sizes
from gradgen.program.kernels import Entry, Program
from gradgen.program.loops import Buffer, Contract, Dot, For, Parts, statements
from gradgen.runtime.requirements import Label, Requirement, labels, requirements
from gradgen.runtime.sequences import Run, run_of, runs_of

__all__ = [
    "Argument", "EntryPoint", "Interface", "Stacked", "evaluate_shape", "evaluate_size", "interface_of",
    "unknown_size",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Argument:
    """One array, or one number where `by_value`, that goes into an entry point or comes out of it."""

    name: str
    dtype: str
    shape: tuple[str, ...]
    role: str
    of: str = ""  # the tensor whose derivative it is: the output of a cotangent, the leaf of a gradient

    @property
    def by_value(self) -> bool:
        """Whether the emitted code takes a number instead of an array."""
        return not self.shape and self.role in ("input", "cotangent")

    @property
    def shown(self) -> str:
        """The shape as the model declares it: `(B, 64)`."""
        return f"({', '.join(self.shape)})"


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One emitted function: its own parameters in order, then holders; what it touches; the numbers it returns."""

    name: str
    parameters: tuple[str, ...]
    holders: tuple[str, ...]
    uses: tuple[str, ...]
    returns: tuple[str, ...]
    decisions: tuple[str, ...]
    parallel: bool  # whether it runs on several threads
    runs: tuple[Run, ...]
    made_of: tuple[int, int, int]  # how many functions, and how many loops and products stand in them


@dataclass(frozen=True, slots=True)
class Stacked:
    """`count` consecutive fields of a holder, from position `at`, that the module keeps in one array."""

    holder: str
    at: int
    count: int


@dataclass(frozen=True, slots=True)
class Interface:
    """A module as its callers see it."""

    name: str
    leaves: tuple[Argument, ...]
    cotangents: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    fields: Mapping[str, tuple[Argument, ...]]  # of the holders p, s, out and g; stacks row by row
    workspace: tuple[str, ...]  # the sizes it is made for
    parts: Mapping[str, tuple[int, int]]  # numbers of parts: which array of a workspace tells them, and which axis
    entries: tuple[EntryPoint, ...]
    updated: tuple[str, ...]
    sizes: Mapping[str, int]  # those known when the model was compiled
    labels: tuple[Label, ...]
    requirements: tuple[Requirement, ...]
    checks: Mapping[str, str]  # what the entry point `check` counts, and what a count that is not 0 means
    counts: bool  # whether calls need these counts: labels do not cover all of them
    stacks: tuple[Stacked, ...] = ()
    work_bytes: str = "0"  # of a workspace, as a size

    def stacked(self, key: str) -> list[Stacked]:
        """The stacks of a holder, in the order of its fields."""
        return [x for x in self.stacks if x.holder == key]

    def numbers(self) -> dict[str, str]:
        """The dtypes of what entry points return."""
        return {**{x.name: x.dtype for x in self.outputs}, **dict.fromkeys(self.checks, "int64")}

    def entry(self, name: str) -> EntryPoint:
        """An entry point by name."""
        return next(e for e in self.entries if e.name == name)

    def without_gradient(self, loss: str | None) -> str:
        """Why there is no gradient of one number, and what to do."""
        scalars = [x.name for x in self.outputs if not x.shape and x.dtype in FLOATS]
        if not scalars:
            outputs = ", ".join(f"{x.name} {x.dtype} {x.shown}" for x in self.outputs)
            return f"no output is a float scalar, only {outputs}. Add one, such as a sum or a mean, or use backward."
        if loss is None:
            return f'{", ".join(scalars)} are float scalars: choose one with gg.compile(..., loss="{scalars[0]}").'
        return f"{loss} depends on no float parameter: declare one with gg.param, or give wrt=[...]."

    def optional(self, entry: EntryPoint) -> set[str]:
        """The leaves that a call may leave out: constants, and what updates alone read."""
        carried = {x.name for x in self.leaves if x.role in ("state", "input") and entry.name != "step"}
        constants = {x.name for x in self.leaves if x.role == "constant"}
        return (carried - {*entry.uses, *entry.parameters}) | constants

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Interface":
        data = json.loads(text)
        return Interface(
            data["name"],
            _arguments(data["leaves"]),
            _arguments(data["cotangents"]),
            _arguments(data["outputs"]),
            {key: _arguments(value) for key, value in data["fields"].items()},
            tuple(data["workspace"]),
            {name: (at, axis) for name, (at, axis) in data["parts"].items()},
            tuple(_entry(entry) for entry in data["entries"]),
            tuple(data["updated"]),
            data["sizes"],
            tuple(Label(**_with_tuples(label)) for label in data["labels"]),
            tuple(_requirement(requirement) for requirement in data["requirements"]),
            data["checks"],
            data["counts"],
            tuple(Stacked(**stack) for stack in data["stacks"]),
            data["work_bytes"],
        )


def _arguments(data: Sequence[Mapping[str, Any]]) -> tuple[Argument, ...]:
    return tuple(Argument(**_with_tuples(item)) for item in data)


def _entry(data: Mapping[str, Any]) -> EntryPoint:
    return EntryPoint(**{**_with_tuples(data), "runs": tuple(map(run_of, data["runs"]))})


def _requirement(data: Mapping[str, Any]) -> Requirement:
    inside = data["inside"]
    return Requirement(**{**_with_tuples(data), "inside": None if inside is None else Question(**_with_tuples(inside))})


def _with_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def interface_of(
    program: Program,
    leaves: Sequence[Leaf],
    outputs: Mapping[str, Node],
    updates: Iterable[Node],
    updated: Sequence[str],
    sizes: Mapping[str, int],
    checks: Mapping[str, str],
    counts: bool,
    derivatives: Mapping[str, str],
) -> Interface:
    """The interface of a program; `leaves`, `outputs` and `updates` have its dtype and its sizes."""
    cotangents = {b: None for entry in program.entries for b in entry.parameters if b.role == "cotangent"}
    work = held(program, "w")
    roots = [*outputs.values(), *updates]
    return Interface(
        program.name,
        tuple(Argument(x.name, x.dtype, _shape(x), x.role) for x in leaves),
        tuple(_of_buffer(b, derivatives) for b in cotangents),
        tuple(Argument(name, node.dtype, _shape(node), "output") for name, node in outputs.items()),
        {key: tuple(_of_buffer(b, derivatives) for b in _fields(program, key)) for key in HOLDERS if key != "w"},
        tuple(workspace_sizes(program)),
        {
            name: (next(at for at, x in enumerate(work) if x is b), axis)
            for name, (b, axis) in sizes_of_arrays(sorted(part_counts(program)), work).items()
        },
        tuple(_entry_point(program, entry) for entry in program.entries),
        tuple(updated),
        dict(sizes),
        labels(roots),
        requirements(roots),
        dict(checks),
        counts,
        tuple(
            Stacked(key, _fields(program, key).index(stack.members[0]), len(stack.members))
            for key in HOLDERS
            if key != "w"
            for b in held(program, key)
            for stack in program.stacks
            if stack.buffer is b
        ),
        _bytes(work),
    )


def _of_buffer(b: Buffer, derivatives: Mapping[str, str]) -> Argument:
    return Argument(b.name, b.dtype, _shape(b), b.role, derivatives.get(b.name, ""))


def _fields(program: Program, key: str) -> list[Buffer]:
    """The arrays of a holder by the names that callers know, the rows of a stack one after the other."""
    members = {stack.buffer: stack.members for stack in program.stacks}
    return [b for field in held(program, key) for b in members.get(field, (field,))]


def _entry_point(program: Program, entry: Entry) -> EntryPoint:
    touched = [*entry.idle, *(b for call in entry.kernel_calls for b in call.buffers)]
    members = {stack.buffer: stack.members for stack in program.stacks}
    used = dict.fromkeys(x for b in touched for x in members.get(b.memory, (b.memory,)))
    divided = {kernel.name for kernel in program.kernels if any(isinstance(s, Parts) for s in kernel.body)}
    return EntryPoint(
        entry.name,
        tuple(b.name for b in entry.parameters),
        tuple(entry_holders(program, entry)),
        tuple(b.name for b in used if b.role in ("param", "state", "constant", "gradient")),
        tuple(b.name for b in entry.returns),
        entry.decisions,
        any(call.kernel in divided for call in entry.kernel_calls),
        runs_of(program, entry),
        _made_of(program, entry),
    )


def _made_of(program: Program, entry: Entry) -> tuple[int, int, int]:
    called = {call.kernel for call in entry.kernel_calls}
    inside = [s for kernel in program.kernels if kernel.name in called for s in statements(kernel.body)]
    loops, products = (sum(isinstance(s, kinds) for s in inside) for kinds in ((For, Parts), (Dot, Contract)))
    return len(called), loops, products


def _bytes(arrays: Iterable[Buffer]) -> str:
    total = integer(0)
    for b in arrays:
        total = require_poly(total + np.dtype(b.dtype).itemsize * product(b.shape))
    return show_size(total)


def _shape(x: Node | Buffer) -> tuple[str, ...]:
    return tuple(show_size(extent) for extent in x.shape)


def evaluate_size(text: str, sizes: Mapping[str, int]) -> int:
    """A size at known sizes, from its text.

    Raises:
        ShapeError: a size that no argument has for an axis, or a division by zero.
    """
    try:
        return int(eval(_code(text), {"__builtins__": {}}, sizes))
    except NameError as error:
        raise unknown_size(error) from None
    except ZeroDivisionError:
        numbers = ", ".join(f"{name} = {value}" for name, value in sizes.items())
        raise ShapeError(f"the size {text} divides by zero for {numbers}.") from None


def evaluate_shape(shape: Sequence[str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an array at known sizes; slices that end before they begin have no elements."""
    return tuple(max(evaluate_size(extent, sizes), 0) for extent in shape)


def unknown_size(error: NameError) -> ShapeError:
    """What to say of a size that no array tells."""
    return ShapeError(
        f"the size {error.name} is no axis of an argument, and what no output reads is no argument. Give it with "
        f"gg.compile(..., sizes={{{error.name!r}: ...}})."
    )


@cache
def _code(text: str) -> CodeType:
    return compile(text, "<size>", "eval")
