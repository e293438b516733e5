"""How far integers may reach holds against enumeration, and decides which form a comparison has."""

import itertools

import pytest
from hypothesis import given, settings

import gradgen as gg
from gradgen.graph.accesses import known
from gradgen.graph.nodes import leaf
from gradgen.graph.scalar import Poly, as_poly, integer, load, position, substitute
from gradgen.graph.spans import fits, span
from tests.graph.test_sizes import H, W, i, j, polynomials, value


@settings(max_examples=300, deadline=None)
@given(polynomials())
def test_values_lie_inside(p: Poly) -> None:
    low, high = span(p)
    for h, w, a, b in itertools.product(range(4), range(4), range(4), range(4)):
        assert low <= value(p, {H.atoms[0]: h, W.atoms[0]: w, i.atoms[0]: a, j.atoms[0]: b}) <= high


@pytest.mark.parametrize(
    ("remainder", "end"),
    [(i % 7, 7), ((3 * i + 2) % (2 * H), 2**32 - 2), ((i * j) % (H * W + 1), 2**60 + 1), (i % (H + W), 2**32 - 2)],
)
def test_a_remainder_stays_below_its_divisor(remainder: Poly, end: int) -> None:
    assert span(remainder) == (0, end - 1)
    assert span(as_poly(5 - 2 * remainder)) == (5 - 2 * (end - 1), 5)
    assert fits(remainder)


def test_a_comparison_of_data_has_one_form() -> None:
    """Written of twice an element, or of a tensor that holds it: the same condition, also where int64 may not."""
    at, places = (leaf(name, [integer(4)], "int64", "input") for name in ("at", "places"))
    of_tensor, of_element = load(places, [position(0)]), as_poly(2 * load(at, [position(0)]))
    for written in (lambda x: x >= 0, lambda x: x < H, lambda x: x + 3 <= i + W):
        assert substitute(written(of_tensor), {}, {of_tensor: of_element}) is written(of_element)


def test_facts_are_exact_of_what_int64_holds() -> None:
    """a >= b says nothing of what int64 makes of a - b."""
    a, b = (load(leaf(name, [integer(4)], "int64", "input"), [position(0)]) for name in "ab")
    (exact,) = known(a >= b, True)
    assert exact is as_poly(a) - as_poly(b)
    (fact,) = known(as_poly(a - b) < H, True)
    assert "wrapped" in str(fact)
    (twice,) = known(2 * a >= 0, True)
    assert twice is not as_poly(2 * a)


def test_powers_of_an_index_reach_as_far_as_its_size_says() -> None:
    n = gg.index("n", 3_000_000)
    assert fits(as_poly(n * n))
    assert not fits(as_poly(n * n * n))
    k = gg.index("k", 1000)
    assert fits(as_poly(k * k * k))
    assert not fits(as_poly(H * (2**62 + 1)))


def test_a_guard_of_twice_an_element_keeps_its_read_inside() -> None:
    """Nothing has to be checked in a call: what is compared with the size is what is read at."""
    at, x, k = gg.input("at", (6,), dtype="int64"), gg.param("x", H), gg.index("k", 6)
    place = 2 * at[k] + 1
    y = gg.compute(k, gg.where((place >= 0) & (place < H), x[place], 0.0))
    net = gg.compile({"y": y, "loss": gg.sum(y * y)}, loss="loss", name="guarded")
    assert "check" not in net.source
