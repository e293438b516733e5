"""A logarithm as a sum of signed terms and the logarithm of what is left of a product; sums of signed terms.

In: parts that `log_domain` finds. Out: the logarithm as an expression, or what became of its parts.
"""

import math
from dataclasses import dataclass, replace

from gradgen.graph.scalar import FLOATS, Const, Scalar, call, number, promote
from gradgen.passes.rebuild.products import quotient

__all__ = ["MINUS_INFINITY", "LogForm", "Terms", "cancelled", "combined", "negated"]

MINUS_INFINITY = number(float("-inf"))
Terms = tuple[tuple[int, Scalar], ...]


@dataclass(frozen=True, slots=True)
class LogForm:
    """log x = where(masks, terms, -inf) + shifts + log(above / below), terms and shifts being sums of signed terms.

    `gains`: something disappears in it that log(x) would compute; `exps`: an exp does; `sums`: a sum of exps became a
    logsumexp; `over`: such a sum is divided by.
    """

    terms: Terms = ()
    shifts: Terms = ()
    masks: tuple[Scalar, ...] = ()
    above: tuple[Scalar, ...] = ()
    below: tuple[Scalar, ...] = ()
    gains: bool = False
    exps: bool = False
    sums: bool = False
    over: bool = False
    rules: tuple[str, ...] = ()

    def unmasked(self) -> "LogForm":
        """The same with the mask inside the terms."""
        if not self.masks:
            return self
        condition = self.masks[0]
        for mask in self.masks[1:]:
            condition = call("and", condition, mask)
        inner = combined(self.terms)
        masked = call("where", condition, number(0) if inner is None else inner, MINUS_INFINITY)
        return replace(self, terms=((1, masked),), masks=())

    def times(self, other: "LogForm") -> "LogForm":
        return LogForm(
            (*self.terms, *other.terms),
            (*self.shifts, *other.shifts),
            (*self.masks, *other.masks),
            (*self.above, *other.above),
            (*self.below, *other.below),
            self.gains or other.gains,
            self.exps or other.exps,
            self.sums or other.sums,
            self.over or other.over,
            tuple(dict.fromkeys((*self.rules, *other.rules))),
        )

    def inverse(self) -> "LogForm":
        form = self.unmasked()
        return LogForm(
            negated(form.terms), negated(form.shifts), (), form.below, form.above,
            form.gains, form.exps and not form.sums, False, form.sums, form.rules,
        )  # fmt: skip

    def total(self) -> Scalar:
        """log x as an expression."""
        form = self.unmasked()
        terms = [*form.terms, *cancelled(form.shifts)]
        if form.above or form.below:
            sign, rest = (1, quotient(form.above, form.below)) if form.above else (-1, quotient(form.below, ()))
            dtype = promote([term.dtype for _, term in terms]) if terms else rest.dtype
            if isinstance(rest, Const) and rest.dtype != "bool" and rest.value > 0:
                terms.append((sign, number(math.log(rest.value))))
            else:  # an integer, such as a size, is no float yet
                rest = rest if rest.dtype in FLOATS or dtype not in FLOATS else call(dtype, rest)
                terms.append((sign, call("log", rest)))
        total = combined(tuple(terms))
        return number(0) if total is None else total


def combined(terms: Terms) -> Scalar | None:
    """The sum of signed terms, the positive ones first; None of no terms."""
    total: Scalar | None = None
    for sign, term in sorted(terms, key=lambda t: -t[0]):
        if total is None:
            total = term if sign > 0 else call("neg", term)
        else:
            total = call("add" if sign > 0 else "sub", total, term)
    return total


def cancelled(terms: Terms) -> Terms:
    """The terms without those that stand against an equal one."""
    kept: list[tuple[int, Scalar]] = []
    for sign, term in terms:
        opposite = next((k for k, (s, t) in enumerate(kept) if t is term and s == -sign), None)
        if opposite is None:
            kept.append((sign, term))
        else:
            kept.pop(opposite)
    return tuple(kept)


def negated(terms: Terms) -> Terms:
    return tuple((-sign, term) for sign, term in terms)
