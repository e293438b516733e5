"""Sums of products as matrix products: which indices are rows, columns, summed, or looped over; what must be packed.

In: gathered nodes. Out: the same graph in which the two operands of a large contraction are matrices in memory,
packed by a formula of their own where they are not; `classify` tells `schedule` what each one is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

from gradgen.graph.accesses import accesses, is_inside, known, ranges_of
from gradgen.graph.canonical import bare_position
from gradgen.graph.nodes import Compute, Node, Shape, compute, pointwise
from gradgen.graph.scalar import (
    FLOATS,
    Load,
    Poly,
    Position,
    Scalar,
    call,
    load,
    number,
    position,
    position_atom,
    positions_of,
    require_poly,
    substitute,
    walk,
)
from gradgen.graph.sizes import Ranges, index_atoms, is_index_only
from gradgen.machine import machine
from gradgen.passes.rebuild.by_node import by_node
from gradgen.passes.rebuild.conditions import conjunction
from gradgen.passes.rebuild.formulas import map_formulas
from gradgen.passes.rebuild.products import is_zero_outside, split_factors, without_hiding
from gradgen.passes.rewrite.outer_products import affine_sum
from gradgen.program.cost import volume


@dataclass(frozen=True, slots=True)
class Contraction:
    """out[loops, rows, columns] = sum over summed of left[rows, summed] * right[summed, columns], in any layout.

    All are positions of the node. `loops` and `summed_loops` stay loops around the product; `left` and `right` are
    accesses with bare subscripts, behind leading ones that are fixed. `transposed_*` says that the matrix lies in
    memory the other way round.
    """

    left: Load
    right: Load
    loops: tuple[int, ...]
    summed_loops: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    summed: tuple[int, ...]
    left_transposed: bool
    right_transposed: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Factors of one operand, with the conditions under which they count, and the positions they mention."""

    factors: tuple[Scalar, ...]
    conditions: tuple[Scalar, ...]
    positions: frozenset[int]


# ---------------------------------------------------------------- recognition


@by_node
def classify(node: Node) -> Contraction | None:
    """The matrix product that a node is as it stands, or None where loops serve it better."""
    if not isinstance(node, Compute) or node.reducer != "sum" or not node.gathers or node.dtype not in FLOATS:
        return None
    split = without_hiding(node.body)
    if split is None:
        return None
    left, right, conditions, _ = split
    if not all(is_zero_outside(left, c) or is_zero_outside(right, c) for c in conditions):
        return None
    if left.dtype != node.dtype or right.dtype != node.dtype:
        return None
    if _windows(left, node) is None or _windows(right, node) is None:
        return None
    return _arrange(node, left, right) or _arrange(node, right, left)


@dataclass(frozen=True, slots=True)
class Window:
    """An axis read from `start` on by the whole range of a position; `whole` where that is all of the axis."""

    position: int
    start: Poly
    whole: bool


def _fixed(access: Load) -> int:
    """How many leading subscripts mention no position and no data: the row of a stack in which a matrix lies."""
    free = (k for k, s in enumerate(access.subscripts) if positions_of(s) or not is_index_only(s))
    return next(free, len(access.subscripts))


def _windows(access: Load, node: Compute) -> tuple[Window, ...] | None:
    """What every axis behind the fixed ones reads, where each is a distinct position plus a number."""
    found = []
    lead = _fixed(access)
    for s, size in zip(access.subscripts[lead:], access.tensor.shape[lead:], strict=True):
        positions = [a.position for a in s.atoms if isinstance(a, Position)]
        if len(positions) != 1:
            return None
        start = require_poly(s - position(positions[0]))
        if index_atoms(start) or (start.constant is not None and start.constant < 0):
            return None
        whole = start.constant == 0 and node.extents[positions[0]] is size
        found.append(Window(positions[0], start, whole))
    return tuple(found) if len({w.position for w in found}) == len(found) else None


def first_row(access: Load, node: Compute, fixed: int) -> Poly | None:
    """Where the matrix begins on the first axis that is not fixed, if it is not all of that axis."""
    windows = _windows(access, node)
    assert windows is not None
    at = fixed - _fixed(access)
    return None if len(windows) == at or windows[at].whole else windows[at].start


def _bare(access: Load) -> tuple[int, ...] | None:
    """The positions of an access whose subscripts are distinct bare positions, behind those that are fixed."""
    subscripts = access.subscripts[_fixed(access) :]
    found = [p for p in map(bare_position, subscripts) if p is not None]
    return tuple(found) if len(set(found)) == len(subscripts) else None


def _arrange(node: Compute, left: Load, right: Load) -> Contraction | None:
    """The arrangement with the fewest loops around the product."""
    left_windows, right_windows = _windows(left, node), _windows(right, node)
    assert left_windows is not None
    assert right_windows is not None
    a, b = tuple(w.position for w in left_windows), tuple(w.position for w in right_windows)
    rank, reduced = len(node.shape), tuple(node.reduced)
    for count in range(rank):
        for looped in (k for size in range(len(reduced)) for k in combinations(reduced, size)):
            fixed = (*range(count), *looped)
            rest_a, rest_b = _after(a, fixed), _after(b, fixed)
            if rest_a is None or rest_b is None:
                continue
            if not all(
                w.whole for w in (*left_windows[len(a) - len(rest_a) + 1 :], *right_windows[len(b) - len(rest_b) + 1 :])
            ):
                continue  # only the first axis of a matrix may be a part of the tensor's
            out = tuple(range(count, rank))
            rows = tuple(k for k in out if k in rest_a)
            columns = tuple(k for k in out if k in rest_b)
            summed = tuple(k for k in rest_a if k in rest_b)
            if out != rows + columns or not summed or set(summed) != set(reduced) - set(looped):
                continue
            left_transposed = rest_a == summed + rows
            right_transposed = rest_b == columns + summed
            if (left_transposed or rest_a == rows + summed) and (right_transposed or rest_b == summed + columns):
                found = Contraction(
                    left, right, tuple(range(count)), looped, rows, columns, summed, left_transposed, right_transposed
                )
                if _pays(node.extents, found.rows, found.columns, found.summed):
                    return found
    return None


def _after(positions: tuple[int, ...], fixed: Sequence[int]) -> tuple[int, ...] | None:
    """What follows the leading fixed positions; None if a fixed one stands further back."""
    lead = 0
    while lead < len(positions) and positions[lead] in fixed:
        lead += 1
    rest = positions[lead:]
    return None if any(k in fixed for k in rest) else rest


def _pays(extents: Shape, rows: Sequence[int], columns: Sequence[int], summed: Sequence[int]) -> bool:
    sides = [volume([extents[k] for k in group]) for group in (rows, columns, summed)]
    usual = machine()
    if sum(side == 1 for side in sides) > 1:
        return False  # one of the three matrices is a number
    return math.prod(sides) >= usual.product and min(sides[1:]) >= usual.side and sides[0] >= 1


# ---------------------------------------------------------------- packing


def contract(roots: Sequence[Node]) -> list[Node]:
    """Give every contraction that is large enough operands that are matrices in memory."""

    def change(node: Compute, lengths: Mapping[int, Poly]) -> Node:
        packed = pack_operands(node, lengths)
        return node if packed is None else packed

    return map_formulas(roots, change)


def pack_operands(node: Node, lengths: Mapping[int, Poly] = MappingProxyType({})) -> Node | None:
    """sum of a product of factors -> sum of left * right, each a matrix in memory or packed into one."""
    if not isinstance(node, Compute) or node.reducer != "sum" or not node.gathers or node.dtype not in FLOATS:
        return None
    if classify(node) is not None or affine_sum(node) is not None:
        return None
    split = split_factors(node.body)
    if split is None:
        return None
    (factors, conditions), ranges = split, ranges_of(node.extents, lengths)
    best = _best_groups(node, factors, conditions, ranges)
    by_index = _stays_inside(factors, ranges, ())  # else conditions on indices keep the reads inside
    hiding = [c for c in conditions if by_index or not is_index_only(c)]
    return None if best is None else _packed(node, *best, hiding, lengths)


def _best_groups(
    node: Compute, factors: list[Scalar], conditions: list[Scalar], ranges: Ranges
) -> tuple[Group, Group] | None:
    """The two groups of factors that make a product worth a BLAS call and leave the least to pack."""
    if len(factors) > 5:
        return None
    best: tuple[float, tuple[Group, Group]] | None = None
    for size in range(1, len(factors)):
        for chosen in combinations(range(len(factors)), size):
            if 0 not in chosen:
                continue
            groups = _grouped(factors, conditions, ranges, frozenset(chosen))
            if groups is None or not _is_product(node, *groups):
                continue
            cost = sum(volume([node.extents[k] for k in g.positions]) for g in groups if not _is_plain(g))
            if best is None or cost < best[0]:
                best = cost, groups
    return None if best is None else best[1]


def _grouped(
    factors: list[Scalar], conditions: list[Scalar], ranges: Ranges, chosen: frozenset[int]
) -> tuple[Group, Group] | None:
    """Two operands, each with all conditions that its reads need; the others go where something is packed anyway."""
    sides = [[f for k, f in enumerate(factors) if (k in chosen) is first] for first in (True, False)]
    covered = [frozenset(positions_of(*side)) for side in sides]
    fitting = [dict.fromkeys(c for c in conditions if positions.issuperset(positions_of(c))) for positions in covered]
    assigned: tuple[dict[Scalar, None], dict[Scalar, None]] = ({}, {})
    for side, own, fit in zip(sides, assigned, fitting, strict=True):
        if not _stays_inside(side, ranges, ()):
            own.update(fit)
            if len(fit) < len(conditions) and not _stays_inside(side, ranges, fit):
                return None
    for condition in conditions:
        if any(len(side) == 1 and is_zero_outside(side[0], condition) for side in sides):
            continue
        possible = [k for k in (0, 1) if condition in fitting[k]]
        if not possible:
            return None
        if condition not in assigned[0] and condition not in assigned[1]:
            packed = [k for k in possible if not isinstance(sides[k][0], Load) or len(sides[k]) > 1 or assigned[k]]
            affine = [k for k in possible if k not in packed and _bare_or_none(sides[k][0]) is None]
            assigned[(packed or affine or possible)[0]][condition] = None
    return (
        Group(tuple(sides[0]), tuple(assigned[0]), covered[0]),
        Group(tuple(sides[1]), tuple(assigned[1]), covered[1]),
    )


def _stays_inside(factors: Sequence[Scalar], ranges: Ranges, conditions: Iterable[Scalar]) -> bool:
    """Whether every read of an operand is proved to stay inside where these conditions hold."""
    facts = [fact for condition in conditions for fact in known(condition, True)]
    return all(is_inside(a, ranges, [*a.facts, *facts]) for a in accesses((), *factors))


def _bare_or_none(x: Scalar) -> tuple[int, ...] | None:
    return _bare(x) if isinstance(x, Load) else None


def _is_plain(group: Group) -> bool:
    return len(group.factors) == 1 and not group.conditions and _bare_or_none(group.factors[0]) is not None


def _is_product(node: Compute, left: Group, right: Group) -> bool:
    out = range(len(node.shape))
    rows = [k for k in out if k in left.positions - right.positions]
    columns = [k for k in out if k in right.positions - left.positions]
    summed = [k for k in node.reduced if k in left.positions & right.positions]
    covered = left.positions | right.positions
    return set(range(len(node.extents))) == covered and _pays(node.extents, rows, columns, summed) and bool(rows)


def _packed(
    node: Compute, left: Group, right: Group, hidden: Sequence[Scalar], lengths: Mapping[int, Poly]
) -> Node | None:
    """The contraction over packed operands, the one with the smaller loop count of the two orders of the operands.

    The conditions that hide values stay around the product.
    """
    rank = len(node.shape)
    batch = left.positions & right.positions & set(range(rank))
    loops = max(batch, default=-1) + 1
    while True:  # leading output axes become loops until the others are rows, then columns (or the other way round)
        rest = list(range(loops, rank))
        sides = [k in left.positions for k in rest]
        if sides == sorted(sides) or sides == sorted(sides, reverse=True):
            break
        loops += 1
    if not rest or all(sides) or not any(sides):
        return _batch_first(node, [k for k in range(rank) if k in batch], lengths)
    summed = [k for k in node.reduced if k in left.positions & right.positions]
    looped = _summed_loops(left, right, loops, summed)
    first, second = _pack(node, left, loops, looped, summed), _pack(node, right, loops, looped, summed)
    kept = [*range(rank), *summed]  # what one operand alone mentions is summed when that is packed
    moved = {position_atom(old): position(new) for new, old in enumerate(kept)}
    if not set(positions_of(*hidden)) <= set(kept):
        return None
    body = call("mul", first, second)
    if hidden:
        body = call("where", conjunction(hidden), body, number(0))
    body = substitute(body, moved)
    new = compute(node.shape, [node.extents[k] for k in kept], node.target, "sum", body)
    return None if classify(new) is None else new


def _batch_first(node: Compute, batch: list[int], lengths: Mapping[int, Poly]) -> Node | None:
    """out[n, k, i] = product[k, n, i]: an index of both operands that is not the first of the result is looped over."""
    rank = len(node.shape)
    order = [*batch, *(k for k in range(rank) if k not in batch)]
    if order == list(range(rank)):
        return None
    moved = {position_atom(old): position(new) for new, old in enumerate(order)}
    first = compute(
        [node.shape[k] for k in order],
        [*(node.extents[k] for k in order), *node.extents[rank:]],
        [position(k) for k in range(rank)],
        "sum",
        substitute(node.body, moved),
    )
    product = first if classify(first) is not None else pack_operands(first, lengths)
    return None if product is None else pointwise(node.shape, load(product, [position(k) for k in order]))


def _summed_loops(left: Group, right: Group, loops: int, summed: list[int]) -> list[int]:
    """Summed positions that become loops so that an operand that is a matrix in memory can stay where it is."""
    for group in (left, right):
        plain = _bare_or_none(group.factors[0]) if _is_plain(group) else None
        if plain is None:
            continue
        rest = [k for k in plain if k >= loops]
        for count in range(len(summed)):
            lead = rest[:count] if set(rest[:count]) <= set(summed) else None
            if lead is None:
                break
            inner = rest[count:]
            kinds = [k in summed for k in inner]
            if kinds in (sorted(kinds), sorted(kinds, reverse=True)):
                return lead
    return []


def _along(group: Group, positions: Sequence[int]) -> int:
    """How many accesses of an operand run along one of these positions in memory, so that it is copied in rows."""
    last = [frozenset(positions_of(*x.subscripts[-1:])) for f in group.factors for x in walk(f) if isinstance(x, Load)]
    return sum(not found.isdisjoint(positions) for found in last)


def _pack(node: Compute, group: Group, loops: int, looped: list[int], summed: list[int]) -> Load:
    """An operand as an access with bare subscripts: in place where it already is, else a formula that copies it."""
    inner = [k for k in summed if k not in looped]
    alone = sorted(group.positions.difference(range(len(node.shape)), summed))  # summed in this operand only
    if _is_plain(group) and not alone:
        access = group.factors[0]
        assert isinstance(access, Load)
        rest = _after(_bare(access) or (), [*range(loops), *looped])
        if rest is not None:
            kinds = [k in inner for k in rest]
            order = [k for k in rest if k in inner]
            if kinds in (sorted(kinds), sorted(kinds, reverse=True)) and order == inner:
                return access
    own = [k for k in range(loops, len(node.shape)) if k in group.positions]
    lead = [k for k in range(loops) if k in group.positions]
    order = (
        [*lead, *looped, *own, *inner] if _along(group, inner) >= _along(group, own) else [*lead, *looped, *inner, *own]
    )
    body = group.factors[0]
    for factor in group.factors[1:]:
        body = call("mul", body, factor)
    for condition in reversed(group.conditions):
        body = call("where", condition, body, number(0))
    moved = {position_atom(old): position(new) for new, old in enumerate([*order, *alone])}
    extents = [node.extents[k] for k in [*order, *alone]]
    packed = compute(
        extents[: len(order)],
        extents,
        [position(k) for k in range(len(order))],
        "sum" if alone else "none",
        substitute(body, moved),
    )
    return load(packed, [position(k) for k in order])
