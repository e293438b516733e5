"""Functions that differ in lengths only are compiled once, and read the lengths off their arrays."""

from dataclasses import replace

import numpy as np

import gradgen as gg
from gradgen.graph.scalar import number
from gradgen.machine import CPU, SMALLEST, using
from gradgen.passes.loops.one_form import one_form
from gradgen.program.kernels import (
    Entry,
    Kernel,
    KernelCall,
    Program,
    Row,
)
from gradgen.program.loops import Buffer
from gradgen.program.verify import verify_program
from tests.cpu.running import assert_close, through_entry_points, unjitted
from tests.passes.statements import array, assign, at, i, j, loop


def scaled(name: str, rows: int, columns: int, factor: float = 2.0, part: int | None = None) -> Kernel:
    """name_y[i, j] = factor * name_x[i, j], or as many columns of it as a part has."""
    x, y = array(f"{name}_x", rows, columns), array(f"{name}_y", rows, columns)
    body = loop(i, rows, loop(j, columns if part is None else part, assign(y, [i, j], number(factor) * at(x, i, j))))
    return Kernel(f"compute_{name}", (x, y), (), (body,), ())


def program(*kernels: Kernel) -> Program:
    arrays: list[Buffer] = []
    calls: list[KernelCall] = []
    for k in kernels:
        given = [
            Buffer(b.name, b.shape, b.dtype, role) for b, role in zip(k.parameters, ("param", "output"), strict=True)
        ]
        calls.append(KernelCall(k.name, tuple(given), (), ()))
        arrays += given
    return Program("p", tuple(arrays), kernels, (Entry("forward", (), tuple(calls), ()),))


def functions(*kernels: Kernel) -> list[Kernel]:
    with using(SMALLEST):
        found = one_form(program(*kernels))
    verify_program(found)
    called = [c.kernel for c in found.entries[0].kernel_calls]
    assert len(called) == len(kernels)
    assert set(called) == {k.name for k in found.kernels}
    return list(found.kernels)


def test_lengths_are_read_off_the_arrays() -> None:
    (common,) = functions(scaled("a", 4, 5), scaled("b", 4, 7))
    assert (common.sizes, common.lengths) == ((), ("length",))
    assert [b.shape[0].constant for b in common.parameters] == [4, 4]
    assert all(b.shape[1].constant is None for b in common.parameters)


def test_two_lengths_are_two_sizes() -> None:
    (common,) = functions(scaled("a", 4, 5), scaled("b", 5, 4), scaled("c", 6, 6))
    assert common.lengths == ("length", "length_2")


def test_a_function_in_which_two_lengths_happen_to_be_equal_is_no_example() -> None:
    """Of 4 x 4 nobody knows which 4 is which; of 4 x 9 one does, and it is the one that stays."""
    (common,) = functions(scaled("a", 4, 4), scaled("b", 4, 9), scaled("c", 4, 4))
    assert common.name == "compute_b"
    assert len(functions(scaled("a", 4, 4), scaled("b", 9, 9))) == 1
    assert len(functions(scaled("a", 4, 4), scaled("b", 9, 7), scaled("c", 7, 9))) == 1


def test_what_computes_with_a_length_has_another_form() -> None:
    assert len(functions(scaled("a", 4, 5, factor=1 / 5), scaled("b", 4, 7, factor=1 / 7))) == 2


def test_what_does_not_go_to_the_end_of_an_array_stays() -> None:
    """3 columns of 5 and 4 of 7: no array tells how many."""
    assert len(functions(scaled("a", 6, 5, part=3), scaled("b", 6, 7, part=4))) == 2


def widths(count: int) -> gg.Network:
    h = gg.input("h", (6, 3))
    for k in range(count):
        w, b = gg.param(f"W{k}", (4 + k % 5, h.shape[1])), gg.param(f"b{k}", (4 + k % 5,))
        h = gg.tanh(h @ w.T + b)
    loss = gg.mean(h**2)
    return gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.1), name="widths")


def test_layers_of_many_widths_are_few_functions() -> None:
    def count(net: gg.Network) -> int:
        return net.source.count("\ndef compute_")

    with using(replace(CPU, forms=2)):
        few, many = widths(6), widths(8)
    assert count(many) == count(few)
    rng = np.random.default_rng(0)
    given = {x.name: rng.standard_normal([int(e) for e in x.shape], np.float32) for x in few.interface.leaves}
    outputs, gradients = few.value_and_grad(**given)
    for other in (unjitted(few), through_entry_points(few)):
        found, derived = other.value_and_grad(**given)
        assert_close(found["loss"], outputs["loss"], "float32")
        for name, g in gradients.items():
            assert_close(derived[name], g, "float32", name)


def test_a_row_of_a_stack_tells_lengths_too() -> None:
    """Equal layers of two kinds: the rolled calls of both are one function."""
    h = gg.input("x", (6, 3)) @ gg.param("A", (3, 8))
    for k in range(5):
        h = gg.tanh(h @ gg.param(f"A{k}", (8, 8)))
    h = h @ gg.param("B", (8, 9))
    for k in range(5):
        h = gg.tanh(h @ gg.param(f"B{k}", (9, 9)))
    with using(replace(CPU, forms=2, product=1, side=1, repetitions=2, statements=6, kind=2)):
        net = gg.compile({"loss": gg.sum(h)}, name="two_stacks")
        program = net.compiled.program
    calls = [call for entry in program.entries for call in entry.kernel_calls]
    rows = {call.kernel for call in calls if any(isinstance(a, Row) for a in call.arguments)}
    lengths = {k.name for k in program.kernels if k.lengths}
    assert rows & lengths
    rng = np.random.default_rng(0)
    given = {x.name: rng.standard_normal([int(e) for e in x.shape], np.float32) for x in net.interface.leaves}
    outputs, gradients = net.value_and_grad(**net.stack(given))
    found, derived = unjitted(net).value_and_grad(**given)
    assert_close(found["loss"], outputs["loss"], "float32")
    for name, g in gradients.items():
        assert_close(derived[name], g, "float32", name)
