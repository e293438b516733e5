"""PyTorch: eager, and compiled by Inductor. Threads as PyTorch chooses them."""

from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F

from .case import ADAM_BETAS, ADAM_EPS, ADAM_RATE, LEARNING_RATE, Arrays, Case, Layer, Mlp
from .layers.graph_torch import LAYERS
from .runner import Kernel, Runner, Training, several

VARIANTS = ("torch eager", "torch compiled")

Tensors = Mapping[str, torch.Tensor]


def versions() -> str:
    return f"torch {torch.__version__} ({torch.get_num_threads()} threads)"


def make(variant: str, case: Case) -> Runner:
    if case.training and case.model not in ("mlp", "step"):
        raise NotImplementedError(f"{case.name} is not written for PyTorch")
    runner = step if case.model == "step" else training if case.training else kernel
    return runner(case, variant == "torch compiled")


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

    step = partial(compiled_step, params, batch) if compiled else eager_step
    return Training(partial(fill, params, arrays), step, partial(copies, params))


def fill(params: Tensors, arrays: Arrays) -> None:
    with torch.no_grad():
        for name, p in params.items():
            p.copy_(torch.from_numpy(arrays[name]))


def copies(params: Tensors) -> Arrays:
    return {name: p.detach().numpy().copy() for name, p in params.items()}


def layer(option: Layer, arrays: Arrays, data: Tensors) -> tuple[dict[str, torch.Tensor], Callable[[], Any]]:
    """What gradients are taken by, of a layer with these parameters and inputs; and what computes its outputs."""
    module = option.make(LAYERS)
    given = tensors({name: x for name, x in arrays.items() if name in option.inputs}, trained=True)
    module.load_state_dict({name: torch.from_numpy(x) for name, x in arrays.items() if name not in given})
    inputs = [{**given, **data}[name] for name in option.inputs]
    return {**given, **dict(module.named_parameters())}, lambda: option.call(module, *inputs)


def step(case: Case, compiled: bool) -> Runner:
    """The loss of layers, autograd, and PyTorch's own Adam. Compiled: the loss and its gradient."""
    arrays, data = case.split()
    batch = tensors(data, trained=False)
    params, scores = layer(case.option, arrays, batch)
    adam = torch.optim.Adam(params.values(), lr=ADAM_RATE, betas=ADAM_BETAS, eps=ADAM_EPS, fused=True)

    def loss() -> torch.Tensor:
        return F.cross_entropy(scores().flatten(0, -2), batch["b"])

    value_of = torch.compile(loss) if compiled else loss

    def one_step() -> torch.Tensor:
        value = value_of()
        adam.zero_grad()
        value.backward()
        adam.step()
        return value.detach()

    def reset() -> None:
        fill(params, arrays)
        adam.state.clear()

    return Training(reset, one_step, partial(copies, params))


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
    rest = tensors(data, trained=False)
    if case.model == "layer":
        wrt, out = layer(case.option, arrays, rest)
    else:
        wrt = tensors(arrays, trained=True)
        out = partial(KERNELS[case.model], {**wrt, **rest}, case.option)
    leaves, weights = list(wrt.values()), [rest[g] for g in case.weights]
    forward = torch.compile(out) if compiled else out

    def evaluate() -> tuple[torch.Tensor, Tensors]:
        ys = several(forward())
        values = [torch.dot(y.detach().reshape(-1), g.reshape(-1)) for y, g in zip(ys, weights, strict=True)]
        return reduce(torch.add, values), dict(zip(wrt, torch.autograd.grad(ys, leaves, weights), strict=True))

    return Kernel(evaluate)
