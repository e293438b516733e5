"""Functions from graph to graph: gradients, products with Jacobians, second derivatives. They compose in any order.

In: tensors. Out: tensors, which compile like any others. The rewrites that must come before differentiation
(`passes.prepare.sequence`) are part of every transform, so a naive softmax is stable here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.derivatives import remember_derivatives
from gradgen.graph.nodes import Leaf, Node, leaf, pointwise, same_shape, show_shape, toposort
from gradgen.graph.origin import display_name, note_result
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, call, number
from gradgen.graph.tensor import Tensor, tensor
from gradgen.passes.derive.forward import jvp_nodes
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.prepare.sequence import prepare
from gradgen.passes.prepare.stabilize import rules_to_skip
from gradgen.passes.rebuild.nodes import replace_nodes


def grad(y: Tensor, xs: Sequence[Tensor] | Tensor, *, skip: Iterable[str] = ()) -> Any:
    """The gradient of a scalar by each of `xs`, with the shapes and dtypes of `xs`.

    `skip` names rewrites for stability to leave out, as that of `gg.compile` does for what is compiled.

    Raises ShapeError where `y` is not a scalar (use `vjp` with a cotangent), DTypeError for an integer tensor,
    GraphError for a tensor that `y` does not depend on.
    """
    (node,) = (t.node for t in _several([y]))
    if node.shape:
        raise ShapeError(
            f"{here()}grad needs a scalar, and {display_name(node)} has shape {show_shape(node.shape)}. "
            "Sum it first, or use gg.vjp with a cotangent."
        )
    found = vjp(y, xs, None, skip=skip)
    remember_derivatives(node, _nodes(xs), _nodes(found), rules_to_skip(skip))
    return found


def vjp(
    y: Tensor | Sequence[Tensor], xs: Sequence[Tensor] | Tensor, cotangents: Any, *, skip: Iterable[str] = ()
) -> Any:
    """The products of cotangents with the Jacobians: sum over outputs of (dy/dx)^T cotangent, for each x.

    A cotangent has the shape and dtype of its output; None stands for ones, for all of them. `skip` names rewrites for
    stability to leave out.
    """
    note_result()
    outputs = [t.node for t in _several(y)]
    wrt = [t.node for t in _several(xs)]
    seeds = list(map(_ones, outputs)) if cotangents is None else _checked(_several(cotangents), outputs, "cotangent")
    _check_related(outputs, wrt)
    cuts = _cuts(wrt)
    prepared = prepare(replace_nodes([*outputs, *seeds], cuts), rules_to_skip(skip))
    pulled = vjp_nodes(prepared[: len(outputs)], prepared[len(outputs) :], [cuts.get(x, x) for x in wrt])
    found = [tensor(n) for n in replace_nodes(pulled, {cut: x for x, cut in cuts.items()})]
    return found[0] if isinstance(xs, Tensor) else found


def jvp(y: Tensor | Sequence[Tensor], xs: Sequence[Tensor] | Tensor, tangents: Any, *, skip: Iterable[str] = ()) -> Any:
    """The products of the Jacobians with tangents: sum over xs of (dy/dx) tangent, for each output, in forward mode.

    `skip` names rewrites for stability to leave out.
    """
    _check_related([t.node for t in _several(y)], [t.node for t in _several(xs)])
    return _pushed(y, xs, tangents, rules_to_skip(skip))


def _pushed(y: Tensor | Sequence[Tensor], xs: Sequence[Tensor] | Tensor, tangents: Any, skip: frozenset[str]) -> Any:
    """The same, with zeros for an output that depends on none of xs."""
    note_result()
    outputs = [t.node for t in _several(y)]
    wrt = [t.node for t in _several(xs)]
    directions = _checked(_several(tangents), wrt, "tangent")
    cuts = _cuts(wrt)
    prepared = prepare(replace_nodes(outputs, cuts), skip)
    pushed = jvp_nodes(prepared, [cuts.get(x, x) for x in wrt], directions)
    found = [tensor(n) for n in replace_nodes(pushed, {cut: x for x, cut in cuts.items()})]
    return found[0] if isinstance(y, Tensor) else found


def hvp(loss: Tensor, xs: Sequence[Tensor] | Tensor, directions: Any, *, skip: Iterable[str] = ()) -> Any:
    """The product of the Hessian of a scalar with a direction: the tangent of its gradient.

    `skip` names rewrites for stability to leave out.
    """
    rules = rules_to_skip(skip)
    gradients = grad(loss, _several(xs), skip=rules)
    found = _pushed(gradients, _several(xs), _several(directions), rules)  # a linear loss has a gradient without x
    return found[0] if isinstance(xs, Tensor) else found


def _several(ts: Any) -> Sequence[Tensor]:
    one = isinstance(ts, (Tensor, str, Mapping)) or not isinstance(ts, Iterable)
    given = [ts] if one else list(ts)
    for t in given:
        if not isinstance(t, Tensor):
            raise GraphError(
                f"{here()}{shown(t)} is no tensor: what is differentiated, and by what, and along what, are tensors "
                "or lists of tensors."
            )
    return given


def _nodes(ts: Any) -> list[Node]:
    return [t.node for t in _several(ts)]


def _check_related(outputs: Sequence[Node], wrt: Sequence[Node]) -> None:
    """Unrelated is not zero: asked of what is declared, before a rewrite can show that a derivative is zero."""
    below = set(toposort(outputs))
    for x in wrt:
        name = display_name(x)
        if x.dtype not in FLOATS:
            raise DTypeError(
                f"{here()}{name} is {x.dtype}, and only floats have gradients: declare it as float32, or leave it out."
            )
        if x not in below:
            raise GraphError(
                f"{here()}what is differentiated does not depend on {name}: use it there, or leave it out."
            )


def _cuts(wrt: Sequence[Node]) -> dict[Node, Node]:
    """A leaf in place of every tensor that is not one: no rewrite may look through what a derivative is taken by."""
    return {x: leaf(display_name(x), x.shape, x.dtype, "input") for x in wrt if not isinstance(x, Leaf)}


def _ones(node: Node) -> Node:
    return pointwise(node.shape, call(node.dtype, number(1)))


def _checked(given: Sequence[Tensor], like: Sequence[Node], what: str) -> list[Node]:
    """One direction for each tensor, of its shape and dtype."""
    if len(given) != len(like):
        raise GraphError(f"{here()}{len(given)} {what}s are given for {len(like)} tensors: give one for each.")
    for t, x in zip(given, like, strict=True):
        if not same_shape(t.node.shape, x.shape):
            raise ShapeError(f"{here()}{describe(t.node)} is the {what} of {describe(x)}: make the shapes equal.")
        if t.dtype != x.dtype and x.dtype in FLOATS:
            raise DTypeError(
                f"{here()}{display_name(t.node)} ({t.dtype}) is the {what} of {display_name(x)} ({x.dtype}): "
                "gg.cast changes one."
            )
    return [t.node for t in given]
