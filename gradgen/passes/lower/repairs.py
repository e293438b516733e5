"""Elements of a masked product that came out as nan, computed again term by term.

In: a sum that `contract` or `outer_products` computes without the conditions that hide values, as one operand is 0
outside of them; 0 times nan or infinity is nan all the same. Out: statements for `lower` behind the product: if a sum
over the result is nan, every element that is nan is computed again under the conditions. What is nan still was read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gradgen.graph.scalar import Call, Poly, Scalar, call, conjuncts, is_zero, load, number
from gradgen.graph.sizes import is_index_only
from gradgen.passes.rebuild.conditions import conjunction
from gradgen.passes.rebuild.products import split_factors
from gradgen.passes.schedule.trees import Item
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    For,
    If,
    LoopKind,
    Statement,
    letter,
)

__all__ = ["Elements", "added_elements", "hides", "repaired"]

Letters = Mapping[int, Poly]


@dataclass(frozen=True, slots=True)
class Elements:
    """The elements of a product: loop variables by position, where these run, and the subscripts in a buffer."""

    buffer: Buffer
    bound: Letters
    names: Mapping[int, str]
    span: Callable[[int], tuple[Poly, Poly]]
    subscripts: Callable[[Letters], tuple[Poly, ...]]

    @property
    def letters(self) -> Letters:
        return {**self.bound, **{k: letter(name) for k, name in self.names.items()}}

    def over(self, positions: Sequence[int], kind: LoopKind, inner: Statement) -> Statement:
        (whole,) = self.around(positions, (inner,), kind)
        return whole

    def around(
        self, positions: Sequence[int], inner: tuple[Statement, ...], kind: LoopKind = "reduce"
    ) -> tuple[Statement, ...]:
        for k in reversed(positions):
            inner = (For(self.names[k], *self.span(k), kind, inner),)
        return inner


def hides(item: Item) -> bool:
    """Whether a product leaves conditions out that hide values."""
    split = split_factors(item.node.body)
    if split is None or (item.contraction is None and item.outer is None):
        return False
    return any(item.contraction is not None or not is_index_only(c) for c in split[1])


def repaired(item: Item, e: Elements, body: Scalar, check: Buffer, again: Buffer) -> list[Statement]:
    """if a sum over the elements is nan: those that are nan once more, from the body."""
    rows, summed = [k for k in e.names if k < item.rank], [k for k in e.names if k >= item.rank]
    element, total = load(e.buffer, e.subscripts(e.letters)), load(check, ())
    conditions, term = _under(body)
    add: Statement = Accumulate(again, (), "sum", term)
    if conditions:
        add = If(conjunction(conditions), (add,))
    once_more = If(
        call("ne", element, element),
        (
            Assign(again, (), number(0)),
            e.over(summed, "serial", add),
            Assign(e.buffer, e.subscripts(e.letters), load(again, ())),
        ),
    )
    by_row = (  # a sum for each row adds up twice as fast as one for all
        Assign(again, (), number(0)),
        e.over(rows[-1:], "reduce", Accumulate(again, (), "sum", element)),
        Accumulate(check, (), "sum", load(again, ())),
    )
    return [
        Assign(check, (), number(0)),
        *e.around(rows[:-1], by_row),
        If(call("ne", total, total), (e.over(rows, "reduce", once_more),)),
    ]


def added_elements(item: Item, e: Elements, into: Buffer, subscripts: Sequence[Poly]) -> Statement:
    """into[subscripts] += element, for all of them."""
    rows = [k for k in e.names if k < item.rank]
    term = Accumulate(into, tuple(subscripts), "sum", load(e.buffer, e.subscripts(e.letters)))
    return e.over(rows, "parallel", term)


def _under(x: Scalar) -> tuple[list[Scalar], Scalar]:
    conditions: list[Scalar] = []
    while isinstance(x, Call) and x.function.name == "where" and is_zero(x.arguments[2]):
        conditions += conjuncts(x.arguments[0])
        x = x.arguments[1]
    return conditions, x
