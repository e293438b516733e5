"""Loops as graphs: results, nesting, length zero, reversal, and what is refused."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.nodes import Project, toposort
from gradgen.graph.origin import origin
from gradgen.graph.tensor import Tensor

Evaluate = Callable[..., Any]
Message = Callable[..., str]
T = gg.size("T")
RNG = np.random.default_rng(2)


def floats(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_recurrence(evaluate: Evaluate, length: int, reverse: bool) -> None:
    xs, W = gg.input("xs", (T, 3)), gg.param("W", (3, 3))

    def cell(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = gg.tanh(h @ W + x)
        return h, h * 2

    last, ys = gg.scan(cell, gg.zeros(3), xs, reverse=reverse)
    x, w = floats(length, 3), floats(3, 3)
    h, expected = np.zeros(3, "float32"), np.zeros((length, 3), "float32")
    for t in reversed(range(length)) if reverse else range(length):
        h = np.tanh(h @ w + x[t])
        expected[t] = h * 2
    np.testing.assert_allclose(evaluate(last, sizes={"T": length}, xs=x, W=w) if length else h, h, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(evaluate(ys, xs=x, W=w), expected, rtol=1e-5, atol=1e-6)


def test_length_zero_gives_the_start(evaluate: Evaluate) -> None:
    xs, start = gg.input("xs", (T, 3)), gg.input("start", (3,))
    last, _ = gg.scan(lambda h, x: (h + x, None), start, xs)
    np.testing.assert_array_equal(
        evaluate(last, xs=np.zeros((0, 3), "float32"), start=np.arange(3, dtype="float32")), range(3)
    )


def test_nested_tuples_numbers_and_none(evaluate: Evaluate) -> None:
    class State(NamedTuple):
        count: Any
        sums: Any

    xs = gg.input("xs", (T, 2))

    def body(state: State, x: tuple[Tensor, None]) -> tuple[State, list[Any]]:
        assert x[1] is None
        return State(state.count + 1, (state.sums[0] + x[0], state.sums[1])), [state.count, None]

    (final, stacked) = gg.scan(body, State(0, (gg.zeros(2), 1.5)), (xs, None))
    x = floats(4, 2)
    assert isinstance(final, State)
    assert evaluate(final.count, xs=x) == 4
    assert final.count.dtype == "int64"
    np.testing.assert_allclose(evaluate(final.sums[0], xs=x), x.sum(axis=0), rtol=1e-5)
    assert evaluate(final.sums[1], xs=x) == 1.5
    assert stacked[1] is None
    np.testing.assert_array_equal(evaluate(stacked[0], xs=x), range(4))


def test_a_loop_without_xs(evaluate: Evaluate) -> None:
    x, ys = gg.scan(lambda x, _: (0.5 * (x + 2 / x), x), 1.0, length=6)
    assert abs(float(evaluate(x)) - 2**0.5) < 1e-6
    assert ys.shape == (6,)


def test_a_map(evaluate: Evaluate) -> None:
    xs = gg.input("xs", (T, 3))
    carry, ys = gg.scan(lambda _, x: (None, gg.sum(x)), None, xs)
    assert carry is None
    x = floats(4, 3)
    np.testing.assert_allclose(evaluate(ys, xs=x), x.sum(axis=1), rtol=1e-5)


def test_scans_inside_scans(evaluate: Evaluate) -> None:
    A = gg.input("A", (T, gg.size("S")))

    def row(total: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        inner, partial = gg.scan(lambda s, x: (s * 0.5 + x + total, s), 0.0, a)
        return inner, partial

    last, partials = gg.scan(row, 1.0, A)
    a = floats(3, 4)
    total, expected = 1.0, np.zeros((3, 4))
    for t in range(3):
        s = 0.0
        for k in range(4):
            expected[t, k] = s
            s = s * 0.5 + a[t, k] + total
        total = s
    np.testing.assert_allclose(evaluate(last, A=a), total, rtol=1e-5)
    np.testing.assert_allclose(evaluate(partials, A=a), expected, rtol=1e-5, atol=1e-6)


def test_formulas_inside_a_body(evaluate: Evaluate) -> None:
    xs, W = gg.input("xs", (T, 3)), gg.param("W", (3, 3))
    i, j = gg.indices("i j")

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, None]:
        return gg.compute(i, gg.sum(W[i, j] * h[j], over=j) + x[i]), None

    last, none = gg.scan(body, gg.zeros(3), xs)
    x, w = floats(4, 3), floats(3, 3)
    h = np.zeros(3)
    for t in range(4):
        h = w @ h + x[t]
    assert none is None
    np.testing.assert_allclose(evaluate(last, xs=x, W=w), h, rtol=1e-4, atol=1e-5)


def test_equal_scans_are_one() -> None:
    xs = gg.input("xs", (T, 3))
    first, _ = gg.scan(lambda h, x: (h + x, None), gg.zeros(3), xs)
    second, _ = gg.scan(lambda h, x: (h + x, None), gg.zeros(3), xs)
    assert first is second


def test_names_of_results() -> None:
    xs = gg.input("xs", (T, 3))
    (h, c), hs = gg.scan(lambda s, x: ((s[0] + x, s[1] * x), s[0]), (gg.zeros(3), gg.ones(3)), xs)
    assert (h.name, c.name, hs.name) == ("h", "c", "hs")
    states = next(n for n in toposort([h.node]) if isinstance(n, Project))
    found = origin(states)
    assert found is not None
    assert found.name is None


def test_refusals(message: Message) -> None:
    xs, ys = gg.input("xs", (T, 3)), gg.input("ys", (gg.size("S"), 3))
    zero = gg.zeros(3)
    assert message(GraphError, lambda: gg.scan(lambda h, x: (h, h), zero)) == (
        "gg.scan without xs needs a length: gg.scan(body, init, length=...)."
    )
    assert message(ShapeError, lambda: gg.scan(lambda h, x: (h, h), zero, (xs, ys))) == (
        "gg.scan: ys (S, 3) has S elements along its first axis, and the loop has T steps. Make them equal."
    )
    assert message(ShapeError, lambda: gg.scan(lambda h, x: (h, h), zero, gg.input("s", ()))) == (
        "gg.scan walks xs along their first axis; s () has no axes."
    )
    assert message(GraphError, lambda: gg.scan(lambda h, x: h, zero, xs)) == (
        "the body of gg.scan returns the next carry and a result: `return carry, y`."
    )
    assert message(GraphError, lambda: gg.scan(lambda h, x: ((h, h), None), zero, xs)) == (
        "the body of gg.scan returns a carry of the form (*, *), and init has the form *: they must be equal."
    )
    assert message(ShapeError, lambda: gg.scan(lambda h, x: (x, None), gg.zeros(4), xs)) == (
        "carry 0 of gg.scan has shape (4) before a step and (3) after it: they must be equal."
    )
    assert message(DTypeError, lambda: gg.scan(lambda h, x: (h / 2, None), 1, xs)) == (
        "carry 0 of gg.scan is int64 before a step and float32 after it: they must be equal; gg.cast changes one."
    )
    assert message(DTypeError, lambda: gg.scan(lambda h, x: (h, "y"), zero, xs)) == (
        "gg.scan takes tensors, arrays, numbers, None, and tuples, lists and dicts of these, not 'y'."
    )


def test_a_value_of_an_inner_scan_cannot_leave_it(message: Message) -> None:
    xs = gg.input("xs", (T, 3))
    leaked: list[Tensor] = []

    def inner(h: Tensor, x: Tensor) -> tuple[Tensor, None]:
        leaked.append(h)
        return h + x, None

    def outer(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        gg.scan(inner, 0.0, x)
        return h, leaked[0]

    assert message(GraphError, lambda: gg.scan(outer, 0.0, xs)) == (
        "the body of gg.scan returns carry 0 of the scan (), which belongs to another scan."
    )
