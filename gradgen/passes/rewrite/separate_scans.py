"""Every scan gets carries of its own, and what is read in another shape inside a scan is whole.

In: nodes, last of all passes on graphs. Out: the same values; `schedule` and `storage` may now say of a carry, and of
what a body computes from it, in which loop it lives. Until then two scans whose carries have equal shapes share them,
because nodes are interned, and equal bodies are found to be equal.
"""

from collections.abc import Callable, Sequence

from gradgen.graph.nodes import (
    Carry,
    Node,
    Project,
    Reshape,
    Scan,
    all_inputs,
    carry,
    pointwise,
    project,
    scan,
    toposort,
)
from gradgen.graph.scalar import Load, Poly, integer, load, position, require_poly
from gradgen.passes.rebuild.look_through import reshaped_access
from gradgen.passes.rebuild.nodes import map_nodes, replace_nodes

__all__ = ["separate", "separate_carries"]


def separate(roots: Sequence[Node]) -> list[Node]:
    """Scans that share a carry with one before them are written with others; reshapes in a body read no row of a stack.

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
    """R = reshape(x) in a body becomes R[i, j] = x[...], where x or R is one row of what all steps write.

    A reshape is a view of a whole buffer, in which the rows of other steps lie too; and nothing writes a view.
    """
    scans = {n.scan for n in toposort(roots, all_inputs) if isinstance(n, Project)}
    stacked = {n for s in scans for n in (*s.carries, *s.nexts, *s.outputs)}

    def change(node: Node) -> Node | None:
        if not isinstance(node, Reshape) or not node.steps or stacked.isdisjoint((node, node.source)):
            return None
        access = load(node, [position(k) for k in range(len(node.shape))])
        exact = reshaped_access(access)
        return pointwise(node.shape, _unravelled(access) if exact is None else exact)

    return _until_stable(roots, lambda nodes: map_nodes(nodes, change))


def _unravelled(access: Load) -> Load:
    """R[f] = source[g] for any reshape R: the place of the element in memory, and the subscripts of that place."""
    node = access.tensor
    assert isinstance(node, Reshape)
    place = integer(0)
    for s, extent in zip(access.subscripts, node.shape, strict=True):
        place = require_poly(place * extent + s)
    subscripts: list[Poly] = []
    for extent in reversed(node.source.shape[1:]):
        subscripts.append(require_poly(place % extent))
        place = require_poly(place // extent)
    return load(node.source, [*([place] if node.source.shape else []), *reversed(subscripts)])


def _free(owners: dict[Carry, Scan], source: Scan) -> int:
    return 1 + max(c.number for c in (*owners, *source.carries))


def _with_carries_from(source: Scan, first: int) -> Scan:
    """The scan with its carries numbered from `first` on."""
    twins = [carry(first + k, c.shape, c.dtype, c.depth) for k, c in enumerate(source.carries)]
    body = replace_nodes([*source.nexts, *source.outputs], dict(zip(source.carries, twins, strict=True)), source.depth)
    count = len(twins)
    return scan(source.length, source.depth, twins, source.inits, body[:count], body[count:], source.reverse)
