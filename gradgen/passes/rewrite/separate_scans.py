"""Every scan gets carries of its own, and what is read in another shape inside a scan is whole.

In: nodes, last of all passes on graphs. Out: the same values; `schedule` and `storage` may now say of a carry, and of
what a body computes from it, in which loop it lives. Until then two scans whose carries have equal shapes share them,
because nodes are interned, and equal bodies are found to be equal.
"""

from collections.abc import Callable, Iterator, Sequence

from gradgen.graph.nodes import (
    Carry,
    Node,
    Project,
    Reshape,
    Scan,
    Shape,
    all_inputs,
    carry,
    pointwise,
    product,
    project,
    scan_like,
    toposort,
)
from gradgen.graph.scalar import Load, Poly, integer, load, position, require_poly
from gradgen.passes.rebuild.look_through import reshaped_access
from gradgen.passes.rebuild.nodes import map_nodes, replace_nodes

__all__ = ["separate", "separate_carries"]


def separate(roots: Sequence[Node]) -> list[Node]:
    """Scans that share a carry with one before them are written with others; reshapes in a body read no state.

    Scans inside them were equal and have become different by that, so it is done again until nothing changes.
    """
    return _until_stable(roots, lambda nodes: _with_whole_sources(separate_carries(nodes)))


def separate_carries(roots: Sequence[Node]) -> list[Node]:
    """Each scan with carries of its own, which is called after what it carries, as texts need it."""
    return _until_stable(roots, _once_separated)


def _until_stable(roots: Sequence[Node], change: Callable[[list[Node]], list[Node]]) -> list[Node]:
    current = list(roots)
    while True:
        changed = change(current)
        if all(new is old for new, old in zip(changed, current, strict=True)):
            return current
        current = changed


def _once_separated(roots: Sequence[Node]) -> list[Node]:
    owners: dict[Carry, Scan] = {}
    written: dict[Scan, Scan] = {}

    def change(node: Node) -> Node | None:
        if not isinstance(node, Project):
            return None
        source = node.scan
        if source not in written:
            shared = any(owners.get(c, source) is not source for c in source.carries)
            written[source] = _with_carries_from(source, _free(owners, source)) if shared else source
            owners.update(dict.fromkeys(written[source].carries, written[source]))
        return None if written[source] is source else project(written[source], node.kind, node.number)

    return map_nodes(roots, change)


def _with_whole_sources(roots: Sequence[Node]) -> list[Node]:
    """R = reshape(x) in a body becomes R[i, j] = x[...], where x is a state, or R one row of what all steps write.

    A reshape is a view, and nothing writes a view; in that of all states lies the one that a step makes of another.
    """
    scans = {n.scan for n in toposort(roots, all_inputs) if isinstance(n, Project)}
    states = {n for s in scans for n in (*s.carries, *s.nexts)}
    stacked = states.union(n for s in scans for n in s.outputs)

    def change(node: Node) -> Node | None:
        if not isinstance(node, Reshape) or not node.steps or (node not in stacked and node.source not in states):
            return None
        access = load(node, [position(k) for k in range(len(node.shape))])
        exact = reshaped_access(access)
        return pointwise(node.shape, _unravelled(access) if exact is None else exact)

    return _until_stable(roots, lambda nodes: map_nodes(nodes, change))


def _unravelled(access: Load) -> Load:
    """R[f] = source[g] for any reshape R: the place of the element in memory, and the subscripts of that place.

    Axes that become others among themselves are divided among themselves: X[i, k] = x[i, k // 4, k % 4].
    """
    node = access.tensor
    assert isinstance(node, Reshape)
    found: list[Poly] = []
    subscripts = list(access.subscripts)
    if any(extent.constant == 0 for extent in node.shape):
        return load(node.source, [integer(0) for _ in node.source.shape])  # nothing is read
    for own, others in _joint_axes(node.shape, node.source.shape):
        place = integer(0)
        for extent in own:
            place = require_poly(place * extent + subscripts.pop(0))
        first = next((k for k, extent in enumerate(others) if extent.constant != 1), None)
        divided: list[Poly] = []
        for k, extent in reversed([*enumerate(others)]):
            divided.append(place if k == first else require_poly(place % extent))
            place = require_poly(place // extent)
        found += reversed(divided)
    return load(node.source, found)


def _joint_axes(a: Shape, b: Shape) -> Iterator[tuple[Shape, Shape]]:
    """Two shapes of as many elements in groups of axes, as short as can be, that have as many elements each."""
    first, second = list(a), list(b)
    while first or second:
        own, others = first[:1], second[:1]
        del first[:1], second[:1]
        while product(own) is not product(others) and (first or second):
            longer = not second or (first and _is_less(product(own), product(others)))
            (own if longer else others).append((first if longer else second).pop(0))
        yield tuple(own), tuple(others)


def _is_less(a: Poly, b: Poly) -> bool:
    """Whether a group of axes is known to need more of them; one of unknown lengths takes what it can."""
    return a.constant is None or b.constant is None or a.constant < b.constant


def _free(owners: dict[Carry, Scan], source: Scan) -> int:
    return 1 + max(c.number for c in (*owners, *source.carries))


def _with_carries_from(source: Scan, first: int) -> Scan:
    """The scan with its carries numbered from `first` on."""
    twins = [carry(first + k, c.shape, c.dtype, c.depth) for k, c in enumerate(source.carries)]
    body = replace_nodes([*source.nexts, *source.outputs], dict(zip(source.carries, twins, strict=True)), source.depth)
    count = len(twins)
    return scan_like(source, twins, source.inits, body[:count], body[count:])
