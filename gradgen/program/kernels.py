"""Functions of statements, the calls of them, and the program that they make.

In: what `passes.lower.entries` cuts. Out: what passes on programs change, `program.verify` checks and `emit` prints.
"""

from dataclasses import dataclass, field

from gradgen.graph.nodes import Shape
from gradgen.graph.scalar import Poly
from gradgen.program.loops import Buffer, Parts, Statement

ENTRY_POINTS = ("forward", "backward", "value_and_grad", "step", "check")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One emitted function: parameters in order, statements, and the scalars it returns; calls hand on `sizes`."""

    name: str
    parameters: tuple[Buffer, ...]
    sizes: tuple[str, ...]
    body: tuple[Statement, ...]
    returns: tuple[Buffer, ...]
    part: "Kernel | None" = None  # what every thread runs, if the body holds `Parts`
    lengths: tuple[str, ...] = ()  # sizes that are numbers where it is called, and that it reads off its arrays

    @property
    def every_size(self) -> tuple[str, ...]:
        """The sizes that its text may mention."""
        return (*self.sizes, *self.lengths)


@dataclass(frozen=True, slots=True)
class Stack:
    """An array whose rows are the buffers of a run of equal calls, in order."""

    buffer: Buffer
    members: tuple[Buffer, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """stack[start + stride * letter], an argument of a repeated call; `letter` runs from 0 to `count`."""

    stack: Stack
    start: int
    stride: int
    count: int
    letter: str

    @property
    def name(self) -> str:
        return self.stack.buffer.name

    @property
    def shape(self) -> Shape:
        return self.stack.members[0].shape

    @property
    def members(self) -> tuple[Buffer, ...]:
        """The buffers that it stands for, in the order of the repetitions."""
        return tuple(self.stack.members[self.start + self.stride * k] for k in range(self.count))


@dataclass(frozen=True, slots=True)
class KernelCall:
    """A call of a kernel by name with buffers for its parameters, or rows of stacks inside a `Repeat`."""

    kernel: str
    arguments: tuple[Buffer | Row, ...]
    sizes: tuple[str, ...]
    results: tuple[Buffer, ...]

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """The buffers that it touches, in every repetition."""
        return tuple(b for x in self.arguments for b in (x.members if isinstance(x, Row) else (x,)))


@dataclass(frozen=True, slots=True)
class Repeat:
    """for letter in range(count): calls"""

    letter: str
    count: int
    calls: tuple[KernelCall, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One of `ENTRY_POINTS`: its kernels' calls in order."""

    name: str
    parameters: tuple[Buffer, ...]
    calls: tuple[KernelCall | Repeat, ...]
    returns: tuple[Buffer, ...]
    decisions: tuple[str, ...] = ()
    idle: tuple[Buffer, ...] = ()  # in no call: results without elements, arguments that only tell a size

    @property
    def kernel_calls(self) -> tuple[KernelCall, ...]:
        """Every call once, those of loops too."""
        return tuple(c for x in self.calls for c in (x.calls if isinstance(x, Repeat) else (x,)))


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks of a call establish: extents of the axes that data choose from, and what holds for sizes.

    Of each member of `sizes` one expression, at least, is not negative.
    """

    sizes: tuple[tuple[Poly, ...], ...] = ()
    chosen: frozenset[Poly] = frozenset()


@dataclass(frozen=True, slots=True)
class Program:
    """Everything a module holds, target-independent."""

    name: str
    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    entries: tuple[Entry, ...]
    formulas: tuple[str, ...] = field(default=())
    stacks: tuple[Stack, ...] = field(default=())
    files: tuple[str, ...] = field(default=())  # where the formulas come from
    parts: int | None = None  # how many parts loops are divided into; one for each thread without
    checked: Checked = field(default=Checked())


def divided(program: Program) -> list[Parts]:
    """The loops of a program that threads share."""
    return [s for kernel in program.kernels for s in kernel.body if isinstance(s, Parts)]
