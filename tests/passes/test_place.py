"""Loops that threads share: which, what each thread has for itself, parts for the cores of a CPU; what is refused."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest

import gradgen as gg
from gradgen.emit.cpu import CpuPrinter
from gradgen.graph.scalar import call, integer, load, number, size_symbol
from gradgen.machine import CPU, GPU, using
from gradgen.passes.loops.place import place
from gradgen.passes.loops.threads import on_threads
from gradgen.passes.lower.storage import Buffers
from gradgen.program.cost import operations, products
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Dot,
    For,
    Matrix,
    Parts,
    Sharing,
    Statement,
    Sum,
    letter,
    writes,
)
from gradgen.program.ownership import shared_by_parts, shared_wrongly
from tests.cpu.running import unjitted

N, D = integer(1000), integer(64)
PARTS = size_symbol("parts")
n, i = letter("n"), letter("i")
x = Buffer("x", (N, D), "float32", "input", None)
y = Buffer("y", (N, D), "float32", "output", None)
row = Buffer("row", (D,), "float32", "work", None)
total = Buffer("total", (D,), "float32", "gradient", None)


def over_rows(*body: Statement) -> For:
    return For("n", integer(0), N, "reduce", tuple(For("i", integer(0), D, "reduce", (s,)) for s in body))


COPY = Assign(row, (i,), load(x, (n, i)))
STORE = Assign(y, (n, i), call("mul", load(row, (i,)), load(row, (i,))))
ADD = Accumulate(total, (i,), "sum", load(x, (n, i)))
LARGEST = Accumulate(total, (i,), "max", load(x, (n, i)))
BOTH = Accumulate(total, (i,), "sum", load(total, (0,)))
NEIGHBOUR = Assign(y, (n, i), load(y, (n - 1, i)))


@pytest.fixture(autouse=True)
def everything_pays() -> Iterator[None]:
    with using(replace(CPU, threads=1.0)):
        yield


def divided(
    *body: Statement, taken: Iterable[str] = (), elsewhere: float = 0.0, later: Iterable[Buffer] = ()
) -> list[Statement]:
    lend = Buffers().lend
    return on_threads(place([over_rows(*body)], lend, elsewhere, lambda b: b in later), lend, taken, PARTS)


def test_rows_and_sums_get_one_for_each_part() -> None:
    parts, combined = divided(COPY, STORE, ADD)
    assert isinstance(parts, Parts)
    assert [behind.name for _, behind in parts.own] == ["row_parts", "total_parts"]
    assert isinstance(combined, For)
    assert combined.letter == "part"
    assert not shared_by_parts(parts)


@pytest.mark.parametrize("statements", [[NEIGHBOUR], [BOTH], [ADD, LARGEST]])
def test_what_iterations_need_of_each_other_keeps_a_loop_whole(statements: list[Statement]) -> None:
    assert len(divided(*statements)) == 1
    assert isinstance(divided(*statements)[0], For)


def test_the_largest_of_all_parts_is_the_largest() -> None:
    parts, combined = divided(LARGEST)
    assert isinstance(parts, Parts)
    begun, _ = parts.body
    assert "total_part[at] = np.float32(-np.inf)" in "\n".join(CpuPrinter().lines([begun]))
    assert "maximum_f32(total[at], total_parts[part, at])" in "\n".join(CpuPrinter().lines([combined]))


@pytest.mark.parametrize("most", [gg.max, gg.min])
@pytest.mark.parametrize("axis", [None, 0])
def test_largest_values_over_parts(most: Callable[..., gg.Tensor], axis: int | None) -> None:
    """Of numbers, with the nan that comes first, of negative numbers only, and of zeros of both signs."""
    x = gg.param("x", (gg.size("B"), 5))
    net = unjitted(gg.compile({"y": most(x * 1.0, axis=axis)}, name="largest"))
    assert "prange(parts)" in net.source
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((37, 5)).astype(np.float32)
    with_nan = drawn.copy()
    with_nan[[5, 30], 2] = np.nan
    zeros = np.where(drawn > 0, np.float32(0), np.float32(-0.0))
    for given in (drawn, -np.abs(drawn), with_nan, zeros, drawn[:1]):
        wanted = (np.max if most is gg.max else np.min)(given, axis=axis)
        np.testing.assert_array_equal(net(x=given)["y"], wanted)


def test_names_that_are_taken_get_a_number() -> None:
    parts, _ = divided(COPY, STORE, ADD, taken={"part", "first", "at"})
    assert isinstance(parts, Parts)
    assert (parts.part, parts.first, parts.last) == ("part_2", "first_2", "last")
    assert parts.loop.letter == "n"


def test_rows_that_are_read_later_are_no_part_s_own() -> None:
    (loop,) = divided(COPY, STORE, later=[row])
    assert isinstance(loop, For)


def test_small_loops_stay_whole() -> None:
    with using(CPU):
        assert isinstance(divided(ADD)[0], For)


def test_loops_beside_larger_products_stay_whole() -> None:
    work = operations([over_rows(ADD)])
    assert isinstance(divided(ADD, elsewhere=work - 1)[0], Parts)
    assert isinstance(divided(ADD, elsewhere=work + 1)[0], For)


def test_products_are_counted_apart() -> None:
    x, w, y = (Buffer(name, (integer(32), integer(32)), "float32", "work", None) for name in "xwy")
    matrices = [Matrix(b, (), integer(32), integer(32)) for b in (x, w, y)]
    dot = For("t", integer(0), integer(10), "serial", (Dot(*matrices), over_rows(ADD)))
    assert products([dot]) == 10 * 2 * 32**3
    assert operations([dot]) == products([dot]) + 10 * operations([over_rows(ADD)])


def test_the_verifier_refuses_parts_that_share() -> None:
    parts, _ = divided(COPY, STORE, ADD)
    assert isinstance(parts, Parts)
    row_shared = replace(parts, own=parts.own[1:])
    assert shared_by_parts(row_shared) == ["the parts of the loop over n share what they write of row"]
    (mine, _), *_ = parts.own
    too_few = replace(parts, own=((mine, row), *parts.own[1:]))
    assert shared_by_parts(too_few) == ["row does not hold one row for each part"]


def test_the_verifier_refuses_iterations_that_share() -> None:
    loop = over_rows(COPY, STORE, ADD, NEIGHBOUR)
    sums = (Sum(total, "sum"),)
    assert shared_wrongly(replace(over_rows(COPY, STORE, ADD), shared=Sharing((row,), sums))) == []
    assert shared_wrongly(replace(loop, shared=Sharing((row,), (Sum(total, "max"),)))) == [
        "the threads of the loop over n share what they write of total",
        "the threads of the loop over n share what they write of y",
    ]
    assert shared_wrongly(replace(over_rows(COPY, STORE), shared=Sharing(()))) == [
        "the threads of the loop over n share what they write of row"
    ]
    assert shared_wrongly(replace(over_rows(STORE, COPY), shared=Sharing((row,)))) != []


@pytest.mark.parametrize(("bytes_", "where"), [(256, "local"), (255, "work")])
def test_what_an_iteration_needs_for_itself_on_a_gpu(bytes_: int, where: str) -> None:
    with using(replace(GPU, local_bytes=bytes_)):
        (loop,) = place([over_rows(COPY, STORE)], Buffers().lend)
    assert isinstance(loop, For)
    assert loop.shared is not None
    assert not shared_wrongly(loop)
    mine = {b for s in loop.body for b in writes(s) if b is not y}
    assert [(b.name, b.role, len(b.shape)) for b in mine] == [
        ("row", "local", 1) if where == "local" else ("row_rows", "work", 2)
    ]
    assert {b for b in mine if b.is_thread_array} == {b for b in loop.shared.own if b.shape}


def test_every_outermost_loop_that_may_be_shared_is_shared_by_a_gpu() -> None:
    with using(GPU):
        copied, added, serial = place(
            [over_rows(STORE), over_rows(ADD), replace(over_rows(STORE), kind="serial")], Buffers().lend
        )
    assert all(isinstance(s, For) for s in (copied, added, serial))
    assert [s.shared for s in (copied, added, serial) if isinstance(s, For)] == [
        Sharing(()), Sharing((), (Sum(total, "sum"),)), None
    ]  # fmt: skip
    assert Sum(total, "max").first is number(-float("inf"))


def test_an_unrelated_formula_in_parts_as_plain_python() -> None:
    """A Gaussian kernel regression: rows of weights for each part, a gradient summed over all of them."""
    a, c, v = gg.param("a", (7, 3)), gg.param("c", (5, 3)), gg.param("v", (5,))
    p, q, k = gg.indices("p q k")
    s = gg.compute((p, q), gg.exp(-gg.sum((a[p, k] - c[q, k]) ** 2, over=k)))
    z = gg.compute((p,), gg.sum(s[p, q] * v[q], over=q) / gg.sum(s[p, q], over=q))
    net = gg.compile({"loss": gg.sum(z * z)}, name="regression")
    assert "prange(parts)" in net.source
    assert "_parts[part, at" in net.source
    rng = np.random.default_rng(3)
    arrays = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in (("a", (7, 3)), ("c", (5, 3)), ("v", (5,)))
    }
    out, gradients = unjitted(net).value_and_grad(**arrays)
    precise = {name: value.astype(np.float64) for name, value in arrays.items()}

    def loss(values: dict[str, np.ndarray]) -> float:
        weights = np.exp(-((values["a"][:, None] - values["c"][None]) ** 2).sum(-1))
        return float((((weights @ values["v"]) / weights.sum(-1)) ** 2).sum())

    np.testing.assert_allclose(out["loss"], loss(precise), rtol=1e-5)
    for name, value in precise.items():
        direction = rng.standard_normal(value.shape)
        step = 1e-6
        up, down = (loss({**precise, name: value + sign * step * direction}) for sign in (1, -1))
        np.testing.assert_allclose((gradients[name] * direction).sum(), (up - down) / (2 * step), rtol=1e-3, atol=1e-5)
