"""Every transcendental gets a node of its own, so that its adjoint reads its output instead of computing it again.

In: nodes as the user wrote them, after `stabilize`. Out: the same values; `branches` and `differentiate` come next, and
the schedule fuses the pieces back.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Node, all_inputs, compute, pointwise
from gradgen.graph.scalar import FLOATS, Call, Load, Poly, Scalar, load, position, substitute, walk
from gradgen.passes.inline import at, is_pointwise, positions_of
from gradgen.passes.substitute import map_nodes

__all__ = ["split"]

_TRANSCENDENTAL = 10.0  # from this cost on, computing a value again is dearer than reading it


def split(roots: Sequence[Node], keep: frozenset[Node] = frozenset()) -> list[Node]:
    """f(x[i]) inside a larger body becomes F[i] with F[i] = f(x[i]), for every expensive f that is always evaluated.

    Branches of `where` are left alone (they may not be evaluated at all), and so is what reads no tensor. Nodes in
    `keep` stay as they are, with everything below them: they are what a gradient is taken by.
    """
    return map_nodes(
        roots, lambda n: None if n in keep else _split_node(n), lambda n: () if n in keep else all_inputs(n)
    )


def _split_node(node: Node) -> Node | None:
    if not isinstance(node, Compute):
        return None
    body = node.body
    while (x := _innermost(body, is_pointwise(node))) is not None:
        body = substitute(body, {}, {x: _node_of(x, node.extents)})
    return None if body is node.body else compute(node.shape, node.extents, node.target, node.reducer, body)


def _innermost(body: Scalar, whole_stays: bool) -> Scalar | None:
    """The first transcendental of a body that has none inside it; log(1 + exp(x)) gives the one for exp."""
    evaluated = always_evaluated(body)
    found = (x for x in walk(body) if x in evaluated and is_transcendental(x) and not (whole_stays and x is body))
    return next(found, None)


def _node_of(x: Scalar, extents: Sequence[Poly]) -> Load:
    """The access of a new pointwise node over exactly the positions that an expression mentions."""
    used = positions_of(x)
    places = [position(0)] * (max(used, default=-1) + 1)
    for new, old in enumerate(used):
        places[old] = position(new)
    return load(pointwise([extents[k] for k in used], at(x, places)), [position(k) for k in used])


def is_transcendental(x: Scalar) -> bool:
    return (
        isinstance(x, Call)
        and x.dtype in FLOATS
        and x.function.cost >= _TRANSCENDENTAL
        and any(isinstance(part, Load) for part in walk(x))
    )


def always_evaluated(root: Scalar) -> set[Scalar]:
    """The parts of an expression that no `where`, `and` or `or` can skip; subscripts are not looked into."""
    found: set[Scalar] = set()
    stack = [root]
    while stack:
        x = stack.pop()
        if x in found:
            continue
        found.add(x)
        if isinstance(x, Call):
            lazy = x.function.name in ("where", "and", "or")
            stack.extend(x.arguments[:1] if lazy else x.arguments)
    return found
