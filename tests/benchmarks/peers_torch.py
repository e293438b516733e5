"""PyTorch: eager, and compiled by Inductor. Threads as PyTorch chooses them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from .cases import LEARNING_RATE, Case, Mlp
from .runner import Kernel, Runner, Training

VARIANTS = ("torch eager", "torch compiled")

Tensors = Mapping[str, torch.Tensor]


def versions() -> str:
    return f"torch {torch.__version__} ({torch.get_num_threads()} threads)"


def make(variant: str, case: Case) -> Runner:
    if case.training and case.model != "mlp":
        raise NotImplementedError(f"{case.model} is not written for PyTorch")
    compiled = variant == "torch compiled"
    return training(case, compiled) if case.training else kernel(case, compiled)


def tensors(arrays: Mapping[str, Any], trained: bool) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(x.copy()).requires_grad_(trained) for name, x in arrays.items()}


def loss_of(mlp: Mlp, t: Tensors) -> torch.Tensor:
    h = t["a"]
    for k in range(1, mlp.layers + 1):
        h = F.linear(h, t[f"X{k}"], t[f"mu{k}"])
        activation = mlp.activation_of(k)
        h = torch.relu(h) if activation == "relu" else torch.tanh(h) if activation == "tanh" else h
    return F.mse_loss(h, t["y"]) if mlp.loss == "mse" else F.cross_entropy(h, t["b"])


def training(case: Case, compiled: bool) -> Runner:
    """Eager: autograd and one foreach update. Compiled: the whole step is one graph, update included."""
    arrays, data = case.split()
    params, batch = tensors(arrays, trained=not compiled), tensors(data, trained=False)
    leaves = list(params.values())

    def eager_step() -> torch.Tensor:
        value = loss_of(case.option, {**params, **batch})
        grads = torch.autograd.grad(value, leaves)
        with torch.no_grad():
            torch._foreach_add_(leaves, grads, alpha=-LEARNING_RATE)
        return value.detach()

    @torch.compile
    def compiled_step(params: Tensors, batch: Tensors) -> torch.Tensor:
        grads, value = torch.func.grad_and_value(lambda p: loss_of(case.option, {**p, **batch}))(params)
        for name, p in params.items():
            p.sub_(grads[name], alpha=LEARNING_RATE)
        return value

    def reset() -> None:
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(torch.from_numpy(arrays[name]))

    step = partial(compiled_step, params, batch) if compiled else eager_step
    return Training(reset, step, lambda: {name: p.detach().numpy().copy() for name, p in params.items()})


def conv(t: Tensors, padding: int) -> torch.Tensor:
    return F.conv2d(t["a"], t["K"], padding=padding)


def embedding(t: Tensors, _: None) -> torch.Tensor:
    return torch.tanh(F.embedding(t["idx"], t["E"]))


@torch.compiler.disable  # as Dynamo itself does for nn.LSTM: unrolled, it compiles for minutes and runs slower
def lstm(t: Tensors, _: None) -> torch.Tensor:
    weights = [t["W_ih"], t["W_hh"], t["b_ih"], t["b_hh"]]
    zero = t["x"].new_zeros(1, t["x"].shape[1], t["W_hh"].shape[1])
    return torch.lstm(t["x"], (zero, zero), weights, True, 1, 0.0, True, False, False)[0]


def attention(t: Tensors, _: None) -> torch.Tensor:
    return F.scaled_dot_product_attention(t["q"], t["k"], t["v"], is_causal=True)


def layernorm(t: Tensors, _: None) -> torch.Tensor:
    return F.softmax(F.layer_norm(t["x"], t["x"].shape[1:], t["weight"], t["bias"]), dim=1)


KERNELS: dict[str, Callable[[Tensors, Any], torch.Tensor]] = {
    "conv": conv,
    "embedding": embedding,
    "lstm": lstm,
    "attention": attention,
    "layernorm": layernorm,
}


def kernel(case: Case, compiled: bool) -> Runner:
    arrays, data = case.split()
    wrt, rest = tensors(arrays, trained=True), tensors(data, trained=False)
    leaves, g = list(wrt.values()), rest["g"]
    formula = KERNELS[case.model]

    def out() -> torch.Tensor:
        return formula({**wrt, **rest}, case.option)

    forward = torch.compile(out) if compiled else out

    def evaluate() -> tuple[torch.Tensor, Tensors]:
        y = forward()
        value = torch.dot(y.detach().reshape(-1), g.reshape(-1))
        return value, dict(zip(wrt, torch.autograd.grad(y, leaves, g), strict=True))

    return Kernel(evaluate)
