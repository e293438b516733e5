"""The logarithm of an expression without computing the expression, looking through nodes and gathers.

In: an expression. Out: its logarithm as a sum of terms, with what is left of the product; `stabilize` decides where it
is used. Signs are respected: log(exp(u) * r) = u + log(r) for every r, but log(r * s) is never taken apart.
"""

import math
from dataclasses import dataclass, field, replace

from gradgen.graph.canonical import bare_position
from gradgen.graph.nodes import Compute, Node, Reshape, compute
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Const,
    Load,
    Poly,
    Scalar,
    call,
    is_one,
    is_zero,
    load,
    number,
    position,
    position_atom,
    positions_of,
    substitute,
    walk,
)
from gradgen.passes.prepare.log_forms import MINUS_INFINITY, LogForm, Terms, combined, negated
from gradgen.passes.rebuild.look_through import pointwise_body, reshaped_access

__all__ = ["LogDomain"]

_RESULT = 1 << 20  # positions from here on stand for the axes of a result
_DEPTH = 32  # producers further away than this are not looked through


@dataclass(slots=True)
class LogDomain:
    """What has been found out about expressions; `skip` are rules not to use, `keep` nodes not to look through."""

    skip: frozenset[str] = frozenset()
    keep: frozenset[Node] = frozenset()
    forms: dict[Scalar, LogForm] = field(default_factory=dict)
    parts: dict[Scalar, tuple[Scalar | None, Terms]] = field(default_factory=dict)
    shift_nodes: dict[Node, bool] = field(default_factory=dict)

    # ------------------------------------------------------------ looking through nodes

    def through(self, x: Scalar) -> Scalar | None:
        """What an access of a pointwise node or of a reshape reads; None for anything else."""
        if not isinstance(x, Load) or x.tensor in self.keep:
            return None
        body = reshaped_access(x) if isinstance(x.tensor, Reshape) else pointwise_body(x)
        if isinstance(body, Call) and body.function.name == "materialize":
            return body.arguments[0]  # where a value lies changes nothing about what is stable
        return body

    def as_call(self, x: Scalar, *names: str) -> Call | None:
        """The call of one of these functions that an expression is, seen through nodes."""
        for _ in range(_DEPTH):
            if isinstance(x, Call) and x.function.name in names:
                return x
            inner = self.through(x)
            if inner is None:
                return None
            x = inner
        return None

    def one_plus_exp(self, x: Scalar) -> Scalar | None:
        """a of 1 + exp(a)."""
        total = self.as_call(x, "add")
        if total is None:
            return None
        first, second = total.arguments
        other = second if is_one(first) else first if is_one(second) else None
        power = None if other is None else self.as_call(other, "exp")
        return None if power is None else power.arguments[0]

    # ------------------------------------------------------------ logarithms

    def form(self, x: Scalar, depth: int = 0) -> LogForm:
        """log x, or just log(x) where nothing is gained."""
        if x not in self.forms:
            found = self._form(x, depth) if depth < _DEPTH else None
            self.forms[x] = LogForm(above=(x,)) if found is None else found
        return self.forms[x]

    def _form(self, x: Scalar, depth: int) -> LogForm | None:
        match x:
            case Load():
                inner = self.through(x)
                found = self._sum_form(x, depth) if inner is None else self.form(inner, depth + 1)
                return found if found is not None and (found.gains or found.terms) else None
            case Call(function=f, arguments=arguments):
                return self._call_form(f.name, x, arguments, depth)
        return None

    def _call_form(self, name: str, x: Call, arguments: tuple[Scalar, ...], depth: int) -> LogForm | None:
        match name, arguments:
            case "exp", (a,):
                return self._exp_form(a)
            case "sigmoid", (a,) if "logsigmoid" not in self.skip:
                return LogForm(((1, call("logsigmoid", a)),), gains=True, rules=("logsigmoid",))
            case (("mul" | "div"), (a, b)):
                left, right = self.form(a, depth + 1), self.form(b, depth + 1)
                found = left.times(right) if name == "mul" else left.unmasked().times(right.inverse())
                return found if found.gains or found.terms else None
            case "neg", (a,):
                found = self.form(a, depth + 1)
                return found.times(LogForm(above=(number(-1),))) if found.gains else None
            case "reciprocal", (a,):
                found = self.form(a, depth + 1)
                return found.inverse() if found.gains else None
            case "square", (a,):
                found = self.form(a, depth + 1)
                return found.times(found) if found.gains else None
            case "sqrt", (a,):
                return self._power(a, number(0.5), depth)
            case "add", _ if (power := self.one_plus_exp(x)) is not None and "softplus" not in self.skip:
                return LogForm(((1, call("softplus", power)),), gains=True, rules=("softplus",))
            case "add", (a, b) if "logaddexp" not in self.skip:
                return self._two_exps(a, b, depth)
            case "sub", (one, b) if is_one(one) and (p := self.as_call(b, "sigmoid")) is not None:
                return self._call_form("sigmoid", x, (call("neg", p.arguments[0]),), depth)
            case "where", (condition, yes, no) if "mask" not in self.skip and (is_zero(yes) or is_zero(no)):
                mask = condition if is_zero(no) else call("not", condition)
                found = self.form(yes if is_zero(no) else no, depth + 1)
                if found.gains and not found.above and not found.below:
                    return replace(found, masks=(mask, *found.masks), rules=(*found.rules, "mask"))
            case (("float32" | "float64"), (a,)) if a.dtype == "bool" and "mask" not in self.skip:
                chosen = call("where", a, number(0.0), MINUS_INFINITY)
                return LogForm(((1, chosen),), rules=("mask",))
            case (("float32" | "float64" | "stop_gradient"), (a,)):
                found = self.form(a, depth + 1)
                if found.gains and not found.above and not found.below:
                    return replace(found, terms=((1, call(name, found.total())),), shifts=(), masks=())
        return None

    def _two_exps(self, a: Scalar, b: Scalar, depth: int) -> LogForm | None:
        """log(exp(x) + exp(y)), or with a positive number for one of them."""
        forms = [self.form(x, depth + 1) for x in (a, b)]
        if not any(form.exps for form in forms):
            return None
        logs: list[Scalar] = []
        for x, form in zip((a, b), forms, strict=True):
            if form.gains and all(isinstance(r, Const) and r.value > 0 for r in (*form.above, *form.below)):
                logs.append(form.total())
            elif isinstance(x, Const) and x.dtype != "bool" and x.value > 0:
                logs.append(number(math.log(x.value)))
            else:
                return None
        rules = dict.fromkeys((*forms[0].rules, *forms[1].rules, "logaddexp"))
        if is_zero(logs[0]) or is_zero(logs[1]):
            total = call("softplus", logs[1] if is_zero(logs[0]) else logs[0])
        else:
            total = call("logaddexp", *logs)
        return LogForm(((1, total),), gains=True, exps=True, sums=True, rules=tuple(rules))

    def _exp_form(self, a: Scalar) -> LogForm:
        if "max_shift" not in self.skip:
            rest, shifts = self.without_shifts(a)
            if rest is not None:
                return LogForm(((1, rest),), shifts, gains=True, exps=True, rules=("log_exp",))
        return LogForm(((1, a),), gains=True, exps=True, rules=("log_exp",))

    def _power(self, a: Scalar, exponent: Scalar, depth: int) -> LogForm | None:
        found = self.form(a, depth + 1)
        if not found.gains or found.above or found.below:
            return None
        total = call("mul", exponent, found.total())
        return replace(found, terms=((1, total),), shifts=(), masks=(), gains=True, exps=False)

    def _sum_form(self, access: Load, depth: int) -> LogForm | None:
        """log sum_j exp(u_j) r_j = logsumexp_j(u_j + log r_j), for r >= 0; what is one for all of a sum comes out.

        The terms of a sum are an axis, or those that data choose.
        """
        node = access.tensor
        if not isinstance(node, Compute) or node.reducer != "sum" or node in self.keep:
            return None
        body = self.form(node.body, depth + 1)
        if not body.exps or "logsumexp" in self.skip or node.dtype not in FLOATS:
            return None
        outside = [(sign, found) for sign, s in body.shifts if (found := _at_result(s, access)) is not None]
        inside = [s for s in body.shifts if _at_result(s[1], access) is None]
        above = [a for a in body.above if _at_result(a, access) is None]
        below = [b for b in body.below if _at_result(b, access) is None]
        if not all(self.is_nonnegative(r) for r in (*above, *below)):
            return None
        varying = replace(body, shifts=tuple(inside), above=tuple(above), below=tuple(below))
        inner = varying.total()
        if inner.dtype != node.dtype:
            inner = call(node.dtype, inner)
        result = load(compute(node.shape, node.extents, node.target, "logsumexp", inner), access.subscripts)
        rules = dict.fromkeys((*body.rules, "logsumexp", *(["max_shift"] if outside else [])))
        return LogForm(
            ((1, result),),
            tuple(outside),
            (),
            tuple(found for a in body.above if (found := _at_result(a, access)) is not None),
            tuple(found for b in body.below if (found := _at_result(b, access)) is not None),
            gains=True,
            exps=True,
            sums=True,
            rules=tuple(rules),
        )

    # ------------------------------------------------------------ shifts

    def without_shifts(self, x: Scalar, depth: int = 0) -> tuple[Scalar | None, Terms]:
        """An expression as rest + shifts: x itself where there is no shift, None where there is nothing else."""
        if x not in self.parts:
            self.parts[x] = self._without_shifts(x, depth)
        return self.parts[x]

    def _without_shifts(self, x: Scalar, depth: int) -> tuple[Scalar | None, Terms]:
        if self.is_shift(x):
            return None, ((1, x),)
        if depth >= _DEPTH:
            return x, ()
        inner = self.through(x)
        if inner is not None:
            rest, shifts = self.without_shifts(inner, depth + 1)
            return (rest, shifts) if shifts else (x, ())
        match x:
            case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
                (rest_a, shifts_a), (rest_b, shifts_b) = (self.without_shifts(y, depth + 1) for y in (a, b))
                if not shifts_a and not shifts_b:
                    return x, ()
                sign = 1 if f.name == "add" else -1
                parts: list[tuple[int, Scalar]] = [] if rest_a is None else [(1, rest_a)]
                parts += [] if rest_b is None else [(sign, rest_b)]
                return combined(tuple(parts)), (*shifts_a, *(shifts_b if sign > 0 else negated(shifts_b)))
            case Call(function=f, arguments=(a,)) if f.name == "neg":
                rest, shifts = self.without_shifts(a, depth + 1)
                return (None if rest is None else call("neg", rest), negated(shifts)) if shifts else (x, ())
            case Call(function=f, arguments=(a, b)) if f.name in ("mul", "div") and _is_number(b):
                rest, shifts = self.without_shifts(a, depth + 1)
                if shifts:
                    scaled = tuple((sign, call(f.name, s, b)) for sign, s in shifts)
                    return None if rest is None else call(f.name, rest, b), scaled
            case Call(function=f, arguments=(a, b)) if f.name == "mul" and _is_number(a):
                rest, shifts = self.without_shifts(b, depth + 1)
                if shifts:
                    scaled = tuple((sign, call("mul", a, s)) for sign, s in shifts)
                    return None if rest is None else call("mul", a, rest), scaled
        return x, ()

    def is_shift(self, x: Scalar) -> bool:
        """Whether an expression is made of maxima and minima of tensors, or stands under stop_gradient."""
        found = False
        stack = [x]
        while stack:
            match stack.pop():
                case Call(function=f) if f.name == "stop_gradient":
                    found = True
                case Call(arguments=arguments):
                    stack.extend(arguments)
                case Load(tensor=node):
                    if not self._is_shift_node(node):
                        return False
                    found = True
        return found

    def _is_shift_node(self, node: Node) -> bool:
        if node not in self.shift_nodes:
            self.shift_nodes[node] = False
            match node:
                case Compute(reducer="max" | "min"):
                    self.shift_nodes[node] = True
                case Compute(reducer="none"):
                    self.shift_nodes[node] = node not in self.keep and self.is_shift(node.body)
                case Reshape(source=source):
                    self.shift_nodes[node] = self._is_shift_node(source)
        return self.shift_nodes[node]

    # ------------------------------------------------------------ signs

    def is_nonnegative(self, x: Scalar, depth: int = 0) -> bool:
        """Whether an expression is never below zero (it may be nan)."""
        if depth > _DEPTH:
            return False
        inner = self.through(x)
        if inner is not None:
            return self.is_nonnegative(inner, depth + 1)
        match x:
            case Const():
                return x.dtype == "bool" or x.value >= 0
            case Call(function=f) if f.name in ("exp", "sigmoid", "square", "abs", "relu", "softplus", "sqrt"):
                return True
            case Call(function=f, arguments=(a, b)) if f.name in ("mul", "div", "add", "maximum"):
                both = self.is_nonnegative(a, depth + 1) and self.is_nonnegative(b, depth + 1)
                return both or (f.name == "mul" and a is b)
            case Call(function=f, arguments=(a,)) if f.name in ("float32", "float64"):
                return a.dtype == "bool" or self.is_nonnegative(a, depth + 1)
            case Call(function=f, arguments=(_, a, b)) if f.name == "where":
                return self.is_nonnegative(a, depth + 1) and self.is_nonnegative(b, depth + 1)
        return False


def _at_result(x: Scalar, access: Load) -> Scalar | None:
    """What is the same for all terms of a sum, where its result is read; None where it depends on the term.

    It reads the target's own subscripts and no other index: m[dst[e]] of a sum into [dst[e]] is m where that is read.
    """
    node = access.tensor
    assert isinstance(node, Compute)
    kept: dict[Scalar, Scalar] = {t: position(_RESULT + k) for k, t in enumerate(node.target)}
    atoms = {t.atoms[0]: position(_RESULT + k) for k, t in enumerate(node.target) if bare_position(t) is not None}
    found = substitute(x, atoms, kept)
    if any(k < _RESULT for k in positions_of(found)):
        return None
    return substitute(found, {position_atom(_RESULT + k): s for k, s in enumerate(access.subscripts)})


def _is_number(x: Scalar) -> bool:
    return all(isinstance(p, (Call, Const)) or (isinstance(p, Poly) and p.constant is not None) for p in walk(x))
