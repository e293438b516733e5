"""Producers that are read inside a branch of `where` move into it, if their derivative can be infinite.

In: nodes after `split`. Out: the same values, and adjoints in which the branch not taken contributes nothing:
`where(x > 0, L, 0)` with `L = log(x)` a node of its own would give 0 / 0 at x = 0. `differentiate` comes next.
"""

from collections.abc import Iterator, Sequence

from gradgen.graph.nodes import Compute, Node, Reshape, all_inputs, compute
from gradgen.graph.scalar import (
    Call,
    Load,
    Scalar,
    call,
    children,
    integer,
    load,
    loads,
    number,
    position,
    require_poly,
    substitute,
    walk,
)
from gradgen.passes.conditions import conjunction, conjuncts
from gradgen.passes.inline import at, is_pointwise, pointwise_body, positions_of, reshaped_access
from gradgen.passes.substitute import map_nodes

__all__ = ["inline_branches"]


def inline_branches(roots: Sequence[Node], keep: frozenset[Node] = frozenset()) -> list[Node]:
    """where(c, P[f], y) becomes where(c, body of P at f, y), for P pointwise and singular somewhere below it.

    A sum in a branch takes the condition along: where(c, sum_j b, y) = where(c, sum_j where(c, b, 0), y).
    An access that is in range exactly where its branch is taken (padding) needs nothing: no element is read in vain.
    Nodes in `keep` stay as they are, with everything below them: they are what a gradient is taken by.
    """
    risky: dict[Node, bool] = {}

    def change(node: Node) -> Node | None:
        risky[node] = node not in keep and _is_risky(node, risky)
        if node in keep:
            return None
        if not isinstance(node, Compute) or not any(risky.get(a.tensor, False) for a in loads(node.body)):
            return None
        body = _with_inlined_branches(node, risky)
        if body is node.body:
            return None
        new = compute(node.shape, node.extents, node.target, node.reducer, body)
        risky[new] = _is_risky(new, risky)
        return new

    return map_nodes(roots, change, lambda n: () if n in keep else all_inputs(n))


def _is_risky(node: Node, risky: dict[Node, bool]) -> bool:
    """Whether a pointwise node or a sum uses a singular function, itself or through such nodes below it."""
    if isinstance(node, Reshape):
        return risky.get(node.source, False)
    if not isinstance(node, Compute) or not (is_pointwise(node) or (node.reducer == "sum" and node.gathers)):
        return False
    return any(
        (isinstance(x, Call) and x.function.singular) or (isinstance(x, Load) and risky.get(x.tensor, False))
        for x in walk(node.body)
    )


def _with_inlined_branches(node: Compute, risky: dict[Node, bool]) -> Scalar:
    body = node.body
    while True:
        found = next(_candidates(body, node, risky), None)
        if found is None:
            return body
        choice, replacement = found
        body = substitute(body, {}, {choice: replacement})


def _candidates(body: Scalar, node: Compute, risky: dict[Node, bool]) -> Iterator[tuple[Scalar, Scalar]]:
    """Every `where` of a body with a branch that changes, innermost first, and what becomes of it."""
    for x in walk(body):
        match x:
            case Call(function=f, arguments=(condition, yes, no)) if f.name == "where":
                opposite = call("not", condition)
                new_yes = _inlined(yes, condition, conjuncts(condition), node, risky)
                new_no = _inlined(no, opposite, conjuncts(opposite), node, risky)
                if new_yes is not yes or new_no is not no:
                    yield x, call("where", condition, new_yes, new_no)


def _inlined(
    branch: Scalar, condition: Scalar, holding: Sequence[Scalar], node: Compute, risky: dict[Node, bool]
) -> Scalar:
    replaced: dict[Scalar, Scalar] = {}
    guards = _guards(branch)
    for access in loads(branch):
        reshaped = reshaped_access(access)
        through = access if reshaped is None else reshaped
        if not risky.get(through.tensor, False) or _is_padding(through, holding):
            continue
        body = pointwise_body(through)
        if body is None and len(guards[access]) == 1:
            (guard,) = guards[access]
            body = _masked_sum(through, conjunction([condition, *guard]), node, risky)
        new = body
        if new is not None:
            replaced[access] = new
    return substitute(branch, {}, replaced) if replaced else branch


def _guards(branch: Scalar) -> dict[Load, set[tuple[Scalar, ...]]]:
    """For every access the conditions of the choices inside the branch under which it is read, place by place."""
    found: dict[Load, set[tuple[Scalar, ...]]] = {}
    pending: list[tuple[Scalar, tuple[Scalar, ...]]] = [(branch, ())]
    while pending:
        x, held = pending.pop()
        match x:
            case Call(function=f, arguments=(condition, yes, no)) if f.name == "where":
                pending += [(condition, held), (yes, (*held, condition)), (no, (*held, call("not", condition)))]
                continue
            case Load():
                found.setdefault(x, set()).add(held)
        pending += [(part, held) for part in children(x)]
    return found


def _masked_sum(access: Load, condition: Scalar, node: Compute, risky: dict[Node, bool]) -> Scalar | None:
    """sum_j b at f, under a condition over the same positions, as sum_j where(condition, b, 0)."""
    source = access.tensor
    used = positions_of(condition, access)
    if not isinstance(source, Compute) or used != positions_of(access):
        return None  # the masked sum would be computed more often than the sum
    names = {old: position(new) for new, old in enumerate(used)}
    places = [names.get(k, integer(0)) for k in range(len(node.extents))]
    shape = [node.extents[k] for k in used]
    inner = [require_poly(at(s, places)) for s in access.subscripts]
    rank = len(used)
    reduced = [position(rank + k) for k in range(len(source.reduced))]
    body = at(source.body, [*inner, *reduced])
    mask = at(condition, places)
    if any(mask is part for part in walk(body)):
        return None  # masked already
    target = [position(k) for k in range(rank)]
    extents = [*shape, *[source.extents[k] for k in source.reduced]]
    masked = compute(shape, extents, target, "sum", call("where", mask, body, number(0)))
    if not isinstance(masked, Compute) or masked.dtype != source.dtype:
        return None
    masked = compute(shape, masked.extents, target, "sum", _with_inlined_branches(masked, risky))
    return load(masked, [position(k) for k in used])


def _is_padding(access: Load, holding: Sequence[Scalar]) -> bool:
    """Whether some subscript is out of range as soon as one of the conditions fails."""
    inside: list[Scalar] = []
    for s, extent in zip(access.subscripts, access.tensor.shape, strict=True):
        inside += [s >= 0, s <= extent - 1]
    return bool(holding) and all(any(c is i for i in inside) for c in holding)
