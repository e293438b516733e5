"""Producers that are read inside a branch of `where` move into it, if their derivative can be infinite.

In: nodes after `split`. Out: the same values, and adjoints in which the branch not taken contributes nothing:
`where(x > 0, L, 0)` with `L = log(x)` a node of its own would give 0 / 0 at x = 0. `differentiate` comes next.
"""

from collections.abc import Iterator, Sequence

from gradgen.graph.accesses import unproved
from gradgen.graph.nodes import Compute, Node, Reshape, all_inputs, compute
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Load,
    Scalar,
    call,
    children,
    conjuncts,
    integer,
    load,
    loads,
    number,
    position,
    positions_of,
    require_poly,
    substitute,
    walk,
)
from gradgen.passes.conditions import conjunction
from gradgen.passes.inline import at, is_pointwise, pointwise_body, reshaped_access
from gradgen.passes.substitute import map_nodes

__all__ = ["inline_branches"]

Path = tuple[Scalar, ...]


def inline_branches(roots: Sequence[Node], keep: frozenset[Node] = frozenset()) -> list[Node]:
    """where(c, P[f], y) becomes where(c, body of P at f, y), for P pointwise and singular somewhere below it.

    A sum in a branch takes the condition along, with all those around it that its loops can test, because it is then
    computed in every iteration: where(c, sum_j b, y) = where(c, sum_j where(c, b, 0), y).
    What is no float, such as a comparison, has no derivative and stays: computed twice, P may round to two values.
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
    around = _paths(body)
    for x in walk(body):
        match x:
            case Call(function=f, arguments=(condition, yes, no)) if f.name == "where" and x.dtype in FLOATS:
                opposite = call("not", condition)
                new_yes = _inlined(yes, condition, around[x], node, risky)
                new_no = _inlined(no, opposite, around[x], node, risky)
                if new_yes is not yes or new_no is not no:
                    yield x, call("where", condition, new_yes, new_no)


def _inlined(branch: Scalar, condition: Scalar, around: set[Path], node: Compute, risky: dict[Node, bool]) -> Scalar:
    replaced: dict[Scalar, Scalar] = {}
    inside, holding = _paths(branch), conjuncts(condition)
    for access in loads(branch):
        reshaped = reshaped_access(access)
        through = access if reshaped is None else reshaped
        if not risky.get(through.tensor, False) or _is_padding(through, holding):
            continue
        body = pointwise_body(through)
        if body is None and len(inside[access]) == len(around) == 1:
            (before,), (behind,) = around, inside[access]
            near = [condition, *behind]
            body = _masked_sum(through, conjunction([*before, *near]), node, risky)
            if body is None:  # the loops of the sum cannot test what stands around: it has to be needless for its reads
                body = _masked_sum(through, conjunction(near), node, risky)
                body = body if isinstance(body, Load) and _reads_inside(body.tensor) else None
        if body is not None:
            replaced[access] = body
    return substitute(branch, {}, replaced) if replaced else branch


def _reads_inside(node: Node) -> bool:
    return isinstance(node, Compute) and not unproved(node)


def _paths(root: Scalar) -> dict[Scalar, set[Path]]:
    """For every part of an expression the conditions of the choices under which it is evaluated, place by place."""
    found: dict[Scalar, set[Path]] = {}
    pending: list[tuple[Scalar, Path]] = [(root, ())]
    while pending:
        x, held = pending.pop()
        if held in found.setdefault(x, set()):
            continue
        found[x].add(held)
        match x:
            case Call(function=f, arguments=(condition, yes, no)) if f.name == "where":
                pending += [(condition, held), (yes, (*held, condition)), (no, (*held, call("not", condition)))]
            case _:
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
