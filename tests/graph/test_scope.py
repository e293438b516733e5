"""Names inside `gg.scope`: of parameters, states and layers, not of inputs."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import GraphError

Message = Callable[..., str]


def block(h: gg.Tensor) -> gg.Tensor:
    return h + gg.tanh(h @ gg.param("W", (4, 4)))


def test_a_function_called_several_times_has_parameters_of_its_own_each_time() -> None:
    h = gg.input("x", (2, 4))
    for k in range(2):
        with gg.scope(f"block{k}"):
            h = block(h)
    net = gg.compile({"loss": gg.sum(h * h)}, name="scoped")
    assert [x.name for x in net.interface.leaves if x.role == "param"] == ["block0_W", "block1_W"]


def test_scopes_stand_inside_scopes_and_end() -> None:
    with gg.scope("a"):
        with gg.scope("b"):
            inner = gg.state("count", ())
        outer, given = gg.param("W", (2,)), gg.input("x", (2,))
    with pytest.raises(ZeroDivisionError), gg.scope("left"):
        raise ZeroDivisionError
    assert [t.name for t in (inner, outer, given, gg.param("W", (2,)))] == ["a_b_count", "a_W", "x", "W"]


def test_layers_belong_to_the_scope_that_they_are_made_in() -> None:
    with gg.scope("left"):
        first, second = nn.Linear(2, 3), nn.Linear(2, 3, name="given")
        pair = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    with gg.scope("elsewhere"):
        y = pair(second(gg.input("x", (2, 2)))[:, :2])
        names = [str(x.name) for x in (first.weight, second.weight, pair[0].weight)]
    assert names == ["left_first_weight", "left_given_weight", "left_pair_0_weight"]
    net = gg.compile({"loss": gg.sum(y)}, updates=nn.running_updates(pair), name="dropping")
    assert {"left_pair_1_seed", "dropout_step"} < {x.name for x in net.interface.leaves}


def test_each_thread_has_its_own() -> None:
    found: list[Any] = []
    with gg.scope("here"):
        thread = threading.Thread(target=lambda: found.append(gg.param("W", (1,)).name))
        thread.start()
        thread.join()
    assert found == ["W"]


def test_a_name_that_is_none(message: Message) -> None:
    def opened() -> None:
        with gg.scope("two words"):
            pass

    assert message(GraphError, opened) == "'two words' cannot name a scope: use a Python identifier, such as x1."
