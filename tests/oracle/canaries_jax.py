"""The canaries as JAX losses: the independent answer that compiled networks are held against.

In: a seed. Out: float64 inputs by name, the scalar loss, and its gradient by every float input.
Parameters have the layouts of PyTorch. The caller enables x64 before the first array is made.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Inputs = dict[str, Any]


class Canary(NamedTuple):
    """A reference model: `inputs(seed)` makes its arrays, `loss(inputs)` is a scalar."""

    name: str
    inputs: Callable[[int], Inputs]
    loss: Callable[[Inputs], jax.Array]


def value_and_grad(canary: Canary, inputs: Inputs) -> tuple[float, dict[str, np.ndarray]]:
    """The loss and its gradient by every float input (integer inputs have none)."""
    assert jax.config.jax_enable_x64, "enable it first: jax.config.update('jax_enable_x64', True)"
    floats = {name: x for name, x in inputs.items() if np.issubdtype(x.dtype, np.floating)}
    value, grads = jax.jit(jax.value_and_grad(lambda xs: canary.loss({**inputs, **xs})))(floats)
    return float(value), {name: np.asarray(d) for name, d in grads.items()}


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return scale * rng.standard_normal(shape)


# 1. Two linear layers and cross-entropy, the mean of -log(exp(u_b) / sum_j exp(u_j)), here in its stable form.


def mlp_inputs(seed: int, batch: int = 5, sizes: tuple[int, int, int] = (6, 7, 4)) -> Inputs:
    rng = np.random.default_rng(seed)
    i, h, o = sizes
    return {
        "a": normal(rng, batch, i),
        "b": rng.integers(0, o, batch),
        "X1": normal(rng, h, i),
        "mu1": normal(rng, h),
        "X2": normal(rng, o, h),
        "mu2": normal(rng, o),
    }


def mlp_loss(t: Inputs) -> jax.Array:
    h1 = jax.nn.relu(t["a"] @ t["X1"].T + t["mu1"])
    u2 = h1 @ t["X2"].T + t["mu2"]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(u2), t["b"][:, None], axis=1))


# 2. Convolutions, a (N, C, H, W) and K (O, C, P, Q); g is the cotangent of the output.


def conv(name: str, image: tuple[int, int], stride: int, dilation: int, padding: int) -> Canary:
    def out_size(size: int) -> int:
        return (size + 2 * padding - dilation * (3 - 1) - 1) // stride + 1

    def inputs(seed: int) -> Inputs:
        rng = np.random.default_rng(seed)
        return {
            "a": normal(rng, 2, 3, *image),
            "K": normal(rng, 4, 3, 3, 3),
            "g": normal(rng, 2, 4, *map(out_size, image)),
        }

    def loss(t: Inputs) -> jax.Array:
        y = jax.lax.conv_general_dilated(
            t["a"],
            t["K"],
            window_strides=(stride, stride),
            padding=[(padding, padding)] * 2,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )
        return jnp.sum(y * t["g"])

    return Canary(name, inputs, loss)


# 3. Rows of a table, some of them several times, through tanh.


def embedding_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    return {"E": normal(rng, 11, 5), "idx": rng.integers(0, 11, 17), "g": normal(rng, 17, 5)}


def embedding_loss(t: Inputs) -> jax.Array:
    return jnp.sum(jnp.tanh(t["E"][t["idx"]]) * t["g"])


# 4. LSTM: x (T, B, I), gates stacked in the order i, f, g, o: W_ih (4H, I), W_hh (4H, H).


def lstm(steps: int = 10, batch: int = 3, width: int = 4, hidden: int = 5) -> Canary:
    def inputs(seed: int) -> Inputs:
        rng = np.random.default_rng(seed)
        return {
            "x": normal(rng, steps, batch, width),
            "h0": normal(rng, batch, hidden),
            "c0": normal(rng, batch, hidden),
            "W_ih": normal(rng, 4 * hidden, width, scale=0.5),
            "W_hh": normal(rng, 4 * hidden, hidden, scale=0.5),
            "b_ih": normal(rng, 4 * hidden, scale=0.1),
            "b_hh": normal(rng, 4 * hidden, scale=0.1),
            "g": normal(rng, steps, batch, hidden),
        }

    return Canary("lstm", inputs, lstm_loss)


def lstm_loss(t: Inputs) -> jax.Array:
    def step(carry: tuple[jax.Array, jax.Array], x: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        h, c = carry
        i, f, g, o = jnp.split(x @ t["W_ih"].T + t["b_ih"] + h @ t["W_hh"].T + t["b_hh"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    _, hs = jax.lax.scan(step, (t["h0"], t["c0"]), t["x"])
    return jnp.sum(hs * t["g"])


# 5. Causal attention: q, k, v (B, h, T, d), scores scaled by 1/sqrt(d).


def attention_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    return {name: normal(rng, 2, 3, 9, 4) for name in ("q", "k", "v", "g")}


def attention_loss(t: Inputs) -> jax.Array:
    length, d = t["q"].shape[-2:]
    scores = jnp.einsum("bhid,bhjd->bhij", t["q"], t["k"]) / np.sqrt(d)
    seen = np.tril(np.ones((length, length), bool))
    p = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
    return jnp.sum(jnp.einsum("bhij,bhjd->bhid", p, t["v"]) * t["g"])


# 6. Layer normalisation (biased variance, eps 1e-5), then softmax, row by row.


def layernorm_inputs(seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    return {"x": normal(rng, 6, 7), "weight": normal(rng, 7), "bias": normal(rng, 7), "w": normal(rng, 6, 7)}


def layernorm_loss(t: Inputs) -> jax.Array:
    x = t["x"]
    centred = x - x.mean(axis=1, keepdims=True)
    y = centred / jnp.sqrt(x.var(axis=1, keepdims=True) + 1e-5) * t["weight"] + t["bias"]
    return jnp.sum(t["w"] * jax.nn.softmax(y, axis=1))


# 7. Deep stacks of tanh layers: k equal ones, and twenty of different sizes.


def deep(name: str, widths: tuple[int, ...], batch: int = 4) -> Canary:
    layers = len(widths) - 1

    def inputs(seed: int) -> Inputs:
        rng = np.random.default_rng(seed)
        arrays = {"a": normal(rng, batch, widths[0]), "g": normal(rng, batch, widths[-1])}
        for k in range(1, layers + 1):
            arrays[f"X{k}"] = normal(rng, widths[k], widths[k - 1], scale=widths[k - 1] ** -0.5)
            arrays[f"mu{k}"] = normal(rng, widths[k], scale=0.1)
        return arrays

    def loss(t: Inputs) -> jax.Array:
        h = t["a"]
        for k in range(1, layers + 1):
            h = jnp.tanh(h @ t[f"X{k}"].T + t[f"mu{k}"])
        return jnp.sum(h * t["g"])

    return Canary(name, inputs, loss)


def deep_equal(layers: int = 100, width: int = 16) -> Canary:
    return deep("deep_equal", (width,) * (layers + 1))


def deep_different(layers: int = 20) -> Canary:
    """No two layers have the same shape."""
    return deep("deep_different", tuple(5 + (7 * k) % 23 for k in range(layers + 1)))


CANARIES = (
    Canary("mlp_naive_ce", mlp_inputs, mlp_loss),
    conv("conv_strided", image=(11, 10), stride=2, dilation=3, padding=2),
    conv("conv_plain", image=(8, 7), stride=1, dilation=1, padding=0),
    Canary("embedding_tanh", embedding_inputs, embedding_loss),
    lstm(),
    Canary("causal_attention", attention_inputs, attention_loss),
    Canary("layernorm_softmax", layernorm_inputs, layernorm_loss),
    deep_equal(),
    deep_different(),
)
