"""Factors that do not depend on the reduced positions, pulled out of sums.

In: a sum. Out: a pointwise node over a cheaper sum; `simplify` calls this for every formula.
"""

from gradgen.graph.nodes import Compute, Node, compute, pointwise, product
from gradgen.graph.scalar import (
    Call,
    Load,
    Poly,
    Scalar,
    call,
    integer,
    load,
    number,
    position,
    positions_of,
    require_poly,
    walk,
)
from gradgen.graph.sizes import is_size, nonnegative
from gradgen.passes.rebuild.look_through import at
from gradgen.passes.rebuild.products import quotient

__all__ = ["factors_of", "pull_out_factors"]


def factors_of(body: Scalar) -> tuple[list[Scalar], list[Scalar]]:
    """What a body multiplies and what it divides by, in the order of writing; signs count as a factor -1."""
    above: list[Scalar] = []
    below: list[Scalar] = []
    stack: list[tuple[Scalar, bool]] = [(body, True)]
    while stack:
        x, multiplied = stack.pop()
        match x:
            case Call(function=f, arguments=(a, b)) if f.name == "mul" and x.dtype == body.dtype:
                stack += [(b, multiplied), (a, multiplied)]
            case Call(function=f, arguments=(a, b)) if f.name == "div" and x.dtype == body.dtype:
                stack += [(b, not multiplied), (a, multiplied)]
            case Call(function=f, arguments=(a,)) if f.name == "neg" and x.dtype == body.dtype:
                above.append(number(-1))
                stack.append((a, multiplied))
            case _:
                (above if multiplied else below).append(x)
    return above, below


def pull_out_factors(node: Compute) -> Node | None:
    """sum_j c[i] * x[i, j] = c[i] * sum_j x[i, j]; and 0 over no j, whatever c is.

    Only where work is saved: an access or a division leaves the loop, and something that varies stays in it.
    """
    if node.reducer != "sum" or not node.gathers or not node.reduced or node.body.dtype != node.dtype:
        return None
    above, below = factors_of(node.body)
    varying = set(node.reduced)
    fixed_above = [x for x in above if not varying.intersection(positions_of(x))]
    fixed_below = [x for x in below if not varying.intersection(positions_of(x))]
    if not any(isinstance(part, Load) for x in (*fixed_above, *fixed_below) for part in walk(x)):
        return None
    rest_above = [x for x in above if varying.intersection(positions_of(x))]
    rest_below = [x for x in below if varying.intersection(positions_of(x))]
    if not rest_above and not rest_below:
        return None
    inner = call(node.dtype, quotient(rest_above, rest_below))
    rows = [k for k in positions_of(inner) if k < len(node.shape)]
    total = _sum_over(node, inner, rows)
    outer = quotient([*fixed_above, load(total, [position(k) for k in rows])], fixed_below)
    return pointwise(node.shape, _unless_empty(node, call(node.dtype, outer)))


def _sum_over(node: Compute, inner: Scalar, rows: list[int]) -> Node:
    """The sum of the varying factors over the rows of the result that they mention."""
    places = [position(0)] * len(node.extents)
    for new, old in enumerate([*rows, *node.reduced]):
        places[old] = position(new)
    shape = [node.extents[k] for k in rows]
    extents = [*shape, *[node.extents[k] for k in node.reduced]]
    return compute(shape, extents, [position(k) for k in range(len(rows))], "sum", at(inner, places))


def _unless_empty(node: Compute, value: Scalar) -> Scalar:
    """Nothing sums to 0, also where a factor is nan; a condition on sizes, where they may be 0."""
    size: Poly = product(node.extents[k] for k in node.reduced)
    if nonnegative(require_poly(size - 1)) or not is_size(size):
        return value
    return call("where", size >= integer(1), value, number(0))
