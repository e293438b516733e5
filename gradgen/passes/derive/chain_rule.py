"""The chain rule inside one formula: from the adjoint of its result to those of what it reads.

In: a formula and the adjoint of its result at one point of its loop nest. Out: accesses with their derivatives, from
which `derive` makes nodes. The partial derivatives of scalar functions are those of `graph.partials`.
"""

from collections.abc import Iterable, Sequence, Set

from gradgen.errors import GraphError
from gradgen.graph.accesses import guarded, remembered
from gradgen.graph.neutral import neutral
from gradgen.graph.nodes import Compute, Node, compute, identity, pointwise
from gradgen.graph.partials import partials
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Const,
    Load,
    Scalar,
    call,
    integer,
    is_zero,
    load,
    number,
    position,
    substitute,
    walk,
)
from gradgen.passes.rebuild.conditions import conjunction

ZERO = number(0)


def reducer_weight(node: Compute, d: Scalar) -> Scalar:
    """The adjoint of the body at one point of the loop nest, given the adjoint of the result there."""
    match node.reducer:
        case "none" | "sum":
            return d
        case "logsumexp":
            conditions, x = _guarded(node)
            weight = call("exp", call("sub", x, load(node, node.target)))
            share = pointwise(node.extents, _where(conditions, weight))
            return _where(conditions, call("mul", d, identity(share)))
        case "max" | "min":
            return call("where", is_chosen(node), d, ZERO)
    raise GraphError(f"the reducer {node.reducer} has no gradient")


def is_chosen(node: Compute) -> Scalar:
    """Whether this point of the loop nest is the first one that attains the maximum (or minimum)."""
    if node.gathers:
        winner = compute(node.shape, node.extents, node.target, f"arg{node.reducer}", node.body)
        return call("eq", _numbered(node, node.reduced), load(winner, node.target))
    node = remembered(node)
    conditions, x = _guarded(node)
    here, last = _numbered(node, range(len(node.extents))), neutral("min", "int64")
    attained = call("eq", x, load(node, node.target))
    if x.dtype in FLOATS:
        attained = call("or", attained, call("isnan", x))  # where one is nan, so is the maximum
    attained = conjunction([*conditions, attained])
    first = compute(node.shape, node.extents, node.target, "min", call("where", attained, here, last))
    return conjunction([*conditions, call("eq", here, load(first, node.target))])


def _numbered(node: Compute, axes: Iterable[int]) -> Scalar:
    flat: Scalar = integer(0)
    for k in axes:
        flat = flat * node.extents[k] + position(k)
    return flat


def _guarded(node: Compute) -> tuple[list[Scalar], Scalar]:
    """The conditions without which a formula adds nothing, and its target may lie outside; and its body under them."""
    return ([], node.body) if node.gathers else guarded(node.body, node.reducer)


def _where(conditions: Sequence[Scalar], x: Scalar) -> Scalar:
    return call("where", conjunction(conditions), x, ZERO) if conditions else x


def node_derivatives(node: Compute, seed: Scalar, active: Set[Node]) -> list[tuple[Load, Scalar]]:
    """`derivatives` of the body, which reads the node's own value where a derivative mentions it (`1 - out * out`).

    A choice stays written out: a derivative that equals it would lose its mask.
    """
    found = derivatives(node.body, seed, active)
    if node.reducer != "none" or not isinstance(node.body, Call) or node.body.function.name == "where":
        return found
    own: dict[Scalar, Scalar] = {node.body: load(node, node.target)}
    return [(access, substitute(derivative, {}, own)) for access, derivative in found]


def derivatives(body: Scalar, seed: Scalar, active: Set[Node]) -> list[tuple[Load, Scalar]]:
    """seed * (derivative of the body by each access to an active tensor), by reverse mode over the expression.

    What has the adjoint 0 is left out: its condition is gone with it, so accesses might be read or written outside.
    """
    adjoint: dict[Scalar, Scalar] = {body: seed}
    found: list[tuple[Load, Scalar]] = []
    useful = _useful_parts(body, active)
    for x in reversed(list(walk(body))):
        if x not in adjoint or x not in useful or is_zero(adjoint[x]):
            continue
        if isinstance(x, Load):
            found += [(x, term) for term in _masked_terms(adjoint[x]) if not is_zero(term)]
        elif isinstance(x, Call):
            for argument, partial in zip(x.arguments, partials(x), strict=True):
                if partial is not None and argument in useful:
                    term = times(adjoint[x], partial, argument.dtype)
                    adjoint[argument] = plus(adjoint[argument], term) if argument in adjoint else term
    return found[::-1]


def _useful_parts(body: Scalar, active: Set[Node]) -> set[Scalar]:
    """The parts of an expression that lead to an access of an active tensor, subscripts left out."""
    useful: set[Scalar] = set()
    for x in walk(body):
        if (isinstance(x, Load) and x.tensor in active) or (
            isinstance(x, Call) and any(a in useful for a in x.arguments)
        ):
            useful.add(x)
    return useful


def times(d: Scalar, partial: Scalar, dtype: str) -> Scalar:
    """d * partial, where a branch that is zero contributes nothing, whatever d is there (nan and infinity included).

    A mask on d stays outermost: where(c, d, 0) * p = where(c, d * p, 0), because p may be infinite where c fails.
    """
    match d:
        case Call(function=f, arguments=(condition, x, y)) if f.name == "where" and (is_zero(x) or is_zero(y)):
            return call(
                "where",
                condition,
                times(x, number(0) if is_zero(x) else partial, dtype),
                times(y, number(0) if is_zero(y) else partial, dtype),
            )
        case Call(function=f, arguments=(x, y)) if f.name == "add" and (_is_masked(x) or _is_masked(y)):
            return plus(times(x, partial, dtype), times(y, partial, dtype))
    match partial:
        case Call(function=f, arguments=(condition, x, y)) if f.name == "where":
            return call("where", condition, times(d, x, dtype), times(d, y, dtype))
        case Const() if partial.value == 0:
            return call(dtype, ZERO) if dtype in FLOATS else ZERO
    product = call("mul", d, partial)
    return call(dtype, product) if dtype in FLOATS and product.dtype in FLOATS and product.dtype != dtype else product


def plus(a: Scalar, b: Scalar) -> Scalar:
    """a + b; under one mask where both have the same: where(c, x, 0) + where(c, y, 0) = where(c, x + y, 0)."""
    match a, b:
        case Call(function=f, arguments=(c, x, y)), Call(function=g, arguments=(e, z, w)) if (
            f.name == g.name == "where" and c is e
        ):
            if is_zero(y) and is_zero(w):
                return call("where", c, plus(x, z), y)
            if is_zero(x) and is_zero(z):
                return call("where", c, x, plus(y, w))
    return call("add", a, b)


def _is_masked(x: Scalar) -> bool:
    match x:
        case Call(function=f, arguments=(_, y, z)) if f.name == "where":
            return is_zero(y) or is_zero(z)
        case Call(function=f, arguments=(y, z)) if f.name == "add":
            return _is_masked(y) or _is_masked(z)
    return False


def _masked_terms(x: Scalar) -> list[Scalar]:
    """The terms of a sum under different masks: each stands for itself, as the access is in range under its own."""
    match x:
        case Call(function=f, arguments=(y, z)) if f.name == "add" and _is_masked(x):
            return [*_masked_terms(y), *_masked_terms(z)]
        case Call(function=f, arguments=(c, y, z)) if f.name == "where" and (is_zero(y) or is_zero(z)):
            if is_zero(z):
                return [call("where", c, term, z) for term in _masked_terms(y)]
            return [call("where", c, y, term) for term in _masked_terms(z)]
    return [x]
