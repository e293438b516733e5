"""Functions that differ in the lengths of their arrays only are one function, which reads these lengths off its arrays.

In: a `Program` whose equal kernels are one. Out: the same with one kernel of every form that occurs often, so that
twenty layers of different widths are compiled once. Loops over contiguous rows are as fast with lengths that only a
call knows; what computes with a length, or is cut by it, has another form and stays.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from gradgen.graph.names import CALLED, free_name
from gradgen.graph.scalar import Poly, Scalar, require_poly, size_symbol
from gradgen.machine import machine
from gradgen.passes.loops.unify import Key, Numbers
from gradgen.program.extents import sizes_mentioned, sizes_of_arrays
from gradgen.program.kernels import (
    Kernel,
    KernelCall,
    Program,
    Repeat,
)
from gradgen.program.loops import (
    Buffer,
    Contract,
    Dot,
    For,
    Matrix,
    Parts,
    Statement,
)
from gradgen.program.registers import names_in
from gradgen.program.rewriting import moved, with_bodies

__all__ = ["one_form"]


def one_form(program: Program) -> Program:
    """One kernel in the place of all that have its form, where they are many."""
    families: dict[Key, list[tuple[Kernel, Sequence[int]]]] = {}
    for kernel in program.kernels:
        form = _Form()
        key = form.kernel(kernel)
        if not any(isinstance(s, Parts) for s in kernel.body) and form.arrays() <= set(kernel.parameters):
            families.setdefault(key, []).append((kernel, form.lengths))
    replaced: dict[str, Kernel] = {}
    for family in families.values():
        common = _common(family) if len(family) >= machine().forms else None
        if common is not None:
            replaced |= {kernel.name: common for kernel, _ in family}
    if not replaced:
        return program

    def call(x: KernelCall) -> KernelCall:
        return replace(x, kernel=replaced[x.kernel].name) if x.kernel in replaced else x

    def changed(x: KernelCall | Repeat) -> KernelCall | Repeat:
        return replace(x, calls=tuple(map(call, x.calls))) if isinstance(x, Repeat) else call(x)

    entries = tuple(replace(e, calls=tuple(map(changed, e.calls))) for e in program.entries)
    kernels = dict.fromkeys(replaced.get(kernel.name, kernel) for kernel in program.kernels)
    return replace(program, kernels=tuple(kernels), entries=entries)


class _Form(Numbers):
    """What a kernel is but for the lengths of arrays, loops and matrices that are numbers: those, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def arrays(self) -> set[Buffer]:
        """Those that the kernel mentions."""
        return {b for b in self.found if isinstance(b, Buffer) and b.shape}

    def extent(self, x: Scalar) -> Key:
        if not isinstance(x, Poly) or x.constant is None:
            return self.scalar(x)
        self.lengths.append(x.constant)
        return ("length",)

    def statement(self, s: Statement) -> Key:
        within = (self.extent(s.within),) if isinstance(s, For) and s.within is not None else ()
        return (*super().statement(s), *within)


def _common(family: Sequence[tuple[Kernel, Sequence[int]]]) -> Kernel | None:
    """The one among kernels of a form in which every length tells which it is, with sizes for those that differ."""
    several = list(zip(*(lengths for _, lengths in family), strict=True))
    differing = list(dict.fromkeys(column for column in several if len(set(column)) > 1))
    for at, (kernel, lengths) in enumerate(family):
        found = {column[at]: column for column in differing}
        told = len(found) == len(differing) and all(
            found.get(length, column) is column or found[length] == column
            for length, column in zip(lengths, several, strict=True)
        )
        if told:
            common = _with_sizes(kernel, _named(kernel, list(found)))
            return common if sizes_of_arrays(common.lengths, common.parameters).keys() >= set(common.lengths) else None
    return None


def _named(kernel: Kernel, lengths: Sequence[int]) -> dict[int, str]:
    """Names for lengths, those that the text of the kernel will mention first."""
    taken = {b.name for b in kernel.parameters} | set(kernel.every_size) | names_in(kernel.body) | CALLED
    names: dict[int, str] = {}
    for length in lengths:
        names[length] = free_name("length", taken.union(names.values()))
    mentioned = sizes_mentioned(_with_sizes(kernel, names).body, None)
    ordered = sorted(lengths, key=lambda length: not mentioned[names[length]])
    return dict(zip(ordered, names.values(), strict=True))


def _with_sizes(kernel: Kernel, names: Mapping[int, str]) -> Kernel:
    """The kernel with a size for each of these lengths."""

    def length(x: Scalar) -> Scalar:
        name = names.get(x.constant) if isinstance(x, Poly) and x.constant is not None else None
        return x if name is None else size_symbol(name)

    def extent(x: Poly) -> Poly:
        return require_poly(length(x))

    def array(b: Buffer) -> Buffer:
        return replace(b, shape=tuple(map(extent, b.shape)))

    def matrix(m: Matrix) -> Matrix:
        return replace(m, rows=extent(m.rows), columns=extent(m.columns))

    def sized(body: Iterable[Statement]) -> Iterator[Statement]:
        for s in body:
            match s:
                case For():
                    within = None if s.within is None else extent(s.within)
                    yield replace(
                        s, start=length(s.start), stop=length(s.stop), within=within, body=tuple(sized(s.body))
                    )
                case Dot():
                    yield replace(s, left=matrix(s.left), right=matrix(s.right), out=matrix(s.out))
                case Contract():
                    yield replace(s, letters=tuple((name, extent(n)) for name, n in s.letters))
                case _:
                    yield with_bodies(s, sized)

    body = tuple(sized(kernel.body))
    mentioned = sizes_mentioned(body, None)
    arrays = {b: array(b) for b in kernel.parameters if b.shape}
    arrays = {b: x if b.alias_of not in arrays else replace(x, alias_of=arrays[b.alias_of]) for b, x in arrays.items()}
    return replace(
        kernel,
        parameters=tuple(arrays.get(b, b) for b in kernel.parameters),
        lengths=tuple(name for name in names.values() if mentioned[name]),
        body=moved(body, {b: (x, ()) for b, x in arrays.items()}),
    )
