"""One element in several shapes, and the largest integers: what is an array in one place and a number in another."""

from collections.abc import Callable

import numpy as np
import pytest

import gradgen as gg
from gradgen.machine import CPU, SMALLEST, using
from gradgen.network import Network
from tests.cpu.running import through_entry_points, unjitted
from tests.repeats import by_turns

WAYS: dict[str, Callable[[Network], Network]] = {
    "plain": unjitted,
    "jitted": lambda net: net,
    "entry points": through_entry_points,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_number_in_another_shape(way: str) -> None:
    """Its gradient is the cotangent in another shape: an array of no axes, which is no number in compiled code."""
    x = gg.input("x", (), dtype="float64")
    net = WAYS[way](gg.compile({"y": x.reshape((1,))}, dtype="float64", wrt=[x], name="as_array"))
    out, saved = net.forward(x=np.float64(0.3))
    np.testing.assert_array_equal(out["y"], [0.3])
    assert net.backward(saved, y=np.array([-0.5]))["x"] == -0.5


@pytest.mark.parametrize("way", WAYS)
def test_an_array_of_one_element_as_a_number(way: str) -> None:
    p, z = gg.param("p", (1,), dtype="float64"), gg.param("z", (3,), dtype="float64")
    q = p.reshape(())
    loss = gg.sum(z * q) + q * q
    net = WAYS[way](gg.compile({"loss": loss, "q": q}, dtype="float64", loss="loss", name="as_number"))
    given = {"p": np.array([1.5]), "z": np.arange(3.0)}
    out, gradients = net.value_and_grad(**given)
    assert (out["loss"], out["q"]) == (6.75, 1.5)
    np.testing.assert_array_equal(gradients["p"], [6.0])
    np.testing.assert_array_equal(gradients["z"], [1.5, 1.5, 1.5])
    out, saved = net.forward(**given)
    found = net.backward(saved, loss=2.0, q=0.25)
    np.testing.assert_array_equal(found["p"], [12.25])


@pytest.mark.parametrize(("dtype", "machine"), by_turns(("uint32", "int32", "int64"), ("usual", "smallest")))
@pytest.mark.parametrize("axis", [None, 0])
def test_the_largest_and_the_least_of_integers(dtype: str, machine: str, axis: int | None) -> None:
    x = gg.input("x", (7, 3), dtype=dtype)
    with using({"usual": CPU, "smallest": SMALLEST}[machine]):
        net = gg.compile({"most": gg.max(x, axis=axis), "least": gg.min(x, axis=axis)}, name="largest")
    limits = np.iinfo(dtype)
    given = np.random.default_rng(0).integers(limits.min, limits.max, (7, 3), dtype, endpoint=True)
    for x_value in (given, np.full((7, 3), limits.min, dtype), np.full((7, 3), limits.max, dtype)):
        for way in ("plain", "jitted"):
            out = WAYS[way](net)(x=x_value)
            np.testing.assert_array_equal(out["most"], x_value.max(axis=axis))
            np.testing.assert_array_equal(out["least"], x_value.min(axis=axis))
