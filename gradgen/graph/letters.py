"""One letter for every loop of a formula: the user's where they are known, others that are free elsewhere.

In: nodes and their origins. Out: letters for comments and loop variables.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from gradgen.graph.nodes import Compute
from gradgen.graph.origin import origin

_POOL = ("n", "i", "j", "k", "m", "p", "q", "r", "s", "u", "v", "x", "y", "z", *[f"i{k}" for k in range(40)])


def free_letter(wanted: str, taken: Collection[str]) -> str:
    """The letter, or another one where it is taken."""
    return wanted if wanted not in taken else next(c for c in _POOL if c not in taken)


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
            own = next(c for c in _POOL if c not in taken and c not in given)
        letters.append(own)
    return letters
