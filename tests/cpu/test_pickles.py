"""Networks in pickles: what another process gets is the same network."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.network import Network
from tests.cpu.models import MODELS
from tests.cpu.running import case, unjitted
from tests.repeats import chosen

LOAD = """
import pickle, sys
import numpy as np
train, predict, state = pickle.load(open("networks.pickle", "rb"))
x = np.ones(3, np.float32)
train.step(state, x=x)
print(float(predict(x=x, **state)["y"]), list(state), train.init(1)["w"].tolist())
"""


def pair() -> tuple[Network, Network]:
    x, w = gg.input("x", (3,)), gg.param("w", (3,), init=gg.nn.init.normal())
    y = gg.sum(w * x)
    loss = (y - 1.0) ** 2
    train = gg.compile({"loss": loss}, name="train", loss="loss", updates=gg.optim.adam(loss, lr=0.1))
    return train, gg.compile({"y": y}, name="predict", wrt=[])


def test_another_process_gets_the_same_networks(tmp_path: Path) -> None:
    train, predict = pair()
    state = train.init()
    (tmp_path / "networks.pickle").write_bytes(pickle.dumps((train, predict, state)))
    root = str(Path(gg.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", LOAD], cwd=tmp_path, env={"PYTHONPATH": root, "HOME": str(tmp_path)}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    x = np.ones(3, np.float32)
    train.step(state, x=x)
    wanted = f"{float(predict(x=x, **state)['y'])} {list(state)} {train.init(1)['w'].tolist()}\n"
    assert done.stdout == wanted


@pytest.mark.parametrize("name", chosen([model.name for model in MODELS], [model.name for model in MODELS[1::3]]))
def test_every_model_survives_a_pickle(name: str) -> None:
    """Text, calls, and what it becomes when it is compiled once more."""
    this = case(name, "float64")
    there: Any = pickle.loads(pickle.dumps(this.net))
    assert there.source == this.net.source
    assert there.compiled_with(dtype="float32").source == this.net.compiled_with(dtype="float32").source
    with np.errstate(all="ignore"):
        wanted, found = (unjitted(net)(**this.arrays) for net in (this.net, there))
    for key, x in wanted.items():
        np.testing.assert_array_equal(found[key], x)


def test_records_are_one_object_there_too() -> None:
    """A pickle loaded twice: what has no leaf below it is the same, leaves are declared anew."""
    x = gg.arange(5) * 2
    assert pickle.loads(pickle.dumps(x)) is x
    y = gg.sin(gg.input("x", (5,)))
    first, second = (pickle.loads(pickle.dumps(y)) for _ in range(2))
    assert first.node is not second.node
    assert first.node.digest == second.node.digest == y.node.digest


def test_a_deep_model_survives() -> None:
    h = x = gg.input("x", (4,))
    for k in range(600):
        h = gg.sin(gg.materialize(h)) if k % 2 else gg.cos(h * 1.01)
    net = gg.compile({"h": h}, name="deep_pickle")
    assert pickle.loads(pickle.dumps(net)).source == net.source
    assert x.name == "x"


def test_copies_are_the_same_network() -> None:
    train, _ = pair()
    for twin in (copy.copy(train), copy.deepcopy(train), copy.deepcopy([train])[0]):
        assert twin is not train
        assert twin.module is train.module
        assert twin.model is train.model
