"""Examples of classes: values with an axis of classes beside labels, and how much each example counts.

In: tensors. Out: formulas over the indices of the examples, and what `reduction` makes of their losses.
"""

from dataclasses import dataclass
from typing import Any

from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.nodes import same_shape, show_size
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import reducers
from gradgen.lang.compute import compute, where
from gradgen.lang.declare import index
from gradgen.lang.shapes import whole

__all__ = ["Examples", "Importance", "examples_of", "weights_of"]


@dataclass(frozen=True, slots=True)
class Examples:
    """Values (N, C, ...) and labels (N, ...), and the indices that run over the examples."""

    values: Tensor
    labels: Tensor
    over: tuple[Poly, ...]
    axis: int  # of the classes

    def of_class(self, k: Any) -> Any:
        """The value of a class, for one example."""
        return self.values[(*self.over[: self.axis], k, *self.over[self.axis :])]

    @property
    def label(self) -> Any:
        """The label of one example."""
        return self.labels[self.over] if self.over else self.labels

    @property
    def classes(self) -> Poly:
        """How many classes there are."""
        return self.values.node.shape[self.axis]

    def sum(self, formula: Any) -> Any:
        """The sum of a formula over the examples."""
        return reducers.sum(formula, over=self.over) if self.over else formula

    def reduced(self, loss: Any, importance: Any, reduction: str, what: str) -> Tensor:
        """The losses of all examples as `reduction` says; a mean is weighted by importances where there are some."""
        match reduction:
            case "none":
                return compute(self.over, loss)
            case "sum":
                return compute((), self.sum(loss))
            case "mean" if importance is not None:
                return compute((), self.sum(loss) / self.sum(importance))
            case "mean":
                return compute((), reducers.mean(loss, over=self.over) if self.over else loss)
        raise OptionError(f'{here()}{what} has no reduction {reduction!r}: give "mean", "sum" or "none".')


@dataclass(frozen=True, slots=True)
class Importance:
    """How much an example counts: by a weight for each class, and not at all where the label is one to ignore."""

    weight: Tensor | None
    ignored: int | None

    def of(self, label: Any) -> Any:
        """The importance of an example; None where all count the same."""
        weight = None if self.weight is None else self.weight[label]
        if self.ignored is None:
            return weight
        return where(label != self.ignored, 1.0 if weight is None else weight, 0.0)

    def times(self, label: Any, loss: Any) -> Any:
        """A loss that counts as much as its class does."""
        return loss if self.weight is None else self.weight[label] * loss

    def kept(self, label: Any, loss: Any) -> Any:
        """A loss, or 0 where the label is one to ignore."""
        return loss if self.ignored is None else where(label != self.ignored, loss, 0.0)


def examples_of(values: Tensor, labels: Tensor, what: str) -> Examples:
    """Values and labels that fit each other.

    Raises:
        ShapeError, DTypeError: they do not.
    """
    values, labels = whole(values, what), whole(labels, what)
    u, b = values.node, labels.node
    if b.dtype not in ("int32", "int64"):
        raise DTypeError(f"{here()}the labels of {what} are integers; {describe(b)} is {b.dtype}.")
    if not u.shape or u.dtype not in FLOATS:
        raise ShapeError(f"{here()}the scores of {what} are floats along an axis of classes, not {describe(u)}.")
    axis = min(1, len(u.shape) - 1)
    rest = (*u.shape[:axis], *u.shape[axis + 1 :])
    if not same_shape(rest, b.shape):
        sizes = ", ".join(show_size(s) for s in rest)
        raise ShapeError(
            f"{here()}{what} of {describe(u)} with {describe(b)}: the labels must have the shape ({sizes})."
        )
    letters = ("n", *[f"n{k}" for k in range(1, len(rest))])[: len(rest)]
    return Examples(values, labels, tuple(index(n, s) for n, s in zip(letters, rest, strict=True)), axis)


def weights_of(weight: Tensor | None, x: Examples, what: str) -> Tensor | None:
    """Weights, one for each class.

    Raises:
        ShapeError: they are others.
    """
    if weight is None:
        return None
    weight = whole(weight, what, x.values.dtype)
    if not same_shape(weight.node.shape, (x.classes,)):
        raise ShapeError(
            f"{here()}the weight of {what} has one factor for each of the {show_size(x.classes)} classes, "
            f"not {describe(weight.node)}."
        )
    return weight
