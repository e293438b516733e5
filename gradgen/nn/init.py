"""First values of parameters, with PyTorch's names and defaults.

In: a generator, a shape, a dtype. Out: an array; `gg.param(..., init=...)` keeps the record, `net.init` draws.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gradgen.errors import ShapeError
from gradgen.graph.constants import LARGEST, numbers_of
from gradgen.graph.nodes import Leaf, tuple_text
from gradgen.graph.scalar import FLOATS
from gradgen.lang.declare import Assigned, GivenNumbers, Initialiser, initialiser

__all__ = [
    "constant", "fans", "kaiming_normal", "kaiming_uniform", "normal", "ones", "uniform", "xavier_normal",
    "xavier_uniform", "zeros",
]  # fmt: skip


_SHORT = 60  # letters of a list; longer ones are a text of several lines


@dataclass(frozen=True, slots=True)
class Constant:
    """The same number everywhere."""

    value: float

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        return np.full(shape, self.value, dtype)

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        return [Assigned("...", _number(self.value), draws=False)] if self.value else []


@dataclass(frozen=True, slots=True)
class Given:
    """The numbers of a constant."""

    of: Leaf

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        numbers = numbers_of(self.of, dtype)
        assert numbers is not None
        return numbers

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        numbers = numbers_of(self.of, dtype)
        assert numbers is not None
        if not numbers.size:
            return []
        listed = str(numbers.astype(str).tolist()).replace("'", "")  # the shortest that give the same numbers again
        if len(listed) <= _SHORT and np.isfinite(numbers).all():
            return [Assigned("...", listed, draws=False)]
        kind = "int64" if dtype == "bool" else dtype  # every text but "" is true
        texts = np.atleast_1d(numbers.astype(kind).astype(str))
        rows = texts.reshape(-1, texts.shape[-1])
        text = "\n    ".join(line for row in rows for line in textwrap.wrap(" ".join(row), 100))
        value = f'np.fromstring(\n    """\n    {text}\n    """,\n    np.{kind},\n    sep=" ",\n)'
        value = f"{value}.reshape({tuple_text(shape)})"
        return [Assigned("...", value, draws=False)]


@dataclass(frozen=True, slots=True)
class Uniform:
    """Independent and uniform in [low, high)."""

    low: float
    high: float

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        return rng.uniform(self.low, self.high, shape).astype(dtype)

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        given = f"{_number(self.low)}, {_number(self.high)}, {tuple_text(shape)}"
        return [Assigned("...", f"{rng}.uniform({given})", draws=True)]


@dataclass(frozen=True, slots=True)
class Normal:
    """Independent and Gaussian."""

    mean: float
    std: float

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        return rng.normal(self.mean, self.std, shape).astype(dtype)

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        given = f"{_number(self.mean)}, {_number(self.std)}, {tuple_text(shape)}"
        return [Assigned("...", f"{rng}.normal({given})", draws=True)]


@dataclass(frozen=True, slots=True)
class Scaled:
    """Variance gain**2 / fan: of the inputs (Kaiming), or the mean of inputs and outputs (Xavier)."""

    fan: Literal["in", "out", "mean"]
    gain: float
    distribution: Literal["uniform", "normal"]

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        return self._at(shape).draw(rng, shape, dtype)

    def _at(self, shape: tuple[int, ...]) -> Uniform | Normal:
        fan_in, fan_out = fans(shape)
        fan = {"in": fan_in, "out": fan_out, "mean": (fan_in + fan_out) / 2}[self.fan]
        std = self.gain / math.sqrt(max(fan, 1))
        return (
            Normal(0.0, std) if self.distribution == "normal" else Uniform(-math.sqrt(3.0) * std, math.sqrt(3.0) * std)
        )

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        if all(extent.isdecimal() for extent in shape):
            return self._at(tuple(map(int, shape))).written(shape, dtype, rng)
        fan_in, fan_out = (" * ".join([f"({shape[at]})", *(f"({extent})" for extent in shape[2:])]) for at in (1, 0))
        fan = {"in": fan_in, "out": fan_out, "mean": f"({fan_in} + {fan_out}) / 2"}[self.fan]
        std = f"{_number(self.gain)} / np.sqrt(max({fan}, 1))"
        end = f"{math.sqrt(3.0)!r} * ({std})"
        ends = f"0.0, {std}" if self.distribution == "normal" else f"-{end}, {end}"
        return [Assigned("...", f"{rng}.{self.distribution}({ends}, {tuple_text(shape)})", draws=True)]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of one unit, for a weight of shape (out, in, *kernel).

    Raises:
        ShapeError: fewer than two axes.
    """
    if len(shape) < 2:
        raise ShapeError(f"the fan of a tensor of shape {shape} is not defined: two axes are needed.")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def _number(value: float) -> str:
    """A number as an expression over `np`."""
    if math.isfinite(value):
        return repr(value)
    return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"


def zeros() -> Constant:
    """0 everywhere."""
    return Constant(0.0)


def ones() -> Constant:
    """1 everywhere."""
    return Constant(1.0)


def constant(value: float) -> Constant:
    """The same number everywhere."""
    return Constant(value)


def uniform(low: float = 0.0, high: float = 1.0) -> Uniform:
    """Uniform in [low, high)."""
    return Uniform(low, high)


def normal(mean: float = 0.0, std: float = 1.0) -> Normal:
    """Gaussian."""
    return Normal(mean, std)


def kaiming_uniform(a: float = 0.0, fan: Literal["in", "out"] = "in") -> Scaled:
    """Uniform with variance 2 / ((1 + a**2) * fan) (He et al. 2015); a is the slope of a leaky ReLU below zero.

    PyTorch's layers use a = sqrt(5), which is uniform in +- 1 / sqrt(fan_in).
    """
    return Scaled(fan, math.sqrt(2.0 / (1.0 + a * a)), "uniform")


def kaiming_normal(a: float = 0.0, fan: Literal["in", "out"] = "in") -> Scaled:
    """Gaussian with variance 2 / ((1 + a**2) * fan) (He et al. 2015)."""
    return Scaled(fan, math.sqrt(2.0 / (1.0 + a * a)), "normal")


def xavier_uniform(gain: float = 1.0) -> Scaled:
    """Uniform with variance 2 * gain**2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    return Scaled("mean", gain, "uniform")


def xavier_normal(gain: float = 1.0) -> Scaled:
    """Gaussian with variance 2 * gain**2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    return Scaled("mean", gain, "normal")


def _written(given: GivenNumbers) -> Initialiser:
    """The same for saved modules, if they are to hold so many numbers."""
    numbers = numbers_of(given.of, "float64" if given.of.dtype in FLOATS else None)
    assert numbers is not None
    if not numbers.ndim:
        return Constant(numbers.item())
    return Given(given.of) if numbers.size <= LARGEST else given


def initialiser_of(leaf: Leaf) -> Initialiser:
    """How a first value is drawn; where the declaration says nothing, weights as PyTorch's layers do, the rest 0."""
    given = initialiser(leaf)
    if isinstance(given, GivenNumbers):
        return _written(given)
    if given is not None:
        return given
    if leaf.role == "constant":
        return Given(leaf)
    return kaiming_uniform(math.sqrt(5.0)) if leaf.role == "param" and len(leaf.shape) > 1 else zeros()
