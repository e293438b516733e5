"""Differences in which the logarithm of a sum of exponentials meets one of the terms of that sum.

In: a sum, with what `LogDomain` sees through nodes. Out: the same sum, of which nothing large cancels; `stabilize` uses
it. What stands over an axis, or over groups, is for `cancellation`, behind differentiation.

x - logaddexp(x, y) = -softplus(y - x): the largest of the exponents is gone from it, and so it is from the gradient.
"""

from collections import Counter
from dataclasses import dataclass

from gradgen.graph.nodes import Compute
from gradgen.graph.scalar import Call, Load, Scalar, call, is_zero, number, walk
from gradgen.passes.logdomain import LogDomain, Terms, combined

__all__ = ["opposite", "without_large_terms"]

SOFT = ("softplus", "logsigmoid", "logaddexp")
_DEPTH = 8  # nodes further away than this are not looked through


@dataclass(frozen=True, slots=True)
class _Soft:
    """sign * log(exp(x) + exp(y)); softplus(x) has the number 0 for y."""

    sign: int
    x: Scalar
    y: Scalar


def without_large_terms(x: Scalar, domain: LogDomain) -> Scalar | None:
    """A sum with every logaddexp freed of the terms that stand against it; None where there are none."""
    terms = _terms(x, 1, domain)
    changed = False
    while (found := _one_less(terms, domain)) is not None:
        terms, changed = found, True
    if not changed:
        return None
    total = combined(tuple(terms))
    return number(0.0) if total is None else total


def _one_less(terms: Terms, domain: LogDomain) -> Terms | None:
    softs = {k: soft for k, (sign, term) in enumerate(terms) if (soft := _soft(sign, term)) is not None}
    for k, soft in softs.items():
        for own, other in ((soft.x, soft.y), (soft.y, soft.x)):
            rest = None if is_zero(own) else _without(terms, k, own, -soft.sign, domain)
            if rest is not None:
                return [*rest, (soft.sign, _softplus(other, own))]
        opposite = next((m for m, other in softs.items() if _are_mirrored(soft, other)), None)
        if opposite is not None:  # softplus(x) - softplus(-x) = x
            return [*[t for m, t in enumerate(terms) if m not in (k, opposite)], (soft.sign, soft.x)]
        parted = _parted(terms, k, soft)
        if parted is not None:
            return parted
    return None


def _softplus(x: Scalar, y: Scalar) -> Scalar:
    """log(exp(x - y) + 1)"""
    return call("softplus", opposite(y) if is_zero(x) else call("sub", x, y))


def _parted(terms: Terms, k: int, soft: _Soft) -> Terms | None:
    """x - logaddexp(l, y) = x - l - softplus(y - l), where l is the logsumexp of what x is read from."""
    for own, other in ((soft.x, soft.y), (soft.y, soft.x)):
        summed = own.tensor if isinstance(own, Load) else None
        if not isinstance(summed, Compute) or summed.reducer != "logsumexp":
            continue
        sources = {part.tensor for part in walk(summed.body) if isinstance(part, Load)}
        against = (term for sign, term in terms if sign == -soft.sign)
        if any(isinstance(part, Load) and part.tensor in sources for term in against for part in walk(term)):
            return [*terms[:k], *terms[k + 1 :], (soft.sign, own), (soft.sign, _softplus(other, own))]
    return None


def _without(terms: Terms, k: int, own: Scalar, sign: int, domain: LogDomain) -> Terms | None:
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
    if a.sign != -b.sign or not (is_zero(a.y) and is_zero(b.y)):
        return False
    return Counter((s, id(t)) for s, t in _flat(a.x, 1)) == Counter((s, id(t)) for s, t in _flat(b.x, -1))


# ---------------------------------------------------------------- terms


def _terms(x: Scalar, sign: int, domain: LogDomain, depth: int = 0) -> Terms:
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
                if any(_soft(s, t) is not None for s, t in found):
                    return found
    return [(sign, x)]


def _flat(x: Scalar, sign: int) -> Terms:
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


def _soft(sign: int, x: Scalar) -> _Soft | None:
    match x:
        case Call(function=f, arguments=(a, b)) if f.name == "logaddexp":
            return _Soft(sign, a, b)
        case Call(function=f, arguments=(a,)) if f.name == "softplus":
            return _Soft(sign, a, number(0))
        case Call(function=f, arguments=(a,)) if f.name == "logsigmoid":
            return _Soft(-sign, opposite(a), number(0))
    return None


def opposite(x: Scalar) -> Scalar:
    """-x, the other way round where x is a difference."""
    match x:
        case Call(function=f, arguments=(a,)) if f.name == "neg":
            return a
        case Call(function=f, arguments=(a, b)) if f.name == "sub":
            return call("sub", b, a)
    return call("neg", x)
