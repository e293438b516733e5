"""What is proved about sizes holds: against enumeration of small sizes and indices."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.errors import ShapeError
from gradgen.graph.nodes import leaf
from gradgen.graph.polynomials import settled
from gradgen.graph.scalar import FloorDiv, Poly, floor_div, integer, load, position, require_poly
from gradgen.graph.sizes import bounds, index_atoms, is_size, nonnegative, reads_data, smallest
from gradgen.lang.interpret import interpret

H, W = gg.size("H"), gg.size("W")
i, j = position(0), position(1)


def value(p: Poly, given: dict[object, int]) -> int:
    total = 0
    for monomial, factor in p.terms:
        product = factor
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                product *= value(atom.numerator, given) // value(atom.denominator, given)
            else:
                product *= given[atom]
        total += product
    return total


SIZES = st.sampled_from([H, W, H + 1, 2 * H, H + W, (H + 1) // 2, integer(1), integer(3), integer(7)])


@st.composite
def polynomials(draw: st.DrawFn) -> Poly:
    parts = [i, j, H, W, integer(1), (i + 1) // 2, (H + 1) // 2, (i + 2 * j) // 3, (2 * H - 1) // 3, i * W, i * j]
    total = integer(0)
    for part in draw(st.lists(st.sampled_from(parts), min_size=1, max_size=5)):
        total = total + draw(st.integers(-3, 4)) * part
    return total


@settings(max_examples=300, deadline=None)
@given(polynomials(), SIZES, SIZES)
def test_what_is_proved_holds(p: Poly, first: Poly, second: Poly) -> None:
    ranges = {i.atoms[0]: first, j.atoms[0]: second}
    proved, ends = nonnegative(p, ranges), bounds(p, ranges)
    for h, w in itertools.product(range(4), repeat=2):
        sizes: dict[object, int] = {H.atoms[0]: h, W.atoms[0]: w}
        if value(first, sizes) < 1 or value(second, sizes) < 1:
            continue  # nothing is read
        for a, b in itertools.product(range(value(first, sizes)), range(value(second, sizes))):
            at = value(p, {**sizes, i.atoms[0]: a, j.atoms[0]: b})
            assert not proved or at >= 0
            if ends is not None and not index_atoms(ends[0]):
                assert value(ends[0], sizes) <= at <= value(ends[1], sizes)


@pytest.mark.parametrize(
    "p",
    [
        H,
        H * W + 3,
        H - 2 * floor_div(H, integer(2)),
        H - floor_div(H, integer(2)),
        H - i - 1,
        2 * H - 1 - (2 * i + 1),
        i * W + j,
        H * W - 1 - (i * W + j),
        H - 1 - floor_div(2 * i + 1, integer(2)),
        (H + 1) // 2 - 1 - i // 2,
    ],
)
def test_what_must_be_proved(p: Poly) -> None:
    assert nonnegative(p, {i.atoms[0]: H, j.atoms[0]: W})


@pytest.mark.parametrize("p", [H - 2, H - W, i - 1, H - 2 - i, integer(-1)])
def test_what_is_not_true_is_not_proved(p: Poly) -> None:
    assert not nonnegative(p, {i.atoms[0]: H, j.atoms[0]: W})


def test_an_extent_is_at_least_one_where_something_is_read() -> None:
    assert nonnegative(H - 1, {i.atoms[0]: H})
    assert not nonnegative(H - 1)


def test_facts() -> None:
    assert not nonnegative(i - 1, {i.atoms[0]: H})
    assert nonnegative(i - 1, {i.atoms[0]: H}, facts=[i - 1])
    assert nonnegative(i + j - 1, {i.atoms[0]: H, j.atoms[0]: W}, facts=[i - 1])


def test_what_an_index_does_within_data_is_not_known() -> None:
    """The ends of an index say nothing of a[i] - a[0], nor of a product that has left int64 and reads the index."""
    a = leaf("a", (integer(4),), "int64", "input")
    held = settled(require_poly(i * -(2**62 + 2**61)))
    for p in (require_poly(i - held), require_poly(load(a, (i,)) + i), require_poly(load(a, (i,)) * 2 - i)):
        assert bounds(p, {i.atoms[0]: integer(4)}) is None
        assert not nonnegative(p, {i.atoms[0]: integer(4)})
    facts = [require_poly(load(a, (integer(0),)))]
    assert not nonnegative(require_poly(load(a, (i,)) + i), {i.atoms[0]: integer(4)}, facts)
    assert nonnegative(require_poly(load(a, (i,)) + i), {i.atoms[0]: integer(4)}, [require_poly(load(a, (i,)))])


def test_bounds() -> None:
    low, high = bounds(2 * i - j, {i.atoms[0]: H, j.atoms[0]: W}) or (None, None)
    assert low is 1 - W
    assert high is 2 * H - 2
    assert bounds(i * i, {i.atoms[0]: H}) is None


def test_smallest() -> None:
    assert smallest([H, H - 2, H - 1]) is H - 2
    assert smallest([H, W]) is None
    assert smallest([integer(4), integer(3)]) is integer(3)


def test_kinds() -> None:
    a, k = gg.input("a", (5,), dtype="int64"), gg.index("k")
    assert is_size((H + 1) // 2)
    assert not is_size(i + H)
    assert reads_data(require_poly(a[k]) + 1)
    assert not reads_data((i + H) // 2)


def test_a_packed_triangle_is_proved_by_trying_every_index() -> None:
    rows, columns, n = position(0), position(1), 12
    place = require_poly(columns * (n - 1) - columns * (columns - 1) // 2 + rows - columns - 1)
    ranges = {rows.atoms[0]: integer(n), columns.atoms[0]: integer(n)}
    below = (require_poly(rows - columns - 1),)
    last = require_poly(n * (n - 1) // 2 - 1 - place)
    assert nonnegative(place, ranges, below)
    assert nonnegative(last, ranges, below)
    assert not nonnegative(place, ranges)  # -1 at row 0 of column 0
    assert not nonnegative(require_poly(last - 1), ranges, below)
    assert not nonnegative(place, {**ranges, rows.atoms[0]: H}, below)
    assert not nonnegative(require_poly(place + H), ranges, below)


def test_a_formula_reads_a_packed_triangle() -> None:
    n = 5
    packed = gg.input("packed", (n * (n - 1) // 2,), dtype="float64")
    r, c = gg.index("r", n), gg.index("c", n)
    place = c * (n - 1) - c * (c - 1) // 2 + r - c - 1
    full = gg.compute((r, c), gg.where(r > c, packed[place], 0))
    values = np.arange(1.0, 11.0)
    (found,) = interpret([full.node], {packed.node: values})
    wanted = np.zeros((n, n))
    wanted.T[np.triu_indices(n, 1)] = values
    np.testing.assert_array_equal(found, wanted)
    with pytest.raises(ShapeError, match="is -1 for c = 0, r = 0"):
        gg.compute((r, c), gg.where(r >= c, packed[place], 0))
