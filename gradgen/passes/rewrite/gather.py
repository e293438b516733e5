"""Gather instead of scatter: a formula that adds into computed subscripts becomes one that owns what it writes.

In: nodes after `simplify`. Out: the same values; what stays an accumulation, and why, is in the records. `simplify`
once more, then `contract`.
"""

from collections.abc import Mapping, Sequence

from gradgen.graph.accesses import guarded, ranges_of
from gradgen.graph.neutral import neutral
from gradgen.graph.nodes import Compute, Node, compute, pointwise
from gradgen.graph.scalar import (
    Atom,
    Poly,
    Scalar,
    call,
    load,
    mentions,
    position,
    position_atom,
    positions_of,
    require_poly,
    substitute,
)
from gradgen.graph.sizes import reads_data
from gradgen.passes.rebuild.conditions import conjunction, fold_conditions, normal_where
from gradgen.passes.rebuild.formulas import map_formulas
from gradgen.passes.rebuild.look_through import at
from gradgen.passes.rebuild.rewrites import Rewrite
from gradgen.passes.rebuild.solve_subscripts import Solution, solve_subscripts

__all__ = ["gather"]


def gather(roots: Sequence[Node]) -> tuple[list[Node], list[Rewrite]]:
    """d[f(p)] += b[p] becomes d[x] = sum over the p that f leaves open of where(p is in the loop nest, b[p], 0).

    The subscripts are solved for the loop positions of largest extent. An equation that fixes none, such as
    idx[n] == x, becomes a predicate if every position is fixed otherwise; else the formula stays as it is.
    """
    records: list[Rewrite] = []

    def change(node: Compute, lengths: Mapping[int, Poly]) -> Node:
        if node.gathers:
            return node
        new, reason = _gathered(node, lengths)
        records.append(Rewrite("accumulate" if new is node else "gather", node, new, reason))
        return new

    return map_formulas(roots, change), records


def _gathered(node: Compute, lengths: Mapping[int, Poly]) -> tuple[Node, str]:
    solution = solve_subscripts(node.target, node.extents, node.shape, ranges_of((), lengths))
    if not solution.predicates or not solution.unsolved:
        return _gathering(node, solution, lengths), _reason(solution)
    fixed = [axis for axis, t in enumerate(node.target) if not positions_of(t) and not reads_data(t)]
    if fixed:
        return _placed(node, fixed, lengths)
    inner = _summed_out(node)
    if inner is not None:
        new, reason = _gathered(inner, lengths)
        return new, f"indices that take no part in the target are summed out first; {reason}"
    return (
        node,
        "a subscript fixes no index, and the others do not fix every index: it adds up in order",
    )


def _reason(solution: Solution) -> str:
    if any(reads_data(p) for p in solution.predicates):
        return "every index is fixed by the subscripts, so one that is data becomes a predicate"
    return "the subscripts are solved for the indices of largest extent"


def _gathering(node: Compute, s: Solution, lengths: Mapping[int, Poly]) -> Node:
    """The formula over output positions and the positions that are left."""
    rank = len(node.shape)
    loops: dict[Atom, Poly] = {atom: position(rank + k) for k, atom in enumerate(s.unsolved)}
    values: dict[Atom, Poly] = dict(loops)
    values.update({a: require_poly(substitute(v, loops)) for a, v in s.solved.items()})
    places = {position_atom(k): values[position_atom(rank + k)] for k in range(len(node.extents))}
    conditions = [substitute(c, loops) for c in (*s.conditions, *[p == 0 for p in s.predicates])]
    nothing = neutral(node.reducer, node.dtype)
    body = call("where", conjunction(conditions), substitute(node.body, places), nothing)
    extents = [*node.shape, *[s.ranges[atom] for atom in s.unsolved]]
    body = fold_conditions(normal_where(body), ranges_of(extents, lengths))
    if body.dtype != node.dtype:
        body = call(node.dtype, body)
    return compute(
        node.shape, extents, [position(k) for k in range(rank)], node.reducer if s.unsolved else "none", body
    )


def _placed(node: Compute, fixed: Sequence[int], lengths: Mapping[int, Poly]) -> tuple[Node, str]:
    """Axes at which the target stands still: the formula without them, put into its place by a condition."""
    moving = [axis for axis in range(len(node.shape)) if axis not in fixed]
    inner = compute(
        [node.shape[a] for a in moving], node.extents, [node.target[a] for a in moving], node.reducer, node.body
    )
    reason = "the target stands still along an axis"
    if isinstance(inner, Compute) and not inner.gathers:
        inner, further = _gathered(inner, lengths)
        reason = f"{reason}; {further}"
    conditions = [position(a) - node.target[a] == 0 for a in fixed]
    nothing = neutral(node.reducer, node.dtype)
    value = call("where", conjunction(conditions), load(inner, [position(a) for a in moving]), nothing)
    return pointwise(node.shape, fold_conditions(value, ranges_of(node.shape, lengths))), reason


def _summed_out(node: Compute) -> Compute | None:
    """d[f(p)] += sum_q b[p, q], where the target does not mention q; None if there is no such q.

    A mask on the whole body shields the target too; one that mentions q cannot, so such a formula is left alone.
    """
    used = positions_of(*node.target)
    others = [position_atom(k) for k in range(len(node.extents)) if k not in used]
    shield = guarded(node.body, node.reducer)[0]
    if not others or any(mentions(condition, other) for condition in shield for other in others):
        return None
    order = [*used, *[k for k in range(len(node.extents)) if k not in used]]
    places = [position(0)] * len(order)
    for new, old in enumerate(order):
        places[old] = position(new)
    rank = len(used)
    rows = compute(
        [node.extents[k] for k in used],
        [node.extents[k] for k in order],
        [position(k) for k in range(rank)],
        node.reducer,
        at(node.body, places),
    )
    target = [require_poly(at(t, places)) for t in node.target]
    value: Scalar = load(rows, [position(k) for k in range(rank)])
    if shield:
        value = call("where", at(conjunction(shield), places), value, neutral(node.reducer, node.dtype))
    new_node = compute(node.shape, [node.extents[k] for k in used], target, node.reducer, value)
    return new_node if isinstance(new_node, Compute) and new_node.dtype == node.dtype else None
