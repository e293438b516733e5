"""Formulas that repeat, equal up to the tensors they read: the layers of a deep network.

In: the items of a program. Out: what kind of formula each of those is that repeat often. `schedule` keeps two of a kind
apart: fused, equal layers would make one long function, where one function called for every layer does.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from gradgen.graph.scalar import Call, Const, Load, Poly, Scalar, children, walk
from gradgen.machine import machine
from gradgen.passes.schedule.trees import Item, Loop

__all__ = ["Kinds", "is_repeated", "repeated"]

Kind = tuple[object, ...]
Kinds = Mapping[Item, Kind]


def repeated(items: Iterable[Item]) -> dict[Item, Kind]:
    """The kind of every item of which there are many."""
    kinds = {item: kind_of(item) for item in items}
    counts = Counter(kinds.values())
    return {item: kind for item, kind in kinds.items() if counts[kind] >= machine().kind}


def is_repeated(item: Item, loop: Loop, kinds: Kinds) -> bool:
    """Whether a loop has an item of the same kind already."""
    return item in kinds and any(kinds.get(member) == kinds[item] for member in loop.axis)


def kind_of(item: Item) -> Kind:
    """Everything about a formula but which tensors it reads."""
    numbers: dict[Scalar, int] = {}
    parts: list[Kind] = []
    for x in walk(item.body, *item.target):
        numbers[x] = len(numbers)
        parts.append((*_kind(x), *[numbers[part] for part in children(x)]))
    return (item.node.reducer, item.node.dtype, _digests(item.extents), item.rank, *parts)


def _kind(x: Scalar) -> Kind:
    match x:
        case Call():
            return ("call", x.function.name, x.dtype)
        case Load():
            return ("load", _digests(x.tensor.shape), x.tensor.dtype)
        case Const():
            return ("number", x.text, x.dtype)
        case Poly() if children(x):
            return ("sum", tuple(factor for _, factor in x.terms))
        case _:
            return ("same", x.digest)


def _digests(extents: Iterable[Poly]) -> Kind:
    return tuple(extent.digest for extent in extents)
