"""Reverse mode over graphs: one rule for a formula, one for a scan.

In: nodes after `split`. Out: nodes of the adjoint program; `simplify` and `gather` come next. The chain
rule inside one formula is in `chain_rule`, forward mode in `forward`; nothing else knows
calculus.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate

from gradgen.errors import GraphError
from gradgen.graph.nodes import (
    Compute,
    Custom,
    Node,
    Project,
    Reshape,
    Scan,
    body_nodes,
    carry,
    compute,
    identity,
    inputs,
    inside_inputs,
    pointwise,
    project,
    reshape,
    same_shape,
    scan,
    show_shape,
    toposort,
)
from gradgen.graph.origin import carry_place, name_derivative, name_part
from gradgen.graph.scalar import (
    FLOATS,
    Atom,
    Poly,
    call,
    integer,
    load,
    number,
    require_poly,
    step,
)
from gradgen.graph.sizes import is_size, nonnegative
from gradgen.passes.derive.chain_rule import node_derivatives, reducer_weight
from gradgen.passes.derive.disjoint import side_by_side
from gradgen.passes.derive.given import given_adjoints
from gradgen.passes.derive.kept_steps import kept_values, reading, stacked_values
from gradgen.passes.derive.supports import (
    EVERYWHERE,
    NOWHERE,
    Support,
    count_of_steps,
    counted,
    either,
    masked,
    read_supports,
    read_under_masks,
    reshaped_support,
    row_support,
    support_node,
    support_of,
)
from gradgen.passes.rebuild.all_steps import row, sum_over_steps
from gradgen.passes.rebuild.formulas import ranges_of
from gradgen.passes.rebuild.nodes import replace_nodes

ZERO = number(0)


@dataclass(frozen=True, slots=True)
class Contribution:
    """A term of the adjoint of `to`, and where it may be other than 0."""

    to: Node
    adjoint: Node
    support: Support


def vjp_nodes(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """d_x for every x in `wrt`, floats: the sum over outputs y of (dy/dx)^T d_y. Every x is a cut of the graph."""
    for y, d_y in zip(outputs, cotangents, strict=True):
        if not same_shape(y.shape, d_y.shape):
            raise GraphError(f"the cotangent of a {show_shape(y.shape)} tensor has shape {show_shape(d_y.shape)}")
    adjoints = _reverse(outputs, cotangents, wrt)
    return [adjoints[x] if x in adjoints else zeros_like(x) for x in wrt]


def zeros_like(x: Node) -> Node:
    return pointwise(x.shape, call(x.dtype, ZERO) if x.dtype in FLOATS else ZERO)


# ---------------------------------------------------------------- reverse mode


def _reverse(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Iterable[Node]) -> dict[Node, Node]:
    """The adjoint of every node between the outputs and `wrt`."""
    cuts = set(wrt)
    order = toposort(outputs, lambda n: () if n in cuts else inputs(n))
    contributions: dict[Node, list[Contribution]] = {}
    for y, d_y in zip(outputs, cotangents, strict=True):
        contributions.setdefault(y, []).append(Contribution(y, d_y, EVERYWHERE))
    adjoints, _ = _propagate(order, contributions, _depending(order, cuts), cuts)
    return adjoints


def _propagate(
    order: Sequence[Node], contributions: dict[Node, list[Contribution]], active: set[Node], cuts: set[Node]
) -> tuple[dict[Node, Node], dict[Node, Support]]:
    """Walk `order` backwards, adding up contributions and handing them on: adjoints, and where each is not 0.

    Contributions to nodes that are not in `order` stay in `contributions`.
    """
    adjoints: dict[Node, Node] = {}
    supports: dict[Node, Support] = {}
    waiting = Counter(node.scan for node in order if isinstance(node, Project) and node not in cuts)
    results: dict[Scan, dict[Node, list[Contribution]]] = {}
    for node in reversed(order):
        if node in contributions and node in active:
            found = contributions.pop(node)
            supports[node] = either(*[x.support for x in found])
            terms = [x.adjoint for x in found]
            *partial, adjoints[node] = _running_sums(side_by_side(terms))
            name_derivative(node, adjoints[node], "d_", terms)
            for part in (*terms, *partial):
                name_part(node, part, "d_")
        new: list[Contribution] = []
        if node in cuts:
            continue
        if isinstance(node, Project):
            waiting[node.scan] -= 1
            if node in adjoints:
                results.setdefault(node.scan, {})[node] = found
            if waiting[node.scan] == 0 and node.scan in results:
                new = scan_adjoint(node.scan, results[node.scan], active, cuts)
        elif node in adjoints:
            new = node_adjoint(node, adjoints[node], active, supports[node], cuts)
        for term in new:
            carry_place(node, term.adjoint, "d_")
            contributions.setdefault(term.to, []).append(term)
    return adjoints, supports


def _depending(order: Iterable[Node], cuts: set[Node]) -> set[Node]:
    """The float nodes that depend on a cut."""
    active = set(cuts)
    for node in order:
        if node not in active and node.dtype in FLOATS and any(x in active for x in inputs(node)):
            active.add(node)
    return active


def add_nodes(terms: Sequence[Node]) -> Node:
    *_, total = _running_sums(terms)
    return total


def _running_sums(terms: Iterable[Node]) -> Iterator[Node]:
    return accumulate(terms, lambda a, b: pointwise(a.shape, call("add", identity(a), identity(b))))


def node_adjoint(
    node: Node, d_node: Node, active: Set[Node], support: Support = EVERYWHERE, cuts: Set[Node] = frozenset()
) -> list[Contribution]:
    """The contributions of one node to the adjoints of what it reads.

    For Y[target] = reduce body(..., T[f], ...): d_T[f] += d_Y[target] * (derivative of body by that access), under the
    mask of d_Y. Nothing comes behind a cut, so nobody asks where its adjoint counts.
    """
    match node:
        case Reshape():
            shape = node.source.shape
            return [Contribution(node.source, reshape(d_node, shape), reshaped_support(node, support))]
        case Compute():
            seed = reducer_weight(node, load(d_node, node.target))
            further = {x for x in inputs(node) if x in active and x not in cuts}
            supports = read_supports(node, support, further)
            return [
                Contribution(
                    access.tensor,
                    compute(
                        access.tensor.shape,
                        node.extents,
                        access.subscripts,
                        "sum",
                        masked(derivative, node, d_node, support),
                    ),
                    supports.get(access, EVERYWHERE),
                )
                for access, derivative in node_derivatives(node, seed, active)
            ]
        case Custom():
            pairs = zip(node.operands, given_adjoints(node, d_node, support), strict=True)
            return [Contribution(x, d_x, where) for x, (d_x, where) in pairs if x in active]
    return []


# ---------------------------------------------------------------- scans


def free_number(source: Scan) -> int:
    """The least number from which on no carry of a scan is numbered; an adjoint's own carries do not start at 0."""
    return 1 + max((c.number for c in source.carries), default=-1)


def scan_adjoint(
    source: Scan, d_results: Mapping[Node, Sequence[Contribution]], active: set[Node], cuts: set[Node]
) -> list[Contribution]:
    """The adjoint of a scan: a scan in the opposite direction over the adjoints of the carries that something moves.

    `d_results` are the contributions to its results. Everything the body defines is seen as a tensor with the step as
    its first axis. The reverse scan computes only what depends on the carried adjoints; what it hands to tensors
    outside is stacked, and summed by one formula behind the loop (a weight's gradient is one product over all steps).
    Where a state is read under masks only, whether it counts is one more carry of the reverse scan.
    """
    depth, t = source.depth, step(source.depth)
    before = require_poly(t + 1) if source.reverse else t
    in_step: dict[Atom, Poly] = {t.atoms[0]: source.length}
    first, last = (source.length, integer(0)) if source.reverse else (integer(0), source.length)
    body = body_nodes(source)
    moving, inside = _active_carries(source, body, active)
    states = [project(source, "states", k) for k in range(len(source.carries))]

    # the carries of the adjoint are the adjoints of the states
    free = free_number(source)
    d_carries = [carry(free + m, source.carries[k].shape, source.carries[k].dtype, depth) for m, k in enumerate(moving)]
    d_inits: list[Node] = []
    for k in moving:
        terms = _rows(d_results.get(states[k], ()), last, {})  # there may be no step
        d_inits.append(add_nodes(terms) if terms else zeros_like(source.inits[k]))

    # and where they count: a carry each, unless that is everywhere
    totals = {whole: either(*[x.support for x in terms]) for whole, terms in d_results.items()}
    sometimes = read_under_masks(source, body, moving, totals)
    counting = {k: carry(free + len(moving) + m, states[k].shape[1:], "bool", depth) for m, k in enumerate(sometimes)}
    supports = {k: support_of(identity(counting[k])) if k in counting else EVERYWHERE for k in moving}

    contributions: dict[Node, list[Contribution]] = {}
    for m, k in enumerate(moving):
        y = source.nexts[k]
        contributions.setdefault(y, []).append(Contribution(y, d_carries[m], supports[k]))
    for k, y in enumerate(source.outputs):
        stack = project(source, "stack", k)
        if stack in d_results and isinstance(stack, Project):
            rows = _rows(d_results[stack], t, in_step)
            support = row_support(totals[stack], t, ranges_of((), {depth: source.length}))
            contributions.setdefault(y, []).extend(Contribution(y, d_y, support) for d_y in rows)
    adjoints, inner = _propagate(body, contributions, inside, cuts)
    outside = [term for x, terms in contributions.items() if x in active for term in terms]

    d_nexts: list[Node] = []
    for k in moving:
        terms = [adjoints[source.carries[k]]] if source.carries[k] in adjoints else []
        terms += _rows(d_results.get(states[k], ()), before, in_step)
        d_nexts.append(add_nodes(terms) if terms else zeros_like(source.carries[k]))
        name_part(source.nexts[k], d_nexts[-1], "d_")
    count_inits, count_nexts = [], []
    for k in counting:
        shape, total = source.carries[k].shape, totals.get(states[k], NOWHERE)
        here = row_support(total, before, ranges_of((), {depth: source.length}))
        count_inits.append(support_node(shape, row_support(total, last, {})))
        count_nexts.append(support_node(shape, either(inner.get(source.carries[k], NOWHERE), here)))
    asked = [count_of_steps(term.to, term.support, depth) for term in outside]
    counts = list(dict.fromkeys(count for count in asked if count is not None))

    # the adjoint reads the forward values of its step from the states and from stacks that the forward loop keeps
    roots = [*d_nexts, *count_nexts, *[term.adjoint for term in outside], *counts]
    adjoint_nodes = [n for n in toposort(roots, lambda n: inside_inputs(n, depth)) if n not in set(body)]
    kept = kept_values(adjoint_nodes, body)
    augmented = scan(source.length, depth, source.carries, source.inits, source.nexts, kept, source.reverse)
    values: dict[Node, Node] = {c: row(states[k], before) for k, c in enumerate(source.carries)}
    values.update({n: row(project(augmented, "stack", k), t) for k, n in enumerate(kept)})
    sequential: set[Node] = {
        *d_carries,
        *counting.values(),
        *[n for n in adjoint_nodes if isinstance(n, Project) and depth in n.steps],
    }
    stacked = stacked_values([*[term.adjoint for term in outside], *counts], reading(adjoint_nodes, sequential))
    carried = [*d_carries, *counting.values()]
    loop = replace_nodes([*d_nexts, *count_nexts, *stacked], values, depth)
    nexts, outputs = loop[: len(carried)], loop[len(carried) :]
    reverse = scan(source.length, depth, carried, [*d_inits, *count_inits], nexts, outputs, not source.reverse)
    d_stacks = [project(reverse, "stack", k) for k in range(len(stacked))]
    for whole in (*d_stacks, *(project(reverse, "states", m) for m in range(len(moving)))):
        carry_place(next(iter(d_results)), whole, "d_")
    values.update({n: row(stack, t) for n, stack in zip(stacked, d_stacks, strict=True)})
    new: list[Contribution] = []
    begun = {k: row(project(reverse, "states", len(moving) + m), first) for m, k in enumerate(counting)}
    for m, k in enumerate(moving):
        if source.inits[k] in active:
            support = support_of(identity(begun[k])) if k in counting else EVERYWHERE
            new.append(Contribution(source.inits[k], row(project(reverse, "states", m), first), support))
    summed = {c: sum_over_steps(replace_nodes([c], values, depth)[0], source.length, depth) for c in counts}
    for term, count in zip(outside, asked, strict=True):
        (per_step,) = replace_nodes([term.adjoint], values, depth)
        whole = sum_over_steps(per_step, source.length, depth)
        carry_place(per_step, whole)
        support = term.support if count is None else counted(summed[count])
        new.append(Contribution(term.to, whole, support))
    return new


def _active_carries(source: Scan, body: Sequence[Node], active: set[Node]) -> tuple[list[int], set[Node]]:
    """The numbers of the carries that depend on something active, and everything in the body that does."""
    floats = [k for k, c in enumerate(source.carries) if c.dtype in FLOATS]
    found = [k for k in floats if source.inits[k] in active]
    while True:
        inside = _depending(body, (active & set(source.captured)) | {source.carries[k] for k in found})
        again = [k for k in floats if k in found or source.nexts[k] in inside]
        if again == found:
            return found, inside
        found = again


def _rows(contributions: Sequence[Contribution], at: Poly, ranges: Mapping[Atom, Poly]) -> list[Node]:
    """Row `at` of a sum: what goes to one row of a result, as from its last state, is no term of any other row."""
    found: list[Node] = []
    whole: list[Node] = []
    for term in (x.adjoint for x in contributions):
        only = term.target[0] if isinstance(term, Compute) and term.reducer == "sum" else None
        if isinstance(term, Compute) and only is at:
            found.append(compute(term.shape[1:], term.extents, term.target[1:], "sum", term.body))
            carry_place(term, found[-1])
        elif only is None or not is_size(only) or not _is_apart(require_poly(at - only), ranges):
            whole.append(term)
    return [*([row(add_nodes(whole), at)] if whole else []), *found]


def _is_apart(distance: Poly, ranges: Mapping[Atom, Poly]) -> bool:
    """Whether two rows are never the same one, whatever the step; where a step has a range, there is one."""
    return any(nonnegative(require_poly(sign * distance - 1), ranges) for sign in (1, -1))
