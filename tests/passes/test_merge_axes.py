"""`merge_axes` makes one axis of two that a group of formulas walks through together."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.graph.nodes import Node, reshape
from gradgen.graph.scalar import integer, position, require_poly
from gradgen.machine import CPU, using
from gradgen.passes.rewrite.merge_axes import merge_axes
from tests.passes.building import assert_same_values, at, f, formula, i, j, k, m, tensor, total

x, y, c = tensor("x", 6, 3, 4, 5), tensor("y", 6, 3, 4, 5), tensor("c", 6, 3)
SMALL = replace(CPU, short=8, merged=100)


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    with using(SMALL):
        yield


def flat(node: Node, *shape: int) -> Node:
    return reshape(node, [integer(n) for n in shape])


def test_what_works_element_by_element_has_one_loop_for_two() -> None:
    root = formula((6, 3, 4, 5), f("tanh", at(x, i, j, k, m)) * at(c, i, j))
    (found,) = merge_axes([root])
    merged = formula((6, 3, 20), f("tanh", at(flat(x, 6, 3, 20), i, j, k)) * at(c, i, j))
    assert found is flat(merged, 6, 3, 4, 5)
    assert_same_values([root], [found])


def test_sums_over_both_and_what_they_are_read_by_agree() -> None:
    """A standardised image: sums over both axes, differences from them, and sums of their squares."""
    mean = total((6, 3), (4, 5), at(x, i, j, k, m) / 20.0)
    apart = formula((6, 3, 4, 5), at(x, i, j, k, m) - at(mean, i, j))
    spread = total((6, 3), (4, 5), at(apart, i, j, k, m) * at(apart, i, j, k, m))
    root = formula((6, 3, 4, 5), at(apart, i, j, k, m) / f("sqrt", at(spread, i, j) + 1.0))
    (found,) = merge_axes([root])
    xs = flat(x, 6, 3, 20)
    mean = total((6, 3), (20,), at(xs, i, j, k) / 20.0)
    apart = formula((6, 3, 20), at(xs, i, j, k) - at(mean, i, j))
    spread = total((6, 3), (20,), at(apart, i, j, k) * at(apart, i, j, k))
    merged = formula((6, 3, 20), at(apart, i, j, k) / f("sqrt", at(spread, i, j) + 1.0))
    assert found is flat(merged, 6, 3, 4, 5)
    assert_same_values([root], [found])


def test_more_axes_merge_two_by_two() -> None:
    with using(replace(SMALL, short=64)):
        z = tensor("z", 6, 2, 3, 4, 5)
        root = formula((6, 2, 3, 4, 5), f("exp", at(z, i, j, k, m, position(4))) + at(c, i, 0))
        (found,) = merge_axes([root])
        assert found is flat(formula((6, 120), f("exp", at(flat(z, 6, 120), i, j)) + at(c, i, 0)), 6, 2, 3, 4, 5)


w = tensor("w", 5)
READ_OTHERWISE: dict[str, list[Node]] = {
    "one axis alone": [formula((6, 3, 4, 5), at(x, i, j, k, m) * at(w, m))],
    "transposed": [formula((6, 3, 4, 5), at(x, i, j, k, m) + at(tensor("t", 6, 3, 5, 4), i, j, m, k))],
    "shifted": [formula((6, 3, 4, 4), at(x, i, j, k, require_poly(m + 1)))],
    "in part": [formula((6, 3, 4, 3), at(x, i, j, k, m))],
    "a condition": [formula((6, 3, 4, 5), f("where", m >= k, at(x, i, j, k, m), 0.0))],
    "a number": [formula((6, 3, 4, 5), at(x, i, j, k, m) * f("float64", m))],
    "one sum": [total((6, 3, 4), (5,), at(x, i, j, k, m))],
    "places of maxima": [total((6, 3), (4, 5), at(x, i, j, k, m), "argmax")],
    "a matrix": [formula((20, 5), f("exp", at(tensor("matrix", 20, 5), i, j)))],
    "little to do": [formula((1, 3, 4, 5), f("exp", at(tensor("little", 1, 3, 4, 5), i, j, k, m)))],
    "long already": [formula((2, 3, 4, 9), f("exp", at(tensor("long", 2, 3, 4, 9), i, j, k, m)))],
}


@pytest.mark.parametrize("name", list(READ_OTHERWISE))
def test_what_stays(name: str) -> None:
    roots = READ_OTHERWISE[name]
    assert merge_axes(roots) == roots


def test_a_reader_that_walks_otherwise_keeps_its_group_as_it_is() -> None:
    """A pool of the image reads it in windows: the image is written into it, not stored for the sake of its shape."""
    image = formula((6, 3, 4, 5), f("tanh", at(x, i, j, k, m)))
    pooled = formula(
        (6, 3, 3, 4), f("maximum", at(image, i, j, k, m), at(image, i, j, require_poly(k + 1), require_poly(m + 1)))
    )
    whole = total((6, 3), (4, 5), at(image, i, j, k, m))
    assert merge_axes([pooled, whole]) == [pooled, whole]


def test_groups_decide_apart() -> None:
    first, second = (
        formula((6, 3, 4, 5), f("tanh", at(x, i, j, k, m))),
        formula((6, 3, 4, 5), at(y, i, j, k, m) * at(w, m)),
    )
    found = merge_axes([first, second])
    assert found[0] is not first
    assert found[1] is second


def test_layers_and_their_gradients() -> None:
    """Group normalisation, a scale for each channel and relu, at sizes at which axes merge, against differences."""
    with using(CPU):
        image, scale = gg.param("image", (16, 8, 14, 14)), gg.param("scale", (8, 1, 1))
        g = gg.input("g", (16, 8, 14, 14))
        loss = gg.sum(gg.relu(nn.GroupNorm(2, 8, name="norm")(image) * scale) * g)
        net = gg.compile({"loss": loss}, name="merged", dtype="float64")
    assert "range(196)" in net.source
    rng = np.random.default_rng(4)
    values = {**net.init(), "image": rng.standard_normal((16, 8, 14, 14)), "scale": rng.standard_normal((8, 1, 1))}
    g_value = rng.standard_normal((16, 8, 14, 14))
    gradients = net.value_and_grad(**values, g=g_value)[1]
    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        above, below = (net(**{**values, name: values[name] + s * direction}, g=g_value)["loss"] for s in (1e-6, -1e-6))
        assert np.vdot(gradient, direction) == pytest.approx((above - below) / 2e-6, rel=2e-5)
