"""Names that nothing else has: one with a number behind it where it is taken, another letter for a loop.

In: what a value or a loop would like to be called, and what is taken. Out: identifiers for the text, letters for
comments and loop variables; the user's where they are known.
"""

import re
from collections.abc import Collection, Container, Hashable, Iterable, Mapping, Sequence
from itertools import chain, count
from keyword import iskeyword
from types import MappingProxyType
from typing import TypeVar

from gradgen.graph.nodes import Compute, Leaf
from gradgen.graph.origin import origin
from gradgen.graph.side_tables import side_table

# What functions of generated files call by name, come what may; `_` is a loop variable that nobody reads.
CALLED = frozenset({"np", "range", "prange", "get_num_threads", "_", "__debug__"})
Key = TypeVar("Key", bound=Hashable)
_derived = side_table("derived names")  # leaves whose names nobody has given
_POOL = ("i", "j", "k", "n", "m", "p", "q", "r", "s", "u", "v", "x", "y", "z")


def free_name(wanted: str, taken: Container[str]) -> str:
    """The name, with a number behind it where it is taken."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def note_derived(of: Leaf) -> None:
    """Nobody has given this leaf its name: of several with one name, it may get a number."""
    _derived[of] = True


def is_derived(of: Leaf) -> bool:
    """Whether nobody has given a leaf its name."""
    return of in _derived


class Names:
    """Hands out names that nothing else has: what `free_name` gives, in a time that does not grow with their number."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self._last: dict[str, int] = {}

    def free(self, wanted: str, avoided: Container[str] = ()) -> str:
        """The name, with a number behind it where it is taken or has to be `avoided`; from now on it is taken."""
        name, number = wanted, self._last.get(wanted, 2)
        while name in self.taken or name in avoided:
            name, number = f"{wanted}_{number}", number + 1
        self._last[wanted] = number
        self.taken.add(name)
        return name


def fresh_names(wanted: Mapping[Key, str], taken: set[str]) -> dict[Key, str]:
    """Each name, with a number behind it where it is taken; from then on it is."""
    found: dict[Key, str] = {}
    for key, name in wanted.items():
        found[key] = free_name(name, taken)
        taken.add(found[key])
    return found


def free_letter(wanted: str, taken: Container[str]) -> str:
    """The letter, or another one where there is none or it is taken."""
    if wanted and wanted not in taken:
        return wanted
    return next(c for c in chain(_POOL, (f"i{k}" for k in count())) if c not in taken)


def free_letters(number: int, taken: Collection[str]) -> list[str]:
    """So many letters, none of which is taken."""
    found: list[str] = []
    for _ in range(number):
        found.append(free_letter("", {*taken, *found}))
    return found


def index_letters(node: Compute, bound: Mapping[int, str] = MappingProxyType({})) -> list[str]:
    """A letter per position: that of its loop in `bound`, else the user's, else one that is free.

    An adjoint keeps the letters of the axes of what it is the adjoint of.
    """
    found = origin(node)
    given = found.letters if found is not None else ()
    if found is not None and found.note:
        given = given[: len(node.shape)]
    letters: list[str] = []
    for k in range(len(node.extents)):
        own = given[k] if k < len(given) and given[k].isidentifier() else ""
        taken = {*letters, *(letter for at, letter in bound.items() if at != k)}
        if k in bound:
            own = bound[k]
        elif not own or own in taken:
            own = free_letter("" if k < len(given) and not given[k] else "n", {*taken, *given})
        letters.append(own)
    return letters


def common_name(names: Sequence[str], taken: Collection[str]) -> str:
    """What names have in common but for a number, where that is free: W of W1 and W2, l_weight of l1_weight ..."""
    low, high = min(names), max(names)
    length = next((k for k, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    head = low[:length].rstrip("0123456789_")
    tail = re.fullmatch(r"\d*(?P<rest>(_[^\W\d]\w*)?)", low[length:])
    rest = tail["rest"] if tail and all(n.endswith(tail["rest"]) for n in names) else ""
    name = f"{head}{rest}"
    if name in taken or not name.isidentifier() or iskeyword(name):
        return free_name(f"{names[0]}_stack", taken)
    return name
