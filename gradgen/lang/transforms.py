"""Functions from graph to graph: gradients, products with Jacobians, second derivatives. They compose in any order.

In: tensors. Out: tensors, which compile like any others. The rewrites that must come before differentiation
(`passes.before_differentiation`) are part of every transform, so a naive softmax is stable here too.
"""

from collections.abc import Sequence
from typing import Any

from gradgen.errors import GraphError, ShapeError
from gradgen.graph.nodes import Leaf, Node, leaf, pointwise, same_shape, show_shape
from gradgen.graph.origin import display_name
from gradgen.graph.place import here
from gradgen.graph.scalar import call, number
from gradgen.graph.tensor import Tensor, tensor
from gradgen.passes.differentiate import jvp_nodes, vjp_nodes
from gradgen.passes.prepare import prepare
from gradgen.passes.substitute import replace_nodes


def grad(y: Tensor, xs: Sequence[Tensor] | Tensor) -> Any:
    """The gradient of a scalar by each of `xs`, with the shapes and dtypes of `xs`.

    Raises ShapeError where `y` is not a scalar (use `vjp` with a cotangent), DTypeError for an integer tensor,
    GraphError for a tensor that `y` does not depend on.
    """
    if y.node.shape:
        raise ShapeError(
            f"{here()}grad needs a scalar, and {display_name(y.node)} has shape {show_shape(y.node.shape)}. "
            "Sum it first, or use gg.vjp with a cotangent."
        )
    return vjp(y, xs, None)


def vjp(y: Tensor | Sequence[Tensor], xs: Sequence[Tensor] | Tensor, cotangents: Any) -> Any:
    """The products of cotangents with the Jacobians: sum over outputs of (dy/dx)^T cotangent, for each x.

    A cotangent has the shape of its output; None stands for ones.
    """
    outputs = [t.node for t in _several(y)]
    wrt = [t.node for t in _several(xs)]
    given = [None] * len(outputs) if cotangents is None else list(_several(cotangents))
    seeds = [_ones(o) if c is None else _checked(c, o) for o, c in zip(outputs, given, strict=True)]
    cuts = _cuts(wrt)
    prepared = prepare(replace_nodes([*outputs, *seeds], cuts))
    pulled = vjp_nodes(prepared[: len(outputs)], prepared[len(outputs) :], [cuts.get(x, x) for x in wrt])
    found = [tensor(n) for n in replace_nodes(pulled, {cut: x for x, cut in cuts.items()})]
    return found[0] if isinstance(xs, Tensor) else found


def jvp(y: Tensor | Sequence[Tensor], xs: Sequence[Tensor] | Tensor, tangents: Any) -> Any:
    """The products of the Jacobians with tangents: sum over xs of (dy/dx) tangent, for each output, in forward mode."""
    outputs = [t.node for t in _several(y)]
    wrt = [t.node for t in _several(xs)]
    directions = [_checked(t, x) for t, x in zip(_several(tangents), wrt, strict=True)]
    cuts = _cuts(wrt)
    prepared = prepare(replace_nodes(outputs, cuts))
    pushed = jvp_nodes(prepared, [cuts.get(x, x) for x in wrt], directions)
    found = [tensor(n) for n in replace_nodes(pushed, {cut: x for x, cut in cuts.items()})]
    return found[0] if isinstance(y, Tensor) else found


def hvp(loss: Tensor, xs: Sequence[Tensor] | Tensor, directions: Any) -> Any:
    """The product of the Hessian of a scalar with a direction: the tangent of its gradient."""
    gradients = grad(loss, _several(xs))
    found = jvp(gradients, _several(xs), _several(directions))
    return found[0] if isinstance(xs, Tensor) else found


def _several(ts: Any) -> Sequence[Tensor]:
    if isinstance(ts, Tensor):
        return [ts]
    for t in ts:
        if not isinstance(t, Tensor):
            raise GraphError(f"{here()}{t!r} is not a tensor: transforms take tensors, and give tensors")
    return list(ts)


def _cuts(wrt: Sequence[Node]) -> dict[Node, Node]:
    """A leaf in place of every tensor that is not one: no rewrite may look through what a derivative is taken by."""
    return {x: leaf(f"cut{k}", x.shape, x.dtype, "input") for k, x in enumerate(wrt) if not isinstance(x, Leaf)}


def _ones(node: Node) -> Node:
    return pointwise(node.shape, call(node.dtype, number(1)))


def _checked(t: Tensor, like: Node) -> Node:
    if not same_shape(t.node.shape, like.shape):
        raise ShapeError(
            f"{here()}{display_name(t.node)} has shape {show_shape(t.node.shape)}, and {display_name(like)}, "
            f"for which it stands, {show_shape(like.shape)}"
        )
    return t.node
