"""Formulas as a textbook prints them, at +-1000: finite and right with the rewrites for stability, infinite or nan
without them; values and gradients, those of `gg.compile` and those of `gg.grad` and its relatives.

The right numbers are those of the same formula in mpmath, whose exponents have no bounds, and of its difference
quotients at 60 digits.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from mpmath import mp, mpf

import gradgen as gg
from gradgen.graph.tensor import Tensor
from gradgen.network import Network
from gradgen.passes.prepare.stabilize import RULES
from tests.cpu.running import unjitted

FAR = (1000.0, -1000.0, 1000.0, 0.5)
POINTS = (FAR, (1000.0, 999.0, 998.0, 1000.0), (-1000.0, -999.0, -1000.0, -998.0), (0.5, -1.0, 0.25, 2.0))
SCORES = (1e4, -1e4, 9999.0, 1e4)
CHOSEN = (1.0, -1.0, 2.0, 0.5)  # weights, signs, what is kept, centres
LABEL = 1
ROUNDING = {"float32": 3e-4, "float64": 1e-12}  # that of scores of 1000
NAN, INF = float("nan"), float("inf")


class Naive(NamedTuple):
    """A scalar of x and of what is chosen: ours, mpmath's, the rules that fire, and our value at FAR without them."""

    ours: Callable[[Tensor, Tensor], Tensor]
    exact: Callable[[Sequence[Any], Sequence[Any]], Any]
    rules: set[str]
    without: float


def softmax(x: Tensor) -> Tensor:
    e = gg.exp(x)
    return e / gg.sum(e)


def exact_softmax(x: Sequence[Any]) -> list[Any]:
    e = [mp.exp(u) for u in x]
    return [u / mp.fsum(e) for u in e]


def masked_softmax(x: Tensor, c: Tensor) -> Tensor:
    e = gg.where(c > 0, gg.exp(x), 0.0)
    return gg.sum(e / gg.sum(e) * c)


def exact_masked_softmax(x: Sequence[Any], c: Sequence[Any]) -> Any:
    p = exact_softmax([u for u, w in zip(x, c, strict=True) if w > 0])
    return mp.fsum(w * u for w, u in zip([w for w in c if w > 0], p, strict=True))


def mixture(x: Tensor, c: Tensor) -> Tensor:
    """Minus the log-likelihood of points in a mixture of Gaussians, whose weights are a softmax of the points."""
    n, k = gg.indices("n k")
    near = gg.compute((n, k), gg.exp(-0.5 * (x[n] - c[k]) ** 2))
    weight = softmax(x)
    return -gg.sum(gg.log(gg.compute(n, gg.sum(weight[k] * near[n, k], over=k))))


def exact_mixture(x: Sequence[Any], c: Sequence[Any]) -> Any:
    weights = exact_softmax(x)
    rows = [mp.fsum(w * mp.exp(-((u - at) ** 2) / 2) for w, at in zip(weights, c, strict=True)) for u in x]
    return -mp.fsum(mp.log(row) for row in rows)


def exact_softplus(x: Any) -> Any:
    return mp.log(1 + mp.exp(x))


CASES = {
    "softmax": Naive(
        lambda x, c: gg.sum(softmax(x) * c),
        lambda x, c: mp.fsum(w * p for w, p in zip(c, exact_softmax(x), strict=True)),
        {"softmax"},
        NAN,
    ),
    "log_sum_exp": Naive(
        lambda x, c: gg.log(gg.sum(gg.exp(x))),
        lambda x, c: mp.log(mp.fsum(map(mp.exp, x))),
        {"logsumexp"},
        INF,
    ),
    "cross_entropy": Naive(
        lambda x, c: -gg.log(softmax(x)[LABEL]),
        lambda x, c: -mp.log(exact_softmax(x)[LABEL]),
        {"log_exp", "softmax"},
        INF,
    ),
    "softplus": Naive(
        lambda x, c: gg.sum(gg.log(1 + gg.exp(x))),
        lambda x, c: mp.fsum(map(exact_softplus, x)),
        {"softplus"},
        INF,
    ),
    "log_sigmoid": Naive(
        lambda x, c: gg.sum(gg.log(1 / (1 + gg.exp(-x)))),
        lambda x, c: -mp.fsum(exact_softplus(-u) for u in x),
        {"logsigmoid", "sigmoid"},
        -INF,
    ),
    "logistic": Naive(
        lambda x, c: gg.mean(gg.log(1 + gg.exp(-(c * (1.0 - x))))),
        lambda x, c: mp.fsum(exact_softplus(-w * (1 - u)) for w, u in zip(c, x, strict=True)) / 4,
        {"softplus"},
        INF,
    ),
    "masked_softmax": Naive(masked_softmax, exact_masked_softmax, {"mask", "softmax"}, NAN),
    "mixture": Naive(mixture, exact_mixture, {"logsumexp", "softmax"}, NAN),
}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
EVERY = pytest.mark.parametrize("name", CASES)


@cache
def network(dtype: str, skip: tuple[str, ...] = ()) -> Network:
    """All cases, each of a parameter of its own, and their gradients by `gg.grad`."""
    c = gg.input("c", (4,))
    x = {name: gg.param(f"x_{name}", (4,)) for name in CASES}
    values = {name: case.ours(x[name], c) for name, case in CASES.items()}
    total: Any = 0.0
    for value in values.values():
        total = total + value
    gradients = {f"d_{name}": gg.grad(value, x[name], skip=skip) for name, value in values.items()}
    return gg.compile({"total": total, **values, **gradients}, loss="total", name="naive", dtype=dtype, skip=skip)


@cache
def plain(dtype: str) -> Network:
    return unjitted(network(dtype))


def evaluated(net: Network, point: Sequence[float], dtype: str) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays = {f"x_{name}": np.array(point, dtype) for name in CASES}
    with np.errstate(all="ignore"):
        return net.value_and_grad(c=np.array(CHOSEN, dtype), **arrays)


@cache
def exact(name: str, point: tuple[float, ...], order: tuple[int, ...] = (0, 0, 0, 0)) -> float:
    with mp.workdps(60):
        c = [mpf(w) for w in CHOSEN]
        return float(mp.diff(lambda *x: CASES[name].exact(x, c), tuple(map(mpf, point)), order))


def units() -> list[tuple[int, ...]]:
    return [tuple(int(k == at) for k in range(4)) for at in range(4)]


@DTYPES
@pytest.mark.parametrize("point", POINTS, ids=["far", "above", "below", "near"])
@EVERY
def test_values_and_gradients_are_finite_and_right(name: str, point: tuple[float, ...], dtype: str) -> None:
    """Jitted in float32, where the range ends sooner; in float64 as plain Python."""
    outputs, gradients = evaluated(network(dtype) if dtype == "float32" else plain(dtype), point, dtype)
    within = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype]}
    np.testing.assert_allclose(outputs[name], exact(name, point), **within)
    wanted = [exact(name, point, order) for order in units()]
    for found in (gradients[f"x_{name}"], outputs[f"d_{name}"]):
        np.testing.assert_allclose(found, wanted, **within)


@DTYPES
@pytest.mark.parametrize("name", ["softmax", "masked_softmax"])
def test_scores_of_attention_may_be_larger(name: str, dtype: str) -> None:
    test_values_and_gradients_are_finite_and_right(name, SCORES, dtype)


@DTYPES
@EVERY
def test_switched_off_they_fail_as_expected(name: str, dtype: str) -> None:
    outputs, gradients = evaluated(unjitted(network(dtype, tuple(RULES))), FAR, dtype)
    np.testing.assert_array_equal(outputs[name], CASES[name].without)
    for found in (gradients[f"x_{name}"], outputs[f"d_{name}"]):
        assert np.isnan(found).any()


@EVERY
def test_the_rules_that_fire_are_told(name: str) -> None:
    x, c = gg.param("x", (4,)), gg.input("c", (4,))
    explained = gg.compile(CASES[name].ours(x, c), name="fired").explain()
    assert {rule for rule in RULES if f": {rule}, {RULES[rule]}" in explained} == CASES[name].rules


@pytest.mark.parametrize("name", ["log_sum_exp", "softplus"])
def test_every_transform_can_do_without_the_rewrites(name: str) -> None:
    x, c = gg.param("x", (4,)), gg.input("c", (4,))
    y = CASES[name].ours(x, c)
    gradient = [exact(name, FAR, order) for order in units()]
    second = [[exact(name, FAR, tuple(map(sum, zip(a, b, strict=True)))) for b in units()] for a in units()]
    wanted = {
        "vjp": gradient,
        "jvp": np.dot(gradient, CHOSEN),
        "hvp": np.dot(second, CHOSEN),
        "forward": gradient,
        "reverse": gradient,
        "hessian": second,
    }
    for skip in ((), tuple(RULES)):
        outputs = {
            "vjp": gg.vjp(y, x, None, skip=skip),
            "jvp": gg.jvp(y, x, c, skip=skip),
            "hvp": gg.hvp(y, x, c, skip=skip),
            "forward": gg.jacobian(y, x, "forward", skip=skip),
            "reverse": gg.jacobian(y, x, "reverse", skip=skip),
            "hessian": gg.hessian(y, x, skip=skip),
        }
        net = unjitted(gg.compile(outputs, name="transforms", dtype="float64", skip=skip))
        with np.errstate(all="ignore"):
            found = net(**{x.name: {"x": np.array(FAR), "c": np.array(CHOSEN)}[x.name] for x in net.interface.leaves})
        for key, value in found.items():
            if skip:
                assert not np.isfinite(value).all(), key
            else:
                np.testing.assert_allclose(value, wanted[key], rtol=1e-12, atol=1e-12, err_msg=key)


def test_a_term_that_is_infinite_is_left_out_of_gradients_by_where_only() -> None:
    """The border of a soft minimum, as in soft-DTW: 0 in the value, 0 * inf in the derivative by the temperature."""
    v, g = gg.input("v", (3,)), gg.param("g", ())
    plain = -g * gg.log(gg.sum(gg.exp(-v / g)))
    masked = -g * gg.log(gg.sum(gg.where(v < INF, gg.exp(-v / g), 0.0)))
    outputs = {"plain": plain, "masked": masked, "d_plain": gg.grad(plain, g), "d_masked": gg.grad(masked, g)}
    net = unjitted(gg.compile(outputs, name="border", dtype="float64"))
    with np.errstate(all="ignore"):
        found = net(v=np.array([1.0, INF, 2.0]), g=0.8)
    with mp.workdps(30):

        def soft_minimum(g: Any) -> Any:
            return -g * mp.log(mp.exp(-1 / g) + mp.exp(-2 / g))

        value, slope = float(soft_minimum(mpf(0.8))), float(mp.diff(soft_minimum, mpf(0.8)))
    assert found["plain"] == pytest.approx(value, rel=1e-12)
    assert found["masked"] == pytest.approx(value, rel=1e-12)
    assert np.isnan(found["d_plain"])
    assert found["d_masked"] == pytest.approx(slope, rel=1e-12)
