"""What a loop adds to one element is added up in a variable; the text is that of the CPU target."""

from dataclasses import replace

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.scalar import Poly, size_symbol
from gradgen.passes.loops.add_up import add_up
from gradgen.program.loops import Accumulate, For, If, Statement
from gradgen.program.registers import Registers
from tests.passes.statements import add, array, assign, at, h, i, j, k, loop, text

N = size_symbol("N")
x, y, z, w = array("x", 9), array("y", 9), array("z", 9, 9), array("w", 9, 9, 9)
rows = array("rows", 9, dtype="int64")


def total(name: Poly, *body: Statement) -> For:
    return loop(name, 9, *body, kind="reduce")


def added(*body: Statement) -> str:
    return text(add_up(body, Registers(body)))


def test_an_element_is_added_to_once_for_all_loops_that_it_does_not_depend_on() -> None:
    nest = loop(i, 9, total(j, total(k, add(y, [i], at(w, i, j, k)))))
    assert added(nest) == (
        "for i in range(9):\n    y_acc = (0.0)\n    for j in range(9):\n        for k in range(9):\n"
        "            y_acc += w[i, j, k]\n    y[i] += y_acc"
    )


def test_an_element_that_begins_in_front_of_the_loop_is_the_sum() -> None:
    nest = loop(i, 9, assign(y, [i], 0.0), total(j, add(y, [i], at(z, i, j))))
    assert added(nest) == (
        "for i in range(9):\n    y_acc = (0.0)\n    for j in range(9):\n        y_acc += z[i, j]\n    y[i] = y_acc"
    )


def test_several_terms_and_terms_under_conditions() -> None:
    body = add(y, [i], at(z, i, j)), If(at(z, i, j) >= 0.0, (add(y, [i], at(x, j)),))
    assert added(loop(i, 9, total(j, *body))) == (
        "for i in range(9):\n    y_acc = (0.0)\n    for j in range(9):\n        y_acc += z[i, j]\n"
        "        if z[i, j] >= (0.0):\n            y_acc += x[j]\n    y[i] += y_acc"
    )


def test_maxima_begin_with_the_least() -> None:
    nest = loop(i, 9, total(j, Accumulate(y, (i,), "max", at(z, i, j))))
    assert added(nest).startswith("for i in range(9):\n    y_acc = (-np.inf)\n    for j in range(9):\n        y_acc = ")
    assert added(nest).endswith("\n    y[i] = maximum_f64(y[i], y_acc)")


def test_a_place_that_data_choose_outside_of_the_loop() -> None:
    nest = loop(i, 9, total(j, add(y, [at(rows, i)], at(z, i, j))))  # type: ignore[list-item]  # an integer access
    assert added(nest).endswith("\n    y[rows[i]] += y_acc")


@pytest.mark.parametrize(
    "nest",
    [
        loop(i, 9, total(j, add(y, [j], at(z, i, j)))),  # another element each time
        loop(i, 9, total(j, add(y, [i], at(y, j)))),  # read inside
        loop(i, 9, total(j, add(y, [i], at(z, i, j)), assign(y, [j], 1.0))),  # written inside
        loop(i, 9, total(j, add(y, [i], at(z, i, j)), add(y, [8], 1.0))),  # two elements
        loop(i, 9, total(j, add(y, [i], at(z, i, j)), Accumulate(y, (i,), "max", at(x, j)))),  # two operations
        loop(i, 9, total(j, add(y, [at(rows, j)], at(z, i, j)))),  # type: ignore[list-item]  # chosen inside
    ],
)
def test_what_stays(nest: For) -> None:
    assert added(nest) == text([nest])


def test_an_element_that_an_empty_loop_may_not_have_is_left_alone() -> None:
    """Behind a loop that is not entered, nothing may be touched: y[0] of an array of N elements."""
    ys = array("ys", N)
    assert "ys_acc" not in added(loop(j, N, add(ys, [0], at(x, 0)), kind="reduce"))
    assert "ys_acc" in added(loop(i, N, total(j, add(ys, [i], at(x, j)))))


def test_an_element_that_a_condition_shields_is_left_alone() -> None:
    """Where the condition never holds, the place that data choose may not be there."""
    adding = add(y, [at(rows, i)], at(z, i, j))  # type: ignore[list-item]  # an integer access
    assert "y_acc" not in added(loop(i, 9, total(j, If(at(z, i, j) >= 0.0, (adding,)))))
    assert "y_acc" in added(loop(i, 9, total(j, If(at(z, i, j) >= 0.0, (add(y, [i], at(z, i, j)),)))))


def test_loops_in_any_order_stay_as_they_are() -> None:
    nest = loop(h, 9, add(y, [0], at(x, h)))
    assert added(replace(nest, kind="parallel")) == text([replace(nest, kind="parallel")])


def test_the_adjoint_of_a_normalisation() -> None:
    """Weights of channels are added to once for each image and channel; gradients against differences."""
    image, scale = gg.param("image", (3, 4, 5, 6)), gg.param("scale", (4,))
    n, c, a, b = gg.index("n", 3), gg.index("c", 4), gg.index("a", 5), gg.index("b", 6)
    y = gg.compute((n, c, a, b), gg.tanh(image[n, c, a, b] * scale[c]))
    net = gg.compile({"loss": gg.sum(y * y * y)}, name="scaled", dtype="float64")
    assert "d_scale_acc += " in net.source
    rng = np.random.default_rng(2)
    values = {"image": rng.standard_normal((3, 4, 5, 6)), "scale": rng.standard_normal(4)}
    found = net.value_and_grad(**values)[1]["scale"]
    for at_c, e in enumerate(np.eye(4) * 1e-6):
        above, below = (net(image=values["image"], scale=values["scale"] + s * e)["loss"] for s in (1, -1))
        assert found[at_c] == pytest.approx((above - below) / 2e-6, rel=1e-6)
