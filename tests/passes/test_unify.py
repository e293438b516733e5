"""Kernels are equal when they differ in names only."""

import numpy as np

import gradgen as gg
from gradgen.graph.scalar import integer
from gradgen.passes.loops.unify import kernel_key
from gradgen.program.kernels import Kernel
from gradgen.program.loops import Dot, Matrix, Statement
from tests.passes.statements import array, assign, at, i, j, loop

x, y, a, b = array("x", 9), array("y", 9), array("a", 9), array("b", 9)
left, right, out = array("left", 9, 4), array("right", 4, 5), array("out", 3, 5)


def kernel(*body: Statement) -> Kernel:
    return Kernel("compute", (x, y), (), body, ())


def test_names_of_arrays_and_loops_do_not_count() -> None:
    first = kernel(loop(i, 9, assign(y, [i], at(x, i) + 1)))
    second = Kernel("other", (a, b), (), (loop(j, 9, assign(b, [j], at(a, j) + 1)),), ())
    assert kernel_key(first) == kernel_key(second)


def test_a_loop_variable_that_is_used_again_is_a_new_one() -> None:
    once = kernel(loop(i, 9, assign(y, [i], at(x, i))), loop(i, 9, assign(x, [i], at(y, i))))
    twice = kernel(loop(i, 9, assign(y, [i], at(x, i))), loop(j, 9, assign(x, [j], at(y, j))))
    assert kernel_key(once) == kernel_key(twice)


def test_a_kernel_that_fixes_a_cotangent_to_one_is_called_with_a_one() -> None:
    B = gg.size("B")
    x, c = gg.param("x", (B, 20)), gg.input("c", (20,))
    net = gg.compile({"loss": gg.mean(gg.tanh(x) ** 2 * c) / 3.0})
    source = net.source
    assert source.count("def compute_d_x") == 1
    assert "backward(c, np.float32(1.0), " in source  # or compute_d_x itself, where the rest is not the same
    values = {"x": np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 20), "c": np.ones(20, np.float32)}
    saved = net.forward(**values)[1]
    np.testing.assert_array_equal(net.value_and_grad(**values)[1]["x"], net.backward(saved, loss=1.0)["x"])


def test_bounds_and_operands_count() -> None:
    bodies = [
        loop(i, 9, assign(y, [i], at(x, i) + 1)),
        loop(i, 8, assign(y, [i], at(x, i) + 1)),
        loop(i, 9, assign(x, [i], at(y, i) + 1)),
        loop(i, 9, assign(y, [i], at(y, i) + 1)),
    ]
    assert len({kernel_key(kernel(body)) for body in bodies}) == len(bodies)


def product(start: int) -> Kernel:
    rows = Matrix(left, (), integer(3), integer(4), window=(integer(start), integer(3)))
    right_, out_ = Matrix(right, (), integer(4), integer(5)), Matrix(out, (), integer(3), integer(5))
    return Kernel("compute", (left, right, out), (), (Dot(rows, right_, out_),), ())


def test_the_part_of_an_operand_counts() -> None:
    assert kernel_key(product(0)) == kernel_key(product(0))
    assert kernel_key(product(0)) != kernel_key(product(3))
