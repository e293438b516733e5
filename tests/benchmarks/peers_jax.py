"""JAX: one jitted function per case, parameters donated, data already on the device."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .cases import LEARNING_RATE, Case, Mlp
from .runner import Kernel, Runner, Training

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
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), data["b"][:, None], axis=1))


def training(case: Case) -> Runner:
    arrays, data = case.split()
    batch = jax.device_put(data)
    params: dict[str, jax.Array] = {}

    def update(params: Arrays, data: Arrays) -> tuple[Arrays, jax.Array]:
        value, grads = jax.value_and_grad(loss_of, argnums=1)(case.option, params, data)
        return jax.tree.map(lambda p, d: p - LEARNING_RATE * d, params, grads), value

    jitted = jax.jit(update, donate_argnums=0)

    def reset() -> None:
        nonlocal params
        params = {name: jnp.array(x) for name, x in arrays.items()}
        jax.block_until_ready(params)

    def step() -> jax.Array:
        nonlocal params
        params, value = jitted(params, batch)
        return value

    reset()
    return Training(
        reset,
        step,
        params=lambda: {name: np.array(p) for name, p in params.items()},
        wait=lambda: jax.block_until_ready(params),
    )


def conv(t: Arrays, padding: int) -> jax.Array:
    return jax.lax.conv_general_dilated(t["a"], t["K"], (1, 1), [(padding, padding)] * 2)


def embedding(t: Arrays, _: None) -> jax.Array:
    return jnp.tanh(t["E"][t["idx"]])


def lstm(t: Arrays, _: None) -> jax.Array:
    zero = jnp.zeros((t["x"].shape[1], t["W_hh"].shape[1]), t["x"].dtype)
    inputs = t["x"] @ t["W_ih"].T + (t["b_ih"] + t["b_hh"])

    def step(carry: tuple[jax.Array, jax.Array], u: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        h, c = carry
        i, f, g, o = jnp.split(u + h @ t["W_hh"].T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return jax.lax.scan(step, (zero, zero), inputs)[1]


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


KERNELS: dict[str, Callable[[Arrays, Any], jax.Array]] = {
    "conv": conv,
    "embedding": embedding,
    "lstm": lstm,
    "attention": attention,
    "layernorm": layernorm,
}


def kernel(case: Case) -> Runner:
    wrt, data = (jax.device_put(arrays) for arrays in case.split())
    formula = KERNELS[case.model]

    def value(wrt: Arrays, data: Arrays) -> jax.Array:
        return jnp.vdot(formula({**wrt, **data}, case.option), data["g"])

    jitted = jax.jit(jax.value_and_grad(value))
    return Kernel(lambda: jax.block_until_ready(jitted(wrt, data)))
