"""The verifier: programs of the models are legal, and the three ways to be illegal are seen."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

import gradgen as gg
from gradgen.errors import GradgenError
from gradgen.graph.scalar import Poly, Scalar, call, integer, load, number, require_poly, size_symbol
from gradgen.machine import CPU, using
from gradgen.program.kernels import (
    Checked,
    Entry,
    Kernel,
    KernelCall,
    Program,
)
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Dot,
    For,
    If,
    Matrix,
    Sharing,
    Statement,
    bodies,
    letter,
)
from gradgen.program.ownership import owns
from gradgen.program.verify import verify_program, violations
from tests.cpu.models import BY_NAME

N = size_symbol("N")
i, j = letter("i"), letter("j")
NAMES = ("mlp_naive_ce", "conv_strided", "embedding_tanh", "lstm", "layernorm_softmax", "strided_slices", "recurrence")


def array(name: str, role: str, *shape: object) -> Buffer:
    return Buffer(name, tuple(shape), "float32", role, None)  # type: ignore[arg-type]  # sizes


def program(*body: Statement) -> Program:
    """A program of one kernel over everything that its statements mention."""
    arrays = (x, y, row, total, labels)
    kernel = Kernel("compute_y", arrays, ("N",), body, ())
    entry = Entry("forward", (x, labels), (KernelCall("compute_y", arrays, ("N",), ()),), ())
    return Program("small", arrays, (kernel,), (entry,))


x, y = array("x", "input", N, gg.size("N")), array("y", "output", N, N)
labels = Buffer("labels", (N,), "int64", "input", None)
row, total = array("row", "work", N), array("total", "output", N)


def where(condition: Scalar, x: Scalar) -> Scalar:
    return call("where", condition, x, number(0))


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
    shifted = over("i", Assign(total, (i,), where(N - i - 2 >= 0, load(total, (i + 1,)))))
    assert violations(program(filled, shifted)) == [
        "compute_y: the parallel loop over i does not own what it writes of total: [i + 1], [i]"
    ]


def test_steps_of_neighbouring_blocks_may_overlap_or_not() -> None:
    def blocks(step: int) -> For:
        place = step * i + j
        write = If(N - place - 1 >= 0, (Assign(total, (place,), number(0)),))
        return over("i", For("j", integer(0), integer(3), "parallel", (write,)))

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


def test_what_an_iteration_begins_with_may_be_cut_along_both_axes() -> None:
    """All rows but one whole, that one in two pieces: as loops that are cut at conditions on two indices."""
    tile = array("tile", "work", N, N)

    k = letter("k")

    def rows(start: Poly, stop: Poly) -> For:
        return For("j", start, stop, "parallel", (over("k", Assign(tile, (j, k), number(0))),))

    blocks = [
        rows(integer(0), i),
        Assign(tile, (i, integer(0)), number(0)),
        For("k", integer(1), N, "parallel", (Assign(tile, (i, k), load(x, (i, i))),)),
        rows(i + 1, N),
    ]
    wrong = "does not own what it writes of tile"
    assert not [x for x in violations(program(over("i", *blocks))) if wrong in x]
    for left_out in range(4):
        some = [block for k, block in enumerate(blocks) if k != left_out]
        assert [x for x in violations(program(over("i", *some))) if wrong in x], left_out


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


def test_what_threads_have_for_themselves_means_nothing_behind_the_loop() -> None:
    here, behind = Buffer("here", (), "float32", "local", None), "before anything is written there"
    for mine, write in (
        (here, Assign(here, (), load(x, (i, i)))),
        (row, over("j", Assign(row, (j,), load(x, (i, j))))),
    ):
        loop = replace(over("i", write, kind="reduce"), shared=Sharing((mine,)))
        read = over("k", Assign(total, (letter("k"),), load(mine, (letter("k"),) if mine.shape else ())))
        assert violations(program(loop, read))[0] == f"forward: compute_y reads {mine.name} {behind}"


def test_a_number_is_no_matrix() -> None:
    one, matrix = array("one", "work", N), Matrix(x, (), N, N)
    dot = Dot(matrix, matrix, Matrix(one, (i,), integer(1), integer(1)))
    assert "forward: compute_y takes a number of one for a matrix" in violations(program(over("i", dot)))


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


# ---------------------------------------------------------------- accesses stay inside


def outside(*body: Statement, chosen: frozenset[Poly] = frozenset()) -> list[str]:
    """What is wrong with the places of accesses alone."""
    found = violations(replace(program(*body), checked=Checked(chosen=chosen)))
    return [text for text in found if "inside" in text or "matrix" in text or "multiplies" in text]


def test_nothing_is_read_or_written_outside() -> None:
    read, write = Assign(total, (i,), load(x, (i, i + 1))), Assign(total, (i + 1,), number(0))
    assert outside(over("i", read)) == [
        "compute_y reads axis 1 of x, whose size is N, at i + 1, and nothing keeps that inside"
    ]
    assert outside(over("i", write)) == [
        "compute_y writes axis 0 of total, whose size is N, at i + 1, and nothing keeps that inside"
    ]
    assert outside(over("i", Assign(total, (i - 1,), number(0))), over("i", read)) != []
    assert outside(Assign(total, (integer(0),), number(0))) != []  # N may be 0


def test_a_condition_guards_the_statement_and_a_choice_the_read_but_no_choice_the_write() -> None:
    fits = N - i // 2 * 3 - 1 >= 0
    place = (require_poly(i // 2 * 3),)
    assert outside(over("i", Assign(row, (i,), where(fits, load(total, place))))) == []
    assert outside(over("i", If(fits, (Accumulate(total, place, "sum", number(1)),)))) == []
    assert outside(over("i", Accumulate(total, place, "sum", where(fits, number(1))))) != []
    assert outside(over("i", If(fits, (), (Accumulate(total, place, "sum", number(1)),)))) != []
    other = call("not", fits)
    assert outside(over("i", If(other, (), (Accumulate(total, place, "sum", number(1)),)))) == []
    both = call("and", fits, call("gt", load(total, place), number(0)))
    assert outside(over("i", If(both, (Assign(row, (i,), number(0)),)))) == []
    assert outside(over("i", If(call("and", both.arguments[1], fits), (Assign(row, (i,), number(0)),)))) != []


def test_bounds_of_loops_keep_places_inside_through_variables_and_maxima() -> None:
    low = Buffer("low", (), "int64", "local", None)
    begin = Assign(low, (), call("maximum", integer(0), require_poly(1 - i)))
    start, stop = load(low, ()), call("minimum", integer(3), require_poly(N + 1 - i))
    window = For("j", start, stop, "serial", (Accumulate(total, (i,), "sum", load(x, (i, i + j - 1))),))
    assert outside(over("i", begin, window)) == []
    assert outside(over("i", begin, replace(window, start=integer(0)))) != []
    assert outside(over("i", begin, replace(window, stop=integer(3)))) != []
    assert outside(over("i", begin, Assign(low, (), require_poly(start) - 1), window)) != []
    back = For("j", require_poly(N - 1), integer(-1), "serial", (Assign(total, (j,), number(0)),), -1)
    assert outside(back) == []
    assert outside(replace(back, start=N)) != []


def test_data_that_choose_are_guarded_or_checked() -> None:
    place = (require_poly(load(labels, (i,))),)
    add = Accumulate(total, place, "sum", number(1))
    guard = call("and", place[0] >= 0, N - place[0] - 1 >= 0)
    assert len(outside(over("i", add, kind="serial"))) == 1
    assert outside(over("i", add, kind="serial"), chosen=frozenset({N})) == []
    assert outside(over("i", If(guard, (add,)), kind="serial")) == []
    changed = Assign(labels, (i,), integer(-1))
    assert outside(over("i", If(guard, (changed, add)), kind="serial")) != []


def test_what_a_program_writes_tells_where_it_reads() -> None:
    """An argmax is a position of the axis that it looks at."""
    best, found = Buffer("best", (), "int64", "local", None), Buffer("found", (N,), "int64", "work", None)
    better = call("gt", load(x, (i, j)), number(0))

    def search(position: Scalar) -> Statement:
        inner = over("j", If(better, (Assign(best, (), position),)), kind="serial")
        return over("i", Assign(best, (), integer(0)), inner, Assign(found, (i,), load(best, ())))

    read = over("i", Assign(total, (i,), load(x, (i, require_poly(load(found, (i,)))))))
    assert outside(search(j), read) == []
    assert outside(search(require_poly(j + 1)), read) != []
    assert outside(search(j), Assign(found, (i * 0,), N), read) != []


def test_what_is_written_later_counts_where_a_loop_comes_again() -> None:
    """The end of a loop is data that its neighbour overwrites: the second round writes as far as that says."""
    ends = Buffer("labels", (N,), "int64", "work", None)
    fill = For("j", integer(0), require_poly(load(ends, (i,))), "serial", (Assign(total, (j,), number(1)),))
    begin, more = Assign(ends, (i,), integer(0)), Assign(ends, (i,), require_poly(N + 5))
    rounds = For("r", integer(0), integer(2), "serial", (fill, more))
    assert outside(over("i", begin, kind="serial"), over("i", fill, kind="serial")) == []
    assert outside(over("i", begin, kind="serial"), over("i", rounds, kind="serial")) != []


def test_a_product_has_the_rows_that_it_multiplies() -> None:
    whole = Matrix(x, (), N, N)
    rows = Matrix(x, (), require_poly(N - 1), N, False, (integer(1), require_poly(N - 1)))
    assert outside(Dot(whole, whole, Matrix(y, (), N, N))) == []
    assert outside(Dot(rows, whole, replace(rows, buffer=y))) == []
    late = replace(rows, window=(integer(2), require_poly(N - 1)))
    assert outside(Dot(late, whole, replace(rows, buffer=y))) != []
    assert outside(Dot(replace(whole, rows=require_poly(N + 1)), whole, Matrix(y, (), N, N))) != []


def test_the_sum_into_a_guarded_place_is_not_guarded_by_its_value() -> None:
    """A transposed convolution as a gather: without the statement's guard its adjoint writes behind the gradient."""

    def by_value(body: Sequence[Statement]) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for s in body:
            match s:
                case If(condition=c, then=(Accumulate() as add,)):
                    found.append(replace(add, value=where(c, add.value)))
                case For():
                    found.append(replace(s, body=by_value(bodies(s))))
                case _:
                    found.append(s)
        return tuple(found)

    x, t, p = gg.param("x", (5,)), gg.index("t", 10), gg.index("p", 3)
    n = t + 1 - p
    inside = (n % 2 == 0) & (n >= 0) & (n // 2 < 5)
    y = gg.compute(t, gg.sum(gg.where(inside, gg.padded(x)[n // 2] * (p + 1), 0.0), over=p))
    legal = gg.compile({"loss": gg.sum(y * y)}, name="guarded").compiled.program
    assert violations(legal) == []
    former = replace(legal, kernels=tuple(replace(k, body=by_value(k.body)) for k in legal.kernels))
    assert {text.split(", whose")[0] for text in violations(former)} == {
        "compute_d_x writes axis 0 of d_x", "compute_d_x_2 writes axis 0 of d_x",
    }  # fmt: skip


def test_what_data_choose_is_known_before_functions_are_merged() -> None:
    """Layers that select by their own argmax are equal functions, each with an array that only it writes."""
    h = gg.input("x", (3, 4))
    b, i = gg.indices("b i")
    for k in range(4):
        z = h @ gg.param(f"W{k}", (4, 4)).T
        chosen = gg.argmax(z, axis=1)
        h = gg.compute((b, i), z[b, chosen[b]] * z[b, i])
    with using(replace(CPU, product=1, side=1, statements=6)):
        program = gg.compile({"loss": gg.sum(h * h)}, name="chosen").compiled.program
    assert len(program.kernels) < len([call for e in program.entries for call in e.kernel_calls])


def test_a_product_is_not_written_into_what_it_reads() -> None:
    """Unless it reads another row of the same stack."""
    states = array("states", "work", N, N, N)

    def product(read: Poly, written: Poly) -> list[str]:
        dot = Dot(Matrix(states, (read,), N, N), Matrix(x, (), N, N), Matrix(states, (written,), N, N))
        return [text for text in violations(program(over("i", dot, kind="serial"))) if "into itself" in text]

    assert product(i, i) == ["forward: compute_y multiplies states into itself"]
    assert product(i, require_poly(i + 1)) == []
    assert product(i, j) == ["forward: compute_y multiplies states into itself"]


def test_pieces_of_one_loop_reach_as_far_as_the_whole() -> None:
    """y[4 i + j] for j < 8, in one loop over j or in two: iterations of i overlap in any case."""
    at = require_poly(4 * i + j)
    out = Buffer("y", (require_poly(4 * N + 4),), "float32", "output", None)

    def written(*pieces: tuple[int, int]) -> For:
        stored = Assign(out, (at,), load(x, (i, i)))
        loops = tuple(For("j", integer(a), integer(b), "serial", (stored,)) for a, b in pieces)
        return For("i", integer(0), N, "parallel", loops)

    assert owns(written((0, 4)), out)
    assert owns(written((0, 2), (2, 4)), out)
    for pieces in ([(0, 8)], [(0, 4), (4, 8)], [(0, 8), (0, 4)], [(0, 4), (6, 8)], [(4, 8), (0, 4)]):
        assert not owns(written(*pieces), out)


def test_no_loop_has_the_letter_of_one_around_it() -> None:
    inner = over("i", Assign(y, (i, i), load(x, (i, i))), kind="serial")
    shadowed = "compute_y: a loop over i is inside of another one"
    assert shadowed in violations(program(over("i", inner, kind="serial")))
    assert shadowed not in violations(program(inner, inner))
