"""Contractions with an affine subscript, which are no products of matrices and yet worth more than plain loops.

In: a node that is a sum of the product of two accesses. Out: its factors and where they lie, for `schedule`, which lets
it stand alone, and `lower`, which makes a `Contract` of it. A sum that is unusual in any way is left alone.
"""

from dataclasses import dataclass
from math import gcd, prod

from gradgen.graph.nodes import Compute, Node
from gradgen.graph.scalar import FLOATS, Load, Poly, load, position, position_atom
from gradgen.machine import machine
from gradgen.passes.rebuild.by_node import by_node
from gradgen.passes.rebuild.products import is_inside_test, without_hiding
from gradgen.passes.rewrite.lattice import unfold
from gradgen.program.box_plans import choose
from gradgen.program.boxes import Affinity, affinity

__all__ = ["AffineSum", "affine_sum", "recognise"]


@dataclass(frozen=True, slots=True)
class AffineSum:
    """result[target] += left * right over all positions below `extents`, wherever the elements are there.

    Where the node gathers what is spread over a lattice, positions are those of the spreading.
    """

    extents: tuple[Poly, ...]
    target: tuple[Poly, ...]
    left: Load
    right: Load

    def over(self, result: Compute) -> Affinity | None:
        """The contraction over named indices: index `k` is position k."""
        indices = [(position_atom(k), extent) for k, extent in enumerate(self.extents)]
        operands = ((x.tensor.shape, x.subscripts) for x in (self.left, self.right))
        return affinity(indices, (result.shape, self.target), *operands)


@by_node
def affine_sum(node: Node) -> AffineSum | None:
    """The contraction that a node is, if it pays to multiply in registers what plain loops would."""
    found = recognise(node)
    return None if found is None or choose(found[1]) is None else found[0]


def recognise(node: Node) -> tuple[AffineSum, Affinity] | None:
    """sum of where(both accesses are inside their tensors, left * right, 0) over literal extents, or None.

    Further conditions may stand there where one of the accesses is 0 outside of them.
    One index of a leading axis may be known only at call time, if it stands alone in every subscript.
    """
    if not isinstance(node, Compute) or node.reducer != "sum" or not node.gathers or node.dtype not in FLOATS:
        return None
    split = without_hiding(node.body)
    if split is None or len(node.extents) == len(node.shape):
        return None
    left, right, conditions, _ = split
    if {left.dtype, right.dtype} != {node.dtype}:
        return None
    lattice = unfold(node, (left, right), conditions)
    if not all(is_inside_test(c, (left, right)) or lattice.holds(c) for c in conditions):
        return None
    unfolded = (
        load(x.tensor, [lattice.subscripts.get((side, axis), s) for axis, s in enumerate(x.subscripts)])
        for side, x in enumerate((left, right))
    )
    extents = tuple(lattice.extents.get(k, extent) for k, extent in enumerate(node.extents))
    target = tuple(lattice.targets.get(k, position(k)) for k in range(len(node.shape)))
    found = AffineSum(extents, target, *unfolded)
    spec = found.over(node)
    if spec is None or prod(spec.extents.values()) < machine().outer:
        return None
    return (found, spec) if all(_covers(spec, k) for k in lattice.targets) else None


def _covers(spec: Affinity, axis: int) -> bool:
    """Whether the sums reach every element of the result along an axis, or one beside it."""
    subscript, extent = spec.out.subscripts[axis], spec.out.shape[axis]
    least, most = subscript.span(spec.extents)
    return extent is not None and gcd(*subscript.terms.values()) == 1 and least <= 0 and most >= extent - 1
