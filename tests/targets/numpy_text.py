"""The smallest target: a program as plain Python over NumPy arrays, one function for each kernel and each entry point.

In: a `Program`. Out: text, and what its entry points compute of arrays. Nothing in `passes/` knows of it: what a target
has to know of statements stands here, in a hundred lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradgen.emit.scalar_printer import ScalarPrinter
from gradgen.graph.nodes import show_size
from gradgen.graph.scalar import Load, Poly, Scalar, require_poly
from gradgen.lang.interpret_scalar import IMPLEMENTATIONS
from gradgen.program.extents import sizes_of_arrays
from gradgen.program.kernels import (
    Entry,
    Kernel,
    KernelCall,
    Program,
    Repeat,
    Row,
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
)
from gradgen.runtime.interface import evaluate_shape

PARTS = 3  # of every loop that is divided
EMPTY = {"float32": "np.nan", "float64": "np.nan", "int64": "99", "int32": "99", "uint32": "99", "bool": "True"}
COMBINED = {"max": "maximum", "min": "minimum"}


@dataclass
class NumpyText:
    """The text of one program."""

    program: Program
    rows: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of the stacks: the names of their members

    def __post_init__(self) -> None:
        self.scalars = ScalarPrinter(self.function, self.access, self.literal, self.cast)

    # ------------------------------------------------------------ expressions

    @staticmethod
    def cast(text: str, dtype: str) -> str:
        return f"np.{dtype}({text})"

    @staticmethod
    def literal(value: float, dtype: str) -> str:
        return f"np.{dtype}(float('{value!r}'))"

    @staticmethod
    def function(name: str, dtype: str, arguments: list[str]) -> str:
        return f"np.{dtype}(F['{name}']({', '.join(f'np.{dtype}({a})' for a in arguments)}))"

    def access(self, x: Load, _: ScalarPrinter) -> str:
        return self.element(x.tensor, x.subscripts)

    def element(self, b: Buffer, subscripts: Sequence[Poly]) -> str:
        return b.name if b.by_value else f"{b.name}[{', '.join(map(self.text, subscripts)) or '()'}]"

    def text(self, x: Scalar) -> str:
        return self.scalars.text(x)

    # ------------------------------------------------------------ statements

    def lines(self, body: Sequence[Statement]) -> list[str]:
        return [line for statement in body for line in self.statement(statement)] or ["pass"]

    def block(self, head: str, body: Sequence[Statement]) -> list[str]:
        return [head, *(f"    {line}" for line in self.lines(body))]

    def statement(self, s: Statement) -> list[str]:
        match s:
            case Note():
                return [f"# {s.shown}"]
            case For():
                span = ", ".join([self.text(s.start), self.text(s.stop), str(s.stride)])
                runs = f"range({span})" if s.shared is None else f"shuffled({span})"
                head, *body = self.block(f"for {s.letter} in {runs}:", s.body)
                begun, left = ([f"    {line}" for line in lines] for lines in self.own(s))
                return [head, *begun, *body, *left]
            case If():
                otherwise = self.block("else:", s.otherwise) if s.otherwise else []
                return [*self.block(f"if {self.text(s.condition)}:", s.then), *otherwise]
            case Assign():
                return [f"{self.element(s.buffer, s.subscripts)} = {self.value(s)}"]
            case Accumulate(operation="sum"):
                return [f"{self.element(s.buffer, s.subscripts)} += {self.value(s)}"]
            case Accumulate():
                place = self.element(s.buffer, s.subscripts)
                return [f"{place} = np.{COMBINED[s.operation]}({place}, {self.value(s)})"]
            case Dot():
                sign = "=" if s.scratch is None else "+="
                return [f"{self.matrix(s.out)}[...] {sign} {self.matrix(s.left)} @ {self.matrix(s.right)}"]
            case Contract():
                return self.contraction(s)
            case Parts():
                return self.divided(s)

    def own(self, s: For) -> tuple[list[str], list[str]]:
        """What an iteration of a loop that threads share has for itself: nothing yet in it, nothing left behind."""
        mine = s.shared.own if s.shared is not None else ()
        begun = []
        for b in mine:
            shape = f"({', '.join(map(self.text, b.shape))},)"
            begun.append(
                f"{b.name} = {f'np.full({shape}, {EMPTY[b.dtype]}, np.{b.dtype})' if b.shape else EMPTY[b.dtype]}"
            )
        return begun, [f"{b.name} = None" for b in mine]

    def value(self, s: Assign | Accumulate) -> str:
        return self.scalars.text(s.value, s.buffer.dtype)

    def matrix(self, m: Matrix) -> str:
        window = [f"{self.text(m.window[0])}:{self.text(require_poly(sum(m.window)))}"] if m.window else []
        part = f"{m.buffer.name}[{', '.join([*map(self.text, m.fixed), *window, '...'])}]"
        rows, columns = (m.columns, m.rows) if m.transposed else (m.rows, m.columns)
        return f"{part}.reshape({self.text(rows)}, {self.text(columns)}){'.T' if m.transposed else ''}"

    def contraction(self, s: Contract) -> list[str]:
        """Loops over all letters; what is not there is left out."""
        out, left, right = (self.element(x.buffer, (*x.fixed, *x.subscripts)) for x in (s.out, s.left, s.right))
        bounds = [
            f"0 <= {self.text(at)} < {self.text(extent)}"
            for x in (s.out, s.left, s.right)
            for at, extent in zip(x.subscripts, x.buffer.shape[len(x.fixed) :], strict=True)
        ]
        fixed = ", ".join([*map(self.text, s.out.fixed), "..."])
        found = [f"if {' and '.join(bounds)}:", f"    {out} += {left} * {right}"]
        for name, extent in reversed(s.letters):
            found = [f"for {name} in range({self.text(extent)}):", *(f"    {x}" for x in found)]
        return [f"{s.out.buffer.name}[{fixed}] = 0", *found]

    def divided(self, s: Parts) -> list[str]:
        """Its parts one after the other, each in a function: what it assigns is its own."""
        extent, count = self.text(s.extent), self.text(s.count)
        own = [f"{mine.name} = {behind.name}[{s.part}, ...]" for mine, behind in s.own]
        bounds = [f"{s.first} = {s.part} * ({extent}) // {count}", f"{s.last} = ({s.part} + 1) * ({extent}) // {count}"]
        inside = [*bounds, *own, *self.lines(s.body)]
        return [
            "def run(" + s.part + "):",
            *(f"    {x}" for x in inside),
            f"for {s.part} in range({count}):",
            f"    run({s.part})",
        ]

    # ------------------------------------------------------------ functions

    def kernel(self, kernel: Kernel) -> list[str]:
        parameters = ", ".join([*(b.name for b in kernel.parameters), *kernel.sizes])
        returned = [f"    return {', '.join(b.name for b in kernel.returns)}"] if kernel.returns else []
        known = sizes_of_arrays(kernel.lengths, kernel.parameters)
        read = [f"    {name} = {b.name}.shape[{axis}]" for name, (b, axis) in known.items()]
        head, *rest = self.block(f"def {kernel.name}({parameters}):", kernel.body)
        return [head, *read, *rest, *returned]

    def argument(self, x: Buffer | Row) -> str:
        if isinstance(x, Row):
            self.rows[x.name] = tuple(b.name for b in x.stack.members)
            return f"a[rows_{x.name}[{x.start} + {x.stride} * {x.letter}]]"
        if x.role == "one":
            return self.literal(1.0, x.dtype)
        if x.alias_of is not None:
            return f"a['{x.alias_of.name}'].reshape({', '.join(map(show_size, x.shape)) or '()'})"
        return x.name if x.by_value and x.role == "local" else f"a['{x.name}']"

    def call(self, c: KernelCall) -> str:
        results = f"{', '.join(b.name for b in c.results)} = " if c.results else ""
        return f"{results}{c.kernel}({', '.join([*map(self.argument, c.arguments), *c.sizes])})"

    def entry(self, entry: Entry) -> list[str]:
        found = [f"def {entry.name}(a, sizes):", "    globals().update(sizes)"]
        for x in entry.calls:
            if isinstance(x, Repeat):
                found.append(f"    for {x.letter} in range({x.count}):")
                found += [f"        {self.call(c)}" for c in x.calls]
            else:
                found.append(f"    {self.call(x)}")
        returned = ", ".join(f"'{b.name}': {b.name}" for b in entry.returns)
        return [*found, f"    return {{{returned}}}"]

    def module(self) -> str:
        functions = [self.kernel(k) for k in self.program.kernels] + [self.entry(e) for e in self.program.entries]
        heads = [f"rows_{name} = {members!r}" for name, members in self.rows.items()]
        return "\n".join(["import numpy as np", *heads, *(line for f in functions for line in ("", *f))]) + "\n"


def shuffled(start: int, stop: int, stride: int) -> list[int]:
    """The iterations of a loop as threads may come to them."""
    return [int(k) for k in np.random.default_rng(0).permutation(range(start, stop, stride))]


def run(program: Program, entry: str, given: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """What an entry point computes: the arrays that a call allocates, and what it returns."""
    text = NumpyText(program).module()
    module: dict[str, Any] = {"F": IMPLEMENTATIONS, "shuffled": shuffled}
    exec(compile(text, "<numpy>", "exec"), module)
    known = {**sizes, "parts": PARTS}
    stacked = {b for stack in program.stacks for b in stack.members}
    wanted = [b for b in {*program.buffers, *stacked} if b.alias_of is None]
    shapes = {b: evaluate_shape([show_size(e) for e in b.shape], known) for b in wanted}
    arrays = {b.name: np.full(shape, eval(EMPTY[b.dtype]), b.dtype) for b, shape in shapes.items()}
    arrays |= {name: np.array(x) if np.ndim(x) else x for name, x in given.items()}
    return {**arrays, **module[entry](arrays, known)}
