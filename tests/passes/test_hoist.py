"""What leaves a loop and what has to stay; the text is that of the CPU target."""

from gradgen.graph.scalar import call, integer, number, size_symbol
from gradgen.passes.loops.hoist import hoist
from gradgen.program.loops import Buffer, Statement
from gradgen.program.registers import Registers
from tests.passes.statements import add, array, assign, at, h, i, j, k, loop, text, variable, where

N = size_symbol("N")
x, y, z = array("x", 9), array("y", 9), array("z", 9, 9)
rows = array("rows", 9, dtype="int64")


def hoisted(*body: Statement) -> str:
    return text(hoist(body, Registers(body)))


def test_an_access_leaves_the_loops_that_it_does_not_depend_on() -> None:
    nest = loop(i, 9, loop(j, 9, assign(z, [i, j], at(x, i) * at(y, 0))))
    assert hoisted(nest) == (
        "y_0 = y[0]\nfor i in range(9):\n    x_i = x[i]\n    for j in range(9):\n        z[i, j] = x_i * y_0"
    )


def test_a_row_of_a_table_is_found_once() -> None:
    nest = loop(i, 9, loop(j, 9, add(y, [j], at(z, at(rows, i), j))))  # type: ignore[arg-type]  # an integer access
    assert "rows_i = rows[i]\n    for j in range(9):\n        y[j] += z[rows_i, j]" in hoisted(nest)


def test_a_division_and_a_function_leave_with_a_name_that_says_them() -> None:
    body = loop(j, 9, assign(y, [j], at(y, j) * (1 / at(x, 0))), assign(z, [0, j], at(y, j) + call("exp", at(x, 0))))
    assert hoisted(body).startswith("x_0 = x[0]\nx_0_inverse = (1.0) / x_0\nx_0_exp = np.exp(x_0)\nfor j")


def test_cheap_arithmetic_stays() -> None:
    body = loop(j, 9, assign(y, [j], at(x, j) * (at(variable("a")) + at(variable("b")))))
    assert hoisted(body) == "for j in range(9):\n    y[j] = x[j] * (a + b)"


def test_what_the_loop_writes_stays() -> None:
    body = loop(j, 9, assign(y, [j], at(y, 0) / at(x, j)))
    assert hoisted(body) == "for j in range(9):\n    y[j] = y[0] / x[j]"


def test_what_the_loop_writes_in_another_shape_stays() -> None:
    flat = Buffer("flat", (integer(81),), "float64", "work", z)
    body = loop(i, 9, assign(z, [0, i], at(x, i)), add(y, [i], at(flat, 3)))
    assert hoisted(body) == "for i in range(9):\n    z[0, i] = x[i]\n    y[i] += flat[3]"


def test_what_a_branch_guards_stays() -> None:
    body = loop(j, 9, assign(y, [j], where(j >= k, at(x, k - 1) / at(x, k - 1))))
    assert hoisted(body) == "for j in range(9):\n    y[j] = x[k - 1] / x[k - 1] if j >= k else (0.0)"


def test_an_access_that_a_bound_guards_stays() -> None:
    """With k = 0 there is no x[k - 1], and no iteration that reads it."""
    body = loop(k, 9, loop(j, k, add(y, [j], at(x, k - 1))))
    assert hoisted(body) == "for k in range(9):\n    for j in range(k):\n        y[j] += x[k - 1]"


def test_an_access_stays_in_the_loop_that_alone_says_that_there_is_something_to_read() -> None:
    """Without a step of the loop over k, the axis has no element; a loop over another size says nothing about it."""
    few = array("few", N)
    body = loop(i, 2, loop(k, N, add(y, [i], at(few, i // 2) * at(x, k))))
    assert "few_i = " not in hoisted(body)
    body = loop(i, 2, loop(k, size_symbol("M"), add(y, [i], at(few, i // 2) * at(x, k))))
    assert "    few_i = few[i // 2]\n    for k in range(M):" in hoisted(body)


def test_a_register_is_not_read_past_a_write() -> None:
    first, second = loop(j, 9, add(y, [j], at(x, 0))), loop(j, 9, add(z, [0, j], at(x, 0)))
    assert hoisted(first, second).count("= x[0]") == 1
    assert hoisted(first, assign(x, [0], 2), second).count("= x[0]") == 2


def test_a_variable_of_its_own_leaves_and_an_accumulator_does_not() -> None:
    mean, total = variable("mean"), variable("total")
    body = loop(
        i, 9, loop(j, 9, assign(mean, [], at(x, i) * 0.5), assign(total, [], 0),
                   loop(h, 9, add(total, [], at(z, j, h))), assign(z, [i, j], at(mean) + at(total)))
    )  # fmt: skip
    lines = hoisted(body).split("\n")
    assert lines[1] == "    mean = x[i] * (0.5)"
    assert lines[3] == "        total = (0.0)"


def test_names_are_not_taken_twice() -> None:
    body = loop(j, 9, assign(y, [j], at(x, 0)))
    assert text(hoist([body], Registers([body], {"x_0"}))) == "x_0_2 = x[0]\nfor j in range(9):\n    y[j] = x_0_2"


def test_two_functions_have_variables_of_their_own() -> None:
    body = loop(j, 9, assign(y, [j], at(x, 0)))
    one, two = hoist([body], Registers([body]))[0], hoist([body], Registers([body]))[0]
    assert one.buffer is not two.buffer  # type: ignore[union-attr]  # assignments
    assert number(0) is number(0)
