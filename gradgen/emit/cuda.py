"""The CUDA target: loops whose iterations own what they write, as kernels with one thread per iteration.

In: a `Program` and the names of some of its kernels. Out: the text of a module of `@cuda.jit` kernels, arranged by the
templates of `cuda/`. Memory and launches are the caller's: there is no driver yet, and `gg.compile` does not offer it.
The simulator has run these kernels and the assembler has taken them for sm_90; no GPU has run them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gradgen.emit.cpu import CpuPrinter, size_sources
from gradgen.emit.layout import signature, title
from gradgen.emit.templates import render
from gradgen.errors import GraphError
from gradgen.graph.scalar import FLOATS, require_poly
from gradgen.program.extents import sizes_mentioned
from gradgen.program.kernels import Kernel, Program
from gradgen.program.loops import (
    Assign,
    Buffer,
    For,
    Note,
    Statement,
    reads,
    writes,
)
from gradgen.program.verify import verify_program

MATH = {
    **{
        name: f"math.{name}({{}})"
        for name in (
            "exp",
            "exp2",
            "expm1",
            "log",
            "log2",
            "log10",
            "log1p",
            "sqrt",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "asinh",
            "acosh",
            "atanh",
            "erf",
            "erfc",
            "lgamma",
        )
    },
    "atan2": "math.atan2({}, {})",
    "hypot": "math.hypot({}, {})",
    "isnan": "math.isnan({})",
    "pow": "math.pow({}, {})",
    "abs": "abs({})",
    "square": "({0} * {0})",
}
RECIPROCAL = {"rsqrt": "math.sqrt({})", "reciprocal": "({})"}
DEVICE = (
    "difference",
    "less_one",
    "logsigmoid",
    "maximum",
    "minimum",
    "relu",
    "sigmoid",
    "sign",
    "softplus",
)  # templates/cuda/scalar
SUFFIX = {"float32": "f32", "float64": "f64"}


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """One launch: what every thread computes beforehand, the loop that the threads share, and its arrays and sizes.

    `own` are the arrays of a thread.
    """

    name: str
    notes: tuple[Note, ...]
    before: tuple[Assign, ...]
    loop: For
    own: tuple[Buffer, ...]
    parameters: tuple[Buffer, ...]
    sizes: tuple[str, ...]


def cuda_kernels(program: Program, names: Sequence[str]) -> list[CudaKernel]:
    """The launches, in order, that do what these kernels of a program do: one for each of their outermost loops.

    Raises:
        GraphError: an iteration would write what it does not own, or the kernel is more than such loops.
    """
    verify_program(program)
    kernels = {kernel.name: kernel for kernel in program.kernels}
    for name in names:
        if name not in kernels:
            raise GraphError(f"{program.name} has no kernel {name}; it has {', '.join(kernels)}")
    return [launch for name in names for launch in _launches(kernels[name])]


def render_cuda_module(program: Program, names: Sequence[str]) -> str:
    """The text of a module with the CUDA kernels of some of a program's kernels.

    Raises:
        GraphError: see `cuda_kernels`.
    """
    printer = CudaPrinter()
    kernels = [printer.launch(kernel) for kernel in cuda_kernels(program, names)]
    functions = [
        render(f"cuda/scalar/{name}.py.j2", dtype=dtype, suffix=SUFFIX[dtype]).rstrip("\n")
        for name, dtype in sorted(printer.used)
    ]
    text = "\n".join(line for kernel in kernels for line in kernel["lines"])  # type: ignore[attr-defined]  # lines
    uses_math = "math." in text or any("math." in function for function in functions)
    uses_numpy = "np." in text or any("np." in function for function in functions)
    return render(
        "cuda/kernel.py.j2",
        title=title(program),
        header=list(program.formulas),
        imports=["import math"] if uses_math else [],
        packages=["import numpy as np"] if uses_numpy else [],
        functions=functions,
        kernels=kernels,
    )


# ---------------------------------------------------------------- launches


def _launches(kernel: Kernel) -> list[CudaKernel]:
    if kernel.returns:
        raise GraphError(f"{kernel.name} returns {kernel.returns[0].name}: CUDA kernels return nothing")
    loops = [s for s in kernel.body if isinstance(s, For)]
    notes: list[Note] = []
    before: list[Assign] = []
    found: list[CudaKernel] = []
    for statement in kernel.body:
        match statement:
            case Note():
                notes.append(statement)
            case Assign() if statement.buffer.by_value:
                before.append(statement)
            case For():
                name = kernel.name if len(loops) == 1 else f"{kernel.name}_{len(found) + 1}"
                found.append(_launch(kernel, name, tuple(notes), before, statement))
                notes = []
            case _:
                raise GraphError(f"{kernel.name} is more than loops: no CUDA kernel for {type(statement).__name__} yet")
    return found


def _launch(kernel: Kernel, name: str, notes: tuple[Note, ...], before: Sequence[Assign], loop: For) -> CudaKernel:
    _require_threads(kernel, loop)
    needed: list[Assign] = []
    inside: list[Statement] = [loop]
    for assign in reversed(before):
        if assign.buffer in {b for s in inside for b in reads(s)}:
            if any(b in {w for s in kernel.body for w in writes(s)} and not b.by_value for b in reads(assign)):
                raise GraphError(f"{kernel.name} reads between its loops what they write: {assign.buffer.name}")
            needed.insert(0, assign)
            inside.insert(0, assign)
    touched = {b for s in inside for b in reads(s) | writes(s)}
    own = sorted((b for b in touched if b.is_thread_array), key=lambda b: b.name)
    kept = [b for b in kernel.parameters if b.memory in touched]
    return CudaKernel(
        name, notes, tuple(needed), loop, tuple(own), tuple(kept), tuple(sorted(sizes_mentioned(inside, None)))
    )


def _require_threads(kernel: Kernel, loop: For) -> None:
    where = f"{kernel.name}: the loop over {loop.letter}"
    if loop.shared is None:
        if loop.kind == "serial":
            raise GraphError(f"{kernel.name}: the steps of {loop.letter} follow each other, threads do not")
        raise GraphError(f"{where} is not shared by threads: its iterations need each other, or it is made for a CPU")
    if loop.shared.sums:
        raise GraphError(
            f"{where} sums into {', '.join(x.buffer.name for x in loop.shared.sums)}, which its iterations share; "
            "on a GPU they would overwrite each other. Only loops that own what they write become CUDA kernels yet."
        )


# ---------------------------------------------------------------- text


@dataclass(slots=True)
class CudaPrinter(CpuPrinter):
    """The statements of the CPU, with `math` for `numpy` and an outermost loop that the threads share."""

    shared: For | None = None

    def function(self, name: str, dtype: str, arguments: list[str]) -> str:
        if dtype in FLOATS and name in DEVICE:
            self.used.add((name, dtype))
            return f"{name}_{SUFFIX[dtype]}({', '.join(arguments)})"
        if name in ("maximum", "minimum"):
            return f"{name[:3]}({', '.join(arguments)})"
        if name == "relu":
            return f"max({arguments[0]}, 0)"
        if name in RECIPROCAL:
            return f"({self.literal(1.0, dtype)} / {RECIPROCAL[name].format(*arguments)})"
        if name in MATH:
            return MATH[name].format(*[f"({a})" if name == "square" else a for a in arguments])
        raise GraphError(f"the CUDA target has no text for the scalar function {name}")

    def range(self, loop: For) -> str:
        if loop is not self.shared:
            return CpuPrinter.range(self, loop)
        start, times = self.size(loop.start), "" if loop.stride == 1 else f"{loop.stride} * "
        first = f"{times}cuda.grid(1)" if start == "0" else f"{start} + {times}cuda.grid(1)"
        return f"range({first}, {self.size(loop.stop)}, {times}cuda.gridsize(1))"

    def launch(self, kernel: CudaKernel) -> dict[str, object]:
        self.shared = kernel.loop
        sources = size_sources(kernel.sizes, kernel.parameters)
        lines = [f"{size} = {source}" for size, source in sources.items()]
        for b in kernel.own:
            shape = ", ".join(self.size(extent) for extent in b.shape) + ("," if len(b.shape) == 1 else "")
            lines.append(f"{b.name} = cuda.local.array(({shape}), np.{'bool_' if b.dtype == 'bool' else b.dtype})")
        lines += self.lines([*kernel.notes, *kernel.before, kernel.loop])
        names = [b.name for b in kernel.parameters] + [s for s in kernel.sizes if s not in sources]
        extent = self.size(require_poly(require_poly(kernel.loop.stop) - require_poly(kernel.loop.start)))
        rows = f"One thread for each {kernel.loop.letter} of {extent}; any grid is right."
        return {"signature": signature(kernel.name, names), "doc": rows, "lines": lines}
