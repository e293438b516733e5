"""Formulas against NumPy, by the reference interpreter."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradgen as gg
from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.nodes import Compute, toposort

Evaluate = Callable[..., Any]
Message = Callable[..., str]
RNG = np.random.default_rng(1)
B, H = gg.size("B"), gg.size("H")


def floats(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_linear_layer(evaluate: Evaluate) -> None:
    a, X, mu = gg.input("a", (B, 6)), gg.param("X", (5, 6)), gg.param("mu", (5,))
    n, i, j = gg.indices("n i j")
    u = gg.compute((n, i), gg.sum(X[i, j] * a[n, j], over=j) + mu[i])
    v = {"a": floats(3, 6), "X": floats(5, 6), "mu": floats(5)}
    close(evaluate(u, **v), v["a"] @ v["X"].T + v["mu"])


def test_a_convolution_with_padding(evaluate: Evaluate) -> None:
    image, K = gg.input("image", (B, 3, H, H)), gg.param("K", (4, 3, 3, 3))
    n, o, c, p, q = gg.indices("n o c p q")
    h, w = gg.index("h", H), gg.index("w", H)
    y = gg.compute((n, o, h, w), gg.sum(K[o, c, p, q] * gg.padded(image)[n, c, h + p - 1, w + q - 1], over=(c, p, q)))
    x, k = floats(2, 3, 8, 8), floats(4, 3, 3, 3)
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = sum(
        np.einsum("oc,nchw->nohw", k[:, :, s, t], wide[:, :, s : s + 8, t : t + 8]) for s in range(3) for t in range(3)
    )
    close(evaluate(y, image=x, K=k), expected)


def test_reducers_anywhere(evaluate: Evaluate) -> None:
    s = gg.input("s", (B, 7))
    n, i, j = gg.indices("n i j")
    x = floats(4, 7)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    shift = gg.max(s[n, j], over=j)
    close(
        evaluate(gg.compute((n, i), gg.exp(s[n, i] - shift) / gg.sum(gg.exp(s[n, j] - shift), over=j)), s=x),
        e / e.sum(axis=1, keepdims=True),
    )
    close(evaluate(gg.compute(n, gg.logsumexp(s[n, j], over=j)), s=x), np.log(np.exp(x).sum(axis=1)))
    close(evaluate(gg.compute((), gg.mean(s[n, j] ** 2, over=(n, j))), s=x), np.mean(x**2))
    close(evaluate(gg.compute(n, gg.argmax(s[n, j], over=j)), s=x), x.argmax(axis=1))
    close(evaluate(gg.compute(n, gg.mean(s[n, j] > 0, over=j)), s=x), (x > 0).mean(axis=1))
    close(evaluate(gg.compute((), gg.max(gg.sum(s[n, j], over=j), over=n)), s=x), x.sum(axis=1).max())


def test_an_inner_index_shadows_an_outer_one(evaluate: Evaluate) -> None:
    a, b = gg.input("a", (5,)), gg.input("b", (3,))
    j = gg.index("j")
    x, y = floats(5), floats(3)
    close(evaluate(gg.compute((), gg.sum(a[j] * gg.sum(b[j], over=j), over=j)), a=x, b=y), x.sum() * y.sum())


def test_a_reducer_directly_at_the_top_is_the_nodes_own() -> None:
    a = gg.input("a", (B, 6))
    n, j = gg.indices("n j")
    node = gg.compute(n, gg.max(a[n, j], over=j)).node
    assert isinstance(node, Compute)
    assert node.reducer == "max"
    assert len(toposort([node])) == 2


def test_gathers_and_scatters(evaluate: Evaluate) -> None:
    M = gg.size("M")
    E, src, dst = gg.param("E", (B, 3)), gg.input("src", (M,), "int64"), gg.input("dst", (M,), "int64")
    e, f = gg.indices("e f")
    message = gg.compute((e, f), E[src[e], f])
    g = gg.accumulate((dst[e], f), message[e, f], shape=(B, 3))
    table, s, d = floats(5, 3), np.array([0, 4, 4, 1]), np.array([2, 2, 0, 2])
    expected = np.zeros((5, 3), "float32")
    np.add.at(expected, d, table[s])
    close(evaluate(g, E=table, src=s, dst=d), expected)
    weighted = gg.accumulate(dst[e], gg.sum(E[src[e], f] ** 2, over=f), shape=B)
    expected_1 = np.zeros(5, "float32")
    np.add.at(expected_1, d, (table[s] ** 2).sum(axis=1))
    close(evaluate(weighted, E=table, src=s, dst=d), expected_1)


def test_conditions_on_indices(evaluate: Evaluate) -> None:
    s = gg.input("s", (4, 4))
    i, j = gg.indices("i j")
    x = floats(4, 4)
    close(evaluate(gg.compute((i, j), gg.where(j <= i, s[i, j], 0)), s=x), np.tril(x))
    close(evaluate(gg.compute(i, gg.sum(gg.where((j < i) | (j == 3), s[i, j], 0), over=j)), s=x),
          np.where(np.tri(4, k=-1) + (np.arange(4) == 3) > 0, x, 0).sum(axis=1))  # fmt: skip
    k, m = gg.index("k", 4), gg.index("m", 3)
    close(evaluate(gg.compute((k, m), gg.float32(k == m))), np.eye(4, 3))


def test_a_reducer_in_a_branch_reads_only_where_the_branch_is_taken(evaluate: Evaluate) -> None:
    s = gg.input("s", (4, 5))
    i, j = gg.index("i", 6), gg.index("j")
    x = floats(4, 5)
    expected = np.concatenate([[0], x.sum(axis=1), [0]])
    total = gg.compute(i, gg.where((i >= 1) & (i <= 4), gg.sum(s[i - 1, j], over=j), 0))
    close(evaluate(total, s=x), expected)
    nested = gg.compute(i, gg.where((i >= 1) & (i <= 4), gg.max(s[i - 1, j] * gg.sum(s[i - 1, j], over=j), over=j), 0))
    close(evaluate(nested, s=x), np.concatenate([[0], (x * x.sum(axis=1, keepdims=True)).max(axis=1), [0]]))


def test_padding_with_another_value(evaluate: Evaluate) -> None:
    a = gg.input("a", (5,))
    i, p = gg.index("i", 5), gg.index("p", 3)
    x = floats(5)
    wide = np.pad(x, 1, constant_values=-np.inf)
    pooled = gg.compute(i, gg.max(gg.padded(a, -np.inf)[i + p - 1], over=p))
    close(evaluate(pooled, a=x), np.max([wide[k : k + 5] for k in range(3)], axis=0))


def test_indices_and_sizes_are_values(evaluate: Evaluate) -> None:
    a = gg.input("a", (B,))
    i = gg.index("i")
    x = floats(5)
    close(evaluate(gg.compute(i, a[i] * i / B), a=x), x * np.arange(5) / 5)


def test_tensors_without_axes_stand_for_their_value(evaluate: Evaluate) -> None:
    a, c = gg.input("a", (B,)), gg.input("c", ())
    i = gg.index("i")
    x = floats(5)
    close(evaluate(gg.compute(i, a[i] * c + c * a[i]), a=x, c=np.float32(2)), 4 * x)


def test_empty_axes(evaluate: Evaluate) -> None:
    a = gg.input("a", (B,))
    i = gg.index("i")
    empty = np.zeros(0, "float32")
    for reducer, expected in (
        (gg.sum, 0),
        (gg.max, -np.inf),
        (gg.min, np.inf),
        (gg.logsumexp, -np.inf),
        (gg.mean, np.nan),
    ):
        np.testing.assert_array_equal(evaluate(gg.compute((), reducer(a[i], over=i)), a=empty), expected)


def test_refusals(message: Message) -> None:
    a = gg.input("a", (5,))
    i = gg.index("i")
    assert message(GraphError, lambda: gg.sum(a[i], over=3)) == (
        'over= takes indices, as gg.indices("i j") makes them; 3 is not one.'
    )
    assert message(GraphError, lambda: gg.compute(i + 1, a[i])) == (
        'compute takes indices, as gg.indices("n i") makes them; i + 1 is not one.'
    )
    assert message(ShapeError, lambda: gg.accumulate((i, i), a[i], shape=5)) == (
        "accumulate has 2 subscripts for a result of 1 axes."
    )
    assert message(DTypeError, lambda: gg.accumulate(a[i], a[i], shape=5)) == (
        "subscript 0 of accumulate is a[i] of dtype float32: a target is made of integers, sizes, indices and "
        "integer accesses."
    )
    assert message(GraphError, lambda: gg.sum(a[i], over=i, axis=0)) == (
        "gg.sum takes over= for a formula, or axis= and keepdims= for a tensor."
    )
    assert message(DTypeError, lambda: gg.compute(i, "a")) == (
        "a formula is made of accesses, indices and numbers, not str: declare arrays with gg.input or gg.param."
    )
