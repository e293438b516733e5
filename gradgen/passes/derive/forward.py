"""Forward mode over graphs: the tangent of every node, beside it.

In: nodes after `split`. Out: nodes of the tangent program. The chain rule inside one formula is in
`chain_rule`, reverse mode in `reverse`.
"""

from collections.abc import Mapping, Sequence

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
    inputs,
    project,
    reshape,
    scan_like,
    toposort,
)
from gradgen.graph.origin import name_derivative, origin
from gradgen.graph.scalar import FLOATS, call, load, number
from gradgen.passes.derive.chain_rule import is_chosen, node_derivatives, plus, reducer_weight, times
from gradgen.passes.derive.contributions import zeros_like
from gradgen.passes.derive.linear import is_linear
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.derive.scan_adjoint import free_number


def jvp_nodes(outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node]) -> list[Node]:
    """t_y for every output y: the sum over x in `wrt` of (dy/dx) t_x, in forward mode."""
    known = dict(zip(wrt, tangents, strict=True))
    _forward(outputs, known)
    return [known[y] if y in known else zeros_like(y) for y in outputs]


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
            else call("where", is_chosen(node), total, number(0))
        )
    return compute(node.shape, node.extents, node.target, reducer, call(node.dtype, total))


def scan_tangents(source: Scan, known: dict[Node, Node]) -> dict[Node, Node]:
    """The tangents of every result of a scan: one scan that carries states and tangents side by side."""
    count = len(source.carries)
    floats = [k for k, c in enumerate(source.carries) if c.dtype in FLOATS]
    free = free_number(source)
    twins = {k: carry(free + k, source.carries[k].shape, source.carries[k].dtype, source.depth) for k in floats}
    inside: dict[Node, Node] = dict(known)
    inside.update({source.carries[k]: t for k, t in twins.items()})
    _forward(list(body_nodes(source)), inside)
    inits, nexts = [source.inits[k] for k in floats], [source.nexts[k] for k in floats]
    joint = scan_like(
        source,
        [*source.carries, *twins.values()],
        [*source.inits, *[known[n] if n in known else zeros_like(n) for n in inits]],
        [*source.nexts, *[inside[n] if n in inside else zeros_like(n) for n in nexts]],
        [inside[n] if n in inside else zeros_like(n) for n in source.outputs],
    )
    found: dict[Node, Node] = {}
    for m, k in enumerate(floats):
        found[project(source, "states", k)] = project(joint, "states", count + m)
    for k, y in enumerate(source.outputs):
        if y.dtype in FLOATS:
            found[project(source, "stack", k)] = project(joint, "stack", k)
    return found
