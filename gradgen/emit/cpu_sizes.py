"""How entry points know their sizes: read off the arguments, held against their shapes, the workspace cut to them.

In: an entry of a `Program`. Out: the lines at its beginning, and the function `fitted` that they call. What is given
to an entry point may disagree, and a workspace may have been made for other sizes: that is looked at before any kernel.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gradgen.emit.cpu import OPTIONS, CpuPrinter
from gradgen.emit.layout import WIDTH, fill, signature
from gradgen.errors import GraphError
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Shape
from gradgen.graph.scalar import Poly, size_symbol
from gradgen.graph.sizes import size_names
from gradgen.program.extents import sizes_of_arrays
from gradgen.program.holders import HOLDERS, held, part_counts, workspace_sizes
from gradgen.program.kernels import Entry, Program, Row
from gradgen.program.loops import Buffer

__all__ = ["Opening", "fitting_function", "opening", "sizes_compared"]

Place = tuple[Buffer, int]  # an array and an axis
Sources = Mapping[str, tuple[Buffer | Row, int]]


@dataclass(frozen=True)
class Opening:
    """What an entry begins with: lines that read sizes, for its calls and for its tests, and the tests, if any."""

    reads: Mapping[str, str]
    needed: frozenset[str]
    tested: frozenset[str]
    tests: Sequence[str]

    def lines(self) -> list[str]:
        return [*self.sizes(self.needed | self.tested), *self.tests]

    def sizes(self, names: Iterable[str]) -> list[str]:
        return [self.reads[name] for name in sorted(names)]


def sizes_compared(program: Program, entry: Entry) -> set[str]:
    """The sizes that an entry may read and compare, beside those that its kernels take."""
    return {*workspace_sizes(program), *_names(e for b in _given_arrays(program, entry) for e in b.shape)}


def _given_arrays(program: Program, entry: Entry) -> list[Buffer]:
    """The arrays that an entry takes and reads or writes, but for its workspace, in the order of its parameters."""
    used = {b.memory for call in entry.kernel_calls for b in call.buffers} | {b.memory for b in entry.idle}
    used |= {stack.buffer for stack in program.stacks if not used.isdisjoint(stack.members)}
    fields = [b for key in HOLDERS if key != "w" for b in held(program, key) if b in used]
    return [b for b in (*entry.parameters, *fields) if b.shape and b.alias_of is None and b.role in _GIVEN]


_GIVEN = {"input", "cotangent"}.union(*(roles for key, roles in HOLDERS.items() if key != "w"))
_CALLERS = {"input", "cotangent", "output"}  # arrays of a size that a caller chooses


def opening(
    printer: CpuPrinter, program: Program, entry: Entry, needed: Iterable[str], parameters: Sequence[str], fitted: str
) -> Opening:
    """The sizes that an entry needs, an exception where shapes disagree, and the same call with a smaller workspace.

    Shapes of parameters and gradients whose axes are numbers are not looked at: they are made once, with the model.
    """
    arrays = _given_arrays(program, entry)
    work = held(program, "w") if printer.holders["w"] in parameters else []
    compared = [b for b in arrays if b.role in _CALLERS or any(map(size_names, b.shape))]
    wanted = {*needed, *_names(e for b in compared for e in b.shape)}
    wanted |= set(workspace_sizes(program)) if work else set()
    sources = {**sizes_of_arrays(part_counts(program), work), **sizes_of_arrays(wanted - part_counts(program), arrays)}
    for name in sorted(needed):
        if name not in sources:
            raise GraphError(
                f"the size {name} is no axis of an argument of {entry.name}: declare one that has it, "
                f"or give the size with gg.compile(..., sizes={{{name!r}: ...}})."
            )
    compared = [b for b in compared if sources.keys() >= _names(b.shape)]
    tested = [b for b in compared if not _tells_all(b, sources)]
    extents = _extents(program, work)
    extents = extents if sources.keys() >= _names(extents) else {}
    tests = _refusal(printer, tested, compared)
    read = {*_names(e for b in tested for e in b.shape), *(workspace_sizes(program) if extents else ())}
    if extents:
        unfit = [f"{printer.holder(b)}.shape[{axis}] != {printer.length(e)}" for e, (b, axis) in _telling(extents)]
        tests += [*_condition(unfit), *(f"    {line}" for line in _again(printer, program, entry, parameters, fitted))]
    places = {name: sources[name] for name in {*needed, *read}}
    reads = {name: f"{name} = {printer.argument(b)}.shape[{axis}]" for name, (b, axis) in places.items()}
    return Opening(reads, frozenset(needed), frozenset(read), tests)


def _again(printer: CpuPrinter, program: Program, entry: Entry, parameters: Sequence[str], fitted: str) -> list[str]:
    """The same call with as much of the workspace as it needs.

    The workspace keeps its name for one value only: Numba would count the references to every array of two.
    """
    w = printer.holders["w"]
    smaller = f"{fitted}({', '.join([w, *workspace_sizes(program)])})"
    if entry.name in parameters:  # a tensor is called so, and the function cannot call itself
        return [f"{w} = {smaller}"]
    given = [smaller if x == w else x for x in parameters]
    return fill(f"return {entry.name}(", given) if entry.returns else [*fill(f"{entry.name}(", given), "return"]


def _tells_all(b: Buffer, sources: Sources) -> bool:
    """Whether every axis of an array is where a size is read."""
    return set(sources.values()).issuperset((b, axis) for axis in range(len(b.shape)))


def _refusal(printer: CpuPrinter, tested: Sequence[Buffer], named: Sequence[Buffer]) -> list[str]:
    if not tested:
        return []
    tests = [f"{printer.holder(b)}.shape != {_tuple(printer, b.shape)}" for b in tested]
    shapes = [f"{printer.holder(b)} {_tuple(printer, b.shape)}" for b in named]
    return [*_condition(tests), *_raise(printer, ["shapes have to be", *(f"{x}," for x in shapes[:-1]), shapes[-1]])]


def fitting_function(printer: CpuPrinter, program: Program, name: str) -> list[dict[str, object]]:
    """The function that cuts a workspace to the sizes of a call, where it has any."""
    arrays, sizes = held(program, "w"), workspace_sizes(program)
    extents = _extents(program, arrays)
    if not extents:
        return []
    printer.holders = {"w": free_name("w", sizes)}
    lengths = _length_names(printer, extents, arrays, {*sizes, printer.holders["w"]})
    tests = [f"{printer.holder(b)}.shape[{axis}] < {lengths[e]}" for e, (b, axis) in extents.items()]
    made = f"workspace({', '.join(sizes)})"
    lines = [
        f'"""As much of a larger workspace as {made} has."""',
        *(f"{name} = {printer.length(e)}" for e, name in lengths.items() if name != printer.length(e)),
        *_condition(tests),
        *_raise(printer, ["the", "workspace", "is", "smaller", "than", made]),
        *fill("return Work(", [_cut(printer, b, lengths) for b in arrays]),
    ]
    return [{"options": OPTIONS, "signature": signature(name, [printer.holders["w"], *sizes]), "lines": lines}]


def _length_names(
    printer: CpuPrinter, extents: Iterable[Poly], arrays: Sequence[Buffer], taken: set[str]
) -> dict[Poly, str]:
    """How every length of a workspace is written: by a name of its own where it is a factor, and no size itself."""
    factors = {e for b in arrays if any(map(size_names, b.shape[1:])) for e in b.shape}
    found: dict[Poly, str] = {}
    for extent in extents:
        text = printer.length(extent)
        is_named = extent in factors and not re.fullmatch(r"\w+", text)
        found[extent] = free_name("length", taken.union(found.values())) if is_named else text
    return found


def _cut(printer: CpuPrinter, b: Buffer, lengths: Mapping[Poly, str]) -> str:
    """An array of the workspace as far as the sizes go: whole rows, or as much of its memory as they need."""
    text = printer.holder(b)
    if lengths.keys().isdisjoint(b.shape):
        return text
    if lengths.keys().isdisjoint(b.shape[1:]):
        return f"{text}[{_below(lengths[b.shape[0]])}]"
    extents = [
        lengths[e] if e in lengths else f"{text}.shape[{k}]" if size_names(e) else printer.length(e)
        for k, e in enumerate(b.shape)
    ]
    return f"{text}.reshape(-1)[{_below(' * '.join(extents))}].reshape(({', '.join(extents)}))"


def _below(end: str) -> str:
    """A slice from the beginning, as ruff spaces it."""
    return f":{end}" if re.fullmatch(r"\w+", end) else f": {end}"


def _extents(program: Program, work: Sequence[Buffer]) -> dict[Poly, Place]:
    """The extents of a workspace that sizes decide, each with the first array that has it, and the axis."""
    found: dict[Poly, Place] = {}
    for b in work:
        for axis, extent in enumerate(b.shape):
            if _names([extent]) - part_counts(program):
                found.setdefault(extent, (b, axis))
    return found


def _telling(extents: Mapping[Poly, Place]) -> Iterator[tuple[Poly, Place]]:
    """The extents that are equal where all are, in a workspace that `workspace` has made: bare sizes, and others."""
    bare = {size_symbol(name) for name in _names(extents)}.intersection(extents)
    for extent, place in extents.items():
        if extent in bare or not _names(bare).issuperset(size_names(extent)):
            yield extent, place


def _names(extents: Iterable[Poly]) -> set[str]:
    return {name for extent in extents for name in size_names(extent)}


def _tuple(printer: CpuPrinter, shape: Shape) -> str:
    return f"({printer.lengths(shape)})"


def _condition(tests: Sequence[str]) -> list[str]:
    """`if a or b:` on one line, or in ruff's layout over several."""
    line = f"if {' or '.join(tests)}:"
    if len(line) <= WIDTH:
        return [line]
    return ["if (", f"    {tests[0]}", *(f"    or {test}" for test in tests[1:]), "):"]


def _raise(printer: CpuPrinter, words: Sequence[str]) -> list[str]:
    """`raise ValueError("...")` under a condition, its text over several lines where it is long."""
    error = printer.called("ValueError")
    line = f'    raise {error}("{" ".join(words)}")'
    if len(line) <= WIDTH:
        return [line]
    whole = f'        "{" ".join(words)}"'
    parts = [whole] if len(whole) <= WIDTH else [f"        {part}" for part in _pieces(words)]
    return [f"    raise {error}(", *parts, "    )"]


def _pieces(words: Sequence[str]) -> Iterator[str]:
    """String literals that fit, one behind the other."""
    current = ""
    for word in words:
        if current and len(current) + len(word) > WIDTH - 20:
            yield f'"{current} "'
            current = word
        else:
            current = f"{current} {word}" if current else word
    yield f'"{current}"'
