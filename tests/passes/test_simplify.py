"""`simplify`: copies, conditions, masks, factors, scans; what is not true for floats stays."""

import numpy as np
import pytest

from gradgen.graph.nodes import Project, Reshape, carry, project, reshape, scan
from gradgen.graph.scalar import Scalar, integer, require_poly, step
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.rewrite.simplify import simplify
from tests.passes.building import (
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
    scans,
    tensor,
    total,
    where,
)


def simple(node: object) -> object:
    (after,) = simplify([node])
    assert simplify([after]) == [after]
    return after


# ---------------------------------------------------------------- copies


def test_slices_and_transposes_vanish() -> None:
    x = tensor("x", N, M)
    transposed = formula((M, N), at(x, j, i))
    row = formula((N,), at(transposed, 2, i))
    assert simple(formula((N,), at(row, N - 1 - i) * 2)) is formula((N,), at(x, N - 1 - i, 2) * 2)


def test_two_signs_cancel_through_a_node() -> None:
    x, y = tensor("x", N), tensor("y", N)
    negative = formula((N,), -at(x, i))
    assert simple(formula((N,), -at(negative, i) * at(y, i))) is formula((N,), at(x, i) * at(y, i))


def test_padded_copies_vanish_where_the_padding_is_not_read() -> None:
    x = tensor("x", N)
    padded = formula((N + 2,), where(f("and", i >= 1, i <= N), at(x, i - 1)))
    assert simple(formula((N,), at(padded, i + 1) + 1)) is formula((N,), at(x, i) + 1)
    assert simple(formula((N,), at(padded, i) + 1)) is formula((N,), where(i >= 1, at(x, i - 1)) + 1)


def test_masks_of_indices_become_conditions() -> None:
    x = tensor("x", N, N)
    lower = formula((N, N), i >= j)
    assert simple(formula((N, N), where(at(lower, i, j), at(x, i, j)))) is formula((N, N), where(i >= j, at(x, i, j)))


def test_constants_and_casts_are_copied() -> None:
    x = tensor("x", N)
    ones, zeros = formula((N,), f("float64", 1)), formula((), f("float64", 0))
    assert simple(formula((N,), at(ones, i) * at(x, i))) is x
    kept = simple(formula((N,), at(x, i) * at(zeros)))
    assert kept is formula((N,), at(x, i) * f("float64", 0))


def test_weak_numbers_stay_strong() -> None:
    x = tensor("x", N, dtype="float32")
    half = formula((N,), 0.5)
    after = simple(formula((N,), at(half, i) + at(half, i)))
    assert after.dtype == "float32"
    assert_same_values([formula((N,), at(half, i) * at(x, i))], simplify([formula((N,), at(half, i) * at(x, i))]))


def test_embeddings_are_not_copies() -> None:
    x, index = tensor("x", N, 4), tensor("index", M, dtype="int64")
    rows = formula((M, 4), at(x, at(index, i), j))
    node = total((M,), (4,), at(rows, i, j) * at(rows, i, j))
    assert simple(node) is node


def test_axes_of_size_1_vanish() -> None:
    x = tensor("x", N)
    column = reshape(x, (N, integer(1)))
    assert simple(formula((N, 4), at(column, i, 0) * j)) is formula((N, 4), at(x, i) * j)
    split_axis = reshape(tensor("y", N, 6), (N, integer(2), integer(3)))
    kept = formula((N,), at(split_axis, i, 1, 2) + 1)
    assert simple(kept) is kept
    assert isinstance(split_axis, Reshape)


def test_axes_of_a_slice_are_split_where_it_is_read() -> None:
    """Heads of attention, colours of a picture: `x[:, 2:8].reshape(N, 2, 3)`. What is no copy is read as it is."""
    x = tensor("x", N, 10)
    part = formula((N, 6), at(x, i, j + 2))
    split = reshape(part, (N, integer(2), integer(3)))
    assert simple(formula((N, 2, 3), at(split, i, j, k) * 2)) is formula((N, 2, 3), at(x, i, 3 * j + k + 2) * 2)
    joined = formula((6 * N,), at(reshape(part, (6 * N,)), i) * 2)
    assert simple(joined) is joined
    whole = formula((N, 2, 5), at(reshape(x, (N, integer(2), integer(5))), i, j, k) * 2)
    assert simple(whole) is whole
    padded = formula((N, 6), where(j >= 2, at(x, i, j - 2)))
    shared = formula((N, 2, 3), at(reshape(padded, (N, integer(2), integer(3))), i, j, k) + 1)
    assert simple(shared) is shared


def test_a_copy_that_grows_is_stored() -> None:
    node = x = tensor("x", 64)
    for level in range(12):
        node = formula((64,), where(i >= 2**level % 60, at(node, i - 2**level % 60), at(node, i)))
    (after,) = simplify([node])
    assert len(formulas(after)) > 1
    assert all(len(formulas(n)) < 40 for n in formulas(after))
    assert_same_values([node], [after])
    assert x is not after


def test_powers_under_a_mask_are_zero_outside() -> None:
    """What a safe softmax subtracts is finite: exp(-inf - m) need not be computed to be 0."""
    x, top = tensor("x", N, M), tensor("top", N)
    safe = formula((N,), where(f("lt", f("abs", at(top, i)), np.inf), at(top, i), 0))
    masked = where(i >= j, at(x, i, j), -np.inf)
    node = formula((N, M), f("exp", f("sub", masked, at(safe, i))))
    after = simple(node)
    assert after is formula((N, M), where(i >= j, f("exp", f("sub", at(x, i, j), at(safe, i)))))
    assert_same_values([node], [after], special=True)
    unsafe = formula((N, M), f("exp", f("sub", masked, at(top, i))))
    assert simple(unsafe) is unsafe


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (i >= 0, True),
        (i <= N - 1, True),
        (i < 0, False),
        (i >= N, False),
        (f("eq", i, N), False),
        (f("eq", i - i, 0), True),
        (f("and", i >= 0, j < M), True),
        (f("or", i < 0, j >= M), False),
        (f("not", i >= N), True),
        (f("eq", (i * 2 + 1) % 2, 0), False),
        ((i * 2 + j) // (2 * N + M) >= 1, False),
        (require_poly(N - 1) // 2 * 2 <= N - 1, True),
        (i >= 1, None),
        (f("eq", i, j), None),
    ],
)
def test_conditions_are_decided_by_the_ranges(condition: Scalar, expected: bool | None) -> None:
    x, y = tensor("x", N, M), tensor("y", N, M)
    node = formula((N, M), where(condition, at(x, i, j), at(y, i, j)))
    assert simple(node) is {True: x, False: y, None: node}[expected]


def test_conditions_are_decided_by_the_branch_they_stand_in() -> None:
    x, y = tensor("x", N), tensor("y", N)
    node = formula((N,), where(i >= 3, where(i >= 2, at(x, i), 7), at(y, i)))
    assert simple(node) is formula((N,), where(i >= 3, at(x, i), at(y, i)))
    node = formula((N,), where(i >= 3, at(x, i), where(i >= 4, 7, at(y, i))))
    assert simple(node) is formula((N,), where(i >= 3, at(x, i), at(y, i)))


def test_steps_have_the_range_of_their_scan() -> None:
    x, h = tensor("x", T, N), carry(0, (N,), "float64", 0)
    t = step(0)
    new = formula((N,), where(f("eq", t, T), 1000, at(h, i)) + where(t >= 0, at(x, t, i)))
    after = simple(project(scan(T, 0, [h], [formula((N,), f("float64", 0))], [new], []), "states", 0))
    assert after.scan.nexts == (formula((N,), at(h, i) + at(x, t, i)),)


def test_masks_go_outermost() -> None:
    x, y = tensor("x", N), tensor("y", N)
    body = at(y, i) * f("float64", where(i >= 1, where(i >= 2, -at(x, i - 2))))
    assert simple(formula((N,), body)) is formula((N,), where(i >= 2, -(at(y, i) * at(x, i - 2))))
    both = where(at(y, i) > 0, at(x, i)) + where(at(y, i) > 0, at(y, i))
    assert simple(formula((N,), both)) is formula((N,), where(at(y, i) > 0, at(x, i) + at(y, i)))


# ---------------------------------------------------------------- algebra


def test_what_is_not_true_for_floats_stays() -> None:
    x, y = tensor("x", N), tensor("y", N)
    a, b = at(x, i), at(y, i)
    for body in (a * 0, a / a, a - a, a + 0, 0 - a, (a + 1e20) - 1e20, f("log", f("exp", a)), a / 3, -(a - b), a * 0.0):
        node = formula((N,), body)
        assert simple(node) is node


def test_what_is_true_for_floats() -> None:
    x, y = tensor("x", N), tensor("y", N)
    a, b = at(x, i), at(y, i)
    pairs = [
        (a - -b, a + b),
        (a + -b, a - b),
        (-a + b, b - a),
        (-a * -b, a * b),
        (-a / b, -(a / b)),
        (a * f("float64", 1), a),
        (a / -1.0, -a),
        (a / 8, a * 0.125),
        (f("maximum", a, a), a),
        (a * b + a * b, 2 * (a * b)),
    ]
    for before, after in pairs:
        assert simple(formula((N,), before)) is formula((N,), after)
        assert_same_values([formula((N,), before)], [formula((N,), after)], special=True)


# ---------------------------------------------------------------- factors


def test_invariant_factors_leave_sums() -> None:
    c, x = tensor("c", N), tensor("x", N, 4)
    s = total((N,), (4,), at(x, i, j))
    node = total((N,), (4,), at(c, i) * at(x, i, j))
    assert simple(node) is formula((N,), at(c, i) * at(s, i))
    quotient = total((N,), (4,), -at(x, i, j) / at(c, i))
    assert simple(quotient) is formula((N,), -(at(s, i) / at(c, i)))
    assert_same_values([node, quotient], simplify([node, quotient]))


def test_the_sum_loses_axes_it_does_not_mention() -> None:
    c, x = tensor("c", N), tensor("x", 4)
    assert simple(total((N,), (4,), at(c, i) * at(x, j))) is formula((N,), at(c, i) * at(total((), (4,), at(x, i))))


def test_nothing_sums_to_zero_whatever_the_factor() -> None:
    c, x = tensor("c"), tensor("x", N, 4)
    node = total((4,), (N,), at(c) * at(x, j, i))
    after = simple(node)
    assert after is formula((4,), where(N - 1 >= 0, at(c) * at(total((4,), (N,), at(x, j, i)), i)))
    (result,) = interpret([after], {c: np.array(np.nan), x: np.zeros((0, 4))})
    assert np.array_equal(result, np.zeros(4))


def test_factors_that_are_free_stay() -> None:
    x, y = tensor("x", N, 4), tensor("y", N, 4)
    for body in (2 * at(x, i, j), at(x, i, j) * at(y, i, j), at(x, i, j) * N):
        node = total((N,), (4,), body)
        assert simple(node) is node


# ---------------------------------------------------------------- scans


def recurrence() -> tuple[object, object, object]:
    x, w, start = tensor("x", T, N), tensor("w", N, N), tensor("start", N)
    h, t = carry(0, (N,), "float64", 0), step(0)
    u = formula((N,), at(total((N,), (N,), at(w, i, j) * at(h, j)), i) + at(x, t, i))
    return (x, w, start), h, formula((N,), f("tanh", at(u, i)))


def test_scans_with_one_recurrence_are_merged() -> None:
    (_, _, start), h, new = recurrence()
    t = step(0)
    a, b = formula((N,), at(new, i) * 2), formula((N,), at(h, i) * t)
    one, two = scan(T, 0, [h], [start], [new], [a]), scan(T, 0, [h], [start], [new], [b, a])
    roots = [project(one, "stack", 0), project(two, "stack", 0), project(two, "states", 0)]
    after = simplify(roots)
    (merged,) = scans(*after)
    assert merged.outputs == (a, b)
    assert after == [project(merged, "stack", 0), project(merged, "stack", 1), project(merged, "states", 0)]
    assert_same_values(roots, after)


def test_outputs_that_nobody_reads_are_dropped() -> None:
    (_, _, start), h, new = recurrence()
    s = scan(T, 0, [h], [start], [new], [formula((N,), at(new, i) * 2)])
    after = simple(project(s, "states", 0))
    assert isinstance(after, Project)
    assert after.scan.outputs == ()


def test_the_adjoint_shares_the_forward_loop() -> None:
    (x, w, start), h, new = recurrence()
    states = project(scan(T, 0, [h], [start], [new], []), "states", 0)
    last = formula((N,), at(states, T, i))
    loss = total((), (N,), at(last, i) * at(last, i))
    gradients = vjp_nodes([loss], [formula((), f("float64", 1))], [x, w, start])
    before = [loss, *gradients]
    after = simplify(before)
    assert len(scans(*after)) == 2
    assert simplify(after) == after
    assert_same_values(before, after)
    assert simplify(before) == after


def test_special_values_pass_through() -> None:
    x, y, c = tensor("x", N, M), tensor("y", N, M), tensor("c", N)
    nodes = [
        formula((N, M), where(at(x, i, j) > 0, -at(y, i, j), 0) * at(c, i) - -at(x, i, j)),
        total((N,), (M,), at(x, i, j) * at(y, i, j)),
        formula((N, M), at(formula((M, N), at(x, j, i)), j, i) / -at(y, i, j)),
    ]
    assert_same_values(nodes, simplify(nodes), special=True)
