"""Step lengths that depend on how many steps have been taken: functions for the `lr` of an optimiser.

In: numbers. Out: a function from the number of steps taken so far (0 at the first; int64) to a float64 tensor.
"""

from collections.abc import Callable
from math import pi

from gradgen.errors import OptionError
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array
from gradgen.lang.compute import where

__all__ = ["Schedule", "cosine", "exponential", "linear", "polynomial", "step_decay", "warmup"]

Schedule = Callable[[Tensor], Tensor]


def exponential(lr: float, factor: float) -> Schedule:
    """lr * factor**t."""
    return lambda steps: lr * factor ** _float(steps)


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor**(t // every)."""
    _positive(every, "every")
    return lambda steps: lr * factor ** _float(steps // every)


def linear(lr: float, end: float, length: int) -> Schedule:
    """From lr to `end` in equal parts over `length` steps, and `end` from then on."""
    return polynomial(lr, end, length, 1.0)


def polynomial(lr: float, end: float, length: int, power: float = 2.0) -> Schedule:
    """end + (lr - end) * (1 - t / length)**power, and `end` from the last of `length` steps on."""
    _positive(length, "length")
    return lambda steps: end + (lr - end) * (1.0 - _share(steps, length)) ** power


def cosine(lr: float, length: int, end: float = 0.0) -> Schedule:
    """Half a wave from lr to `end` over `length` steps, and `end` from then on (Loshchilov and Hutter 2017)."""
    _positive(length, "length")
    return lambda steps: end + (lr - end) * 0.5 * (1.0 + array.cos(pi * _share(steps, length)))


def warmup(schedule: Schedule | float, length: int, start: float = 0.0) -> Schedule:
    """`start` times the schedule at first, rising linearly to the whole of it over `length` steps; then the schedule.

    The schedule counts from the first step, and not from the end of the warm-up.
    """
    _positive(length, "length")

    def warm(steps: Tensor) -> Tensor:
        full = schedule(steps) if callable(schedule) else array.full((), schedule, "float64")
        share = start + (1.0 - start) * _share(steps, length)
        return where(steps < length, full * share, full)  # type: ignore[no-any-return]  # of tensors, a tensor

    return warm


def _float(steps: Tensor) -> Tensor:
    return array.float64(steps)  # type: ignore[no-any-return]  # of a tensor, a tensor


def _share(steps: Tensor, length: int) -> Tensor:
    """How much of a length has been walked, at most 1."""
    return array.minimum(_float(steps) / length, 1.0)  # type: ignore[no-any-return]  # of a tensor, a tensor


def _positive(value: int, name: str) -> None:
    if value < 1:
        raise OptionError(f"{here()}{name} is {value}: a number of steps is 1 or more.")
