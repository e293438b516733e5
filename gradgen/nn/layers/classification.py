"""Losses of classes and of sequences of symbols, as layers with PyTorch's names and options.

In: options. Out: layers without parameters, called with scores and labels.
"""

from gradgen.graph.tensor import Tensor
from gradgen.nn import classification
from gradgen.nn.ctc import ctc_loss
from gradgen.nn.modules import Module

__all__ = ["CTCLoss", "CrossEntropyLoss", "MultiMarginLoss", "NLLLoss"]


class CrossEntropyLoss(Module):
    """-log(exp(u_b) / sum_j exp(u_j)), of scores u and labels b; options as for `cross_entropy`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.weight, self.ignore_index = weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss of scores (N, C, ...) and labels (N, ...), or probabilities (N, C, ...)."""
        return classification.cross_entropy(
            scores, labels, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(Module):
    """-log p_b, of log-probabilities and labels b; options as for `cross_entropy`."""

    def __init__(self, weight: Tensor | None = None, ignore_index: int | None = None, reduction: str = "mean") -> None:
        self.weight, self.ignore_index, self.reduction = weight, ignore_index, reduction

    def forward(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        """The loss of log-probabilities (N, C, ...) and labels (N, ...)."""
        return classification.nll_loss(log_probabilities, labels, self.weight, self.ignore_index, self.reduction)


class MultiMarginLoss(Module):
    """sum_j max(0, margin - u_b + u_j)**p / C, of scores u and labels b; options as for `multi_margin_loss`."""

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, reduction: str = "mean") -> None:
        self.p, self.margin, self.weight, self.reduction = p, margin, weight, reduction

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The loss of scores (N, C) and labels (N)."""
        return classification.multi_margin_loss(scores, labels, self.p, self.margin, self.weight, self.reduction)


class CTCLoss(Module):
    """-log p(targets | frames), over all ways to stretch the targets; options as for `ctc_loss`."""

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        self.blank, self.reduction, self.zero_infinity = blank, reduction, zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> Tensor:
        """The loss of log-probabilities (T, N, C) and targets (N, S), with their lengths (N)."""
        return ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
