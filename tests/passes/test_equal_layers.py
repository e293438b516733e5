"""Equal layers written one after the other are one loop over stacked parameters, with the same numbers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.graph.nodes import Project, all_inputs, toposort
from gradgen.machine import CPU, using
from gradgen.network import Network
from tests.cpu.running import assert_close, unjitted

Model = tuple[dict[str, gg.Tensor], gg.Tensor]  # outputs; the loss
B = gg.size("B")
D = 5
LOOPS, NO_LOOPS = replace(CPU, layers=8), replace(CPU, layers=10**9, layer=0)


def weights(k: int, name: str = "W", shape: tuple[int, ...] = (D, D)) -> gg.Tensor:
    return gg.param(f"{name}{k}", shape)


def inputs() -> gg.Tensor:
    return gg.input("x", (B, D))


def plain(count: int = 6) -> Model:
    h = inputs()
    for k in range(count):
        h = gg.tanh(h @ weights(k).T + weights(k, "b", (D,)))
    loss = gg.mean(h**2)
    return {"loss": loss}, loss


def residual() -> Model:
    """Two ways from layer to layer, and something from outside that every layer reads."""
    x = inputs()
    scale, h, g = gg.param("scale", ()), x, x * 0.5
    for k in range(6):
        u = gg.sin(h @ weights(k) + x * scale)
        h, g = h + u * g, g + 0.1 * u
    loss = gg.sum(h * g)
    return {"loss": loss, "h": h}, loss


def alternating() -> Model:
    h = inputs()
    for k in range(5):
        h = gg.tanh(h @ weights(2 * k))
        h = gg.relu(h @ weights(2 * k + 1)) + weights(k, "c", (D,))
    loss = gg.mean(gg.square(h))
    return {"loss": loss}, loss


def between_others() -> Model:
    """The first layer and the last have other widths."""
    h = gg.tanh(gg.input("z", (B, 3)) @ gg.param("first", (3, D)))
    for k in range(5):
        h = gg.tanh(h @ weights(k) + weights(k, "b", (D,)))
    scores = h @ gg.param("last", (D, 4))
    loss = nn.cross_entropy(scores, gg.input("label", (B,), dtype="int64"))
    return {"loss": loss, "scores": scores}, loss


def two_stacks() -> Model:
    h = inputs()
    for k in range(5):
        h = gg.tanh(h @ weights(k))
    h = h @ gg.param("P", (D, 4))
    for k in range(6):
        h = gg.sin(h @ weights(k, "V", (4, 4)))
    loss = gg.sum(h**2)
    return {"loss": loss}, loss


def read_on_the_way() -> Model:
    """What a layer hands on is also read by somebody else, at every layer."""
    h, total = inputs(), gg.zeros(())
    for k in range(5):
        h = gg.tanh(h @ weights(k))
        total = total + gg.mean(h**2)
    return {"loss": total, "last": h}, total


def normalised() -> Model:
    h = inputs()
    for k in range(5):
        h = h + gg.relu(nn.layer_norm(h, weights(k, "n", (D,)), weights(k, "o", (D,))) @ weights(k))
    loss = gg.mean(h**2)
    return {"loss": loss}, loss


def sums_on_the_way() -> Model:
    """What is read inside of a layer makes a sum that goes from layer to layer."""
    h, total = inputs(), gg.zeros(())
    for k in range(6):
        u = h @ weights(k)
        total = total + gg.sum(gg.abs(u))
        h = gg.tanh(u)
    loss = total + gg.sum(h)
    return {"loss": loss}, loss


def scaled() -> Model:
    """Every layer has a number of its own."""
    h = inputs()
    for k in range(6):
        h = gg.tanh(h @ weights(k) * weights(k, "s", ()) + weights(k, "b", (D,)))
    loss = gg.mean(h**2)
    return {"loss": loss}, loss


def transformer() -> Model:
    """Causal attention with two heads, and what follows it: reshapes, masks and products of every kind in one layer."""
    h = gg.input("x", (2, 3, 8))
    b, g, i, j, e = gg.indices("b g i j e")
    for k in range(4):
        u = nn.layer_norm(h, weights(k, "n", (8,)), weights(k, "m", (8,)))
        q, key, v = (
            x.reshape((2, 3, 2, 4))
            for x in gg.split(u @ weights(k, "A", (24, 8)).T + weights(k, "a", (24,)), 3, axis=2)
        )
        scores = gg.compute((b, g, i, j), gg.sum(q[b, i, g, e] * key[b, j, g, e], over=e) * 0.5)
        p = nn.softmax(gg.compute((b, g, i, j), gg.where(j <= i, scores[b, g, i, j], -float("inf"))))
        y = gg.compute((b, i, g, e), gg.sum(p[b, g, i, j] * v[b, j, g, e], over=j)).reshape((2, 3, 8))
        h = h + y @ weights(k, "O", (8, 8)).T
        u = nn.layer_norm(h, weights(k, "r", (8,)), weights(k, "s", (8,)))
        h = h + gg.relu(u @ weights(k, "U", (16, 8)).T + weights(k, "u", (16,))) @ weights(k, "V", (8, 16)).T
    loss = gg.mean(h**2)
    return {"loss": loss}, loss


MODELS: tuple[Callable[[], Model], ...] = (
    plain,
    residual,
    alternating,
    between_others,
    two_stacks,
    read_on_the_way,
    normalised,
    sums_on_the_way,
    scaled,
    transformer,
)


def compiled(model: Model, thresholds: Any, updates: Any = None, **options: Any) -> Network:
    outputs, _ = model
    with using(thresholds):
        return unjitted(gg.compile(outputs, loss="loss", updates=updates, name="layers", **options))


def arrays(net: Network, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for x in net.interface.leaves:
        shape = [3 if e == "B" else int(e) for e in x.shape]
        drawn = rng.integers(0, 4, shape) if x.dtype == "int64" else 0.5 * rng.standard_normal(shape)
        found[x.name] = np.asarray(drawn, x.dtype)
    return found


def has_loop(net: Network) -> bool:
    return any(isinstance(n, Project) for n in toposort(list(net.compiled.outputs.values()), all_inputs))


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        *((model, "float64") for model in MODELS if model is not transformer),
        (between_others, "float32"),
        pytest.param(transformer, "float64", marks=pytest.mark.repeats),  # as long as all others
    ],
)
def test_the_numbers_are_those_of_the_layers(model: Callable[[], Model], dtype: str) -> None:
    looped, written = compiled(model(), LOOPS, dtype=dtype), compiled(model(), NO_LOOPS, dtype=dtype)
    assert looped.interface.stacks
    assert [x.name for x in looped.interface.leaves] == [x.name for x in written.interface.leaves]
    given = arrays(written)
    for net in (looped, written):
        out, saved = net.forward(**given)
        pulled = net.backward(saved, loss=0.7)
        if net is looped:
            found, joint, apart = out, net.value_and_grad(**given)[1], pulled
    for name, value in out.items():
        assert_close(found[name], value, dtype, name)
    wanted = written.value_and_grad(**given)[1]
    assert set(joint) == set(wanted)
    for name, g in wanted.items():
        assert_close(joint[name], g, dtype, name)
        assert_close(apart[name], pulled[name], dtype, name)


OPTIMISERS: dict[str, Callable[[gg.Tensor], Any]] = {
    "sgd": lambda loss: gg.optim.sgd(loss, lr=0.1),
    "momentum": lambda loss: gg.optim.sgd(loss, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda loss: gg.optim.adam(loss, lr=0.01),
    "adamw": lambda loss: gg.optim.adamw(loss, lr=gg.optim.cosine(0.01, 10)),
    "clipped": lambda loss: gg.optim.rmsprop(gg.optim.clip_norm(loss, 0.1), lr=0.01),
}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (between_others, "clipped"),
        (between_others, "adamw"),
        (two_stacks, "adam"),
        (normalised, "momentum"),
        pytest.param(residual, "clipped", marks=pytest.mark.repeats),
        pytest.param(between_others, "momentum", marks=pytest.mark.repeats),
        pytest.param(between_others, "adam", marks=pytest.mark.repeats),
        pytest.param(between_others, "sgd", marks=pytest.mark.repeats),
        pytest.param(scaled, "momentum", marks=pytest.mark.repeats),
    ],
)
def test_steps_are_those_of_the_layers(model: Callable[[], Model], name: str) -> None:
    nets = []
    for thresholds in (LOOPS, NO_LOOPS):
        built = model()
        nets.append(compiled(built, thresholds, OPTIMISERS[name](built[1]), dtype="float64"))
    looped, written = nets
    assert looped.interface.stacks
    given = arrays(written)
    drawn = {x.name for x in written.interface.leaves if x.role == "param"}
    first = {**written.init(), **{name: given[name] for name in drawn}}
    states = [net.stack({k: first[k].copy() for k in net.init()}) for net in nets]
    data = {k: v for k, v in given.items() if k not in first}
    for _ in range(3):
        losses = [net.step(state, **data)["loss"] for net, state in zip(nets, states, strict=True)]
        assert_close(losses[0], losses[1], "float64")
    assert states[0].keys() == states[1].keys()
    for key, value in states[1].items():
        assert_close(states[0][key], value, "float64", key)


def shared_weights() -> Model:
    h, w = inputs(), weights(0)
    for _ in range(6):
        h = gg.tanh(h @ w)
    loss = gg.sum(h)
    return {"loss": loss}, loss


def inside_of_a_layer() -> Model:
    """Somebody reads what no layer hands on."""
    h, read = inputs(), []
    for k in range(6):
        u = h @ weights(k)
        h = gg.tanh(u)
        read += [u, h]
    loss = gg.sum(h * gg.square(read[6]) * read[5])
    return {"loss": loss}, loss


def different() -> Model:
    h = inputs()
    for k in range(6):
        h = gg.tanh(h @ weights(k)) if k % 3 else gg.sin(h @ weights(k, "V", (D, D)) * (k + 1))
    loss = gg.sum(h)
    return {"loss": loss}, loss


@pytest.mark.parametrize("model", [shared_weights, inside_of_a_layer, different])
def test_what_is_no_loop_stays(model: Callable[[], Model]) -> None:
    assert not has_loop(compiled(model(), LOOPS))


def test_layers_that_are_frozen_are_no_rows_of_what_is_updated() -> None:
    outputs, loss = plain()
    updates = {x: y for x, y in gg.optim.sgd(loss, lr=0.1).items() if x.name != "W2"}
    net = compiled((outputs, loss), LOOPS, updates)
    assert not has_loop(net)
    state = net.init()
    before = {name: value.copy() for name, value in state.items()}
    net.step(state, x=np.ones((2, D), np.float32))
    assert [name for name in state if np.array_equal(state[name], before[name])] == ["W2"]


def test_gradients_by_some_layers_only() -> None:
    outputs, _ = plain()
    some = [x for x in gg.optim.sgd(outputs["loss"], lr=0.1) if x.name in ("W1", "W4", "b4")]
    nets = [compiled((outputs, outputs["loss"]), t, wrt=some) for t in (LOOPS, NO_LOOPS)]
    assert not has_loop(nets[0])
    none = compiled((outputs, outputs["loss"]), LOOPS, wrt=[])
    assert has_loop(none)
    given = arrays(nets[0])
    assert_close(none(**given)["loss"], nets[1](**given)["loss"], "float32")
    assert set(nets[0].value_and_grad(**given)[1]) == {"W1", "W4", "b4"}


def test_a_penalty_on_a_gradient_is_derived_layer_by_layer() -> None:
    outputs, loss = plain()
    w = next(x for x in gg.optim.sgd(loss, lr=0.1) if x.name == "W3")
    penalised = loss + gg.sum(gg.grad(loss, w) ** 2)
    nets = [compiled((outputs, loss), t, gg.optim.sgd(penalised, lr=0.1), dtype="float64") for t in (LOOPS, NO_LOOPS)]
    states = [net.init() for net in nets]
    for net, state in zip(nets, states, strict=True):
        net.step(state, x=np.linspace(-1, 1, 2 * D).reshape(2, D))
    for key, value in states[1].items():
        assert_close(states[0][key], value, "float64", key)


def test_text_does_not_grow_with_the_depth() -> None:
    short, long = (compiled(plain(count), LOOPS) for count in (10, 30))
    assert len(long.source.splitlines()) == len(short.source.splitlines())
