"""The verifier: programs of the models are legal, and the three ways to be illegal are seen."""

import pytest

import gradgen as gg
from gradgen.errors import GradgenError
from gradgen.graph.scalar import integer, load, number, size_symbol
from gradgen.program.loops import Accumulate, Assign, Buffer, Entry, For, Kernel, KernelCall, Program, Statement, letter
from gradgen.program.verify import verify_program, violations
from tests.cpu.models import BY_NAME

N = size_symbol("N")
i, j = letter("i"), letter("j")
NAMES = ("mlp_naive_ce", "conv_strided", "embedding_tanh", "lstm", "layernorm_softmax", "strided_slices", "recurrence")


def array(name: str, role: str, *shape: object) -> Buffer:
    return Buffer(name, tuple(shape), "float32", role, None)  # type: ignore[arg-type]  # sizes


def program(*body: Statement) -> Program:
    """A program of one kernel over everything that its statements mention."""
    arrays = (x, y, row, total)
    kernel = Kernel("compute_y", arrays, ("N",), body, ())
    entry = Entry("forward", (x,), (KernelCall("compute_y", arrays, ("N",), ()),), ())
    return Program("small", arrays, (kernel,), (entry,))


x, y = array("x", "input", N, gg.size("N")), array("y", "output", N, N)
row, total = array("row", "work", N), array("total", "output", N)


def over(name: str, *body: Statement, kind: str = "parallel") -> For:
    return For(name, letter("zero") * 0, N, kind, body)  # type: ignore[arg-type]  # a kind by name


@pytest.mark.parametrize("name", NAMES)
def test_the_programs_of_models_are_legal(name: str) -> None:
    model = BY_NAME[name]
    assert violations(gg.compile(model.build(), name=name, loss=model.loss).compiled.program) == []


def test_a_row_owns_its_elements() -> None:
    verify_program(program(over("i", over("j", Assign(y, (i, j), load(x, (i, j)))))))


def test_two_iterations_never_write_one_element() -> None:
    copied = Assign(y, (j, j), load(x, (i, j)))
    assert violations(program(over("i", over("j", copied, kind="serial")))) == [
        "compute_y: the parallel loop over i does not own what it writes of y: [j, j]"
    ]


def test_a_parallel_loop_never_accumulates_into_what_all_share() -> None:
    zero = over("j", Assign(total, (j,), number(0)))
    added = over("i", over("j", Accumulate(total, (j,), "sum", load(x, (i, j))), kind="serial"))
    assert violations(program(zero, added)) == [
        "compute_y: the parallel loop over i does not own what it writes of total: [j]"
    ]
    verify_program(program(zero, over("i", *added.body, kind="reduce")))


def test_a_row_does_not_read_what_another_row_writes() -> None:
    filled = over("i", Assign(total, (i,), number(0)))
    shifted = over("i", Assign(total, (i,), load(total, (i + 1,))))
    assert violations(program(filled, shifted)) == [
        "compute_y: the parallel loop over i does not own what it writes of total: [i + 1], [i]"
    ]


def test_steps_of_neighbouring_blocks_may_overlap_or_not() -> None:
    def blocks(step: int) -> For:
        inner = For("j", letter("j") * 0, letter("j") * 0 + 3, "parallel", (Assign(total, (step * i + j,), number(0)),))
        return over("i", inner)

    verify_program(program(blocks(3)))
    assert len(violations(program(blocks(2)))) == 1


def test_a_row_of_the_workspace_belongs_to_the_iteration_that_writes_it_first() -> None:
    write = over("j", Assign(row, (j,), load(x, (i, j))))
    read = over("j", Assign(y, (i, j), load(row, (j,))))
    verify_program(program(over("i", write, read)))
    with pytest.raises(GradgenError, match=r"does not own what it writes of row: \[j\]"):
        verify_program(program(over("j", Assign(row, (j,), number(0))), over("i", read, write)))


def test_a_row_that_an_iteration_begins_with_is_its_own_wherever_it_writes() -> None:
    begin = over("j", Assign(row, (j,), number(0)))
    add = Accumulate(row, (i,), "sum", load(x, (i, i)))
    read = over("j", Assign(y, (i, j), load(row, (j,))))
    verify_program(program(over("i", begin, add, read)))
    parts = [For("j", *ends, "parallel", (Assign(row, (j,), number(0)),)) for ends in ((integer(0), i), (i + 1, N))]
    verify_program(program(over("i", parts[0], Assign(row, (i,), load(x, (i, i))), parts[1], add, read)))
    with pytest.raises(GradgenError, match="does not own what it writes of row"):
        verify_program(program(over("i", *parts, add, read)))
    half = For("j", integer(0), N - 1, "parallel", (Assign(row, (j,), number(0)),))
    with pytest.raises(GradgenError, match="does not own what it writes of row"):
        verify_program(program(over("i", half, add, read)))


def test_a_row_of_an_inner_iteration_is_no_concern_of_the_outer_one() -> None:
    write = over("j", Assign(row, (j,), load(x, (i, j))))
    read = Assign(y, (i, letter("k")), load(row, (i,)))
    verify_program(program(over("i", over("k", write, read))))
    verify_program(program(over("i", over("k", write, read), over("k", write, read))))
    with pytest.raises(GradgenError, match="does not own what it writes of row"):
        verify_program(program(over("i", over("k", write, read), over("k", read))))


def test_such_a_row_means_nothing_behind_the_loop() -> None:
    write = over("j", Assign(row, (j,), load(x, (i, j))))
    read = over("i", over("j", Assign(y, (i, j), load(row, (j,)))))
    assert violations(program(over("i", write), read)) == [
        "forward: compute_y reads row before anything is written there"
    ]


def test_what_is_read_was_written() -> None:
    assert violations(program(over("i", Assign(total, (i,), load(row, (i,)))))) == [
        "forward: compute_y reads row before anything is written there"
    ]


def test_what_has_no_elements_is_read_by_nobody() -> None:
    """A loop without steps reads rows that there are not, and nothing has to write them."""
    nothing = array("nothing", "work", integer(0), N)
    copy = Assign(row, (j,), load(nothing, (i, j)))
    assert violations(program(For("i", integer(0), integer(0), "serial", (over("j", copy),)))) == []


def test_a_scalar_variable_lives_in_its_loop() -> None:
    here = Buffer("here", (), "float32", "local", None)
    defined = over("i", Assign(here, (), load(x, (i, i))))
    assert violations(program(defined, over("i", Assign(total, (i,), load(here, ()))))) == [
        "forward: compute_y reads here before anything is written there"
    ]


def test_a_row_of_ones_own_may_be_read_anywhere_once_it_is_written() -> None:
    written = over("j", Assign(row, (j,), load(x, (i, j))), kind="serial")
    read = Assign(total, (i,), load(row, (i,)))
    verify_program(program(over("i", written, read)))
    both = over("j", Assign(row, (j,), load(x, (i, j))), Assign(y, (i, j), load(row, (i,))), kind="serial")
    assert violations(program(over("i", both))) == [
        "compute_y: the parallel loop over i does not own what it writes of row: [j], [i]"
    ]


def test_what_is_reached_through_two_shapes_is_owned_by_nobody() -> None:
    flat = Buffer("flat", (N * N,), "float32", "output", y)
    nest = over("i", over("j", Assign(y, (i, j), load(x, (i, j))), Assign(flat, (i,), number(0)), kind="serial"))
    assert violations(program(nest)) == [
        "compute_y: the parallel loop over i does not own what it writes of y: [i], [i, j]"
    ]
