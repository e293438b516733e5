"""Lines that would not fit, and how conditions on indices are written."""

import numpy as np
import pytest

import gradgen as gg
from gradgen.emit.cpu import CpuPrinter
from gradgen.emit.layout import wrap
from gradgen.emit.long_lines import LIMIT, fit_lines
from gradgen.graph.scalar import Scalar, call, size_symbol
from gradgen.program.loops import Statement
from tests.passes.statements import add, array, assign, at, both, i, j, k, loop, run, text, where

B, N = size_symbol("B"), size_symbol("N")
long = [array(f"a_value_with_a_long_name_{m}", 9, 9) for m in range(8)]
y = array("y", 9)


def fitted(*body: Statement) -> list[str]:
    printer = CpuPrinter()
    return printer.lines(fit_lines(body, printer.width, (), 1), 1)


def product(*factors: Scalar) -> Scalar:
    whole = factors[0]
    for factor in factors[1:]:
        whole = whole * factor
    return whole


def test_a_short_line_stays() -> None:
    assert fitted(assign(y, [0], at(long[0], 0, 0))) == ["    y[0] = a_value_with_a_long_name_0[0, 0]"]


def test_a_long_product_becomes_two_values_named_after_the_target() -> None:
    value = product(*[at(a, i, j) for a in long[:4]]) * (1 - at(long[4], i, j) * at(long[4], i, j))
    lines = fitted(assign(y, [i], value))
    assert lines[0].startswith("    y_factor = ")
    assert all(len(line) <= LIMIT for line in lines)
    assert lines[-1].startswith("    y[i] = ")


def test_what_a_branch_guards_goes_into_an_if() -> None:
    value = where(i >= 1, product(*[at(a, i - 1, j) for a in long[:4]]))
    lines = fitted(assign(y, [i], value))
    assert lines[0] == "    if i >= 1:"
    assert "    else:" in lines
    assert all("[i - 1" in line for line in lines if "a_value" in line)
    assert "    else:" not in fitted(add(y, [i], value))


def test_values_stay_the_same() -> None:
    arrays = {a.name: np.random.default_rng(m).standard_normal((9, 9)) for m, a in enumerate(long)}
    arrays["y"] = np.zeros(9)
    value = product(*[at(a, i, j) + at(a, j, i) for a in long]) + where(
        both(i >= 1, j < 7), product(*[at(a, i - 1, j + 1) for a in long])
    )
    body = loop(i, 9, loop(j, 9, add(y, [i], value)))
    short = fit_lines([body], CpuPrinter().width, (), 1)
    assert max(len(line) for line in CpuPrinter().lines(short, 1)) <= LIMIT + 4  # a number behind a name
    np.testing.assert_array_equal(run([body], arrays, {})["y"], run(short, arrays, {})["y"])


@pytest.mark.parametrize(
    ("condition", "written"),
    [
        (both(k - 8 >= 0, 11 - k >= 0), "8 <= k < 12"),
        (k >= 8, "k >= 8"),
        (k < B, "k < B"),
        (k + 2 <= B, "k + 1 < B"),
        (i - k >= 0, "i >= k"),
        (i > k, "i > k"),
        (i == k, "i == k"),
        (i != k, "i != k"),
        ((i + k) % 2 == 0, "(i + k) % 2 == 0"),
        (call("not", k >= 3), "k < 3"),
        (both(k >= 2, i >= 3), "k >= 2 and i >= 3"),
        (call("or", both(k >= 2, i >= 3), k < 1), "(k >= 2 and i >= 3) or k < 1"),
    ],
)
def test_conditions_read_as_a_person_writes_them(condition: Scalar, written: str) -> None:
    assert CpuPrinter().scalars.text(condition) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ((i + 2 - 3 * k) // 2, "(i + 2 - 3 * k) // 2"),
        (2 * (i // 2), "2 * (i // 2)"),
        (i // 2 + k, "i // 2 + k"),
        (k - i // 2, "k - i // 2"),
        (-(i // 2), "-(i // 2)"),
        (i % 3 + k, "i % 3 + k"),
        (k - 2 * (i % 3), "k - 2 * (i % 3)"),
        (call("maximum", i * 0, i - 3), "max(0, i - 3)"),
    ],
)
def test_integers_have_as_few_parentheses_as_they_need(value: Scalar, written: str) -> None:
    printed = CpuPrinter().scalars.text(value)
    scope = {"i": 5, "k": 4}
    assert eval(printed, {"max": max}, scope) == eval(written, {"max": max}, scope)
    assert sorted(printed) == sorted(written)


def test_negative_terms_are_subtracted() -> None:
    a, b = at(long[0], i, j), at(long[1], i, j)
    assert text([assign(y, [i], a + -b)]).endswith("[i, j] - a_value_with_a_long_name_1[i, j]")
    assert text([add(y, [i], -(a * b))]).startswith("y[i] -= a_value_with_a_long_name_0[i, j] * ")
    chosen = text([add(y, [i], where(i >= 1, -a, b))])
    assert chosen.startswith("y[i] += -")


@pytest.mark.parametrize("descending", [False, True])
def test_what_sorting_asks_fits(descending: bool) -> None:
    """What stands behind `or` and reads memory is not named beforehand, so it has to be short as it is."""
    x = gg.input("x", (gg.size("N"), 30))
    best = gg.sort(gg.nn.softmax(x), descending=descending)
    assert max(len(line) for line in gg.compile({"best": best}, name="sorting").source.splitlines()) <= 120


def test_a_comment_breaks_in_front_of_operators_and_not_in_subscripts() -> None:
    assert wrap("y[n, i] = first[n, i] * second[n, i] + third[n, i]", 27) == [
        "y[n, i] = first[n, i]",
        "    * second[n, i]",
        "    + third[n, i]",
    ]
    assert wrap("y = x[one, two, three]", 12) == ["y = x[one,", "    two,", "    three]"]
