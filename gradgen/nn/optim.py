"""Updates of parameters as formulas, with PyTorch's conventions.

In: a loss and numbers. Out: `{tensor: its next value}` for `gg.compile(..., updates=...)`. All updates read the values
that their tensors have when the step begins. `lr` is a number, a tensor without axes, or one of the `schedules`.
"""

from typing import Any, NoReturn

from gradgen.errors import GraphError, OptionError, nearest
from gradgen.graph.axes import describe, shown
from gradgen.graph.names import is_derived
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang import array, reducers
from gradgen.lang.declare import declared, derived
from gradgen.lang.transforms import grad
from gradgen.nn.schedules import Schedule, cosine, exponential, linear, polynomial, step_decay, warmup

__all__ = [
    "Schedule", "Updates", "adagrad", "adam", "adamw", "clip_norm", "clip_value", "cosine", "exponential", "linear",
    "polynomial", "rmsprop", "sgd", "step_decay", "warmup",
]  # fmt: skip

Updates = dict[Tensor, Tensor]
Gradients = list[tuple[Tensor, Tensor]]  # of every parameter


def sgd(
    loss: Tensor | Gradients,
    lr: Any,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Updates:
    """Stochastic gradient descent for every parameter of a loss.

        g = grad + weight_decay * p;   v = momentum * v + g;   p = p - lr * v

    With `nesterov`, p = p - lr * (g + momentum * v) (Sutskever et al. 2013). The state is `p_velocity`, from zeros.

    Args:
        loss: the scalar to make smaller, or gradients as `clip_norm` gives them.
        lr: the step length: a number, a tensor without axes, or a schedule.

    Raises:
        GraphError: the loss has axes, or no parameters.
        OptionError: nesterov without momentum.
    """
    if nesterov and not momentum:
        raise OptionError(f"{here()}nesterov needs a momentum above 0.")
    updates, length = _step_length(lr, "sgd")
    for p, gradient in _gradients(loss):
        g = gradient + weight_decay * p if weight_decay else gradient
        if momentum:
            v = _carried(p, "velocity")
            with naming(f"{v.name}_next"):
                updates[v] = momentum * v + g
            g = g + momentum * updates[v] if nesterov else updates[v]
        with naming(f"{p.name}_next"):
            updates[p] = p - _as(length, p) * g
    return updates


def adam(
    loss: Tensor | Gradients,
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
        loss: the scalar to make smaller, or gradients as `clip_norm` gives them.
        lr: the step length: a number, a tensor without axes, or a schedule.
        betas: b1 and b2.
        weight_decay: added to the gradient as weight_decay * p.

    Raises:
        GraphError: the loss has axes, or no parameters.
    """
    return _adam(loss, lr, betas, eps, weight_decay, decoupled=False)


def adamw(
    loss: Tensor | Gradients,
    lr: Any = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> Updates:
    """Adam with a weight decay of its own: p shrinks by lr * weight_decay * p (Loshchilov and Hutter 2019).

    States and arguments are those of `adam`.
    """
    return _adam(loss, lr, betas, eps, weight_decay, decoupled=True)


def _adam(
    loss: Tensor | Gradients, lr: Any, betas: tuple[float, float], eps: float, weight_decay: float, decoupled: bool
) -> Updates:
    steps = declared("adam_step", (), "int64", "state")
    b1, b2 = betas
    with naming("adam_step_next"):
        t = steps + 1
    rate = lr(steps) if callable(lr) else _tensor(lr)
    with naming("step_length"):
        length = array.float64(rate) / (1.0 - b1 ** array.float64(t))
    with naming("variance_correction"):
        root = array.sqrt(1.0 - b2 ** array.float64(t))
    updates: Updates = {steps: t}
    for p, gradient in _gradients(loss):
        g = gradient + weight_decay * p if weight_decay and not decoupled else gradient
        m, v = _carried(p, "m"), _carried(p, "v")
        with naming(f"{m.name}_next"):
            updates[m] = b1 * m + (1.0 - b1) * g
        with naming(f"{v.name}_next"):
            updates[v] = b2 * v + (1.0 - b2) * (g * g)
        kept = p * _as(1.0 - weight_decay * array.float64(rate), p) if weight_decay and decoupled else p
        with naming(f"{p.name}_next"):
            updates[p] = kept - _as(length, p) * (updates[m] / (array.sqrt(updates[v]) / _as(root, p) + eps))
    return updates


def rmsprop(
    loss: Tensor | Gradients,
    lr: Any = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
) -> Updates:
    """Gradients divided by a running average of their size (Hinton 2012), for every parameter of a loss.

        v = alpha*v + (1 - alpha)*g*g;   p = p - lr * g / (sqrt(v) + eps)

    With `momentum`, what is subtracted is lr * b for b = momentum*b + g / (sqrt(v) + eps); with `centered`, v is
    reduced by the square of the average gradient. The states are `p_v`, `p_momentum` and `p_mean`, from zeros.

    Args:
        loss, lr: as for `adam`.
        weight_decay: added to the gradient as weight_decay * p.

    Raises:
        GraphError: the loss has axes, or no parameters.
    """
    updates, length = _step_length(lr, "rmsprop")
    for p, gradient in _gradients(loss):
        g = gradient + weight_decay * p if weight_decay else gradient
        v = _carried(p, "v")
        with naming(f"{v.name}_next"):
            updates[v] = alpha * v + (1.0 - alpha) * (g * g)
        spread = updates[v]
        if centered:
            mean = _carried(p, "mean")
            with naming(f"{mean.name}_next"):
                updates[mean] = alpha * mean + (1.0 - alpha) * g
            spread = spread - updates[mean] * updates[mean]
        change = g / (array.sqrt(spread) + eps)
        if momentum:
            b = _carried(p, "momentum")
            with naming(f"{b.name}_next"):
                updates[b] = momentum * b + change
            change = updates[b]
        with naming(f"{p.name}_next"):
            updates[p] = p - _as(length, p) * change
    return updates


def adagrad(
    loss: Tensor | Gradients, lr: Any = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0, eps: float = 1e-10
) -> Updates:
    """Gradients divided by the root of the sum of their squares (Duchi et al. 2011), for every parameter of a loss.

        s = s + g*g;   p = p - lr / (1 + t*lr_decay) * g / (sqrt(s) + eps)

    for t steps taken before. The states are `p_sum`, from zeros, and `adagrad_step` where it is needed.

    Args:
        loss, lr: as for `adam`.
        weight_decay: added to the gradient as weight_decay * p.

    Raises:
        GraphError: the loss has axes, or no parameters.
    """

    def decayed(steps: Tensor) -> Tensor:
        rate = lr(steps) if callable(lr) else array.float64(_tensor(lr))
        return rate / (1.0 + array.float64(steps) * lr_decay)  # type: ignore[no-any-return]  # of tensors, a tensor

    updates, length = _step_length(decayed if lr_decay else lr, "adagrad")
    for p, gradient in _gradients(loss):
        g = gradient + weight_decay * p if weight_decay else gradient
        s = _carried(p, "sum")
        with naming(f"{s.name}_next"):
            updates[s] = s + g * g
        with naming(f"{p.name}_next"):
            updates[p] = p - _as(length, p) * (g / (array.sqrt(updates[s]) + eps))
    return updates


# ---------------------------------------------------------------- gradients


def clip_norm(loss: Tensor | Gradients, largest: float) -> Gradients:
    """The gradients of a loss, scaled together so that their common 2-norm is at most `largest` (as in PyTorch).

    updates = gg.optim.adam(gg.optim.clip_norm(loss, 1.0), lr=1e-3)
    """
    gradients = _gradients(loss)
    with naming("squared_norm"):
        total: Any = 0.0
        for _, g in gradients:
            total = total + reducers.sum(g * g)
    with naming("clip_factor"):
        factor = array.minimum(largest / (array.sqrt(total) + 1e-6), 1.0)
    return [(p, g * _as(factor, p)) for p, g in gradients]


def clip_value(loss: Tensor | Gradients, largest: float) -> Gradients:
    """The gradients of a loss, every element held between -largest and largest; for an optimiser, as `clip_norm`."""
    return [(p, array.clip(g, -largest, largest)) for p, g in _gradients(loss)]


def _carried(p: Tensor, what: str) -> Tensor:
    """What the updates of a parameter carry from step to step, from zeros; called after it."""
    found = declared(f"{p.name}_{what}", p.shape, p.dtype, "state")
    if isinstance(p.node, Leaf) and is_derived(p.node):
        derived(found)
    return found


def _gradients(loss: Tensor | Gradients) -> Gradients:
    """Every float parameter below a loss, with the gradient by it."""
    if isinstance(loss, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in loss):
        return loss
    if not isinstance(loss, Tensor):
        raise GraphError(
            f"{here()}an optimiser takes a loss, whose parameters it finds, or pairs of parameter and gradient, "
            f"not {shown(loss)}."
        )
    if loss.ndim:
        raise GraphError(f"{here()}a loss has no axes; {describe(loss.node)} has {loss.ndim}. Take its mean first.")
    params = [
        tensor(n) for n in toposort([loss.node]) if isinstance(n, Leaf) and n.role == "param" and n.dtype in FLOATS
    ]
    if not params:
        raise GraphError(f"{here()}the loss has no parameters to update: declare some with gg.param.")
    return list(zip(params, grad(loss, params), strict=True))


def _step_length(lr: Any, optimiser: str) -> tuple[Updates, Any]:
    """The first updates and the step length: a schedule needs the number of steps taken, a state."""
    if not callable(lr):
        return {}, lr
    steps = declared(f"{optimiser}_step", (), "int64", "state")
    with naming("step_length"):
        length = lr(steps)
    with naming(f"{steps.name}_next"):
        following = steps + 1
    return {steps: following}, length


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else array.full((), _number(value), "float64")


def _as(value: Any, like: Tensor) -> Any:
    """A number as it is; a tensor in the dtype of another."""
    return array.cast(value, like.dtype) if isinstance(value, Tensor) else _number(value)


def _number(value: Any) -> float:
    """A step length or another setting that is no tensor."""
    if not hasattr(value, "__float__"):
        raise GraphError(f"{here()}a step length is {shown(value)}: give a number, a tensor, or a schedule.")
    return float(value)


def __getattr__(name: str) -> NoReturn:
    near = "" if name.startswith("_") else nearest(name, __all__, "gg.optim")
    raise AttributeError(f"module 'gradgen.nn.optim' has no attribute {name!r}{near}")
