"""The 35 test functions of Moré, Garbow and Hillstrom, typed as index formulas.

J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing unconstrained optimization software", ACM Transactions on
Mathematical Software 7 (1981), 17-41, in the order and with the letters of that paper; all are sums of squares.
`optimisation_plain` has the same functions a second time, in plain Python.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi
from typing import Any

import gradgen as gg

BARD = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39]
GAUSSIAN = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989]
GAUSSIAN += GAUSSIAN[-2::-1]
MEYER = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
KOWALIK = [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
KOWALIK_U = [4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]
OSBORNE_1 = [
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628, 0.603,
    0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411,
    0.406,
]  # fmt: skip
OSBORNE_2 = [
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608, 0.655, 0.616, 0.606,
    0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495, 0.500, 0.423,
    0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668,
    0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098,
    0.054,
]  # fmt: skip


def squares(f: Any) -> Any:
    """The sum of squares of a vector, or of a few numbers."""
    return gg.sum(f**2) if isinstance(f, gg.Tensor) else sum(part**2 for part in f)


def rosenbrock(x: Any) -> Any:
    return squares((10 * (x[1] - x[0] ** 2), 1 - x[0]))


def freudenstein_roth(x: Any) -> Any:
    return squares(
        (-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]),
    )


def powell_badly_scaled(x: Any) -> Any:
    return squares((1e4 * x[0] * x[1] - 1, gg.exp(-x[0]) + gg.exp(-x[1]) - 1.0001))


def brown_badly_scaled(x: Any) -> Any:
    return squares((x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2))


def beale(x: Any) -> Any:
    return squares([y - x[0] * (1 - x[1] ** i) for i, y in ((1, 1.5), (2, 2.25), (3, 2.625))])


def jennrich_sampson(x: Any) -> Any:
    i = gg.index("i", 10)
    return squares(gg.compute(i, 2 + 2 * (i + 1) - (gg.exp((i + 1) * x[0]) + gg.exp((i + 1) * x[1]))))


def helical_valley(x: Any) -> Any:
    theta = gg.atan(x[1] / x[0]) / (2 * pi) + gg.where(x[0] > 0, 0.0, 0.5)
    return squares((10 * (x[2] - 10 * theta), 10 * (gg.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]))


def bard(x: Any, y: Any) -> Any:
    i = gg.index("i", 15)
    u, v = i + 1, 15 - i
    return squares(gg.compute(i, y[i] - (x[0] + u / (v * x[1] + gg.minimum(u, v) * x[2]))))


def gaussian(x: Any, y: Any) -> Any:
    i = gg.index("i", 15)
    t = (7 - i) / 2
    return squares(gg.compute(i, x[0] * gg.exp(-x[1] * (t - x[2]) ** 2 / 2) - y[i]))


def meyer(x: Any, y: Any) -> Any:
    i = gg.index("i", 16)
    t = 45 + 5 * (i + 1)
    return squares(gg.compute(i, x[0] * gg.exp(x[1] / (t + x[2])) - y[i]))


def gulf(x: Any) -> Any:
    i = gg.index("i", 99)
    t = (i + 1) / 100
    y = 25 + (-50 * gg.log(t)) ** (2 / 3)
    return squares(gg.compute(i, gg.exp(-(gg.abs(y - x[1]) ** x[2]) / x[0]) - t))


def box(x: Any) -> Any:
    i = gg.index("i", 10)
    t = 0.1 * (i + 1)
    f = gg.exp(-t * x[0]) - gg.exp(-t * x[1]) - x[2] * (gg.exp(-t) - gg.exp(-(i + 1)))
    return squares(gg.compute(i, f))


def powell_singular(x: Any) -> Any:
    a, b, c, d = x[0], x[1], x[2], x[3]
    return squares((a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2))


def wood(x: Any) -> Any:
    a, b, c, d = x[0], x[1], x[2], x[3]
    f = (10 * (b - a**2), 1 - a, 90**0.5 * (d - c**2), 1 - c, 10**0.5 * (b + d - 2), 10**-0.5 * (b - d))
    return squares(f)


def kowalik_osborne(x: Any, y: Any, u: Any) -> Any:
    i = gg.index("i", 11)
    return squares(gg.compute(i, y[i] - x[0] * (u[i] ** 2 + u[i] * x[1]) / (u[i] ** 2 + u[i] * x[2] + x[3])))


def brown_dennis(x: Any) -> Any:
    i = gg.index("i", 20)
    t = (i + 1) / 5
    return squares(
        gg.compute(i, (x[0] + t * x[1] - gg.exp(t)) ** 2 + (x[2] + x[3] * gg.sin(t) - gg.cos(t)) ** 2),
    )


def osborne_1(x: Any, y: Any) -> Any:
    i = gg.index("i", 33)
    t = 10 * i
    return squares(gg.compute(i, y[i] - (x[0] + x[1] * gg.exp(-t * x[3]) + x[2] * gg.exp(-t * x[4]))))


def biggs_exp6(x: Any) -> Any:
    i = gg.index("i", 13)
    t = 0.1 * (i + 1)
    y = gg.exp(-t) - 5 * gg.exp(-10 * t) + 3 * gg.exp(-4 * t)
    return squares(gg.compute(i, x[2] * gg.exp(-t * x[0]) - x[3] * gg.exp(-t * x[1]) + x[5] * gg.exp(-t * x[4]) - y))


def osborne_2(x: Any, y: Any) -> Any:
    i = gg.index("i", 65)
    k = gg.index("k", 3)
    t = i / 10
    peaks = gg.sum(x[k + 1] * gg.exp(-((t - x[k + 8]) ** 2) * x[k + 5]), over=k)
    return squares(gg.compute(i, y[i] - (x[0] * gg.exp(-t * x[4]) + peaks)))


def watson(x: Any) -> Any:
    n = x.shape[0]
    i, j, k = gg.index("i", 29), gg.index("j", n - 1), gg.index("k", n)
    t = (i + 1) / 29
    f = gg.sum((j + 1) * x[j + 1] * t**j, over=j) - gg.sum(x[k] * t**k, over=k) ** 2 - 1
    return squares(gg.compute(i, f)) + squares((x[0], x[1] - x[0] ** 2 - 1))


def extended_rosenbrock(x: Any) -> Any:
    i = gg.index("i", x.shape[0] // 2)
    return gg.compute((), gg.sum((10 * (x[2 * i + 1] - x[2 * i] ** 2)) ** 2 + (1 - x[2 * i]) ** 2, over=i))


def extended_powell_singular(x: Any) -> Any:
    i = gg.index("i", x.shape[0] // 4)
    a, b, c, d = (x[4 * i + k] for k in range(4))
    f = (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4
    return gg.compute((), gg.sum(f, over=i))


def penalty_1(x: Any) -> Any:
    i, j = gg.indices("i j")
    return gg.compute((), gg.sum(1e-5 * (x[i] - 1) ** 2, over=i) + (gg.sum(x[j] ** 2, over=j) - 0.25) ** 2)


def penalty_2(x: Any) -> Any:
    n = x.shape[0]
    i, j, k = gg.index("i", n - 1), gg.index("j", n - 1), gg.index("k", n)
    y = gg.exp((i + 2) / 10) + gg.exp((i + 1) / 10)
    f = gg.exp(x[i + 1] / 10) + gg.exp(x[i] / 10) - y
    g = gg.exp(x[j + 1] / 10) - gg.exp(-1 / 10)
    last = gg.sum((n - k) * x[k] ** 2, over=k) - 1
    return (x[0] - 0.2) ** 2 + gg.compute((), gg.sum(1e-5 * f**2, over=i) + gg.sum(1e-5 * g**2, over=j) + last**2)


def variably_dimensioned(x: Any) -> Any:
    i, j = gg.indices("i j")
    s = gg.compute((), gg.sum((j + 1) * (x[j] - 1), over=j))
    return gg.compute((), gg.sum((x[i] - 1) ** 2, over=i) + s**2 + s**4)


def trigonometric(x: Any) -> Any:
    n = x.shape[0]
    i, j = gg.indices("i j")
    f = n - gg.sum(gg.cos(x[j]), over=j) + (i + 1) * (1 - gg.cos(x[i])) - gg.sin(x[i])
    return squares(gg.compute(i, f))


def brown_almost_linear(x: Any) -> Any:
    n = x.shape[0]
    i, j = gg.index("i", n - 1), gg.index("j", n)
    return squares(gg.compute(i, x[i] + gg.sum(x[j], over=j) - (n + 1))) + (gg.prod(x) - 1) ** 2


def discrete_boundary_value(x: Any) -> Any:
    n = x.shape[0]
    i, h = gg.index("i", n), 1 / (x.shape[0] + 1)
    t = (i + 1) * h
    border = gg.padded(x)
    f = 2 * x[i] - border[i - 1] - border[i + 1] + h**2 * (x[i] + t + 1) ** 3 / 2
    return squares(gg.compute(i, f))


def discrete_integral_equation(x: Any) -> Any:
    n = x.shape[0]
    i, j, k, h = gg.index("i", n), gg.index("j", n), gg.index("k", n), 1 / (x.shape[0] + 1)
    t = (i + 1) * h
    t_j, t_k = (j + 1) * h, (k + 1) * h
    below = gg.sum(gg.where(j <= i, t_j * (x[j] + t_j + 1) ** 3, 0), over=j)
    above = gg.sum(gg.where(k > i, (1 - t_k) * (x[k] + t_k + 1) ** 3, 0), over=k)
    return squares(gg.compute(i, x[i] + h * ((1 - t) * below + t * above) / 2))


def broyden_tridiagonal(x: Any) -> Any:
    i = gg.index("i", x.shape[0])
    border = gg.padded(x)
    return squares(gg.compute(i, (3 - 2 * x[i]) * x[i] - border[i - 1] - 2 * border[i + 1] + 1))


def broyden_banded(x: Any) -> Any:
    i, j = gg.indices("i j")
    near = (j != i) & (j >= i - 5) & (j <= i + 1)
    return squares(gg.compute(i, x[i] * (2 + 5 * x[i] ** 2) + 1 - gg.sum(gg.where(near, x[j] * (1 + x[j]), 0), over=j)))


def linear_full_rank(x: Any) -> Any:
    n, m = x.shape[0], 20
    i, j = gg.index("i", m), gg.index("j", n)
    return squares(gg.compute(i, gg.padded(x)[i] - 2 / m * gg.sum(x[j], over=j) - 1))


def linear_rank_1(x: Any) -> Any:
    i, j = gg.index("i", 20), gg.index("j", x.shape[0])
    return squares(gg.compute(i, (i + 1) * gg.sum((j + 1) * x[j], over=j) - 1))


def linear_rank_1_zeros(x: Any) -> Any:
    i, j = gg.index("i", 18), gg.index("j", x.shape[0] - 2)
    return squares(gg.compute(i, (i + 1) * gg.sum((j + 2) * x[j + 1], over=j) - 1)) + 2


def chebyquad(x: Any) -> Any:
    n = x.shape[0]
    y = 2 * x - 1

    def step(carry: Any, _: Any) -> Any:
        before, now = carry
        return (now, 2 * y * now - before), now

    _, polynomials = gg.scan(step, (gg.ones_like(y), y), length=n)
    i, j = gg.indices("i j")
    order = i + 1
    integral = gg.where(order % 2 == 0, -1 / gg.maximum(order**2 - 1, 1), 0)
    return squares(gg.compute(i, gg.mean(polynomials[i, j], over=j) - integral))


@dataclass(frozen=True)
class Function:
    """A function, the paper's starting point, the value there, and the least value (as far as each is published)."""

    formula: Callable[..., Any]
    start: tuple[float, ...]
    at_start: float | None
    least: float | None = None
    data: tuple[Sequence[float], ...] = ()

    @property
    def name(self) -> str:
        return self.formula.__name__


def _boundary(n: int) -> tuple[float, ...]:
    """The start of the discretised problems: t (t - 1)."""
    return tuple(i / (n + 1) * (i / (n + 1) - 1) for i in range(1, n + 1))


FUNCTIONS = (
    Function(rosenbrock, (-1.2, 1), 24.2, 0),
    Function(freudenstein_roth, (0.5, -2), 400.5, 48.9842),
    Function(powell_badly_scaled, (0, 1), 1.13526),
    Function(brown_badly_scaled, (1, 1), 999998000003),
    Function(beale, (1, 1), 14.203125, 0),
    Function(jennrich_sampson, (0.3, 0.4), 4171.31, 124.362),
    Function(helical_valley, (-1, 0, 0), 2500, 0),
    Function(bard, (1, 1, 1), 41.6817, 8.21487e-3, (BARD,)),
    Function(gaussian, (0.4, 1, 0), 3.88811e-6, 1.12793e-8, (GAUSSIAN,)),
    Function(meyer, (0.02, 4000, 250), 1.69361e9, None, (MEYER,)),
    Function(gulf, (5, 2.5, 0.15), 12.1107),
    Function(box, (0, 10, 20), 1031.15),
    Function(powell_singular, (3, -1, 0, 1), 215),
    Function(wood, (-3, -1, -3, -1), 19192, 0),
    Function(kowalik_osborne, (0.25, 0.39, 0.415, 0.39), 5.31317e-3, 3.07505e-4, (KOWALIK, KOWALIK_U)),
    Function(brown_dennis, (25, 5, -5, -1), 7926693.337, 85822.2),
    Function(osborne_1, (0.5, 1.5, -1, 0.01, 0.02), 0.879026, None, (OSBORNE_1,)),
    Function(biggs_exp6, (1, 2, 1, 1, 1, 1), 0.779070, None),
    Function(osborne_2, (1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5), 2.09342, 4.01377e-2, (OSBORNE_2,)),
    Function(watson, (0,) * 6, 30, 2.28767e-3),
    Function(extended_rosenbrock, (-1.2, 1) * 5, 121, 0),
    Function(extended_powell_singular, (3, -1, 0, 1) * 3, 645),
    Function(penalty_1, (1, 2, 3, 4), 885.063, 2.24997e-5),
    Function(penalty_2, (0.5,) * 4, 2.34001, 9.37629e-6),
    Function(variably_dimensioned, tuple(1 - k / 10 for k in range(1, 11)), 2198551.1625, 0),
    Function(trigonometric, (1 / 10,) * 10, 7.07575e-3),
    Function(brown_almost_linear, (0.5,) * 10, 273.248, None),
    Function(discrete_boundary_value, _boundary(10), None, 0),
    Function(discrete_integral_equation, _boundary(10), None, 0),
    Function(broyden_tridiagonal, (-1,) * 10, None, 0),
    Function(broyden_banded, (-1,) * 10, None, 0),
    Function(linear_full_rank, (1,) * 10, 50, 10),
    Function(linear_rank_1, (1,) * 10, None, 20 * 19 / (2 * (2 * 20 + 1))),
    Function(linear_rank_1_zeros, (1,) * 10, None, (20**2 + 3 * 20 - 6) / (2 * (2 * 20 - 3))),
    Function(chebyquad, tuple(k / 9 for k in range(1, 9)), 3.86177e-2, 3.51687e-3),
)
