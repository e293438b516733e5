"""What the CPU target makes of a program before it prints it: the last passes, each on the statements of a function.

In: a `Program`. Out: the same one, statement by statement as `cpu_module` prints it.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import replace

from gradgen.emit.cpu import CpuPrinter
from gradgen.emit.long_lines import fit_lines
from gradgen.emit.maxima import with_integer_maxima
from gradgen.emit.plain import plain
from gradgen.graph.names import CALLED
from gradgen.program.kernels import Kernel, Program
from gradgen.program.loops import Statement
from gradgen.program.registers import names_in

__all__ = ["FOR_CPU", "for_cpu", "functions", "names_of_functions"]

OnFunction = Callable[[Kernel, Set[str], CpuPrinter], Sequence[Statement]]  # the names taken; what will print it

FOR_CPU: tuple[tuple[str, OnFunction, str], ...] = (
    (
        "integer maxima",
        lambda kernel, taken, _: with_integer_maxima(kernel.body, taken),
        "compilers turn a maximum of integers into vector code, and not one of floats that a nan wins",
    ),
    (
        "plain",
        lambda kernel, taken, _: plain(kernel.body, taken, kernel.returns),
        "what selects is written out, a cast or an element stands where it is read, as by hand",
    ),
    (
        "fit lines",
        lambda kernel, taken, printer: fit_lines(kernel.body, printer.width, taken, indent=1),
        "a line that nobody could read becomes two named values",
    ),
)


def for_cpu(program: Program, last: str = FOR_CPU[-1][0]) -> Program:
    """The program as it is printed, or behind the pass called `last`."""
    printer = CpuPrinter(taken=names_of_functions(program))
    for name, run, _ in FOR_CPU:
        program = replace(program, kernels=tuple(_each(kernel, run, printer) for kernel in program.kernels))
        if name == last:
            break
    return program


def _each(kernel: Kernel, run: OnFunction, printer: CpuPrinter) -> Kernel:
    """A function, and what one thread runs of it."""
    part = None if kernel.part is None else _each(kernel.part, run, printer)
    printer.part = kernel.part
    taken = {b.name for b in kernel.parameters} | set(kernel.every_size) | CALLED
    return replace(kernel, body=tuple(run(kernel, taken, printer)), part=part)


def functions(program: Program) -> list[Kernel]:
    """The functions of a program, each behind what one thread runs of it."""
    return [k for whole in program.kernels for k in (whole.part, whole) if k is not None]


def names_of_functions(program: Program) -> set[str]:
    """What functions call their arguments and variables, and what the module calls its functions."""
    every = functions(program)
    found = {b.name for k in every for b in k.parameters} | {s for k in every for s in k.every_size}
    return found.union({k.name for k in every}, *(names_in(k.body) for k in every))
