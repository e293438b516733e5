"""A contraction as a plain nest of loops, for whoever has nothing better.

In: a `Contract`. Out: zeros, and a loop over each of its letters around one product.
"""

from collections.abc import Iterator
from functools import reduce

from gradgen.graph.names import free_letters
from gradgen.graph.scalar import Atom, Poly, Scalar, call, integer, load, number, require_poly
from gradgen.graph.sizes import nonnegative
from gradgen.program.loops import Accumulate, Assign, Contract, For, If, Indexed, Statement, letter, letter_atom
from gradgen.program.registers import names_in

__all__ = ["one_by_one"]


def one_by_one(contraction: Contract) -> list[Statement]:
    """The statements of a contraction, one product after the other."""
    out, left, right = contraction.out, contraction.left, contraction.right
    shape = out.buffer.shape[len(out.fixed) :]
    axes = free_letters(len(shape), names_in([contraction]))
    cleared: Statement = Assign(out.buffer, (*out.fixed, *map(letter, axes)), number(0))
    for name, extent in zip(reversed(axes), reversed(shape), strict=True):
        cleared = For(name, integer(0), extent, "parallel", (cleared,))
    product = call("mul", *(load(x.buffer, (*x.fixed, *x.subscripts)) for x in (left, right)))
    term: Statement = Accumulate(out.buffer, (*out.fixed, *out.subscripts), "sum", product)
    conditions = list(dict.fromkeys(c for x in (out, left, right) for c in _is_there(x, contraction)))
    if conditions:
        term = If(reduce(lambda a, b: call("and", a, b), conditions), (term,))
    for name, extent in reversed(contraction.letters):
        term = For(name, integer(0), extent, "reduce", (term,))
    return [cleared, term]


def _is_there(x: Indexed, contraction: Contract) -> Iterator[Scalar]:
    """The conditions under which an element is inside its array, where that is not sure."""
    ranges: dict[Atom, Poly] = {letter_atom(name): extent for name, extent in contraction.letters}
    for at, extent in zip(x.subscripts, x.buffer.shape[len(x.fixed) :], strict=True):
        ends: tuple[Poly, ...] = (at, require_poly(extent - 1 - at))
        yield from (call("ge", end, integer(0)) for end in ends if not nonnegative(end, ranges))
