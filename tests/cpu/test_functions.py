"""Every scalar function: value, gradient, tangent and second derivative, over ordinary and special arguments.

All functions are compiled into one file per dtype, because Numba's compilation is what takes time; by default half of
them has machine code in float64, the other half in float32.
"""

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
import sympy

import gradgen as gg
from gradgen.graph.compositions import COMPOSITIONS
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret
from gradgen.network import Network
from gradgen.passes.prepare.retarget import retarget
from tests.cpu.function_table import ENTRIES, EXCEPTIONS, Entry
from tests.cpu.running import unjitted
from tests.repeats import DTYPES, by_turns, turn

DIRECTION = (1.0, 0.7)
TOLERANCE = {"float64": 1e-9, "float32": 2e-5}
HUGE = {"float64": 1e300, "float32": 1e30}
FAR = 1e15  # second derivatives are compared below: squares overflow beyond
UNARY = (0.0, 1e-5, 0.3, 0.5, 1.0, 1.5, 2.5, 3.0, 6.0, 7.3, 30.5, 100.25, np.inf)
BINARY = (0.0, 0.3, 1.0, 2.5, 30.5, np.inf)


def both_signs(values: tuple[float, ...], dtype: str) -> np.ndarray:
    info = np.finfo(dtype)
    all_values = [*values, HUGE[dtype], 1 / HUGE[dtype]] if values is UNARY else [*values, HUGE[dtype]]
    subnormal = [float(info.smallest_subnormal), float(info.tiny) / 2] if values is UNARY else []
    return np.array([*all_values, *subnormal, *[-v for v in (*all_values, *subnormal)], np.nan], dtype)


@cache
def arguments(dtype: str) -> dict[str, np.ndarray]:
    x, one = both_signs(UNARY, dtype), both_signs(BINARY, dtype)
    a, b = np.meshgrid(one, one)
    return {"x": x, "a": a.ravel(), "b": b.ravel()}


def of(entry: Entry, given: dict[str, Any]) -> list[Any]:
    return [given["x"]] if entry.arity == 1 else [given["a"], given["b"]]


@cache
def inputs() -> dict[str, Tensor]:
    return {name: gg.input(name, values.shape) for name, values in arguments("float64").items()}


@cache
def first() -> dict[str, Tensor]:
    """Values and gradients of all functions."""
    found = {}
    for name, entry in ENTRIES.items():
        xs = of(entry, inputs())
        found[f"{name}_value"] = y = entry.ours(*xs)
        if entry.gradient:
            found |= {f"{name}_d{k}": d for k, d in enumerate(gg.vjp(y, xs, None))}
    return found


@cache
def second() -> dict[str, Tensor]:
    """Tangents along DIRECTION in forward mode, and the gradients of the gradients along it."""
    found = {}
    for name, entry in ENTRIES.items():
        if not entry.gradient:
            continue
        xs = of(entry, inputs())
        y = entry.ours(*xs)
        found[f"{name}_jvp"] = gg.jvp(y, xs, [gg.full(x.shape, c) for x, c in zip(xs, DIRECTION, strict=False)])
        along = sum(c * d for c, d in zip(DIRECTION, gg.vjp(y, xs, None), strict=False))
        below = set(toposort([along.node]))
        for k, x in enumerate(xs):
            found[f"{name}_s{k}"] = gg.vjp(along, x, None) if x.node in below else gg.zeros(x.shape)
    return found


@cache
def compiled(dtype: str, order: int) -> Network:
    return gg.compile({1: first, 2: second}[order](), name=f"functions_{order}", dtype=dtype)


@cache
def jitted(dtype: str, by_default: bool) -> Network:
    """Values and gradients of half of the functions: of those whose turn it is in this dtype, or of the others."""
    names = [name for name in ENTRIES if (turn(tuple(ENTRIES), name) == dtype) is by_default]
    outputs = {key: y for key, y in first().items() if key.rpartition("_")[0] in names}
    return gg.compile(outputs, name=f"functions_{'first' if by_default else 'second'}_half", dtype=dtype)


@cache
def results(way: str, dtype: str, order: int) -> dict[str, np.ndarray]:
    with np.errstate(all="ignore"):
        if way == "interpreted":
            outputs = {1: first, 2: second}[order]()
            nodes, mapped = retarget([y.node for y in outputs.values()], dtype, {})
            leaves = [mapped.get(n, n) for n in toposort([y.node for y in outputs.values()]) if isinstance(n, Leaf)]
            return dict(zip(outputs, interpret(nodes, {n: arguments(dtype)[n.name] for n in leaves}), strict=True))
        if way == "plain":
            return unjitted(compiled(dtype, order))(**arguments(dtype))
        return jitted(dtype, way == "jitted")(**arguments(dtype))


@cache
def by_jax(name: str, dtype: str) -> dict[str, np.ndarray]:
    """In float64, at the arguments that the dtype has."""
    entry = ENTRIES[name]
    xs = [np.asarray(x, np.float64) for x in of(entry, arguments(dtype))]
    found = {"value": jax.vmap(entry.jax)(*xs)}
    if entry.gradient:
        every = tuple(range(entry.arity))
        gradient = jax.grad(entry.jax, every)

        def along(*each: Any) -> Any:
            return sum(c * d for c, d in zip(DIRECTION, gradient(*each), strict=False))

        found |= {f"d{k}": d for k, d in enumerate(jax.vmap(gradient)(*xs))}
        found |= {"jvp": jax.vmap(along)(*xs)}
        found |= {f"s{k}": d for k, d in enumerate(jax.vmap(jax.grad(along, every))(*xs))}
    return {part: np.asarray(value) for part, value in found.items()}


def assert_equal(found: np.ndarray, wanted: np.ndarray, where: np.ndarray, what: str, xs: list[Any]) -> None:
    """Relative above 1, absolute below, nan and infinities as they are; overflow of float32 is an infinity."""
    tolerance = TOLERANCE["float32" if found.dtype == np.float32 else "float64"]
    with np.errstate(all="ignore"):
        rounded = wanted.astype(found.dtype)
        close = np.abs(found.astype(np.float64) - wanted) <= tolerance * np.maximum(1.0, np.abs(wanted))
        good = (found == rounded) | (np.isnan(found) & np.isnan(rounded)) | close | ~where
    bad = [(*[float(x[i]) for x in xs], f"{found[i]!r} for {wanted[i]!r}") for i in np.flatnonzero(~good)]
    assert not bad, f"{what}: {bad[:5]}"


def ordinary(part: str, xs: list[Any], reference: dict[str, np.ndarray]) -> np.ndarray:
    """Where JAX is asked: not at subnormal numbers, which it takes for 0, and for second derivatives see FAR."""
    smallest = [float(np.finfo(x.dtype).tiny) for x in xs]
    where = np.all([(x == 0) | ~(np.abs(x) < tiny) for x, tiny in zip(xs, smallest, strict=True)], axis=0)
    if part.startswith("s"):
        where &= np.all([np.abs(x) < FAR for x in xs], axis=0) & np.isfinite(reference["jvp"])
        where &= np.isfinite(reference["value"])
    return np.asarray(where)


def test_every_function_has_an_entry() -> None:
    assert set(ENTRIES) == {*FUNCTIONS, *COMPOSITIONS}
    assert set(EXCEPTIONS) <= set(ENTRIES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ENTRIES)
def test_values_and_gradients_as_plain_python(name: str, dtype: str) -> None:
    check(name, dtype, "plain", 1, ("value", "d0", "d1"))


@pytest.mark.parametrize(("name", "dtype"), by_turns(tuple(ENTRIES)))
def test_values_and_gradients_jitted(name: str, dtype: str) -> None:
    by_default = dtype == turn(tuple(ENTRIES), name)
    check(name, dtype, "jitted" if by_default else "jitted, the others", 1, ("value", "d0", "d1"))


@pytest.mark.parametrize("name", ENTRIES)
def test_tangents_and_second_derivatives(name: str) -> None:
    check(name, "float64", "plain", 2, ("jvp", "s0", "s1"))


def check(name: str, dtype: str, way: str, order: int, parts: tuple[str, ...]) -> None:
    entry, xs = ENTRIES[name], of(ENTRIES[name], arguments(dtype))
    reference = by_jax(name, dtype)
    for part in parts:
        found = results(way, dtype, order).get(f"{name}_{part}")
        if found is None:
            assert part != "value"
            assert part.endswith("1") or not entry.gradient
            continue
        if reference["value"].dtype.kind == "f":
            assert found.dtype == ("float64" if name == "float64" and part == "value" else dtype)
        else:
            assert found.dtype == reference["value"].dtype
        where = ordinary(part, xs, reference)
        for difference in EXCEPTIONS.get(name, ()):
            here = difference.where(*xs) & where
            if part in difference.parts.split():
                if difference.wanted is not None and part in difference.wanted:
                    chosen = [np.asarray(x[here], np.float64) for x in xs]
                    wanted = difference.wanted[part](*chosen)
                    assert_equal(found[here], wanted, np.ones(wanted.shape, bool), f"{name} {part}", chosen)
                where &= ~here
        assert_equal(found, reference[part], where, f"{name} {part}, JAX", xs)
        interpreted = results("interpreted", dtype, order)[f"{name}_{part}"]
        known = np.ones(found.shape, bool) if order == 1 else where
        assert_equal(found, interpreted, known, f"{name} {part}, interpreter", xs)


# ---------------------------------------------------------------- functions of a user's own


def value(y: Tensor, **arrays: Any) -> Any:
    leaves = [n for n in toposort([y.node]) if isinstance(n, Leaf)]
    with np.errstate(all="ignore"):
        return interpret([y.node], {n: np.asarray(arrays[n.name]) for n in leaves})[0]


x, a = sympy.symbols("x a", real=True)
OWN = {
    "snake": x + sympy.sin(a * x) ** 2 / a,
    "bump": sympy.Piecewise((sympy.exp(-1 / (1 - x**2)), sympy.Abs(x) < 1), (0, True)),
    "bands": sympy.Piecewise((a * x**2, (x < -0.5) | (x > 2)), (sympy.log(x + 3), sympy.Ne(x, 1)), (x, True)),
    "clamped": sympy.Max(sympy.Min(x, 1, a), -1) + sympy.Heaviside(x, 1) * sympy.sqrt(x**2 + 1),
    "special": sympy.erf(x) + sympy.gamma(2) * sympy.loggamma(x + 4) + sympy.digamma(x + 4) + sympy.sinc(x),
    "hyperbolic": sympy.tanh(x) * sympy.atan2(x, a) + sympy.cosh(x) ** sympy.Rational(-1, 2) + sympy.pi**x + sympy.E,
    "rounded": sympy.floor(x) * x + sympy.ceiling(a) * x + sympy.sign(x) * x,
}


@pytest.mark.parametrize("name", OWN)
def test_own_functions_and_their_derivatives_are_those_of_sympy(name: str) -> None:
    formula = OWN[name]
    symbols = [s for s in (x, a) if s in formula.free_symbols]
    xs = np.array([-2.3, -0.7, 0.31, 0.8, 1.7, 2.6])
    ys = np.full(6, 1.3)
    given = {"x": xs, "a": ys}
    tensors = [gg.input(str(s), (6,), dtype="float64") for s in symbols]
    y = gg.function(name, formula, symbols)(*tensors)
    gradient = gg.vjp(y, tensors[0], None)
    numbers = [{s: sympy.Rational(float(given[str(s)][k])) for s in symbols} for k in range(6)]
    wanted = [float(formula.subs(n).evalf()) for n in numbers]
    np.testing.assert_allclose(value(y, **given), wanted, rtol=1e-13)
    h = sympy.Rational(1, 10**12)
    for k, n in enumerate(numbers):
        ends = [formula.subs({**n, x: n[x] + s * h}).evalf(40) for s in (1, -1)]
        assert value(gradient, **given)[k] == pytest.approx(float((ends[0] - ends[1]) / (2 * h)), rel=1e-9, abs=1e-12)


def test_only_the_branch_taken_contributes() -> None:
    t = gg.input("x", (3,), dtype="float64")
    y = gg.function("safe", sympy.Piecewise((x * sympy.log(x), x > 0), (0, True)))(t)
    at = {"x": np.array([-1.0, 0.0, 1.0])}
    np.testing.assert_array_equal(value(y, **at), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(value(gg.vjp(y, t, None), **at), [0.0, 0.0, 1.0])


def test_own_functions_take_formulas_numbers_and_text() -> None:
    snake = gg.function("snake", "x + sin(a*x)**2/a", ("x", "a"))
    t = gg.input("x", (3, 4))
    n, i = gg.indices("n i")
    assert gg.compute((n, i), snake(t[n, i], 0.5)) is snake(t, 0.5)
    assert snake(t, 0.5).dtype == "float32"


def test_what_is_no_scalar_function_is_refused() -> None:
    with pytest.raises(gg.GradgenError, match=r"mine: SymPy's besselj\(0, x0\) has no scalar function"):
        gg.function("mine", "besselj(0, x)")
    with pytest.raises(gg.GradgenError, match=r"mine: b is not among the arguments x\."):
        gg.function("mine", "x + b", ("x",))
    with pytest.raises(TypeError, match=r"clip takes x, low, high: see help\(gg\.clip\)\."):
        gg.clip(gg.input("x", (3,)), 0.0)
