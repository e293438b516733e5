"""Corners of NumPy's functions: int32, any `ddof`, norms of any order where elements are 0, padding beside nothing."""

import warnings
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, ShapeError
from tests.cpu.running import unjitted

INT32 = [
    "m.cumsum(x)", "m.cumsum(x, axis=1)", "m.cumprod(x, axis=0)", "m.prod(x, axis=1)", "m.zeros_like(x)",
    "m.ones_like(x) + x", "m.full_like(x, 7)", "m.pad(x, 1)", "m.pad(x, 1, mode='edge')", "m.eye(3, dtype='int32')",
    "m.arange(4, dtype='int32')", "x.astype('int64').astype('int32')", "m.maximum(m.zeros_like(x), x)",
]  # fmt: skip
ORDERS = (0.5, 1.5, 2, -1, -0.5)
DDOFS = (0.5, 1, 2, 2.5, 3)
N = gg.size("N")


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """NumPy warns of divisions by zero."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def test_int32_keeps_its_dtype_where_numpy_keeps_it() -> None:
    x = gg.input("x", (3, 4), dtype="int32")
    net = unjitted(gg.compile({f"y{k}": eval(text, {"m": gg, "x": x}) for k, text in enumerate(INT32)}, name="int32"))
    array = (np.arange(12, dtype=np.int32) - 4).reshape(3, 4)
    out = net(x=array)
    for k, text in enumerate(INT32):
        wanted = eval(text, {"m": np, "x": array})
        np.testing.assert_array_equal(out[f"y{k}"], wanted, err_msg=text)
        assert out[f"y{k}"].dtype == wanted.dtype, text


def test_variances_divide_by_what_is_left_of_the_count() -> None:
    x, few = gg.param("x", (N,), dtype="float64"), gg.param("few", (2,), dtype="float64")
    ys = {f"x{d}".replace(".", "_"): gg.var(x, ddof=d) for d in DDOFS}
    ys |= {f"f{d}".replace(".", "_"): gg.std(few, ddof=d) for d in DDOFS}
    net = unjitted(gg.compile(ys, name="variances"))
    for n in (0, 1, 2, 3, 5):
        values, pair = np.random.default_rng(n).normal(size=n), np.array([1.0, -0.5])
        wanted = [*[np.var(values, ddof=d) for d in DDOFS], *[np.std(pair, ddof=d) for d in DDOFS]]
        np.testing.assert_allclose(list(net(x=values, few=pair).values()), wanted, rtol=1e-12)


def test_norms_have_slope_0_where_an_element_is_0() -> None:
    x = gg.param("x", (3,), dtype="float64")
    norms = [gg.norm(x, order) for order in ORDERS]
    ys = {f"norm{k}": y for k, y in enumerate(norms)} | {f"slope{k}": gg.grad(y, x) for k, y in enumerate(norms)}
    net = unjitted(gg.compile(ys, name="norms"))
    for values in ([0.0, 0.0, 0.0], [0.0, 2.0, 3.0], [1.0, -2.0, 3.0], [0.0, -2.0, 0.0]):
        at, out = np.array(values), net(x=np.array(values))
        for k, order in enumerate(ORDERS):
            ends = [[np.linalg.norm(at + h * e, order) for h in (-1e-6, 1e-6)] for e in np.eye(3)]
            slopes = [(high - low) / 2e-6 for low, high in ends]  # 0 where |x| has a kink, too
            np.testing.assert_allclose(out[f"norm{k}"], np.linalg.norm(at, order), rtol=1e-12)
            np.testing.assert_allclose(out[f"slope{k}"], slopes, rtol=1e-5, atol=1e-5)


def test_padding_leaves_an_empty_axis_alone() -> None:
    x = gg.param("x", (3, 0))
    for mode in ("constant", "edge", "reflect", "symmetric", "wrap"):
        wanted = np.pad(np.zeros((3, 0)), ((1, 2), (0, 0)), mode=mode)  # type: ignore[call-overload]  # by name
        assert gg.pad(x, ((1, 2), (0, 0)), mode=mode).shape == wanted.shape
    with pytest.raises(ShapeError, match="too short"):
        gg.pad(x, ((0, 0), (1, 1)), mode="reflect")


def test_integers_made_of_sizes_and_numbers_are_subscripts() -> None:
    x = gg.param("x", (N,), dtype="float64")
    texts = ["minimum(n - 1, 3)", "where(n > 3, 3, 0)", "abs(-2)", "maximum(n - 1, n - 2)", "minimum(-1, 2)"]
    gradgen: Any = {"minimum": gg.minimum, "maximum": gg.maximum, "where": gg.where, "abs": gg.abs, "n": N}
    net = unjitted(gg.compile({f"y{k}": x[eval(t, gradgen)] for k, t in enumerate(texts)}, name="chosen"))
    for n in (3, 4, 7):
        python = {"minimum": min, "maximum": max, "where": lambda c, a, b: a if c else b, "abs": abs, "n": n}
        values = np.arange(float(n))
        assert list(net(x=values).values()) == [values[eval(t, python)] for t in texts]
    with pytest.raises((ShapeError, BindingError)):
        net(x=np.zeros(2))


@pytest.mark.parametrize("window", ["valid", "padded", "turned", "masked"])
@pytest.mark.parametrize("order", ["pq", "qp"])
@pytest.mark.parametrize("most", ["max", "min"])
def test_of_equal_elements_the_first_by_the_order_of_over_has_the_gradient(most: str, order: str, window: str) -> None:
    """That is where `argmax` points, whichever index the body mentions first: in a condition, a subscript."""
    x, d = gg.input("x", (6, 7), "float64"), gg.input("d", (4, 5), "float64")
    h, w, p, q = gg.index("h", 4), gg.index("w", 5), gg.index("p", 3), gg.index("q", 3)
    least = -np.inf if most == "max" else np.inf
    body = {
        "valid": x[h + p, w + q],
        "padded": gg.padded(x, least)[h + p, w + q - 1],
        "turned": gg.transpose(x)[w + q, h + p],
        "masked": gg.where(q + 1 > p, x[h + p, w + q], least),
    }[window]
    over = {"p": p, "q": q}
    letters = tuple(over[name] for name in order)
    y = gg.compute((h, w), getattr(gg, most)(body, over=letters))
    place = gg.compute((h, w), getattr(gg, f"arg{most}")(body, over=letters))
    net = unjitted(gg.compile({"d_x": gg.vjp([y], [x], [d])[0], "place": place}, name="ties", dtype="float64"))
    rng = np.random.default_rng(0)
    given, seed = rng.integers(0, 2, (6, 7)).astype(float), rng.normal(size=(4, 5))
    found = net(x=given, d=seed)
    wanted = np.zeros_like(given)
    for at in np.ndindex(4, 5):
        first, second = divmod(int(found["place"][at]), 3)
        s, t = (first, second) if order == "pq" else (second, first)
        wanted[at[0] + s, at[1] + t - (window == "padded")] += seed[at]
    np.testing.assert_allclose(found["d_x"], wanted, rtol=1e-12)
