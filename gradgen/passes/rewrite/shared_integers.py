"""Integers that a formula reads several times become nodes, so that they are computed and written once.

In: nodes after differentiation. Out: the same values; `simplify` comes next, and the schedule fuses the pieces back.
"""

from collections.abc import Collection, Sequence
from functools import partial

from gradgen.graph.nodes import Compute, Node, compute
from gradgen.graph.scalar import (
    Call,
    FloorDiv,
    Load,
    Poly,
    Scalar,
    certain,
    evaluated_parts,
    positions_of,
    substitute,
    walk,
)
from gradgen.graph.shared import shared_integer
from gradgen.passes.prepare.split import node_of
from gradgen.passes.rebuild.nodes import map_nodes

__all__ = ["share_integers"]


def share_integers(roots: Sequence[Node]) -> list[Node]:
    """Only what is evaluated in any case, or reads nothing and divides by nothing that could be 0."""
    return map_nodes(roots, _with_shared_integers)


def _with_shared_integers(node: Node) -> Node | None:
    if not isinstance(node, Compute):
        return None
    body = node.body
    while (x := shared_integer(body, partial(_is_computed, certain(body, parts=_outside_of_accesses)))) is not None:
        body = substitute(body, {}, {x: node_of(x, node.extents)})
    return None if body is node.body else compute(node.shape, node.extents, node.target, node.reducer, body)


def _is_computed(evaluated: Collection[Scalar], x: Scalar) -> bool:
    """Whether a part may be computed for every position that it mentions."""
    return bool(positions_of(x)) and (
        x in evaluated or not any(isinstance(part, Load) or _may_fail(part) for part in walk(x))
    )


def _may_fail(x: Scalar) -> bool:
    """Whether an integer is divided by something that is no number."""
    if isinstance(x, Call):
        return x.function.name in ("floordiv", "mod")
    return isinstance(x, Poly) and any(isinstance(a, FloorDiv) and a.denominator.constant is None for a in x.atoms)


def _outside_of_accesses(x: Scalar) -> tuple[Scalar, ...]:
    """What is evaluated with an expression, subscripts left out."""
    return () if isinstance(x, Load) else evaluated_parts(x)
