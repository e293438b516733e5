"""Masks that travel with adjoints: what is hidden contributes nothing, what is read twice counts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Compute, carry, identity, project, scan, toposort
from gradgen.graph.scalar import call, integer, step
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.derive.supports import EVERYWHERE, NOWHERE, either
from tests.cpu.running import unjitted
from tests.passes.building import M, at, f, formula, i, k, tensor, total, where

SHOWN = np.array([True, False, True])
X = np.array([1.0, 2.0, 3.0])
NAN, INF = np.nan, np.inf


def leaves() -> tuple[Any, Any, Any]:
    x, k = gg.param("x", (3,), dtype="float64"), gg.input("k", (3,), dtype="float64")
    return x, k, gg.input("m", (3,), dtype="bool")


def gradient(loss: Callable[[Any, Any, Any], Any], k: Any) -> np.ndarray:
    x, factor, m = leaves()
    d_x = gg.grad(loss(x, factor, m), x)
    values = {x.node: X, factor.node: np.array(k), m.node: SHOWN}
    below = set(toposort([d_x.node]))
    with np.errstate(all="ignore"):
        (found,) = interpret([d_x.node], {leaf: value for leaf, value in values.items() if leaf in below}, {})
    return found


LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "product": lambda x, k, m: gg.sum(gg.where(m, x * k, 0.0)),
    "function": lambda x, k, m: gg.sum(gg.where(m, gg.sin(x * k), 0.0)),
    "materialize": lambda x, k, m: gg.sum(gg.where(m, gg.materialize(x * k), 0.0)),
    "exp of minus infinity": lambda x, k, m: gg.sum(gg.exp(gg.where(m, x * k, -INF))),
    "matrix product": lambda x, k, m: gg.sum(gg.where(m, gg.stack([k, k * 2, k], axis=1) @ x, 0.0)),
    "rows of a reducer": lambda x, k, m: gg.sum(gg.where(m, gg.logsumexp(x[None, :] * k[:, None], axis=1), 0.0)),
    "scan": lambda x, k, m: gg.sum(gg.where(m, gg.scan(lambda s, _: (s * k, None), x, length=3)[0], 0.0)),
    "steps": lambda x, k, m: gg.scan(lambda s, row: (gg.where(row[1], s + row[0], s), None), gg.sum(x), (x * k, m))[0],
    "another order": lambda x, k, m: gg.sum(gg.where(m[::-1], (x * k)[::-1], 0.0)),
    "another shape": lambda x, k, m: gg.sum(gg.where(gg.reshape(m, (3, 1)), gg.reshape(x * k, (3, 1)), 0.0)),
    "read by all": lambda x, k, m: gg.sum(gg.where(m[None, :], (x * k)[None, :] * gg.ones((2, 3)), 0.0)),
    "custom": lambda x, k, m: gg.sum(
        gg.where(m, gg.custom(lambda a, b: a * b * b, lambda d, a, b: (d * b * b, d * (2 * a * b)), gg.sin(x), k), 0.0)
    ),
    "two readers": lambda x, k, m: (lambda v: gg.sum(gg.where(m, v, 0.0) + gg.where(m, gg.sin(v), 1.0)))(x * k),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_branch_not_taken_contributes_nothing(name: str) -> None:
    wanted = gradient(LOSSES[name], [0.5, 0.7, -0.25])
    for hidden in (NAN, INF, -INF):
        np.testing.assert_allclose(gradient(LOSSES[name], [0.5, hidden, -0.25]), wanted, rtol=1e-12)


def test_the_gradient_of_a_masked_product() -> None:
    np.testing.assert_array_equal(gradient(LOSSES["product"], [1.0, NAN, 2.0]), [1.0, 0.0, 2.0])


def test_a_row_without_elements_behind_a_condition_on_its_own_value() -> None:
    """The logsumexp of a row of -inf is -inf, and its derivative nan."""
    rows = gg.param("rows", (2, 2), dtype="float64")
    s = gg.logsumexp(rows, axis=1)
    d_rows = gg.grad(gg.sum(gg.where(s > -1e9, s, 0.0)), rows)
    with np.errstate(all="ignore"):
        (found,) = interpret([d_rows.node], {rows.node: np.array([[0.0, 0.0], [-INF, -INF]])}, {})
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.0, 0.0]])


def test_a_value_that_is_read_without_a_mask_too_counts_everywhere() -> None:
    found = gradient(lambda x, k, m: (lambda v: gg.sum(gg.where(m, v, 0.0)) + gg.sum(v))(x * k), [1.0, NAN, 2.0])
    np.testing.assert_array_equal(found, [2.0, NAN, 4.0])
    found = gradient(lambda x, k, m: (lambda v: gg.sum(gg.where(m, v, v * v)))(x * k), [1.0, 3.0, 2.0])
    np.testing.assert_array_equal(found, [1.0, 36.0, 2.0])


def test_second_order_both_ways() -> None:
    x, k, m = leaves()
    loss = gg.sum(gg.where(m, gg.sin(x * k), 0.0)) ** 2
    t = gg.input("t", (3,), dtype="float64")
    both = [gg.hvp(loss, x, t), gg.grad(gg.sum(gg.grad(loss, x) * t), x), gg.grad(gg.jvp(loss, x, t), x)]
    results = []
    for hidden in (0.5, NAN, INF):
        values = {x.node: X, k.node: np.array([0.5, hidden, 0.25]), m.node: SHOWN, t.node: np.array([1.0, 2.0, -1.0])}
        with np.errstate(all="ignore"):
            results += interpret([y.node for y in both], values, {})
    for found in results[1:]:
        np.testing.assert_allclose(found, results[0], rtol=1e-12)


def test_supports_of_several_readers() -> None:
    _, _, m = leaves()
    a, b = (m.node, gg.input("n", (3,), dtype="bool").node)
    c, d = identity(a), identity(b)
    assert either(((c, d),), ((c,),)) == ((c,),)
    assert either(((c, d),), ((c, call("not", d)),)) == ((c,),)
    assert either(((c,),), ((call("not", c),),)) == EVERYWHERE
    assert either(NOWHERE, ((c,),)) == ((c,),)


def test_no_mask_where_nothing_is_multiplied() -> None:
    x, _, m = leaves()
    d_x = gg.grad(gg.sum(gg.where(m, x + 1.0, 0.0)), x).node
    masks = [n for n in toposort([d_x]) if isinstance(n, Compute) and "where" in repr(n.body)]
    assert len(masks) == 1


def test_large_masked_products_are_matrix_products_whose_nan_is_repaired() -> None:
    """Rows that a mask hides from all readers; the sums over samples, of which an operand is hidden, as well."""
    x = gg.param("x", (48, 32), dtype="float64")
    w = gg.param("w", (32, 40), dtype="float64")
    m = gg.input("m", (48, 40), dtype="bool")
    net = unjitted(gg.compile({"loss": gg.sum(gg.where(m, gg.sin(x) @ w, 0.0) ** 2)}, name="masked", wrt=[x, w]))
    assert net.source.count("np.dot(") >= 3
    rng = np.random.default_rng(0)
    xs, ws, shown = rng.normal(size=(48, 32)), rng.normal(size=(32, 40)), rng.random((48, 40)) > 0.3
    shown[:, 5] = shown[7] = False
    _, wanted = net.value_and_grad(x=xs, w=ws, m=shown)
    for hidden in (NAN, INF):
        broken_x, broken_w = xs.copy(), ws.copy()
        broken_x[7], broken_w[:, 5] = hidden, hidden
        with np.errstate(all="ignore"):
            _, found = net.value_and_grad(x=broken_x, w=broken_w, m=shown)
        for name in ("x", "w"):
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_keeps_data_inside_stays_where_a_position_is_free(stride: int) -> None:
    """A row of a stack counts where the step is stride * k for some k < M: no other step may read its element [k]."""
    start, w = tensor("start", 2), tensor("w", 3, M)
    t, h = step(0), carry(0, (integer(2),), "float64", 0)
    state = formula((2,), f("tanh", f("sin", at(start, 0) + t) + at(h, i) * 0.5))
    row = formula((M,), f("square", at(state, 0)) * at(w, t, i))
    both = scan(integer(3), 0, [h], [start], [state], [row])
    states, rows = project(both, "states", 0), project(both, "stack", 0)
    a, b = at(states, k * stride, 0), at(rows, k * stride, k)
    y = total((2, 1), (M,), where(f("lt", a, b), a, b * 0.5), "max")
    seed = tensor("seed", 2, 1)
    pulled = vjp_nodes([y], [seed], [start, w])
    rng = np.random.default_rng(0)
    for count in (1, 2):
        sizes = {"M": count}
        given = {start: rng.normal(size=2), w: rng.normal(size=(3, count)), seed: rng.normal(size=(2, 1))}
        for x, found in zip((start, w), interpret(pulled, given, sizes), strict=True):
            wanted = np.zeros_like(given[x])
            for place in np.ndindex(wanted.shape):
                ends = []
                for sign in (1, -1):
                    moved = given[x].copy()
                    moved[place] += sign * 1e-6
                    ends.append(float((interpret([y], {**given, x: moved}, sizes)[0] * given[seed]).sum()))
                wanted[place] = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)
