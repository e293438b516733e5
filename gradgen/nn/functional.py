"""Activations, normalisations and losses, each as the formula that the textbook prints.

In: tensors. Out: tensors. Nothing here is rearranged for stability: the compiler does that, for every formula alike.
"""

from typing import Any

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.axes import axis_number, axis_numbers, describe
from gradgen.graph.nodes import Node, show_size
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import compute
from gradgen.lang.declare import index
from gradgen.lang.shapes import whole

relu = array.relu
sigmoid = array.sigmoid
tanh = array.tanh
softplus = array.softplus
logsigmoid = array.logsigmoid
silu = array.silu
gelu = array.gelu


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum exp(x), along an axis."""
    e = array.exp(x)
    return e / reducers.sum(e, axis=axis, keepdims=True)  # type: ignore[no-any-return]  # of tensors, a tensor


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(exp(x) / sum exp(x)), along an axis."""
    return array.log(softmax(x, axis))  # type: ignore[no-any-return]  # of a tensor, a tensor


def layer_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, axis: Any = -1, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, along the last axis or axes (Ba et al. 2016).

    `weight` and `bias` have the shape of these axes.
    """
    axes = axis_numbers(axis, x.ndim, describe(x.node))
    centred = x - reducers.mean(x, axis=axes, keepdims=True)
    variance = reducers.mean(centred * centred, axis=axes, keepdims=True)
    y: Tensor = centred * array.rsqrt(variance + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def mse_loss(x: Tensor, target: Tensor) -> Tensor:
    """The mean of (x - target)**2 over all elements; the shapes are equal."""
    _same_shape(x, target, "mse_loss")
    return reducers.mean((x - target) ** 2)  # type: ignore[no-any-return]  # of a tensor, a tensor


def l1_loss(x: Tensor, target: Tensor) -> Tensor:
    """The mean of |x - target| over all elements; the shapes are equal."""
    _same_shape(x, target, "l1_loss")
    return reducers.mean(abs(x - target))  # type: ignore[no-any-return]  # of a tensor, a tensor


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """The mean of -log(exp(u_b) / sum_j exp(u_j)) over the examples.

    Args:
        scores: floats of shape (C), (N, C) or (N, C, ...): unnormalised, classes along axis 1 (or the only one).
        labels: integers of the same shape without the axis of classes.

    Raises:
        ShapeError: shapes that do not fit.
        DTypeError: labels that are no integers.
    """
    u, b = whole(scores, "cross_entropy").node, whole(labels, "cross_entropy").node
    if b.dtype not in ("int32", "int64"):
        raise DTypeError(f"{here()}the labels of cross_entropy are integers; {describe(b)} is {b.dtype}.")
    if not u.shape or u.dtype not in FLOATS:
        raise ShapeError(f"{here()}the scores of cross_entropy are floats along an axis of classes, not {describe(u)}.")
    classes = min(1, len(u.shape) - 1)
    rest = [*u.shape[:classes], *u.shape[classes + 1 :]]
    if len(rest) != len(b.shape) or any(p is not q for p, q in zip(rest, b.shape, strict=True)):
        raise ShapeError(f"{here()}cross_entropy of {describe(u)} with {describe(b)}: {_expected(u, classes)}.")
    examples = tuple(index(name, size) for name, size in zip(_letters(len(rest)), rest, strict=True))
    j = index("j", u.shape[classes])

    def at(k: Any) -> Any:
        return scores[(*examples[:classes], k, *examples[classes:])]

    label = labels[examples] if examples else labels
    p = array.exp(at(label)) / reducers.sum(array.exp(at(j)), over=j)
    return compute((), reducers.mean(-array.log(p), over=examples) if examples else -array.log(p))


def nll_loss(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """The mean of -log p_b over the examples, from (N, C) log-probabilities and (N) integer labels."""
    if log_probabilities.ndim != 2 or labels.ndim != 1:
        raise ShapeError(
            f"{here()}nll_loss of {describe(log_probabilities.node)} with {describe(labels.node)}: give (N, C) and (N)."
        )
    n = index("n", labels.shape[0])
    return compute((), reducers.mean(-log_probabilities[n, labels[n]], over=n))


def binary_cross_entropy_with_logits(scores: Tensor, target: Tensor) -> Tensor:
    """The mean of -(t * log(sigmoid(x)) + (1 - t) * log(1 - sigmoid(x))) over all elements."""
    _same_shape(scores, target, "binary_cross_entropy_with_logits")
    losses = target * array.logsigmoid(scores) + (1 - target) * array.logsigmoid(-scores)
    return -reducers.mean(losses)  # type: ignore[no-any-return]  # of a tensor, a tensor


def one_hot(labels: Tensor, classes: int | Poly) -> Tensor:
    """1.0 where the last index is the label, else 0.0: (...) integers to (..., C) float32."""
    places = tuple(index(name, size) for name, size in zip(_letters(labels.ndim), labels.shape, strict=True))
    k = index("k", classes)
    label = labels[places] if places else labels
    return compute((*places, k), array.float32(label == k))


def flatten(x: Tensor, start: int = 1, end: int = -1) -> Tensor:
    """The axes from `start` to `end`, which is one of them, as one.

    Raises:
        ShapeError: there are no such axes, or `end` stands in front of `start`.
    """
    first, last = (axis_number(axis, x.ndim, describe(x.node)) for axis in (start, end))
    if last < first:
        raise ShapeError(f"{here()}flatten of {describe(x.node)} from axis {start} to {end}: these are no axes.")
    return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])


def _letters(count: int) -> tuple[str, ...]:
    return ("n", *[f"n{k}" for k in range(1, count)])[:count]


def _expected(u: Node, classes: int) -> str:
    sizes = ", ".join(show_size(s) for k, s in enumerate(u.shape) if k != classes)
    return f"the labels must have the shape ({sizes})"


def _same_shape(x: Tensor, y: Tensor, what: str) -> None:
    x, y = whole(x, what), whole(y, what)
    if len(x.shape) != len(y.shape) or any(p is not q for p, q in zip(x.node.shape, y.node.shape, strict=True)):
        raise ShapeError(f"{here()}{what} of {describe(x.node)} with {describe(y.node)}: the shapes must be equal.")
