"""Distances and likenesses of vectors, and the losses made of them, with PyTorch's names and options.

In: tensors, vectors along an axis. Out: a number for every pair of vectors, or what `reduction` makes of their losses.
"""

from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import where
from gradgen.nn.losses import of_one_shape, reduced

__all__ = [
    "cosine_embedding_loss", "cosine_similarity", "hinge_embedding_loss", "margin_ranking_loss", "pairwise_distance",
    "triplet_margin_loss",
]  # fmt: skip


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|), of vectors along an axis; lengths are held above `eps`."""
    lengths = [array.maximum(array.norm(x, axis=dim), eps) for x in (x1, x2)]
    return reducers.sum(x1 * x2, axis=dim) / (lengths[0] * lengths[1])  # type: ignore[no-any-return]  # a tensor


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis, which `keepdim` keeps with size 1."""
    return array.norm(x1 - x2 + eps, p, axis=-1, keepdims=keepdim)


def cosine_embedding_loss(
    x1: Tensor, x2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos(x1, x2) where the target is 1, and max(0, cos(x1, x2) - margin) where it is -1.

    Args:
        x1, x2: floats (N, D), or (D).
        target: (N), or without axes: 1 for alike, -1 for not alike; another target has no loss.
        margin: from -1 to 1.
        reduction: "mean", "sum" or "none".
    """
    x1, x2 = of_one_shape(x1, x2, "cosine_embedding_loss")
    alike = cosine_similarity(x1, x2, dim=-1)
    alike, target = of_one_shape(alike, target, "cosine_embedding_loss")
    losses = where(target == 1, 1 - alike, where(target == -1, array.relu(alike - margin), 0.0))
    return reduced(losses, reduction, "cosine_embedding_loss")


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin) (Balntas et al. 2016).

    Args:
        anchor, positive, negative: floats (N, D), or (D).
        margin: how much further away the negative shall be.
        p, eps: of the distance, as in `pairwise_distance`.
        swap: take the distance of positive and negative where it is smaller than that of anchor and negative.
        reduction: "mean", "sum" or "none".
    """
    anchor, positive = of_one_shape(anchor, positive, "triplet_margin_loss")
    anchor, negative = of_one_shape(anchor, negative, "triplet_margin_loss")
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = array.minimum(far, pairwise_distance(positive, negative, p, eps))
    losses = array.relu(pairwise_distance(anchor, positive, p, eps) - far + margin)
    return reduced(losses, reduction, "triplet_margin_loss")


def margin_ranking_loss(x1: Tensor, x2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """max(0, -t * (x1 - x2) + margin): x1 shall be larger where t is 1, smaller where it is -1."""
    x1, x2 = of_one_shape(x1, x2, "margin_ranking_loss")
    x1, target = of_one_shape(x1, target, "margin_ranking_loss")
    return reduced(array.relu(-target * (x1 - x2) + margin), reduction, "margin_ranking_loss")


def hinge_embedding_loss(x: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """x where the target is 1, and max(0, margin - x) where it is -1, of distances x."""
    x, target = of_one_shape(x, target, "hinge_embedding_loss")
    return reduced(where(target == 1, x, array.relu(margin - x)), reduction, "hinge_embedding_loss")
