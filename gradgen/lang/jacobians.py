"""Whole matrices of derivatives: Jacobians and Hessians, as tensors.

In: tensors. Out: tensors with the axes of the output followed by those of the input. All rows (or columns) are products
of `transforms` with the rows of an identity matrix, taken at once: the seed mentions a step for each of its axes, and
`passes.rebuild.all_steps` turns the steps into axes of the result.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from gradgen.errors import OptionError
from gradgen.graph.nodes import Node, pointwise, product, toposort
from gradgen.graph.place import here
from gradgen.graph.scalar import Scalar, call, number, position, require_poly, step
from gradgen.graph.sizes import nonnegative
from gradgen.graph.tensor import Tensor, made, tensor
from gradgen.lang.constants import zeros
from gradgen.lang.shapes import moveaxis
from gradgen.lang.transforms import grad, jvp, vjp
from gradgen.passes.prepare.stabilize import rules_to_skip
from gradgen.passes.rebuild.all_steps import lift

__all__ = ["hessian", "jacobian"]

_SEED = 1_000_000  # the depth of a seed's first step; no loop is nested so deep


def jacobian(y: Tensor, xs: Sequence[Tensor] | Tensor, mode: str | None = None, *, skip: Iterable[str] = ()) -> Any:
    """The derivatives of every element of `y` by every element of each x, with shape y.shape + x.shape.

    Where y is linear in x, they do not depend on x: a network of them alone does not take x, and a size that only x
    tells is one for `gg.compile(..., sizes=...)`.

    Args:
        y: a float tensor.
        xs: a tensor, or several; the result is a tensor, or a list.
        mode: "reverse" (a row for every element of y) or "forward" (a column for every element of x); by default
            the one with fewer of them, and reverse where that is not known.
        skip: rewrites for stability to leave out.

    Raises:
        GraphError: an x that y does not depend on.
        DTypeError: an integer tensor.
        OptionError: another mode; `skip` names no rewrite.
    """
    if mode not in (None, "forward", "reverse"):
        raise OptionError(f"{here()}jacobian has the modes forward and reverse, not {mode!r}.")
    rules = rules_to_skip(skip)
    several = [xs] if isinstance(xs, Tensor) else xs
    found = [_jacobian(y, x, mode, rules) for x in several]
    return found[0] if isinstance(xs, Tensor) else found


def hessian(loss: Tensor, xs: Sequence[Tensor] | Tensor, *, skip: Iterable[str] = ()) -> Any:
    """The second derivatives of a scalar: by x twice, with shape x.shape + x.shape; of several, a list of lists.

    Where the scalar is quadratic, a network of them alone does not take x, as for `jacobian`. `skip` names rewrites for
    stability to leave out.

    Raises: as `gg.grad` and `jacobian`.
    """
    several = [xs] if isinstance(xs, Tensor) else list(xs)
    rules = rules_to_skip(skip)
    found = [[_block(g, x, rules) for x in several] for g in grad(loss, several, skip=rules)]
    return found[0][0] if isinstance(xs, Tensor) else found


def _block(gradient: Tensor, x: Tensor, skip: frozenset[str]) -> Tensor:
    """The Jacobian of a gradient; zeros where it does not depend on x."""
    if x.node not in toposort([gradient.node]):
        return zeros((*gradient.shape, *x.shape), x.dtype)
    return _jacobian(gradient, x, "forward", skip)


def _jacobian(y: Tensor, x: Tensor, mode: str | None, skip: frozenset[str]) -> Tensor:
    if mode is None:
        more = require_poly(product(y.node.shape) - product(x.node.shape) - 1)
        mode = "forward" if nonnegative(more) else "reverse"
    seeded = y if mode == "reverse" else x
    seed = tensor(_identity(seeded.node, [step(_SEED + k) for k in range(seeded.ndim)]))
    product_with = vjp if mode == "reverse" else jvp
    node: Node = product_with(y, x, seed, skip=skip).node
    for k, extent in reversed(list(enumerate(seeded.node.shape))):
        node = lift(node, extent, _SEED + k)
    return _ordered(made(node), y, x, mode)


def _identity(node: Node, at: Sequence[Any]) -> Node:
    """1 at a place and 0 elsewhere, in the shape of a node."""
    inside: Scalar = number(True)
    for k, place in enumerate(at):
        inside = call("and", inside, call("eq", position(k) - place, number(0)))
    return pointwise(node.shape, call("where", inside, call(node.dtype, number(1)), call(node.dtype, number(0))))


def _ordered(found: Tensor, y: Tensor, x: Tensor, mode: str) -> Tensor:
    """The axes of y in front."""
    return found if mode == "reverse" else moveaxis(found, list(range(x.ndim)), list(range(y.ndim, y.ndim + x.ndim)))
