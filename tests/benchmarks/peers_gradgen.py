"""gradgen: sizes known at compile time, formulas as in the README, called through the checked wrapper."""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import gradgen as gg
from gradgen import nn

from .cases import LEARNING_RATE, Arrays, Case, Mlp
from .runner import Kernel, Runner, Training

VARIANTS = ("gradgen",)

Tensors = Mapping[str, gg.Tensor]


def versions() -> str:
    return f"gradgen {gg.__version__} (numba {version('numba')})"


def make(variant: str, case: Case) -> Runner:
    return training(case) if case.training else kernel(case)


def declare(arrays: Arrays, leaf: Callable[..., gg.Tensor]) -> dict[str, gg.Tensor]:
    return {name: leaf(name, x.shape, dtype=str(x.dtype)) for name, x in arrays.items()}


def emitted(net: gg.Network, **sizes: int) -> dict[str, int]:
    """Lines and characters of the generated module, and the bytes of the workspace for these sizes."""
    source, make = net.source, getattr(net.module, "workspace", None)
    work = () if make is None else make(*[sizes[name] for name in inspect.signature(make).parameters])
    return {
        "lines": source.count("\n"),
        "characters": len(source),
        "workspace bytes": sum(array.nbytes for array in work),
    }


def loss_of(mlp: Mlp, t: Tensors) -> gg.Tensor:
    h = t["a"]
    for k in range(1, mlp.layers + 1):
        h = h @ t[f"X{k}"].T + t[f"mu{k}"]
        activation = mlp.activation_of(k)
        h = gg.relu(h) if activation == "relu" else gg.tanh(h) if activation == "tanh" else h
    return nn.mse_loss(h, t["y"]) if mlp.loss == "mse" else nn.cross_entropy(h, t["b"])


def training(case: Case) -> Runner:
    arrays, data = case.split()
    loss = loss_of(case.option, {**declare(arrays, gg.param), **declare(data, gg.input)})
    net = gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=LEARNING_RATE), name=case.name)
    state = net.init(seed=0)

    def reset() -> None:
        for name, x in arrays.items():
            state[name][...] = x

    reset()
    return Training(
        reset,
        step=lambda: net.step(state, **data)["loss"],
        params=lambda: {name: state[name].copy() for name in arrays},
        emitted=emitted(net),
    )


def conv(t: Tensors, padding: int) -> gg.Tensor:
    n, o, c, p, q = gg.indices("n o c p q")
    height, width = t["g"].shape[2:]
    h, w = gg.index("h", height), gg.index("w", width)
    a = gg.padded(t["a"]) if padding else t["a"]
    window = a[n, c, h + p - padding, w + q - padding]
    return gg.compute((n, o, h, w), gg.sum(t["K"][o, c, p, q] * window, over=(c, p, q)))


def embedding(t: Tensors, _: None) -> gg.Tensor:
    n, f = gg.indices("n f")
    return gg.compute((n, f), gg.tanh(t["E"][t["idx"][n], f]))


def lstm(t: Tensors, _: None) -> gg.Tensor:
    hidden = t["W_hh"].shape[1]
    zero = gg.zeros((t["x"].shape[1], hidden))

    def step(carry: tuple[gg.Tensor, gg.Tensor], x: gg.Tensor) -> tuple[tuple[gg.Tensor, gg.Tensor], gg.Tensor]:
        h, c = carry
        z = x @ t["W_ih"].T + h @ t["W_hh"].T + t["b_ih"] + t["b_hh"]
        i, f, g, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
        c = gg.sigmoid(f) * c + gg.sigmoid(i) * gg.tanh(g)
        h = gg.sigmoid(o) * gg.tanh(c)
        return (h, c), h

    hs: gg.Tensor = gg.scan(step, (zero, zero), t["x"])[1]
    return hs


def attention(t: Tensors, _: None) -> gg.Tensor:
    b, h, i, j, e = gg.indices("b h i j e")
    q, k, v = t["q"], t["k"], t["v"]
    scores = gg.compute((b, h, i, j), gg.sum(q[b, h, i, e] * k[b, h, j, e], over=e) * q.shape[-1] ** -0.5)
    seen = gg.compute((b, h, i, j), gg.where(j <= i, scores[b, h, i, j], -float("inf")))
    p = nn.softmax(seen)
    return gg.compute((b, h, i, e), gg.sum(p[b, h, i, j] * v[b, h, j, e], over=j))


def layernorm(t: Tensors, _: None) -> gg.Tensor:
    x = t["x"]
    centred = x - gg.mean(x, axis=1, keepdims=True)
    var = gg.mean(gg.square(centred), axis=1, keepdims=True)
    return nn.softmax(centred / gg.sqrt(var + 1e-5) * t["weight"] + t["bias"])


KERNELS: dict[str, Callable[[Tensors, Any], gg.Tensor]] = {
    "conv": conv,
    "embedding": embedding,
    "lstm": lstm,
    "attention": attention,
    "layernorm": layernorm,
}


def kernel(case: Case) -> Runner:
    wrt, data = case.split()
    variables, rest = declare(wrt, gg.param), declare(data, gg.input)
    value = gg.sum(KERNELS[case.model]({**variables, **rest}, case.option) * rest["g"])
    net = gg.compile({"value": value}, name=case.name)
    arrays = {**wrt, **data}

    def evaluate() -> tuple[Any, Mapping[str, Any]]:
        out, grads = net.value_and_grad(**arrays)
        return out["value"], grads

    return Kernel(evaluate, emitted(net))
