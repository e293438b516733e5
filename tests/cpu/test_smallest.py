"""Every model with every threshold at its smallest: in parts of one row, by products, for threads, in many functions.

As plain Python, where a subscript outside is an error. What the models are compiled to is what large ones become.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.interpret import interpret
from gradgen.machine import CPU, SMALLEST, Machine, using
from gradgen.network import Network
from gradgen.passes.schedule import tiling as tiles
from tests.cpu.models import MODELS, leaves_of
from tests.cpu.running import Case, assert_close, unjitted
from tests.cpu.test_models import check_gradients, check_outputs, run
from tests.cpu.test_tiles import evaluated
from tests.repeats import parameter

# What takes long to compile so is left to `GRADGEN_THRESHOLDS=smallest python -m pytest tests/cpu/test_models.py`.
SLOW = ("conv_plain", "deep_different", "deep_equal")
NAMES = [parameter(model.name) for model in MODELS if model.name not in SLOW]


@pytest.fixture
def smallest() -> Iterator[None]:
    with using(SMALLEST):
        yield


@pytest.mark.usefixtures("smallest")
@pytest.mark.parametrize("name", NAMES)
def test_a_model_as_if_it_were_large(name: str) -> None:
    this = Case(name, "float64")
    assert "without parts" not in this.net.explain()
    outputs, gradients = run(this.plain, this.arrays, this.cotangents)
    check_outputs(this, outputs, this.outputs)
    check_gradients(this, gradients, this.gradients)
    if this.model.loss:
        _, wanted = run(this.plain, this.arrays, {this.model.loss: 1.0})
        with np.errstate(all="ignore"):
            outputs, gradients = this.plain.value_and_grad(**this.arrays)
        check_outputs(this, outputs, this.outputs)
        for x, gradient in gradients.items():
            assert_close(gradient, wanted[x], "float64", f"the gradient by {x}")


# ---------------------------------------------------------------- readers in another loop, in another shape

H, D = 2, 16


def floats(name: str, *shape: object) -> Tensor:
    return gg.param(name, shape, dtype="float64")


def heads_by_subscript() -> Mapping[str, Tensor]:
    """q[i, h*d + e]: gradients run over both at once, in no loop over heads."""
    T = gg.size("T")
    q, k, v = (floats(name, T, H * D) for name in "qkv")
    h, e, (i, j) = gg.index("h", H), gg.index("e", D), gg.indices("i j")
    p = nn.softmax(gg.compute((h, i, j), gg.sum(q[i, h * D + e] * k[j, h * D + e], over=e) / math.sqrt(D)))
    y = gg.compute((h, i, e), gg.sum(p[h, i, j] * v[j, h * D + e], over=j))
    return {"loss": gg.sum(gg.tanh(y))}


def heads_side_by_side() -> Mapping[str, Tensor]:
    """The result runs over both at once, too."""
    T = gg.size("T")
    q, v = (floats(name, T, H * D) for name in "qv")
    h, e, c, (i, j) = gg.index("h", H), gg.index("e", D), gg.index("c", H * D), gg.indices("i j")
    p = nn.softmax(gg.compute((h, i, j), gg.sum(q[i, h * D + e] * q[j, h * D + e], over=e) / math.sqrt(D)))
    return {"loss": gg.sum(gg.tanh(gg.compute((i, c), gg.sum(p[c // D, i, j] * v[j, c], over=j))))}


def encoder_layer() -> Mapping[str, Tensor]:
    """Heads in one axis with the examples, by reshapes; the layer around them."""
    B, T, C = 2, gg.size("T"), H * D
    x, W1, W2 = floats("x", B, T, C), floats("W1", 2 * C, C), floats("W2", C, 2 * C)
    u = nn.layer_norm(x)
    q, k, v = (
        (u @ floats(f"W{n}", C, C).T).reshape((B, T, H, D)).transpose((0, 2, 1, 3)).reshape((B * H, T, D))
        for n in "qkv"
    )
    a = nn.softmax(q @ k.transpose((0, 2, 1)) / math.sqrt(D)) @ v
    h = x + a.reshape((B, H, T, D)).transpose((0, 2, 1, 3)).reshape((B, T, C)) @ floats("Wo", C, C).T
    y = h + gg.relu(nn.layer_norm(h) @ W1.T) @ W2.T
    return {"loss": gg.mean(y * y)}


def groups_as_an_axis() -> Mapping[str, Tensor]:
    """A depthwise convolution; its result is read in another shape."""
    N, C, S = 2, 2, 4
    x, K = floats("x", N, C, S, S), floats("K", C, 1, 1, 3, 3)
    n, g, o, c, h, w = (gg.index(name, size) for name, size in zip("ngochw", (N, C, 1, 1, S, S), strict=True))
    p, q = gg.index("p", 3), gg.index("q", 3)
    window = gg.padded(x.reshape((N, C, 1, S, S)))[n, g, c, h + p - 1, w + q - 1]
    y = gg.compute((n, g, o, h, w), gg.sum(K[g, o, c, p, q] * window, over=(c, p, q)))
    return {"loss": gg.sum(gg.tanh(y.reshape((N, C, S, S))))}


READ_OTHERWISE = (heads_by_subscript, heads_side_by_side, encoder_layer, groups_as_an_axis)


@pytest.mark.parametrize(
    "machine", [pytest.param(CPU, id="usual", marks=pytest.mark.repeats), pytest.param(SMALLEST, id="smallest")]
)
@pytest.mark.parametrize("build", READ_OTHERWISE)
def test_readers_in_another_loop_and_in_another_shape(
    build: Callable[[], Mapping[str, Tensor]], machine: Machine
) -> None:
    outputs = build()
    with using(machine):
        net = unjitted(gg.compile(dict(outputs), name=build.__name__, dtype="float64"))
    assert "without parts" not in net.explain()
    agrees(net, outputs["loss"], {"T": 3})


def agrees(net: Network, loss: Tensor, sizes: Mapping[str, int]) -> None:
    """Loss and gradient are the interpreter's."""
    leaves = leaves_of({"loss": loss})
    rng = np.random.default_rng(0)
    values = {x: rng.standard_normal([evaluated(e, sizes) for e in x.shape]) for x in leaves}
    found, gradients = net.value_and_grad(**{x.name: a for x, a in values.items()})
    nodes = [d.node for d in gg.grad(loss, [tensor(x) for x in leaves])]
    wanted, *pulled = interpret([loss.node, *nodes], values, sizes)
    np.testing.assert_allclose(found["loss"], wanted, rtol=1e-12)
    for x, gradient in zip(leaves, pulled, strict=True):
        assert_close(gradients[x.name], gradient, "float64", x.name)


# ---------------------------------------------------------------- where the verifier refuses


def test_a_program_that_is_not_legal_in_parts_is_compiled_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_sources", lambda seed, entries: set())  # a product before what it reads
    outputs = heads_by_subscript()
    with using(SMALLEST):
        net = unjitted(gg.compile(dict(outputs), name="refused", dtype="float64"))
    assert "without parts, with which the program would not be legal" in net.explain()
    assert "rows at a time" not in net.explain()
    agrees(net, outputs["loss"], {"T": 3})


@pytest.mark.usefixtures("smallest")
@pytest.mark.parametrize("what", ["one row and one column", "one element"])
def test_products_that_give_one_number(what: str) -> None:
    """A number is no matrix: a product written into one was written nowhere, as plain Python and compiled."""
    x, w = gg.param("x", (3, 1), dtype="float64"), gg.param("w", (1, 3), dtype="float64")
    read = gg.roll(x, 1, 0).reshape((3, 1, 1, 1)) if what == "one row and one column" else x[:1].T.reshape((1, 1, 1, 1))
    net = unjitted(gg.compile({"y": gg.sum((read @ w) ** 2)}, name="numbers", dtype="float64", wrt=[x, w]))
    a, b = np.array([[1.0], [2.0], [3.0]]), np.array([[0.1, 0.2, 0.3]])
    _, gradients = net.value_and_grad(x=a, w=b)
    seen = np.ones_like(a) if what == "one row and one column" else np.array([[1.0], [0.0], [0.0]])
    np.testing.assert_allclose(gradients["x"], 2 * (b**2).sum() * a * seen, rtol=1e-12)
    np.testing.assert_allclose(gradients["w"], 2 * (a**2 * seen).sum() * b, rtol=1e-12)
