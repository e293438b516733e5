"""The CPU target: statements as Numba Python.

In: a `Program`. Out: the lines of its functions and classes, which the templates of `cpu/` arrange into a file.
"""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import assert_never

from gradgen.emit.layout import WIDTH, assignment, fill, signature, wrap
from gradgen.emit.maxima import ORDERS
from gradgen.emit.parts import parts_lines
from gradgen.emit.scalar_library import INTEGERS, emitted_name, in_library
from gradgen.emit.scalar_printer import PRODUCT, ScalarPrinter, negation
from gradgen.errors import GraphError
from gradgen.graph.lengths import may_be_negative
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Shape, product
from gradgen.graph.scalar import FLOATS, Load, Poly, Scalar, integer, require_poly, size_symbol
from gradgen.program.contractions import one_by_one
from gradgen.program.extents import is_mentioned, sizes_mentioned, sizes_of_arrays
from gradgen.program.holders import HOLDER_OF
from gradgen.program.kernels import Kernel, KernelCall, Row
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
    statements,
)

OPTIONS = 'cache=True, fastmath=FAST, error_model="numpy"'
# Text by name, for both dtypes: no constants, which would have a dtype of their own. What needs some is a snippet.
DIRECT = {
    "sqrt": "np.sqrt({})",
    "cbrt": "np.cbrt({})",
    "exp2": "np.exp2({})",
    "log2": "np.log2({})",
    "log10": "np.log10({})",
    "sin": "np.sin({})",
    "cos": "np.cos({})",
    "tan": "np.tan({})",
    "asin": "np.arcsin({})",
    "acos": "np.arccos({})",
    "atan": "np.arctan({})",
    "atan2": "np.arctan2({}, {})",
    "sinh": "np.sinh({})",
    "cosh": "np.cosh({})",
    "asinh": "np.arcsinh({})",
    "acosh": "np.arccosh({})",
    "atanh": "np.arctanh({})",
    "hypot": "np.hypot({}, {})",
    "floor": "np.floor({})",
    "ceil": "np.ceil({})",
    "round": "np.rint({})",
    "sign": "np.sign({})",
    "pow": "np.power({}, {})",
    "square": "np.square({})",
}
BUILTIN = {"abs": "abs", "maximum": "max", "minimum": "min"}
# What NumPy computes in less time, one value after the other, where a loop cannot become vector code.
ONE_AT_A_TIME = frozenset({"exp", "log"})


@dataclass(slots=True)
class CpuPrinter:
    """Prints statements and remembers which functions of the scalar library they call."""

    used: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.scalars = ScalarPrinter(self.function, self.access, self.literal, self.cast, wraps=True)

    scalars: ScalarPrinter = field(init=False)
    holders: dict[str, str] = field(default_factory=dict)
    rows: dict[Buffer, tuple[Buffer, int]] = field(default_factory=dict)
    part: Kernel | None = None  # what a thread runs of the kernel that is being printed
    ends: dict[Scalar, str] = field(default_factory=dict)  # sizes that are read where a loop ends, and nowhere else
    taken: Set[str] = frozenset()  # names of the program: what it calls has another where it has one of these
    aliases: dict[str, str] = field(default_factory=dict)  # those others
    innermost: bool = False  # whether the loop that is being printed has none inside
    measuring: bool = False  # whether it is to be known how long lines are

    # ------------------------------------------------------------ expressions

    @staticmethod
    def cast(text: str, dtype: str) -> str:
        return f"np.{dtype}({text})"

    @staticmethod
    def literal(value: float, dtype: str) -> str:
        """A constant of exactly this dtype; a bare 0.5 would make Numba compute in float64."""
        if value != value:
            return f"np.{dtype}(np.nan)"
        if value in (float("inf"), float("-inf")):
            return f"np.{dtype}({'-' if value < 0 else ''}np.inf)"
        return f"np.{dtype}({value!r})"

    def called(self, name: str) -> str:
        """How functions call what the module, or Python, calls `name`."""
        if name in self.taken:
            return self.aliases.setdefault(name, free_name(name, self.taken))
        return name

    def function(self, name: str, dtype: str, arguments: list[str]) -> str:
        if name == "from_order":
            dtype = next(f for f, order in ORDERS.items() if order == dtype)
        if name in INTEGERS and dtype not in FLOATS:
            dtype = "int64"
        if name in ("floor", "ceil", "round") and dtype not in FLOATS:
            return self.cast(arguments[0], dtype)
        if name == "sign" and dtype == "uint32":
            return f"np.uint32({arguments[0]} != 0)"  # which Numba compares as if it were signed
        if name in ONE_AT_A_TIME and not self.innermost:
            return f"np.{name}({arguments[0]})"
        if in_library(name, dtype):
            self.used.add((name, dtype))
            return f"{self.called(emitted_name(name, dtype))}({', '.join(arguments)})"
        if name in BUILTIN:
            return f"{self.called(BUILTIN[name])}({', '.join(arguments)})"
        if name in DIRECT:
            return DIRECT[name].format(*arguments)
        if name == "isnan":
            return f"np.isnan({arguments[0]})"
        if name == "relu":
            return f"{self.called('max')}({arguments[0]}, 0)"
        raise GraphError(f"the CPU target has no text for the scalar function {name}")

    def access(self, x: Load, scalars: ScalarPrinter) -> str:
        return self.element(x.tensor, x.subscripts)

    def element(self, buffer: Buffer, subscripts: Sequence[Poly]) -> str:
        if buffer.by_value:
            return buffer.name
        return f"{buffer.name}[{', '.join(self.scalars.poly(s) for s in subscripts) or '()'}]"

    def shape(self, shape: Shape) -> str:
        """The inside of a tuple of sizes: `B, 64`, or `B,` for a single one."""
        return ", ".join(self.size(extent) for extent in shape) + ("," if len(shape) == 1 else "")

    def size(self, x: Scalar) -> str:
        return self.scalars.text(x)

    def length(self, extent: Poly) -> str:
        """A size for arrays: nothing where a slice ends before it begins."""
        return f"max({self.size(extent)}, 0)" if may_be_negative(extent) else self.size(extent)

    def lengths(self, shape: Shape) -> str:
        """As `shape`, for arrays."""
        return ", ".join(map(self.length, shape)) + ("," if len(shape) == 1 else "")

    # ------------------------------------------------------------ statements

    def lines(self, body: Iterable[Statement], indent: int = 0) -> list[str]:
        pad = "    " * indent
        found: list[str] = []
        for statement in body:
            match statement:
                case Note():
                    found += [f"{pad}# {line}" for line in wrap(statement.shown, WIDTH - len(pad) - 2)]
                case For():
                    self.innermost = not any(isinstance(s, For) for s in statements(statement.body))
                    inner = self.lines(statement.body, indent + 1)
                    self.innermost = False
                    found.append(f"{pad}for {self.loop_variable(statement)} in {self.range(statement)}:")
                    found += inner
                case If():
                    found += self.branches(statement, indent)
                case Assign():
                    target = self.element(statement.buffer, statement.subscripts)
                    found += self.assigned(target, f"= {self.value(statement)}", pad)
                case Accumulate():
                    found += self.assigned(*self.accumulate(statement), pad)
                case Dot():
                    found += [pad + line for line in self.dot(statement, len(pad))]
                case Contract():
                    found += self.lines(one_by_one(statement), indent)
                case Parts():
                    found += [pad + line for line in self.parts(statement, len(pad))]
                case _:
                    assert_never(statement)
        return found

    def assigned(self, target: str, value: str, pad: str) -> list[str]:
        """A statement that gives a value to something, which `width` measures as it is on one line."""
        if self.measuring:
            return [f"{pad}{target} {value}"]
        return [pad + line for line in assignment(target, value, len(pad))]

    def branches(self, statement: If, indent: int) -> list[str]:
        """A choice among many is one chain of `elif`, however many there are."""
        pad, word = "    " * indent, "if"
        found: list[str] = []
        while True:
            found.append(f"{pad}{word} {self.scalars.text(statement.condition)}:")
            found += self.lines(statement.then, indent + 1)
            match statement.otherwise:
                case ():
                    return found
                case (If() as following,):
                    statement, word = following, "elif"
                case _:
                    return [*found, f"{pad}else:", *self.lines(statement.otherwise, indent + 1)]

    def value(self, statement: Assign) -> str:
        value = self.scalars.text(statement.value, statement.buffer.dtype)
        return "False" if statement.buffer.dtype == "bool" and value == "0" else value

    @staticmethod
    def loop_variable(loop: For) -> str:
        """The letter of a loop, or `_` where its body does not read it."""
        return loop.letter if not loop.body or is_mentioned(loop) else "_"

    def width(self, statement: Statement, indent: int) -> int:
        """The letters in the longest line of a statement, not counting its body."""
        match statement:
            case For():
                statement = replace(statement, body=())
            case If():
                statement = If(statement.condition, ())
            case Parts():
                return 0  # a call, which `fill` breaks
        used, self.used, self.innermost = self.used, set(), True  # the longer names, and none of them for good
        self.measuring = True
        found = max(len(line) for line in self.lines([statement], indent))
        self.used, self.innermost, self.measuring = used, False, False
        return found

    def range(self, loop: For) -> str:
        start, stop = self.size(loop.start), self.ends.get(loop.stop) or self.size(loop.stop)
        if loop.stride != 1:
            return f"range({start}, {stop}, {loop.stride})"
        return f"range({stop})" if start == "0" else f"range({start}, {stop})"

    def accumulate(self, statement: Accumulate) -> tuple[str, str]:
        """What is added to, and the sign with what is added."""
        target = self.element(statement.buffer, statement.subscripts)
        value = self.scalars.text(statement.value, statement.buffer.dtype)
        if statement.operation == "sum":
            negated = negation(statement.value)
            if negated is not None:
                return target, f"-= {self.scalars.text(negated, statement.buffer.dtype)}"
            product = self.scalars.text(statement.value, statement.buffer.dtype, PRODUCT)
            if product.startswith("-"):
                return target, f"-= {product[1:]}"
            return target, f"+= {value}"
        if statement.buffer.by_value and value.isidentifier() and statement.buffer.dtype in FLOATS:
            kept = f"{target} {'>=' if statement.operation == 'max' else '<='} {value} or {target} != {target}"
            return target, f"= {target} if {kept} else {value}"
        name = {"max": "maximum", "min": "minimum"}[statement.operation]
        return target, f"= {self.function(name, statement.buffer.dtype, [target, value])}"

    def parts(self, statement: Parts, indent: int) -> list[str]:
        assert self.part is not None
        sources = size_sources(self.part.sizes, self.part.parameters)
        passed = [s for s in self.part.sizes if s not in sources]
        return parts_lines(statement, self.part, passed, self.size, fill, indent)

    def dot(self, statement: Dot, indent: int) -> list[str]:
        left, right, out = (self.matrix(m) for m in (statement.left, statement.right, statement.out))
        if statement.scratch is None:
            return fill("np.dot(", [left, right, out], indent)
        term = statement.scratch.name
        rows, columns = self.size(statement.out.rows), self.size(statement.out.columns)
        matrix, row, column = statement.adding
        total = matrix if out != statement.out.buffer.name else out
        found = fill("np.dot(", [left, right, term], indent)
        if total != out:
            found.append(f"{total} = {out}")
        at = f"[{row}, {column}]"
        added = assignment(f"{total}{at}", f"+= {term}{at}", indent + 8)
        loops = [f"for {row} in range({rows}):", f"    for {column} in range({columns}):"]
        return [*found, *loops, *[f"        {line}" for line in added]]

    def matrix(self, m: Matrix) -> str:
        text = m.buffer.name
        subscripts = [self.scalars.poly(s) for s in m.fixed]
        if m.window is not None:
            start, count = m.window
            first = "" if start.constant == 0 else self.scalars.poly(start)
            last = self.scalars.poly(require_poly(start + count))
            if may_be_negative(count):
                last = f"max({last}, {first or 0})"
            spaced = f"{first} : {last}".lstrip()  # as ruff spaces it
            subscripts.append(f"{first}:{last}" if re.fullmatch(r"\w*", first + last) else spaced)
        if subscripts:
            text += f"[{', '.join(subscripts)}]"
        if m.is_folded:
            text += f".reshape(({self.folded(m, m.columns if m.transposed else m.rows)}))"
        return f"{text}.T" if m.transposed else text

    def folded(self, m: Matrix, rows: Poly) -> str:
        """The sizes of a matrix whose axes are several in memory; two of them may lack elements."""
        axes = m.buffer.shape[len(m.fixed) :]
        axes = axes if m.window is None else (m.window[1], *axes[1:])
        at = next(k for k in range(len(axes) + 1) if product(axes[:k]) is rows)
        return ", ".join(
            " * ".join(map(self.length, part)) if any(map(may_be_negative, part)) else self.size(product(part))
            for part in (axes[:at], axes[at:])
        )

    # ------------------------------------------------------------ functions

    def kernel(self, kernel: Kernel) -> dict[str, object]:
        self.part = kernel.part
        sources = size_sources(kernel.every_size, kernel.parameters)
        passed = [s for s in kernel.sizes if s not in sources]
        body = kernel.body
        counts = sizes_mentioned(body, kernel.part)
        ends = [s for s in body if isinstance(s, For) and s.start is integer(0) and s.stride == 1]
        self.ends = {loop.stop: sources[s] for s in sources for loop in ends if loop.stop is size_symbol(s)}
        self.ends = {stop: source for stop, source in self.ends.items() if counts[self.size(stop)] == 1}
        named = [s for s in sources if counts[s] and size_symbol(s) not in self.ends]
        lines = [*(f"{s} = {sources[s]}" for s in named), *self.returning(body, kernel.returns)]
        if all(isinstance(s, Note) for s in body) and not kernel.returns:
            lines.append("pass")
        return {
            "name": kernel.name,
            "options": f"{OPTIONS}, parallel=True" if kernel.part is not None else OPTIONS,
            "signature": signature(kernel.name, [*(b.name for b in kernel.parameters), *passed]),
            "lines": lines,
        }

    def returning(self, body: Sequence[Statement], results: Sequence[Buffer]) -> list[str]:
        """The lines of a function: what the last statement assigns is returned at once."""
        last = body[-1] if body else None
        if isinstance(last, Assign) and [last.buffer] == list(results):
            return [*self.lines(body[:-1]), f"return {self.value(last)}"]
        return [*self.lines(body), *([f"return {', '.join(b.name for b in results)}"] if results else [])]

    def holder(self, b: Buffer) -> str:
        """How an entry point names a buffer: `p.X1`, `w.h1`, or the bare name of an argument or a local."""
        if b.role == "one":
            return self.literal(1.0, b.dtype)
        if b.alias_of is not None or b.by_value or b.role not in HOLDER_OF:
            return b.name
        if b in self.rows:
            stack, at = self.rows[b]
            return f"{self.holder(stack)}[{at}]"
        return f"{self.holders[HOLDER_OF[b.role]]}.{b.name}"

    def argument(self, x: Buffer | Row) -> str:
        """An argument of a call; a row of a stack is named by the repetition."""
        if isinstance(x, Buffer):
            return self.holder(x)
        step = x.letter if abs(x.stride) == 1 else f"{abs(x.stride)} * {x.letter}"
        if x.stride < 0:
            return f"{self.holder(x.stack.buffer)}[{x.start} - {step}]"
        return f"{self.holder(x.stack.buffer)}[{step}{f' + {x.start}' if x.start else ''}]"

    def call(self, call: KernelCall, indent: int = 0, returned: bool = False) -> list[str]:
        passed = [s for s in call.sizes if s not in size_sources(call.sizes, call.arguments)]
        arguments = [*(self.argument(b) for b in call.arguments), *passed]
        results = ", ".join(b.name for b in call.results)
        opening = f"{'return' if returned else f'{results} ='} {call.kernel}(" if results else f"{call.kernel}("
        return fill(opening, arguments, indent)


def size_sources(sizes: Sequence[str], arrays: Sequence[Buffer | Row]) -> dict[str, str]:
    """For each size the text that reads it off an array; sizes that no axis is are passed as arguments."""
    return {name: f"{b.name}.shape[{axis}]" for name, (b, axis) in sizes_of_arrays(sizes, arrays).items()}
