"""Two short axes that all formulas of a group walk through together become one long axis.

In: nodes whose products are decided. Out: nodes with the same values, over other shapes of the same memory. An image of
28 x 28 is 784 elements to whatever works element by element or sums them all up: a loop over 28 of them is over before
a processor's vectors are full.
"""

from collections.abc import Iterator, Mapping, Sequence, Set

from gradgen.graph.canonical import bare_position
from gradgen.graph.nodes import Compute, Node, all_inputs, compute, product, reshape, toposort
from gradgen.graph.origin import carry_merged, carry_origin
from gradgen.graph.scalar import (
    Load,
    Poly,
    Scalar,
    children,
    load,
    loads,
    position,
    position_atom,
    positions_of,
    require_poly,
    substitute,
)
from gradgen.machine import machine
from gradgen.passes.rebuild.nodes import rebuild
from gradgen.passes.rewrite.contract import classify
from gradgen.passes.rewrite.outer_products import affine_sum
from gradgen.program.cost import volume

__all__ = ["merge_axes"]

Pair = tuple[int, int]  # two positions of a formula, the second of which runs through neighbours in memory
_ROUNDS = 8


def merge_axes(roots: Sequence[Node]) -> list[Node]:
    """Merge while there are groups that agree, two axes at a time."""
    current = list(roots)
    for _ in range(_ROUNDS):
        chosen = _chosen(toposort(current, all_inputs))
        if not chosen:
            break
        current = _merged(current, chosen)
    return current


# ---------------------------------------------------------------- which


def _chosen(order: Sequence[Node]) -> dict[Compute, Pair]:
    """For every formula of a group that agrees the two positions that it merges."""
    walked = [n for n in order if isinstance(n, Compute) and not _reads_memory(n)]
    pairs = {n: found for n in walked if (found := set(_pairs(n)))}
    readers: dict[Node, list[Node]] = {}
    for node in order:
        for n in all_inputs(node):
            readers.setdefault(n, []).append(node)
    inner = set(walked)
    links: dict[tuple[Compute, Pair], list[tuple[Compute, Pair]]] = {}
    while True:
        alone = {
            (node, pair)
            for node, found in pairs.items()
            for pair in found
            if not _agree(links.setdefault((node, pair), _linked(node, pair, readers, inner)), pairs)
        }
        if not alone:
            break
        for node, pair in alone:
            pairs[node].discard(pair)
    chosen: dict[Compute, Pair] = {}
    for node, found in pairs.items():
        for pair in sorted(found, reverse=True):
            group = _group((node, pair), links)
            if any(_pays(n, p) for n, p in group.items()) and not any(n in chosen for n in group):
                chosen |= group
    return chosen


def _reads_memory(node: Compute) -> bool:
    """Whether a formula is no loop that others share: a product, or a sum into places that data choose."""
    return not node.gathers or classify(node) is not None or affine_sum(node) is not None


def _pays(node: Compute, pair: Pair) -> bool:
    """Whether the innermost of three loops or more is short, and has much to do: matrices keep their rows."""
    extent = node.extents[pair[1]].constant
    is_short = extent is not None and 1 < extent < machine().short and pair[1] == len(node.extents) - 1
    return is_short and len(node.extents) > 2 and volume(node.extents) >= machine().merged


def _pairs(node: Compute) -> Iterator[Pair]:
    """The positions that every access has side by side, where nothing else mentions them."""
    if node.steps or node.reducer in ("argmax", "argmin"):
        return
    outer, free = _outer_loads(node.body)
    beside: dict[int, set[Pair | None]] = {}  # by position, the pairs that accesses have it in
    for access in outer:
        found = dict(_side_by_side(node, access))
        mentioned = [k for s in access.subscripts for k in positions_of(s)]
        for k in set(mentioned):
            beside.setdefault(k, set()).add(found.get(k) if mentioned.count(k) == 1 else None)
    rank = len(node.shape)
    for pair in {p for some in beside.values() for p in some if p is not None}:
        first, second = pair
        together = second == first + 1 if second < rank else first >= rank
        sizes = [node.extents[k].constant for k in pair]
        if together and beside[first] == beside[second] == {pair} and free.isdisjoint(pair) and all(sizes):
            yield pair


def _outer_loads(body: Scalar) -> tuple[list[Load], set[int]]:
    """The accesses of a formula that are in no subscript, and the positions that are numbers in it."""
    found: dict[Load, None] = {}
    free: set[int] = set()
    pending, seen = [body], set[Scalar]()
    while pending:
        x = pending.pop()
        if x in seen:
            continue
        seen.add(x)
        if isinstance(x, Load):
            found[x] = None
        elif isinstance(x, Poly) and x.parts:
            pending += children(x)
            free.update(positions_of(x))
        elif isinstance(x, Poly):
            free.update(positions_of(x))
        else:
            pending += children(x)
    return list(found), free


def _side_by_side(node: Compute, access: Load) -> Iterator[tuple[int, Pair]]:
    """The positions of an access that run through neighbouring axes from end to end, and the pair that they are."""
    at = [bare_position(s) for s in access.subscripts]
    whole = [k is not None and node.extents[k] is size for k, size in zip(at, access.tensor.shape, strict=True)]
    axis = len(at) - 2
    while axis >= 0:
        first, second = at[axis], at[axis + 1]
        if first is not None and second is not None and whole[axis] and whole[axis + 1]:
            yield first, (first, second)
            yield second, (first, second)
            axis -= 1
        axis -= 1


def _linked(
    node: Compute, pair: Pair, readers: Mapping[Node, Sequence[Node]], inner: Set[Compute]
) -> list[tuple[Compute, Pair]]:
    """What has to merge with a formula: formulas that it reads along the pair, and those that read it so.

    A reader that reads otherwise is named with a pair that no formula has.
    """
    found: list[tuple[Compute, Pair]] = []
    for access in _outer_loads(node.body)[0]:
        tensor = access.tensor
        if isinstance(tensor, Compute) and tensor in inner:
            at = [bare_position(s) for s in access.subscripts]
            if pair[0] in at:
                axis = at.index(pair[0])
                found.append((tensor, (axis, axis + 1)))
    if pair[1] < len(node.shape):
        for reader in readers.get(node, ()):
            if isinstance(reader, Compute) and reader in inner:
                for access in loads(reader.body):
                    if access.tensor is node:
                        first, second = (bare_position(access.subscripts[k]) for k in pair)
                        found.append((reader, (-1 if first is None else first, -1 if second is None else second)))
    return found


def _agree(linked: Sequence[tuple[Compute, Pair]], pairs: Mapping[Compute, Set[Pair]]) -> bool:
    return all(pair in pairs.get(node, ()) for node, pair in linked)


def _group(
    start: tuple[Compute, Pair], links: Mapping[tuple[Compute, Pair], Sequence[tuple[Compute, Pair]]]
) -> dict[Compute, Pair]:
    """All that merge together; nothing where a formula would have to merge two pairs at once."""
    found: dict[Compute, Pair] = {}
    pending = [start]
    while pending:
        node, pair = pending.pop()
        if node not in found:
            found[node] = pair
            pending += links[node, pair]
        elif found[node] != pair:
            return {}
    return found


# ---------------------------------------------------------------- how


def _merged(roots: Sequence[Node], chosen: Mapping[Compute, Pair]) -> list[Node]:
    built: dict[Node, Node] = {}
    for node in toposort(roots, all_inputs):
        new = rebuild(node, built)
        if isinstance(node, Compute) and isinstance(new, Compute) and node in chosen:
            merged = _with_one(new, chosen[node])
            carry_merged(node, merged, chosen[node][1])
            built[node] = reshape(merged, node.shape)
        else:
            built[node] = new
            if new is not node:
                carry_origin(node, new)
    return [built[root] for root in roots]


def _with_one(node: Compute, pair: Pair) -> Node:
    """The formula with one position for two."""
    first, second = pair
    size = product(node.extents[k] for k in pair)
    reads = (x for x in _outer_loads(node.body)[0] if first in positions_of(*x.subscripts))
    accesses: dict[Scalar, Scalar] = {x: _along(x, pair, size) for x in reads}
    later = {position_atom(k): position(k - 1) for k in range(second + 1, len(node.extents))}
    body = substitute(substitute(node.body, {}, accesses), later)
    extents = [size if k == first else extent for k, extent in enumerate(node.extents) if k != second]
    shape = extents[: len(node.shape) - (second < len(node.shape))]
    return compute(shape, extents, [position(k) for k in range(len(shape))], node.reducer, body)


def _along(access: Load, pair: Pair, size: Poly) -> Load:
    axis = next(k for k, s in enumerate(access.subscripts) if bare_position(s) == pair[0])
    shape = [*access.tensor.shape[:axis], size, *access.tensor.shape[axis + 2 :]]
    subscripts = [*access.subscripts[: axis + 1], *access.subscripts[axis + 2 :]]
    return load(reshape(access.tensor, shape), map(require_poly, subscripts))
