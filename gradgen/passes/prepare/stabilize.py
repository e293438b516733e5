"""Stability: naive softmax, cross-entropy, log-sum-exp, softplus, sigmoid and max shifts become what they mean.

In: nodes as the user wrote them. Out: equal nodes (as real numbers) that neither overflow nor cancel, and what was
rewritten. Runs before differentiation, because the adjoint of a naive softmax can no longer be saved; `split` is next.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from gradgen.errors import OptionError
from gradgen.graph.nodes import Compute, Node, all_inputs, compute
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Call, Load, Scalar, call, is_one, rewrite, walk
from gradgen.passes.prepare.differences import opposite, without_large_terms
from gradgen.passes.prepare.log_domain import LogDomain
from gradgen.passes.prepare.log_forms import cancelled, combined
from gradgen.passes.rebuild.nodes import map_nodes
from gradgen.passes.rebuild.products import quotient
from gradgen.passes.rebuild.rewrites import Rewrite

__all__ = ["RULES", "rules_to_skip", "stabilize"]

# Every rule by name, to be switched off with `skip`, and what it says.
RULES = {
    "log_exp": "log(exp(x) * y / z) = x + log(y / z)",
    "logsumexp": "log(sum_j exp(x_j)) = logsumexp_j(x_j)",
    "softmax": "exp(x_i) / sum_j exp(x_j) = exp(x_i - logsumexp_j(x_j))",
    "max_shift": "logsumexp_j(x_j - m) = logsumexp_j(x_j) - m, for a maximum m",
    "mask": "log(where(c, exp(x), 0)) = where(c, x, -inf)",
    "softplus": "log(1 + exp(x)) = log1p(exp(x)) = softplus(x)",
    "sigmoid": "1 / (1 + exp(-x)) = sigmoid(x), 1 - sigmoid(x) = sigmoid(-x)",
    "logsigmoid": "log(sigmoid(x)) = logsigmoid(x)",
    "logaddexp": "log(exp(x) + exp(y)) = logaddexp(x, y)",
    "cancel": "x - logaddexp(x, y) = -softplus(y - x); so for softplus, logsigmoid, and a logsumexp less its terms",
}


def rules_to_skip(skip: Any) -> frozenset[str]:
    """The rules that a user wants left out: a name, or several.

    Raises:
        OptionError: no rule has that name.
    """
    several = [skip] if isinstance(skip, str) or not isinstance(skip, Iterable) else list(skip)
    for rule in sorted(several, key=str):
        if not isinstance(rule, str) or rule not in RULES:
            raise OptionError(f"{here()}skip={rule!r} is no rewrite: those are {', '.join(RULES)}.")
    return frozenset(several)


def stabilize(
    roots: Sequence[Node], skip: frozenset[str] = frozenset(), keep: frozenset[Node] = frozenset()
) -> tuple[list[Node], list[Rewrite]]:
    """Apply every rule but those in `skip`; nothing fires unless an exp or a shift really disappears.

    Nodes in `keep` stay as they are, with everything below them, and are not looked through: they are what a gradient
    is taken by.
    """
    domain = LogDomain(skip, keep)
    records: list[Rewrite] = []

    def change(node: Node) -> Node | None:
        if not isinstance(node, Compute) or node in keep or node.dtype not in FLOATS:
            return None
        fired: dict[str, None] = {}
        body = rewrite(node.body, lambda x: _rewritten(x, domain, fired), lambda atom: None)
        if body is node.body:
            return None
        new = compute(node.shape, node.extents, node.target, node.reducer, body)
        records.extend(Rewrite(rule, node, new, RULES[rule]) for rule in fired)
        return new

    return map_nodes(roots, change, lambda n: () if n in keep else all_inputs(n)), records


def _rewritten(x: Scalar, domain: LogDomain, fired: dict[str, None]) -> Scalar | None:
    """What one call becomes, in its own dtype, or None."""
    if not isinstance(x, Call) or x.dtype not in FLOATS:
        return None
    match x.function.name, x.arguments:
        case "log", (a,):
            found = _log(a, domain)
        case "log1p", (a,):
            found = _log1p(a, domain)
        case (("div" | "mul" | "reciprocal"), _):
            found = _sigmoid(x, domain)
            found = _softmax(x, domain) if found is None else found
        case (("add" | "sub"), _):
            found = _without_shift(x, domain)
            found = _cancelled(x, domain) if found is None else found
            found = _one_less(x, domain) if found is None else found
        case _:
            return None
    if found is None or domain.skip.intersection(found[1]):
        return None
    new, rules = found
    smaller = None if "cancel" in domain.skip else without_large_terms(new, domain)
    if smaller is not None:
        new, rules = smaller, tuple(dict.fromkeys((*rules, "cancel")))
    fired.update(dict.fromkeys(rules))
    return new if new.dtype == x.dtype else call(x.dtype, new)


Found = tuple[Scalar, tuple[str, ...]]


def _log(a: Scalar, domain: LogDomain) -> Found | None:
    """log(a), taken apart where that removes an exp."""
    form = domain.form(a)
    if not form.gains:
        return None
    rules = tuple(r for r in form.rules if r != "log_exp" or len(form.rules) == 1)
    return form.total(), rules


def _log1p(a: Scalar, domain: LogDomain) -> Found | None:
    """log1p(exp(x)) = softplus(x), log1p(-sigmoid(x)) = logsigmoid(-x)."""
    power = domain.as_call(a, "exp")
    if power is not None:
        return call("softplus", power.arguments[0]), ("softplus",)
    negative = domain.as_call(a, "neg")
    inner = None if negative is None else domain.as_call(negative.arguments[0], "sigmoid")
    if inner is not None:
        return call("logsigmoid", call("neg", inner.arguments[0])), ("logsigmoid",)
    return None


def _sigmoid(x: Call, domain: LogDomain) -> Found | None:
    """1 / (1 + exp(a)) = sigmoid(-a), exp(a) / (1 + exp(a)) = sigmoid(a)."""
    match x.function.name, x.arguments:
        case "reciprocal", (below,):
            above: Scalar | None = None
        case "div", (numerator, below):
            above = numerator
        case _:
            return None
    exponent = domain.one_plus_exp(below)
    if exponent is None:
        return None
    if above is None or is_one(above):
        return call("sigmoid", call("neg", exponent)), ("sigmoid",)
    power = domain.as_call(above, "exp")
    if power is not None and power.arguments[0] is exponent:
        return call("sigmoid", exponent), ("sigmoid",)
    return None


def _softmax(x: Call, domain: LogDomain) -> Found | None:
    """exp(x) * y / (sum_j exp(x_j)) = exp(x - logsumexp_j(x_j)) * y."""
    form = domain.form(x)
    if not form.exps or not form.over:
        return None
    form = form.unmasked()
    exponent = combined((*form.terms, *cancelled(form.shifts)))
    assert exponent is not None
    smaller = None if "cancel" in domain.skip else without_large_terms(exponent, domain)
    value = quotient((_exp(exponent if smaller is None else smaller), *form.above), form.below)
    extra = [r for r in ("max_shift", "mask") if r in form.rules]
    return value, ("softmax", *extra)


def _exp(x: Scalar) -> Scalar:
    """exp(x), where exp(-softplus(y)) = sigmoid(-y)."""
    power = x.arguments[0] if isinstance(x, Call) and x.function.name == "neg" else None
    if isinstance(power, Call) and power.function.name == "softplus":
        return call("sigmoid", opposite(power.arguments[0]))
    return call("exp", x)


def _cancelled(x: Call, domain: LogDomain) -> Found | None:
    """x - logaddexp(x, y) = -softplus(y - x)"""
    new = without_large_terms(x, domain)
    return None if new is None else (new, ("cancel",))


def _one_less(x: Call, domain: LogDomain) -> Found | None:
    """1 - sigmoid(x) = sigmoid(-x)"""
    if x.function.name != "sub" or not is_one(x.arguments[0]):
        return None
    inner = domain.as_call(x.arguments[1], "sigmoid")
    return None if inner is None else (call("sigmoid", opposite(inner.arguments[0])), ("sigmoid",))


def _without_shift(x: Call, domain: LogDomain) -> Found | None:
    """m + (logsumexp(x) - m) = logsumexp(x)."""
    if "max_shift" in domain.skip:
        return None
    rest, shifts = domain.without_shifts(x)
    kept = cancelled(shifts)
    if rest is None or len(kept) == len(shifts) or not _reads_logsumexp(rest):
        return None
    total = combined(((1, rest), *kept))
    return None if total is None else (total, ("max_shift",))


def _reads_logsumexp(x: Scalar) -> bool:
    return any(
        isinstance(part, Load) and isinstance(part.tensor, Compute) and part.tensor.reducer == "logsumexp"
        for part in walk(x)
    )
