"""JAX: one jitted function per case, parameters donated, data already on the device."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .case import ADAM_BETAS, ADAM_EPS, ADAM_RATE, LEARNING_RATE, Case, Mlp
from .layers import formulas_jax
from .layers.formulas_jax import attended, cross_entropy, layer_norm
from .runner import Kernel, Runner, Training, several

VARIANTS = ("jax",)

Arrays = Mapping[str, jax.Array]


def versions() -> str:
    return f"jax {jax.__version__}"


def make(variant: str, case: Case) -> Runner:
    return training(case) if case.training else kernel(case)


def loss_of(mlp: Mlp, params: Arrays, data: Arrays) -> jax.Array:
    h = data["a"]
    for k in range(1, mlp.layers + 1):
        h = h @ params[f"X{k}"].T + params[f"mu{k}"]
        activation = mlp.activation_of(k)
        h = jax.nn.relu(h) if activation == "relu" else jnp.tanh(h) if activation == "tanh" else h
    if mlp.loss == "mse":
        return jnp.mean((h - data["y"]) ** 2)
    return cross_entropy(h, data["b"])


def cnn(_: None, params: Arrays, data: Arrays) -> jax.Array:
    h = data["a"]
    for K, mu in (("K1", "mu1"), ("K2", "mu2")):
        u = jax.lax.conv_general_dilated(h, params[K], (1, 1), [(1, 1)] * 2) + params[mu][:, None, None]
        h = jax.lax.reduce_window(jax.nn.relu(u), -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return cross_entropy(h.reshape(h.shape[0], -1) @ params["X"].T + params["mu"], data["b"])


def transformer(layers: int, t: Arrays, data: Arrays) -> jax.Array:
    h = data["a"]
    length = h.shape[1]
    seen = np.tril(np.ones((length, length), bool))
    for k in range(layers):
        x = layer_norm(h, t[f"n{k}"], t[f"nb{k}"])
        qkv = x @ t[f"Wqkv{k}"].T + t[f"bqkv{k}"]
        h = h + attended(qkv, 4, seen) @ t[f"Wo{k}"].T + t[f"bo{k}"]
        x = layer_norm(h, t[f"m{k}"], t[f"mb{k}"])
        h = h + jax.nn.relu(x @ t[f"Wu{k}"].T + t[f"bu{k}"]) @ t[f"Wv{k}"].T + t[f"bv{k}"]
    return jnp.mean((h - data["y"]) ** 2)


LOSSES: dict[str, Callable[[Any, Arrays, Arrays], jax.Array]] = {
    "mlp": loss_of,
    "cnn": cnn,
    "transformer": transformer,
    "step": formulas_jax.step,
}
State = tuple[Arrays, Arrays, Arrays, jax.Array]  # parameters, first and second moments, steps taken


def sgd(state: State, grads: Arrays) -> State:
    params, *rest = state
    return (jax.tree.map(lambda p, d: p - LEARNING_RATE * d, params, grads), *rest)


def adam(state: State, grads: Arrays) -> State:
    params, first, second, steps = state
    (one, two), steps = ADAM_BETAS, steps + 1
    first = jax.tree.map(lambda m, d: one * m + (1 - one) * d, first, grads)
    second = jax.tree.map(lambda v, d: two * v + (1 - two) * d * d, second, grads)
    a, b = 1 - one**steps, 1 - two**steps

    def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p - ADAM_RATE * (m / a) / (jnp.sqrt(v / b) + ADAM_EPS)

    return jax.tree.map(moved, params, first, second), first, second, steps


def training(case: Case) -> Runner:
    arrays, data = case.split()
    batch = jax.device_put(data)
    state: State = ({}, {}, {}, jnp.float32(0))
    moved = adam if case.adam else sgd

    def update(state: State, data: Arrays) -> tuple[State, jax.Array]:
        value, grads = jax.value_and_grad(LOSSES[case.model], argnums=1)(case.option, state[0], data)
        return moved(state, grads), value

    jitted = jax.jit(update, donate_argnums=0)

    def reset() -> None:
        nonlocal state
        moments = ({name: jnp.zeros(x.shape, x.dtype) for name, x in arrays.items() if case.adam} for _ in range(2))
        state = ({name: jnp.array(x) for name, x in arrays.items()}, *moments, jnp.float32(0))
        jax.block_until_ready(state)

    def step() -> jax.Array:
        nonlocal state
        state, value = jitted(state, batch)
        return value

    reset()
    return Training(
        reset,
        step,
        params=lambda: {name: np.array(p) for name, p in state[0].items()},
        wait=lambda: jax.block_until_ready(state),
    )


def conv(t: Arrays, padding: int) -> jax.Array:
    return jax.lax.conv_general_dilated(t["a"], t["K"], (1, 1), [(padding, padding)] * 2)


def embedding(t: Arrays, _: None) -> jax.Array:
    return jnp.tanh(t["E"][t["idx"]])


def lstm(t: Arrays, _: None) -> jax.Array:
    return formulas_jax.lstm(t["x"], t["W_ih"], t["W_hh"], t["b_ih"] + t["b_hh"])


def attention(t: Arrays, _: None) -> jax.Array:
    length, d = t["q"].shape[-2:]
    scores = jnp.einsum("bhid,bhjd->bhij", t["q"], t["k"]) / np.float32(np.sqrt(d))
    seen = np.tril(np.ones((length, length), bool))
    p = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
    return jnp.einsum("bhij,bhjd->bhid", p, t["v"])


def layernorm(t: Arrays, _: None) -> jax.Array:
    x = t["x"]
    mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    return jax.nn.softmax((x - mean) * jax.lax.rsqrt(var + 1e-5) * t["weight"] + t["bias"], axis=1)


KERNELS: dict[str, Callable[[Arrays, Any], Any]] = {
    "conv": conv,
    "embedding": embedding,
    "lstm": lstm,
    "attention": attention,
    "layernorm": layernorm,
    "layer": formulas_jax.layer,
}


def kernel(case: Case) -> Runner:
    wrt, data = (jax.device_put(arrays) for arrays in case.split())
    formula = KERNELS[case.model]

    def value(wrt: Arrays, data: Arrays) -> jax.Array:
        outputs = several(formula({**wrt, **data}, case.option))
        return reduce(jnp.add, [jnp.vdot(y, data[g]) for y, g in zip(outputs, case.weights, strict=True)])

    jitted = jax.jit(jax.value_and_grad(value))
    return Kernel(lambda: jax.block_until_ready(jitted(wrt, data)))
