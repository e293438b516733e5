"""Values that outgrow the arguments are never whole: workspace linear in the sizes, and the numbers right.

Sizes stand on both sides of a part's 64 rows. value_and_grad is compiled, forward and backward run as plain Python;
`test_models` compiles those of an attention.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.sizes import size_names
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.interpret import interpret
from gradgen.machine import SMALLEST, using
from gradgen.network import Network
from gradgen.program.holders import held
from tests.cpu.models import leaves_of
from tests.cpu.running import unjitted

D = 8
SIZES = (1, 63, 64, 65, 200)


def attention() -> Mapping[str, Tensor]:
    """Causal; the scores of one batch element are T x T."""
    B, T = gg.size("B"), gg.size("T")
    q, k, v = (gg.param(name, (B, T, D), dtype="float64") for name in "qkv")
    g = gg.input("g", (B, T, D), dtype="float64")
    b, i, j, m, c = gg.indices("b i j m c")
    s = gg.compute((b, i, j), gg.sum(q[b, i, c] * k[b, j, c], over=c) / math.sqrt(D))
    e = gg.compute((b, i, j), gg.where(j <= i, gg.exp(s[b, i, j]), 0.0))
    p = gg.compute((b, i, j), e[b, i, j] / gg.sum(e[b, i, m], over=m))
    y = gg.compute((b, i, c), gg.sum(p[b, i, j] * v[b, j, c], over=j))
    return {"loss": gg.sum(y * g), "y": y}


def two_blocks() -> Mapping[str, Tensor]:
    """The second block needs all rows of the first, so their adjoints compute the weights again."""
    T = gg.size("T")
    x, t = (gg.input(name, (T, D), dtype="float64") for name in "xt")
    i, j, c = gg.indices("i j c")
    h = x
    for block in range(2):
        W = [gg.param(f"W{name}{block}", (D, D), dtype="float64") for name in "qkvo"]
        q, k, v = (h @ w.T for w in W[:3])
        s = gg.compute((i, j), gg.sum(q[i, c] * k[j, c], over=c) / D)
        h = h + gg.tanh(gg.nn.softmax(s) @ v @ W[3].T)
    return {"loss": gg.mean((h - t) ** 2)}


def kernel_smoother() -> Mapping[str, Tensor]:
    """A mean of values weighted by the distances of points, of another shape than attention in every respect."""
    N, M = gg.size("B"), gg.size("T")
    x, z = gg.param("x", (N, D), dtype="float64"), gg.param("z", (M, D), dtype="float64")
    y, t = gg.param("y", (M,), dtype="float64"), gg.input("t", (N,), dtype="float64")
    n, m, c = gg.indices("n m c")
    near = gg.compute((n, m), 2 * gg.sum(x[n, c] * z[m, c], over=c) - gg.sum(z[m, c] ** 2, over=c))
    weight = gg.compute((n, m), 1 / (1 + gg.exp(-near[n, m])))
    top = gg.compute(n, gg.sum(weight[n, m] * y[m], over=m))
    return {"loss": gg.sum((top - t) ** 2)}


def both_ways() -> Mapping[str, Tensor]:
    """Normalised over columns, then over rows: no part of an axis serves both, and the value is whole."""
    T = gg.size("T")
    x, z = gg.param("x", (T, D), dtype="float64"), gg.param("z", (T, D), dtype="float64")
    i, j, c = gg.indices("i j c")
    s = gg.compute((i, j), gg.sum(x[i, c] * z[j, c], over=c) / D)
    p = gg.nn.softmax(gg.nn.softmax(s, axis=0), axis=1)
    return {"loss": gg.sum(p * p)}


TILED = (attention, two_blocks, kernel_smoother)


@cache
def compiled(build: Callable[[], Mapping[str, Tensor]]) -> tuple[Network, Mapping[str, Tensor]]:
    outputs = build()
    return gg.compile(dict(outputs), loss="loss", name=build.__name__), outputs


@pytest.mark.parametrize("build", TILED)
def test_the_workspace_is_linear(build: Callable[[], Mapping[str, Tensor]]) -> None:
    for buffer in held(compiled(build)[0].compiled.program, "w"):
        assert sum(bool(size_names(extent)) for extent in buffer.shape) <= 2
        assert sum(size_names(extent) == ["T"] for extent in buffer.shape) <= 1, buffer.name


def test_it_is_explained() -> None:
    assert "too large to be whole, 64 rows at a time" in compiled(attention)[0].explain()
    assert "kept whole, no axis serves all its readers" in compiled(both_ways)[0].explain()


@pytest.mark.parametrize("T", SIZES)
@pytest.mark.parametrize("build", [*TILED, both_ways])
def test_the_numbers(build: Callable[[], Mapping[str, Tensor]], T: int) -> None:
    """Against the interpreter, which holds everything whole; directions instead of whole gradients."""
    net, outputs = compiled(build)
    rng = np.random.default_rng(T)
    leaves = {x.name: x for x in leaves_of(dict(outputs))}
    sizes = {"B": 2, "T": T}
    arrays = {name: rng.standard_normal([evaluated(e, sizes) for e in x.shape]) for name, x in leaves.items()}
    out, gradients = net.value_and_grad(**arrays)
    plain = unjitted(net)
    again, saved = plain.forward(**arrays)
    pulled = plain.backward(saved, loss=1.0)
    wrt = [leaves[name] for name in gradients]
    nodes = [d.node for d in gg.grad(outputs["loss"], [tensor(x) for x in wrt])]
    wanted = interpret([outputs["loss"].node, *nodes], {leaves[n]: a for n, a in arrays.items()}, sizes)
    np.testing.assert_allclose(out["loss"], wanted[0], rtol=1e-12)
    np.testing.assert_allclose(again["loss"], wanted[0], rtol=1e-12)
    for x, gradient in zip(wrt, wanted[1:], strict=True):
        scale = np.abs(gradient).max(initial=1e-300)
        np.testing.assert_allclose(gradients[x.name], gradient, atol=1e-10 * scale)
        np.testing.assert_allclose(pulled[x.name], gradient, atol=1e-10 * scale)


def evaluated(extent: Any, sizes: Mapping[str, int]) -> int:
    names = size_names(extent)
    return sizes[names[0]] if names else int(extent.constant)


def test_what_is_scattered_is_read_behind_the_last_part() -> None:
    """d_c has a part that every row adds to: no part of the rows may read it before all have."""
    T, i, j = gg.size("T"), gg.index("i"), gg.index("j", 4)
    c, w = gg.param("c", (T, 4), dtype="float64"), gg.param("w", (4, 4), dtype="float64")
    rows = gg.input("rows", (T,), dtype="int64")
    chosen = gg.tanh(gg.compute((i, j), c[rows[i], j] * c[i, j]))
    loss = gg.sum(chosen) + gg.sum(gg.tanh(c @ w.T))
    with using(SMALLEST):
        net = unjitted(gg.compile({"loss": loss}, name="scattered"))
    rng = np.random.default_rng(0)
    values, at, weights = rng.normal(size=(3, 4)), np.array([2, 0, 0]), rng.normal(size=(4, 4))
    _, gradients = net.value_and_grad(c=values, w=weights, rows=at)
    slope = 1 - np.tanh(values[at] * values) ** 2
    wanted = slope * values[at] + (1 - np.tanh(values @ weights.T) ** 2) @ weights
    np.add.at(wanted, at, slope * values)
    np.testing.assert_allclose(gradients["c"], wanted, rtol=1e-12)
