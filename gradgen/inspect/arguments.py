"""A network where one works with it: what it takes, what it returns, what it can be asked; and what it is made of.

In: the interface of a compiled module. Out: text for a prompt, HTML for a notebook, the summary of `explain`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import prod
from typing import NamedTuple

from gradgen.errors import ShapeError
from gradgen.graph.nodes import show_size
from gradgen.graph.scalar import Poly
from gradgen.inspect.display import WIDE, cut, table
from gradgen.options import Options
from gradgen.runtime.interface import Argument, Interface, evaluate_size

__all__ = ["Declared", "Seen", "decisions", "declared", "interface_html", "interface_text", "summary"]

FEW = 8  # arguments of one kind that are shown at a prompt
_OF_LOOPS = re.compile(r": (shares the loop|joins \w+ loops over) ")
_KINDS = {"inputs": "input", "parameters": "param", "states": "state", "constants": "constant", "outputs": "output"}
Sizes = Mapping[str, int | None]


class Seen(NamedTuple):
    """What there is to be seen of a network; `operations` are those of its formulas as they are declared."""

    interface: Interface
    sizes: Sizes
    options: Options
    operations: Poly

    @property
    def kind(self) -> str:
        return f"{self.options.dtype}, for the {self.options.target.upper()}"

    @property
    def calls(self) -> str:
        """The ways to call it."""
        return ", ".join(["net(...)", *(entry.name for entry in self.interface.entries if entry.name != "check")])


class Declared(NamedTuple):
    """One array of a network; sizes that only a call knows stand in the shape by name."""

    shape: tuple[int | str, ...]
    dtype: str


def declared(arguments: Iterable[Argument], role: str) -> dict[str, Declared]:
    """The arguments of a role, by name."""
    return {x.name: Declared(tuple(map(_extent, x.shape)), x.dtype) for x in arguments if x.role == role}


def interface_text(seen: Seen) -> str:
    """A line for every argument, aligned; then the sizes, and the ways to call the network."""
    rows = [(kind, x) for kind, many in _arguments(seen.interface).items() for x in _few(many, FEW)]
    arguments = [x for _, x in rows if isinstance(x, Argument)]
    names = max((len(x.name) for x in arguments), default=0)
    dtypes = max((len(x.dtype) for x in arguments), default=0)
    found = [f"<Network {seen.interface.name}: {seen.kind}>"]
    told = ""
    for kind, x in rows:
        line = f"{x.name:{names}}  {x.dtype:{dtypes}}  {x.shown}" if isinstance(x, Argument) else x
        found.append(_labelled(kind if kind != told else "", line))
        told = kind
    found += [_labelled("sizes", _sizes(seen.sizes))] if seen.sizes else []
    return "\n".join(cut(line, WIDE) for line in [*found, _labelled("calls", seen.calls)])


def interface_html(seen: Seen, formulas: str) -> str:
    """The same as a table, over the model's formulas in LaTeX."""
    arguments = _arguments(seen.interface).items()
    rows = [(x.name, kind.removesuffix("s"), x.dtype, x.shown) for kind, many in arguments for x in many]
    found = [f"<div><b>{escape(seen.interface.name)}</b>: {seen.kind}", table(rows)]
    found += [f"<p>sizes: {escape(_sizes(seen.sizes))}</p>"] if seen.sizes else []
    return "\n".join([*found, f"<p>calls: {escape(seen.calls)}</p>", escape(formulas, quote=False), "</div>"])


def summary(seen: Seen) -> list[str]:
    """What a network is, in about ten lines: arguments, sizes, and for every entry point what it is made of."""
    found = [f"{seen.interface.name}: {seen.kind}"]
    for kind, many in _arguments(seen.interface).items():
        shown = (f"{x.name} {x.dtype} {x.shown}" if isinstance(x, Argument) else x for x in _few(many, 4))
        found += [_labelled(kind, ", ".join(shown))] if many else []
    found += [_labelled("sizes", _sizes(seen.sizes))] if seen.sizes else []
    made_of = {entry.name: entry.made_of for entry in seen.interface.entries if any(entry.made_of)}
    rows = [(name, *map(_counted, numbers, ("function", "loop", "product"))) for name, numbers in made_of.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for k, row in enumerate(rows):
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        found.append(_labelled("" if k else "entries", "  ".join(cells).rstrip()))
    found.append(_labelled("workspace", f"{_number(seen.interface.work_bytes, seen.sizes)} bytes"))
    work = _number(show_size(seen.operations), seen.sizes)
    return [cut(line, WIDE) for line in [*found, _labelled("operations", f"{work} in the formulas of a forward pass")]]


def decisions(interface: Interface, loops: bool) -> list[str]:
    """What the compiler decided for every entry point; which formulas share loops only where it is asked for."""
    found: list[str] = []
    for entry in interface.entries:
        told = [x for x in entry.decisions if loops or not _OF_LOOPS.search(x)]
        found += [f"{entry.name}:", *(f"  {decision}" for decision in told)]
        if left := len(entry.decisions) - len(told):
            found.append(f"  ({_counted(left, 'line')} about loops that formulas share: explain(loops=True))")
    return found


def _arguments(interface: Interface) -> dict[str, list[Argument]]:
    found = [*interface.leaves, *interface.outputs]
    return {kind: [x for x in found if x.role == role] for kind, role in _KINDS.items()}


def _few(many: Sequence[Argument], few: int) -> list[Argument | str]:
    if len(many) <= few:
        return [*many]
    total = _elements(many)
    return [*many[: few - 1], f"... and {len(many) - few + 1} more{f', {total} in all' if total else ''}"]


def _elements(many: Iterable[Argument]) -> str:
    """How many numbers arrays hold, where their shapes are known."""
    shapes = [[_extent(extent) for extent in x.shape] for x in many]
    known = [[n for n in shape if isinstance(n, int)] for shape in shapes]
    return f"{sum(map(prod, known)):,} numbers" if known == shapes else ""


def _sizes(sizes: Sizes) -> str:
    """`B = 32; T, known when it is called`."""
    known = [f"{name} = {value}" for name, value in sizes.items() if value is not None]
    unknown = ", ".join(name for name, value in sizes.items() if value is None)
    return "; ".join([*known, *([f"{unknown}, known when it is called"] if unknown else [])])


def _number(size: str, sizes: Sizes) -> str:
    """A size as a number, where all that it depends on is known."""
    known = {name: value for name, value in sizes.items() if value is not None}
    try:
        return f"{evaluate_size(size, known):,}"
    except ShapeError:
        return size


def _labelled(label: str, text: str) -> str:
    return f"  {label:10}  {text}"


def _extent(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
