"""Layers as objects: what parameters are called, where layers stand inside of layers, and what is shared."""

from copy import deepcopy

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import GraphError
from gradgen.graph.nodes import Leaf, toposort


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: gg.Tensor) -> gg.Tensor:
        return x + self.fc2(nn.relu(self.fc1(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Block(4) for _ in range(2)]
        self.out = nn.Linear(4, 2, bias=False)

    def forward(self, x: gg.Tensor) -> gg.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.out(x)


x = gg.input("x", (3, 4))


def names(y: gg.Tensor) -> list[str]:
    leaves = sorted((n for n in toposort([y.node]) if isinstance(n, Leaf)), key=lambda n: n.serial)
    return [n.name for n in leaves if n.role == "param"]


def test_a_layer_is_called_after_its_variable() -> None:
    fc1 = nn.Linear(4, 3)
    assert (fc1.name, fc1.weight.name) == ("fc1", "fc1_weight")
    assert nn.state_dict_names(fc1) == {"fc1_weight": "weight", "fc1_bias": "bias"}
    assert fc1(x) is fc1(x)


def test_layers_of_a_sequence_are_called_after_their_places() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.relu, nn.Linear(8, 2))
    assert names(net(x)) == ["net_0_weight", "net_0_bias", "net_2_weight", "net_2_bias"]
    assert list(nn.state_dict_names(net).values()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_lists_of_layers_have_numbers() -> None:
    layers = [nn.Linear(4, 4) for _ in range(3)]
    h = x
    for layer in layers:
        h = layer(h)
    assert [n for n in names(h) if "weight" in n] == ["layers_0_weight", "layers_1_weight", "layers_2_weight"]


def test_classes_of_ones_own_have_layers_lists_and_dicts_of_layers() -> None:
    first, second = Net(), Net()
    y = first(x) + second(x)
    assert [n for n in names(y) if n.endswith("fc1_weight")] == [
        "first_blocks_0_fc1_weight", "first_blocks_1_fc1_weight",
        "second_blocks_0_fc1_weight", "second_blocks_1_fc1_weight",
    ]  # fmt: skip
    assert list(nn.state_dict_names(first).values())[:3] == [
        "blocks.0.fc1.weight", "blocks.0.fc1.bias", "blocks.0.fc2.weight"
    ]  # fmt: skip
    assert len(list(first.parameters())) == 9

    class Heads(nn.Module):
        def __init__(self) -> None:
            self.heads = {"mean": nn.Linear(4, 1), "scale": nn.Linear(4, 1)}
            self.shift = nn.Parameter((1,))

        def forward(self, x: gg.Tensor) -> gg.Tensor:
            return self.heads["mean"](x) * self.heads["scale"](x) + self.shift

    heads = Heads()
    heads(x)
    assert list(nn.state_dict_names(heads)) == [
        "heads_shift", "heads_heads_mean_weight", "heads_heads_mean_bias", "heads_heads_scale_weight",
        "heads_heads_scale_bias",
    ]  # fmt: skip


def test_a_given_name_stands_in_front() -> None:
    net = nn.Sequential(nn.Linear(4, 4, name="first"), nn.MLP([4, 8, 2], name="head"))
    assert names(net(x))[::2] == ["first_weight", "head_linear1_weight", "head_linear2_weight"]
    assert list(nn.state_dict_names(net).values())[::2] == ["0.weight", "1.linear1.weight", "1.linear2.weight"]


def test_a_layer_in_two_places_has_one_set_of_parameters() -> None:
    fc = nn.Linear(4, 4)
    net = nn.Sequential(fc, nn.relu, fc)
    assert names(net(x)) == ["net_0_weight", "net_0_bias"]


def test_functions_that_make_layers_may_be_called_twice() -> None:
    """Nobody has named these parameters; in one network they get numbers, and so does what an optimiser carries."""

    def block(h: gg.Tensor) -> gg.Tensor:
        fc = nn.Linear(4, 4)
        return gg.tanh(fc(h))

    loss = gg.sum(block(block(x)))
    net = gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.1, momentum=0.9), name="twice")
    state = net.init(seed=0)
    assert sorted(state)[:4] == ["fc_bias", "fc_bias_2", "fc_bias_velocity", "fc_bias_velocity_2"]
    before = {name: array.copy() for name, array in state.items()}
    net.step(state, x=np.ones((3, 4), np.float32))
    assert all(not np.array_equal(before[name], state[name]) for name in ("fc_weight", "fc_weight_2"))


def test_copies_of_a_layer_are_layers_of_the_same_form() -> None:
    block = Block(4)
    before = names(block(x))
    copies = [deepcopy(block) for _ in range(2)]
    assert [n for n in names(copies[0](x) + copies[1](x)) if n.endswith("weight")] == [
        "copies_0_fc1_weight", "copies_0_fc2_weight", "copies_1_fc1_weight", "copies_1_fc2_weight"
    ]  # fmt: skip
    assert names(block(x)) == before
    net = Net()
    assert list(nn.state_dict_names(deepcopy(net)).values()) == list(nn.state_dict_names(net).values())


def test_names_that_are_given_twice_are_an_error() -> None:
    y = nn.Linear(4, 4, name="same")(x) + nn.Linear(4, 4, name="same")(x)
    with pytest.raises(GraphError, match="two tensors are called 'same_weight'"):
        gg.compile({"y": y}, name="same")


def test_what_a_layer_lacks() -> None:
    net = Net()
    with pytest.raises(AttributeError, match=r"Net has no attribute 'outs': did you mean \.out\?"):
        net.outs  # noqa: B018
    with pytest.raises(GraphError, match="Bare has no forward, which says what the layer computes"):
        type("Bare", (nn.Module,), {})()(x)
    with pytest.raises(GraphError, match="Sequential takes layers and functions of a tensor; 3 is none"):
        nn.Sequential(3)  # type: ignore[arg-type]


def test_numbers_of_an_mlp() -> None:
    net = nn.MLP([4, 8, 8, 2], activation=gg.tanh)
    y = net(x)
    compiled = gg.compile({"y": y}, dtype="float64", name="mlp")
    state = compiled.init(seed=0)
    h = np.ones((3, 4))
    found = compiled(x=h, **state)["y"]
    for k in (1, 2, 3):
        h = h @ state[f"net_linear{k}_weight"].T + state[f"net_linear{k}_bias"]
        h = np.tanh(h) if k < 3 else h
    np.testing.assert_allclose(found, h, rtol=1e-12)


def test_layers_show_what_they_are_made_of() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter((gg.size("K"), 3))
            self.blocks = [nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)]
            self.heads = {"a": nn.Linear(4, 1, bias=False, name="last")}
            self.whole = self

    fc1 = nn.Linear(3, 4)
    assert repr(fc1) == "Linear fc1(weight (4, 3), bias (4))"
    assert repr([nn.ReLU(), nn.Linear(3, 4, bias=False, name="fc2")]) == "[ReLU(), Linear fc2(weight (4, 3))]"
    mlp = nn.MLP([3, 5, 4], activation=gg.tanh)
    own = Own()
    assert (
        f"{mlp}\n{own}"
        == """\
MLP mlp(
  (linear1): Linear(weight (5, 3), bias (5))
  (activation1): tanh
  (linear2): Linear(weight (4, 5), bias (4))
)
Own own(
  scale (K, 3)
  (blocks.0): Linear(weight (4, 3), bias (4))
  (blocks.1): BatchNorm1d(weight (4), bias (4))
  (heads.a): Linear last(weight (1, 4))
  (whole): ...
)"""
    )
