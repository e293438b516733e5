"""Integers beside floats become floats where they stand.

In: formulas as declared. Out: the same values, with the casts that promotion means. Passes take products and sums
apart and put them together in another order; two integers that then met would be multiplied or added as integers, in
their ring, and 2.0 * a * b with a uint32 a is no 2.0 * (a * b).
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, compute
from gradgen.graph.scalar import FLOATS, Call, Poly, Scalar, call, rewrite
from gradgen.passes.rebuild.formulas import map_formulas

__all__ = ["cast_integers"]

INTEGERS = ("int32", "int64", "uint32")


def cast_integers(roots: Sequence[Node]) -> list[Node]:
    """x * n -> x * float32(n), and so for every function that computes floats; numbers stay weak."""
    return map_formulas(roots, lambda node, _: _with_casts(node))


def _with_casts(node: Compute) -> Node:
    body = rewrite(node.body, _cast, lambda atom: None)
    return node if body is node.body else compute(node.shape, node.extents, node.target, node.reducer, body)


def _cast(x: Scalar) -> Scalar | None:
    if not isinstance(x, Call) or x.dtype not in FLOATS or x.function.result not in ("promote", "float"):
        return None
    if not any(map(_is_integer, x.arguments)):
        return None
    return call(x.function.name, *[call(x.dtype, a) if _is_integer(a) else a for a in x.arguments])


def _is_integer(x: Scalar) -> bool:
    return x.dtype in INTEGERS and not (isinstance(x, Poly) and x.constant is not None)
