"""Elements of a masked product that came out as nan, computed again term by term.

In: a sum that `contract` or `microkernel` computes without the conditions that hide values, as one operand is 0 outside
of them; 0 times nan or infinity is nan all the same. Out: statements for `lower` behind the product: if a sum over
the result is nan, every element that is nan is computed again under the conditions. What is nan still was read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gradgen.graph.scalar import Call, Poly, Scalar, call, conjuncts, is_zero, load, number
from gradgen.passes.products import without_hiding
from gradgen.passes.trees import Item
from gradgen.program.loops import Accumulate, Assign, Buffer, For, If, Statement, letter

__all__ = ["Repair", "hides", "repaired"]


@dataclass(frozen=True, slots=True)
class Repair:
    """What `lower` knows of a product: loop variables by position, where they run, where elements lie, variables.

    `element` gives subscripts of `buffer`, which holds the product. `read` gives the body over loop variables.
    """

    buffer: Buffer
    bound: Mapping[int, Poly]
    names: Mapping[int, str]
    span: Callable[[int], tuple[Poly, Poly]]
    element: Callable[[Mapping[int, Poly]], tuple[Poly, ...]]
    read: Callable[[Mapping[int, Poly]], Scalar]
    check: Buffer
    sum: Buffer


def hides(item: Item) -> bool:
    """Whether a product leaves conditions out that hide values."""
    found = without_hiding(item.node.body)
    return found is not None and bool(found[3])


def repaired(item: Item, r: Repair) -> list[Statement]:
    letters = {**r.bound, **{k: letter(name) for k, name in r.names.items()}}
    rows = [k for k in r.names if k < item.rank]
    summed = [k for k in r.names if k >= item.rank]
    element = load(r.buffer, r.element(letters))
    total, again = load(r.check, ()), load(r.sum, ())

    def nest(positions: list[int], inner: Statement) -> Statement:
        for k in reversed(positions):
            inner = For(r.names[k], *r.span(k), "serial" if k >= item.rank else "reduce", (inner,))
        return inner

    conditions, term = _under(r.read(letters))
    add: Statement = Accumulate(r.sum, (), "sum", term)
    if conditions:
        whole = conditions[0]
        for c in conditions[1:]:
            whole = call("and", whole, c)
        add = If(whole, (add,))
    element_again = If(
        call("ne", element, element),
        (Assign(r.sum, (), number(0)), nest(summed, add), Assign(r.buffer, r.element(letters), again)),
    )
    return [
        Assign(r.check, (), number(0)),
        nest(rows, Accumulate(r.check, (), "sum", element)),
        If(call("ne", total, total), (nest(rows, element_again),)),
    ]


def _under(x: Scalar) -> tuple[list[Scalar], Scalar]:
    conditions: list[Scalar] = []
    while isinstance(x, Call) and x.function.name == "where" and is_zero(x.arguments[2]):
        conditions += conjuncts(x.arguments[0])
        x = x.arguments[1]
    return conditions, x
