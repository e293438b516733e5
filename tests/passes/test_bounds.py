"""Conditions on indices as loop bounds: the text that comes out, and equal results on random loops."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from gradgen.graph.scalar import Scalar, call, number, size_symbol
from gradgen.passes.loops.bounds import bound_loops
from gradgen.passes.loops.hoist import hoist
from gradgen.program.loops import (
    For,
    If,
    Statement,
    choice,
    statements,
)
from gradgen.program.registers import Registers
from tests.passes.statements import add, array, assign, at, both, h, i, j, k, loop, run, t, text, variable, where
from tests.repeats import chosen

N = size_symbol("N")
x, y, z = array("x", 9), array("y", 9), array("z", 9, 9)
row = array("row", N)


def bounded(*body: Statement) -> str:
    return text(bound_loops(body, Registers(body)))


def test_a_masked_sum_runs_over_what_counts() -> None:
    body = loop(i, 9, loop(k, 3, add(y, [i], where(both(i - k >= 0, i - k < 7), at(x, i - k))), kind="reduce"))
    assert (
        bounded(body)
        == "for i in range(9):\n    for k in range(max(0, i - 6), min(3, i + 1)):\n        y[i] += x[i - k]"
    )


def test_a_known_range_needs_no_clamp() -> None:
    body = loop(k, 9, add(y, [0], where(both(k >= 2, k < 5), at(x, k - 2))))
    assert bounded(body) == "for k in range(2, 5):\n    y[0] += x[k - 2]"


def test_a_stride_becomes_a_step_from_the_first_fitting_index() -> None:
    found = where(both((i - k) % 2 == 0, i - k >= 0), at(x, (i - k) // 2))
    assert bounded(loop(i, 9, loop(k, 3, add(y, [i], found)))) == (
        "for i in range(9):\n    for k in range(i % 2, min(3, i + 1), 2):\n        y[i] += x[(i - k) // 2]"
    )


def test_an_equality_is_one_iteration() -> None:
    body = loop(i, 9, loop(k, 9, add(y, [i], where(k == i, at(z, i, k)))))
    assert bounded(body) == "for i in range(9):\n    y[i] += z[i, i]"


def test_an_equality_with_data_is_one_iteration_inside_the_range() -> None:
    b = array("b", 9, dtype="int64")
    body = loop(i, 9, loop(k, 5, add(y, [i], where(k == at(b, i), at(z, i, k)))))
    assert bounded(body) == (
        "for i in range(9):\n    for k in range(max(0, b[i]), min(5, b[i] + 1)):\n        y[i] += z[i, k]"
    )


def test_padding_splits_a_loop() -> None:
    body = loop(k, 9, assign(y, [k], where(both(k >= 2, k < 7), at(x, k - 2))))
    assert bounded(body) == (
        "for k in range(2):\n    y[k] = (0.0)\n"
        "for k in range(2, 7):\n    y[k] = x[k - 2]\n"
        "for k in range(7, 9):\n    y[k] = (0.0)"
    )


def test_a_causal_mask_splits_at_the_row() -> None:
    body = loop(t, N, loop(k, N, assign(row, [k], where(k <= t, at(row, k), -np.inf))))
    assert bounded(body) == (
        "for t in range(N):\n    for k in range(t + 1):\n        row[k] = row[k]\n"
        "    for k in range(t + 1, N):\n        row[k] = (-np.inf)"
    )


def test_what_only_a_masked_value_feeds_is_not_computed() -> None:
    total, score = variable("total"), variable("score")
    scores = loop(
        k, 9, assign(total, [], 0), loop(h, 4, add(total, [], at(z, t, h) * at(z, k, h))),
        assign(score, [], where(k <= t, at_(total), -np.inf)), assign(x, [k], call("exp", at_(score))),
        add(y, [t], call("exp", at_(score))),
    )  # fmt: skip
    assert bounded(loop(t, 9, scores)).endswith("for k in range(t + 1, 9):\n        x[k] = (0.0)")


def at_(buffer: object) -> Scalar:
    return at(buffer)  # type: ignore[arg-type]  # a variable


def test_a_product_with_a_masked_value_is_masked() -> None:
    d = variable("d")
    body = loop(k, 9, assign(d, [], where(k <= t, at(x, k))), loop(h, 4, add(z, [k, h], at_(d) * at(z, t, h))))
    assert "range(t + 1, 9)" not in bounded(loop(t, 9, body))


def test_a_data_dependent_mask_keeps_its_products() -> None:
    """0 * nan is nan where a user's data chooses the branch."""
    b = array("b", 9, dtype="int64")
    d = variable("d")
    body = loop(k, 9, assign(d, [], where(k == at(b, t), at(x, k))), add(y, [k], at_(d) * at(y, k)))
    assert "if k == b[t]" in bounded(loop(t, 9, body))


def test_maxima_do_without_minus_infinity() -> None:
    body = loop(k, 9, add(y, [0], where(k >= 3, at(x, k - 3), -np.inf), "max"))
    assert bounded(body) == "for k in range(3, 9):\n    y[0] = maximum_f64(y[0], x[k - 3])"


def test_concatenation_is_copies() -> None:
    parts = where(k < 4, at(x, k)) + where(both(k >= 4, k < 6), at(y, k - 4))
    assert bounded(loop(k, 6, assign(row, [k], parts))) == (
        "for k in range(4):\n    row[k] = x[k]\nfor k in range(4, 6):\n    row[k] = y[k - 4]"
    )


def test_one_iteration_is_no_loop_and_a_sum_of_one_term_no_sum() -> None:
    body = [assign(y, [0], 0), loop(k, 1, add(y, [k], at(x, k)))]
    assert bounded(*body) == "y[0] = x[0]"


def test_no_iteration_is_nothing() -> None:
    assert bounded(loop(k, 0, assign(y, [k], 0))) == ""


def test_a_scan_stays_whole() -> None:
    body = For("t", t * 0 + 8, t * 0 - 1, "serial", (assign(y, [t], where(t >= 1, at(x, t))),), -1)  # type: ignore[arg-type]
    assert bounded(body) == "for t in range(8, -1, -1):\n    y[t] = x[t] if t >= 1 else (0.0)"


def test_pieces_stay_parallel() -> None:
    body = loop(k, N, assign(row, [k], where(k >= 2, at(row, k - 2))))
    kinds = [s.kind for s in statements(bound_loops([body], Registers([body]))) if isinstance(s, For)]
    assert kinds == ["parallel", "parallel"]


def test_a_long_body_is_not_copied() -> None:
    many = [assign(array(f"a{m}", 9), [k], where(k >= 3, at(x, k - 3)) + m) for m in range(30)]
    assert bounded(loop(k, 9, *many)).count("for ") == 1


# ---------------------------------------------------------------- random loops

SIZE = 12


def random_condition(rng: random.Random, letters: Sequence[Scalar]) -> Scalar:
    terms = [rng.randint(-3, 3) * letter for letter in letters]
    p = sum(terms, start=rng.randint(-6, 6) + rng.choice([0, 0, N]) * rng.choice([0, 1, -1]) + 0 * i)
    match rng.randrange(6):
        case 0:
            return p % rng.randint(2, 6) == 0
        case 1:
            return p == 0
        case 2:
            return call("not", p >= 0)
        case 3:
            return call("or", p >= 0, letters[0] <= rng.randint(0, 4))
    return p >= 0


def random_body(rng: random.Random) -> list[Statement]:
    """A nest over i, j, k with masks, each access in range only where its mask holds."""
    out, inner, data = array("out", SIZE, SIZE), array("inner", SIZE), array("data", 3 * SIZE)
    local = variable("local")
    conditions = [random_condition(rng, rng.sample([i, j, k], rng.randint(1, 3))) for _ in range(rng.randint(1, 3))]
    shift = rng.choice([i, j, k]) * rng.randint(-2, 2) + rng.randint(-6, 6)
    safe = both(shift >= 0, shift < 3 * SIZE, *conditions)
    value = where(safe, at(data, shift))
    other = where(random_condition(rng, [k]), at(data, k + j), rng.choice([0, -1.5]))
    extents = [rng.choice([N, 0 * i + rng.randint(0, 5), 0 * i + rng.randint(0, 5)]) for _ in range(3)]
    match rng.randrange(4):
        case 0:
            nest = loop(k, extents[2], add(out, [i, j], value))
        case 1:
            nest = loop(k, extents[2], assign(inner, [k], value + other), add(out, [i, j], at(inner, k)))
        case 2:
            uses = [add(out, [i, j], at_(local) * at(data, k)), add(inner, [k], at_(local))]
            nest = loop(k, extents[2], assign(local, [], value), *rng.sample(uses, rng.randint(1, 2)))
        case _:
            nest = loop(
                k, extents[2], add(out, [i, j], where(safe, at(data, shift), -np.inf), "max"), add(inner, [k], other)
            )
    return [loop(i, extents[0], loop(j, extents[1], nest))]


def bounded_and_hoisted(body: Sequence[Statement], registers: Registers) -> list[Statement]:
    return hoist(bound_loops(body, registers), registers)


@pytest.mark.parametrize("seed", chosen(range(100), range(40)))
@pytest.mark.parametrize("change", [bound_loops, bounded_and_hoisted])
def test_results_do_not_change(seed: int, change: object) -> None:
    rng = random.Random(seed)
    body = random_body(rng)
    generator = np.random.default_rng(seed)
    shapes = {"out": (SIZE, SIZE), "inner": (SIZE,), "data": (3 * SIZE,)}
    arrays = {name: generator.integers(-9, 9, shape).astype(np.float64) for name, shape in shapes.items()}
    for size in (0, 1, 2, 5):
        before = run(body, arrays, {"N": size})
        after = run(change(body, Registers(body)), arrays, {"N": size})  # type: ignore[operator]  # one of the two
        for name in shapes:
            np.testing.assert_array_equal(before[name], after[name], err_msg=text(change(body, Registers(body))))  # type: ignore[operator]


def test_a_branch_that_keeps_nothing_goes() -> None:
    """Behind the seam the masked sum is 0, and the `if` on data around it has nothing to do."""
    masked = If(call("lt", at(x, i), number(0.5)), (add(y, [i], where(i < 3, at(x, i))),))
    assert bounded(loop(i, 9, masked, assign(row, [i], where(i < 3, at(x, i))))) == (
        "for i in range(3):\n"
        "    if x[i] < (0.5):\n"
        "        y[i] += x[i]\n"
        "    row[i] = x[i]\n"
        "for i in range(3, 9):\n"
        "    row[i] = (0.0)"
    )


def test_the_other_side_of_a_branch_stays() -> None:
    plain = (assign(y, [i], 1.0),)
    test = call("lt", at(x, i), number(0.5))
    assert choice(test, (), plain) == [If(call("not", test), plain)]
    assert choice(test, (), ()) == []
