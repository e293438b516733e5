"""What layers are called with: arrays and lists are constants, everything else is refused by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import DTypeError, ShapeError
from tests.cpu.running import unjitted

RNG = np.random.default_rng(11)


def values(*outputs: gg.Tensor, **given: np.ndarray) -> list[np.ndarray]:
    net = unjitted(gg.compile({f"y{k}": y for k, y in enumerate(outputs)}, name="arguments"))
    with np.errstate(all="ignore"):
        found = net(**given, **net.init(seed=0))
    return [np.array(found[f"y{k}"]) for k in range(len(outputs))]


LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Linear(3, 4), (2, 3)),
    (lambda: nn.MLP([3, 5, 4]), (2, 3)),
    (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (2, 3)),
    (lambda: nn.Conv1d(3, 4, 2), (2, 3, 5)),
    (lambda: nn.BatchNorm1d(3), (4, 3)),
    (lambda: nn.LayerNorm(3), (4, 3)),
    (lambda: nn.Dropout(0.5).eval(), (4, 3)),
    (lambda: nn.Flatten(), (4, 3, 2)),
    (lambda: nn.MaxPool1d(2), (4, 3, 2)),
    (lambda: nn.ReLU(), (4, 3)),
    (lambda: nn.Softmax(-1), (4, 3)),
]


@pytest.mark.parametrize("k", range(len(LAYERS)))
@pytest.mark.parametrize("form", [np.asarray, np.ndarray.tolist])
def test_arrays_and_lists_are_constants(k: int, form: Callable[[np.ndarray], Any]) -> None:
    make, shape = LAYERS[k]
    layer, numbers = make(), RNG.normal(size=shape).astype("float32")
    x = gg.input("x", shape)
    of_numbers, of_tensor = values(layer(form(numbers)), layer(x), x=numbers)
    np.testing.assert_allclose(of_numbers, of_tensor, rtol=1e-6)
    assert of_numbers.dtype == np.float32


def test_recurrences_begin_with_arrays() -> None:
    layer = nn.LSTM(3, 4)
    numbers, h, c = (RNG.normal(size=size).astype("float32") for size in ((5, 2, 3), (1, 2, 4), (1, 2, 4)))
    x, h0, c0 = gg.input("x", (5, 2, 3)), gg.input("h0", (1, 2, 4)), gg.input("c0", (1, 2, 4))
    lengths = np.array([5, 3])
    y, _ = layer(numbers.tolist(), (h, c), lengths=lengths)
    wanted, _ = layer(x, (h0, c0), gg.constant(lengths))
    found, expected = values(y, wanted, x=numbers, h0=h, c0=c)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_integers_stay_integers_and_floats_take_the_dtype_of_the_layer() -> None:
    assert nn.Embedding(5, 2)([[0, 4], [1, 1]]).shape == (2, 2, 2)
    assert nn.Linear(3, 4, dtype="float64")([0.5, 1.5, 2.5]).dtype == "float64"
    assert nn.Linear(3, 4)(np.arange(3.0)).dtype == "float32"
    wide = gg.input("wide", (3,), dtype="float64")
    (loss,) = values(nn.MSELoss()(wide, [0.1, 0.2, 0.3]), wide=np.array([0.1, 0.2, 0.3]))
    assert loss == 0.0  # not what float32 would leave


def test_a_layer_of_ones_own_says_by_annotations_what_takes_tensors() -> None:
    class Own(nn.Module):
        def forward(self, x: gg.Tensor, order: Any, shift: gg.Tensor | None = None) -> gg.Tensor:
            assert isinstance(order, list)
            y = gg.stack([x[k] for k in order])
            return y if shift is None else y + shift

    assert Own()(np.arange(3.0), [2, 0]).shape == (2,)
    assert Own()(np.arange(3.0), [2, 0], shift=np.ones(2)).dtype == "float32"


def test_a_layer_of_ones_own_may_take_more_than_tensors() -> None:
    class Own(nn.Module):
        def forward(self, x: gg.Tensor, *rest: gg.Tensor, by: gg.Tensor = None) -> Any:  # type: ignore[assignment]
            return gg.exp(x) if by is None else [gg.exp(y) * by for y in (x, *rest)]

    assert repr(Own()(X[K])) == "exp(x[i])"
    assert Own()(np.ones(3), by=None).shape == (3,)
    assert [y.shape for y in Own()(X, np.ones((2, 3)), by=2.0)] == [(3,), (2, 3)]


def test_summaries_take_arrays() -> None:
    layer = nn.Linear(3, 4)
    assert nn.summary(layer, np.ones((2, 3))) == nn.summary(layer, gg.input("x", (2, 3)))


class OfPyTorch:
    pass


OfPyTorch.__module__ = "torch"
K, X = gg.index("i"), gg.input("x", (3,))

REFUSED: list[tuple[Callable[[Any], object], type[Exception], str]] = [
    (
        lambda fc: fc(OfPyTorch()),
        DTypeError,
        (
            "fc is given a tensor of PyTorch, and layers take those of a model: declare gg.input, compile, and call "
            "the network with arrays."
        ),
    ),
    (
        lambda fc: nn.MLP([3, 4], name="mlp")(OfPyTorch()),
        DTypeError,
        (
            "mlp is given a tensor of PyTorch, and layers take those of a model: declare gg.input, compile, and "
            "call the network with arrays."
        ),
    ),
    (lambda fc: fc("x"), DTypeError, "fc takes tensors and arrays, not str: declare arrays with gg.input or gg.param."),
    (
        lambda fc: fc(None),
        DTypeError,
        "fc takes tensors and arrays, not NoneType: declare arrays with gg.input or gg.param.",
    ),
    (
        lambda fc: fc(x={}),
        DTypeError,
        "fc takes tensors and arrays, not dict: declare arrays with gg.input or gg.param.",
    ),
    (
        lambda fc: fc(X[K]),
        DTypeError,
        "fc takes tensors, not the formula x[i]: gg.compute makes a tensor of it.",
    ),
    (lambda fc: fc(2.0), ShapeError, "fc takes 3 inputs along the last axis, and is given a tensor ()."),
    (lambda fc: fc(np.ones(4)), ShapeError, "fc takes 3 inputs along the last axis, and is given constant (4)."),
    (
        lambda fc: fc([[1.0], [2.0, 3.0]]),
        ShapeError,
        "[[1.0], [2.0, 3.0]] is no array: its parts have several lengths.",
    ),
    (
        lambda fc: fc(np.ones((10000, 3))),
        ShapeError,
        (
            "an array of 30,000 elements is data, and constants have 4,096 at most: declare it with gg.input, and give "
            "it with every call."
        ),
    ),
]


@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_what_is_neither_tensor_nor_array_is_refused(k: int) -> None:
    call, kind, wanted = REFUSED[k]
    with pytest.raises(kind) as caught:
        call(nn.Linear(3, 4, name="fc"))
    place, _, found = str(caught.value).partition(": ")
    assert place.startswith("test_arguments.py:")
    assert found == wanted


def test_python_says_what_is_wrong_with_a_call() -> None:
    with pytest.raises(TypeError, match=r"forward\(\) missing 1 required positional argument: 'x'"):
        nn.Linear(3, 4)()
