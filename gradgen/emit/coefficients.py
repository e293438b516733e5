"""Derives the numbers in templates/cpu/scalar: minimax polynomials and the split of ln 2.

In: the functions as mpmath knows them. Out: the literals of the snippets, checked by
`python -m gradgen.emit.coefficients` and written anew by the same with `--write templates`.
scalar_library.py hands the snippets to the emitter.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
from mpmath import mp

from gradgen.emit.scalar_library import template_path
from gradgen.emit.templates import template_text

Real = Any  # an mpf; mpmath has no types
DIGITS = 60  # (exp(r) - 1 - r) / r**2 loses a third of them near 0


@dataclass(frozen=True)
class Fit:
    """name(variable): the polynomial with the smallest maximum of |weight * (polynomial - target)| on [low, high]."""

    name: str
    variable: str
    degree: int
    low: float
    high: float
    target: Callable[[Real], Real]
    weight: Callable[[Real], Real]  # turns an error of the polynomial into a relative error of the result


@dataclass(frozen=True)
class Solution:
    coefficients: tuple[Real, ...]  # constant term first
    error: float  # of the result, relative, before the coefficients are rounded


def expm1_tail(degree: int) -> Fit:
    """exp(r) = 1 + r + r**2 q(r) for |r| <= log(2) / 2."""
    return Fit(
        "q",
        "r",
        degree,
        low=-0.34658,
        high=0.34658,
        target=lambda r: (mp.expm1(r) - r) / r**2,
        weight=lambda r: r**2 / mp.expm1(r),
    )


def log_tail(degree: int) -> Fit:
    """log((1 + s) / (1 - s)) = 2 s + s z q(z) with z = s**2, for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)."""
    return Fit(
        "q",
        "z",
        degree,
        low=0.0,
        high=0.02944,
        target=lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z,
        weight=lambda z: z / 2,
    )


def erf_near(degree: int) -> Fit:
    """erf(x) = x + x q(z) with z = x**2, for |x| <= 1."""
    return Fit(
        "q",
        "z",
        degree,
        low=0.0,
        high=1.0,
        target=lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        weight=lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
    )


def erf_far(degree: int, high: float) -> Fit:
    """erf(t) = 1 - exp(t p(t)) for 1 <= t <= high, where erf rounds to 1."""
    return Fit(
        "p",
        "t",
        degree,
        low=1.0,
        high=high,
        target=lambda t: mp.log(mp.erfc(t)) / t,
        weight=lambda t: t * mp.erfc(t) / mp.erf(t),
    )


def erfc_scaled(degree: int, centre: int, high: float) -> Fit:
    """erfc(t) = exp(-t**2) p(s) / (1 + 2 t) for s = (t - centre) / (t + centre), 0 <= t <= high."""

    def target(s: Real) -> Real:
        t = centre * (1 + s) / (1 - s)
        return (1 + 2 * t) * mp.exp(t * t) * mp.erfc(t)

    return Fit("p", "s", degree, -1.0, (high - centre) / (high + centre), target, lambda s: 1 / target(s))


def erfinv_central(degree: int, middle: float) -> Fit:
    """erfinv(x) = x q(v) with v = w - middle, w = -log(1 - x**2) <= 2 middle."""

    def target(v: Real) -> Real:
        x = mp.sqrt(-mp.expm1(-(v + middle)))
        return mp.erfinv(x) / x

    return Fit("q", "v", degree, -middle, middle, target, lambda v: 1 / target(v))


def erfinv_tail(name: str, degree: int, middle: float, low: float, high: float) -> Fit:
    """erfinv(x) = x r(v) with v = sqrt(w) - middle, w = -log(1 - x**2), for low <= sqrt(w) <= high."""

    def target(v: Real) -> Real:
        x = mp.sqrt(-mp.expm1(-((v + middle) ** 2)))
        return mp.erfinv(x) / x

    return Fit(name, "v", degree, low - middle, high - middle, target, lambda v: 1 / target(v))


def lgamma_near(degree: int) -> Fit:
    """log gamma(2 + z) = z (z + 1) p(z) for |z| <= 1/2."""
    return Fit(
        "p",
        "z",
        degree,
        low=-0.5,
        high=0.5,
        target=lambda z: mp.loggamma(2 + z) / (z * (1 + z)),
        weight=lambda z: z * (1 + z) / mp.loggamma(2 + z),
    )


def lgamma_far(degree: int) -> Fit:
    """log gamma(t) = (t - 1/2) log(t) - t + log(2 pi) / 2 + q(u) / t with u = 1 / t**2, for t >= 8."""

    def target(u: Real) -> Real:
        t = 1 / mp.sqrt(u)
        return t * (mp.loggamma(t) - (t - 0.5) * mp.log(t) + t - mp.log(2 * mp.pi) / 2)

    return Fit("q", "u", degree, 0.0, 1 / 64, target, lambda u: mp.sqrt(u) / mp.loggamma(1 / mp.sqrt(u)))


def digamma_far(degree: int) -> Fit:
    """psi(t) = log(t) - 1 / (2 t) - u q(u) with u = 1 / t**2, for t >= 8."""

    def target(u: Real) -> Real:
        t = 1 / mp.sqrt(u)
        return (mp.log(t) - 1 / (2 * t) - mp.digamma(t)) / u

    return Fit("q", "u", degree, 0.0, 1 / 64, target, lambda u: u / mp.digamma(1 / mp.sqrt(u)))


def grid(fit: Fit) -> list[Real]:
    """Chebyshev's points of the interval, denser at its ends as the extrema of the error are; never 0 itself."""
    count = 32 * (fit.degree + 2)
    middle, half = (mp.mpf(fit.low) + fit.high) / 2, (mp.mpf(fit.high) - fit.low) / 2
    return [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def weighted_errors(fit: Fit, coefficients: Sequence[Real], xs: list[Real]) -> list[Real]:
    return [fit.weight(x) * (mp.polyval(coefficients[::-1], x) - fit.target(x)) for x in xs]


@cache
def minimax(fit: Fit) -> Solution:
    """Remez's exchange on the points of `grid`."""
    with mp.workdps(DIGITS):
        xs = grid(fit)
        count = len(xs)
        ys, ws = [fit.target(x) for x in xs], [fit.weight(x) for x in xs]
        points = [(2 * i + 1) * count // (2 * (fit.degree + 2)) for i in range(fit.degree + 2)]
        for _ in range(30):
            rows = [[xs[p] ** j for j in range(fit.degree + 1)] + [(-1) ** i / ws[p]] for i, p in enumerate(points)]
            *coefficients, level = mp.lu_solve(mp.matrix(rows), mp.matrix([ys[p] for p in points]))
            errors = [w * (mp.polyval(coefficients[::-1], x) - y) for x, y, w in zip(xs, ys, ws, strict=True)]
            worst = max(map(abs, errors))
            if worst <= abs(level) * mp.mpf("1.001"):
                return Solution(tuple(coefficients), float(worst))
            points = alternating_extrema(errors, fit.degree + 2)
    raise AssertionError(f"the exchange for {fit.name}({fit.variable}) did not settle")


def alternating_extrema(errors: list[Real], wanted: int) -> list[int]:
    """The places of the largest errors between changes of sign, `wanted` neighbouring ones."""
    places = [0]
    for i, error in enumerate(errors):
        if error * errors[places[-1]] < 0:
            places.append(i)
        elif abs(error) > abs(errors[places[-1]]):
            places[-1] = i
    while len(places) > wanted:
        places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
    return places


EXP = {"float32": expm1_tail(5), "float64": expm1_tail(10)}
LOG = {"float32": log_tail(2), "float64": log_tail(6)}
ERF = {
    "float32": (erf_near(6), erf_far(6, high=4.0)),
    "float64": (erf_near(11), erf_far(18, high=6.0)),
}
ERFC = {"float32": erfc_scaled(9, 2, 11.0), "float64": erfc_scaled(22, 4, 28.0)}
DIGAMMA = {"float32": digamma_far(2), "float64": digamma_far(7)}
ERFINV = {
    "float32": (erfinv_central(9, 2.5), erfinv_tail("r", 9, 3.0, 2.236, 4.08)),
    "float64": (
        erfinv_central(24, 3.125),
        erfinv_tail("r", 20, 3.25, 2.5, 4.0),
        erfinv_tail("p", 18, 5.0, 4.0, 6.01),
    ),
}
LGAMMA = {
    "float32": (lgamma_near(7), lgamma_far(1)),
    "float64": (lgamma_near(19), lgamma_far(6)),
}
FITS: dict[tuple[str, str], tuple[Fit, ...]] = {
    (function, dtype): fits
    for dtype in ("float32", "float64")
    for function, fits in (
        ("exp", (EXP[dtype],)),
        ("expm1", (EXP[dtype],)),
        ("log", (LOG[dtype],)),
        ("log1p", (LOG[dtype],)),
        ("erf", ERF[dtype]),
        ("erfc", (ERFC[dtype],)),
        ("erfinv", ERFINV[dtype]),
        ("lgamma", LGAMMA[dtype]),
        ("digamma", (DIGAMMA[dtype],)),
    )
}
# log(2) = ln2_hi + ln2_lo, where ln2_hi has so few bits that its product with an exponent is exact
LN2_HI_BITS = {"float32": 24 - 8, "float64": 53 - 11}


def literal(value: Real, dtype: str) -> str:
    """The shortest text that reads as the number of `dtype` nearest to `value`."""
    return f"np.float32({np.float32(value)!s})" if dtype == "float32" else repr(float(value))


def constants(function: str, dtype: str) -> dict[str, str]:
    """The derived constants by their names in the snippet, as literals."""
    with mp.workdps(DIGITS):
        bits = LN2_HI_BITS[dtype]
        high = mp.floor(mp.ln2 * 2**bits) / 2**bits
        split = {"ln2_hi": literal(high, dtype), "ln2_lo": literal(mp.ln2 - high, dtype)}
        if function in ("exp", "expm1"):
            return {"log2_e": literal(1 / mp.ln2, dtype), **split}
        return split if function in ("log", "log1p") else {}


def rounded_error(fit: Fit, dtype: str) -> float:
    """The largest relative error of the result with the coefficients rounded to `dtype`, the arithmetic still exact."""
    with mp.workdps(DIGITS):
        rounded = [mp.mpf(float(np.dtype(dtype).type(c))) for c in minimax(fit).coefficients]
        return float(max(map(abs, weighted_errors(fit, rounded, grid(fit)))))


def derived_lines(function: str, dtype: str) -> dict[str, str]:
    """For each derived name of a snippet the lines that assign it: a literal, or a polynomial in Horner's form."""
    lines = {name: f"{name} = {value}\n" for name, value in constants(function, dtype).items()}
    for fit in FITS.get((function, dtype), ()):
        first, *others = (literal(c, dtype) for c in reversed(minimax(fit).coefficients))
        lines[fit.name] = f"{fit.name} = {first}\n"
        lines[fit.name] += "".join(f"{fit.name} = {fit.name} * {fit.variable} + {c}\n" for c in others)
    return lines


def with_derived_lines(text: str, function: str, dtype: str) -> str:
    """The snippet with the assignments of its derived names replaced; equal to `text` when they are up to date."""
    for name, lines in derived_lines(function, dtype).items():
        margin = "".join(re.findall(rf"(?m)^( +){name} = ", text)[:1])
        text, count = re.subn(rf"(?m)(?:^ +{name} = .*\n)+", indent(lines, margin), text)  # the lines hold no backslash
        if count != 1:
            raise ValueError(f"{function} {dtype} assigns {name} in {count} places; it must be one run of lines.")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gradgen.emit.coefficients")
    parser.add_argument("--write", metavar="TEMPLATES", type=Path, help="the folder whose snippets to bring up to date")
    templates = parser.parse_args().write
    status = 0
    for (function, dtype), fits in FITS.items():
        path = template_path(function, dtype)
        text = template_text(path)
        derived = with_derived_lines(text, function, dtype)
        for fit in fits:
            sys.stdout.write(
                f"{function:5} {dtype}  {fit.name}({fit.variable}), degree {fit.degree:2} on [{fit.low}, {fit.high}]: "
                f"relative error {minimax(fit).error:.1e}, rounded {rounded_error(fit, dtype):.1e}\n"
            )
        if templates is not None:
            (templates / path).write_text(derived, encoding="utf-8")
        elif derived != text:
            sys.stdout.write(f"{path} differs from what is derived; --write templates brings it up to date\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
