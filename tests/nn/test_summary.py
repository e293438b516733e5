"""The table of a network: places, shapes, parameters, operations."""

import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import GraphError

N = gg.size("N")


def test_a_network_with_its_shapes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))
    assert (
        nn.summary(net, gg.input("x", (N, 1, 8, 8)))
        == """\
layer               output        parameters  operations
--------------------------------------------------------
(all)   Sequential  (N, 10)            1,370     13322*N
0       Conv2d      (N, 8, 8, 8)          80      9728*N
1       ReLU        (N, 8, 8, 8)           0       512*N
2       MaxPool2d   (N, 8, 4, 4)           0       512*N
3       Flatten     (N, 128)               0           0
4       Linear      (N, 10)            1,290      2570*N
--------------------------------------------------------
in all                                 1,370     13322*N"""
    )


def test_what_is_shared_is_counted_once_in_all_and_calls_are_added_up() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.first = self.again = nn.Linear(4, 4, bias=False)

        def forward(self, x: gg.Tensor) -> gg.Tensor:
            return self.again(self.first(x))

    lines = nn.summary(Twice(), gg.input("x", (3, 4))).splitlines()
    assert [line.split()[-2:] for line in lines[2:4]] == [["16", "192"], ["16", "192"]]
    assert lines[-1].split()[-2:] == ["16", "192"]


def test_loops_count_their_steps() -> None:
    rnn = nn.RNN(2, 3, bias=False)
    last = nn.summary(rnn, gg.input("x", (gg.size("T"), 1, 2))).splitlines()[-1]
    assert last.split() == ["in", "all", "15", "36*T"]  # 3 (2 (2 + 3) + 2), a sum and a tanh


def test_without_inputs_there_are_names_and_parameters() -> None:
    assert (
        nn.summary({"first": nn.Linear(2, 3), "others": [nn.ReLU()]})
        == """\
layer             parameters
----------------------------
first     Linear           9
others.0  ReLU             0
----------------------------
in all                     9"""
    )


def test_several_layers_cannot_be_called() -> None:
    with pytest.raises(GraphError) as caught:
        nn.summary([nn.ReLU()], gg.input("x", (2,)))
    assert str(caught.value).split(": ", 1)[1] == (
        "nn.summary calls one layer, and is given a list: leave the inputs out."
    )


@pytest.mark.parametrize("inputs", [(), (gg.input("x", (2, 3)),)])
def test_a_compiled_network_is_no_layer(inputs: tuple[gg.Tensor, ...]) -> None:
    mlp = nn.MLP([3, 4])
    net = gg.compile(mlp(gg.input("x", (2, 3))), name="mlp")
    with pytest.raises(GraphError) as caught:
        nn.summary(net, *inputs)
    assert str(caught.value).split(": ", 1)[1] == (
        "nn.summary takes layers, not a Network: give the layer that the network is made of, as in nn.summary(mlp, x)."
    )
