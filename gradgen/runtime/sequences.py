"""An entry point as its callers in Python run it: the functions that it calls, in order, and what each is given.

In: an entry of a `Program`. Out: `Run`s, kept with the `Interface`; `plans` lays their arguments out in memory. Numba
compiles the functions alone then: the entry point around them, which links and optimises all of them once more, only
for those who call it from jitted code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradgen.graph.nodes import show_size
from gradgen.program.extents import sizes_of_arrays
from gradgen.program.holders import HOLDER_OF, held
from gradgen.program.kernels import (
    Entry,
    KernelCall,
    Program,
    Repeat,
    Row,
)
from gradgen.program.loops import Buffer

__all__ = ["Call", "Operand", "Run", "run_of", "runs_of"]


@dataclass(frozen=True, slots=True)
class Operand:
    """What a function is given.

    An argument or a field of the entry point's own (`own`, `p`, `s`, `w`, `out`, `g`), the one `at` this place: all of
    it, or `row + stride * k` of it in repetition k. Or a number: the `result` of an earlier call, a `size`, `one`.
    """

    source: str
    dtype: str
    shape: tuple[str, ...] = ()
    at: int = -1
    row: int = -1
    stride: int = 0
    name: str = ""  # of a result or a size
    by_value: bool = False
    reshaped: bool = False  # whether the shape is another one than that of the field


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the module with its operands; results are numbers, names and dtypes."""

    function: str
    operands: tuple[Operand, ...]
    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """The same calls, `count` times."""

    count: int
    calls: tuple[Call, ...]


def runs_of(program: Program, entry: Entry) -> tuple[Run, ...]:
    """What an entry point does, for `Interface`."""
    found = _Places(program, entry)
    return tuple(
        Run(x.count, tuple(map(found.call, x.calls))) if isinstance(x, Repeat) else Run(1, (found.call(x),))
        for x in entry.calls
    )


def run_of(data: Mapping[str, Any]) -> Run:
    """From JSON."""
    return Run(
        data["count"],
        tuple(
            Call(
                call["function"],
                tuple(Operand(**{**x, "shape": tuple(x["shape"])}) for x in call["operands"]),
                tuple((name, dtype) for name, dtype in call["results"]),
            )
            for call in data["calls"]
        ),
    )


class _Places:
    """Where an entry point finds the buffers of its calls."""

    def __init__(self, program: Program, entry: Entry) -> None:
        self._fields: dict[Buffer, tuple[str, int]] = {}
        for key in dict.fromkeys(HOLDER_OF.values()):
            self._fields |= {b: (key, at) for at, b in enumerate(held(program, key))}
        self._fields |= {b: ("own", at) for at, b in enumerate(entry.parameters)}
        self._rows = {b: (stack.buffer, at) for stack in program.stacks for at, b in enumerate(stack.members)}

    def call(self, call: KernelCall) -> Call:
        known = sizes_of_arrays(call.sizes, call.arguments)
        passed = [Operand("size", "int64", name=s, by_value=True) for s in call.sizes if s not in known]
        results = tuple((b.name, b.dtype) for b in call.results)
        return Call(call.kernel, (*map(self._operand, call.arguments), *passed), results)

    def _operand(self, x: Buffer | Row) -> Operand:
        shape = _shown(x.shape)
        if isinstance(x, Row):
            source, at = self._fields[x.stack.buffer]
            return Operand(source, x.stack.members[0].dtype, shape, at, x.start, x.stride)
        if x.role == "one":
            return Operand("one", x.dtype, by_value=True)
        if x.by_value and x.role == "local":
            return Operand("result", x.dtype, name=x.name, by_value=True)
        field, row = self._rows.get(x.memory, (x.memory, -1))
        source, at = self._fields[field]
        return Operand(source, x.dtype, shape, at, row, by_value=x.by_value, reshaped=x.alias_of is not None)


def _shown(shape: Sequence[Any]) -> tuple[str, ...]:
    return tuple(show_size(extent) for extent in shape)
