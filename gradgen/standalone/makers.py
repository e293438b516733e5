"""The functions of a saved module that make arrays for its entry points: parameters, states, outputs, gradients.

In: a `Surface`. Out: the lines of each function; `workspace` is in the module already.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from gradgen.emit.layout import assignment, fill, signature
from gradgen.graph.names import free_name
from gradgen.lang.declare import Assigned, WrittenInitialiser
from gradgen.program.holders import CLASS_NAMES, HOLDERS
from gradgen.runtime.interface import Argument
from gradgen.standalone.surface import Field, Surface, array_of

__all__ = ["MAKERS", "given_values", "makers"]

MAKERS = {"p": "params", "s": "state", "out": "outputs", "g": "gradients"}
DRAWN = {"p": "First values of the parameters", "s": "First values of the states"}
PLAIN = {"out": "Arrays for the outputs.", "g": "Arrays for a gradient."}


@dataclass(frozen=True, slots=True)
class Draw:
    """A leaf's first value, what is assigned by subscript: its field and its row there, or none if nobody reads it."""

    leaf: Argument
    field: Field | None
    row: int
    values: tuple[Assigned, ...]


def makers(surface: Surface) -> list[list[str]]:
    """The functions, one for each kind of named tuple that the module has."""
    found = [_drawing(surface, key) for key in DRAWN if surface.makes(key)]
    return found + [_plain(surface, key) for key in PLAIN if surface.makes(key)]


def given_values(surface: Surface, key: str) -> list[Argument]:
    """The leaves whose first values a caller has to give: an initialiser draws them that has no text."""
    return [x for x in _leaves(surface, key) if not isinstance(surface.initial[x.name], WrittenInitialiser)]


def _plain(surface: Surface, key: str) -> list[str]:
    maker = "np.zeros" if key == "g" else "np.empty"  # an entry point may leave some gradients alone, which are 0
    arrays = [array_of(maker, field) for field in surface.fields[key]]
    body = _indented([f'"""{PLAIN[key]}"""', *fill(f"return {CLASS_NAMES[key]}(", arrays)])
    return [*signature(MAKERS[key], surface.sizes(key)), *body]


def _drawing(surface: Surface, key: str) -> list[str]:
    given = [x.name for x in given_values(surface, key)]
    sizes = surface.sizes(key)
    taken = {"np", CLASS_NAMES[key], *given, *sizes}
    holder, rng, seed = (free_name(name, taken) for name in (key, "rng", "seed"))
    draws = [x for x in _draws(surface, key, rng) if x.values]
    letter = free_name("k", {*taken, holder, rng, seed})
    lines = [line for x in _rolled(draws) for line in _assigned(x, holder, letter)]
    random = any(value.draws for x in draws for value in x.values)
    who = f", the same as net.init({seed})" if random and not given else ""
    roles = {x.role for x in _leaves(surface, key)}
    what = "Constants" if roles == {"constant"} else f"{DRAWN[key]}{', and constants' if 'constant' in roles else ''}"
    doc = [f'"""{what}{who}."""']
    parameters = [*given, *sizes, *([f"{seed}=0"] if random else [])]
    arrays = [array_of("np.zeros", field) for field in surface.fields[key]]
    if not lines:
        return [*signature(MAKERS[key], parameters), *_indented([*doc, *fill(f"return {CLASS_NAMES[key]}(", arrays)])]
    start = [f"{rng} = np.random.default_rng({seed})"] if random else []
    body = [*doc, *start, *fill(f"{holder} = {CLASS_NAMES[key]}(", arrays), *lines, f"return {holder}"]
    return [*signature(MAKERS[key], parameters), *_indented(body)]


def _leaves(surface: Surface, key: str) -> list[Argument]:
    return [x for x in surface.interface.leaves if x.role in HOLDERS[key]]


def _draws(surface: Surface, key: str, rng: str) -> list[Draw]:
    """First values in the order in which `net.init` draws them."""
    places = {x.name: (field, row) for field in surface.fields[key] for row, x in enumerate(field.members)}
    found: list[Draw] = []
    for leaf in _leaves(surface, key):
        field, row = places.get(leaf.name, (None, 0))
        how = surface.initial[leaf.name]
        given = Assigned("...", leaf.name, draws=False)
        values = how.written(leaf.shape, leaf.dtype, rng) if isinstance(how, WrittenInitialiser) else [given]
        found.append(Draw(leaf, field, row, tuple(values)))
    return found


def _rolled(draws: Sequence[Draw]) -> list[tuple[Sequence[Draw], int]]:
    """The draws in order, as blocks that are repeated so many times, each time with the next rows."""
    found: list[tuple[Sequence[Draw], int]] = []
    at = 0
    while at < len(draws):
        block, times = max(
            ((size, _repeated(draws, at, size)) for size in range(1, (len(draws) - at) // 2 + 1)),
            key=lambda pair: (pair[0] * pair[1] if pair[1] > 1 else 0, -pair[0]),
            default=(1, 1),
        )
        block, times = (block, times) if times > 1 else (1, 1)
        found.append((draws[at : at + block], times))
        at += block * times
    return found


def _repeated(draws: Sequence[Draw], at: int, size: int) -> int:
    """How often a block of draws follows on itself, with the next rows of the same arrays."""
    times = 1
    while at + (times + 1) * size <= len(draws) and all(
        _next(draws[at + k], draws[at + times * size + k], times) for k in range(size)
    ):
        times += 1
    return times


def _next(first: Draw, other: Draw, times: int) -> bool:
    same = first.field is not None and first.field.stacked and other.field is first.field
    return same and other.row == first.row + times and other.values == first.values


def _assigned(block: tuple[Sequence[Draw], int], holder: str, letter: str) -> list[str]:
    draws, times = block
    lines: list[str] = []
    for x in draws:
        for subscript, value, is_drawn in x.values:
            text = value if "\n" in value else ast.unparse(ast.parse(value)).replace("e+", "e")  # as ruff writes it
            if x.field is None:
                lines += [f"{text}  # {x.leaf.name}, which no function reads"] if is_drawn else []
                continue
            row = str(x.row) if times == 1 else letter if x.row == 0 else f"{letter} + {x.row}"
            whole = subscript == "..."
            inside = [subscript] if not x.field.stacked else [row] if whole else [row, subscript]
            target = f"{holder}.{x.field.name}[{', '.join(inside)}]"
            lines += (
                f"{target} = {text}".splitlines()
                if "\n" in text
                else assignment(target, f"= {text}", 4 if times == 1 else 8)
            )
    if times == 1:
        return lines
    return [f"for {letter} in range({times}):", *_indented(lines)]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
