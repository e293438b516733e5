"""What `gg.compile` says of states that a step of training should change, and does not."""

import warnings

import pytest

import gradgen as gg
from gradgen import nn
from gradgen.asked import asked_model
from gradgen.errors import StatesWarning

N = gg.size("N")
X = gg.input("x", (N, 4))


def asked(loss: gg.Tensor, updates: dict[gg.Tensor, gg.Tensor] | None) -> None:
    asked_model({"loss": loss}, "model", None, updates, None)


def lossy(layers: nn.Module) -> gg.Tensor:
    return gg.mean(layers(X) ** 2)


def test_steps_that_dropout_does_not_count_are_told() -> None:
    layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    loss = lossy(layers)
    with pytest.warns(StatesWarning) as caught:
        gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.1), name="same")
    (told,) = caught
    assert str(told.message) == (
        "no update changes dropout_step, so that every step drops the same elements. Give updates=... | "
        "nn.running_updates(layer)."
    )
    assert told.filename == __file__


def test_a_layer_that_nobody_holds_drops_the_same_elements_too() -> None:
    loss = gg.mean((nn.Dropout(0.5)(X) * gg.param("held_by_none", (4,))) ** 2)
    with pytest.warns(StatesWarning, match=r"^no update changes dropout_step, so"):
        asked(loss, gg.optim.sgd(loss, lr=0.1))


def test_dropout_inside_a_scan_is_told() -> None:
    drop, w = nn.Dropout(0.5), gg.param("w", (4,))
    last, _ = gg.scan(lambda h, x: (h + drop(x) * w, None), gg.zeros((4,)), gg.input("xs", (N, 4)))
    with pytest.warns(StatesWarning, match=r"^no update changes dropout_step, so"):
        asked(gg.sum(last), gg.optim.sgd(gg.sum(last), lr=0.1))


def test_statistics_that_are_never_learned_are_told_with_all_that_is_left_alone() -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    loss = lossy(net)
    with pytest.warns(StatesWarning) as caught:
        asked(loss, gg.optim.sgd(loss, lr=0.1))
    (told,) = caught
    assert str(told.message) == (
        "no update changes net_0_running_mean, net_0_running_var, net_3_running_mean and 1 more, so that eval "
        "normalises by first values; no update changes dropout_step, so that every step drops the same elements. Give "
        "updates=... | nn.running_updates(layer)."
    )
    with pytest.warns(StatesWarning, match=r"^no update changes net_3_running_mean, net_3_running_var, so that"):
        asked(loss, gg.optim.sgd(loss, lr=0.1) | nn.running_updates(net[0]) | nn.running_updates(net[2]))


def test_instances_without_an_axis_of_examples_are_told() -> None:
    norm = nn.InstanceNorm1d(4, affine=True, track_running_stats=True)
    loss = gg.mean(norm(gg.input("z", (4, 5))) ** 2)
    with pytest.warns(StatesWarning, match=r"^no update changes norm_running_mean, norm_running_var, so that"):
        asked(loss, gg.optim.sgd(loss, lr=0.1))


def test_nothing_is_told_where_nothing_is_forgotten() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    loss = lossy(net)
    norm, drop, forgetful = net[1], net[2], nn.BatchNorm1d(4, track_running_stats=False)
    own = {norm.running_mean: norm.running_mean * 0.9, norm.running_var: norm.running_var * 0.9}
    level = gg.state("level", ())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked(loss, gg.optim.sgd(loss, lr=0.1) | nn.running_updates(net))
        asked(loss, gg.optim.sgd(loss, lr=0.1) | own | nn.running_updates(drop))
        asked(loss, None)  # nothing is trained
        asked(lossy(forgetful), {level: level + 1.0})
        asked(gg.mean(nn.dropout(X, seed=1)), {level: level + 1.0})
        asked(lossy(net.eval()), gg.optim.sgd(lossy(net), lr=0.1))
        asked(gg.mean(X), {level: level + 1.0})  # which the layers were called with
