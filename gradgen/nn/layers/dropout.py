"""Layers that drop elements or channels at random while they train.

In: a probability. Out: layers whose masks are formulas of a seed, the number of the step and the place of the element.
"""

from functools import cache
from typing import Any

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang.compute import compute, where
from gradgen.lang.declare import declared, derived, indices_over
from gradgen.nn.modules import Module
from gradgen.nn.random import Seed, random_bits
from gradgen.nn.running import note_call, note_carried

__all__ = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "dropout"]


def dropout(x: Tensor, p: float = 0.5, training: bool = True, *, seed: Tensor | int, step: Tensor | int = 0) -> Tensor:
    """x * keep / (1 - p), where keep is 0 with the probability p, else 1 (Srivastava et al. 2014).

    The mask is a formula of seed, step and place: equal ones give equal masks. Without `training` it is x.

    Args:
        x: floats of any shape.
        p: the probability that an element is dropped.
        training: whether any is dropped.
        seed: an integer, or an integer tensor without axes: another one for every place that drops.
        step: the same; an update has to count it, or every step drops the same elements.

    Raises:
        OptionError: p is no probability.
        DTypeError: seed or step are no integers.
    """
    return _dropped(x, p, training, seed, step, x.ndim, "keep")


def _dropped(
    x: Tensor, p: float, training: bool, seed: Tensor | int, step: Tensor | int, axes: int, name: str
) -> Tensor:
    """Dropout by one number for the first axes, whatever the others are."""
    p = _probability(p, "dropout")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    with naming(name):
        keep = random_bits(x.shape[:axes], seed, step) >= min(round(p * 2**32), 2**32 - 1)
    places = indices_over(x.shape)
    if not places:
        return x * where(keep, 1.0 / (1.0 - p), 0.0)  # type: ignore[no-any-return]  # of tensors, a tensor
    return compute(places, x[places] * where(keep[places[:axes]] if axes else keep, 1.0 / (1.0 - p), 0.0))


@cache
def dropout_step() -> Tensor:
    """The state that counts the steps for all layers."""
    step = declared("dropout_step", (), "int64", "state")
    note_carried(step, lambda: (step,), "every step drops the same elements")
    return step


def _probability(p: Any, of: str) -> float:
    if not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise OptionError(f"{here()}{of} has p={shown(p)}: give the probability to drop, from 0 to 1.")
    return float(p)


class Dropout(Module):
    """x * keep / (1 - p), where keep is 0 with the probability p, else 1; in `eval`, x (Srivastava et al. 2014).

    The mask is Philox of a seed, a step and the place of the element (Salmon et al. 2011). The seed is the state
    `drop_seed` of `drop = nn.Dropout(0.5)`, drawn by `net.init`; every call of the layer has one of its own. The step
    is the state `dropout_step`, which all layers share and which `nn.running_updates` counts. In the body of a scan
    the mask is the same for all steps of the scan.

        net = gg.compile({"loss": loss}, updates=gg.optim.adam(loss) | nn.running_updates(layers))
    """

    def __init__(self, p: float = 0.5, name: str | None = None) -> None:
        self.called(name)
        self.p = _probability(p, self.name)

    def forward(self, x: Tensor) -> Tensor:
        """The tensor with elements dropped."""
        return self.dropped(x, x.ndim)

    def dropped(self, x: Tensor, axes: int) -> Tensor:
        """The tensor with elements dropped, by one number for the first axes."""
        if not self.training or self.p == 0:
            return x
        seed = declared(f"{self.name}_seed", (), "uint32", "state", Seed())
        derived(seed)
        note_call(self, x)
        return _dropped(x, self.p, True, seed, dropout_step(), axes, f"{self.name}_keep")

    def following(self, x: Tensor, before: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """The number of steps, one more for all layers and calls."""
        return {dropout_step(): dropout_step() + 1}


class _Channels(Dropout):
    """Dropout of whole channels: one number for all that the axes behind the channels hold (Tompson et al. 2015)."""

    form: str
    axes: dict[int, int]  # by their number, how many stand in front of the places of a channel

    def forward(self, x: Tensor) -> Tensor:
        """The tensor with channels dropped.

        Raises:
            ShapeError: x has not the axes that the layer takes.
        """
        if x.ndim not in self.axes:
            raise ShapeError(f"{here()}{self.name} takes {self.form}, and is given {describe(x.node)}.")
        return self.dropped(x, self.axes[x.ndim])


class Dropout1d(_Channels):
    """Dropout of whole channels of (N, C, L) or (C, L)."""

    form, axes = "(N, C, L) or (C, L)", {3: 2, 2: 1}


class Dropout2d(_Channels):
    """Dropout of whole channels of (N, C, H, W), or of (N, C, L), as in PyTorch."""

    form, axes = "(N, C, H, W) or (N, C, L)", {4: 2, 3: 2}


class Dropout3d(_Channels):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    form, axes = "(N, C, D, H, W) or (C, D, H, W)", {5: 2, 4: 1}
