"""PyTensor in its Numba mode, parameters as shared variables, inputs trusted.

Its releases pin Numba, so it usually lives in an environment of its own; this module and what it
imports of the benchmark need nothing but NumPy and PyTensor.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from .case import LEARNING_RATE, Arrays, Case, Mlp
from .runner import Kernel, Runner, Training

VARIANTS = ("pytensor",)
MODE = "NUMBA"

Variables = Mapping[str, Any]


def versions() -> str:
    import numba

    return f"pytensor {pytensor.__version__} (numba {numba.__version__})"


def make(variant: str, case: Case) -> Runner:
    if case.model == "layer" or (case.training and case.model != "mlp"):
        raise NotImplementedError(f"{case.name} is not written for PyTensor")
    return training(case) if case.training else kernel(case)


def shared(arrays: Arrays) -> dict[str, Any]:
    return {name: pytensor.shared(x.copy(), name=name, shape=x.shape) for name, x in arrays.items()}


def loss_of(mlp: Mlp, t: Variables) -> Any:
    h = t["a"]
    for k in range(1, mlp.layers + 1):
        h = h @ t[f"X{k}"].T + t[f"mu{k}"]
        activation = mlp.activation_of(k)
        h = pt.maximum(h, np.float32(0)) if activation == "relu" else pt.tanh(h) if activation == "tanh" else h
    if mlp.loss == "mse":
        return pt.mean((h - t["y"]) ** 2)
    return -pt.mean(pt.special.log_softmax(h, axis=1)[pt.arange(t["b"].shape[0]), t["b"]])


def stacked_loss(mlp: Mlp, t: Variables) -> Any:
    """Equal layers as one scan over their stacked parameters: unrolled, 100 of them compile for many minutes."""

    def layer(x: Any, mu: Any, h: Any) -> Any:
        return pt.tanh(h @ x.T + mu)

    hs = pytensor.scan(layer, [t["X"], t["mu"]], [t["a"]], return_updates=False)
    return pt.mean((hs[-1] - t["y"]) ** 2)


def stack(mlp: Mlp, arrays: Arrays) -> Arrays:
    return {name: np.stack([arrays[f"{name}{k}"] for k in range(1, mlp.layers + 1)]) for name in ("X", "mu")}


def unstack(mlp: Mlp, arrays: Arrays) -> Arrays:
    return {f"{name}{k}": arrays[name][k - 1] for name in ("X", "mu") for k in range(1, mlp.layers + 1)}


def training(case: Case) -> Runner:
    mlp = case.option
    arrays, data = case.split()
    if mlp.equal:
        arrays = stack(mlp, arrays)
    params = shared(arrays)
    batch = {name: pt.tensor(name, dtype=str(x.dtype), shape=x.shape) for name, x in data.items()}
    loss = (stacked_loss if mlp.equal else loss_of)(mlp, {**params, **batch})
    grads = pytensor.grad(loss, list(params.values()))
    updates = [(p, p - np.float32(LEARNING_RATE) * d) for p, d in zip(params.values(), grads, strict=True)]
    step = pytensor.function(list(batch.values()), loss, updates=updates, mode=MODE, trust_input=True)

    def reset() -> None:
        for name, p in params.items():
            p.set_value(arrays[name])

    def values() -> Arrays:
        found = {name: p.get_value() for name, p in params.items()}
        return unstack(mlp, found) if mlp.equal else found

    return Training(reset, lambda: step(*data.values()), values)


def embedding(t: Variables, _: None) -> Any:
    return pt.tanh(t["E"][t["idx"]])


def lstm(t: Variables, _: None) -> Any:
    steps, batch, _width = t["x"].type.shape
    hidden = t["W_hh"].type.shape[1]
    inputs = t["x"] @ t["W_ih"].T + (t["b_ih"] + t["b_hh"])
    zero = pt.zeros((batch, hidden), dtype="float32")

    def step(u: Any, h: Any, c: Any, w: Any) -> list[Any]:
        z = u + h @ w.T
        i, f, g, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
        c = pt.sigmoid(f) * c + pt.sigmoid(i) * pt.tanh(g)
        return [pt.sigmoid(o) * pt.tanh(c), c]

    (hs, _cs), _updates = pytensor.scan(step, [inputs], [zero, zero], non_sequences=[t["W_hh"]], n_steps=steps)
    return hs


def attention(t: Variables, _: None) -> Any:
    length, d = t["q"].type.shape[-2:]
    scores = t["q"] @ t["k"].swapaxes(-1, -2) / np.float32(np.sqrt(d))
    seen = np.tril(np.ones((length, length), bool))
    p = pt.special.softmax(pt.where(seen, scores, np.float32(-np.inf)), axis=-1)
    return p @ t["v"]


def layernorm(t: Variables, _: None) -> Any:
    x = t["x"]
    centred = x - x.mean(axis=1, keepdims=True)
    var = (centred**2).mean(axis=1, keepdims=True)
    return pt.special.softmax(centred / pt.sqrt(var + np.float32(1e-5)) * t["weight"] + t["bias"], axis=1)


KERNELS: dict[str, Callable[[Variables, Any], Any]] = {
    "embedding": embedding,
    "lstm": lstm,
    "attention": attention,
    "layernorm": layernorm,
}


def kernel(case: Case) -> Runner:
    if case.model not in KERNELS:
        raise NotImplementedError(f"PyTensor has no {case.model} of several channels")
    wrt, data = case.split()
    arrays = {**wrt, **data}
    t = {name: pt.tensor(name, dtype=str(x.dtype), shape=x.shape) for name, x in arrays.items()}
    value = pt.sum(KERNELS[case.model](t, case.option) * t["g"])
    grads = pytensor.grad(value, [t[name] for name in wrt])
    function = pytensor.function(list(t.values()), [value, *grads], mode=MODE, trust_input=True)

    def evaluate() -> tuple[Any, Mapping[str, Any]]:
        value, *grads = function(*arrays.values())
        return value, dict(zip(wrt, grads, strict=True))

    return Kernel(evaluate)
