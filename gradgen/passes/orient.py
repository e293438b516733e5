"""A sum that is only read with its axes in another order is computed in that order.

In: simplified nodes. Out: fewer buffers: the gradient of `X` in `h @ X.T` is written as X lies.
"""

from collections import Counter
from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, all_inputs, compute, toposort
from gradgen.graph.scalar import Load, Poly, Position, position
from gradgen.passes.substitute import map_nodes


def orient(roots: Sequence[Node]) -> list[Node]:
    """Y[i, j] = S[j, i] with S[j, i] = sum ..., read by Y alone, becomes Y[i, j] = sum ..."""
    readers = Counter(n for node in toposort(roots, all_inputs) for n in set(all_inputs(node)))
    readers.update(roots)

    def change(node: Node) -> Node | None:
        match node:
            case Compute(reducer="none", body=Load(tensor=Compute() as source, subscripts=subscripts)):
                order = _permutation(subscripts)
                if (
                    order is None
                    or len(order) != len(node.shape)
                    or not node.gathers
                    or source.reducer == "none"
                    or not source.gathers
                ):
                    return None
                if readers[source] > 1:
                    return None
                target = [position(0)] * len(order)
                for axis, k in enumerate(order):
                    target[k] = position(axis)
                return compute(node.shape, source.extents, target, source.reducer, source.body)
        return None

    return map_nodes(roots, change)


def _permutation(subscripts: Sequence[Poly]) -> list[int] | None:
    """The positions of a pure reordering of axes."""
    found: list[int] = []
    for s in subscripts:
        atoms = s.atoms
        if len(atoms) != 1 or not isinstance(atoms[0], Position) or s is not position(atoms[0].position):
            return None
        found.append(atoms[0].position)
    return found if sorted(found) == list(range(len(found))) else None
