"""Square brackets against NumPy, by the reference interpreter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.scalar import Load

Evaluate = Callable[..., Any]
Message = Callable[..., str]
N = gg.size("N")
BOUND = st.none() | st.integers(-7, 7)
STEP = st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3])
ITEM = st.builds(slice, BOUND, BOUND, STEP) | st.integers(-4, 3) | st.none()


@st.composite
def keys(draw: st.DrawFn, rank: int) -> tuple[Any, ...]:
    items = draw(st.lists(ITEM, max_size=rank + 1))
    while sum(item is not None for item in items) > rank:
        items.pop(next(k for k, item in enumerate(items) if item is not None))
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), Ellipsis)
    return tuple(items)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys(3))
def test_basic_indexing_is_numpys(evaluate: Evaluate, key: tuple[Any, ...]) -> None:
    x = np.arange(4 * 5 * 6, dtype="float32").reshape(4, 5, 6)
    tensor = gg.input("x", (4, 5, 6))[key]
    np.testing.assert_array_equal(evaluate(tensor, x=x), x[key])
    assert tensor.shape == x[key].shape


@pytest.mark.parametrize(
    "key",
    [
        slice(1, None), slice(None, -1), slice(None, None, 2), slice(None, None, -1), slice(2, -1), slice(-3, None),
        slice(1, -1, 2), slice(-2, None, -1), slice(None, 3), slice(4, None, -2), slice(1, 4), 0, -1, 2,
    ],
)  # fmt: skip
def test_indexing_of_symbolic_sizes(evaluate: Evaluate, key: Any) -> None:
    x = np.arange(7, dtype="float32")
    np.testing.assert_array_equal(evaluate(gg.input("x", (N,))[key], x=x), x[key])


def test_sizes_between_the_brackets(evaluate: Evaluate) -> None:
    x = np.arange(14, dtype="float32").reshape(7, 2)
    X = gg.input("x", (N, 2))
    np.testing.assert_array_equal(evaluate(X[N - 1], x=x), x[-1])
    np.testing.assert_array_equal(evaluate(X[: N // 2], x=x), x[:3])
    np.testing.assert_array_equal(evaluate(X[N // 2 :, 0], x=x), x[3:, 0])
    assert X[:N] is X


def test_integer_tensors_select(evaluate: Evaluate) -> None:
    E = np.arange(15, dtype="float32").reshape(5, 3)
    idx = np.array([[4, 0], [2, 2]])
    table, i = gg.param("E", (5, 3)), gg.input("i", (2, 2), dtype="int64")
    np.testing.assert_array_equal(evaluate(table[i], E=E, i=idx), E[idx])
    np.testing.assert_array_equal(evaluate(table[i[0, 0]], E=E, i=idx), E[4])
    np.testing.assert_array_equal(evaluate(table.T[:, i], E=E, i=idx), E.T[:, idx])
    np.testing.assert_array_equal(evaluate(table.T[None, 1:, i], E=E, i=idx), E.T[None, 1:, idx])


def test_indices_make_an_access() -> None:
    x = gg.input("x", (4, 5))
    b, zero = gg.input("b", (4,), dtype="int64"), gg.input("zero", (), dtype="int64")
    n, j = gg.indices("n j")
    assert isinstance(x[n, j], Load)
    assert isinstance(x[n, b[n]], Load)
    assert x[n, zero] is x[n, zero[()]]
    assert x[n, -1] is x[n, 4]
    assert isinstance(x[0], gg.Tensor)
    assert isinstance(x[0, 0], gg.Tensor)


def test_refusals(message: Message) -> None:
    x, k = gg.input("x", (4, 5)), gg.input("k", (3,))
    b = gg.input("b", (3,), dtype="int64")
    i = gg.index("i")
    assert message(ShapeError, lambda: x[4]) == "subscript 4 is outside axis 0 of x (4, 5), whose size is 4."
    assert message(ShapeError, lambda: x[0, -6]) == "subscript -6 is outside axis 1 of x (4, 5), whose size is 5."
    assert message(ShapeError, lambda: x[0, 0, 0]) == "x (4, 5) has 2 axes and is given 3 subscripts."
    assert message(ShapeError, lambda: x[..., ...]) == "x (4, 5): only one ... may stand between the brackets."
    assert message(ShapeError, lambda: x[::N, 0]) == ("the step of a slice of x (4, 5) is a known integer, and not 0.")
    assert message(DTypeError, lambda: x[k]) == "x (4, 5) is indexed by k (3) of dtype float32: use integers."
    assert message(DTypeError, lambda: x["a"]) == (
        "x (4, 5): 'a' between the brackets; integers, sizes, slices, None, ... and integer tensors can stand there."
    )
    assert message(ShapeError, lambda: x[b, gg.input("c", (2,), dtype="int64")]) == (
        "b (3) and c (2) do not broadcast: axis -1 has sizes 3 and 2. Make the sizes equal; only a size that is "
        "literally 1 is stretched."
    )
    assert message(DTypeError, lambda: x[i, :]) == (
        "subscript 1 of x (4, 5) is a slice: inside a formula a subscript is made of integers, sizes, "
        "indices and integer accesses."
    )


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_sorting_keeps_the_order_of_what_is_equal_and_puts_nan_at_the_end(
    evaluate: Evaluate, dtype: str, descending: bool
) -> None:
    rng = np.random.default_rng(3)
    special = [-np.inf, -0.0, 0.0, np.inf, np.nan, 1.0] if dtype == "float32" else [-2, 0, 1, 3]
    for n in (1, 2, 9, 40):
        x = rng.choice(special, n).astype(dtype)
        found = evaluate(gg.argsort(gg.input("x", (n,), dtype), descending=descending), x=x)
        values = [(bool(np.isnan(v)), 0.0 if np.isnan(v) else float(v)) for v in x]  # nan is the largest
        sign = -1 if descending else 1
        assert found.tolist() == sorted(range(n), key=lambda k: (sign * values[k][0], sign * values[k][1]))
