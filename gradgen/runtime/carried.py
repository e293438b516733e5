"""What networks carry from call to call, by the parameters and states that they have.

In: the leaves of every network that is made. Out: the names that may be given to a network with the state of another
one over the same parameters, and that it does not look at, such as an optimiser's averages.
"""

from collections.abc import Iterable, Sequence
from threading import Lock

from gradgen.graph.nodes import Leaf
from gradgen.graph.side_tables import side_table

__all__ = ["carried_beside", "note_carried"]

_names = side_table("carried")  # frozensets of names by leaf; a pickled network knows them, too
_lock = Lock()


def note_carried(leaves: Sequence[Leaf]) -> None:
    """A network has these parameters and states."""
    names = frozenset(x.name for x in leaves)
    with _lock:
        for x in leaves:
            _names[x] = _names.get(x, frozenset()) | names


def carried_beside(leaves: Iterable[Leaf]) -> frozenset[str]:
    """The names of all that networks carry which have any of these leaves."""
    with _lock:
        return frozenset[str]().union(*(_names.get(x, frozenset()) for x in leaves))
