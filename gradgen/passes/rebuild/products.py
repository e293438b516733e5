"""A product as its factors, and the conditions of `where(condition, product, 0)` around them.

In: the body of a sum. Out: what `contract` groups into two operands, and `outer_products` recognises. A condition hides
what it masks, nan included; where one operand is 0 as soon as it fails, the product is right without it unless it is
nan: `repairs` computes such elements again.
"""

from collections.abc import Iterable, Mapping, Sequence

from gradgen.graph.nodes import Compute, Project
from gradgen.graph.scalar import (
    Call,
    Const,
    Load,
    Poly,
    Scalar,
    call,
    conjuncts,
    is_zero,
    load,
    number,
    step_atom,
    substitute,
    walk,
)
from gradgen.graph.scalar import position as position_of
from gradgen.graph.sizes import is_index_only
from gradgen.passes.rebuild.look_through import at, pointwise_body

__all__ = ["is_inside_test", "is_zero_outside", "quotient", "split_factors", "without_hiding"]

_LINEAR = ("where", "add", "sub", "mul", "div", "neg", "float32", "float64", "materialize")
_DEEPEST = 12  # formulas that are looked through for a mask


def split_factors(body: Scalar) -> tuple[list[Scalar], list[Scalar]] | None:
    """The factors of a product, and the conditions of `where(condition, product, 0)` around them."""
    factors: list[Scalar] = []
    conditions: list[Scalar] = []
    pending = [body]
    while pending:
        x = pending.pop()
        match x:
            case Call(function=f, arguments=(a, b)) if f.name == "mul":
                pending += [b, a]
            case Call(function=f, arguments=(c, y, Const() as zero)) if f.name == "where" and zero.value == 0:
                conditions += conjuncts(c)
                pending.append(y)
            case _:
                factors.append(x)
    return (factors, conditions) if len(factors) >= 2 else None


def quotient(above: Iterable[Scalar], below: Iterable[Scalar]) -> Scalar:
    """The product of some factors over each of others."""
    result: Scalar | None = None
    for factor in above:
        result = factor if result is None else call("mul", result, factor)
    result = number(1) if result is None else result
    for factor in below:
        result = call("div", result, factor)
    return result


def is_inside_test(condition: Scalar, accesses: Sequence[Load]) -> bool:
    """Whether a condition says no more than 0 <= subscript or subscript < extent of one of the accesses."""
    match condition:
        case Call(function=f, arguments=(Poly() as p, Poly() as zero)) if f.name == "ge" and zero.constant == 0:
            pairs = [pair for a in accesses for pair in zip(a.subscripts, a.tensor.shape, strict=True)]
            return any(p is s or p is extent - 1 - s for s, extent in pairs)
    return False


def without_hiding(body: Scalar) -> tuple[Load, Load, list[Scalar], list[Scalar]] | None:
    """The two accesses of a product, its conditions on indices, and those on data, which hide values.

    None where the body is something else, or where one of the accesses is not seen to be 0 outside of a hiding one.
    """
    split = split_factors(body)
    match split:
        case ([Load() as left, Load() as right], conditions):
            hidden = [c for c in conditions if not is_index_only(c)]
            if all(is_zero_outside(left, c) or is_zero_outside(right, c) for c in hidden):
                return left, right, [c for c in conditions if is_index_only(c)], hidden
    return None


def is_zero_outside(x: Scalar, condition: Scalar, depth: int = _DEEPEST) -> bool:
    """Whether an expression is seen to be 0 wherever a condition fails, through the formulas that it reads."""
    zero: dict[Scalar, bool] = {}
    needed = _summands(x)
    for part in walk(x):
        if part in needed:
            zero[part] = _is_zero_outside(part, condition, depth, zero)
    return zero[x]


def _summands(x: Scalar) -> set[Scalar]:
    """The parts of an expression that have to be 0 for it to be."""
    found: set[Scalar] = set()
    stack = [x]
    while stack:
        part = stack.pop()
        if part not in found:
            found.add(part)
            if isinstance(part, Call) and part.function.name in _LINEAR:
                stack += part.arguments[part.function.name == "where" :]
    return found


def _is_zero_outside(x: Scalar, condition: Scalar, depth: int, zero: Mapping[Scalar, bool]) -> bool:
    """The same, where it is known of the parts of the expression."""
    match x:
        case Const():
            return is_zero(x)
        case Call(function=f, arguments=(c, yes, no)) if f.name == "where":
            return zero[no] and (zero[yes] or any(part is condition for part in conjuncts(c)))
        case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
            return zero[a] and zero[b]
        case Call(function=f, arguments=(a, b)) if f.name in ("mul", "div"):
            return (isinstance(b, Const) and zero[a]) or (f.name == "mul" and isinstance(a, Const) and zero[b])
        case Call(function=f, arguments=(a,)) if f.name in _LINEAR:
            return zero[a]
        case Load(tensor=Compute() as node) if depth and node.gathers and node.reducer in ("none", "sum"):
            away = [position_of(1000 + k) for k in range(len(node.reduced))]  # no positions of the reader
            return is_zero_outside(at(node.body, [*x.subscripts, *away]), condition, depth - 1)
        case Load(tensor=Project(kind="stack") as stack, subscripts=(now, *rest)) if depth:
            body = pointwise_body(load(stack.scan.outputs[stack.number], rest))
            if body is not None:  # conditions on what a step computes are not those of a reader behind the loop
                at_step = substitute(body, {step_atom(stack.scan.depth): now})
                return is_zero_outside(at_step, condition, depth - 1)
    return False
