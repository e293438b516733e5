"""Reverse and forward mode: one rule for a formula, one for a scan. The only module that knows the chain rule.

In: nodes after `split`. Out: nodes of the adjoint (or tangent) program; `simplify` and `gather` come next.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gradgen.errors import DTypeError, GraphError
from gradgen.graph.nodes import (
    Compute,
    Leaf,
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
from gradgen.graph.origin import carry_origin, origin
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
    step,
    substitute,
    walk,
)
from gradgen.passes.lift import sum_over_steps
from gradgen.passes.substitute import replace_nodes

ZERO = number(0)


def vjp_nodes(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """d_x for every x in `wrt`: the sum over outputs y of (dy/dx)^T d_y. Every x is a cut of the graph.

    Raises DTypeError for an integer x, GraphError for one that no output depends on.
    """
    for y, d_y in zip(outputs, cotangents, strict=True):
        if not same_shape(y.shape, d_y.shape):
            raise GraphError(f"the cotangent of a {show_shape(y.shape)} tensor has shape {show_shape(d_y.shape)}")
    _check_wrt(outputs, wrt)
    adjoints = _reverse(outputs, cotangents, wrt)
    return [adjoints[x] if x in adjoints else zeros_like(x) for x in wrt]


def jvp_nodes(outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node]) -> list[Node]:
    """t_y for every output y: the sum over x in `wrt` of (dy/dx) t_x, in forward mode."""
    _check_wrt(outputs, wrt)
    known = dict(zip(wrt, tangents, strict=True))
    _forward(outputs, known)
    return [known[y] if y in known else zeros_like(y) for y in outputs]


def zeros_like(x: Node) -> Node:
    return pointwise(x.shape, call(x.dtype, ZERO) if x.dtype in FLOATS else ZERO)


def _check_wrt(outputs: Sequence[Node], wrt: Sequence[Node]) -> None:
    below = set(toposort(outputs))
    for x in wrt:
        name = x.name if isinstance(x, Leaf) else "the tensor"
        if x.dtype not in FLOATS:
            raise DTypeError(
                f"{name} is {x.dtype}: only a float tensor has a gradient. Cast it to a float, or leave it out of wrt"
            )
        if x not in below:
            raise GraphError(f"no output depends on {name}: leave it out of wrt, or use it in the formula")


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
    results: dict[Scan, dict[Node, Node]] = {}
    for node in reversed(order):
        if node in contributions and node in active:
            adjoints[node] = add_nodes(contributions.pop(node))
            _name_adjoint(node, adjoints[node], "d_")
        new: list[tuple[Node, Node]] = []
        if node in cuts:
            continue
        if isinstance(node, Project):
            waiting[node.scan] -= 1
            if node in adjoints:
                results.setdefault(node.scan, {})[node] = adjoints[node]
            if waiting[node.scan] == 0 and node.scan in results:
                new = scan_adjoint(node.scan, results[node.scan], active)
        elif node in adjoints:
            new = node_adjoint(node, adjoints[node], active)
        for x, d_x in new:
            contributions.setdefault(x, []).append(d_x)
    return adjoints


def _depending(order: Iterable[Node], cuts: set[Node]) -> set[Node]:
    """The float nodes that depend on a cut."""
    active = set(cuts)
    for node in order:
        if node not in active and node.dtype in FLOATS and any(x in active for x in inputs(node)):
            active.add(node)
    return active


def _name_adjoint(node: Node, adjoint: Node, prefix: str) -> None:
    """d_u for u: where an adjoint comes from is where its value did."""
    found = origin(node)
    if found is not None:
        carry_origin(node, adjoint, note=f"{prefix}{found.note}")


def add_nodes(terms: Sequence[Node]) -> Node:
    total = terms[0]
    for term in terms[1:]:
        total = pointwise(total.shape, call("add", identity(total), identity(term)))
    return total


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
    return []


def reducer_weight(node: Compute, d: Scalar) -> Scalar:
    """The adjoint of the body at one point of the loop nest, given the adjoint of the result there."""
    out = load(node, node.target)
    match node.reducer:
        case "none" | "sum":
            return d
        case "logsumexp":
            weight = pointwise(node.extents, call("exp", call("sub", node.body, out)))
            return call("mul", d, identity(weight))
        case "max" | "min":
            return call("where", _is_chosen(node), d, ZERO)
    raise GraphError(f"the reducer {node.reducer} has no gradient")


def _is_chosen(node: Compute) -> Scalar:
    """Whether this point of the loop nest is the first one that attains the maximum (or minimum)."""
    winner = load(compute(node.shape, node.extents, node.target, f"arg{node.reducer}", node.body), node.target)
    flat: Scalar = integer(0)
    for k in node.reduced:
        flat = flat * node.extents[k] + position(k)
    return call("eq", flat, winner)


def node_derivatives(node: Compute, seed: Scalar, active: set[Node]) -> list[tuple[Load, Scalar]]:
    """`derivatives` of the body, which reads the node's own value where a derivative mentions it (`1 - out * out`)."""
    found = derivatives(node.body, seed, active)
    if node.reducer != "none" or not isinstance(node.body, Call):
        return found
    own: dict[Scalar, Scalar] = {node.body: load(node, node.target)}
    return [(access, substitute(derivative, {}, own)) for access, derivative in found]


def derivatives(body: Scalar, seed: Scalar, active: set[Node]) -> list[tuple[Load, Scalar]]:
    """seed * (derivative of the body by each access to an active tensor), by reverse mode over the expression."""
    adjoint: dict[Scalar, Scalar] = {body: seed}
    found: list[tuple[Load, Scalar]] = []
    useful = _useful_parts(body, active)
    for x in reversed(list(walk(body))):
        if x not in adjoint or x not in useful:
            continue
        if isinstance(x, Load):
            found += [(x, term) for term in _masked_terms(adjoint[x])]
        elif isinstance(x, Call):
            for argument, partial in zip(x.arguments, partials(x), strict=True):
                if partial is not None and argument in useful:
                    term = times(adjoint[x], partial, argument.dtype)
                    adjoint[argument] = plus(adjoint[argument], term) if argument in adjoint else term
    return found[::-1]


def _useful_parts(body: Scalar, active: set[Node]) -> set[Scalar]:
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
                    _name_adjoint(node, tangent, "t_")
            case Project():
                known.update(scan_tangents(node.scan, known))


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
            else call("where", _is_chosen(node), total, ZERO)
        )
    return compute(node.shape, node.extents, node.target, reducer, call(node.dtype, total))


# ---------------------------------------------------------------- scans


def scan_tangents(source: Scan, known: dict[Node, Node]) -> dict[Node, Node]:
    """The tangents of every result of a scan: one scan that carries states and tangents side by side."""
    count = len(source.carries)
    free = _free_number(source)
    twins = [carry(free + k, c.shape, c.dtype, source.depth) for k, c in enumerate(source.carries)]
    inside: dict[Node, Node] = dict(known)
    inside.update({c: t for c, t in zip(source.carries, twins, strict=True) if c.dtype in FLOATS})
    _forward_inside(source, inside)
    joint = scan(
        source.length,
        source.depth,
        [*source.carries, *twins],
        [*source.inits, *[known.get(n) or zeros_like(n) for n in source.inits]],
        [*source.nexts, *[inside[n] if n in inside else zeros_like(n) for n in source.nexts]],
        [inside[n] if n in inside else zeros_like(n) for n in source.outputs],
        source.reverse,
    )
    found: dict[Node, Node] = {}
    for k, c in enumerate(source.carries):
        if c.dtype in FLOATS:
            found[project(source, "states", k)] = project(joint, "states", count + k)
    for k, y in enumerate(source.outputs):
        if y.dtype in FLOATS:
            found[project(source, "stack", k)] = project(joint, "stack", k)
    return found


def _free_number(source: Scan) -> int:
    """The least number from which on no carry of a scan is numbered; an adjoint's own carries do not start at 0."""
    return 1 + max((c.number for c in source.carries), default=-1)


def _forward_inside(source: Scan, known: dict[Node, Node]) -> None:
    _forward(list(body_nodes(source)), known)


def scan_adjoint(source: Scan, d_results: Mapping[Node, Node], active: set[Node]) -> list[tuple[Node, Node]]:
    """The adjoint of a scan: a scan in the opposite direction over the adjoints of the carries.

    Everything the body defines is seen as a tensor with the step as its first axis. The reverse scan computes only
    what depends on the carried adjoints; what it hands to tensors outside is stacked, and summed by one formula
    behind the loop (so a weight's gradient is one product over all steps).
    """
    depth, t = source.depth, step(source.depth)
    before = t + 1 if source.reverse else t
    first, last = (source.length, integer(0)) if source.reverse else (integer(0), source.length)
    body = body_nodes(source)
    floats = [k for k, c in enumerate(source.carries) if c.dtype in FLOATS]
    inside = _depending(body, (active & set(source.captured)) | {source.carries[k] for k in floats})
    states = [project(source, "states", k) for k in range(len(source.carries))]
    d_states = {k: d_results[states[k]] for k in floats if states[k] in d_results}

    # the carries of the adjoint are the adjoints of the states
    free = _free_number(source)
    d_carries = [carry(free + m, source.carries[k].shape, source.carries[k].dtype, depth) for m, k in enumerate(floats)]
    d_inits = [_row(d_states[k], last) if k in d_states else zeros_like(source.inits[k]) for k in floats]

    contributions: dict[Node, list[Node]] = {}
    for m, k in enumerate(floats):
        contributions.setdefault(source.nexts[k], []).append(d_carries[m])
    for k, y in enumerate(source.outputs):
        stack = project(source, "stack", k)
        if stack in d_results and isinstance(stack, Project):
            contributions.setdefault(y, []).append(_row(d_results[stack], t))
    adjoints = _propagate(body, contributions, inside, set())
    outside = [(x, d_x) for x, terms in contributions.items() if x in active for d_x in terms]

    d_nexts: list[Node] = []
    for k in floats:
        terms = [adjoints[source.carries[k]]] if source.carries[k] in adjoints else []
        terms += [_row(d_states[k], before)] if k in d_states else []
        d_nexts.append(add_nodes(terms) if terms else zeros_like(source.carries[k]))

    # the adjoint reads the forward values of its step from the states and from stacks that the forward loop keeps
    roots = [*d_nexts, *[d_x for _, d_x in outside]]
    adjoint_nodes = [n for n in toposort(roots, lambda n: inside_inputs(n, depth)) if n not in set(body)]
    kept = _kept_values(adjoint_nodes, body)
    augmented = scan(source.length, depth, source.carries, source.inits, source.nexts, kept, source.reverse)
    values: dict[Node, Node] = {c: _row(states[k], before) for k, c in enumerate(source.carries)}
    values.update({n: _row(project(augmented, "stack", k), t) for k, n in enumerate(kept)})
    sequential: set[Node] = {*d_carries, *[n for n in adjoint_nodes if isinstance(n, Project) and depth in n.steps]}
    stacked = _stacked_values([d_x for _, d_x in outside], _reading(adjoint_nodes, sequential))
    loop = replace_nodes([*d_nexts, *stacked], values, depth)
    reverse = scan(
        source.length, depth, d_carries, d_inits, loop[: len(floats)], loop[len(floats) :], not source.reverse
    )
    values.update({n: _row(project(reverse, "stack", k), t) for k, n in enumerate(stacked)})
    new = [
        (source.inits[k], _row(project(reverse, "states", m), first))
        for m, k in enumerate(floats)
        if source.inits[k] in active
    ]
    for x, d_x in outside:
        (per_step,) = replace_nodes([d_x], values, depth)
        new.append((x, sum_over_steps(per_step, source.length, depth)))
    return new


def _reading(order: Sequence[Node], targets: set[Node]) -> set[Node]:
    """The nodes of `order` that are or depend on one of the targets."""
    found = {n for n in order if n in targets}
    for node in order:
        if any(x in found for x in inputs(node)):
            found.add(node)
    return found


def _kept_values(adjoint_nodes: Sequence[Node], body: Sequence[Node]) -> list[Node]:
    """The forward values of a step that the adjoint reads and that cost more than a few additions to compute again."""
    wanted: set[Node] = set()
    for node in adjoint_nodes:
        wanted.update(inputs(node))
    kept: list[Node] = []
    for node in reversed(body):
        if node in wanted and isinstance(node, (Compute, Project)):
            if isinstance(node, Compute) and _is_cheap(node):
                wanted.update(inputs(node))
            else:
                kept.append(node)
    return kept[::-1]


def _stacked_values(contributions: Sequence[Node], carried: set[Node]) -> list[Node]:
    """The values of a step that the contributions to outside tensors read, and that no formula gives for all steps.

    They depend on the carried adjoints or on a scan inside the step.
    """
    wanted: dict[Node, None] = {}
    for d_x in contributions:
        if isinstance(d_x, Compute) and d_x.reducer in ("none", "sum"):
            wanted.update(dict.fromkeys(n for n in inputs(d_x) if n in carried))
        elif d_x in carried:
            wanted[d_x] = None
    return list(wanted)


def _is_cheap(node: Compute) -> bool:
    return node.reducer == "none" and sum(x.function.cost for x in walk(node.body) if isinstance(x, Call)) <= 3


def _row(stack: Node, at: Scalar) -> Node:
    rank = len(stack.shape) - 1
    return pointwise(stack.shape[1:], load(stack, [at, *[position(k) for k in range(rank)]]))
