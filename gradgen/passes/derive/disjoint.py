"""Terms of a sum that add to different places of a tensor, as one formula that chooses among them.

In: contributions to one adjoint, as `derive` finds them. Out: fewer terms with the same sum: what was read as
x[0], x[1], ... has the adjoint of a stack, and not a sum of tensors that are 0 but for one row each.
"""

from collections.abc import Sequence

from gradgen.graph.axes import chosen
from gradgen.graph.canonical import bare_position
from gradgen.graph.nodes import Compute, Node, pointwise
from gradgen.graph.origin import carry_place
from gradgen.graph.scalar import Scalar, call, integer, number, position
from gradgen.passes.rebuild.look_through import at

__all__ = ["side_by_side"]

FEWEST = 4  # rows from which on a choice is shorter than a sum


def side_by_side(terms: Sequence[Node]) -> list[Node]:
    """T1[3, i] += a[i], T2[5, i] += b[i], ... -> T[n, i] = a[i] if n == 3 else b[i] if n == 5 else 0, by halves."""
    rows: dict[int, dict[int, list[Compute]]] = {}
    others: list[Node] = []
    for term in terms:
        found = _row(term)
        if found is None:
            others.append(term)
        else:
            axis, place = found
            assert isinstance(term, Compute)
            rows.setdefault(axis, {}).setdefault(place, []).append(term)
    for axis, places in rows.items():
        several = [term for same in places.values() for term in same]
        others += several if len(places) < FEWEST else [_choice(axis, places)]
    return [*terms] if len(others) == len(terms) else others


def _row(term: Node) -> tuple[int, int] | None:
    """The axis and the number of the one row that a contribution adds to, once."""
    if not isinstance(term, Compute) or term.reducer != "sum" or len(term.extents) != len(term.shape) - 1:
        return None
    numbered = [k for k, s in enumerate(term.target) if s.constant is not None]
    if len(numbered) != 1:
        return None
    axis = numbered[0]
    rest = [bare_position(s) for k, s in enumerate(term.target) if k != axis]
    place, shape = term.target[axis].constant, [e for k, e in enumerate(term.shape) if k != axis]
    aligned = rest == list(range(len(rest))) and all(a is b for a, b in zip(term.extents, shape, strict=True))
    return (axis, place) if aligned and place is not None and place >= 0 else None


def _choice(axis: int, places: dict[int, list[Compute]]) -> Node:
    term = next(iter(places.values()))[0]
    subscripts = [position(k) for k in range(len(term.shape)) if k != axis]
    zero = call(term.dtype, number(0))
    parts: list[Scalar] = []
    ends: list[int] = []
    for place in sorted(places):
        if place > (ends[-1] if ends else 0):
            parts, ends = [*parts, zero], [*ends, place]
        value, *more = (call(term.dtype, at(t.body, subscripts)) for t in places[place])
        for other in more:
            value = call("add", value, other)
        parts, ends = [*parts, value], [*ends, place + 1]
    if term.shape[axis].constant != ends[-1]:
        parts, ends = [*parts, zero], [*ends, ends[-1] + 1]
    node = pointwise(term.shape, chosen(position(axis), parts, [integer(end) for end in ends]))
    carry_place(term, node)
    return node
