"""Integers and bools where Numba would take them for something else: powers, signs, roundings, sums of bools."""

from collections.abc import Callable

import numpy as np
import pytest

import gradgen as gg
from gradgen.network import Network
from tests.cpu.running import unjitted

WAYS: dict[str, Callable[[Network], Network]] = {"plain": unjitted, "jitted": lambda net: net}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_powers_wrap_around_as_numpys_do(dtype: str, way: str) -> None:
    k, e = gg.input("k", (7,), dtype=dtype), gg.input("e", (7,), dtype=dtype)
    net = WAYS[way](gg.compile({"a": k**e, "b": 3**e, "c": k**5, "s": gg.sign(k)}, name="powers"))
    base = np.array([3, 7, 15, 2, 0, 1, 2**31 - 1], dtype)
    exponent = np.array([39, 21, 15, 31, 0, 70000, 5], dtype)
    found = net(k=base, e=exponent)
    three, five = np.array(3, dtype), np.array(5, dtype)
    with np.errstate(all="ignore"):
        wanted = {"a": base**exponent, "b": three**exponent, "c": base**five, "s": np.sign(base)}
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value)
        assert found[key].dtype == value.dtype


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_integer_is_0(way: str) -> None:
    """Data may hold exponents that the interpreter refuses."""
    k, e = gg.input("k", (5,), dtype="int64"), gg.input("e", (5,), dtype="int64")
    net = WAYS[way](gg.compile({"y": k**e}, name="negative"))
    found = net(k=np.array([2, -1, 1, 0, -1]), e=np.array([-1, -3, -(2**63), -1, -2]))
    np.testing.assert_array_equal(found["y"], [0, -1, 1, 0, 1])


@pytest.mark.parametrize("way", WAYS)
def test_the_sign_of_a_large_uint32(way: str) -> None:
    u = gg.input("u", (), dtype="uint32")
    assert WAYS[way](gg.compile({"y": gg.sign(u)}, name="sign"))(u=np.uint32(2**31 + 1))["y"] == 1


def of_bools() -> dict[str, gg.Tensor]:
    b, c, d = (gg.input(name, (2,), dtype="bool") for name in "bcd")
    k, s = gg.input("k", (2,), dtype="int32"), gg.input("s", (), dtype="bool")
    i, x = gg.input("i", (), dtype="int32"), gg.input("x", (3,))
    return {
        "a sum of chosen bools": gg.where(b, c, k) + gg.where(b, d, k),
        "minus": -b,
        "minus what is chosen": -gg.where(b, c, k),
        "sign": gg.sign(b),
        "abs": abs(s),
        "square": gg.square(s),
        "round a bool": gg.round(s),
        "round an integer": gg.round(i),
        "handed on": x * gg.round(i) + x * abs(s),
        "floor": gg.floor(k),
        "a subscript": x[gg.where(c, d, k)[0]] * 2,
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", of_bools())
def test_bools_are_integers_in_arithmetic(name: str, way: str) -> None:
    given = {
        "b": np.array([True, True]), "c": np.array([True, True]), "d": np.array([True, False]),
        "k": np.array([1, 2], np.int32), "s": np.True_, "i": np.int32(-3), "x": np.arange(3, dtype=np.float32),
    }  # fmt: skip
    wanted = {
        "a sum of chosen bools": [2, 1], "minus": [-1, -1], "minus what is chosen": [-1, -1], "sign": [1, 1],
        "abs": 1, "square": 1, "round a bool": 1, "round an integer": -3, "handed on": [0, -2, -4], "floor": [1, 2],
        "a subscript": 2.0,
    }  # fmt: skip
    net = WAYS[way](gg.compile({"y": of_bools()[name]}, name="bools"))
    found = net(**{x.name: given[x.name] for x in net.interface.leaves})["y"]
    np.testing.assert_array_equal(found, wanted[name])
