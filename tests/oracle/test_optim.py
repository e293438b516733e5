"""Optimisers, clipping and schedules: several steps in float64 against torch.optim."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret

torch = pytest.importorskip("torch")
optim = gg.optim
schedulers = torch.optim.lr_scheduler
STEPS = 7
RNG = np.random.default_rng(4)
VALUES = {"a": RNG.normal(size=(9, 3)), "b": RNG.normal(size=9), "w": RNG.normal(size=3), "c": RNG.normal(size=())}
INPUTS = {k: gg.input(k, VALUES[k].shape, dtype="float64") for k in ("a", "b")}
PARAMS = {k: gg.param(k, VALUES[k].shape, dtype="float64") for k in ("w", "c")}


def loss(m: Any, a: Any, b: Any, w: Any, c: Any) -> Any:
    return m.mean((m.tanh(a @ w) + c - b) ** 2)


LOSS = loss(gg, **INPUTS, **PARAMS)
BETAS = (0.8, 0.99)
torch_sgd, torch_adam = torch.optim.SGD, torch.optim.Adam

CASES: dict[str, tuple[Callable[[Any], dict[Tensor, Tensor]], Callable[[Any], Any]]] = {
    "sgd": (lambda y: optim.sgd(y, 0.1), lambda p: torch_sgd(p, 0.1)),
    "sgd, momentum": (lambda y: optim.sgd(y, 0.1, 0.9), lambda p: torch_sgd(p, 0.1, 0.9)),
    "sgd, nesterov and decay": (
        lambda y: optim.sgd(y, 0.1, 0.9, nesterov=True, weight_decay=0.03),
        lambda p: torch_sgd(p, 0.1, 0.9, nesterov=True, weight_decay=0.03),
    ),
    "adam": (lambda y: optim.adam(y, 0.05, BETAS), lambda p: torch_adam(p, 0.05, BETAS)),
    "adam, decay": (
        lambda y: optim.adam(y, 0.05, weight_decay=0.1),
        lambda p: torch_adam(p, 0.05, weight_decay=0.1),
    ),
    "adamw": (
        lambda y: optim.adamw(y, 0.05, BETAS, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.05, BETAS, weight_decay=0.1),
    ),
    "rmsprop": (lambda y: optim.rmsprop(y, 0.02), lambda p: torch.optim.RMSprop(p, 0.02)),
    "rmsprop, everything": (
        lambda y: optim.rmsprop(y, 0.02, 0.9, 1e-6, 0.1, 0.5, centered=True),
        lambda p: torch.optim.RMSprop(p, 0.02, 0.9, 1e-6, 0.1, 0.5, centered=True),
    ),
    "adagrad": (lambda y: optim.adagrad(y, 0.3), lambda p: torch.optim.Adagrad(p, 0.3)),
    "adagrad, decays": (
        lambda y: optim.adagrad(y, 0.3, 0.2, 0.1),
        lambda p: torch.optim.Adagrad(p, 0.3, 0.2, 0.1),
    ),
}

# ours, and PyTorch's on top of SGD with lr = 0.1
SCHEDULES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "exponential": (optim.exponential(0.1, 0.8), lambda o: schedulers.ExponentialLR(o, 0.8)),
    "step_decay": (optim.step_decay(0.1, 3, 0.5), lambda o: schedulers.StepLR(o, 3, 0.5)),
    "linear": (optim.linear(0.1, 0.02, 4), lambda o: schedulers.LinearLR(o, 1.0, 0.2, 4)),
    "polynomial": (optim.polynomial(0.1, 0.0, 5, 2.0), lambda o: schedulers.PolynomialLR(o, 5, 2.0)),
    "cosine": (
        optim.cosine(0.1, 5, 0.01),
        lambda o: schedulers.LambdaLR(o, lambda t: 0.1 + 0.45 * (1 + math.cos(math.pi * min(t / 5, 1)))),
    ),
    "warmup": (optim.warmup(0.1, 4, 0.25), lambda o: schedulers.LinearLR(o, 0.25, 1.0, 4)),
    "warmup, then exponential": (
        optim.warmup(optim.exponential(0.1, 0.9), 4, 0.25),
        lambda o: schedulers.LambdaLR(o, lambda t: 0.9**t * (0.25 + 0.75 * min(t / 4, 1))),
    ),
}


def ours(updates: dict[Tensor, Tensor]) -> dict[str, Any]:
    nodes = [t.node for t in updates]
    values: dict[str, Any] = dict(VALUES)
    for leaf in nodes:
        assert isinstance(leaf, Leaf)
        values.setdefault(leaf.name, np.zeros([s.constant or 0 for s in leaf.shape], leaf.dtype))
    outputs = [t.node for t in updates.values()]
    read = [n for n in toposort(outputs) if isinstance(n, Leaf)]
    for _ in range(STEPS):
        new = interpret(outputs, {n: np.asarray(values[n.name]) for n in read})
        values |= {str(t.name): y for t, y in zip(updates, new, strict=True)}
    return values


def theirs(make: Callable[[Any], Any], clip: Callable[[Any], None], schedule: Callable[[Any], Any] | None) -> Any:
    given = {k: torch.tensor(v, dtype=torch.float64) for k, v in VALUES.items()}
    params = [given[k].requires_grad_() for k in PARAMS]
    optimiser = make(params)
    scheduler = schedule(optimiser) if schedule is not None else None
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss(torch, **given).backward()
        clip(params)
        optimiser.step()
        if scheduler is not None:
            scheduler.step()
    return {k: given[k].detach().numpy() for k in PARAMS}


def compare(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for k in PARAMS:
        assert not np.allclose(wanted[k], VALUES[k], rtol=1e-3)
        np.testing.assert_allclose(found[k], wanted[k], rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_an_optimiser(name: str) -> None:
    mine, torchs = CASES[name]
    compare(ours(mine(LOSS)), theirs(torchs, lambda params: None, None))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule(name: str) -> None:
    mine, torchs = SCHEDULES[name]
    compare(ours(optim.sgd(LOSS, mine)), theirs(lambda p: torch_sgd(p, 0.1), lambda params: None, torchs))
    adam = theirs(lambda p: torch_adam(p, 0.1), lambda params: None, torchs)
    compare(ours(optim.adam(LOSS, mine)), adam)


@pytest.mark.parametrize("largest", [0.05, 100.0])
def test_clipping(largest: float) -> None:
    def by_norm(params: Any) -> None:
        torch.nn.utils.clip_grad_norm_(params, largest)

    def by_value(params: Any) -> None:
        torch.nn.utils.clip_grad_value_(params, largest)

    compare(
        ours(optim.sgd(optim.clip_norm(LOSS, largest), 0.3, 0.9)),
        theirs(lambda p: torch_sgd(p, 0.3, 0.9), by_norm, None),
    )
    compare(ours(optim.sgd(optim.clip_value(LOSS, largest), 0.3)), theirs(lambda p: torch_sgd(p, 0.3), by_value, None))


def test_a_compiled_step_follows_its_schedule() -> None:
    updates = optim.adamw(optim.clip_norm(LOSS, 0.5), optim.warmup(optim.cosine(0.1, 5), 3), weight_decay=0.1)
    wanted = ours(updates)
    net = gg.compile({"loss": LOSS}, updates=updates, name="scheduled", dtype="float64")
    state = {**net.init(seed=0), "w": VALUES["w"].copy(), "c": VALUES["c"].copy()}
    for _ in range(STEPS):
        net.step(state, a=VALUES["a"], b=VALUES["b"])
    for k in (*PARAMS, "adam_step"):
        np.testing.assert_allclose(state[k], wanted[k], rtol=1e-11)
