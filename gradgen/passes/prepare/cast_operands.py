"""Operands of another dtype are cast where they stand.

In: formulas as declared. Out: the same values, with the casts that promotion means. Passes take products and sums
apart and put them together in another order; two operands that then met would be multiplied or added in their own
dtype. 2.0 * a * b with uint32 a and b is no 2.0 * (a * b), which wraps around, and with a float64 beside two float32
that product may overflow.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, compute
from gradgen.graph.scalar import FLOATS, Call, Poly, Scalar, call, rewrite
from gradgen.passes.rebuild.formulas import map_formulas

__all__ = ["cast_operands"]

TYPED = ("int32", "int64", "uint32", *FLOATS)  # numbers are weak, and conditions are 0 or 1 in every dtype


def cast_operands(roots: Sequence[Node]) -> list[Node]:
    """x * n -> x * float32(n), and so for every function that computes floats."""
    return map_formulas(roots, lambda node, _: _with_casts(node))


def _with_casts(node: Compute) -> Node:
    body = rewrite(node.body, _cast, lambda atom: None)
    return node if body is node.body else compute(node.shape, node.extents, node.target, node.reducer, body)


def _cast(x: Scalar) -> Scalar | None:
    if not isinstance(x, Call) or x.dtype not in FLOATS or x.function.result not in ("promote", "float"):
        return None
    if not any(_is_other(a, x.dtype) for a in x.arguments):
        return None
    return call(x.function.name, *[call(x.dtype, a) if _is_other(a, x.dtype) else a for a in x.arguments])


def _is_other(x: Scalar, dtype: str) -> bool:
    return x.dtype in TYPED and x.dtype != dtype and not (isinstance(x, Poly) and x.constant is not None)
