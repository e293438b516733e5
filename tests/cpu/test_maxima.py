"""Running maxima: vector code, and the values of the plain loop, nan included."""

import re
from typing import Any

import llvmlite.binding
import numpy as np
import pytest

import gradgen as gg
from gradgen.emit.maxima import with_integer_maxima
from tests.passes.statements import add, array, assign, at, i, j, loop, text, variable

x, y = array("x", 20, 20), array("y", 20)
top, least = variable("top"), variable("least")


def test_a_maximum_starts_from_the_value_given_before() -> None:
    nest = loop(i, 20, assign(top, [], -1.0), loop(j, 20, add(top, [], at(x, i, j), "max")), assign(y, [i], at(top)))
    assert text(with_integer_maxima([nest], ())) == (
        "for i in range(20):\n"
        "    top_order = order_f64((-1.0))\n"
        "    for j in range(20):\n"
        "        top_order = max(top_order, order_f64(x[i, j]))\n"
        "    top = from_order_f64(top_order)\n"
        "    y[i] = top"
    )


def test_a_minimum_is_a_maximum_of_negated_values() -> None:
    assert text(with_integer_maxima([loop(j, 20, add(least, [], at(y, j), "min"))], ())) == (
        "least_order = order_f64(-least)\n"
        "for j in range(20):\n"
        "    least_order = max(least_order, order_f64(-y[j]))\n"
        "least = -from_order_f64(least_order)"
    )


def test_what_is_read_inside_or_short_stays() -> None:
    read = loop(j, 20, add(top, [], at(y, j), "max"), assign(y, [j], at(top)))
    assert with_integer_maxima([read], ()) == [read]
    short = loop(j, 3, add(top, [], at(y, j), "max"))
    assert with_integer_maxima([short], ()) == [short]


def network(reducer: Any, dtype: str, columns: int = 100) -> gg.Network:
    a = gg.input("a", (4, columns), dtype=dtype)
    return gg.compile({"top": reducer(a, axis=1)}, name="running")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["max", "min"])
def test_values(name: str, dtype: str) -> None:
    net = network(getattr(gg, name), dtype)
    a = np.random.default_rng(0).standard_normal((4, 100)).astype(dtype)
    a[1, 57], a[2], a[3, 3] = np.nan, -np.inf, np.inf
    found = net(a=a)["top"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, getattr(np, name)(a, axis=1))


@pytest.mark.skipif(not llvmlite.binding.get_host_cpu_features().get("avx2"), reason="needs an x86 CPU with AVX2")
@pytest.mark.usefixtures("cache")  # machine code that is loaded cannot be looked at
def test_the_loop_is_vector_code() -> None:
    net = network(gg.max, "float32", 120)  # a text that no other test has loaded
    net(a=np.zeros((4, 120), np.float32))
    (assembly,) = net.module.compute_top.inspect_asm().values()
    assert re.search(r"vpmaxsd\s.*%[yz]mm", assembly)
