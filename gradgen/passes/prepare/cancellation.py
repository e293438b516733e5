"""Sums that hold a logsumexp, or a share of one, without the cancellation of their largest terms.

In: the graph in which `logsumexp` has taken every logsumexp apart. Out: the same values, to a few last places of them
and not of their terms.

x - logsumexp(x) = (x - shift) - log1p(rest): no term is positive, and where x is the largest the first one is 0.
a + d p = (a + d) - d (1 - p) for p = exp(x - logsumexp(x)), above 1/2 for the largest x alone, and 1 - p = rest / total
then: in the gradient of a small loss d is -a, and p nearly 1. Both are sums without an `if` around a statement. Where
the data decide whether an example counts, a + where(c, d p, 0) is where(c, a + d p, a), and a is often 0 without c.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen.graph.nodes import Compute, Node, Reshape, all_inputs, compute, identity, pointwise, toposort
from gradgen.graph.origin import carry_origin, name_part
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Const,
    Load,
    Poly,
    Scalar,
    call,
    conjuncts,
    load,
    number,
    require_poly,
    substitute,
    walk,
)
from gradgen.passes.prepare.log_forms import combined
from gradgen.passes.rebuild.conditions import conjunction, mask_of
from gradgen.passes.rebuild.look_through import at, pointwise_body, reshaped_access
from gradgen.passes.rebuild.nodes import rebuild
from gradgen.passes.rebuild.rewrites import Rewrite

__all__ = ["Share", "Shifted", "without_cancellation"]

REASON = "a sum keeps what is left when its largest terms cancel: (x - max) - log1p(sum of the other exponentials)"
SUMS = ("add", "sub", "neg")
_DEPTH = 8  # producers further away than this are not looked through
Terms = list[tuple[int, Scalar]]


@dataclass(frozen=True, slots=True)
class Shifted:
    """logsumexp = shift + tail, tail = log1p(rest), rest = others + (ones - 1), total = sum of terms.

    `terms` are exp(body - shift): `ones` says how many of them are 1, `others` is the sum of those that are not.
    """

    node: Compute  # the logsumexp
    shift: Node
    terms: Node
    total: Node
    others: Node
    ones: Node
    rest: Node
    tail: Node
    result: Node


@dataclass(frozen=True, slots=True)
class Share:
    """A node that is exp(x - logsumexp(x)) = term / total[outer]."""

    node: Node
    parts: Shifted
    outer: tuple[Poly, ...]


def without_cancellation(
    roots: Sequence[Node], lowered: Mapping[Node, Shifted], shares: Mapping[Node, Share]
) -> tuple[list[Node], list[Rewrite]]:
    """The sums of every formula rearranged, and which; `lowered` holds the parts of a logsumexp by its result."""
    if not lowered:
        return list(roots), []
    sums = _Sums(lowered, shares)
    built: dict[Node, Node] = {}
    for node in toposort(roots, lambda n: all_inputs(sums.rearranged(n))):
        built[node] = rebuild(sums.rearranged(node), built)
        if built[node] is not node:
            carry_origin(node, built[node])
    records = [Rewrite("cancel", node, new, REASON) for node, new in sums.done.items() if new is not node]
    return [built[root] for root in roots], records


@dataclass(frozen=True, slots=True)
class _Held:
    """A multiple of a logsumexp or of a share, where all of `guards` hold, and 0 elsewhere."""

    access: Load
    factor: Scalar
    guards: tuple[Scalar, ...] = ()

    def times(self, factor: Scalar) -> "_Held | None":
        """As often; not behind a guard, which hides what the factor is elsewhere."""
        return None if self.guards else _Held(self.access, factor)


@dataclass(slots=True)
class _Sums:
    lowered: Mapping[Node, Shifted]
    shares: Mapping[Node, Share]
    done: dict[Node, Node] = field(default_factory=dict)

    def rearranged(self, node: Node) -> Node:
        """The node with its sums rearranged, over the inputs that it had."""
        if node not in self.done:
            self.done[node] = node
            if isinstance(node, Compute) and node not in self.lowered:
                body = self._body(node.body)
                if body is not node.body:
                    self.done[node] = compute(node.shape, node.extents, node.target, node.reducer, body)
        return self.done[node]

    def _body(self, body: Scalar) -> Scalar:
        """Sum by sum, innermost first; a sum is all that is added up at its place."""
        settled: set[Scalar] = set()
        while True:
            sums = [x for x in walk(body) if isinstance(x, Call) and x.function.name in SUMS]
            inner = {part for x in sums for part in x.arguments}
            pending = ((x, self._sum(x)) for x in sums if x not in inner and x not in settled)
            x, new = next((found for found in pending if found[1] is not None), (None, None))
            if x is None or new is None:
                return body
            body = substitute(body, {}, {x: new})
            settled |= set(walk(new))

    def _sum(self, x: Scalar) -> Scalar | None:
        terms = self.terms(x)
        held = [(sign, term, self.held(term)) for sign, term in terms]
        if len(terms) < 2 or all(found is None for _, _, found in held):
            return None
        if any(found is not None and found.access.tensor in self.lowered for _, _, found in held):
            return self._by_shift(terms)
        first = next(found for _, _, found in held if found is not None)
        mine, others = list[tuple[int, Scalar]](), list[tuple[int, Scalar]]()
        for sign, term, found in held:
            alike = found is not None and found.access is first.access and set(found.guards) == set(first.guards)
            (mine if alike else others).append((sign, found.factor if found is not None and alike else term))
        return self._by_complement(others, _total(mine), first) if others else None

    # ------------------------------------------------------------ what a sum is made of

    def terms(self, x: Scalar, sign: int = 1, depth: int = 0) -> Terms:
        """The terms of a sum, seen through the nodes that add up some of them."""
        match x:
            case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
                return [*self.terms(a, sign, depth), *self.terms(b, sign if f.name == "add" else -sign, depth)]
            case Call(function=f, arguments=(a,)) if f.name == "neg":
                return self.terms(a, -sign, depth)
            case Load() if depth < _DEPTH:
                inner = self.through(x)
                if isinstance(inner, Call) and inner.function.name in SUMS:
                    found = self.terms(inner, sign, depth + 1)
                    if any(self.held(term) is not None for _, term in found):
                        return found
        return [(sign, x)]

    def held(self, x: Scalar, depth: int = 0) -> _Held | None:
        """The logsumexp or the share that an expression is a multiple of, and the factor."""
        match x:
            case Load(tensor=tensor):
                if tensor in self.lowered or tensor in self.shares:
                    return _Held(x, number(1))
                inner = self.through(x) if depth < _DEPTH else None
                return None if inner is None else self.held(inner, depth + 1)
            case Call(function=f, arguments=(a,)) if f.name == "neg":
                found = self.held(a, depth)
                return None if found is None else replace(found, factor=call("neg", found.factor))
            case Call(function=f, arguments=(a, b)) if f.name in ("mul", "div"):
                found = self.held(a, depth)
                if found is not None:
                    plain = _is_number(found.factor, 1) and f.name == "mul"
                    return found.times(b if plain else call(f.name, found.factor, b))
                found = self.held(b, depth) if f.name == "mul" else None
                if found is None:
                    return None
                return found.times(a if _is_number(found.factor, 1) else call("mul", a, found.factor))
        guarded = mask_of(x)
        found = None if guarded is None else self.held(guarded[1], depth)
        if guarded is None or found is None or found.access.tensor in self.lowered:
            return None
        return replace(found, guards=(*conjuncts(guarded[0]), *found.guards))

    def through(self, x: Load) -> Scalar | None:
        if x.tensor in self.lowered or x.tensor in self.shares:
            return None
        return reshaped_access(x) if isinstance(x.tensor, Reshape) else pointwise_body(x)

    # ------------------------------------------------------------ how it is added up

    def _by_shift(self, terms: Terms) -> Scalar:
        """Shifts go with what stands beside them, what of its kind first, tails come last."""
        large: Terms = []
        tails: Terms = []
        bodies: set[Node] = set()
        for sign, term in terms:
            found = self.held(term)
            parts = None if found is None else self.lowered.get(found.access.tensor)
            if found is None or parts is None:
                large.append((sign, term))
                continue
            bodies |= {part.tensor for part in walk(parts.node.body) if isinstance(part, Load)}
            for kept, node in ((large, parts.shift), (tails, parts.tail)):
                value = load(node, found.access.subscripts)
                kept.append((sign, _times(found.factor, value)))
            bodies.add(parts.shift)
        is_alike = [any(isinstance(p, Load) and p.tensor in bodies for p in walk(term)) for _, term in large]
        near = _total([t for t, alike in zip(large, is_alike, strict=True) if alike])
        apart = [t for t, alike in zip(large, is_alike, strict=True) if not alike]
        for sign, term in (*apart, *tails):
            near = call("difference", near, call("neg", term) if sign > 0 else term)
        return near

    def _by_complement(self, others: Terms, d: Scalar, share: _Held) -> Scalar:
        """a + where(guards, d p, 0) for the sum a of the others, which may be where(c, -d, 0)."""
        p, given = share.access, set(share.guards)
        parts = self.shares[p.tensor].parts
        lacking = pointwise(parts.node.shape, call("div", identity(parts.rest), identity(parts.total)))
        name_part(parts.node, lacking)
        lack = load(lacking, [require_poly(at(s, p.subscripts)) for s in self.shares[p.tensor].outer])
        mask = self._mask(others)
        conditions, a = ([], _total(others)) if mask is None else mask
        elsewhere = number(0) if given <= set(conditions) else _total(others)
        conditions = [c for c in conditions if c not in given]
        if self._are_opposite(a, d):
            new = _times(d, call("less_one", p, lack, conjunction(conditions)))
        else:
            is_large = call("gt", p, number(0.5))
            if not given:
                a = _total(others)
            elif conditions:
                a = call("where", conjunction(conditions), a, number(0))
            near = call("add", a, call("where", is_large, d, number(0)))
            new = call("difference", near, call("neg", _times(d, call("less_one", p, lack, is_large))))
        return call("where", conjunction(share.guards), new, elsewhere) if share.guards else new

    def _mask(self, terms: Terms) -> tuple[list[Scalar], Scalar] | None:
        """The conditions and x of a single term where(all of them, x, 0)."""
        if len(terms) > 1:
            return None
        sign, x = terms[0]
        if isinstance(x, Load):
            inner = self.through(x)
            x = x if inner is None else inner
        found = mask_of(x)
        return None if found is None else (conjuncts(found[0]), found[1] if sign > 0 else call("neg", found[1]))

    def _are_opposite(self, a: Scalar, d: Scalar) -> bool:
        """Whether a + d is 0 by its form."""
        (sign_a, x), (sign_d, y) = (self._signed(v) for v in (a, d))
        if isinstance(x, Const) and isinstance(y, Const):
            return sign_a * x.value + sign_d * y.value == 0
        return x is y and sign_a == -sign_d

    def _signed(self, x: Scalar) -> tuple[int, Scalar]:
        sign = 1
        while True:
            inner = self.through(x) if isinstance(x, Load) else None
            if isinstance(x, Call) and x.function.name == "neg":
                sign, x = -sign, x.arguments[0]
            elif isinstance(x, Call) and x.function.name in FLOATS:
                x = x.arguments[0]
            elif inner is not None and (isinstance(_bare(inner), Const) or _is_negated(inner)):
                x = inner
            else:
                return sign, x


def _bare(x: Scalar) -> Scalar:
    while isinstance(x, Call) and x.function.name in FLOATS:
        x = x.arguments[0]
    return x


def _is_negated(x: Scalar) -> bool:
    return isinstance(x, Call) and x.function.name == "neg"


def _is_number(x: Scalar, value: int) -> bool:
    return isinstance(x, Const) and x.dtype != "bool" and x.value == value


def _times(factor: Scalar, x: Scalar) -> Scalar:
    return x if _is_number(factor, 1) else call("mul", factor, x)


def _total(terms: Terms) -> Scalar:
    total = combined(tuple(terms))
    assert total is not None
    return total
