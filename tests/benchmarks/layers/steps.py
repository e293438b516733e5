"""Whole training steps of networks that are made of layers: scores, cross-entropy with labels b, gradient, Adam.

In: sizes. Out: cases whose parameters have the names of a state_dict.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.case import Arrays, Case, Layer, normal
from tests.benchmarks.layers.cases import Shapes, by, encoder_shapes, parameters, recurrent


def step(name: str, title: str, option: Layer, shapes: Shapes, data: Callable[[np.random.Generator], Arrays]) -> Case:
    def arrays() -> Arrays:
        rng = np.random.default_rng(11)
        return data(rng) | parameters(rng, shapes)

    return Case(name, f"{title}, Adam", "step", arrays, ("x", "b"), option, adam=True)


def tokens(kinds: int, *sizes: int) -> Callable[[np.random.Generator], Arrays]:
    """One label for every token."""
    return lambda rng: {"x": rng.integers(0, kinds, sizes), "b": rng.integers(0, kinds, math.prod(sizes))}


def step_cnn(batch: int, size: int, filters: tuple[int, int], width: int) -> Case:
    """Two convolutions 3x3, each with a maximum over 2x2, and two linear layers."""
    image, flat = (batch, 1, size, size), filters[1] * (size // 4) ** 2

    def make(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, filters[0], 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(filters[0], filters[1], 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(flat, width), nn.ReLU(), nn.Linear(width, 10),
        )  # fmt: skip

    weights = {
        "0.weight": (filters[0], 1, 3, 3),
        "3.weight": (filters[1], filters[0], 3, 3),
        "7.weight": (width, flat),
        "9.weight": (10, width),
    }
    shapes = weights | {name.replace("weight", "bias"): x[:1] for name, x in weights.items()}
    title = f"{by(image)}, {filters[0]} and {filters[1]}@3x3, maxima, {flat}-{width}-10"
    return step(
        "step_cnn", title, Layer(make, ("x",), "cnn"), shapes,
        lambda rng: {"x": normal(rng, *image), "b": rng.integers(0, 10, batch)},
    )  # fmt: skip


def step_char_lstm(length: int, batch: int, letters: int, width: int, hidden: int) -> Case:
    """A row of a table for each letter, an LSTM of two levels, and scores of the letter that follows."""

    def make(nn: Any) -> Any:
        return nn.ModuleList([nn.Embedding(letters, width), nn.LSTM(width, hidden, 2), nn.Linear(hidden, letters)])

    def call(layers: Any, x: Any) -> Any:
        return layers[2](layers[1](layers[0](x))[0])

    levels = recurrent(4, width, hidden) | recurrent(4, hidden, hidden, level=1)
    shapes = {
        "0.weight": (letters, width),
        **{f"1.{name}": shape for name, shape in levels.items()},
        "2.weight": (letters, hidden),
        "2.bias": (letters,),
    }
    title = f"T={length}, B={batch}, {letters} letters, {width} to {hidden} in 2 levels"
    option = Layer(make, ("x",), "char_lstm", call=call)
    return step("step_char_lstm", title, option, shapes, tokens(letters, length, batch))


def step_transformer(layers: int, batch: int, length: int, width: int, heads: int, kinds: int) -> Case:
    """Tokens and their places, encoder layers, and scores for every token.

    Adam makes whole steps of the smallest gradients. So the layers have no biases, because the gradient of that of keys
    is rounding errors; and gelu instead of relu, because a unit may be dead in one peer and alive in another.
    """
    inner = 4 * width

    def make(nn: Any) -> Any:
        one = nn.TransformerEncoderLayer(width, heads, inner, 0.0, "gelu", batch_first=True, bias=False)
        encoder = nn.TransformerEncoder(one, layers)
        return nn.ModuleList(
            [nn.Embedding(kinds, width), nn.Embedding(length, width), encoder, nn.Linear(width, kinds)]
        )

    def call(parts: Any, x: Any) -> Any:
        return parts[3](parts[2](parts[0](x) + parts[1].weight))

    shapes: Shapes = {"0.weight": (kinds, width), "1.weight": (length, width)}
    for k in range(layers):
        shapes |= {f"2.layers.{k}.{name}": shape for name, shape in encoder_shapes(width, inner, bias=False).items()}
    shapes |= {"3.weight": (kinds, width), "3.bias": (kinds,)}
    title = f"{layers} layers, B={batch}, T={length}, d={width}, h={heads}, {kinds} tokens"
    option = Layer(make, ("x",), "tokens", {"layers": layers, "heads": heads}, call)
    return step("step_transformer", title, option, shapes, tokens(kinds, batch, length))


STEPS = (
    step_cnn(batch=64, size=28, filters=(16, 32), width=128),
    step_char_lstm(length=48, batch=32, letters=64, width=32, hidden=128),
    step_transformer(layers=4, batch=8, length=64, width=128, heads=4, kinds=64),
)
