"""Losses that compare numbers, as layers with PyTorch's names and options.

In: options. Out: layers without parameters, called with what is computed and what it should be.
"""

from typing import Any

from gradgen.graph.tensor import Tensor
from gradgen.nn import losses
from gradgen.nn.modules import Module

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "GaussianNLLLoss", "HuberLoss", "KLDivLoss", "L1Loss", "Loss", "MSELoss",
    "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss",
]  # fmt: skip


class Loss(Module):
    """What `reduction` says of the losses: their "mean", their "sum", or with "none" all of them."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction


class MSELoss(Loss):
    """(x - target)**2."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.mse_loss(x, target, self.reduction)


class L1Loss(Loss):
    """|x - target|."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.l1_loss(x, target, self.reduction)


class SmoothL1Loss(Loss):
    """|x - target| - beta / 2, and a parabola where |x - target| is below beta (Girshick 2015)."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.smooth_l1_loss(x, target, self.reduction, self.beta)


class HuberLoss(Loss):
    """(x - target)**2 / 2, and straight lines where |x - target| is above delta (Huber 1964)."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.huber_loss(x, target, self.reduction, self.delta)


class SoftMarginLoss(Loss):
    """log(1 + exp(-t * x)), for targets 1 and -1."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.soft_margin_loss(x, target, self.reduction)


class BCELoss(Loss):
    """-(t * log(x) + (1 - t) * log(1 - x)), of probabilities x."""

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = weight

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.binary_cross_entropy(x, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """-(t * log(sigmoid(x)) + (1 - t) * log(1 - sigmoid(x))), of scores x."""

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.binary_cross_entropy_with_logits(x, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(Loss):
    """t * (log(t) - x), of log-probabilities x; "batchmean" is the divergence of an example."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.kl_div(x, target, self.reduction, self.log_target)


class PoissonNLLLoss(Module):
    """rate - t * log(rate), for counts t; options as for `poisson_nll_loss`."""

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        self.options: dict[str, Any] = {"log_input": log_input, "full": full, "eps": eps, "reduction": reduction}

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.poisson_nll_loss(x, target, **self.options)


class GaussianNLLLoss(Module):
    """(log(v) + (x - t)**2 / v) / 2, for a mean x and a variance v; options as for `gaussian_nll_loss`."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self.options: dict[str, Any] = {"full": full, "eps": eps, "reduction": reduction}

    def forward(self, x: Tensor, target: Tensor, var: Any) -> Tensor:
        """The loss of tensors of one shape."""
        return losses.gaussian_nll_loss(x, target, var, **self.options)
