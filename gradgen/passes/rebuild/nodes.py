"""Rebuilding graphs: the one driver that every rewriting pass uses.

In: nodes and a change. Out: nodes with the change made everywhere, scan bodies included; unchanged parts are the
same objects, because nodes are interned.
"""

from collections.abc import Callable, Mapping, Sequence

from gradgen.graph.nodes import (
    Carry,
    Compute,
    Custom,
    Node,
    Project,
    Reshape,
    all_inputs,
    compute,
    custom,
    inputs,
    project,
    reshape,
    scan_like,
    toposort,
)
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import Load, Scalar, load, require_poly, rewrite


def map_nodes(
    roots: Sequence[Node],
    change: Callable[[Node], Node | None],
    reads: Callable[[Node], tuple[Node, ...]] = all_inputs,
) -> list[Node]:
    """Rebuild the graph below the roots, producers first; `change` sees every rebuilt node and may replace it."""
    built: dict[Node, Node] = {}
    for node in toposort(roots, reads):
        new = rebuild(node, built)
        changed = change(new)
        built[node] = new if changed is None else changed
        if built[node] is not node:
            carry_origin(node, built[node])
    return [built[root] for root in roots]


def replace_nodes(roots: Sequence[Node], mapping: Mapping[Node, Node], depth: int | None = None) -> list[Node]:
    """Replace whole nodes; what stands below a replaced node is not visited.

    With a `depth`, only nodes inside the scan of that depth are: another scan of the same depth may stand outside,
    and its carries are written alike.
    """
    built = replacements(roots, mapping, depth)
    return [built.get(root, root) for root in roots]


def replacements(roots: Sequence[Node], mapping: Mapping[Node, Node], depth: int | None = None) -> dict[Node, Node]:
    """The same for every node below the roots: what has become of it."""

    def reads(node: Node) -> tuple[Node, ...]:
        return () if node in mapping or (depth is not None and depth not in node.steps) else all_inputs(node)

    built: dict[Node, Node] = dict(mapping)
    for node in toposort(roots, reads):
        if node not in mapping and (depth is None or depth in node.steps):
            built[node] = rebuild(node, built)
            if built[node] is not node:
                carry_origin(node, built[node])
    return built


def rebuild(node: Node, built: Mapping[Node, Node]) -> Node:
    """The same node over rebuilt inputs; inputs that are not in `built` stay."""
    match node:
        case Compute():
            if all(built.get(n, n) is n for n in all_inputs(node)):
                return node
            body = replace_loads(node.body, built)
            target = [require_poly(replace_loads(t, built)) for t in node.target]
            return compute(node.shape, node.extents, target, node.reducer, body)
        case Reshape():
            return reshape(built.get(node.source, node.source), node.shape)
        case Project():
            old = node.scan
            if all(built.get(n, n) is n for n in all_inputs(node)):
                return node
            inits, nexts, outputs = ([built.get(n, n) for n in part] for part in (old.inits, old.nexts, old.outputs))
            new = scan_like(old, old.carries, inits, nexts, outputs)
            return project(new, node.kind, node.number)
        case Custom():
            cotangent = built.get(node.cotangent, node.cotangent)
            assert isinstance(cotangent, Carry)
            value, *operands = (built.get(n, n) for n in inputs(node))
            return custom(value, operands, cotangent, [built.get(n, n) for n in node.adjoints])
    return node


def replace_loads(x: Scalar, built: Mapping[Node, Node]) -> Scalar:
    """Every access of a replaced tensor becomes an access of its replacement, with the same subscripts."""

    def change(part: Scalar) -> Scalar | None:
        if isinstance(part, Load) and built.get(part.tensor, part.tensor) is not part.tensor:
            return load(built[part.tensor], part.subscripts)
        return None

    return rewrite(x, change, lambda atom: None)
