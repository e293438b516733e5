"""The model in another float dtype, or with sizes bound to numbers: the same graph over other leaves.

In: roots as declared. Out: roots over new leaves, and which leaf became which.
"""

from collections.abc import Mapping, Sequence

from gradgen.graph.constants import copy_numbers
from gradgen.graph.nodes import (
    Carry,
    Compute,
    Custom,
    Leaf,
    Node,
    Project,
    Reshape,
    all_inputs,
    carry,
    compute,
    leaf,
    project,
    reshape,
    scan,
    toposort,
)
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import Call, Load, Poly, Scalar, SizeSymbol, call, integer, load, promote, rewrite
from gradgen.passes.rebuild.nodes import rebuild


def retarget(roots: Sequence[Node], dtype: str, sizes: Mapping[str, int]) -> tuple[list[Node], dict[Leaf, Leaf]]:
    """Replace float32 by `dtype` and bind sizes."""
    leaves: dict[Leaf, Leaf] = {}
    built: dict[Node, Node] = {}
    if dtype == "float32" and not sizes:
        found = [n for n in toposort(roots, all_inputs) if isinstance(n, Leaf)]
        return list(roots), {n: n for n in found}

    def atom(a: object) -> Poly | None:
        return integer(sizes[a.name]) if isinstance(a, SizeSymbol) and a.name in sizes else None

    def change(x: Scalar) -> Scalar | None:
        if isinstance(x, Load) and x.tensor in built:
            return load(built[x.tensor], x.subscripts)
        if isinstance(x, Call) and x.function.name == "float32" and dtype != "float32":
            return call(dtype, x.arguments[0])
        if isinstance(x, Call) and dtype != "float32":
            return _widened(x, dtype)
        return None

    def poly(p: Poly) -> Poly:
        new = rewrite(p, change, atom)
        assert isinstance(new, Poly)
        return new

    def shape(node: Node) -> list[Poly]:
        return [poly(e) for e in node.shape]

    def kind(name: str) -> str:
        return dtype if name == "float32" else name

    order = toposort(roots, all_inputs)
    declared = sorted((n for n in order if isinstance(n, Leaf)), key=lambda n: n.serial)
    for node in (*declared, *(n for n in order if not isinstance(n, Leaf))):
        match node:
            case Leaf():
                leaves[node] = leaf(node.name, shape(node), kind(node.dtype), node.role)
                copy_numbers(node, leaves[node])
                built[node] = leaves[node]
            case Carry():
                built[node] = carry(node.number, shape(node), kind(node.dtype), node.depth)
            case Reshape():
                built[node] = reshape(built[node.source], shape(node))
            case Compute():
                body = rewrite(node.body, change, atom)
                if node.dtype == "float32" and body.dtype != dtype:
                    body = call(dtype, body)
                extents, target = [poly(e) for e in node.extents], [poly(t) for t in node.target]
                built[node] = compute(shape(node), extents, target, node.reducer, body)
            case Project():
                s = node.scan
                carries = [built.get(c) or carry(c.number, shape(c), kind(c.dtype), c.depth) for c in s.carries]
                new = scan(
                    poly(s.length), s.depth, [c for c in carries if isinstance(c, Carry)],
                    [built[n] for n in s.inits], [built[n] for n in s.nexts], [built[n] for n in s.outputs], s.reverse,
                    s.checkpointed,
                )  # fmt: skip
                built[node] = project(new, node.kind, node.number)
            case Custom():
                built[node] = rebuild(node, built)
        carry_origin(node, built[node])
    return [built[root] for root in roots], leaves


def _widened(x: Call, dtype: str) -> Scalar | None:
    """A call that computes in float32 although it reads no float: integers among Python's numbers become floats."""
    condition = 1 if x.function.name == "where" else 0
    operands = x.arguments[condition:]
    if "float32" not in (x.dtype, promote([a.dtype for a in operands])):
        return None
    strong = [call(dtype, a) if a.dtype in ("int32", "int64", "uint32", "bool") else a for a in operands]
    return call(x.function.name, *x.arguments[:condition], *strong)
