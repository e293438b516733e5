"""Reverse mode over graphs: one rule for a formula, one for a scan.

In: nodes after `split`. Out: nodes of the adjoint program; `simplify` and `gather` come next. The chain
rule inside one formula is in `chain_rule`, forward mode in `forward`; nothing else knows
calculus.
"""

from collections import Counter
from collections.abc import Iterable, Sequence, Set

from gradgen.errors import GraphError
from gradgen.graph.nodes import (
    Compute,
    Custom,
    Node,
    Project,
    Reshape,
    Scan,
    compute,
    inputs,
    reshape,
    same_shape,
    show_shape,
    toposort,
)
from gradgen.graph.origin import carry_place, name_derivative, name_part
from gradgen.graph.scalar import is_zero, load
from gradgen.passes.derive.chain_rule import node_derivatives, reducer_weight
from gradgen.passes.derive.contributions import Contribution, running_sums, zeros_like
from gradgen.passes.derive.disjoint import side_by_side
from gradgen.passes.derive.given import given_adjoints
from gradgen.passes.derive.scan_adjoint import depending, scan_adjoint
from gradgen.passes.derive.supports import (
    EVERYWHERE,
    Support,
    either,
    masked,
    read_supports,
    reshaped_support,
)


def vjp_nodes(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """d_x for every x in `wrt`, floats: the sum over outputs y of (dy/dx)^T d_y. Every x is a cut of the graph."""
    for y, d_y in zip(outputs, cotangents, strict=True):
        if not same_shape(y.shape, d_y.shape):
            raise GraphError(f"the cotangent of a {show_shape(y.shape)} tensor has shape {show_shape(d_y.shape)}")
    adjoints = _reverse(outputs, cotangents, wrt)
    return [adjoints[x] if x in adjoints else zeros_like(x) for x in wrt]


# ---------------------------------------------------------------- reverse mode


def _reverse(outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Iterable[Node]) -> dict[Node, Node]:
    """The adjoint of every node between the outputs and `wrt`."""
    cuts = set(wrt)
    order = toposort(outputs, lambda n: () if n in cuts else inputs(n))
    contributions: dict[Node, list[Contribution]] = {}
    for y, d_y in zip(outputs, cotangents, strict=True):
        contributions.setdefault(y, []).append(Contribution(y, d_y, EVERYWHERE))
    adjoints, _ = _propagate(order, contributions, depending(order, cuts), cuts)
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
            *partial, adjoints[node] = running_sums(side_by_side(terms))
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
                new = scan_adjoint(node.scan, results[node.scan], active, cuts, _propagate)
        elif node in adjoints:
            new = node_adjoint(node, adjoints[node], active, supports[node], cuts)
        for term in new:
            carry_place(node, term.adjoint, "d_")
            contributions.setdefault(term.to, []).append(term)
    return adjoints, supports


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
            bodies = (
                (x, masked(derivative, node, d_node, support)) for x, derivative in node_derivatives(node, seed, active)
            )
            return [
                Contribution(
                    access.tensor,
                    compute(access.tensor.shape, node.extents, access.subscripts, "sum", body),
                    supports.get(access, EVERYWHERE),
                )
                for access, body in bodies
                if not is_zero(body)  # 0 wherever it would be added, and that need not be inside
            ]
        case Custom():
            pairs = zip(node.operands, given_adjoints(node, d_node, support), strict=True)
            return [Contribution(x, d_x, where) for x, (d_x, where) in pairs if x in active]
    return []
