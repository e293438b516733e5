"""Reverse and forward mode over graphs: one rule for a formula, one for a scan.

In: nodes after `split`. Out: nodes of the adjoint (or tangent) program; `simplify` and `gather` come next. The chain
rule inside one formula is in `differentiate_formula`; nothing else knows calculus.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from gradgen.graph.origin import carry_place, name_derivative, name_part, origin
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
from gradgen.passes.differentiate_formula import is_chosen, node_derivatives, plus, reducer_weight, times
from gradgen.passes.disjoint import side_by_side
from gradgen.passes.keeping import kept_values, reading, stacked_values
from gradgen.passes.lift import row, sum_over_steps
from gradgen.passes.linear import is_linear
from gradgen.passes.substitute import replace_nodes

ZERO = number(0)


def vjp_nodes(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """d_x for every x in `wrt`, floats: the sum over outputs y of (dy/dx)^T d_y. Every x is a cut of the graph."""
    for y, d_y in zip(outputs, cotangents, strict=True):
        if not same_shape(y.shape, d_y.shape):
            raise GraphError(f"the cotangent of a {show_shape(y.shape)} tensor has shape {show_shape(d_y.shape)}")
    adjoints = _reverse(outputs, cotangents, wrt)
    return [adjoints[x] if x in adjoints else zeros_like(x) for x in wrt]


def jvp_nodes(outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node]) -> list[Node]:
    """t_y for every output y: the sum over x in `wrt` of (dy/dx) t_x, in forward mode."""
    known = dict(zip(wrt, tangents, strict=True))
    _forward(outputs, known)
    return [known[y] if y in known else zeros_like(y) for y in outputs]


def zeros_like(x: Node) -> Node:
    return pointwise(x.shape, call(x.dtype, ZERO) if x.dtype in FLOATS else ZERO)


# ---------------------------------------------------------------- reverse mode


def _reverse(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Iterable[Node]) -> dict[Node, Node]:
    """The adjoint of every node between the outputs and `wrt`."""
    cuts = set(wrt)
    order = toposort(outputs, lambda n: () if n in cuts else inputs(n))
    contributions: dict[Node, list[Node]] = {}
    for y, d_y in zip(outputs, cotangents, strict=True):
        contributions.setdefault(y, []).append(d_y)
    return _propagate(order, contributions, _depending(order, cuts), cuts)


def _propagate(
    order: Sequence[Node], contributions: dict[Node, list[Node]], active: set[Node], cuts: set[Node]
) -> dict[Node, Node]:
    """Walk `order` backwards, adding up contributions and handing them on.

    Contributions to nodes that are not in `order` stay in `contributions`.
    """
    adjoints: dict[Node, Node] = {}
    waiting = Counter(node.scan for node in order if isinstance(node, Project) and node not in cuts)
    results: dict[Scan, dict[Node, list[Node]]] = {}
    for node in reversed(order):
        if node in contributions and node in active:
            terms = contributions.pop(node)
            *partial, adjoints[node] = _running_sums(side_by_side(terms))
            name_derivative(node, adjoints[node], "d_", terms)
            for part in (*terms, *partial):
                name_part(node, part, "d_")
        new: list[tuple[Node, Node]] = []
        if node in cuts:
            continue
        if isinstance(node, Project):
            waiting[node.scan] -= 1
            if node in adjoints:
                results.setdefault(node.scan, {})[node] = terms
            if waiting[node.scan] == 0 and node.scan in results:
                new = scan_adjoint(node.scan, results[node.scan], active)
        elif node in adjoints:
            new = node_adjoint(node, adjoints[node], active)
        for x, d_x in new:
            carry_place(node, d_x, "d_")
            contributions.setdefault(x, []).append(d_x)
    return adjoints


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


def node_adjoint(node: Node, d_node: Node, active: set[Node]) -> list[tuple[Node, Node]]:
    """The contributions of one node to the adjoints of what it reads.

    For Y[target] = reduce body(..., T[f], ...): d_T[f] += d_Y[target] * (derivative of body by that access).
    """
    match node:
        case Reshape():
            return [(node.source, reshape(d_node, node.source.shape))]
        case Compute():
            seed = reducer_weight(node, load(d_node, node.target))
            return [
                (access.tensor, compute(access.tensor.shape, node.extents, access.subscripts, "sum", derivative))
                for access, derivative in node_derivatives(node, seed, active)
            ]
        case Custom():
            given = replace_nodes(node.adjoints, {node.cotangent: d_node}, node.cotangent.depth)
            return [(x, d_x) for x, d_x in zip(node.operands, given, strict=True) if x in active]
    return []


# ---------------------------------------------------------------- forward mode


def _forward(outputs: Sequence[Node], known: dict[Node, Node]) -> None:
    """Extend the tangents in `known` to everything that depends on them."""
    for node in toposort(outputs):
        if node in known or node.dtype not in FLOATS or not any(x in known for x in inputs(node)):
            continue
        match node:
            case Reshape():
                known[node] = reshape(known[node.source], node.shape)
            case Compute():
                tangent = _node_tangent(node, known)
                if tangent is not None:
                    known[node] = tangent
                    name_derivative(node, tangent, "t_")
            case Custom():
                tangent = _custom_tangent(node, known)
                if tangent is not None:
                    known[node] = tangent
                    name_derivative(node, tangent, "t_")
            case Project():
                known.update(scan_tangents(node.scan, known))


def _custom_tangent(node: Custom, known: Mapping[Node, Node]) -> Node | None:
    """The transpose of the adjoint that was given: the derivative by its cotangent, in which it is linear."""
    pairs = [(d_x, known[x]) for x, d_x in zip(node.operands, node.adjoints, strict=True) if x in known]
    adjoints, tangents = [d_x for d_x, _ in pairs], [t_x for _, t_x in pairs]
    if node.cotangent not in toposort(adjoints):
        return None
    if not is_linear(adjoints, node.cotangent):
        found = origin(node)
        raise GraphError(
            f"{f'{found.place}: ' if found is not None else ''}the adjoint that gg.custom was given is not seen to be "
            "linear in the cotangent, so it has no tangent: use reverse mode (gg.grad, gg.vjp), or write it as sums "
            "of products with the cotangent."
        )
    (tangent,) = vjp_nodes(adjoints, tangents, [node.cotangent])
    return tangent


def _node_tangent(node: Compute, known: dict[Node, Node]) -> Node | None:
    """t_Y[target] = sum over the loop nest of weight * sum over accesses of derivative * t_T[f].

    None where every derivative is declared zero: such a node counts as a constant, and not as 0 times what follows.
    """
    terms = [
        times(derivative, load(known[access.tensor], access.subscripts), node.dtype)
        for access, derivative in node_derivatives(node, number(1), set(known))
    ]
    if not terms:
        return None
    total = terms[0]
    for term in terms[1:]:
        total = plus(total, term)
    reducer = "sum" if node.reducer != "none" else "none"
    if node.reducer in ("logsumexp", "max", "min"):
        total = (
            times(total, reducer_weight(node, number(1)), node.dtype)
            if node.reducer == "logsumexp"
            else call("where", is_chosen(node), total, ZERO)
        )
    return compute(node.shape, node.extents, node.target, reducer, call(node.dtype, total))


# ---------------------------------------------------------------- scans


def scan_tangents(source: Scan, known: dict[Node, Node]) -> dict[Node, Node]:
    """The tangents of every result of a scan: one scan that carries states and tangents side by side."""
    count = len(source.carries)
    floats = [k for k, c in enumerate(source.carries) if c.dtype in FLOATS]
    free = _free_number(source)
    twins = {k: carry(free + k, source.carries[k].shape, source.carries[k].dtype, source.depth) for k in floats}
    inside: dict[Node, Node] = dict(known)
    inside.update({source.carries[k]: t for k, t in twins.items()})
    _forward_inside(source, inside)
    inits, nexts = [source.inits[k] for k in floats], [source.nexts[k] for k in floats]
    joint = scan(
        source.length,
        source.depth,
        [*source.carries, *twins.values()],
        [*source.inits, *[known[n] if n in known else zeros_like(n) for n in inits]],
        [*source.nexts, *[inside[n] if n in inside else zeros_like(n) for n in nexts]],
        [inside[n] if n in inside else zeros_like(n) for n in source.outputs],
        source.reverse,
    )
    found: dict[Node, Node] = {}
    for m, k in enumerate(floats):
        found[project(source, "states", k)] = project(joint, "states", count + m)
    for k, y in enumerate(source.outputs):
        if y.dtype in FLOATS:
            found[project(source, "stack", k)] = project(joint, "stack", k)
    return found


def _free_number(source: Scan) -> int:
    """The least number from which on no carry of a scan is numbered; an adjoint's own carries do not start at 0."""
    return 1 + max((c.number for c in source.carries), default=-1)


def _forward_inside(source: Scan, known: dict[Node, Node]) -> None:
    _forward(list(body_nodes(source)), known)


def scan_adjoint(source: Scan, d_results: Mapping[Node, Sequence[Node]], active: set[Node]) -> list[tuple[Node, Node]]:
    """The adjoint of a scan: a scan in the opposite direction over the adjoints of the carries that something moves.

    `d_results` are the contributions to its results. Everything the body defines is seen as a tensor with the step as
    its first axis. The reverse scan computes only what depends on the carried adjoints; what it hands to tensors
    outside is stacked, and summed by one formula behind the loop (a weight's gradient is one product over all steps).
    """
    depth, t = source.depth, step(source.depth)
    before = require_poly(t + 1) if source.reverse else t
    in_step: dict[Atom, Poly] = {t.atoms[0]: source.length}
    first, last = (source.length, integer(0)) if source.reverse else (integer(0), source.length)
    body = body_nodes(source)
    moving, inside = _active_carries(source, body, active)
    states = [project(source, "states", k) for k in range(len(source.carries))]

    # the carries of the adjoint are the adjoints of the states
    free = _free_number(source)
    d_carries = [carry(free + m, source.carries[k].shape, source.carries[k].dtype, depth) for m, k in enumerate(moving)]
    d_inits: list[Node] = []
    for k in moving:
        terms = _rows(d_results.get(states[k], ()), last, {})  # there may be no step
        d_inits.append(add_nodes(terms) if terms else zeros_like(source.inits[k]))

    contributions: dict[Node, list[Node]] = {}
    for m, k in enumerate(moving):
        contributions.setdefault(source.nexts[k], []).append(d_carries[m])
    for k, y in enumerate(source.outputs):
        stack = project(source, "stack", k)
        if stack in d_results and isinstance(stack, Project):
            contributions.setdefault(y, []).extend(_rows(d_results[stack], t, in_step))
    adjoints = _propagate(body, contributions, inside, set())
    outside = [(x, d_x) for x, terms in contributions.items() if x in active for d_x in terms]

    d_nexts: list[Node] = []
    for k in moving:
        terms = [adjoints[source.carries[k]]] if source.carries[k] in adjoints else []
        terms += _rows(d_results.get(states[k], ()), before, in_step)
        d_nexts.append(add_nodes(terms) if terms else zeros_like(source.carries[k]))
        name_part(source.nexts[k], d_nexts[-1], "d_")

    # the adjoint reads the forward values of its step from the states and from stacks that the forward loop keeps
    roots = [*d_nexts, *[d_x for _, d_x in outside]]
    adjoint_nodes = [n for n in toposort(roots, lambda n: inside_inputs(n, depth)) if n not in set(body)]
    kept = kept_values(adjoint_nodes, body)
    augmented = scan(source.length, depth, source.carries, source.inits, source.nexts, kept, source.reverse)
    values: dict[Node, Node] = {c: row(states[k], before) for k, c in enumerate(source.carries)}
    values.update({n: row(project(augmented, "stack", k), t) for k, n in enumerate(kept)})
    sequential: set[Node] = {*d_carries, *[n for n in adjoint_nodes if isinstance(n, Project) and depth in n.steps]}
    stacked = stacked_values([d_x for _, d_x in outside], reading(adjoint_nodes, sequential))
    loop = replace_nodes([*d_nexts, *stacked], values, depth)
    reverse = scan(
        source.length, depth, d_carries, d_inits, loop[: len(moving)], loop[len(moving) :], not source.reverse
    )
    d_stacks = [project(reverse, "stack", k) for k in range(len(stacked))]
    for whole in (*d_stacks, *(project(reverse, "states", m) for m in range(len(moving)))):
        carry_place(next(iter(d_results)), whole, "d_")
    values.update({n: row(stack, t) for n, stack in zip(stacked, d_stacks, strict=True)})
    new = [
        (source.inits[k], row(project(reverse, "states", m), first))
        for m, k in enumerate(moving)
        if source.inits[k] in active
    ]
    for x, d_x in outside:
        (per_step,) = replace_nodes([d_x], values, depth)
        total = sum_over_steps(per_step, source.length, depth)
        carry_place(per_step, total)
        new.append((x, total))
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


def _rows(terms: Sequence[Node], at: Poly, ranges: Mapping[Atom, Poly]) -> list[Node]:
    """Row `at` of a sum: what goes to one row of a result, as from its last state, is no term of any other row."""
    found: list[Node] = []
    whole: list[Node] = []
    for term in terms:
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
