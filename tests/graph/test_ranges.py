"""Ranges of indices follow from accesses, or are given and checked; every message is tested word for word."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.errors import DTypeError, GraphError, ShapeError
from tests.cpu.running import unjitted

Message = Callable[..., str]


def test_bare_accesses_give_the_range() -> None:
    B = gg.size("B")
    a = gg.input("a", (B, 6))
    n, j = gg.indices("n j")
    assert gg.compute((j, n), a[n, j]).node.shape[1] is B
    assert gg.compute((j, n), a[n, j]).shape[0] == 6


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(5, 20))
def test_an_affine_access_gives_the_largest_range(stride: int, dilation: int, kernel: int, size: int) -> None:
    a, K = gg.input("a", (size,)), gg.param("K", (kernel,))
    h, p = gg.indices("h p")
    extent = len([start for start in range(0, size, stride) if start + dilation * (kernel - 1) < size])
    if extent == 0 and size - 1 - dilation * (kernel - 1) < -stride:
        with pytest.raises(ShapeError, match="index h has no range"):
            gg.compute(h, gg.sum(K[p] * a[stride * h + dilation * p], over=p))
        return
    assert gg.compute(h, gg.sum(K[p] * a[stride * h + dilation * p], over=p)).shape == (extent,)


def test_symbolic_sizes() -> None:
    H, K = gg.size("H"), gg.size("K")
    a, k = gg.input("a", (H,)), gg.param("k", (K,))
    h, p = gg.indices("h p")
    assert gg.compute(h, gg.sum(k[p] * a[h + p], over=p)).node.shape[0] is H - K + 1
    assert gg.compute(h, a[2 * h]).node.shape[0] is (H + 1) // 2
    assert gg.compute(h, a[2 * h + 1]).node.shape[0] is H // 2


def test_the_smallest_of_several_limits() -> None:
    a = gg.input("a", (gg.size("N"),))
    i = gg.index("i")
    assert gg.compute(i, a[i + 2] - a[i + 1]).node.shape[0] is gg.size("N") - 2


def test_a_reversed_access() -> None:
    a = gg.input("a", (7,))
    i = gg.index("i")
    assert gg.compute(i, a[6 - i]).shape == (7,)


def test_a_given_range_wins() -> None:
    a = gg.input("a", (7,))
    i = gg.index("i", 3)
    assert gg.compute(i, a[i]).shape == (3,)
    assert gg.compute(i, a[2 * i + 2]).shape == (3,)


def test_a_row_major_subscript_is_inside() -> None:
    H, W = gg.size("H"), gg.size("W")
    a = gg.input("a", (H * W,))
    i, j = gg.index("i", H), gg.index("j", W)
    assert gg.compute((i, j), a[i * W + j]).ndim == 2
    k = gg.index("k", 2 * H)
    b = gg.input("b", (H,))
    assert gg.compute(k, b[k // 2]).ndim == 1
    assert gg.compute(k, b[k % H]).ndim == 1


@pytest.mark.parametrize("pieces", [2, 3, 4])
def test_a_quotient_is_bounded_with_what_its_index_is_in_beside_it(pieces: int) -> None:
    """(H - 1) i // 2 is -i + (H i + i) // 2 in lowest terms; each part by itself goes further than the sum."""
    H, i = gg.size("H"), gg.index("i", pieces + 1)
    x = gg.param("x", (H,))
    place = (H - 1) * i // pieces
    net = unjitted(gg.compile({"y": gg.compute(i, x[place]), "back": gg.compute(i, x[H - 1 - place])}, name="resized"))
    with pytest.raises(ShapeError, match="a subscript leaves axis 0 of x, whose size is H: it is outside"):
        net(x=np.zeros(0, np.float32))
    for size in (1, 2, 5, 8):
        found = net(x=np.arange(size, dtype=np.float32))
        wanted = (size - 1) * np.arange(pieces + 1) // pieces
        np.testing.assert_array_equal(found["y"], wanted)
        np.testing.assert_array_equal(found["back"], size - 1 - wanted)


def test_padded_and_where_give_no_range_but_their_own() -> None:
    H = gg.size("H")
    a, b = gg.input("a", (H,)), gg.input("b", (gg.size("W"),))
    i = gg.index("i")
    assert gg.compute(i, gg.padded(a)[i] + b[i]).node.shape[0] is gg.size("W")
    assert gg.compute(i, gg.padded(a)[i - 1] + gg.padded(a)[i]).node.shape[0] is H
    assert gg.compute(i, gg.where(i >= 1, a[i - 1], 0) + a[i]).node.shape[0] is H


def test_padding_is_only_where_it_can_be_outside() -> None:
    a = gg.input("a", (6, 8))
    i, j = gg.indices("i j")
    assert gg.compute((i, j), gg.padded(a)[i, j]) is a
    assert gg.compute((i, j), gg.where((i >= 0) & (j < 8), a[i, j], 0)) is a
    k = gg.index("k", 7)
    assert gg.compute((i, k), gg.padded(a)[i, k + 1]) is a[:, 1:]


def test_a_condition_makes_its_branch_safe() -> None:
    a = gg.input("a", (6,))
    i = gg.index("i", 8)
    assert gg.compute(i, gg.where(i < 6, a[i], 0)).shape == (8,)
    assert gg.compute(i, gg.where((i < 2) | (i >= 8), 0, a[i - 2])).shape == (8,)
    assert gg.compute(i, gg.where(i >= 6, 1.0, gg.where(i >= 1, a[i - 1], 0))).shape == (8,)


def test_targets_of_accumulate_give_ranges_too() -> None:
    g = gg.accumulate(gg.index("k"), 1.0, shape=(4,))
    assert g.shape == (4,)


def test_disagreeing_sizes(message: Message) -> None:
    X2, h1 = gg.param("X2", (10, 128)), gg.input("h1", (gg.size("B"), 64))
    n, k, i = gg.indices("n k i")
    assert message(ShapeError, lambda: gg.compute((n, k), gg.sum(X2[k, i] * h1[n, i], over=i))) == (
        "index i runs over X2's axis 1 (128) and h1's axis 1 (64). Make the sizes equal, or use two indices."
    )


def test_the_place_is_the_users_line() -> None:
    a = gg.input("a", (5,))
    i = gg.index("i")
    frame = inspect.currentframe()
    assert frame is not None
    line = frame.f_lineno + 2
    with pytest.raises(ShapeError) as caught:
        gg.compute(
            i,
            a[i + 1] + a[i],
        )
    assert str(caught.value).startswith(f"test_ranges.py:{line}: subscript i + 1 ")


def test_outside(message: Message) -> None:
    a = gg.input("a", (5,))
    i, j = gg.index("i"), gg.index("j", 4)
    assert message(ShapeError, lambda: gg.compute(i, a[i + 1] + a[i])) == (
        "subscript i + 1 of a's axis 0 (5) runs from 1 to 5. "
        "Give its index a smaller range with gg.index, or read 0 outside with gg.padded."
    )
    assert message(ShapeError, lambda: gg.compute(j, a[2 * j])) == (
        "subscript 2*j of a's axis 0 (5) runs from 0 to 6. "
        "Give its index a smaller range with gg.index, or read 0 outside with gg.padded."
    )
    assert message(ShapeError, lambda: gg.compute(j, gg.where(j >= 1, a[j - 2], 0))) == (
        "subscript j - 2 of a's axis 0 (5) is -1 for j = 1. "
        "Give its index a smaller range with gg.index, or read 0 outside with gg.padded."
    )


def test_unknown_ranges(message: Message) -> None:
    a = gg.input("a", (5,))
    i, h, p = gg.indices("i h p")
    assert message(GraphError, lambda: gg.compute((i, h), a[i])) == (
        'index h has no range: give it one with gg.index("h", size).'
    )
    assert message(GraphError, lambda: gg.compute(h, gg.sum(a[h + p], over=p))) == (
        'index h has no range: give it one with gg.index("h", size).'
    )
    b = gg.input("b", (gg.size("N"),))
    assert message(GraphError, lambda: gg.compute(i, a[i + 1] + b[i + 1])) == (
        "index i has several limits, and none is known to be the smallest: 4, N - 1. "
        'Give its range with gg.index("i", size).'
    )


def test_a_kernel_larger_than_the_image(message: Message) -> None:
    a, K = gg.input("a", (3,)), gg.param("K", (6,))
    h, p = gg.indices("h p")
    assert message(ShapeError, lambda: gg.compute(h, gg.sum(K[p] * a[h + p], over=p))) == (
        "index h has no range that keeps h + p inside a's axis 0 (3)."
    )


def test_indices_used_wrongly(message: Message) -> None:
    a = gg.input("a", (5, 6))
    i, j = gg.indices("i j")
    assert message(GraphError, lambda: gg.compute(i, a[i, j])) == (
        "index j is neither in the result nor reduced over: add it to the indices of gg.compute, "
        "or reduce with gg.sum(..., over=j)."
    )
    assert message(GraphError, lambda: gg.compute((i, j), gg.sum(a[i, j], over=j))) == (
        "index j is reduced over and also an index of the result: use another index."
    )
    assert message(GraphError, lambda: gg.compute((i, i), a[i, i])) == "index i is given twice."
    assert message(ShapeError, lambda: gg.compute(i, a[i])) == (
        "a (5, 6) has 2 axes and is given 1 subscripts: inside a formula every axis takes one."
    )
    assert message(ShapeError, lambda: gg.compute(i, a)) == (
        "a (5, 6) stands whole inside a formula: give each of its 2 axes a subscript."
    )
    assert message(GraphError, lambda: gg.sum(a[i, j])) == (
        "gg.sum of a formula reduces over indices: write gg.sum(..., over=j)."
    )
    assert message(DTypeError, lambda: gg.where(a[i, j], 1, 0)) == (
        "the condition of gg.where is a comparison, not a number: write x != 0."
    )
    assert message(DTypeError, lambda: gg.compute((i, j), a[i, a[i, j]])) == (
        "subscript 1 of a (5, 6) is a[i, j] of dtype float32: inside a formula a subscript is made of integers, "
        "sizes, indices and integer accesses."
    )


def test_declarations(message: Message) -> None:
    assert message(GraphError, lambda: gg.input("2x", (3,))) == (
        "'2x' cannot name a tensor: use a Python identifier, such as x1."
    )
    assert message(GraphError, lambda: gg.size("lambda")) == (
        "'lambda' cannot name a size: use a Python identifier, such as x1."
    )
    assert message(DTypeError, lambda: gg.input("x", (3,), dtype="float16")) == (
        "x has dtype 'float16'; use one of float32, float64, int32, int64, uint32, bool."
    )
    assert message(ShapeError, lambda: gg.input("x", (3, -1))) == "size -1 in a shape: sizes are not negative."
    assert message(ShapeError, lambda: gg.input("x", (2.5,))) == (
        "2.5 in a shape: sizes are integers, gg.size(...) and arithmetic on them."
    )
