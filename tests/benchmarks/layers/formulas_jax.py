"""The layers in jax.numpy and jax.lax, as one writes them there; parameters have the names of a state_dict.

In: arrays by name, and the options of a case. Out: what a layer makes of them. `peers_jax.py` compiles it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.case import Layer

Array = jax.Array
Arrays = Mapping[str, jax.Array]


def cross_entropy(scores: Array, labels: Array) -> Array:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1))


def layer_norm(x: Array, weight: Array, bias: Array | float) -> Array:
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5) * weight + bias


def attended(qkv: Array, heads: int, seen: np.ndarray | None = None) -> Array:
    """Attention in heads, of queries, keys and values (B, T, 3 d) side by side."""
    batch, length, width = qkv.shape
    q, k, v = (x.reshape(batch, length, heads, -1) for x in jnp.split(qkv, 3, axis=2))
    scores = jnp.einsum("bige,bjge->bgij", q, k) * np.float32(q.shape[-1] ** -0.5)
    scores = scores if seen is None else jnp.where(seen, scores, -jnp.inf)
    return jnp.einsum("bgij,bjge->bige", jax.nn.softmax(scores, axis=-1), v).reshape(batch, length, width // 3)


def lstm(x: Array, W_ih: Array, W_hh: Array, bias: Array) -> Array:
    """Gates in the order i, f, g, o; the first state is zero."""
    zero = jnp.zeros((x.shape[1], W_hh.shape[1]), x.dtype)

    def step(carry: tuple[Array, Array], u: Array) -> tuple[tuple[Array, Array], Array]:
        h, c = carry
        i, f, g, o = jnp.split(u + h @ W_hh.T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return lax.scan(step, (zero, zero), x @ W_ih.T + bias)[1]


def linear(x: Array, t: Arrays, of: str) -> Array:
    y = x @ t[f"{of}weight"].T
    return y + t[f"{of}bias"] if f"{of}bias" in t else y


def along_channels(v: Array, dims: int) -> Array:
    return v.reshape(-1, *[1] * dims)


# ---------------------------------------------------------------- images


def conv(t: Arrays, of: str = "", x: Array | None = None) -> Array:
    x, weight = t["x"] if x is None else x, t[f"{of}weight"]
    dims, groups = x.ndim - 2, x.shape[1] // weight.shape[1]
    y = lax.conv_general_dilated(x, weight, (1,) * dims, "SAME", feature_group_count=groups)
    return y + along_channels(t[f"{of}bias"], dims)


def conv_transposed(t: Arrays, stride: int, padding: int) -> Array:
    outer = t["weight"].shape[-1] - 1 - padding
    y = lax.conv_transpose(
        t["x"], t["weight"], (stride, stride), [(outer, outer)] * 2,
        dimension_numbers=("NCHW", "OIHW", "NCHW"), transpose_kernel=True,
    )  # fmt: skip
    return y + along_channels(t["bias"], 2)


def pooled(x: Array, size: int) -> Array:
    window = (1, 1, size, size)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def maxpool(t: Arrays, size: int) -> Array:
    return pooled(t["x"], size)


def normalised(x: Array, axes: tuple[int, ...]) -> Array:
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5)


def batchnorm(t: Arrays) -> Array:
    return normalised(t["x"], (0, 2, 3)) * along_channels(t["weight"], 2) + along_channels(t["bias"], 2)


def groupnorm(t: Arrays, groups: int) -> Array:
    x = t["x"]
    y = normalised(x.reshape(x.shape[0], groups, -1), (2,)).reshape(x.shape)
    return y * along_channels(t["weight"], 2) + along_channels(t["bias"], 2)


def cnn(t: Arrays) -> Array:
    h = pooled(jax.nn.relu(conv(t, "0.")), 2)
    h = pooled(jax.nn.relu(conv(t, "3.", h)), 2)
    return linear(jax.nn.relu(linear(h.reshape(h.shape[0], -1), t, "7.")), t, "9.")


# ---------------------------------------------------------------- sequences


def gru(t: Arrays) -> Array:
    x, W, b = t["x"], t["weight_hh_l0"], t["bias_hh_l0"]

    def step(h: Array, u: Array) -> tuple[Array, Array]:
        (ir, iz, im), (hr, hz, hm) = jnp.split(u, 3, axis=1), jnp.split(h @ W.T + b, 3, axis=1)
        r, z = jax.nn.sigmoid(ir + hr), jax.nn.sigmoid(iz + hz)
        h = (1 - z) * jnp.tanh(im + r * hm) + z * h
        return h, h

    zero = jnp.zeros((x.shape[1], W.shape[1]), x.dtype)
    return lax.scan(step, zero, x @ t["weight_ih_l0"].T + t["bias_ih_l0"])[1]


def char_lstm(t: Arrays) -> Array:
    h = t["0.weight"][t["x"]]
    for k in range(2):
        bias = t[f"1.bias_ih_l{k}"] + t[f"1.bias_hh_l{k}"]
        h = lstm(h, t[f"1.weight_ih_l{k}"], t[f"1.weight_hh_l{k}"], bias)
    return linear(h, t, "2.")


def encoder(
    t: Arrays,
    heads: int,
    norm_first: bool = False,
    activation: Callable[[Array], Array] = jax.nn.relu,
    of: str = "",
    x: Array | None = None,
) -> Array:
    def attention(x: Array) -> Array:
        return linear(attended(linear(x, t, f"{of}self_attn.in_proj_"), heads), t, f"{of}self_attn.out_proj.")

    def fed_forward(x: Array) -> Array:
        return linear(activation(linear(x, t, f"{of}linear1.")), t, f"{of}linear2.")

    def norm(x: Array, k: int) -> Array:
        return layer_norm(x, t[f"{of}norm{k}.weight"], t.get(f"{of}norm{k}.bias", 0.0))

    x = t["x"] if x is None else x
    if norm_first:
        x = x + attention(norm(x, 1))
        return x + fed_forward(norm(x, 2))
    x = norm(x + attention(x), 1)
    return norm(x + fed_forward(x), 2)


def gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


def tokens(t: Arrays, layers: int, heads: int) -> Array:
    h = t["0.weight"][t["x"]] + t["1.weight"]
    for k in range(layers):
        h = encoder(t, heads, activation=gelu, of=f"2.layers.{k}.", x=h)
    return linear(h, t, "3.")


# ---------------------------------------------------------------- graphs


def looped(t: Arrays) -> tuple[Array, Array]:
    """The edges, and one from every node to itself."""
    nodes = jnp.arange(t["x"].shape[0])
    return jnp.concatenate([t["source"], nodes]), jnp.concatenate([t["target"], nodes])


def gcn(t: Arrays) -> Array:
    (source, target), nodes = looped(t), t["x"].shape[0]
    h = t["x"] @ t["lin.weight"].T
    scale = lax.rsqrt(jax.ops.segment_sum(jnp.ones(target.shape, h.dtype), target, nodes))
    sent = (scale[source] * scale[target])[:, None] * h[source]
    return jax.ops.segment_sum(sent, target, nodes) + t["bias"]


def gat(t: Arrays) -> Array:
    (source, target), nodes = looped(t), t["x"].shape[0]
    _, heads, each = t["att_src"].shape
    h = (t["x"] @ t["lin.weight"].T).reshape(nodes, heads, each)
    begin, end = (h * t["att_src"]).sum(axis=2), (h * t["att_dst"]).sum(axis=2)
    scores = jax.nn.leaky_relu(begin[source] + end[target], 0.2)
    most = lax.stop_gradient(jax.ops.segment_max(scores, target, nodes))
    p = jnp.exp(scores - most[target])
    p = p / jax.ops.segment_sum(p, target, nodes)[target]
    y = jax.ops.segment_sum(p[:, :, None] * h[source], target, nodes)
    return y.reshape(nodes, heads * each) + t["bias"]


def graph_block(t: Arrays) -> tuple[Array, Array, Array]:
    E, V, u, source, target = t["E"], t["V"], t["u"], t["source"], t["target"]

    def spread(rows: int) -> Array:
        return jnp.broadcast_to(u, (rows, *u.shape))

    E = jax.nn.relu(linear(jnp.concatenate([E, V[source], V[target], spread(len(E))], axis=1), t, "edge.0."))
    most = jax.ops.segment_max(E, target, len(V))
    arriving = jnp.where(jnp.isfinite(most), most, 0.0)  # nodes without edges
    V = jax.nn.relu(linear(jnp.concatenate([arriving, V, spread(len(V))], axis=1), t, "node.0."))
    u = jax.nn.relu(linear(jnp.concatenate([E.max(axis=0), V.max(axis=0), u]), t, "graph.0."))
    return E, V, u


FORMULAS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        conv, conv_transposed, maxpool, batchnorm, groupnorm, cnn, gru, char_lstm, encoder, tokens, gcn, gat,
        graph_block,
    )
}  # fmt: skip


def layer(t: Arrays, option: Layer) -> Any:
    return FORMULAS[option.formula](t, **option.options)


def step(option: Layer, params: Arrays, data: Arrays) -> Array:
    scores = layer({**params, **data}, option)
    return cross_entropy(scores.reshape(-1, scores.shape[-1]), data["b"])
