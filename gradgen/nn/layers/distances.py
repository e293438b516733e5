"""Distances of vectors, and the losses made of them, as layers with PyTorch's names and options.

In: options. Out: layers without parameters, called with pairs or triples of vectors, or with their distances.
"""

from typing import Any

from gradgen.graph.tensor import Tensor
from gradgen.nn import distances
from gradgen.nn.modules import Module

__all__ = [
    "CosineEmbeddingLoss", "CosineSimilarity", "HingeEmbeddingLoss", "MarginRankingLoss", "PairwiseDistance",
    "TripletMarginLoss",
]  # fmt: skip


class CosineSimilarity(Module):
    """x1 . x2 / (|x1| |x2|), of vectors along an axis."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The likeness of every pair of vectors."""
        return distances.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The distance of every pair of vectors."""
        return distances.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)


class CosineEmbeddingLoss(Module):
    """1 - cos(x1, x2) where the target is 1, and max(0, cos(x1, x2) - margin) where it is -1."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, x1: Tensor, x2: Tensor, target: Tensor) -> Tensor:
        """The loss of pairs of vectors."""
        return distances.cosine_embedding_loss(x1, x2, target, self.margin, self.reduction)


class TripletMarginLoss(Module):
    """max(0, |anchor - positive| - |anchor - negative| + margin); options as for `triplet_margin_loss`."""

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        self.options: dict[str, Any] = {"margin": margin, "p": p, "eps": eps, "swap": swap, "reduction": reduction}

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of triples of vectors."""
        return distances.triplet_margin_loss(anchor, positive, negative, **self.options)


class MarginRankingLoss(Module):
    """max(0, -t * (x1 - x2) + margin): x1 shall be larger where t is 1, smaller where it is -1."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, x1: Tensor, x2: Tensor, target: Tensor) -> Tensor:
        """The loss of pairs of numbers."""
        return distances.margin_ranking_loss(x1, x2, target, self.margin, self.reduction)


class HingeEmbeddingLoss(Module):
    """x where the target is 1, and max(0, margin - x) where it is -1, of distances x."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of tensors of one shape."""
        return distances.hinge_embedding_loss(x, target, self.margin, self.reduction)
