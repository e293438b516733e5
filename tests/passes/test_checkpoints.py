"""Gradients of scans that keep the carries of some steps only: the same numbers in less memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import OptionError
from gradgen.graph.scalar import integer
from gradgen.graph.tensor import Tensor
from gradgen.lang.scan import _segment
from gradgen.network import Network
from tests.cpu.running import assert_close, unjitted

RNG = np.random.default_rng(5)


def cell(W: Tensor, u: Tensor) -> Callable[..., Any]:
    """A step with weights, a vector that is only added, a number that counts, and nested results."""

    def step(state: dict[str, Tensor], given: tuple[Tensor, Tensor]) -> Any:
        x, mask = given
        h = gg.tanh(state["h"] @ W + x * u)
        h = gg.where(mask, h, state["h"])
        return {"h": h, "count": state["count"] + 1}, (h * h, [gg.sum(x * h)])

    return step


def losses(steps: Any, checkpoint: Any, reverse: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
    W, u, h = gg.param("W", (3, 3)), gg.param("u", (3,)), gg.input("h", (2, 3))
    x, mask = gg.input("x", (steps, 2, 3)), gg.input("mask", (steps, 2, 1), "bool")
    begin = {"h": h, "count": gg.zeros((), "int64")}
    last, (squares, (sums,)) = gg.scan(cell(W, u), begin, (x, mask), reverse=reverse, checkpoint=checkpoint)
    weighted = gg.sum(gg.arange(steps) * sums)
    total = gg.sum(last["h"]) + gg.sum(squares) * gg.sum(last["h"]) + weighted
    return {"loss": total, "count": last["count"]}, [W, u, h, x]


def given(length: int) -> dict[str, Any]:
    return {
        "W": 0.5 * RNG.normal(size=(3, 3)), "u": RNG.normal(size=3), "h": RNG.normal(size=(2, 3)),
        "x": RNG.normal(size=(length, 2, 3)), "mask": RNG.random((length, 2, 1)) < 0.7,
    }  # fmt: skip


def run(outputs: dict[str, Tensor], wrt: list[Tensor] | None, arrays: dict[str, Any]) -> list[Any]:
    net = unjitted(gg.compile(outputs, wrt=wrt, dtype="float64", name="steps"))
    if wrt is None:
        return list(net(**arrays).values())
    values, gradients = net.value_and_grad(**arrays)
    return [*values.values(), *[gradients[name] for name in sorted(gradients)]]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("length", "checkpoint"), [(6, 1), (6, 2), (6, 3), (7, 3), (5, 4), (4, 9), (1, 2), (0, 1)])
def test_values_and_gradients_are_those_without(length: int, checkpoint: int, reverse: bool) -> None:
    arrays = given(length)
    wanted = run(*losses(length, None, reverse), arrays)
    for found, want in zip(run(*losses(length, checkpoint, reverse), arrays), wanted, strict=True):
        assert_close(found, want, "float64")


@pytest.mark.parametrize("length", [0, 1, 3, 4, 8])
def test_of_a_length_that_calls_tell(length: int) -> None:
    arrays = given(length)
    T = gg.size("T")
    wanted = run(*losses(T, None, False), arrays)
    for found, want in zip(run(*losses(T, 3, False), arrays), wanted, strict=True):
        assert_close(found, want, "float64")


@pytest.mark.parametrize("checkpoint", [1, 2])
def test_second_derivatives(checkpoint: int) -> None:
    arrays = {name: 0.5 * RNG.normal(size=shape) for name, shape in (("W", (2, 2)), ("v", (2, 2)), ("x", (3, 2)))}
    results = []
    for option in (None, checkpoint):
        W, v, x = gg.param("W", (2, 2)), gg.input("v", (2, 2)), gg.input("x", (3, 2))
        last, _ = gg.scan(lambda h, x_t, W=W: (gg.sin(h @ W + x_t), None), gg.ones(2), x, checkpoint=option)
        loss = gg.sum(last * last)
        (turned,), (along,) = gg.hvp(loss, [W], [v]), gg.jvp([loss], [W], [v])
        results.append(run({"turned": turned, "along": along}, None, arrays))
    for found, want in zip(*results, strict=True):
        assert_close(found, want, "float64")


def test_inside_a_step_of_another_scan() -> None:
    def outer(option: int | None) -> list[Any]:
        W, x = gg.param("W", (2, 2)), gg.input("x", (3, 4, 2))

        def row(h: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            last, _ = gg.scan(lambda s, x_t: (gg.sin(s @ W + x_t), None), h, rows, checkpoint=option)
            return last, last

        last, ys = gg.scan(row, gg.ones(2), x, checkpoint=option and 1)
        return run({"loss": gg.sum(last) * gg.sum(ys)}, [W, x], {"W": w, "x": xs})

    w, xs = RNG.normal(size=(2, 2)), RNG.normal(size=(3, 4, 2))
    for found, want in zip(outer(2), outer(None), strict=True):
        assert_close(found, want, "float64")


def test_parameters_of_every_step_get_rows_and_shared_ones_a_sum() -> None:
    """Rows are written where they belong; a sum takes one row, however many steps there are."""
    W, V, x = gg.param("W", (8, 8)), gg.param("V", (40, 8, 8)), gg.input("x", (2, 8))
    last, _ = gg.scan(lambda h, v: (gg.tanh(h @ W + h @ v), None), x, V, checkpoint=1)
    net = gg.compile({"loss": gg.sum(last * last)}, name="summed")
    bytes_of = {name: array.nbytes for name, array in net.module.workspace()._asdict().items()}
    assert all(size <= 41 * 2 * 8 * 4 or "d_V" in name for name, size in bytes_of.items()), bytes_of


def workspace(net: Network) -> int:
    return sum(array.nbytes for array in net.module.workspace())


def test_an_lstm_needs_the_memory_of_a_few_steps() -> None:
    def compiled(checkpoint: str | None) -> Network:
        lstm, x = nn.LSTM(16, 32, checkpoint=checkpoint), gg.input("x", (256, 4, 16))
        _, (h, _) = lstm(x)
        return gg.compile({"loss": gg.sum(h * h)}, name="lstm")

    plain, kept = compiled(None), compiled("sqrt")
    assert workspace(kept) < 0.25 * workspace(plain)
    assert "of a scan with checkpoints" in kept.explain()
    assert "of a scan with checkpoints" not in plain.explain()


@pytest.mark.parametrize("wrong", [0, -2, 1.5, True, "root"])
def test_what_is_no_number_of_steps(wrong: Any) -> None:
    with pytest.raises(OptionError) as caught:
        gg.scan(lambda s, x: (s + x, None), 0.0, gg.input("x", (6,)), checkpoint=wrong)
    said = f'checkpoint={wrong!r} of gg.scan: give a number of steps, 1 or more, or "sqrt".'
    assert str(caught.value).split(": ", 1)[1] == said


def test_no_root_of_a_length_that_calls_tell() -> None:
    with pytest.raises(OptionError) as caught:
        gg.scan(lambda s, y: (s + y, None), 0.0, gg.input("y", (gg.size("T"),)), checkpoint="sqrt")
    assert str(caught.value).split(": ", 1)[1] == (
        'checkpoint="sqrt" of gg.scan needs a length that is known, and here it is T: give a number of steps.'
    )


@pytest.mark.parametrize(
    ("length", "expected"), [(64, 8), (100, 10), (12, 3), (7, 2), (2, 1), (1, 1), (0, 1), (210, 14)]
)
def test_the_root_is_a_divisor_where_there_is_one_near(length: int, expected: int) -> None:
    assert _segment("sqrt", integer(length)) == expected
