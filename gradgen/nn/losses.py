"""Losses that compare numbers, and distances, with PyTorch's names and options.

In: tensors. Out: what `reduction` says: the "mean" of the losses, their "sum", or with "none" all of them.
"""

import math
from typing import Any

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import where
from gradgen.lang.shapes import wholes

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss",
]  # fmt: skip


def mse_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(x - target)**2; the shapes are equal."""
    x, target = of_one_shape(x, target, "mse_loss")
    return reduced((x - target) ** 2, reduction, "mse_loss")


def l1_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|x - target|; the shapes are equal."""
    x, target = of_one_shape(x, target, "l1_loss")
    return reduced(abs(x - target), reduction, "l1_loss")


def smooth_l1_loss(x: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """|d| - beta / 2 for d = x - target, and d**2 / (2 beta) where |d| is below beta (Girshick 2015).

    Raises:
        OptionError: a negative beta.
    """
    x, target = of_one_shape(x, target, "smooth_l1_loss")
    if beta < 0:
        raise OptionError(f"{here()}smooth_l1_loss has the beta {beta}: give 0 or more.")
    if beta == 0:
        return l1_loss(x, target, reduction)
    d = x - target
    return reduced(where(abs(d) < beta, 0.5 * d * d / beta, abs(d) - 0.5 * beta), reduction, "smooth_l1_loss")


def huber_loss(x: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d**2 / 2 for d = x - target, and delta * (|d| - delta / 2) where |d| is above delta (Huber 1964).

    Raises:
        OptionError: a delta that is not positive.
    """
    x, target = of_one_shape(x, target, "huber_loss")
    if delta <= 0:
        raise OptionError(f"{here()}huber_loss has the delta {delta}: give a positive one.")
    d = x - target
    return reduced(where(abs(d) <= delta, 0.5 * d * d, delta * (abs(d) - 0.5 * delta)), reduction, "huber_loss")


def binary_cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """-(t * log(x) + (1 - t) * log(1 - x)), of probabilities x; logarithms are held above -100, as in PyTorch.

    Args:
        x, target: floats of one shape, between 0 and 1.
        weight: factors of the losses, of a shape that broadcasts to theirs.
        reduction: "mean", "sum" or "none".
    """
    x, target = of_one_shape(x, target, "binary_cross_entropy")
    yes, no = array.maximum(array.log(x), -100.0), array.maximum(array.log(1 - x), -100.0)
    losses = -(target * yes + (1 - target) * no)
    return reduced(losses if weight is None else weight * losses, reduction, "binary_cross_entropy")


def binary_cross_entropy_with_logits(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(t * log(sigmoid(x)) + (1 - t) * log(1 - sigmoid(x))), of scores x.

    Args:
        scores, target: floats of one shape.
        weight: factors of the losses, of a shape that broadcasts to theirs.
        reduction: "mean", "sum" or "none".
        pos_weight: factors of the first term, likewise; usually (C).
    """
    scores, target = of_one_shape(scores, target, "binary_cross_entropy_with_logits")
    yes = target if pos_weight is None else pos_weight * target
    losses = -(yes * array.logsigmoid(scores) + (1 - target) * array.logsigmoid(-scores))
    return reduced(losses if weight is None else weight * losses, reduction, "binary_cross_entropy_with_logits")


def soft_margin_loss(x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-t * x)), for targets 1 and -1."""
    x, target = of_one_shape(x, target, "soft_margin_loss")
    return reduced(array.log(1 + array.exp(-target * x)), reduction, "soft_margin_loss")


def kl_div(x: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t * (log(t) - x), of log-probabilities x and probabilities t (Kullback and Leibler 1951).

    Args:
        x, target: floats of one shape; with `log_target` the target is given by its logarithm.
        reduction: "batchmean" for the sum divided by the size of the first axis, which is the divergence of an
            example; or "mean", "sum" or "none" of the terms.
        log_target: whether the target is a logarithm.
    """
    x, target = of_one_shape(x, target, "kl_div")
    terms = array.exp(target) * (target - x) if log_target else array.xlogy(target, target) - target * x
    if reduction == "batchmean":
        return reducers.sum(terms) / x.shape[0]  # type: ignore[no-any-return]  # of a tensor, a tensor
    return reduced(terms, reduction, "kl_div", '"mean", "sum", "none" or "batchmean"')


def poisson_nll_loss(
    x: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """rate - t * log(rate), for counts t, where x is the logarithm of the rate.

    Args:
        x, target: floats of one shape.
        log_input: False where x is the rate itself; then `eps` is added to it inside the logarithm.
        full: add Stirling's log(t!), t * log(t) - t + log(2 pi t) / 2, where t is above 1.
        eps: see `log_input`.
        reduction: "mean", "sum" or "none".
    """
    x, target = of_one_shape(x, target, "poisson_nll_loss")
    losses = array.exp(x) - target * x if log_input else x - target * array.log(x + eps)
    if full:
        stirling = target * array.log(target) - target + 0.5 * array.log(2 * math.pi * target)
        losses = losses + where(target > 1, stirling, 0.0)
    return reduced(losses, reduction, "poisson_nll_loss")


def gaussian_nll_loss(
    x: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log(v) + (x - t)**2 / v) / 2, for a mean x and a variance v (Nix and Weigend 1994).

    Args:
        x, target: floats of one shape.
        var: a number, or a tensor of their shape or one that broadcasts to it; held above `eps`.
        full: add log(2 pi) / 2.
        eps: the smallest variance.
        reduction: "mean", "sum" or "none".
    """
    x, target = of_one_shape(x, target, "gaussian_nll_loss")
    v = array.maximum(var, eps)
    losses = 0.5 * (array.log(v) + (x - target) ** 2 / v)
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction, "gaussian_nll_loss")


# ---------------------------------------------------------------- for all losses


def reduced(losses: Tensor, reduction: str, what: str, known: str = '"mean", "sum" or "none"') -> Tensor:
    """The mean of losses, their sum, or all of them.

    Raises:
        OptionError: another reduction.
    """
    match reduction:
        case "mean":
            return reducers.mean(losses)  # type: ignore[no-any-return]  # of a tensor, a tensor
        case "sum":
            return reducers.sum(losses)  # type: ignore[no-any-return]  # of a tensor, a tensor
        case "none":
            return losses
    raise OptionError(f"{here()}{what} has no reduction {reduction!r}: give {known}.")


def of_one_shape(x: Any, y: Any, what: str) -> list[Tensor]:
    """Both as tensors, of equal shapes.

    Raises:
        ShapeError: they differ.
    """
    x, y = wholes(what, x, y)
    if len(x.shape) != len(y.shape) or any(p is not q for p, q in zip(x.node.shape, y.node.shape, strict=True)):
        raise ShapeError(f"{here()}{what} of {describe(x.node)} with {describe(y.node)}: the shapes must be equal.")
    return [x, y]
