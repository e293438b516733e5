"""All graph passes in a row on small models: same values, same gradients, nothing left to do, no scatter left."""

from collections.abc import Callable

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.graph.nodes import Leaf, Node, pointwise, toposort
from gradgen.graph.scalar import call, number
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.prepare.split import split
from gradgen.passes.prepare.stabilize import stabilize
from gradgen.passes.rewrite.gather import gather
from gradgen.passes.rewrite.hoist_products import hoist
from gradgen.passes.rewrite.simplify import simplify
from tests.passes.building import formulas


def inputs(name: str, *shape: int) -> Tensor:
    return gg.param(name, shape, dtype="float64")


def mlp() -> Tensor:
    x, w, v, b = inputs("x", 4, 3), inputs("w", 5, 3), inputs("v", 2, 5), gg.input("b", (4,), dtype="int64")
    return nn.cross_entropy(gg.relu(x @ w.T) @ v.T, b)


def convolution() -> Tensor:
    x, kernel = inputs("x", 2, 2, 7, 7), inputs("kernel", 3, 2, 3, 3)
    n, o, c, p, q = gg.indices("n o c p q")
    h, w = gg.index("h", 4), gg.index("w", 4)
    outside = gg.padded(gg.tanh(x))[n, c, 2 * h + p - 1, 2 * w + q - 1]
    y = gg.compute((n, o, h, w), gg.sum(kernel[o, c, p, q] * outside, over=(c, p, q)))
    return gg.sum(gg.square(y) * 0.5)


def pooling() -> Tensor:
    x = inputs("x", 2, 6, 6)
    n, (r, s, a, d) = gg.index("n", 2), [gg.index(name, 3 if name in "rs" else 2) for name in "rsad"]
    y = gg.compute((n, r, s), gg.max(x[n, 2 * r + a, 2 * s + d], over=(a, d)))
    return gg.sum(gg.exp(y) / 2.0)


def attention() -> Tensor:
    q, k, v = inputs("q", 4, 3), inputs("k", 4, 3), inputs("v", 4, 3)
    i, j = gg.indices("i j")
    scores = q @ k.T * 0.5
    m = gg.max(scores, axis=1)
    e = gg.compute((i, j), gg.where(i >= j, gg.exp(scores[i, j] - m[i]), 0))
    z = gg.compute((i,), gg.sum(e[i, j], over=j))
    p = gg.compute((i, j), e[i, j] / z[i])
    return gg.sum(gg.square(p @ v))


def norms() -> Tensor:
    x, g = inputs("x", 4, 5), inputs("g", 5)
    mu = gg.mean(x, axis=1, keepdims=True)
    var = gg.mean(gg.square(x - mu), axis=1, keepdims=True)
    y = (x - mu) / gg.sqrt(var + 1e-5) * g
    return gg.sum(y * y * y)


def embedding() -> Tensor:
    e, index, w = inputs("e", 6, 3), gg.input("index", (5,), dtype="int64"), inputs("w", 3, 2)
    n, f = gg.indices("n f")
    return gg.sum(gg.square(gg.compute((n, f), e[index[n], f]) @ w))


def recurrence() -> Tensor:
    x, w, u, start = inputs("x", 4, 3, 2), inputs("w", 2, 2), inputs("u", 2, 2), inputs("start", 3, 2)
    last, all_states = gg.scan(lambda h, row: (gg.tanh(row @ w + h @ u),) * 2, start, x)
    return gg.sum(last * last) + gg.sum(gg.sigmoid(all_states))


def pieces() -> Tensor:
    x, y = inputs("x", 6), inputs("y", 4)
    joined = gg.concatenate([x[1:], y[::-1], x[:2]])
    positive = gg.where(joined > 0, gg.log(gg.abs(joined)), joined)
    return gg.sum(positive.reshape((11,))[::2] * 2.0)


MODELS: tuple[Callable[[], Tensor], ...] = (
    mlp, convolution, pooling, attention, norms, embedding, recurrence, pieces,
)  # fmt: skip


def every_pass(roots: list[Node]) -> list[Node]:
    return simplify(hoist(simplify(gather(simplify(roots))[0])))


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_same_values_and_gradients(model: Callable[[], Tensor]) -> None:
    loss = model().node
    leaves = [n for n in toposort([loss]) if isinstance(n, Leaf)]
    wrt = [n for n in leaves if n.role == "param"]
    generator = np.random.default_rng(0)
    given = {
        n: generator.integers(0, 2, [s.constant for s in n.shape])
        if n.dtype == "int64"
        else generator.normal(size=[s.constant for s in n.shape])
        for n in leaves
    }
    prepared = split(stabilize([loss])[0])
    one = pointwise((), call("float64", number(1)))
    plain = [loss, *vjp_nodes([loss], [one], wrt)]
    before = [*prepared, *vjp_nodes(prepared, [one], wrt)]
    after = every_pass(before)
    wanted = interpret(plain, given)
    for stage in (before, simplify(before), after):
        for a, b in zip(interpret(stage, given), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert every_pass(after) == after
    assert every_pass(before) == after
    if model is not embedding:
        assert all(n.gathers for n in formulas(*after))
    for x, gradient in zip(wrt, after[1:], strict=True):
        direction = generator.normal(size=given[x].shape)
        step = 1e-6
        (up,) = interpret([loss], {**given, x: given[x] + step * direction})
        (down,) = interpret([loss], {**given, x: given[x] - step * direction})
        (d_x,) = interpret([gradient], given)
        np.testing.assert_allclose((d_x * direction).sum(), (up - down) / (2 * step), rtol=1e-5, atol=1e-7)
