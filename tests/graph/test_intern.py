"""Equal formulas are one object: up to the letters of indices, and however they were built."""

import gradgen as gg
from gradgen.graph.scalar import number, position, step
from gradgen.graph.tensor import tensor


def test_formulas_are_equal_up_to_letters() -> None:
    a, X = gg.input("a", (gg.size("B"), 6)), gg.param("X", (5, 6))
    n, i, j = gg.indices("n i j")
    p, q, r = gg.indices("p q r")
    first = gg.compute((n, i), gg.sum(X[i, j] * a[n, j], over=j))
    assert gg.compute((p, q), gg.sum(X[q, r] * a[p, r], over=r)) is first
    assert gg.compute((p, q), gg.sum(X[p, r] * a[q, r], over=r)) is not first


def test_nested_reducers_are_shared() -> None:
    s = gg.input("s", (4, 5))
    n, i, j = gg.indices("n i j")
    row_sum = gg.compute(n, gg.sum(gg.exp(s[n, j]), over=j))
    p = gg.compute((n, i), gg.exp(s[n, i]) / gg.sum(gg.exp(s[n, j]), over=j))
    assert p is gg.compute((n, i), gg.exp(s[n, i]) / row_sum[n])


def test_operators_are_the_formulas_they_stand_for() -> None:
    x, y = gg.input("x", (4, 5)), gg.input("y", (5,))
    i, j = gg.indices("i j")
    assert x * y + 2 is gg.compute((i, j), gg.compute((i, j), x[i, j] * y[j])[i, j] + 2)
    assert x.T is gg.compute((j, i), x[i, j])
    assert x.T is gg.transpose(x)
    assert x.sum(axis=1) is gg.compute(i, gg.sum(x[i, j], over=j))
    assert x @ y is gg.compute(i, gg.sum(x[i, j] * y[j], over=j))


def test_formulas_that_only_rename_collapse() -> None:
    x = gg.input("x", (4, 5))
    i, j = gg.indices("i j")
    assert gg.compute((i, j), x[i, j]) is x
    assert x[:, :] is x
    assert x[...] is x
    assert x.reshape(4, 5) is x
    assert x.reshape(20).reshape(2, 10) is x.reshape(2, 10)
    assert gg.broadcast_to(x, (4, 5)) is x
    assert x.sum(axis=()) is x


def test_one_wrapper_for_a_node() -> None:
    x = gg.input("x", (4,))
    assert tensor(x.node) is x
    assert len({x, tensor(x.node)}) == 1


def test_leaves_are_unique_per_declaration() -> None:
    assert gg.input("x", (4,)) is not gg.input("x", (4,))
    assert gg.size("B") is gg.size("B")
    assert gg.indices("i")[0] is not gg.indices("i")[0]


def test_scalars_intern() -> None:
    assert number(2) is not number(2.0)
    assert number(1) is not number(True)
    assert position(1) is position(1)
    assert step(0) is not step(1)


def test_integer_algebra_has_a_normal_form() -> None:
    H, K, i = gg.size("H"), gg.size("K"), gg.index("i")
    assert (H + 1) * (H - 1) is H * H - 1
    assert (H - 1) // 2 + 1 is (H + 1) // 2
    assert (2 * H + 4 * K) // 2 is H + 2 * K
    assert (H * K + 3) // K is H + 3 // K
    assert i - i is gg.size("a") * 0
    assert (i % 2) is i - 2 * (i // 2)


def test_conditions_have_one_form() -> None:
    i, j = gg.indices("i j")
    assert (j <= i) is (i >= j)
    assert (j < i + 1) is (j <= i)
    assert (2 * j <= 2 * i + 1) is (j <= i)
