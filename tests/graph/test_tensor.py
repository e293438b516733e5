"""Operators and functions of whole tensors against NumPy, by the reference interpreter."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.functions import FUNCTIONS

Evaluate = Callable[..., Any]
Message = Callable[..., str]
RNG = np.random.default_rng(0)


def floats(*shape: int, dtype: str = "float32") -> Any:
    return RNG.normal(size=shape).astype(dtype)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, y: x + y,
        lambda x, y: x - y * 2,
        lambda x, y: 2.5 / (x * x + 1) + y,
        lambda x, y: -(abs(x) ** 2),
        lambda x, y: (x * x + 1) ** 0.5,
        lambda x, y: x // (y * y + 1),
        lambda x, y: x % (y * y + 1),
        lambda x, y: (x < y) & ~(x > 0.5) | (y == y),
        lambda x, y: 1 - (x >= y),
        lambda x, y: x @ y.T,
        lambda x, y: (x @ y.T).T,
        lambda x, y: x.sum() + y.mean(),
        lambda x, y: x.sum(axis=0) + y.max(axis=0),
        lambda x, y: x.min(axis=-1, keepdims=True) * y,
        lambda x, y: x.mean(axis=(0, 1), keepdims=True) * y,
        lambda x, y: x.argmax(axis=1) + x.argmin(axis=0)[0],
        lambda x, y: x.reshape(-1) + y.reshape(12),
        lambda x, y: x.reshape(2, -1, 2)[1] * y[:2, :2].sum(),
        lambda x, y: x.transpose(1, 0) + y.T,
        lambda x, y: x[:, None] * y[None],
    ],
)
def test_operators_agree_with_numpy(evaluate: Evaluate, formula: Callable[[Any, Any], Any]) -> None:
    x, y = floats(3, 4), floats(3, 4)
    got = evaluate(formula(gg.input("x", (3, 4)), gg.input("y", (3, 4))), x=x, y=y)
    expected = formula(x, y)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "numpy"),
    [
        (n, getattr(np, n))
        for n in ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "square", "floor", "ceil")
    ],
)
def test_functions_agree_with_numpy(evaluate: Evaluate, name: str, numpy: Callable[[Any], Any]) -> None:
    x = np.abs(floats(5)) + 0.1
    np.testing.assert_allclose(evaluate(getattr(gg, name)(gg.input("x", (5,))), x=x), numpy(x), rtol=1e-6)


def test_every_scalar_function_has_a_public_name() -> None:
    functions = [value for name in gg.__all__ if not isinstance(value := getattr(gg, name), ModuleType)]
    declared = [getattr(value, "declared", None) for value in functions]
    public = {function.name for function in declared if function is not None} | {"where", "materialize"}
    operators = {"add", "sub", "mul", "div", "floordiv"}
    internal = {"difference", "less_one", "wrapped"}  # what is written for sums that would cancel or leave int64
    assert set(FUNCTIONS) - public - operators == internal


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((3, 0), (0, 2)),
    ],
)
def test_matmul(evaluate: Evaluate, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = floats(*a), floats(*b)
    np.testing.assert_allclose(
        evaluate(gg.matmul(gg.input("x", a), gg.input("y", b)), x=x, y=y), x @ y, rtol=1e-5, atol=1e-6
    )


def test_joining(evaluate: Evaluate) -> None:
    x, y = floats(3, 4), floats(2, 4)
    X, Y = gg.input("x", (3, 4)), gg.input("y", (gg.size("N"), 4))
    np.testing.assert_array_equal(evaluate(gg.concatenate([X, Y, X]), x=x, y=y), np.concatenate([x, y, x]))
    np.testing.assert_array_equal(
        evaluate(gg.concatenate([X, X * 2], axis=-1), x=x), np.concatenate([x, x * 2], axis=-1)
    )
    for axis in (0, 1, 2, -1):
        np.testing.assert_array_equal(evaluate(gg.stack([X, X * 2], axis), x=x), np.stack([x, x * 2], axis))
    np.testing.assert_array_equal(evaluate(gg.broadcast_to(X, (2, 3, 4)), x=x), np.broadcast_to(x, (2, 3, 4)))
    np.testing.assert_array_equal(evaluate(gg.outer(X[0], X[1]), x=x), np.outer(x[0], x[1]))
    np.testing.assert_array_equal(evaluate(gg.squeeze(gg.expand_dims(X, 1), 1), x=x), x)


def test_constants(evaluate: Evaluate) -> None:
    N = gg.size("N")
    for tensor, expected in (
        (gg.zeros((N, 2)), np.zeros((3, 2), "float32")),
        (gg.ones(N, "int64"), np.ones(3, "int64")),
        (gg.full((N,), 2.5, "float64"), np.full(3, 2.5)),
        (gg.full((N,), True, "bool"), np.full(3, True)),
        (gg.arange(N), np.arange(3)),
        (gg.arange(N, dtype="float32"), np.arange(3, dtype="float32")),
    ):
        got = evaluate(tensor, sizes={"N": 3})
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


def test_dtypes() -> None:
    x, d = gg.input("x", (3,)), gg.input("d", (3,), dtype="float64")
    k, b = gg.input("k", (3,), dtype=np.int64), gg.input("b", (3,), dtype=bool)
    assert (x * 2.5).dtype == "float32"
    assert (x + d).dtype == "float64"
    assert (k + x).dtype == "float32"
    assert (k * 2).dtype == "int64"
    assert (k / 2).dtype == "float32"
    assert (k // 2).dtype == "int64"
    assert (x > 0).dtype == "bool"
    assert b.sum().dtype == "int64"
    assert k.mean().dtype == "float32"
    assert x.argmax(axis=0).dtype == "int64"
    assert gg.where(b, x, 0).dtype == "float32"
    assert gg.exp(k).dtype == "float32"
    assert x.astype("float64").dtype == "float64"
    assert (np.float64(2) * x).dtype == "float32"


def test_numpy_scalars_on_the_left_defer(evaluate: Evaluate) -> None:
    x = gg.input("x", (3,))
    for number in (np.float32(2), np.float64(2), np.int64(2)):
        assert number * x is 2 * x or number * x is 2.0 * x
        assert isinstance(number + x, gg.Tensor)
        assert isinstance(number < x, gg.Tensor)
    assert isinstance(np.ones(3) * x, gg.Tensor)


def test_attributes() -> None:
    B = gg.size("B")
    x = gg.input("x", (B, 4))
    assert x.shape[1] == 4
    assert x.shape[0] is B
    assert (x.ndim, x.dtype, x.name) == (2, "float32", "x")
    y = x + 1
    assert y.name == "y"
    assert repr(y) == "<Tensor y: float32 (B, 4), y[i, j] = x[i, j] + 1>"
    assert str(y).splitlines()[0] == "<Tensor y: float32 (B, 4)>"


def test_what_a_tensor_refuses(message: Message) -> None:
    x = gg.input("x", (gg.size("B"), 4))
    assert message(GraphError, lambda: 1 in x) == (
        "`in` has no meaning for a tensor: compare with == and reduce with gg.max."
    )
    with pytest.raises(TypeError):
        x + "1"


def test_shapes_that_do_not_fit(message: Message) -> None:
    x, y = gg.input("x", (gg.size("B"), 4)), gg.input("y", (gg.size("C"), 4))
    k = gg.input("k", (5,))
    assert message(ShapeError, lambda: x + y) == (
        "x (B, 4) and y (C, 4) do not broadcast: axis -2 has sizes B and C. "
        "Make the sizes equal; only a size that is literally 1 is stretched."
    )
    assert message(ShapeError, lambda: x * k) == (
        "x (B, 4) and k (5) do not broadcast: axis -1 has sizes 4 and 5. "
        "Make the sizes equal; only a size that is literally 1 is stretched."
    )
    assert message(ShapeError, lambda: x @ k) == (
        "x (B, 4) @ k (5): sizes 4 and 5 of the summed axis differ. Make them equal, or transpose one with .T."
    )
    assert message(ShapeError, lambda: x.reshape(3, -1, -1)) == "reshape of x (B, 4): only one size may be -1."
    assert message(ShapeError, lambda: x.reshape(8)) == "x (B, 4) cannot be reshaped to (8): 4*B elements are not 8."
    assert message(ShapeError, lambda: x.sum(axis=2)) == "x (B, 4) has 2 axes; axis 2 is not one of them."
    assert message(ShapeError, lambda: x.transpose(0, 0)) == "(0, 0) is not an order of the 2 axes of x (B, 4)."
    assert message(ShapeError, lambda: gg.concatenate([x, k[None]])) == (
        "x (B, 4) and the tensor of test_tensor.py:210 (1, 5) cannot be concatenated along axis 0: "
        "their other sizes must be equal."
    ).replace("210", str(_line_of(test_shapes_that_do_not_fit, "k[None]")))
    assert message(ShapeError, lambda: gg.input("e", (3, 0)).argmax(axis=1)) == (
        "argmax over axis 1 of e (3, 0), which is empty."
    )
    assert message(DTypeError, lambda: gg.exp("x")) == (
        "exp takes tensors, formulas, numbers and arrays, not str: declare arrays with gg.input or gg.param."
    )
    assert message(DTypeError, lambda: x.astype("int8")) == (
        "x (B, 4) cannot be cast to 'int8': give float32, float64, int32, int64 or uint32."
    )


def _line_of(function: Callable[..., None], text: str) -> int:
    import inspect

    lines, first = inspect.getsourcelines(function)
    return first + next(k for k, line in enumerate(lines) if text in line)
