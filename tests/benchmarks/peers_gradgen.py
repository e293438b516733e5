"""gradgen: sizes known at compile time, formulas as in the README, called through the checked wrapper."""

import inspect
import time
from collections.abc import Callable, Mapping
from functools import reduce
from importlib.metadata import version
from operator import add
from typing import Any

import gradgen as gg
from gradgen import nn

from .case import ADAM_BETAS, ADAM_EPS, ADAM_RATE, LEARNING_RATE, Arrays, Case, Layer, Mlp
from .runner import Kernel, Runner, Training, several

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


def cnn(_: None, t: Tensors) -> gg.Tensor:
    h = t["a"]
    for K, mu in (("K1", "mu1"), ("K2", "mu2")):
        n, o, c, p, q = gg.indices("n o c p q")
        i, j = gg.index("i", h.shape[2]), gg.index("j", h.shape[3])
        u = gg.compute(
            (n, o, i, j), gg.sum(t[K][o, c, p, q] * gg.padded(h)[n, c, i + p - 1, j + q - 1], over=(c, p, q))
        )
        a = gg.relu(u + t[mu][:, None, None])
        r, s = gg.index("r", 2), gg.index("s", 2)
        i, j = gg.index("i", h.shape[2] // 2), gg.index("j", h.shape[3] // 2)
        h = gg.compute((n, o, i, j), gg.max(a[n, o, 2 * i + r, 2 * j + s], over=(r, s)))
    return nn.cross_entropy(h.reshape((h.shape[0], -1)) @ t["X"].T + t["mu"], t["b"])


def transformer(layers: int, t: Tensors) -> gg.Tensor:
    h = t["a"]
    batch, length, width = h.shape
    heads = (batch, length, 4, width // 4)
    b, g, i, j, e = gg.indices("b g i j e")
    for k in range(layers):
        x = nn.layer_norm(h, t[f"n{k}"], t[f"nb{k}"])
        q, key, v = (x.reshape(heads) for x in gg.split(x @ t[f"Wqkv{k}"].T + t[f"bqkv{k}"], 3, axis=2))
        scores = gg.compute((b, g, i, j), gg.sum(q[b, i, g, e] * key[b, j, g, e], over=e) * heads[3] ** -0.5)
        seen = gg.compute((b, g, i, j), gg.where(j <= i, scores[b, g, i, j], -float("inf")))
        p = nn.softmax(seen)
        y = gg.compute((b, i, g, e), gg.sum(p[b, g, i, j] * v[b, j, g, e], over=j)).reshape(h.shape)
        h = h + (y @ t[f"Wo{k}"].T + t[f"bo{k}"])
        x = nn.layer_norm(h, t[f"m{k}"], t[f"mb{k}"])
        h = h + (gg.relu(x @ t[f"Wu{k}"].T + t[f"bu{k}"]) @ t[f"Wv{k}"].T + t[f"bv{k}"])
    return nn.mse_loss(h, t["y"])


LOSSES: dict[str, Callable[[Any, Tensors], gg.Tensor]] = {"mlp": loss_of, "cnn": cnn, "transformer": transformer}


def layer(option: Layer, arrays: Arrays, data: Tensors) -> tuple[dict[str, gg.Tensor], Any]:
    """What gradients are taken by, under the names of the case, and the outputs of the layer."""
    module = option.make(nn)
    given = declare({name: x for name, x in arrays.items() if name in option.inputs}, gg.param)
    outputs = option.call(module, *[{**given, **data}[name] for name in option.inputs])
    return {**given, **dict(nn.named_parameters(module))}, outputs


def named(arrays: Mapping[str, Any], variables: Tensors) -> dict[str, Any]:
    """The arrays of a case by the names of the program."""
    return {str(variables[name].name): x for name, x in arrays.items()}


def training(case: Case) -> Runner:
    start = time.perf_counter()
    arrays, data = case.split()
    rest = declare(data, gg.input)
    if case.model == "step":
        variables, scores = layer(case.option, arrays, rest)
        loss = nn.cross_entropy(scores.reshape(-1, scores.shape[-1]), rest["b"])
    else:
        variables = declare(arrays, gg.param)
        loss = LOSSES[case.model](case.option, {**variables, **rest})
    adam = gg.optim.adam(loss, lr=ADAM_RATE, betas=ADAM_BETAS, eps=ADAM_EPS) if case.adam else None
    net = gg.compile({"loss": loss}, updates=adam or gg.optim.sgd(loss, lr=LEARNING_RATE), name=case.name)
    passes_s = time.perf_counter() - start
    state = net.init(seed=0)
    first = {**{name: x.copy() for name, x in state.items()}, **named(arrays, variables)}

    def reset() -> None:
        for name, x in first.items():
            state[name][...] = x

    reset()
    return Training(
        reset,
        step=lambda: net.step(state, **data)["loss"],
        params=lambda: {name: state[str(x.name)].copy() for name, x in variables.items()},
        emitted=emitted(net),
        passes_s=passes_s,
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
    start = time.perf_counter()
    wrt, data = case.split()
    rest = declare(data, gg.input)
    if case.model == "layer":
        variables, outputs = layer(case.option, wrt, rest)
    else:
        variables = declare(wrt, gg.param)
        outputs = KERNELS[case.model]({**variables, **rest}, case.option)
    value = reduce(add, [gg.sum(y * rest[g]) for y, g in zip(several(outputs), case.weights, strict=True)])
    net = gg.compile({"value": value}, name=case.name)
    passes_s = time.perf_counter() - start
    arrays = {**named(wrt, variables), **data}
    own = {name: str(x.name) for name, x in variables.items()}

    def evaluate() -> tuple[Any, Mapping[str, Any]]:
        out, grads = net.value_and_grad(**arrays)
        return out["value"], {name: grads[key] for name, key in own.items()}

    return Kernel(evaluate, emitted(net), passes_s)
