"""Whether formulas are linear in a tensor, by their form: sums of products with one factor that depends on it.

In: nodes and a tensor below them. Out: True where the form shows it; False says nothing.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Compute, Custom, Node, Reshape, inputs, toposort
from gradgen.graph.scalar import FLOATS, Call, Load, Scalar, is_zero, loads

__all__ = ["is_linear"]


def is_linear(nodes: Sequence[Node], source: Node) -> bool:
    """Whether all of them are sums of terms with one factor `source`, or 0."""
    moving = {source}
    for node in toposort(nodes):
        if node is source or not any(x in moving for x in inputs(node)):
            continue
        match node:
            case Compute() if node.reducer in ("none", "sum") and _is_term(node.body, moving):
                if _depends(moving, *node.target):
                    return False
            case Reshape():
                pass
            case Custom(value=value) if value in moving:
                pass
            case _:
                return False
        moving.add(node)
    return all(n in moving or (isinstance(n, Compute) and is_zero(n.body)) for n in nodes)


def _is_term(x: Scalar, moving: set[Node]) -> bool:
    """Whether an expression is linear in the moving tensors, or 0."""
    match x:
        case Load():
            return x.tensor in moving and not _depends(moving, *x.subscripts)
        case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
            return _is_term(a, moving) and _is_term(b, moving)
        case Call(function=f, arguments=(a, b)) if f.name in ("mul", "div"):
            if f.name == "mul" and not _depends(moving, a):
                a, b = b, a
            return _is_term(a, moving) and not _depends(moving, b)
        case Call(function=f, arguments=(condition, a, b)) if f.name == "where":
            return not _depends(moving, condition) and _is_term(a, moving) and _is_term(b, moving)
        case Call(function=f, arguments=(a,)) if f.name in ("neg", "materialize", *FLOATS):
            return _is_term(a, moving)
    return is_zero(x)


def _depends(moving: set[Node], *expressions: Scalar) -> bool:
    return any(x.tensor in moving for x in loads(*expressions))
