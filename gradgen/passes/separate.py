"""Every scan gets carries of its own.

In: nodes, last of all passes on graphs. Out: the same values; `schedule` and `storage` may now say of a carry, and of
what a body computes from it, in which loop it lives. Until then two scans whose carries have equal shapes share them,
because nodes are interned, and equal bodies are found to be equal.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Carry, Node, Project, Scan, carry, project, scan
from gradgen.passes.substitute import map_nodes, replace_nodes

__all__ = ["separate"]


def separate(roots: Sequence[Node]) -> list[Node]:
    """Scans that share a carry with one before them are written with others.

    Scans inside them were equal and have become different by that, so it is done again until nothing changes.
    """
    current = list(roots)
    while True:
        changed = _separated(current)
        if all(new is old for new, old in zip(changed, current, strict=True)):
            return current
        current = changed


def _separated(roots: Sequence[Node]) -> list[Node]:
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


def _free(owners: dict[Carry, Scan], source: Scan) -> int:
    return 1 + max(c.number for c in (*owners, *source.carries))


def _with_carries_from(source: Scan, first: int) -> Scan:
    """The scan with its carries numbered from `first` on."""
    twins = [carry(first + k, c.shape, c.dtype, c.depth) for k, c in enumerate(source.carries)]
    body = replace_nodes([*source.nexts, *source.outputs], dict(zip(source.carries, twins, strict=True)), source.depth)
    count = len(twins)
    return scan(source.length, source.depth, twins, source.inits, body[:count], body[count:], source.reverse)
