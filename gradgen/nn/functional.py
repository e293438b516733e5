"""Functions of tensors that layers are made of, and losses, by the names that PyTorch has in `nn.functional`.

In: tensors. Out: tensors, each by the formula that the textbook prints. Nothing is rearranged for stability: the
compiler does that, for every formula alike.
"""

from gradgen.errors import ShapeError
from gradgen.graph.axes import axis_number, describe
from gradgen.graph.place import here
from gradgen.graph.scalar import Poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import array
from gradgen.lang.compute import compute
from gradgen.lang.declare import index
from gradgen.nn.activations import *  # noqa: F403
from gradgen.nn.classification import *  # noqa: F403
from gradgen.nn.ctc import ctc_loss as ctc_loss
from gradgen.nn.distances import *  # noqa: F403
from gradgen.nn.losses import *  # noqa: F403
from gradgen.nn.normalisation import *  # noqa: F403


def one_hot(labels: Tensor, classes: int | Poly) -> Tensor:
    """1.0 where the last index is the label, else 0.0: (...) integers to (..., C) float32."""
    places = tuple(index("n" if k == 0 else f"n{k}", size) for k, size in enumerate(labels.shape))
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
