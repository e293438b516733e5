"""Classes: losses of scores and labels, the class that scores choose, and how often it is the right one.

In: scores or log-probabilities with the classes along axis 1 (or the only one), and labels. Out: losses, places, rates.
"""

from typing import Any

from gradgen.errors import GraphError, OptionError, ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.nodes import same_shape
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import where
from gradgen.lang.declare import index
from gradgen.lang.shapes import whole
from gradgen.nn.activations import log_softmax
from gradgen.nn.examples import Examples, Importance, examples_of, weights_of
from gradgen.nn.losses import reduced

__all__ = ["accuracy", "classify", "cross_entropy", "multi_margin_loss", "nll_loss"]


def cross_entropy(
    scores: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log(exp(u_b) / sum_j exp(u_j)) of every example, and H(a, b) = -sum_j a_j log b_j of probabilities a.

    Args:
        scores: floats of shape (C), (N, C) or (N, C, ...): unnormalised, classes along axis 1 (or the only one).
        labels: integers of the same shape without the axis of classes; or probabilities, of the same shape.
        weight: (C), a factor for each class. The mean over labels is then divided by the sum of their weights.
        ignore_index: a label without a loss, which does not count in the mean either. PyTorch has -100 where none is
            given; here a label that is no class is refused then.
        reduction: "mean" over the examples, "sum" or "none".
        label_smoothing: how much of every label is spread over all classes (Szegedy et al. 2016).

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: labels that are neither integers nor probabilities.
        OptionError: an unknown reduction, or a smoothing that is not from 0 to 1.
    """
    scores, labels = whole(scores, "cross_entropy"), whole(labels, "cross_entropy")
    u, b = scores.node, labels.node
    if not 0.0 <= label_smoothing <= 1.0:
        raise OptionError(f"{here()}cross_entropy has the label_smoothing {label_smoothing}: give 0 to 1.")
    if b.dtype in FLOATS and same_shape(u.shape, b.shape) and u.shape:
        if ignore_index is not None:
            raise GraphError(f"{here()}cross_entropy of probabilities has no label to ignore: leave out ignore_index.")
        return reduced(_of_probabilities(scores, labels, weight, label_smoothing), reduction, "cross_entropy")
    x = examples_of(scores, labels, "cross_entropy")
    counts = Importance(weights_of(weight, x, "cross_entropy"), ignore_index)
    j = index("j", x.classes)
    loss = counts.times(x.label, -array.log(_softmax(x, x.label, j)))
    if label_smoothing:
        k = index("k", x.classes)
        every = reducers.sum(counts.times(k, -array.log(_softmax(x, k, j))), over=k)
        loss = (1 - label_smoothing) * loss + label_smoothing * every / x.classes
    return x.reduced(counts.kept(x.label, loss), counts.of(x.label), reduction, "cross_entropy")


def nll_loss(
    log_probabilities: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-log p_b of every example, from log-probabilities; arguments as for `cross_entropy`, which has scores instead."""
    x = examples_of(log_probabilities, labels, "nll_loss")
    counts = Importance(weights_of(weight, x, "nll_loss"), ignore_index)
    loss = counts.times(x.label, -x.of_class(x.label))
    return x.reduced(counts.kept(x.label, loss), counts.of(x.label), reduction, "nll_loss")


def multi_margin_loss(
    scores: Tensor,
    labels: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum_j max(0, margin - u_b + u_j)**p / C over the classes j other than the label (Crammer and Singer 2001).

    Args:
        scores, labels: (N, C) floats and (N) integers, or (C) and ().
        p: 1 or 2.
        margin: how much larger the score of the label shall be.
        weight: (C), a factor for each class.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError: shapes that do not fit.
        OptionError: another power.
    """
    if p not in (1, 2):
        raise OptionError(f"{here()}multi_margin_loss has the power {p!r}: give 1 or 2.")
    x = examples_of(scores, labels, "multi_margin_loss")
    counts = Importance(weights_of(weight, x, "multi_margin_loss"), None)
    j = index("j", x.classes)
    hinge = array.relu(margin - x.of_class(x.label) + x.of_class(j))
    others = reducers.sum(where(j != x.label, hinge if p == 1 else hinge * hinge, 0.0), over=j)
    return x.reduced(counts.times(x.label, others / x.classes), None, reduction, "multi_margin_loss")


def classify(scores: Tensor) -> Tensor:
    """argmax_i u_i, the class that scores choose: (N, C, ...) floats to (N, ...) int64; the first of equal ones."""
    scores = whole(scores, "classify")
    u = scores.node
    if not u.shape:
        raise ShapeError(f"{here()}classify takes scores along an axis of classes, not {describe(u)}.")
    return reducers.argmax(scores, axis=min(1, len(u.shape) - 1))  # type: ignore[no-any-return]  # a tensor


def accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """How many of the examples are classified as their labels say, from 0 to 1; shapes as for `cross_entropy`."""
    x = examples_of(scores, labels, "accuracy")
    right = array.float32(classify(scores) == labels)
    return reducers.mean(right) if x.over else right  # type: ignore[no-any-return]  # of a tensor, a tensor


# ---------------------------------------------------------------- what they are made of


def _softmax(x: Examples, k: Any, j: Poly) -> Any:
    """The probability of class k for one example; j runs over all classes."""
    return array.exp(x.of_class(k)) / reducers.sum(array.exp(x.of_class(j)), over=j)


def _of_probabilities(scores: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    """H(target, softmax(scores)) of every example."""
    axis = min(1, scores.ndim - 1)
    losses = -log_softmax(scores, axis)
    if weight is not None:
        losses = losses * weight.reshape(-1, *[1] * (scores.ndim - axis - 1))
    entropy: Tensor = reducers.sum(target * losses, axis=axis)
    if smoothing:
        entropy = (1 - smoothing) * entropy + smoothing * reducers.mean(losses, axis=axis)
    return entropy
