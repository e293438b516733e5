"""What is measured: names, sizes and seeded float32 inputs, the same arrays for every peer.

A training case is one step: loss, gradient, update by SGD or Adam.
A kernel case is the value and the gradient of sum(output * g), by everything but its `data`.
The layers of gradgen.nn, and steps of networks that are made of them, are in `layers`.
"""

import numpy as np

from .case import Arrays, Case, Mlp, normal
from .layers.cases import LAYERS
from .layers.steps import STEPS


def training(name: str, batch: int, mlp: Mlp) -> Case:
    def inputs() -> Arrays:
        rng = np.random.default_rng(1)
        arrays = {"a": normal(rng, batch, mlp.widths[0])}
        if mlp.loss == "mse":
            arrays["y"] = normal(rng, batch, mlp.widths[-1])
        else:
            arrays["b"] = rng.integers(0, mlp.widths[-1], batch)
        for k in range(1, mlp.layers + 1):
            fan_in = mlp.widths[k - 1]
            arrays[f"X{k}"] = normal(rng, mlp.widths[k], fan_in, scale=fan_in**-0.5)
            arrays[f"mu{k}"] = normal(rng, mlp.widths[k], scale=0.1)
        return arrays

    layers = f"{mlp.layers} layers of {mlp.widths[0]}" if mlp.equal else "-".join(map(str, mlp.widths))
    if len(layers) > 40:
        layers = f"{mlp.layers} layers, {min(mlp.widths)} to {max(mlp.widths)} wide"
    title = f"batch {batch}, {layers}, {mlp.activation}, {mlp.loss.replace('_', '-')}"
    return Case(name, title, "mlp", inputs, ("a", "y" if mlp.loss == "mse" else "b"), mlp)


def cnn_inputs() -> Arrays:
    """Two convolutions 3x3, each with a maximum over 2x2, and a linear layer; labels b."""
    rng = np.random.default_rng(7)
    return {
        "a": normal(rng, 64, 1, 28, 28),
        "b": rng.integers(0, 10, 64),
        "K1": normal(rng, 8, 1, 3, 3, scale=1 / 3),
        "mu1": normal(rng, 8, scale=0.1),
        "K2": normal(rng, 16, 8, 3, 3, scale=72**-0.5),
        "mu2": normal(rng, 16, scale=0.1),
        "X": normal(rng, 10, 784, scale=784**-0.5),
        "mu": normal(rng, 10, scale=0.1),
    }


def transformer(name: str, layers: int) -> Case:
    """Pre-norm encoder layers of width 64 with 4 heads, causal, trained to give targets y."""
    width, inner = 64, 256

    def inputs() -> Arrays:
        rng = np.random.default_rng(8)
        arrays = {"a": normal(rng, 4, 32, width), "y": normal(rng, 4, 32, width)}
        for k in range(layers):
            parts = {"qkv": (3 * width, width), "o": (width, width), "u": (inner, width), "v": (width, inner)}
            for part, (rows, columns) in parts.items():
                arrays[f"W{part}{k}"] = normal(rng, rows, columns, scale=columns**-0.5)
                arrays[f"b{part}{k}"] = normal(rng, rows, scale=0.1)
            for norm in ("n", "m"):
                arrays[f"{norm}{k}"] = 1 + normal(rng, width, scale=0.1)
                arrays[f"{norm}b{k}"] = normal(rng, width, scale=0.1)
        return arrays

    title = f"{layers} layer{'s' if layers > 1 else ''}, 4x32, width {width}, 4 heads"
    return Case(name, title, "transformer", inputs, ("a", "y"), layers)


def conv(name: str, image: tuple[int, int, int, int], filters: int, size: int, padding: int) -> Case:
    n, channels, height, width = image

    def inputs() -> Arrays:
        rng = np.random.default_rng(2)
        shrink = 2 * padding - size + 1
        return {
            "a": normal(rng, *image),
            "K": normal(rng, filters, channels, size, size, scale=(channels * size * size) ** -0.5),
            "g": normal(rng, n, filters, height + shrink, width + shrink),
        }

    title = f"{'x'.join(map(str, image))}, {filters} filters {size}x{size}, padding {padding}"
    return Case(name, title, "conv", inputs, ("g",), padding)


def embedding_inputs() -> Arrays:
    rng = np.random.default_rng(3)
    return {"E": normal(rng, 10_000, 64), "idx": rng.integers(0, 10_000, 8192), "g": normal(rng, 8192, 64)}


def lstm_inputs() -> Arrays:
    """Gates in the order i, f, g, o; the first state is zero."""
    rng = np.random.default_rng(4)
    steps, batch, width, hidden = 64, 32, 64, 128
    scale = hidden**-0.5
    return {
        "x": normal(rng, steps, batch, width),
        "W_ih": normal(rng, 4 * hidden, width, scale=scale),
        "W_hh": normal(rng, 4 * hidden, hidden, scale=scale),
        "b_ih": normal(rng, 4 * hidden, scale=scale),
        "b_hh": normal(rng, 4 * hidden, scale=scale),
        "g": normal(rng, steps, batch, hidden),
    }


def attention_inputs() -> Arrays:
    rng = np.random.default_rng(5)
    return {name: normal(rng, 8, 8, 128, 32) for name in ("q", "k", "v", "g")}


def layernorm_inputs() -> Arrays:
    rng = np.random.default_rng(6)
    shape = (4096, 768)
    return {"x": normal(rng, *shape), "weight": normal(rng, 768), "bias": normal(rng, 768), "g": normal(rng, *shape)}


TRAINING = (
    training("tiny", 1, Mlp((8, 32, 32, 4), "tanh", "mse")),
    training("digits", 32, Mlp((64, 128, 10), "relu", "cross_entropy")),
    training("medium", 256, Mlp((784, 512, 512, 10), "relu", "cross_entropy")),
    training("wide", 512, Mlp((1024, 2048, 2048, 10), "relu", "cross_entropy")),
    training("deep", 64, Mlp((128,) * 101, "tanh", "mse", last="tanh")),
    training("different", 64, Mlp(tuple(64 + (40 * k) % 136 for k in range(21)), "tanh", "mse", last="tanh")),
)
NETWORKS = (
    Case("cnn", "64x1x28x28, 8 and 16 filters 3x3, maxima, linear, Adam", "cnn", cnn_inputs, ("a", "b"), adam=True),
    transformer("transformer", 1),
    transformer("transformer4", 4),
)
KERNELS = (
    conv("conv3x3", (8, 64, 56, 56), filters=64, size=3, padding=1),
    conv("conv5x5", (64, 1, 28, 28), filters=32, size=5, padding=0),
    Case("embedding", "10,000 rows of 64, 8,192 tokens, tanh", "embedding", embedding_inputs, ("idx", "g")),
    Case("lstm", "T=64, B=32, 64 to 128", "lstm", lstm_inputs, ("g",)),
    Case("attention", "B=8, h=8, T=128, d=32, causal", "attention", attention_inputs, ("g",)),
    Case("layernorm", "layer norm and softmax, 4096x768", "layernorm", layernorm_inputs, ("g",)),
)
CASES = {case.name: case for case in TRAINING + NETWORKS + STEPS + KERNELS + LAYERS}
