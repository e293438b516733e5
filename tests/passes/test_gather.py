"""`gather` turns scatters into formulas that own what they write, where that is no more work."""

import numpy as np
import pytest

from gradgen.graph.nodes import Compute, Node
from gradgen.graph.scalar import Scalar, integer, number, position
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.rewrite.gather import gather
from gradgen.passes.rewrite.simplify import simplify
from tests.passes.building import (
    SIZES,
    M,
    N,
    T,
    assert_same_values,
    at,
    f,
    formula,
    formulas,
    i,
    j,
    k,
    m,
    random_values,
    scatter,
    tensor,
    total,
    where,
)


def gathered(node: Node) -> Node:
    (after,), records = gather([node])
    assert all(n.gathers for n in formulas(after))
    assert [r.rule for r in records] == ["gather"] * len(records)
    assert gather([after])[0] == [after]
    assert gather([node])[0] == [after]
    assert_same_values([node], [after])
    return after


def test_slices() -> None:
    g = tensor("g", N)
    assert gathered(scatter((N + 3,), (N,), (i + 2,), at(g, i))) is formula(
        (N + 3,), where(f("and", i >= 2, i <= N + 1), at(g, i - 2))
    )
    assert gathered(scatter((N,), (N,), (N - 1 - i,), at(g, i))) is formula((N,), at(g, N - 1 - i))
    assert gathered(scatter((2 * N,), (N,), (2 * i + 1,), at(g, i))) is formula(
        (2 * N,), where(f("and", i >= 1, f("eq", (i - 1) % 2, 0)), at(g, (i - 1) // 2))
    )


def test_a_row_is_put_into_its_place() -> None:
    g = tensor("g", N, M)
    assert gathered(scatter((T, N), (N,), (T - 1, i), at(g, i, 0))) is formula(
        (T, N), where(f("eq", i, T - 1), at(g, j, 0))
    )
    rows = total((N,), (M,), at(g, i, j))
    assert gathered(scatter((T, N), (M, N), (T - 1, j), at(g, j, i))) is formula(
        (T, N), where(f("eq", i, T - 1), at(rows, j))
    )


def test_a_diagonal() -> None:
    g = tensor("g", N)
    assert gathered(scatter((N, N), (N,), (i, i), at(g, i))) is formula((N, N), where(f("eq", i, j), at(g, i)))


def test_axes_merged_and_split() -> None:
    g, h = tensor("g", N, 4), tensor("h", N * 4)
    assert gathered(scatter((N * 4,), (N, 4), (4 * i + j,), at(g, i, j))) is formula(
        (N * 4,), at(g, i // 4, i - 4 * (i // 4))
    )
    assert gathered(scatter((N, 4), (N * 4,), (i // 4, i % 4), at(h, i))) is formula((N, 4), at(h, 4 * i + j))
    merged = tensor("merged", N, M, T)
    after = gathered(scatter((N * M * T,), (N, M, T), (i * M * T + j * T + k,), at(merged, i, j, k)))
    assert len(after.extents) == 1


def test_repeated_elements_are_summed() -> None:
    g = tensor("g", 2 * N)
    assert gathered(scatter((N,), (2 * N,), (i // 2,), at(g, i))) is total((N,), (2,), at(g, 2 * i + j))


def test_windows_that_do_not_overlap_need_no_sum() -> None:
    g = tensor("g", N, 3)
    after = gathered(scatter((3 * N,), (N, 3), (3 * i + j,), at(g, i, j) * j))
    assert after.extents == after.shape
    after = gathered(scatter((5 * N,), (N, 3), (5 * i + j + 1,), at(g, i, j) * j))
    assert after.extents == after.shape


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("pad", [0, 1, 2])
def test_convolutions(stride: int, dilation: int, pad: int) -> None:
    n, c, o, width, taps = 2, 2, 3, 11, 3
    length = (width + 2 * pad - dilation * (taps - 1) - 1) // stride + 1
    x, kernel = tensor("x", n, c, width), tensor("kernel", o, c, taps)
    g = tensor("g", n, o, length)
    place = stride * k + dilation * position(4) - pad
    inside = f("and", place >= 0, place <= width - 1)
    y = total((n, o, length), (c, taps), where(inside, at(x, i, m, place)) * at(kernel, j, m, position(4)))
    d_x, d_kernel = simplify(vjp_nodes([y], [g], [x, kernel]))
    assert [r.gathers for r in formulas(d_kernel)] == [True] * len(formulas(d_kernel))
    before = [d_x, d_kernel]
    after, _ = gather(before)
    again = simplify(after)
    assert_same_values(before, after)
    assert_same_values(before, again)
    assert gather(again)[0] == again
    scattered = after[0]
    assert isinstance(scattered, Compute)
    assert scattered.gathers
    # the width of the output is solved for; the channel is summed, and the taps where the windows overlap
    assert len(scattered.extents) == (5 if stride < 3 or dilation > 1 else 4)


def test_the_largest_extent_is_solved_for() -> None:
    g = tensor("g", N, 3)
    (after,), _ = gather([scatter((2 * N + 7,), (N, 3), (2 * i + 3 * j,), at(g, i, j))])
    assert isinstance(after, Compute)
    assert after.extents == (2 * N + 7, integer(3))
    (after,), _ = gather([scatter((2 * N + 7,), (N, 3), (i + 5 * j,), at(g, i, j))])
    assert after.extents == (2 * N + 7, integer(3))


def test_a_one_hot_becomes_a_predicate() -> None:
    g, b = tensor("g", N), tensor("b", N, dtype="int64")
    node = scatter((N, 4), (N,), (i, at(b, i)), at(g, i))
    assert gathered(node) is formula((N, 4), where(j - at(b, i) == 0, at(g, i)))


def test_an_embedding_stays_an_accumulation() -> None:
    g, index = tensor("g", N, 4), tensor("index", N, dtype="int64")
    node = scatter((1000, 4), (N, 4), (at(index, i), j), at(g, i, j))
    (after,), (record,) = gather([node])
    assert after is node
    assert record.rule == "accumulate"
    assert "adds up in order" in record.reason


def test_indices_outside_the_target_are_summed_first() -> None:
    g, w = tensor("g", N, M), tensor("w", M, 4)
    index = tensor("index", N, dtype="int64")
    node = scatter((7, 4), (N, M, 4), (at(index, i), k), at(g, i, j) * at(w, j, k))
    rows = total((N, 4), (M,), at(g, i, k) * at(w, k, j))
    (after,), _ = gather([node])
    assert after is scatter((7, 4), (N, 4), (at(index, i), j), at(rows, i, j))
    assert_same_values([node], [after])


def test_a_window_with_a_start_from_data() -> None:
    g, start = tensor("g", N, 3), tensor("start", N, dtype="int64")
    after = gathered(scatter((N, 8), (N, 3), (i, at(start, i) + j), at(g, i, j)))
    assert isinstance(after, Compute)
    assert after.extents == after.shape


def test_masks_shield_targets_outside() -> None:
    g = tensor("g", N)
    after = gathered(scatter((N,), (N,), (i - 2,), where(i >= 2, at(g, i))))
    assert after is formula((N,), where(i <= N - 3, at(g, i + 2)))


def test_every_mask_on_the_way_shields_the_target_of_what_is_summed_first() -> None:
    """where(c, 0, where(d, x, 0)): without d, row index[i] of the result may not be there."""
    g, h, index = tensor("g", N, M), tensor("h", N), tensor("index", N, dtype="int64")
    inner = where(at(index, i) <= 0, at(g, i, j))
    node = scatter((1,), (N, M), (at(index, i),), where(f("gt", at(h, i), 0.0), number(0.0), inner))
    (after,), _ = gather([node])
    assert isinstance(after, Compute)
    assert after.extents == (N,)
    assert_same_values([node], [after])
    beside = scatter((1,), (N, M), (at(index, i),), where(f("gt", at(g, i, j), 0.0), number(0.0), inner))
    assert gather([beside])[0] == [beside]


def test_nothing_is_written_by_empty_loops() -> None:
    g = tensor("g", N, M)
    node = scatter((N + M,), (N, M), (i + j,), at(g, i, j))
    (after,), _ = gather([node])
    for sizes in ((0, 3), (3, 0), (1, 1)):
        array = np.ones(sizes)
        a, b = interpret([node, after], {g: array}, {"N": sizes[0], "M": sizes[1]})
        np.testing.assert_array_equal(a, b)


def test_random_subscripts() -> None:
    generator = np.random.default_rng(1)
    for _ in range(60):
        extents = [int(e) for e in generator.integers(1, 6, 3)]
        target: list[Scalar] = []
        for _ in range(int(generator.integers(1, 4))):
            c = generator.integers(-2, 4, 3)
            base = int(c[0]) * i + int(c[1]) * j + int(c[2]) * k
            kind = generator.integers(5)
            target.append(
                base // 2
                if kind == 0
                else base % 3
                if kind == 1
                else [i, j, k][generator.integers(3)]
                if kind == 2
                else base
            )
        lows, highs = [], []
        for t in target:
            grid = interpret([formula(extents, t)], {}, SIZES)[0]
            lows.append(int(grid.min()))
            highs.append(int(grid.max()))
        g = tensor("g", *extents)
        shape = [h - low + 1 + int(generator.integers(2)) for low, h in zip(lows, highs, strict=True)]
        node = scatter(shape, extents, [t - low for t, low in zip(target, lows, strict=True)], at(g, i, j, k))
        (after,), _ = gather([node])
        assert_same_values([node], [after])
        assert_same_values([node], simplify([after]))
        assert random_values([node])
