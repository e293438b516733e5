"""Programs as text, for `gradgen show` and for debugging.

In: a program, or the statements that become one. Out: lines that a person reads: loops without a target.
"""

from collections.abc import Iterable, Sequence
from typing import assert_never

from gradgen.emit.scalar_printer import ScalarPrinter
from gradgen.graph.nodes import show_shape
from gradgen.graph.scalar import Load, Poly
from gradgen.passes.lower.drafts import Draft
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

__all__ = ["drafts_text", "program_text"]


def program_text(program: Program) -> str:
    """The kernels of a program as loops, then the calls of every entry point."""
    blocks = [_kernel(kernel) for kernel in program.kernels]
    blocks += [_entry(entry) for entry in program.entries]
    return "\n\n".join("\n".join(block) for block in blocks)


def drafts_text(drafts: Sequence[Draft]) -> str:
    """The statements of every entry point, not yet cut into functions."""
    blocks = []
    for draft in drafts:
        lines = [f"entry {draft.entry}:"]
        for piece in draft.everything:
            lines += _lines([*piece.notes, *piece.body], 1)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _kernel(kernel: Kernel) -> list[str]:
    result = f" -> {_names(kernel.returns)}" if kernel.returns else ""
    parameters = [*map(_declared, kernel.parameters), *kernel.sizes]
    whole = [*_head(f"kernel {kernel.name}", parameters, result), *_lines(kernel.body, 1, kernel.part)]
    return whole if kernel.part is None else [*_kernel(kernel.part), "", *whole]


def _entry(entry: Entry) -> list[str]:
    lines = _head(f"entry {entry.name}", list(map(_declared, entry.parameters)), "")
    for statement in entry.calls:
        if isinstance(statement, Repeat):
            lines.append(f"    for {statement.letter} in 0 .. {statement.count}:")
            lines += [f"        {_call_text(call)}" for call in statement.calls]
        else:
            lines.append(f"    {_call_text(statement)}")
    if entry.returns:
        lines.append(f"    return {_names(entry.returns)}")
    return lines


def _call_text(call: KernelCall) -> str:
    results = f"{_names(call.results)} = " if call.results else ""
    named = [f"{b.name}[{b.start} + {b.stride} * {b.letter}]" if isinstance(b, Row) else b.name for b in call.arguments]
    return f"{results}{call.kernel}({', '.join([*named, *call.sizes])})"


def _head(name: str, parameters: Sequence[str], result: str) -> list[str]:
    line = f"{name}({', '.join(parameters)}){result}"
    return [line] if len(line) <= 120 else [f"{name}(", *[f"        {p}," for p in parameters], f"    ){result}"]


def _names(buffers: Sequence[Buffer]) -> str:
    return ", ".join(b.name for b in buffers)


def _declared(b: Buffer) -> str:
    return f"{b.name}: {b.dtype} {show_shape(b.shape)}" if b.shape else f"{b.name}: {b.dtype}"


def _shared(loop: For) -> str:
    """Who shares the iterations of a loop, and what of it each has for itself."""
    if loop.shared is None:
        return ""
    own = [f"each with its {_names(loop.shared.own)}"] if loop.shared.own else []
    sums = [f"{x.operation} in {x.buffer.name}" for x in loop.shared.sums]
    return ", ".join([" shared by threads", *own, *sums])


def _lines(body: Iterable[Statement], depth: int, part: Kernel | None = None) -> list[str]:
    """Statements; what a thread runs stands in them, or is a function of its own, `part`."""
    pad = "    " * depth
    lines: list[str] = []
    for statement in body:
        match statement:
            case Note():
                lines.append(f"{pad}# {statement.shown}")
            case For():
                by = f" by {statement.stride}" if statement.stride != 1 else ""
                span = f"{_PRINTER.text(statement.start)} .. {_PRINTER.text(statement.stop)}{by}"
                lines.append(f"{pad}{statement.kind} for {statement.letter} in {span}{_shared(statement)}:")
                lines += _lines(statement.body, depth + 1)
            case If():
                lines.append(f"{pad}if {_PRINTER.text(statement.condition)}:")
                lines += _lines(statement.then, depth + 1)
                if statement.otherwise:
                    lines += [f"{pad}else:", *_lines(statement.otherwise, depth + 1)]
            case Assign():
                target = _element(statement.buffer, statement.subscripts)
                lines.append(f"{pad}{target} = {_PRINTER.text(statement.value)}")
            case Accumulate():
                update = "+" if statement.operation == "sum" else statement.operation
                target = _element(statement.buffer, statement.subscripts)
                lines.append(f"{pad}{target} {update}= {_PRINTER.text(statement.value)}")
            case Parts():
                span = f"in parts of 0 .. {_PRINTER.text(statement.extent)}"
                lines.append(f"{pad}{span}:" if part is None else f"{pad}{span}: {part.name}")
                lines += _lines(statement.body, depth + 1) if part is None else []
            case Dot():
                sign = "=" if statement.scratch is None else "+="
                left, right, out = (_matrix(m) for m in (statement.left, statement.right, statement.out))
                lines.append(f"{pad}{out} {sign} {left} @ {right}")
            case Contract():
                sides = (statement.out, statement.left, statement.right)
                out, left, right = (_element(x.buffer, (*x.fixed, *x.subscripts)) for x in sides)
                letters = ", ".join(f"{name} in 0 .. {_PRINTER.text(extent)}" for name, extent in statement.letters)
                lines.append(f"{pad}{out} = sum of {left} * {right} for {letters}, where they are there")
            case _:
                assert_never(statement)
    return lines


def _element(b: Buffer, subscripts: Sequence[Poly]) -> str:
    return f"{b.name}[{', '.join(_PRINTER.poly(s) for s in subscripts)}]" if subscripts else b.name


def _matrix(m: Matrix) -> str:
    return _element(m.buffer, m.fixed) + (".T" if m.transposed else "")


def _access(x: Load, printer: ScalarPrinter) -> str:
    return _element(x.tensor, x.subscripts)


def _call(name: str, dtype: str, arguments: list[str]) -> str:
    return f"{name}({', '.join(arguments)})"


def _literal(value: float, dtype: str) -> str:
    return f"{value:g}"


def _cast(text: str, dtype: str) -> str:
    return f"{dtype}({text})"


_PRINTER = ScalarPrinter(_call, _access, _literal, _cast)
