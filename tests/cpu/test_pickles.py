"""Networks in pickles: what another process gets is the same network."""

import copy
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.asked import leaves_of
from gradgen.emit import store
from gradgen.errors import GraphError
from gradgen.graph.derivatives import derivative
from gradgen.graph.names import is_derived
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.origin import files_of, origin
from gradgen.graph.side_tables import TABLES
from gradgen.graph.tensor import tensor
from gradgen.interop.mpi import taken_apart
from gradgen.lang.declare import initialiser
from gradgen.network import Network
from gradgen.nn.init import normal
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


# ---------------------------------------------------------------- what is known beside the fields


def test_what_is_a_derivative_is_known_there_too() -> None:
    """The loss that it is the derivative of is no part of the network otherwise."""
    w = gg.param("w", (3,))
    slope = gg.grad(gg.sum(gg.sin(w) ** 2), w)
    there = pickle.loads(pickle.dumps(gg.compile({"slope": slope}, name="slope", wrt=[])))
    known, ours = derivative(there.model.outputs["slope"]), derivative(slope.node)
    assert known is not None
    assert ours is not None
    assert (known.of.digest, known.skip) == (ours.of.digest, ours.skip)
    assert known.by in leaves_of(list(there.model.outputs.values()))


def test_what_data_parallel_refuses_it_refuses_of_a_pickle() -> None:
    B = gg.size("B")
    x, w = gg.input("x", (B, 3)), gg.param("w", (3,))
    loss, largest = gg.mean((x @ w) ** 2), gg.state("largest", (3,))
    other = gg.grad(gg.mean((x @ w) ** 4), w)
    updates = {**gg.optim.sgd(loss, lr=0.1), largest: gg.maximum(largest, abs(other))}
    net = gg.compile({"loss": loss}, name="train", updates=updates)
    said = []
    for this in (net, pickle.loads(pickle.dumps(net))):
        with pytest.raises(GraphError) as caught:
            taken_apart(this)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[0].startswith("train: the update of largest depends on x otherwise than through gradients of loss")


def test_derivatives_of_what_reads_them_pickle() -> None:
    """d(w . x) / dw is x itself, which the scalar reads."""
    x, w = gg.input("x", (3,)), gg.param("w", (3,))
    y = gg.sum(w * x)
    gg.grad(y, w)
    assert pickle.loads(pickle.dumps(y)).node.digest == y.node.digest


SEVERAL = """
import pickle, sys
import gradgen as gg
model = gg.param("w", (3,), init=gg.nn.init.normal())
pickle.dump(model * 2, sys.stdout.buffer)
assert "gradgen.network" not in sys.modules
"""


def in_process(text: str, at: Path, cache: Path) -> bytes:
    root = str(Path(gg.__file__).parents[1])
    told = {"PYTHONPATH": root, "HOME": str(at), "GRADGEN_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-c", text], cwd=at, env=told, capture_output=True, check=True).stdout


def test_first_values_that_are_given_are_in_the_pickle() -> None:
    w, v = gg.param("w", (3,), init=[1.0, 2.0, 3.0]), gg.param("v", (2,), init=0.5)
    net = gg.compile({"y": gg.sum(w) * gg.sum(v)}, name="given_numbers")
    first = pickle.loads(pickle.dumps(net)).init()
    assert (first["w"].tolist(), first["v"].tolist()) == ([1.0, 2.0, 3.0], [0.5, 0.5])


def test_tensors_pickle_before_anything_is_compiled(tmp_path: Path) -> None:
    y = pickle.loads(in_process(SEVERAL, tmp_path, tmp_path / "cache"))
    w, _ = toposort([y.node])
    assert isinstance(initialiser(w), type(normal()))
    assert tensor(y.node) is y
    assert gg.compile({"y": y}, name="tensor").init(1)["w"].any()


def test_names_that_nobody_gave_stay_so() -> None:
    y = gg.nn.Linear(4, 2)(gg.input("x", (4,)))
    for this in (y, pickle.loads(pickle.dumps(y))):
        assert [is_derived(n) for n in toposort([this.node]) if isinstance(n, Leaf)] == [False, True, True]


def test_copies_of_tensors_and_formulas_are_the_same() -> None:
    w, (n,) = gg.param("w", (3,), init=gg.nn.init.normal()), gg.indices("n")
    for x in (w, w * 2, w[n], gg.size("B") + 1):
        assert copy.copy(x) is x
        assert copy.deepcopy([x])[0] is x


# What a pickle may forget: a pass finds it out again, or a network when it is opened.
CACHES = {
    "graph/intern.py", "graph/node_records.py", "graph/origin.py: _runs", "nn/running.py",
    "passes/rebuild/by_node.py", "passes/rewrite/simplify.py",
}  # fmt: skip


def test_every_table_of_nodes_is_carried() -> None:
    package, other = Path(gg.__file__).parent, set()
    for path in package.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            made = re.match(r"\s*(\w+): (Weak\w+)\[.*?(= .*)?$", line)
            if made and "side_table(" not in line and path.name != "side_tables.py":
                other.add(str(path.relative_to(package)) + (f": {made[1]}" if path.name == "origin.py" else ""))
    assert other == CACHES
    assert set(TABLES) == {"origins", "derivatives", "initialisers", "derived names", "carried", "numbers"}


# ---------------------------------------------------------------- other compilers, other machines


def test_another_compiler_makes_its_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _ = pair()
    source = net.source
    net.source = f"{source}\n# as it was stored\n"
    same = pickle.loads(pickle.dumps(net))
    assert same.source == net.source
    with monkeypatch.context() as other:
        other.setattr(store, "compiler_stamp", lambda: "a compiler of last year")
        stored = pickle.dumps(net)
    there = pickle.loads(stored)
    assert there.source == source
    assert there.interface.as_json() == net.interface.as_json()
    assert there.init(1)["w"].any()


MODEL = """
import gradgen as gg
from part.model import middle
x, w = gg.input("x", (3,)), gg.param("w", (3,))
h = gg.tanh(w * x)
m = middle(h)
loss = gg.sum(m ** 2)
net = gg.compile({"loss": loss}, name="travels")
typed = {"w": w}
exec(compile("u = w * 3; v = gg.sin(u)", "<typed>", "exec"), {"gg": gg}, typed)
also = gg.compile({"v": gg.sum(typed["v"])}, name="typed")
"""
PART = "import gradgen as gg\ndef middle(h):\n    u = gg.exp(h)\n    return u + gg.sin(u)\n"
WRITE = """
import pickle
from model import also, net
pickle.dump((net, also), open("networks.pickle", "wb"))
print(*(x.compiled_with(dtype="float64").source for x in (net, also)))
"""
READ = """
import pickle
found = pickle.load(open("networks.pickle", "rb"))
found = pickle.loads(pickle.dumps(found))
print(*(x.compiled_with(dtype="float64").source for x in found))
"""


def test_text_is_the_same_where_the_files_of_the_model_are_not(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "part").mkdir(parents=True)
    there.mkdir()
    (here / "model.py").write_text(MODEL)
    (here / "part" / "model.py").write_text(PART)
    wanted = in_process(WRITE, here, tmp_path / "cache")
    assert b"model.py" in wanted
    stored = (here / "networks.pickle").read_bytes()
    assert str(here).encode() not in stored
    (there / "networks.pickle").write_bytes(stored)
    shutil.rmtree(here)
    assert in_process(READ, there, tmp_path / "another") == wanted


def test_files_have_names_only() -> None:
    y = gg.sin(gg.input("x", (3,)))
    there = pickle.loads(pickle.dumps(y))
    ours, found = origin(y.node), origin(there.node)
    assert ours is not None
    assert found is not None
    assert (found.place, found.line, found.name) == (ours.place, ours.line, ours.name)
    assert str(Path(__file__).parent) not in found.file
    assert files_of([there.node]).names == files_of([y.node]).names == ("test_pickles.py",)
