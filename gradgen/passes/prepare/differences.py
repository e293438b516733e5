"""Differences in which the logarithm of a sum of exponentials meets one of the terms of that sum.

In: a sum, with what `LogDomain` sees through nodes. Out: the same sum, of which nothing large cancels; `stabilize` uses
it. What stands over an axis, or over groups, is for `cancellation`, behind differentiation.

x - logaddexp(x, y) = -softplus(y - x): the largest of the exponents is gone from it, and so it is from the gradient.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from gradgen.graph.nodes import Compute, toposort
from gradgen.graph.scalar import Call, Load, Scalar, call, is_zero, number, walk
from gradgen.passes.prepare.log_domain import LogDomain
from gradgen.passes.prepare.log_forms import combined

__all__ = ["opposite", "without_large_terms"]

SOFT = ("softplus", "logsigmoid", "logaddexp")
Signed = list[tuple[int, Scalar]]
_DEPTH = 8  # nodes further away than this are not looked through


@dataclass(frozen=True, slots=True)
class _Soft:
    """sign * log of the sum of exp(x) over the exponents; of softplus(x) they are x and the number 0."""

    sign: int
    exponents: tuple[Scalar, ...]


def without_large_terms(x: Scalar, domain: LogDomain) -> Scalar | None:
    """A sum with every logaddexp freed of the terms that stand against it; None where there are none."""
    terms = first = _terms(x, 1, domain)
    while (fewer := _one_less(terms, domain)) is not None:  # every time there is one term less
        terms = fewer
    terms = _parted(terms, domain)
    if terms is first:
        return None
    total = combined(tuple(terms))
    return number(0.0) if total is None else total


def _one_less(terms: Signed, domain: LogDomain) -> Signed | None:
    softs = {k: soft for k, (sign, term) in enumerate(terms) if (soft := _soft(sign, term, domain)) is not None}
    for k, soft in softs.items():
        for m, own in enumerate(soft.exponents):
            rest = None if is_zero(own) else _without(terms, k, own, -soft.sign, domain)
            if rest is not None:
                return [*rest, (soft.sign, _above(own, soft.exponents, m))]
        mirrored = next((m for m, other in softs.items() if _are_mirrored(soft, other)), None)
        if mirrored is not None:  # softplus(x) - softplus(-x) = x
            return [*[t for m, t in enumerate(terms) if m not in (k, mirrored)], (soft.sign, soft.exponents[0])]
    return None


def _above(own: Scalar, exponents: Sequence[Scalar], m: int) -> Scalar:
    """log sum exp(exponents) - own = softplus(logaddexp of the other exponents less own), for own of number m."""
    less = [opposite(own) if is_zero(x) else call("sub", x, own) for k, x in enumerate(exponents) if k != m]
    return call("softplus", reduce(lambda x, y: call("logaddexp", x, y), less))


def _parted(terms: Signed, domain: LogDomain) -> Signed:
    """x - logaddexp(l, y) = x - l - softplus(y - l), where l is the logsumexp of what x is read from, or made of."""
    found: Signed = []
    for sign, term in terms:
        soft = _soft(sign, term, domain)
        against = [t for s, t in terms if soft is not None and s == -soft.sign]
        m = None if soft is None else next((m for m, x in enumerate(soft.exponents) if _sums(x, against)), None)
        if soft is None or m is None:
            found.append((sign, term))
        else:
            found += [(soft.sign, soft.exponents[m]), (soft.sign, _above(soft.exponents[m], soft.exponents, m))]
    return found if len(found) > len(terms) else terms


def _sums(x: Scalar, against: Sequence[Scalar]) -> bool:
    """Whether this is a logsumexp of something that the other terms read."""
    if not isinstance(x, Load) or not isinstance(x.tensor, Compute) or x.tensor.reducer != "logsumexp":
        return False
    sources = set(toposort([x.tensor])) - {x.tensor}
    return any(isinstance(part, Load) and part.tensor in sources for part in walk(*against))


def _without(terms: Signed, k: int, own: Scalar, sign: int, domain: LogDomain) -> Signed | None:
    """The terms but for number k, and but for those whose sum is sign * own; None where they are not all there."""
    ways = [[(sign, own)], _flat(own, sign), [(s, _copied(t, domain)) for s, t in _flat(_seen(own, domain), sign)]]
    for way in ways:
        left = [t for m, t in enumerate(terms) if m != k]
        for s, t in way:
            at = next((m for m, (s2, t2) in enumerate(left) if s2 == s and t2 is _copied(t, domain)), None)
            if at is None:
                break
            del left[at]
        else:
            return left
    return None


def _are_mirrored(a: _Soft, b: _Soft) -> bool:
    if a.sign != -b.sign or any(len(x.exponents) != 2 or not is_zero(x.exponents[1]) for x in (a, b)):
        return False
    first, second = (_flat(x.exponents[0], sign) for x, sign in ((a, 1), (b, -1)))
    return Counter((s, id(t)) for s, t in first) == Counter((s, id(t)) for s, t in second)


# ---------------------------------------------------------------- terms


def _terms(x: Scalar, sign: int, domain: LogDomain, depth: int = 0) -> Signed:
    """The terms of a sum, seen through the nodes that hold one of these logarithms."""
    match x:
        case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
            second = sign if f.name == "add" else -sign
            return [*_terms(a, sign, domain, depth), *_terms(b, second, domain, depth)]
        case Call(function=f, arguments=(a,)) if f.name == "neg":
            return _terms(a, -sign, domain, depth)
        case Load() if depth < _DEPTH:
            inner = domain.through(x)
            if isinstance(inner, Load):
                return _terms(inner, sign, domain, depth + 1)
            if isinstance(inner, Call) and inner.function.name in ("add", "sub", "neg", *SOFT):
                found = _terms(inner, sign, domain, depth + 1)
                if any(_soft(s, t, domain) is not None for s, t in found):
                    return found
    return [(sign, x)]


def _flat(x: Scalar, sign: int) -> Signed:
    """The terms of a sum as it is written."""
    match x:
        case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
            return [*_flat(a, sign), *_flat(b, sign if f.name == "add" else -sign)]
        case Call(function=f, arguments=(a,)) if f.name == "neg":
            return _flat(a, -sign)
    return [(sign, x)]


def _seen(x: Scalar, domain: LogDomain) -> Scalar:
    inner = domain.through(x)
    return x if inner is None else inner


def _copied(x: Scalar, domain: LogDomain) -> Scalar:
    """What an access of a copy reads in the end."""
    for _ in range(_DEPTH):
        inner = domain.through(x)
        if not isinstance(inner, Load):
            break
        x = inner
    return x


def _soft(sign: int, x: Scalar, domain: LogDomain) -> _Soft | None:
    match x:
        case Call(function=f, arguments=(a,)) if f.name == "logsigmoid":
            return _Soft(-sign, (opposite(a), number(0)))
        case Call(function=f) if f.name in ("logaddexp", "softplus"):
            return _Soft(sign, tuple(_exponents(x, domain)))
    return None


def _exponents(x: Scalar, domain: LogDomain, depth: int = 0) -> list[Scalar]:
    """x, y and z of logaddexp(logaddexp(x, y), z)."""
    inner = domain.as_call(x, "logaddexp", "softplus")
    if inner is None or depth > _DEPTH:
        return [x]
    found = [part for a in inner.arguments for part in _exponents(a, domain, depth + 1)]
    return found if inner.function.name == "logaddexp" else [*found, number(0)]


def opposite(x: Scalar) -> Scalar:
    """-x, the other way round where x is a difference."""
    match x:
        case Call(function=f, arguments=(a,)) if f.name == "neg":
            return a
        case Call(function=f, arguments=(a, b)) if f.name == "sub":
            return call("sub", b, a)
    return call("neg", x)
