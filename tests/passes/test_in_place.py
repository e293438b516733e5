"""Which values may be written over others, and that the text says it."""

import numpy as np

import gradgen as gg
from gradgen.graph.scalar import require_poly
from gradgen.passes.loops.in_place import update_in_place
from gradgen.program.kernels import (
    Entry,
    Kernel,
    KernelCall,
    Program,
)
from gradgen.program.loops import Buffer, Dot, Matrix, Statement
from tests.passes.statements import add, array, assign, at, i, j, k, loop

x = Buffer("x", array("shape", 9, 9).shape, "float64", "input", None)
u, h, y = array("u", 9, 9), array("h", 9, 9), array("y", 9, 9)
total = array("total", 9)


def kernel(name: str, *body: Statement) -> tuple[Kernel, KernelCall]:
    arrays = (x, u, h, y, total)
    return Kernel(name, arrays, (), body, ()), KernelCall(name, arrays, (), ())


def arrays_of(*body: Statement) -> set[str]:
    """The arrays that are left of a program with one kernel."""
    only, call = kernel("compute", *body)
    used = Program("small", (x, u, h), (only,), (Entry("forward", (x,), (call,), ()),))
    return {b.name for b in update_in_place(used).buffers}


first = loop(i, 9, loop(j, 9, assign(u, [i, j], at(x, i, j) * 2)))


def test_an_update_of_every_element_needs_no_second_array() -> None:
    assert arrays_of(first, loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, i, j) + 1)))) == {"x", "h"}


def test_another_element_is_not_what_is_updated() -> None:
    assert "u" in arrays_of(first, loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, j, i) + 1))))
    assert "u" in arrays_of(first, loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, i, j) + at(u, i, 0)))))


def test_a_value_that_is_read_again_keeps_its_array() -> None:
    update = loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, i, j) + 1)))
    again = loop(i, 9, loop(j, 9, assign(y, [j, i], at(u, i, j) + at(h, i, j))))
    assert "u" in arrays_of(first, update, again)
    rows = loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, i, j) + 1)), loop(j, 9, add(total, [j], at(u, i, j))))
    assert "u" in arrays_of(first, rows)


def test_an_element_that_is_visited_twice_is_not_updated() -> None:
    twice = loop(k, 2, loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, i, j) + 1))))
    assert "u" in arrays_of(first, twice)


def test_two_loops_over_one_letter_are_not_one_nest() -> None:
    part = loop(j, 5, add(total, [j], at(u, i, j)))
    assert "u" in arrays_of(first, loop(i, 9, part, loop(j, 9, assign(h, [i, j], at(x, i, j)))))


def test_another_entry_may_need_both() -> None:
    one, call = kernel("compute", first, loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, i, j) + 1))))
    other, late = kernel("compare", loop(i, 9, loop(j, 9, assign(y, [i, j], at(u, i, j) - at(h, i, j)))))
    entries = (Entry("forward", (x,), (call,), ()), Entry("backward", (x,), (call, late), ()))
    assert u in update_in_place(Program("small", (x, u, h), (one, other), entries)).buffers


def test_the_text_says_where_a_value_goes() -> None:
    a, X, mu = gg.input("a", (32, 64)), gg.param("X", (128, 64)), gg.param("mu", (128,))
    hidden = gg.relu(a @ X.T + mu)
    net = gg.compile({"loss": gg.sum(gg.square(hidden @ gg.param("V", (64, 128)).T))}, name="in_place")
    assert "np.dot(a, X.T, hidden)" in net.source
    assert ", into hidden\n" in net.source
    arrays = {"a": np.ones((32, 64), np.float32), **net.init()}
    wanted = np.maximum(arrays["a"] @ arrays["X"].T + arrays["mu"], 0) @ arrays["V"].T
    np.testing.assert_allclose(net(**arrays)["loss"], np.sum(np.square(wanted)), rtol=1e-4)


def test_a_name_that_another_kernel_uses_for_a_variable_is_not_taken() -> None:
    """The heir's name would hide the variable, or the variable the array."""
    update = loop(i, 9, loop(j, 9, assign(h, [i, j], at(u, i, j) + 1)))
    variable = Buffer("h", (), "float64", "local", None)
    names_h = (assign(variable, [], 2.0), loop(i, 9, loop(j, 9, assign(u, [i, j], at(variable)))))
    one, call = kernel("one", first, update)
    other = Kernel("other", (x, u), (), names_h, ())
    entries = (
        Entry("forward", (x,), (call,), ()),
        Entry("backward", (x,), (KernelCall("other", (x, u), (), ()),), ()),
    )
    used = Program("small", (x, u, h), (one, other), entries)
    assert update_in_place(used).buffers == (x, u, h)


def test_a_product_is_not_written_over_its_operand() -> None:
    """Product by product, each into the rows that it reads: BLAS writes elements before it has read all others."""
    three = require_poly(3)
    rows, out, w = array("rows", 2, 3, 3), array("out", 2, 3, 3), array("w", 3, 3)
    made = loop(i, 2, loop(j, 3, loop(k, 3, assign(rows, [i, j, k], 1.0))))
    dot = Dot(Matrix(rows, (i,), three, three), Matrix(w, (), three, three), Matrix(out, (i,), three, three))
    body = (made, loop(i, 2, dot))
    arrays = (rows, out, w)
    entry = Entry("forward", (w,), (KernelCall("compute", arrays, (), ()),), ())
    program = Program("small", arrays, (Kernel("compute", arrays, (), body, ()),), (entry,))
    assert set(update_in_place(program).buffers) == set(arrays)


def test_products_of_products_as_machine_code() -> None:
    """Large enough for BLAS to go through an operand in more than one piece."""
    x, u, w = gg.input("x", (2, 500, 500)), gg.input("u", (500, 500)), gg.input("w", (2, 500, 500))
    net = gg.compile({"y": (x @ u) @ w}, name="products")
    rng = np.random.default_rng(0)
    given = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in
             (("x", (2, 500, 500)), ("u", (500, 500)), ("w", (2, 500, 500)))}  # fmt: skip
    wanted = (given["x"] @ given["u"]) @ given["w"]
    np.testing.assert_allclose(net(**given)["y"], wanted, rtol=1e-3, atol=1e-2)
