"""Arrays of other dtypes: what loses nothing passes, whatever holds it; the rest is refused."""

import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, DTypeError, GradgenError
from gradgen.network import Network
from gradgen.runtime.calls import Caller


@cache
def net(strict: bool = False) -> Network:
    x, k, n = gg.input("x", (4,)), gg.input("k", (3,), "int64"), gg.input("n", (2,), "int32")
    w, flag = gg.param("w", (4,)), gg.input("flag", (2,), "bool")
    loss = gg.sum((x * w)[k]) + gg.sum(gg.where(flag, n, 0).astype("float32"))
    return gg.compile({"loss": loss}, name="wider", loss="loss", updates=gg.optim.sgd(loss, lr=0.1), strict=strict)


BEST = {
    "x": np.array([0.0, 1.0, 1.0, 0.0], np.float32), "k": np.array([1, 2, 0]), "n": np.array([1, 0], np.int32),
    "flag": np.array([True, False]), "w": np.ones(4, np.float32),
}  # fmt: skip
PASS = {
    "x": ["bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float16", ">f4"],
    "k": ["bool", "int8", "uint8", "int16", "int32", "uint32", "uint64", ">i8"],
    "n": ["bool", "int8", "int16", "int64", "uint64"],
    "w": ["bool", "int32", "int64", "float16"],
    "flag": [],
}


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name, dtypes in PASS.items() for dtype in dtypes])
def test_what_loses_nothing_passes(name: str, dtype: str) -> None:
    given = np.array([1, 1, 0] if name == "k" and dtype == "bool" else BEST[name])
    best = {**BEST, name: given}
    other = given.astype(dtype)
    before = other.copy()
    wanted = net()(**best)["loss"]
    for _ in range(3):  # the long way, and twice the short one
        assert net()(**{**best, name: other})["loss"] == wanted
    np.testing.assert_array_equal(other, before)
    assert other.dtype == before.dtype


LOSES: list[tuple[str, Any]] = [
    ("x", np.ones(4)), ("x", np.full(4, 2**24 + 1)), ("x", np.full(4, -(2**24) - 1, np.int32)), ("k", np.ones(3)),
    ("k", np.full(3, 2**63, np.uint64)), ("n", np.full(2, 2**31)), ("n", np.full(2, 2**31, np.uint32)),
    ("flag", np.ones(2, np.int64)), ("x", np.ones(4, np.longdouble)), ("w", np.ones(4)), ("x", np.ones(4, complex)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "array"), LOSES)
def test_what_loses_something_is_refused(name: str, array: Any) -> None:
    net()(**BEST)
    for _ in range(2):
        with pytest.raises(DTypeError, match=rf"{name} is {array.dtype}; the model declares {BEST[name].dtype}"):
            net()(**{**BEST, name: array})


@pytest.mark.parametrize("value", [2**53, -(2**53), 2**53 + 1, -(2**53) - 1])
@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_integers_that_float64_does_not_hold(kind: str, value: int) -> None:
    x = gg.input("x", (2,), "float64")
    same = gg.compile({"y": x * 1.0}, name="wide64", wrt=[])
    if value < 0 and kind == "uint64":
        return
    given = np.full(2, value, kind)
    if abs(value) == 2**53:
        np.testing.assert_array_equal(same(x=given)["y"], np.full(2, float(value)))
        return
    with pytest.raises(DTypeError, match=f"x is {kind}; the model declares float64"):
        same(x=given)


@pytest.mark.parametrize("edge", [2**24, -(2**24)])
def test_the_largest_integers_that_pass(edge: int) -> None:
    exact = {**BEST, "x": np.full(4, edge, np.float32)}
    assert net()(**{**BEST, "x": np.full(4, edge)})["loss"] == net()(**exact)["loss"]


def test_what_a_step_updates_keeps_its_dtype() -> None:
    given = {name: x for name, x in BEST.items() if name != "w"}
    with pytest.raises(DTypeError, match=r"w is float16; the model declares float32\. Convert it with"):
        net().step({"w": np.ones(4, np.float16)}, **given)


def test_strict_copies_nothing() -> None:
    strict = net(strict=True)
    wanted = strict(**BEST)["loss"]
    for _ in range(2):
        with pytest.raises(BindingError) as caught:
            strict(**{**BEST, "k": BEST["k"].astype(np.int32)})
        assert str(caught.value) == (
            "k is int32 and would be copied, which strict=True refuses. Give an array of int64."
        )
    assert strict(**BEST)["loss"] == wanted


def test_arrays_out_of_a_pickle_go_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their dtype is equal to the usual object, and another one."""
    arrays = pickle.loads(pickle.dumps(BEST))
    assert arrays["x"].dtype is not np.dtype("float32")
    inputs = {name: x for name, x in arrays.items() if name != "w"}
    state = {"w": arrays["w"]}
    wanted = net()(**arrays)
    net().step(state, **inputs)

    def looked(*_: Any) -> Any:
        raise GradgenError("this call took the long way")

    monkeypatch.setattr(Caller, "_prepare", looked)
    before = state["w"].copy()
    net().step(state, **inputs)
    assert not np.array_equal(state["w"], before)
    monkeypatch.undo()
    assert net()(**arrays).keys() == wanted.keys()
