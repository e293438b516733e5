"""Conditions on indices, decided where the ranges of the indices decide them, and the normal form of `where`.

In: a body and the extents of its indices. Out: the same body with fewer conditions, its masks outermost; `simplify`
calls this for every formula, and `gather` for the conditions it makes.
"""

from collections.abc import Sequence

from gradgen.graph.scalar import (
    Call,
    Const,
    Poly,
    Scalar,
    at_least_zero,
    call,
    conjuncts,
    is_zero,
    number,
    rewrite,
    typed,
    walk,
)
from gradgen.graph.sizes import Ranges, is_index_only, nonnegative

__all__ = [
    "conjunction",
    "decide",
    "fold_conditions",
    "is_zero",
    "mask_of",
    "normal_where",
]

Facts = tuple[Poly, ...]


def fold_conditions(root: Scalar, ranges: Ranges) -> Scalar:
    """Decide every comparison between integers that the ranges, and the branches it stands in, decide."""
    if not any(isinstance(x, Call) and x.dtype == "bool" for x in walk(root)):
        return root
    done: dict[tuple[Scalar, Facts], Scalar] = {}
    stack: list[tuple[Scalar, Facts]] = [(root, ())]
    while stack:
        x, facts = key = stack[-1]
        if key in done or not isinstance(x, Call):
            done.setdefault(key, x)
            stack.pop()
            continue
        parts = _parts(x, facts)
        missing = [part for part in parts if part not in done]
        if missing:
            stack.extend(reversed(missing))
            continue
        done[key] = decide(call(x.function.name, *[done[part] for part in parts]), ranges, facts)
        stack.pop()
    return done[root, ()]


def _parts(x: Call, facts: Facts) -> list[tuple[Scalar, Facts]]:
    """The arguments of a call, each with what is known to hold where it is evaluated."""
    match x.function.name, x.arguments:
        case "where", (condition, yes, no):
            return [
                (condition, facts),
                (yes, _extended(facts, condition)),
                (no, _extended(facts, call("not", condition))),
            ]
        case "and", (a, b):
            return [(a, facts), (b, _extended(facts, a))]
        case "or", (a, b):
            return [(a, facts), (b, _extended(facts, call("not", a)))]
    return [(a, facts) for a in x.arguments]


def _extended(facts: Facts, condition: Scalar) -> Facts:
    """The facts together with p >= 0 for every order, and p >= 0 and -p >= 0 for every equality, that holds."""
    new = list(facts)
    for part in conjuncts(condition):
        match part:
            case Call(function=f, arguments=(Poly() as p, Poly())) if f.name == "ge":
                new.append(p)
            case Call(function=f, arguments=(Poly() as p, Poly())) if f.name == "eq":
                new += [p, _negated(p)]
    return tuple(dict.fromkeys(new))


def decide(x: Scalar, ranges: Ranges, facts: Facts = ()) -> Scalar:
    """True or False for a comparison between integers that is proved, else the expression itself."""
    match x:
        case Call(function=f, arguments=(Poly() as p, Poly())) if f.name == "ge":
            if nonnegative(p, ranges, facts):
                return number(True)
            if nonnegative(_negated(p, 1), ranges, facts):
                return number(False)
        case Call(function=f, arguments=(Poly() as p, Poly())) if f.name == "eq":
            below, above = nonnegative(p, ranges, facts), nonnegative(_negated(p), ranges, facts)
            if below and above:
                return number(True)
            if below and nonnegative(_negated(_negated(p), 1), ranges, facts):
                return number(False)
            if above and nonnegative(_negated(p, 1), ranges, facts):
                return number(False)
        case Call(function=f, arguments=(Call(function=g, arguments=(Poly() as p, Poly())),)) if (
            f.name == "not" and g.name == "ge"
        ):
            return decide(at_least_zero(_negated(p, 1)), ranges, facts)
        case Call(function=f, arguments=(a, b)) if f.name in ("and", "or") and a is b:
            return a
        case Call(function=f) if f.name == "and":
            return _without_implied(x, ranges, facts)
    return x


def _without_implied(x: Scalar, ranges: Ranges, facts: Facts) -> Scalar:
    """A conjunction without the tests of indices that follow from the other ones."""
    kept = conjuncts(x)
    for condition in kept[::-1]:
        others = [c for c in kept if c is not condition]
        known = facts
        for other in others:
            known = _extended(known, other) if is_index_only(other) else known
        if is_index_only(condition) and _is_true(decide(condition, ranges, known)):
            kept = others
    return conjunction(kept) if len(kept) < len(conjuncts(x)) else x


def _is_true(x: Scalar) -> bool:
    return isinstance(x, Const) and x.text == "True"


def _negated(p: Poly, less: int = 0) -> Poly:
    """-p - less."""
    new = -p - less
    assert isinstance(new, Poly)
    return new


def conjunction(conditions: Sequence[Scalar]) -> Scalar:
    """All of them, tests of indices first and each once; an earlier one that fails shields the later ones."""
    distinct = list(dict.fromkeys(conditions))
    whole: Scalar = number(True)
    for condition in sorted(distinct, key=lambda c: not is_index_only(c)):
        whole = call("and", whole, condition)
    return whole


# ---------------------------------------------------------------- where


def normal_where(root: Scalar) -> Scalar:
    """Masks outermost, one for each value: `where(c, x, 0)`."""
    if not any(isinstance(x, Call) and x.function.name == "where" for x in walk(root)):
        return root
    return rewrite(root, _where_rule, lambda atom: None)


def _where_rule(x: Scalar) -> Scalar | None:
    match x:
        case Call(function=f, arguments=(condition, yes, no)) if f.name == "where":
            return _nested_where(condition, yes, no, x.dtype)
        case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
            return _masked_together(f.name, a, b)
        case Call(function=f, arguments=(a, b)) if f.name == "mul":
            new = _product(a, b, x.dtype)
            return _product(b, a, x.dtype, swapped=True) if new is None else new
        case Call(function=f, arguments=(a, b)) if f.name == "div" and (mask := mask_of(a)) and is_index_only(mask[0]):
            return _masked(mask[0], call("div", mask[1], b), x.dtype)
        case Call(function=f, arguments=(a,)) if f.name in ("float32", "float64") and (mask := mask_of(a)):
            return _masked(mask[0], call(f.name, mask[1]), x.dtype)
        case Call(function=f, arguments=(a,)) if f.name == "neg" and (mask := mask_of(a)) and is_index_only(mask[0]):
            return _masked(mask[0], call("neg", mask[1]), x.dtype)
    return None


def _nested_where(condition: Scalar, yes: Scalar, no: Scalar, dtype: str) -> Scalar | None:
    """where(not c, x, y) = where(c, y, x); where(c, where(d, x, y), y) = where(c and d, x, y); 0 last."""
    match condition:
        case Call(function=f, arguments=(opposite,)) if f.name == "not":
            return _normal(opposite, no, yes, dtype)
        case Call(function=f, arguments=(Poly() as p, Poly())) if f.name == "ge" and is_zero(yes) and not is_zero(no):
            return _normal(at_least_zero(_negated(p, 1)), no, yes, dtype)
    match yes:
        case Call(function=f, arguments=(inner, x, y)) if f.name == "where" and (
            y is no or (is_zero(y) and is_zero(no))
        ):
            both = conjunction([*conjuncts(condition), *conjuncts(inner)])
            return _normal(both, x, no, dtype)
    if is_zero(no) and not (isinstance(no, Const) and no.text == "0"):
        return _masked(condition, yes, dtype)
    return None


def _normal(condition: Scalar, yes: Scalar, no: Scalar, dtype: str) -> Scalar:
    new = call("where", condition, yes, no)
    further = _where_rule(new)
    return typed(new if further is None else further, dtype)


def mask_of(x: Scalar) -> tuple[Scalar, Scalar] | None:
    """c and x of where(c, x, 0)."""
    match x:
        case Call(function=f, arguments=(condition, yes, no)) if f.name == "where" and is_zero(no):
            return condition, yes
    return None


def _masked(condition: Scalar, x: Scalar, dtype: str) -> Scalar | None:
    """where(c, x, 0) with a weak 0, if that keeps the dtype."""
    match x:
        case Call(function=f, arguments=(inner, y, zero)) if f.name == "where" and is_zero(zero):
            condition, x = conjunction([*conjuncts(condition), *conjuncts(inner)]), y
    new = call("where", condition, x, number(0))
    return new if new.dtype == dtype else None


def _product(a: Scalar, b: Scalar, dtype: str, swapped: bool = False) -> Scalar | None:
    """where(c, x, 0) * y = where(c, x * y, 0), where the condition is one on indices: a value outside is no value."""
    mask = mask_of(a)
    if mask is None or not is_index_only(mask[0]):
        return None
    condition, x = mask
    return _masked(condition, call("mul", b, x) if swapped else call("mul", x, b), dtype)


def _masked_together(function: str, a: Scalar, b: Scalar) -> Scalar | None:
    """where(c, x, 0) + where(c, y, 0) = where(c, x + y, 0)."""
    left, right = mask_of(a), mask_of(b)
    if left is None or right is None or left[0] is not right[0]:
        return None
    new = call("where", left[0], call(function, left[1], right[1]), number(0))
    return new if new.dtype == call(function, a, b).dtype else None
