"""Costly functions in loops of their own: where it pays, and where something in the loop still needs them."""

import gradgen as gg


def decisions(formula: gg.Tensor, **others: gg.Tensor) -> str:
    return gg.compile({"y": formula, **others}).explain()


def layer(width: int) -> gg.Tensor:
    X, a = gg.input("X", (24, width)), gg.input("a", (width,))
    i, j = gg.indices("i j")
    return gg.compute(i, gg.tanh(gg.sum(X[i, j] * a[j], over=j)))


def test_a_tanh_behind_short_sums_runs_behind_their_loop() -> None:
    assert "y: behind the loop i, to be computed several at a time" in decisions(layer(6))


def test_a_tanh_behind_long_sums_stays_with_them() -> None:
    assert "behind the loop" not in decisions(layer(600))


def test_what_the_loop_itself_reads_stays_in_it() -> None:
    x = gg.input("x", (24, 6))
    i, j = gg.indices("i j")
    scale = gg.compute(i, gg.exp(gg.sum(x[i, j], over=j)))
    y = gg.compute((i, j), x[i, j] / scale[i])
    assert "behind the loop" not in decisions(y)


def test_what_follows_a_costly_value_goes_with_it() -> None:
    X, a = gg.input("X", (24, 6)), gg.input("a", (6,))
    i, j = gg.indices("i j")
    h = gg.compute(i, gg.tanh(gg.sum(X[i, j] * a[j], over=j)))
    norm = gg.sum(h * h)
    assert "h, norm: behind the loop i" in gg.compile({"h": h, "norm": norm}).explain()


def test_few_elements_are_not_worth_a_loop() -> None:
    X, a = gg.input("X", (3, 6)), gg.input("a", (6,))
    assert "behind the loop" not in decisions(gg.tanh(X @ a))


def test_the_loop_that_runs_through_memory_is_joined() -> None:
    """The outer product of a gradient is written row by row, not column by column."""
    X, a, g = gg.param("X", (24, 6)), gg.input("a", (6,)), gg.input("g", (24,))
    h = gg.tanh(X @ a)
    source = gg.compile({"loss": gg.sum(h * g)}).source
    assert "d_X[i, j] = " in source
    assert "d_X[j, i] = " not in source
