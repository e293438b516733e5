"""Updates of parameters as formulas, with PyTorch's conventions.

In: a loss and numbers. Out: `{tensor: its next value}` for `gg.compile(..., updates=...)`. All updates read the values
that their tensors have when the step begins.
"""

from typing import Any

from gradgen.errors import GraphError, OptionError
from gradgen.graph.axes import describe
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.origin import here, naming
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang import array
from gradgen.lang.declare import state
from gradgen.lang.transforms import grad

Updates = dict[Tensor, Tensor]


def sgd(
    loss: Tensor,
    lr: Any,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Updates:
    """Stochastic gradient descent for every parameter of a loss.

        g = grad + weight_decay * p;   v = momentum * v + g;   p = p - lr * v

    With `nesterov`, p = p - lr * (g + momentum * v) (Sutskever et al. 2013). The state is `p_velocity`, from zeros.

    Args:
        loss: the scalar to make smaller.
        lr: the step length: a number, or a tensor without axes (an input, for a schedule).

    Raises:
        GraphError: the loss has axes, or no parameters.
        OptionError: nesterov without momentum.
    """
    if nesterov and not momentum:
        raise OptionError(f"{here()}nesterov needs a momentum above 0.")
    updates: Updates = {}
    for p, g in _gradients(loss):
        d = g + weight_decay * p if weight_decay else g
        if momentum:
            v = state(f"{p.name}_velocity", p.shape, p.dtype)
            with naming(f"{v.name}_next"):
                updates[v] = momentum * v + d
            d = d + momentum * updates[v] if nesterov else updates[v]
        with naming(f"{p.name}_next"):
            updates[p] = p - _as(lr, p) * d
    return updates


def adam(
    loss: Tensor,
    lr: Any = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Updates:
    """Adam for every parameter of a loss (Kingma and Ba 2015).

        m = b1*m + (1 - b1)*g;   v = b2*v + (1 - b2)*g*g
        p = p - lr / (1 - b1**t) * m / (sqrt(v) / sqrt(1 - b2**t) + eps)

    The states are `p_m` and `p_v`, from zeros, and the number of steps taken, `adam_step` (int64). The corrections
    are computed in float64.

    Args:
        loss: the scalar to make smaller.
        lr: the step length: a number, or a tensor without axes.
        betas: b1 and b2.
        weight_decay: added to the gradient as weight_decay * p.

    Raises:
        GraphError: the loss has axes, or no parameters.
    """
    steps = state("adam_step", (), "int64")
    b1, b2 = betas
    with naming("adam_step_next"):
        t = steps + 1
    with naming("step_length"):
        length = array.float64(_tensor(lr)) / (1.0 - b1 ** array.float64(t))
    with naming("variance_correction"):
        root = array.sqrt(1.0 - b2 ** array.float64(t))
    updates: Updates = {steps: t}
    for p, gradient in _gradients(loss):
        g = gradient + weight_decay * p if weight_decay else gradient
        m, v = state(f"{p.name}_m", p.shape, p.dtype), state(f"{p.name}_v", p.shape, p.dtype)
        with naming(f"{m.name}_next"):
            updates[m] = b1 * m + (1.0 - b1) * g
        with naming(f"{v.name}_next"):
            updates[v] = b2 * v + (1.0 - b2) * (g * g)
        with naming(f"{p.name}_next"):
            updates[p] = p - _as(length, p) * (updates[m] / (array.sqrt(updates[v]) / _as(root, p) + eps))
    return updates


def _gradients(loss: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Every float parameter below a loss, with the gradient by it."""
    if loss.ndim:
        raise GraphError(f"{here()}a loss has no axes; {describe(loss.node)} has {loss.ndim}. Take its mean first.")
    params = [
        tensor(n) for n in toposort([loss.node]) if isinstance(n, Leaf) and n.role == "param" and n.dtype in FLOATS
    ]
    if not params:
        raise GraphError(f"{here()}the loss has no parameters to update: declare some with gg.param.")
    return list(zip(params, grad(loss, params), strict=True))


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else array.full((), float(value), "float64")


def _as(value: Any, like: Tensor) -> Any:
    """A number as it is; a tensor in the dtype of another."""
    return array.cast(value, like.dtype) if isinstance(value, Tensor) else float(value)
