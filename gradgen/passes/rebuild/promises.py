"""What holds of every graph, and what a pass leaves behind for all passes after it.

In: the roots behind a pass, and the names of the passes so far. Out: what is wrong, in words; a right graph has none.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from gradgen.errors import ProgramError
from gradgen.graph.nodes import Compute, Custom, Node, Project, all_inputs, show_shape, toposort
from gradgen.graph.scalar import Letter, Load, Poly, Reduce, Slot, positions_of, walk
from gradgen.graph.sizes import is_size

__all__ = ["PROMISES", "broken", "verify_graph"]

Promise = Callable[[Sequence[Node]], Iterator[str]]


def verify_graph(roots: Sequence[Node], passed: Collection[str], what: str) -> None:
    """Nothing, or an error that says which promise is broken.

    Raises:
        ProgramError: a pass left a graph that the others do not understand, which is a bug.
    """
    wrong = broken(roots, passed)
    if wrong:
        listed = "\n  ".join(wrong[:5])
        raise ProgramError(
            f"the graph of {what} is not legal, which is a bug in gradgen; please report it:\n  {listed}"
        )


def broken(roots: Sequence[Node], passed: Collection[str]) -> list[str]:
    """The promises that do not hold."""
    order = toposort(roots, all_inputs)
    found = [*_of_formulas(order), *_of_roots(roots)]
    for name, _, promise in PROMISES:
        if name in passed:
            found += promise(order)
    return found


def _of_formulas(order: Sequence[Node]) -> Iterator[str]:
    """Bodies are over positions and tensors; nothing of the language is left in them, and every axis is subscripted."""
    for node in order:
        if not isinstance(node, Compute):
            continue
        if len(node.target) != len(node.shape):
            yield f"{node!r} has {len(node.target)} subscripts in its target"
        if not all(map(is_size, node.extents)):
            yield f"{node!r} runs over {show_shape(node.extents)}, which are no sizes"
        if max(positions_of(node.body, *node.target), default=-1) >= len(node.extents):
            yield f"{node!r} has an index without a range"
        for x in walk(node.body, *node.target):
            if isinstance(x, (Slot, Reduce)) or (isinstance(x, Poly) and any(isinstance(a, Letter) for a in x.atoms)):
                yield f"{node!r} has {x!r} in its body, which is for formulas as they are declared"
            if isinstance(x, Load) and len(x.subscripts) != len(x.tensor.shape):
                yield f"{node!r} reads {x.tensor!r} with {len(x.subscripts)} subscripts"


def _of_roots(roots: Sequence[Node]) -> Iterator[str]:
    """Nothing that changes with the step of a scan is seen outside of it."""
    for root in roots:
        if root.steps:
            yield f"{root!r} is a result, and changes with the steps of a scan"


def _no_customs(order: Sequence[Node]) -> Iterator[str]:
    return (f"{node!r} has adjoints of its own" for node in order if isinstance(node, Custom))


def _no_logsumexp(order: Sequence[Node]) -> Iterator[str]:
    return (
        f"{node!r} reduces by logsumexp" for node in order if isinstance(node, Compute) and node.reducer == "logsumexp"
    )


def _own_carries(order: Sequence[Node]) -> Iterator[str]:
    scans = dict.fromkeys(node.scan for node in order if isinstance(node, Project))
    times = Counter(c for s in scans for c in s.carries)
    return (f"{c!r} is a carry of {count} scans" for c, count in times.items() if count > 1)


# Behind a pass of this name, and from there on.
PROMISES: tuple[tuple[str, str, Promise], ...] = (
    ("resolve", "no adjoint is given any more", _no_customs),
    ("reduce", "no sum is a logsumexp", _no_logsumexp),
    ("separate", "a carry belongs to one scan", _own_carries),
)
