"""The functions of `optimisation_functions` a second time: residuals by plain loops over numbers of any precision.

In: a list of numbers. Out: a list of residuals; indices count from 1, as in the paper. Nothing here knows gradgen.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mpmath import atan, cos, exp, log, mpf, pi, sin, sqrt

Numbers = list[Any]


def rosenbrock(x: Numbers) -> Numbers:
    return [10 * (x[2] - x[1] * x[1]), 1 - x[1]]


def freudenstein_roth(x: Numbers) -> Numbers:
    return [-13 + x[1] - x[2] ** 3 + 5 * x[2] ** 2 - 2 * x[2], -29 + x[1] + x[2] ** 3 + x[2] ** 2 - 14 * x[2]]


def powell_badly_scaled(x: Numbers) -> Numbers:
    return [10**4 * x[1] * x[2] - 1, exp(-x[1]) + exp(-x[2]) - mpf("1.0001")]


def brown_badly_scaled(x: Numbers) -> Numbers:
    return [x[1] - 10**6, x[2] - mpf("2e-6"), x[1] * x[2] - 2]


def beale(x: Numbers) -> Numbers:
    return [mpf(y) - x[1] + x[1] * x[2] ** i for i, y in enumerate(("1.5", "2.25", "2.625"), start=1)]


def jennrich_sampson(x: Numbers) -> Numbers:
    return [2 + 2 * i - exp(i * x[1]) - exp(i * x[2]) for i in range(1, 11)]


def helical_valley(x: Numbers) -> Numbers:
    theta = atan(x[2] / x[1]) / (2 * pi)
    if x[1] < 0:
        theta += mpf(1) / 2
    return [10 * (x[3] - 10 * theta), 10 * (sqrt(x[1] * x[1] + x[2] * x[2]) - 1), x[3]]


def bard(x: Numbers, y: Numbers) -> Numbers:
    return [y[u] - x[1] - u / ((16 - u) * x[2] + min(u, 16 - u) * x[3]) for u in range(1, 16)]


def gaussian(x: Numbers, y: Numbers) -> Numbers:
    return [x[1] * exp(-x[2] * (mpf(8 - i) / 2 - x[3]) ** 2 / 2) - y[i] for i in range(1, 16)]


def meyer(x: Numbers, y: Numbers) -> Numbers:
    return [x[1] * exp(x[2] / (45 + 5 * i + x[3])) - y[i] for i in range(1, 17)]


def gulf(x: Numbers) -> Numbers:
    found = []
    for i in range(1, 100):
        t = mpf(i) / 100
        y = 25 + (-50 * log(t)) ** (mpf(2) / 3)
        found.append(exp(-(abs(y - x[2]) ** x[3]) / x[1]) - t)
    return found


def box(x: Numbers) -> Numbers:
    found = []
    for i in range(1, 11):
        t = mpf(i) / 10
        found.append(exp(-t * x[1]) - exp(-t * x[2]) - x[3] * (exp(-t) - exp(-10 * t)))
    return found


def powell_singular(x: Numbers) -> Numbers:
    return [x[1] + 10 * x[2], sqrt(5) * (x[3] - x[4]), (x[2] - 2 * x[3]) ** 2, sqrt(10) * (x[1] - x[4]) ** 2]


def wood(x: Numbers) -> Numbers:
    return [
        10 * (x[2] - x[1] ** 2), 1 - x[1], sqrt(90) * (x[4] - x[3] ** 2), 1 - x[3], sqrt(10) * (x[2] + x[4] - 2),
        (x[2] - x[4]) / sqrt(10),
    ]  # fmt: skip


def kowalik_osborne(x: Numbers, y: Numbers, u: Numbers) -> Numbers:
    return [y[i] - x[1] * u[i] * (u[i] + x[2]) / (u[i] * (u[i] + x[3]) + x[4]) for i in range(1, 12)]


def brown_dennis(x: Numbers) -> Numbers:
    found = []
    for i in range(1, 21):
        t = mpf(i) / 5
        found.append((x[1] + t * x[2] - exp(t)) ** 2 + (x[3] + x[4] * sin(t) - cos(t)) ** 2)
    return found


def osborne_1(x: Numbers, y: Numbers) -> Numbers:
    times = [10 * (i - 1) for i in range(1, 34)]
    return [y[i] - x[1] - x[2] * exp(-t * x[4]) - x[3] * exp(-t * x[5]) for i, t in enumerate(times, start=1)]


def biggs_exp6(x: Numbers) -> Numbers:
    found = []
    for i in range(1, 14):
        t = mpf(i) / 10
        y = exp(-t) - 5 * exp(-10 * t) + 3 * exp(-4 * t)
        found.append(x[3] * exp(-t * x[1]) - x[4] * exp(-t * x[2]) + x[6] * exp(-t * x[5]) - y)
    return found


def osborne_2(x: Numbers, y: Numbers) -> Numbers:
    found = []
    for i in range(1, 66):
        t = mpf(i - 1) / 10
        first = x[1] * exp(-t * x[5]) + x[2] * exp(-((t - x[9]) ** 2) * x[6])
        found.append(y[i] - first - x[3] * exp(-((t - x[10]) ** 2) * x[7]) - x[4] * exp(-((t - x[11]) ** 2) * x[8]))
    return found


def watson(x: Numbers) -> Numbers:
    n = len(x) - 1
    found = []
    for i in range(1, 30):
        t = mpf(i) / 29
        slope = sum((j - 1) * x[j] * t ** (j - 2) for j in range(2, n + 1))
        found.append(slope - sum(x[j] * t ** (j - 1) for j in range(1, n + 1)) ** 2 - 1)
    return [*found, x[1], x[2] - x[1] ** 2 - 1]


def extended_rosenbrock(x: Numbers) -> Numbers:
    return [f for i in range(1, len(x), 2) for f in (10 * (x[i + 1] - x[i] ** 2), 1 - x[i])]


def extended_powell_singular(x: Numbers) -> Numbers:
    return [f for i in range(1, len(x), 4) for f in powell_singular([None, *x[i : i + 4]])]


def penalty_1(x: Numbers) -> Numbers:
    return [*(sqrt(mpf("1e-5")) * (v - 1) for v in x[1:]), sum(v * v for v in x[1:]) - mpf(1) / 4]


def penalty_2(x: Numbers) -> Numbers:
    n, root = len(x) - 1, sqrt(mpf("1e-5"))
    found = [x[1] - mpf(1) / 5]
    for i in range(2, n + 1):
        y = exp(mpf(i) / 10) + exp(mpf(i - 1) / 10)
        found.append(root * (exp(x[i] / 10) + exp(x[i - 1] / 10) - y))
    found += [root * (exp(x[i - n + 1] / 10) - exp(-mpf(1) / 10)) for i in range(n + 1, 2 * n)]
    return [*found, sum((n - j + 1) * x[j] ** 2 for j in range(1, n + 1)) - 1]


def variably_dimensioned(x: Numbers) -> Numbers:
    s = sum(j * (x[j] - 1) for j in range(1, len(x)))
    return [*(v - 1 for v in x[1:]), s, s * s]


def trigonometric(x: Numbers) -> Numbers:
    n = len(x) - 1
    cosines = sum(cos(v) for v in x[1:])
    return [n - cosines + i * (1 - cos(x[i])) - sin(x[i]) for i in range(1, n + 1)]


def brown_almost_linear(x: Numbers) -> Numbers:
    n = len(x) - 1
    product = mpf(1)
    for v in x[1:]:
        product *= v
    return [*(x[i] + sum(x[1:]) - (n + 1) for i in range(1, n)), product - 1]


def _bordered(x: Numbers) -> Numbers:
    return [0, *x[1:], 0]


def discrete_boundary_value(x: Numbers) -> Numbers:
    n, v = len(x) - 1, _bordered(x)
    h = mpf(1) / (n + 1)
    return [2 * v[i] - v[i - 1] - v[i + 1] + h**2 * (v[i] + i * h + 1) ** 3 / 2 for i in range(1, n + 1)]


def discrete_integral_equation(x: Numbers) -> Numbers:
    n = len(x) - 1
    h = mpf(1) / (n + 1)
    cubes = [None, *((x[j] + j * h + 1) ** 3 for j in range(1, n + 1))]
    found = []
    for i in range(1, n + 1):
        below = sum(j * h * cubes[j] for j in range(1, i + 1))
        above = sum((1 - j * h) * cubes[j] for j in range(i + 1, n + 1))
        found.append(x[i] + h * ((1 - i * h) * below + i * h * above) / 2)
    return found


def broyden_tridiagonal(x: Numbers) -> Numbers:
    v = _bordered(x)
    return [(3 - 2 * v[i]) * v[i] - v[i - 1] - 2 * v[i + 1] + 1 for i in range(1, len(x))]


def broyden_banded(x: Numbers) -> Numbers:
    n = len(x) - 1
    found = []
    for i in range(1, n + 1):
        near = [j for j in range(max(1, i - 5), min(n, i + 1) + 1) if j != i]
        found.append(x[i] * (2 + 5 * x[i] ** 2) + 1 - sum(x[j] * (1 + x[j]) for j in near))
    return found


def linear_full_rank(x: Numbers) -> Numbers:
    n, m = len(x) - 1, 20
    total = sum(x[1:]) * 2 / mpf(m)
    return [x[i] - total - 1 for i in range(1, n + 1)] + [-total - 1 for _ in range(n, m)]


def linear_rank_1(x: Numbers) -> Numbers:
    s = sum(j * x[j] for j in range(1, len(x)))
    return [i * s - 1 for i in range(1, 21)]


def linear_rank_1_zeros(x: Numbers) -> Numbers:
    n, m = len(x) - 1, 20
    s = sum(j * x[j] for j in range(2, n))
    return [mpf(-1), *((i - 1) * s - 1 for i in range(2, m)), mpf(-1)]


def chebyquad(x: Numbers) -> Numbers:
    n = len(x) - 1
    rows = [[mpf(1)] * n, [2 * v - 1 for v in x[1:]]]
    for _ in range(2, n + 1):
        rows.append([2 * (2 * v - 1) * b - a for v, a, b in zip(x[1:], rows[-2], rows[-1], strict=True)])
    return [sum(rows[i]) / n + (mpf(1) / (i * i - 1) if i % 2 == 0 else 0) for i in range(1, n + 1)]


def value(residuals: Callable[..., Numbers], x: Sequence[float], data: Sequence[Sequence[float]]) -> Any:
    """The sum of squares with mpmath's numbers, of which the caller has set the precision."""
    counted = [[None, *(mpf(v) for v in row)] for row in (x, *data)]
    return sum(f * f for f in residuals(*counted))


def gradient(residuals: Callable[..., Numbers], x: Sequence[float], data: Sequence[Sequence[float]]) -> Numbers:
    """Central differences with a step so small, in 60 digits, that 1e-30 of the gradient is right."""
    step = mpf(10) ** -20
    found = []
    for k in range(len(x)):
        there = [[mpf(v) + (sign * step if i == k else 0) for i, v in enumerate(x)] for sign in (1, -1)]
        ahead, behind = (value(residuals, at, data) for at in there)
        found.append((ahead - behind) / (2 * step))
    return found
