"""What every step of a scan writes anew lies in a row of its states, where that is theirs alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.scalar import call, require_poly
from gradgen.network import Network
from gradgen.passes.loops.over_states import over_states
from gradgen.program.kernels import (
    Entry,
    Kernel,
    KernelCall,
    Program,
)
from gradgen.program.loops import (
    Buffer,
    Dot,
    For,
    If,
    Matrix,
    Statement,
)
from tests.cpu.running import assert_close, unjitted
from tests.passes.statements import array, assign, at, i, j, loop, run, t, where

T, D = gg.size("T"), 32


def compiled(step: Callable[..., Any], read: Callable[[gg.Tensor, gg.Tensor], gg.Tensor]) -> Network:
    """A scan over weights, whose last state and all results are read."""
    h, w = gg.param("h", (D, D)), gg.param("w", (T, D, D))
    last, ys = gg.scan(step, h, w)
    return gg.compile({"loss": read(last, ys)}, name="states", dtype="float64")


def check(net: Network) -> None:
    rng = np.random.default_rng(0)
    given = {"h": 0.3 * rng.standard_normal((D, D)), "w": 0.3 * rng.standard_normal((4, D, D))}
    plain = unjitted(net)
    loss = plain.value_and_grad(**given)[0]["loss"]
    gradients = plain.value_and_grad(**given)[1]
    _, saved = plain.forward(**given)
    apart = plain.backward(saved, loss=1.0)
    for name, g in gradients.items():
        assert_close(apart[name], g, "float64", name)
        direction = rng.standard_normal(g.shape)
        ends = [plain(**{**given, name: given[name] + e * direction})["loss"] for e in (1e-5, -1e-5)]
        assert abs((ends[0] - ends[1]) / 2e-5 - np.sum(g * direction)) < 1e-6 * max(1, abs(loss), np.abs(g).sum())


def tanh(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, None]:
    return gg.tanh(h @ w), None


def test_products_and_adjoints_are_rows() -> None:
    net = compiled(tanh, lambda last, _: gg.sum(last**2))
    assert "np.dot(tanh_states[t], w[t], tanh_states[t + 1])" in net.source
    assert net.explain().count("is a row of") >= 2
    check(net)


def twice(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    u = h @ w
    return gg.tanh(u), gg.sum(u * h)


def before(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
    """The state of the step before is read again behind the product."""
    u = h @ w
    return h + 0.1 * gg.sin(u), gg.sum(h * u)


def transposed(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, None]:
    """The state has other elements where the product is read."""
    return gg.tanh((h @ w).T + h), None


def two_products(h: gg.Tensor, w: gg.Tensor) -> tuple[gg.Tensor, None]:
    return gg.tanh(gg.sin(h @ w) @ w + h), None


@pytest.mark.parametrize("step", [tanh, twice, before, transposed, two_products])
@pytest.mark.parametrize("every", [False, True])
def test_gradients_are_differences(step: Callable[..., Any], every: bool) -> None:
    def read(last: gg.Tensor, ys: gg.Tensor) -> gg.Tensor:
        return gg.sum(last**2) + (gg.sum(ys) if every and ys is not None else 0.0)

    check(compiled(step, read))


STATES, RESULT = array("states", 5, 3, 3), array("result", 5, 3, 3)
VALUE, OTHER, W = array("value", 3, 3), array("other", 3, 3), array("w", 3, 3)
NEXT = require_poly(t + 1)


def dot(left: Buffer, out: Buffer) -> Dot:
    """out = left @ w"""
    three = require_poly(3)
    return Dot(*(Matrix(b, (), three, three) for b in (left, W, out)))


COPIED = loop(t, 5, loop(i, 3, loop(j, 3, assign(RESULT, [t, i, j], at(STATES, t, i, j)))))
KEPT = loop(i, 3, loop(j, 3, assign(RESULT, [t, i, j], at(OTHER, i, j))))


def rows_for_values(*step: Statement, behind: tuple[Statement, ...] = (COPIED,)) -> list[str]:
    """The values of a step that lie in rows of states; the result is the same in any case."""
    arrays = (STATES, RESULT, VALUE, OTHER, W)
    kernel = Kernel("steps", arrays, (), (loop(t, 4, *step, kind="serial"), *behind), ())
    entry = Entry("forward", (W,), (KernelCall("steps", arrays, (), ()),), ())
    before = Program("small", arrays, (kernel,), (entry,))
    after = over_states(before)
    rng = np.random.default_rng(0)
    given = {b.name: rng.standard_normal([int(n.constant or 0) for n in b.shape]) for b in arrays}
    found, wanted = (run(p.kernels[0].body, given, {})["result"] for p in (after, before))
    np.testing.assert_array_equal(found, wanted)
    return [told.split(":")[0] for told in after.entries[0].decisions if told.endswith("a row of states")]


def written(value: Buffer, rows: int = 3, start: int = 0) -> For:
    """The next row of states: twice the value."""
    return loop(i, rows, loop(j, 3, assign(STATES, [NEXT, i, j], at(value, i, j) * 2)), start=start)


def test_all_of_a_row_is_written_where_the_value_is_read_last() -> None:
    assert rows_for_values(dot(W, VALUE), written(VALUE)) == ["value"]


def test_what_a_step_leaves_of_a_row_stays() -> None:
    assert rows_for_values(dot(W, VALUE), written(VALUE, rows=2)) == []
    assert rows_for_values(dot(W, VALUE), written(VALUE, start=1)) == []


def test_a_row_that_is_written_by_a_condition_stays_in_other_steps() -> None:
    assert rows_for_values(dot(W, VALUE), If(call("lt", t, require_poly(2)), (written(VALUE),))) == []


def test_a_row_that_is_read_for_the_last_time_takes_what_comes_of_it() -> None:
    value = loop(i, 3, loop(j, 3, assign(VALUE, [i, j], at(STATES, t, i, j) + 1)))
    step = (value, dot(VALUE, OTHER), KEPT)
    assert rows_for_values(*step, behind=()) == ["value"]
    assert rows_for_values(*step, behind=(COPIED,)) == []
    again = loop(i, 3, loop(j, 3, assign(OTHER, [i, j], at(OTHER, i, j) + at(STATES, t, j, i))))
    assert rows_for_values(*step, again, KEPT, behind=()) == []


def test_a_row_that_is_not_there_in_every_step_takes_nothing() -> None:
    earlier = where(call("gt", t, require_poly(0)), at(STATES, require_poly(t - 1), i, j), 1)
    value = loop(i, 3, loop(j, 3, assign(VALUE, [i, j], earlier)))
    assert rows_for_values(value, dot(VALUE, OTHER), KEPT, behind=()) == []
