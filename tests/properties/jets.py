"""Derivatives of every order by Taylor polynomials: arithmetic of truncated series, apart from everything in gradgen.

In: a number, and how it moves. Out: `Jet`, with operators; its coefficients times factorials are the derivatives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial

import numpy as np


@dataclass(frozen=True)
class Jet:
    """a[0] + a[1] h + a[2] h**2 + ..., up to the power that the caller asked for."""

    series: np.ndarray

    def __add__(self, other: "Jet | float") -> "Jet":
        return Jet(self.series + self._other(other))

    def __sub__(self, other: "Jet | float") -> "Jet":
        return Jet(self.series - self._other(other))

    def __mul__(self, other: "Jet | float") -> "Jet":
        return Jet(np.convolve(self.series, self._other(other))[: len(self.series)])

    __radd__, __rmul__ = __add__, __mul__

    def derivatives(self) -> list[float]:
        return [float(a) * factorial(k) for k, a in enumerate(self.series)]

    def _other(self, other: "Jet | float") -> np.ndarray:
        return other.series if isinstance(other, Jet) else np.r_[other, np.zeros(len(self.series) - 1)]


def sin(x: Jet) -> Jet:
    return _composed(x, lambda k: np.sin(x.series[0] + k * np.pi / 2))


def exp(x: Jet) -> Jet:
    return _composed(x, lambda k: np.exp(x.series[0]))


def _composed(x: Jet, derivative: Callable[[int], float]) -> Jet:
    """f(x) by the derivatives of f where x begins: the rest of x is nilpotent."""
    rest, power = Jet(np.r_[0.0, x.series[1:]]), Jet(np.eye(len(x.series))[0])
    total = Jet(np.zeros(len(x.series)))
    for k in range(len(x.series)):
        total, power = total + power * (derivative(k) / factorial(k)), power * rest
    return total
