"""Functions of a generated module take their sizes from what they are given: the workspace is only room to work in."""

import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.network import Network
from tests.cpu.running import filled, unjitted


def classifier() -> Network:
    B = gg.size("B")
    a, b = gg.input("a", (B, 5)), gg.input("b", (B,), dtype="int64")
    h = gg.tanh(a @ gg.param("X1", (6, 5)).T)
    scores = h @ gg.param("X2", (4, 6)).T
    return gg.compile({"loss": nn.cross_entropy(scores, b), "scores": scores}, name="classifier", loss="loss")


NET = classifier()
PARAMS = NET.init(0)


def called(module: types.ModuleType, rows: int, room: int, labels: Mapping[str, Any]) -> tuple[Any, ...]:
    """value_and_grad of so many rows in a workspace for so many; then forward and backward in another one."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((rows, 5)).astype(np.float32), rng.integers(0, 4, rows)
    b = np.resize(labels.get("b", b), labels.get("rows", rows))
    out = module.Outputs(np.zeros((labels.get("out", rows), 4), np.float32))
    p = module.Params(**PARAMS)
    g, again = (module.Gradients(*(np.zeros_like(x) for x in p)) for _ in range(2))
    loss = module.value_and_grad(a, b, p, filled(module.workspace(room)), out, g)
    if module is not NET.module:  # jitted code of one entry is enough
        work = filled(module.workspace(room))
        assert module.forward(a, b, p, work, out) == loss
        module.backward(a, b, np.float32(1.0), np.zeros_like(out.scores), p, work, again)
    return loss, *g, *again


@pytest.mark.parametrize("way", ["plain", "jitted"])
def test_rows_are_counted_where_they_are_given(way: str) -> None:
    """A ragged last minibatch in the workspace of the others is right; what is too small or disagrees is refused."""
    module = NET.module if way == "jitted" else unjitted(NET).module
    wanted = called(module, 8, 8, {})
    for room in (9, 64):
        for x, y in zip(called(module, 8, room, {}), wanted, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"^the workspace is smaller than workspace\(B\)$"):
        called(module, 8, 7, {})
    for wrong in ({"rows": 7}, {"rows": 9}, {"out": 7}, {"out": 9}):
        with pytest.raises(ValueError, match=r"^shapes have to be a \(B, 5\), b \(B,\), out.scores \(B, 4\)$"):
            called(module, 8, 8, wrong)


def test_labels_are_counted_by_check_which_nothing_else_calls() -> None:
    module = NET.module
    assert module.check(np.array([0, 3, 1])) == 0
    assert module.check(np.array([0, 4, -1])) == 2
    for entry in ("forward", "backward", "value_and_grad"):
        assert getattr(module, entry).__doc__.endswith("; does not call check")
    assert module.check.__doc__ == "b (B,) -> outside_1: how many subscripts leave their axis"
    assert not NET.interface.counts  # the network has its own way to look at labels


def test_sizes_that_are_numbers_are_held_against_what_is_given() -> None:
    x, w = gg.input("x", (6, 3), dtype="float64"), gg.param("w", (3,), dtype="float64")
    net = unjitted(gg.compile({"loss": gg.sum(gg.sin(x @ w))}, name="numbers", dtype="float64"))
    with pytest.raises(ValueError, match=r"^shapes have to be x \(6, 3\)$"):
        net.module.forward(np.ones((5, 3)), net.module.Params(np.ones(3)), net.module.workspace())


def test_a_size_that_only_the_workspace_had_comes_from_an_input() -> None:
    """The adjoint needs no number of x, but it has to know how many there are."""
    N = gg.size("N")
    x, w = gg.input("x", (N,), dtype="float64"), gg.param("w", (), dtype="float64")
    y = gg.materialize(gg.tanh(x * 0.5)) * gg.exp(w)
    net = gg.compile({"loss": gg.sum(gg.tanh(y))}, name="adjoint", dtype="float64")
    back = net.interface.entry("backward")
    if "w" in back.holders:
        assert "x" in back.parameters
