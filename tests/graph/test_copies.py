"""A loop in Python writes a step as often as it runs: gg.compile says so, once, where copies are what it wrote."""

import warnings

import pytest

import gradgen as gg
from gradgen.asked import COPIES, asked_model
from gradgen.errors import CopiesWarning

X, W, LONG = gg.input("x", (3,)), gg.param("w", (3,)), gg.input("long", (120,))


def repeated(count: int) -> gg.Tensor:
    y = X
    for _ in range(count):
        y = y * 0.999 + 0.001 * gg.sin(y * W)
    return y


def asked(y: gg.Tensor) -> None:
    asked_model({"y": y}, "model", None, None, None)


def test_a_step_that_is_written_many_times_is_told_once() -> None:
    with pytest.warns(CopiesWarning) as caught:
        asked(repeated(100))
    (told,) = caught
    assert str(told.message) == (
        "test_copies.py:17: the model has 100 copies of this line, as a loop in Python makes them, and every copy is "
        "compiled. gg.scan writes a step once, a formula over an index an element."
    )
    assert told.filename == __file__


def test_elements_too() -> None:
    with pytest.warns(CopiesWarning, match=r"^test_copies\.py:\d+: the model has 120 copies of this line"):
        asked(gg.stack([gg.sin(LONG[i]) for i in range(120)]))


def test_nothing_is_told_of_a_few_steps_or_of_layers_with_weights_of_their_own() -> None:
    y = X
    for k in range(2 * COPIES):
        u = y * gg.param(f"w{k}", (3,))
        y = gg.tanh(u)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked(repeated(COPIES - 1))
        asked(y)
