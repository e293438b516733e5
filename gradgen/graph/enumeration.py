"""Proofs by trying every index: for subscripts that no rule about signs decides, such as those of a packed triangle.

In: a subscript, an axis, the conditions under which it is read, the ranges of its indices. Out: a question as text
over NumPy's arrays, answered here where all sizes are known, and by `runtime.bindings` at the sizes of a call.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from gradgen.graph.polynomials import add, at_least_zero, integer
from gradgen.graph.records import Atom, Call, Const, FloorDiv, Letter, Poly, Position, Scalar, SizeSymbol, Step, walk

_INDICES = (Letter, Position, Step)
_MOST = 1 << 16  # combinations of indices that are tried for a proof
_AT_ONCE = 1 << 20  # and that are held in memory
_FAR = 1 << 63  # where integers may leave int64

# The functions of integers that are evaluated.
_TEXTS = {
    "and": "({} & {})", "or": "({} | {})", "not": "(True ^ {})", "ge": "({} >= {})", "gt": "({} > {})",
    "le": "({} <= {})", "lt": "({} < {})", "eq": "({} == {})", "ne": "({} != {})", "abs": "_abs({})",
    "minimum": "_minimum({}, {})", "maximum": "_maximum({}, {})", "where": "_where({}, {}, {})",
}  # fmt: skip
_NAMES = {
    "__builtins__": {}, "max": max,
    "_minimum": np.minimum, "_maximum": np.maximum, "_where": np.where, "_abs": np.abs,
}  # fmt: skip
_LONGEST = 10_000  # characters: what is shared is written out


@dataclass(frozen=True, slots=True)
class Question:
    """Whether 0 <= subscript < size wherever a condition holds, all as Python over indices and sizes.

    `indices` are names that no size has, `extents` their ranges. What `divisors` say, those of the subscript, is not 0
    where the condition holds, and no value on the way is more than `magnitude` is at the last indices.
    """

    subscript: str
    size: str
    condition: str
    divisors: tuple[str, ...]
    magnitude: str
    indices: tuple[str, ...]
    extents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stray:
    """The first place where a subscript is outside; its value is None where it divides by zero."""

    value: int | None
    at: tuple[int, ...]  # of the indices, in the order of the question


def is_decidable(x: Scalar) -> bool:
    """Whether an expression of integers is known from indices and sizes alone, and can be evaluated here."""
    return all(
        isinstance(part, Poly)
        or (isinstance(part, Const) and part.dtype in ("bool", "pyint"))
        or (isinstance(part, Call) and part.function.name in _TEXTS)
        for part in walk(x)
    )


def question(
    subscript: Poly, size: Poly, conditions: Sequence[Scalar], ranges: Mapping[Atom, Poly]
) -> tuple[Question, tuple[Atom, ...]] | None:
    """The question, and its indices; None where data take part, an index has no range, or the text is too long."""
    roots = [subscript, size, *conditions]
    if not all(map(is_decidable, roots)):
        return None
    atoms = _atoms(roots, _INDICES)
    if not all(atom in ranges for atom in atoms):
        return None
    names = {atom: f"_{k}" for k, atom in enumerate(atoms)}
    extents = [ranges[atom] for atom in atoms]
    written = _texts([*roots, *extents], names)
    if written is None:
        return None
    texts, magnitudes = written
    divisors = [
        texts[a.denominator]
        for a in _atoms([subscript, size], (FloorDiv,))
        if isinstance(a, FloorDiv) and a.denominator.atoms
    ]
    asked = Question(
        texts[subscript],
        texts[size],
        " & ".join(texts[c] for c in conditions) or "True",
        tuple(dict.fromkeys(divisors)),
        f"max({', '.join(magnitudes[x] for x in roots)})",
        tuple(names.values()),
        tuple(texts[extent] for extent in extents),
    )
    return asked, tuple(atoms)


def first_stray(asked: Question, sizes: Mapping[str, int], most: int | None = None) -> list[Stray] | None:
    """The first place outside, in a list that is empty where there is none.

    None where integers may leave int64, or where there are more than `most` combinations of indices; without it all
    are tried, some at a time.
    """
    extents = [int(evaluate(text, sizes)) for text in asked.extents]
    count = np.prod(extents, dtype=np.float64) if min(extents, default=1) > 0 else 0.0
    if count == 0:
        return []
    within = {**sizes, **{name: extent - 1 for name, extent in zip(asked.indices, extents, strict=True)}}
    if (most is not None and count > most) or evaluate(asked.magnitude, within) >= _FAR:
        return None
    numbers = {name: np.int64(size) for name, size in sizes.items()}  # which divide by zero without an exception
    first, *others = extents or [1]
    rows = max(int(_AT_ONCE * first // count), 1)
    for start in range(0, first, rows):
        shape = (min(rows, first - start), *others)[: len(extents)]
        grid = [index + start * (k == 0) for k, index in enumerate(np.ogrid[tuple(map(slice, shape))])]
        found = _first(asked, {**numbers, **dict(zip(asked.indices, grid, strict=True))}, shape)
        if found is not None:
            return [Stray(found.value, tuple(k + start * (n == 0) for n, k in enumerate(found.at)))]
    return []


def _first(asked: Question, names: Mapping[str, Any], shape: tuple[int, ...]) -> Stray | None:
    with np.errstate(all="ignore"):  # what divides by zero is looked at on its own
        read = np.broadcast_to(evaluate(asked.condition, names), shape)
        value = np.broadcast_to(evaluate(asked.subscript, names), shape)
        wrong = (value < 0) | (value >= evaluate(asked.size, names))
        zero = np.zeros(shape, bool)
        for text in asked.divisors:
            zero = zero | (evaluate(text, names) == 0)
    wrong = read & (wrong | zero)
    if not wrong.any():
        return None
    at = tuple(int(k) for k in np.unravel_index(int(np.argmax(wrong)), shape))
    return Stray(None if zero[at] else int(value[at]), at)


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """The value of a text of this module, where sizes are numbers and indices arrays."""
    return eval(_code(text), _NAMES, names)


@lru_cache(maxsize=1 << 12)
def _code(text: str) -> CodeType:
    return compile(text, "<subscript>", "eval")


def nonnegative_everywhere(p: Poly, ranges: Mapping[Atom, Poly], facts: Iterable[Poly]) -> bool:
    """Whether p >= 0 for all indices inside their ranges for which every fact is >= 0; False where there are too many.

    Linear polynomials without facts are left to the rules, which decide them. Facts about other indices, sizes or data
    are not made use of.
    """
    own = _atoms([p], _INDICES)
    useful = [f for f in facts if is_decidable(f) and set(_atoms([f], (SizeSymbol, *_INDICES))) <= set(own)]
    linear = all(len(monomial) < 2 and not isinstance(a, FloorDiv) for monomial, _ in p.terms for a in monomial)
    if linear and not useful:
        return False
    return strays(p, add(p, integer(1)), [at_least_zero(f) for f in useful], ranges, _MOST) == []


def strays(
    subscript: Poly, size: Poly, conditions: Sequence[Scalar], ranges: Mapping[Atom, Poly], most: int = _AT_ONCE
) -> list[tuple[int | None, dict[Atom, int]]] | None:
    """The first place where a subscript is outside, with its value, in a list that is empty where there is none.

    None where that is not known: sizes or data take part, or there are too many places.
    """
    asked = question(subscript, size, conditions, ranges)
    if asked is None or _atoms([subscript, size, *conditions, *[ranges[a] for a in asked[1]]], (SizeSymbol,)):
        return None
    found = first_stray(asked[0], {}, most)
    return None if found is None else [(x.value, dict(zip(asked[1], x.at, strict=True))) for x in found]


# ---------------------------------------------------------------- text


def indices_in(x: Scalar) -> list[Atom]:
    """The indices of an expression, floor divisions and calls looked into."""
    return _atoms([x], _INDICES)


def _atoms(roots: Iterable[Scalar], kinds: tuple[type, ...]) -> list[Atom]:
    """The atoms of some kinds, each once, floor divisions and calls looked into."""
    found = {a: None for x in walk(*roots) if isinstance(x, Poly) for a in x.atoms if isinstance(a, kinds)}
    return list(found)


def _texts(roots: Sequence[Scalar], names: Mapping[Atom, str]) -> tuple[dict[Scalar, str], dict[Scalar, str]] | None:
    """Every part as text, and what its values and those on the way are below; None where a text is too long."""
    texts: dict[Scalar, str] = {}
    above: dict[Scalar, str] = {}
    for x in walk(*roots):
        match x:
            case Poly():
                texts[x] = " + ".join(f"{f}{_factors(m, names, texts)}" for m, f in x.terms) or "0"
                above[x] = " + ".join(f"{abs(f)}{_factors(m, names, above, True)}" for m, f in x.terms) or "0"
            case Call(function=function, arguments=arguments):
                texts[x] = _TEXTS[function.name].format(*[texts[a] for a in arguments])
                above[x] = " + ".join(above[a] for a in arguments)
            case Const():
                texts[x] = x.text
                above[x] = str(abs(int(x.value)))
        if len(texts[x]) > _LONGEST:
            return None
        texts[x], above[x] = f"({texts[x]})", f"({above[x]})"
    return texts, above


def _factors(
    monomial: Sequence[Atom], names: Mapping[Atom, str], texts: Mapping[Scalar, str], magnitude: bool = False
) -> str:
    found = ""
    for atom in monomial:
        match atom:
            case SizeSymbol(name=name):
                found += f" * {name}"
            case FloorDiv(numerator=above, denominator=below):
                found += f" * {texts[above]}" if magnitude else f" * ({texts[above]} // {texts[below]})"
            case Scalar():
                found += f" * {texts[atom]}"
            case _:
                found += f" * {names[atom]}"
    return found
