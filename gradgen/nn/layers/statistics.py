"""Normalisation of channels with running statistics, as layers with PyTorch's names, layouts and defaults.

In: the number of channels, and options. Out: layers that take the statistics of their input in training, and those that
they have carried in evaluation; `nn.running_updates` gives the formulas by which these change.
"""

from collections.abc import Sequence
from typing import Any, ClassVar
from weakref import WeakMethod

from gradgen.errors import GraphError, ShapeError
from gradgen.graph.axes import describe, product_of
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.scalar import Poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import where
from gradgen.nn import init, normalisation
from gradgen.nn.layers.normalisation import affine_parameters, counted
from gradgen.nn.modules import Buffer, Module
from gradgen.nn.running import mixed, note_call, note_carried

__all__ = [
    "BatchNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d",
]  # fmt: skip


class ChannelNorm(Module):
    """Parameters and carried statistics of channels: `weight` and `bias`, `running_mean` and `running_var`, all (C)."""

    forms: ClassVar[dict[int, str]]  # the shapes that it takes, by their number of axes
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.num_features, self.eps, self.momentum = counted(self, num_features, "channels"), eps, momentum
        self.track_running_stats = track_running_stats
        affine_parameters(self, (num_features,), (affine, affine and bias), dtype)
        for key, said in (
            ("running_mean", Buffer((num_features,), dtype, init.zeros())),
            ("running_var", Buffer((num_features,), dtype, init.ones())),
            ("num_batches_tracked", Buffer((), "int64", init.zeros())),
        ):
            self.declare(key, said if track_running_stats else None)

    def takes_own(self, x: Tensor) -> bool:
        """Whether an input is normalised by its own statistics.

        Raises:
            ShapeError: x has no such channels.
        """
        node = x.node
        if len(node.shape) not in self.forms or node.shape[1].constant != self.num_features:
            forms = " or ".join(self.forms.values())
            raise ShapeError(
                f"{here()}{self.name} takes {forms} with {self.num_features} channels, and is given {describe(node)}."
            )
        return self.training or not self.track_running_stats

    def noted(self, x: Tensor, y: Tensor) -> Tensor:
        """y, what the layer computes of x; in training both are noted for the statistics that are carried."""
        if self.training and self.track_running_stats:
            note_call(self, x)
            if not x.node.steps:  # in a scan there are no next values
                carried = WeakMethod(self.carried)
                note_carried(y, lambda: f() if (f := carried()) else (), "eval normalises by first values")
        return y

    def carried(self) -> Sequence[Tensor]:
        """The running mean and variance, if there are any."""
        return [v for v in (self.running_mean, self.running_var) if v is not None]

    def own_statistics(self, x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Mean and variance over axes, without a gradient, as they are carried: with n - 1 below the variance."""
        if x.node.steps:
            raise GraphError(
                f"{here()}{self.name} is called inside a scan: its running statistics have no next values."
            )
        mean, variance = (array.stop_gradient(v) for v in normalisation.moments(x, axes))
        n = product_of(x.node, axes)
        rest = tuple(size for k, size in enumerate(x.shape) if k not in axes)
        return mean.reshape(rest), (variance * n / array.maximum(n - 1, 1)).reshape(rest)

    def mixed_in(
        self, means: tuple[Tensor, Tensor], count: Poly, before: dict[Tensor, Tensor], share: Any
    ) -> dict[Tensor, Tensor]:
        """The running mean and variance after those of one input, which are of so many values for each channel.

        A single value has no variance with n - 1 in its denominator: what is carried stays as it is.
        """
        mean, variance = self.carried()
        next_mean, next_variance = mixed(mean, before, means[0], share), mixed(variance, before, means[1], share)
        kept = before.get(variance, variance)
        if count.constant is None:
            with naming(f"{variance.name}_next"):
                next_variance = where(count > 1, next_variance, kept)
        return {mean: next_mean, variance: kept if count.constant == 1 else next_variance}


class BatchNorm(ChannelNorm):
    """(x - mean) / sqrt(variance + eps) * weight + bias, for each channel (Ioffe and Szegedy 2015).

    In training, mean and variance are those of the batch. What is carried takes them in with the share `momentum`, the
    variance with n - 1 in its denominator; with the momentum None it is the mean over all batches. A batch with one
    value for each channel, which PyTorch refuses, leaves the running variance as it is. Without `track_running_stats`
    nothing is carried, and evaluation takes those of the batch, too.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor.

        Raises:
            ShapeError: x has another number of axes or channels.
        """
        own = self.takes_own(x)
        carried = (None, None) if own else (self.running_mean, self.running_var)
        y = normalisation.batch_norm(x, *carried, self.weight, self.bias, training=own, eps=self.eps)
        return self.noted(x, y)

    def following(self, x: Tensor, before: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """The statistics after one more batch."""
        assert self.num_batches_tracked is not None
        count = before.get(self.num_batches_tracked, self.num_batches_tracked) + 1
        share = self.momentum if self.momentum is not None else 1 / array.cast(count, x.dtype)
        axes = (0, *range(2, x.ndim))
        carried = self.mixed_in(self.own_statistics(x, axes), product_of(x.node, axes), before, share)
        return {**carried, self.num_batches_tracked: count}


class InstanceNorm(ChannelNorm):
    """(x - mean) / sqrt(variance + eps) * weight + bias, for each channel of each example (Ulyanov et al. 2016).

    Options are those of batch normalisation; by default there are neither parameters nor statistics that are carried.
    These take in, with the share `momentum`, the means over examples of their means and variances, and of examples with
    one value for each channel no variance.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, name, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The layer of a tensor, with the examples along axis 0 or without that axis.

        Raises:
            ShapeError: x has another number of axes or channels.
        """
        if len(x.node.shape) + 1 in self.forms:
            return self.forward(x[None])[0]  # type: ignore[no-any-return]  # of a tensor, a tensor
        own = self.takes_own(x)
        carried = (None, None) if own else (self.running_mean, self.running_var)
        y = normalisation.instance_norm(x, *carried, self.weight, self.bias, use_input_stats=own, eps=self.eps)
        return self.noted(x, y)

    def following(self, x: Tensor, before: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """The statistics after one more batch."""
        axes = tuple(range(2, x.ndim))
        mean, variance = self.own_statistics(x, axes)
        means = reducers.mean(mean, axis=0), reducers.mean(variance, axis=0)
        return self.mixed_in(means, product_of(x.node, axes), before, self.momentum)


class BatchNorm1d(BatchNorm):
    """Batch normalisation of (N, C) and (N, C, L): see `BatchNorm`."""

    forms: ClassVar[dict[int, str]] = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(BatchNorm):
    """Batch normalisation of (N, C, H, W): see `BatchNorm`."""

    forms: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}


class BatchNorm3d(BatchNorm):
    """Batch normalisation of (N, C, D, H, W): see `BatchNorm`."""

    forms: ClassVar[dict[int, str]] = {5: "(N, C, D, H, W)"}


class InstanceNorm1d(InstanceNorm):
    """Instance normalisation of (N, C, L): see `InstanceNorm`."""

    forms: ClassVar[dict[int, str]] = {3: "(N, C, L)"}


class InstanceNorm2d(InstanceNorm):
    """Instance normalisation of (N, C, H, W): see `InstanceNorm`."""

    forms: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}


class InstanceNorm3d(InstanceNorm):
    """Instance normalisation of (N, C, D, H, W): see `InstanceNorm`."""

    forms: ClassVar[dict[int, str]] = {5: "(N, C, D, H, W)"}
