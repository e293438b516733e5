"""Small losses in float32: what is left when the largest terms of a sum cancel, in values and gradients.

The right numbers are those of log1p over the others in float64; nothing is compiled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.graph.nodes import Compute, Node, pointwise, toposort
from gradgen.graph.scalar import number
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.prepare.sequence import prepare
from gradgen.passes.prepare.stabilize import stabilize
from gradgen.pipeline import after_differentiating

ROWS = np.array([[1e4, 9991], [14, 5], [5, 14], [0, 0], [30, 0], [-1e4, -10020], [3, 2.99999]], np.float32)
LABELS = np.zeros(len(ROWS), np.int64)
PLACES = 4.0  # units in the last place
N = len(ROWS)
n, i = gg.indices("n i")


def lowered(value: Node, wrt: Node, skip: frozenset[str] = frozenset()) -> list[Node]:
    """The value and the gradient of its sum, as far as accuracy is concerned as they are emitted."""
    roots = prepare([value], skip)
    (gradient,) = vjp_nodes(roots, [pointwise(value.shape, number(1.0))], [wrt])
    roots = [*roots, gradient]
    for name, run, _ in after_differentiating(skip):
        result = run(roots)
        roots = result[0] if isinstance(result, tuple) else result
        if name == "reduce":
            break
    return roots


def places(found: Any, wanted: Any) -> Any:
    return np.abs((found - wanted) / np.where(wanted == 0, 1, wanted)).max() / np.finfo(np.float32).eps


def exact() -> tuple[Any, Any]:
    """log p of class 0 of two, and its gradient."""
    apart = ROWS[:, 1].astype(float) - ROWS[:, 0]
    other = 1 / (1 + np.exp(-apart))
    return -np.logaddexp(0, apart), np.stack([other, -other], 1)


def by_class(u: Tensor, b: Tensor, y: Tensor) -> Tensor:
    return gg.compute(n, gg.log(gg.exp(u[n, b[n]]) / gg.sum(gg.exp(u[n, i]), over=i)))


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "by class": by_class,
    "logsumexp less a term": lambda u, b, y: -(gg.logsumexp(u, axis=1) - gg.compute(n, u[n, b[n]])),
    "dense labels": lambda u, b, y: gg.sum(y * nn.log_softmax(u), axis=1),
    "logarithm of a softmax": lambda u, b, y: gg.log(nn.softmax(u))[:, 0],
    "logaddexp": lambda u, b, y: u[:, 0] - gg.logaddexp(u[:, 0], u[:, 1]),
    "two exponentials": lambda u, b, y: gg.log(gg.exp(u[:, 0]) / (gg.exp(u[:, 0]) + gg.exp(u[:, 1]))),
    "softplus": lambda u, b, y: (u[:, 0] - u[:, 1]) - gg.softplus(u[:, 0] - u[:, 1]),
    "other terms": lambda u, b, y: (u[:, 0] + 0.0 * b) + (y[:, 1] - gg.logsumexp(u, axis=1)),
}


@pytest.mark.parametrize("name", FORMS)
def test_small_losses_and_their_gradients(name: str) -> None:
    u, b, y = gg.input("u", (N, 2)), gg.input("b", (N,), dtype="int64"), gg.input("y", (N, 2))
    given = {u.node: ROWS, b.node: LABELS, y.node: np.eye(2, dtype=np.float32)[LABELS]}
    value, gradient = interpret(lowered(FORMS[name](u, b, y).node, u.node), given)  # type: ignore[arg-type]
    wanted, slope = exact()
    assert value.dtype == gradient.dtype == np.float32
    assert places(value, wanted) < PLACES
    assert places(gradient, slope) < PLACES


def minus_log(u: Tensor, at: Any) -> Any:
    return -gg.log(gg.exp(u[n, at]) / gg.sum(gg.exp(u[n, i]), over=i))


GUARDED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "where it counts": lambda u, b: gg.where(b[n] != 7, minus_log(u, b[n]), 0),
    "a weight, where it counts": lambda u, b: gg.where(b[n] != 7, (1.0 + b[n]) * minus_log(u, b[n]), 0),
    "two conditions": lambda u, b: gg.where((b[n] != 7) & (b[n] > -1), minus_log(u, b[n]), 0),
    "one in the other": lambda u, b: gg.where(b[n] != 7, gg.where(u[n, 0] < 1e6, minus_log(u, b[n]), 0), 0),
    "shared among classes": lambda u, b: gg.where(b[n] != 7, gg.sum(1.0 * (i == b[n]) * minus_log(u, i), over=i), 0),
    "otherwise something": lambda u, b: gg.where(b[n] != 7, minus_log(u, b[n]), u[n, 0] ** 2),
}


@pytest.mark.parametrize("name", GUARDED)
def test_small_losses_that_data_decide_about(name: str) -> None:
    u, b = gg.input("u", (N, 2)), gg.input("b", (N,), dtype="int64")
    labels = np.where(np.arange(N) == 2, 7, LABELS)
    counts = labels != 7
    given = {u.node: np.where(counts[:, None], ROWS, np.nan) if "otherwise" not in name else ROWS, b.node: labels}
    value, gradient = interpret(lowered(gg.compute(n, GUARDED[name](u, b)).node, u.node), given)  # type: ignore[arg-type]
    wanted, slope = exact()
    assert places(value[counts], -wanted[counts]) < PLACES
    assert places(gradient[counts], -slope[counts]) < PLACES
    elsewhere = (0, 0) if "otherwise" not in name else (ROWS[2, 0] ** 2, 2 * ROWS[2, 0])
    assert (value[2], gradient[2, 0], gradient[2, 1]) == (*elsewhere, 0)


def test_among_groups_that_data_choose() -> None:
    s, dst = gg.input("s", (2 * N,)), gg.input("dst", (2 * N,), dtype="int64")
    e = gg.index("e")
    total = gg.accumulate(dst[e], gg.exp(s[e]), shape=(N,))
    loss = gg.compute(n, gg.log(gg.exp(s[2 * n]) / total[dst[2 * n]]))
    given = {s.node: ROWS.reshape(-1), dst.node: np.repeat(np.arange(N), 2)}
    value, gradient = interpret(lowered(loss.node, s.node), given)  # type: ignore[arg-type]
    wanted, slope = exact()
    assert places(value, wanted) < PLACES
    assert places(gradient.reshape(N, 2), slope) < PLACES


@pytest.mark.parametrize("shift", ["none", "maximum", "constant"])
def test_a_softmax_among_groups_neither_overflows_nor_needs_a_shift(shift: str) -> None:
    s, dst = gg.input("s", (9,)), gg.input("dst", (9,), dtype="int64")
    e = gg.index("e")
    x = s
    if shift != "none":
        top = gg.accumulate(dst[e], s[e], shape=(N,), reduce="max")
        x = gg.compute(e, s[e] - (top if shift == "maximum" else gg.stop_gradient(top))[dst[e]])
    exps = gg.exp(x)
    p = gg.compute(e, exps[e] / gg.accumulate(dst[e], exps[e], shape=(N,))[dst[e]])
    into = np.array([0, 2, 2, 0, 3, 3, 3, 2, 0])
    scores = np.array([400, -1, 1, 399, 0, 300, 298, 2, -500], np.float32)
    after, records = stabilize([p.node])
    assert "softmax" in {r.rule for r in records}
    assert not any(isinstance(m, Compute) and m.reducer == "max" for m in toposort(after))
    squared = gg.compute(e, p[e] * p[e])
    _, gradient = interpret(lowered(squared.node, s.node), {s.node: scores, dst.node: into})  # type: ignore[arg-type]
    same = into[:, None] == into
    terms = np.where(same, np.exp((scores[None].astype(float) - scores[:, None]).clip(-900, 700)), 0)
    q = 1 / terms.sum(1)
    np.testing.assert_allclose(gradient, 2 * q * (q - np.where(same, q**2, 0).sum(1)), rtol=1e-5, atol=1e-7)


def test_three_terms_and_nested_logarithms() -> None:
    x = gg.input("x", (3,))
    nested = x[0] - gg.logaddexp(gg.logaddexp(x[0], x[1]), x[2])
    given = {x.node: np.array([1000, 991, 980], np.float32)}
    value, gradient = interpret(lowered(nested.node, x.node), given)  # type: ignore[arg-type]
    others = np.exp([-9.0, -20.0])
    assert places(value, -np.log1p(others.sum())) < 16
    assert places(gradient, np.array([others.sum(), *-others]) / (1 + others.sum())) < 16


def test_log_odds_are_the_argument() -> None:
    x = gg.input("x", (3,))
    odds = gg.log(gg.sigmoid(x)) - gg.log(1 - gg.sigmoid(x))
    (after,) = prepare([odds.node])
    assert after is x.node


def test_a_sum_of_soft_terms_comes_to_an_end() -> None:
    """x - softplus(l) for the logsumexp l of x is parted once: -l - softplus(-l) would be put together again."""
    x = gg.input("x", (4,))
    value = gg.log(gg.exp(x[0]) / (1 + gg.sum(gg.exp(x))))
    given = {x.node: np.array([1000, 991, 980, 3], np.float32)}
    found, _ = interpret(lowered(value.node, x.node), given)  # type: ignore[arg-type]
    assert places(found, -np.log1p(np.exp(-9.0) + np.exp(-20.0))) < PLACES


def test_switched_off_the_terms_cancel() -> None:
    u, b, y = gg.input("u", (N, 2)), gg.input("b", (N,), dtype="int64"), gg.input("y", (N, 2))
    roots = lowered(by_class(u, b, y).node, u.node, frozenset({"cancel"}))
    value, _ = interpret(roots, {u.node: ROWS, b.node: LABELS})  # type: ignore[arg-type]
    assert value[0] == 0


@pytest.mark.parametrize("row", [[np.nan, 1], [np.inf, 1], [-np.inf, -np.inf], [-np.inf, 0]])
def test_nan_and_infinity_as_before(row: list[float]) -> None:
    u, y = gg.input("u", (1, 2)), gg.input("y", (1, 2))
    node = gg.sum(y * nn.log_softmax(u), axis=1).node
    given = {u.node: np.array([row], np.float32), y.node: np.ones((1, 2), np.float32)}
    after, before = (interpret(lowered(node, u.node, skip), given)[0] for skip in (frozenset(), frozenset({"cancel"})))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.isnan(after), np.isnan(before))
    np.testing.assert_array_equal(after[~np.isnan(after)], before[~np.isnan(before)])
