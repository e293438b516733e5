"""Scans whose carries look alike: each has its own when loops are laid out, inside other scans too."""

import re
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Project, Scan, all_inputs, leaf, reshape, toposort
from gradgen.graph.scalar import load, position, require_poly, size_symbol
from gradgen.graph.tensor import tensor
from gradgen.lang.interpret import interpret
from gradgen.passes.rewrite.separate_scans import _unravelled, separate
from gradgen.pipeline import AFTER_DIFFERENTIATING
from tests.cpu.running import unjitted
from tests.repeats import by_turns

SHAPES = ("flat", "split", "turned", "ones")

x, y = gg.input("x", (5, 3)), gg.input("y", (8, 3))


def nested(rows: gg.Tensor) -> gg.Tensor:
    """A scan whose step runs a scan, from a carry that looks like that of any other."""

    def step(total: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, None]:
        last, _ = gg.scan(lambda c, _: (c * 0.5 + row, None), total, length=2)
        return last, None

    total, _ = gg.scan(step, gg.zeros((3,)), rows)
    return total


def scans(roots: list[gg.Tensor]) -> set[Scan]:
    return {n.scan for n in toposort([r.node for r in roots], all_inputs) if isinstance(n, Project)}


def test_no_two_scans_share_a_carry_and_the_values_stay() -> None:
    roots = [gg.prod(x, axis=0), gg.prod(y, axis=0), nested(x), nested(y), gg.cumsum(x, 0)]
    found = separate([r.node for r in roots])
    carries = [c for s in scans([tensor(n) for n in found]) for c in s.carries]
    assert len(carries) == len(set(carries)) == 7
    arrays = {x.node: np.full((5, 3), 1.5, np.float32), y.node: np.full((8, 3), 0.5, np.float32)}
    for before, after in zip(interpret([r.node for r in roots], arrays), interpret(found, arrays), strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_is_separate_already_stays() -> None:
    roots = [gg.prod(x, axis=0).node, gg.exp(x).node]
    assert all(new is old for new, old in zip(separate(roots), roots, strict=True))


def test_it_is_the_last_pass_on_graphs() -> None:
    assert AFTER_DIFFERENTIATING[-1][1] is separate


@pytest.mark.parametrize(("shape", "rows"), by_turns(SHAPES, (3, "B")))
def test_a_carry_in_another_shape(rows: int | str, shape: str) -> None:
    """A view would be of the states of all steps: value and gradient are those of the steps written out."""
    rows = gg.size(rows) if isinstance(rows, str) else rows
    start, scale = gg.param("start", (rows, 4), dtype="float64"), gg.input("scale", (3,), dtype="float64")
    other = {"flat": (rows * 4,), "split": (rows, 2, 2), "turned": (2, rows * 2), "ones": (1, rows, 1, 4)}[shape]

    def step(h: gg.Tensor, s: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        whole = h.reshape(other)
        h = gg.tanh(h * s + gg.sum(gg.flip(whole, axis=0) * whole) * 0.1)
        return h, whole

    last, seen = gg.scan(step, start, scale)
    loss = gg.sum(last**2) + gg.sum(seen**3)
    h, total = start, 0.0
    for t in range(3):
        h, whole = step(h, scale[t])
        total = total + gg.sum(whole**3)
    written_out = gg.sum(h**2) + total
    given = {"start": np.linspace(-1, 1, 12).reshape(3, 4), "scale": np.array([0.5, -1.0, 1.5])}
    nets = [unjitted(gg.compile({"loss": x}, name="reshaped_carry")) for x in (loss, written_out)]
    (first, d_first), (second, d_second) = (net.value_and_grad(**given) for net in nets)
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-12)
    np.testing.assert_allclose(d_first["start"], d_second["start"], rtol=1e-10)


@pytest.mark.parametrize(("shape", "rows"), by_turns(SHAPES, (4, "B")))
def test_what_every_step_leaves_in_another_shape(rows: int | str, shape: str) -> None:
    """It is a row of a view of what all steps leave, forward and backward: nothing is copied to be read."""
    rows = gg.size(rows) if isinstance(rows, str) else rows
    start, scale = gg.param("start", (rows, 4), dtype="float64"), gg.input("scale", (3,), dtype="float64")
    other = {"flat": (rows * 4,), "split": (rows, 2, 2), "turned": (2, rows * 2), "ones": (1, rows, 1, 4)}[shape]

    def step(h: gg.Tensor, s: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        left = gg.sin(h * s)
        whole = left.reshape(other)
        return h + gg.sum(gg.flip(whole, axis=0) * whole) * 0.1, left

    last, seen = gg.scan(step, start, scale)
    loss = gg.sum(last**2) + gg.sum(seen.reshape((3, *other)) ** 3)
    h, total = start, 0.0
    for t in range(3):
        h, left = step(h, scale[t])
        total = total + gg.sum(left**3)
    given = {"start": np.linspace(-1, 1, 16).reshape(4, 4), "scale": np.array([0.5, -1.0, 1.5])}
    nets = [unjitted(gg.compile({"loss": x}, name="reshaped_step")) for x in (loss, gg.sum(h**2) + total)]
    assert not re.search(r"\[.*//.*\] ", nets[0].source)
    (first, d_first), (second, d_second) = (net.value_and_grad(**given) for net in nets)
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-12)
    np.testing.assert_allclose(d_first["start"], d_second["start"], rtol=1e-10)


B, C = size_symbol("B"), size_symbol("C")


@pytest.mark.parametrize(
    ("shape", "source", "read"),
    [
        ((4, 32, 64), (4, 32, 4, 16), ["i", "j", "k // 16", "k % 16"]),
        ((4, 32, 4, 16), (4, 32, 64), ["i", "j", "16 * k + n"]),
        ((B, 12), (B, 3, 4), ["i", "j // 4", "j % 4"]),
        ((6, 4), (3, 8), ["(4 * i + j) // 8", "(4 * i + j) % 8"]),
        ((12,), (1, 3, 4), ["0", "i // 4", "i % 4"]),
        ((B * C,), (B, C), ["i // C", "i % C"]),
        ((4, 1, 3), (1, 4, 3), ["0", "i", "3 * j + k"]),
    ],
)
def test_axes_that_become_others_among_themselves_are_divided_among_themselves(
    shape: tuple[Any, ...], source: tuple[Any, ...], read: list[str]
) -> None:
    x = leaf("x", tuple(map(require_poly, source)), "float32", "input")
    whole = reshape(x, tuple(map(require_poly, shape)))
    found = _unravelled(load(whole, [position(k) for k in range(len(shape))]))
    letters = {"ijkn"[k]: position(k) for k in range(len(shape))}
    wanted = [require_poly(eval(x, {"C": C}, letters)) for x in read]
    assert all(a is b for a, b in zip(found.subscripts, wanted, strict=True)), found.subscripts


@pytest.mark.parametrize(("shape", "other"), [((0, 3), (0,)), ((0,), (0, 3)), ((3, 0), (0,)), ((3, 0), (0, 2))])
def test_a_carry_without_elements_in_another_shape(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    def step(h: gg.Tensor, _: None) -> tuple[gg.Tensor, gg.Tensor]:
        return h + 1, gg.reshape(h, other) * 2.0

    _, seen = gg.scan(step, gg.input("start", shape), length=2)
    net = unjitted(gg.compile({"y": gg.sum(seen)}, name="without_elements"))
    assert net(start=np.zeros(shape, np.float32))["y"] == 0
