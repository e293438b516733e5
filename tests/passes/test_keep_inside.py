"""Guards around what no proof keeps inside: around the statement that writes, around the element that is read."""

import numpy as np
import pytest

from gradgen.graph.scalar import call, floor_div, number, require_poly, size_symbol
from gradgen.passes.loops.keep_inside import keep_inside
from gradgen.program.kernels import Kernel, Program
from gradgen.program.loops import For, If, Statement, statements
from gradgen.program.reach import open_accesses
from gradgen.program.verify import violations
from tests.passes.statements import add, array, assign, at, i, j, loop, run

N = size_symbol("N")
x, y = array("x", N), array("y", N)
ROOM = require_poly(floor_div(require_poly(i * i), N))  # below N, if anybody can prove it


def program(*body: Statement) -> Program:
    return Program("small", (x, y), (Kernel("compute_y", (x, y), ("N",), body, ()),), ())


@pytest.mark.parametrize(
    "statement", [assign(y, [i], at(x, ROOM)), add(y, [ROOM], at(x, i)), add(y, [ROOM], at(x, ROOM))]
)
def test_a_place_that_nothing_is_known_of_gets_a_guard(statement: Statement) -> None:
    before = program(loop(i, N, statement, kind="reduce"))
    after = keep_inside(before)
    assert violations(before) != []
    assert violations(after) == []
    arrays = {"x": np.arange(5.0), "y": np.ones(5)}
    found, wanted = (run(p.kernels[0].body, arrays, {"N": 5}) for p in (after, before))
    np.testing.assert_array_equal(found["y"], wanted["y"])


def test_a_bound_of_a_loop_that_is_read_somewhere_gets_a_guard() -> None:
    starts = array("starts", N, dtype="int64")
    inner = For("j", at(starts, ROOM), N, "reduce", (add(y, [j], at(x, i)),))
    before = Program(
        "small", (x, y, starts), (Kernel("sum_y", (x, y, starts), ("N",), (loop(i, N, inner, kind="reduce"),), ()),), ()
    )
    after = keep_inside(before)
    arrays = {"x": np.arange(5.0), "y": np.ones(5), "starts": np.array([3, 1, 4, 0, 2])}
    found, wanted = (run(p.kernels[0].body, arrays, {"N": 5}) for p in (after, before))
    np.testing.assert_array_equal(found["y"], wanted["y"])
    assert [place for place in open_accesses(before) if place.buffer is starts] != []
    assert [place for place in open_accesses(after) if place.buffer is starts] == []


def test_what_is_outside_is_neither_read_nor_written() -> None:
    body = loop(i, N, add(y, [require_poly(i + 2)], at(x, require_poly(i - 1))), kind="reduce")
    after = keep_inside(program(body)).kernels[0].body
    found = run(after, {"x": np.arange(1.0, 5.0), "y": np.zeros(4)}, {"N": 4})
    np.testing.assert_array_equal(found["y"], [0, 0, 0, 1])  # y[2] gets 0 for x[-1], y[3] gets x[0]
    assert sum(isinstance(s, If) for s in statements(after)) == 1


def test_what_chooses_an_element_is_guarded_with_it() -> None:
    """x[k[room]] is read where k[room] is there: what else than an element of k lies inside of x, nobody knows."""
    k = array("k", N, dtype="int64")
    chosen = loop(i, N, assign(k, [i], require_poly(N - 1 - i)))
    body = (chosen, loop(i, N, assign(y, [i], at(x, at(k, ROOM)))))
    before = Program("small", (x, y, k), (Kernel("compute_y", (x, y, k), ("N",), body, ()),), ())
    after = keep_inside(before)
    assert [place.buffer for place in open_accesses(before)] == [k]
    assert open_accesses(after) == []
    arrays = {"x": np.arange(5.0), "y": np.ones(5), "k": np.zeros(5, np.int64)}
    found, wanted = (run(p.kernels[0].body, arrays, {"N": 5}) for p in (after, before))
    np.testing.assert_array_equal(found["y"], wanted["y"])


def test_what_was_tested_of_an_element_that_gets_a_guard_is_tested_again() -> None:
    """`x[k[room]] if 0 <= k[room] < N else 0`: with a guard around k[room], the test is one of another value."""
    k = array("k", N, dtype="int64")
    chosen = require_poly(at(k, ROOM))
    tested = call("and", call("ge", chosen, number(0)), call("lt", chosen, N))
    body = (loop(i, N, assign(y, [i], call("where", tested, at(x, chosen), number(0)))),)
    before = Program("small", (x, y, k), (Kernel("compute_y", (x, y, k), ("N",), body, ()),), ())
    after = keep_inside(before)
    assert [place.buffer for place in open_accesses(before)] == [k] * 3
    assert open_accesses(after) == []
    arrays = {"x": np.arange(5.0), "y": np.ones(5), "k": np.array([3, -1, 7, 0, 2])}
    found, wanted = (run(p.kernels[0].body, arrays, {"N": 5}) for p in (after, before))
    np.testing.assert_array_equal(found["y"], wanted["y"])


def test_what_is_proved_inside_is_left_alone() -> None:
    legal = program(loop(i, N, assign(y, [i], at(x, i))))
    assert keep_inside(legal) is legal
