"""Axes of one element leave the formulas in between: what `keepdims` left would hide that two formulas are equal.

In: nodes as declared. Out: nodes with the same values; the roots keep their shapes. `stabilize` comes next.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Custom, Node, Project, Reshape, all_inputs, compute, toposort
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import Load, Scalar, integer, load, position, position_atom, require_poly, rewrite, substitute
from gradgen.passes.rebuild.nodes import rebuild

__all__ = ["squeeze"]


def squeeze(roots: Sequence[Node]) -> list[Node]:
    """z[n, 0] = sum_j x[n, j]; y[n, j] = x[n, j] / z[n, 0] -> z[n] = ...; y[n, j] = x[n, j] / z[n]"""
    order = toposort(roots, all_inputs)
    whole = _read_whole(roots, order)
    built: dict[Node, Node] = {}
    squeezed: dict[Node, Node] = {}
    for node in order:
        new = rebuild(node, built)
        if isinstance(new, Compute):
            body = _without_single_axes(new.body, squeezed)
            target = [require_poly(_without_single_axes(t, squeezed)) for t in new.target]
            new = compute(new.shape, new.extents, target, new.reducer, body)
        if isinstance(new, Compute) and new.gathers and node not in whole and _single_axes(new):
            squeezed[new] = _squeezed(new)
            carry_origin(node, squeezed[new])
        built[node] = new
        if new is not node:
            carry_origin(node, new)
    return [built[root] for root in roots]


def _single_axes(node: Node) -> list[int]:
    return [k for k, extent in enumerate(node.shape) if extent.constant == 1]


def _squeezed(node: Compute) -> Node:
    single = _single_axes(node)
    kept = [k for k in range(len(node.extents)) if k not in single]
    places = {position_atom(k): integer(0) for k in single}
    places |= {position_atom(old): position(new) for new, old in enumerate(kept)}
    shape = [extent for k, extent in enumerate(node.shape) if k not in single]
    target = [position(k) for k in range(len(shape))]
    return compute(shape, [node.extents[k] for k in kept], target, node.reducer, substitute(node.body, places))


def _without_single_axes(x: Scalar, squeezed: dict[Node, Node]) -> Scalar:
    def change(part: Scalar) -> Scalar | None:
        if isinstance(part, Load) and part.tensor in squeezed:
            single = _single_axes(part.tensor)
            return load(squeezed[part.tensor], [s for k, s in enumerate(part.subscripts) if k not in single])
        return None

    return rewrite(x, change, lambda atom: None)


def _read_whole(roots: Sequence[Node], order: Sequence[Node]) -> set[Node]:
    """The nodes whose shape matters to others than formulas."""
    found = set(roots)
    for node in order:
        match node:
            case Reshape():
                found.add(node.source)
            case Project():
                found |= {*node.scan.inits, *node.scan.nexts, *node.scan.outputs}
            case Custom():
                found |= set(all_inputs(node))
    return found
