"""Names that generated files use for something else, given to everything that a user can name.

The names are those that the text of a model uses itself, so that the list cannot be incomplete. Each of them is given
to an input, a parameter, an output, a size, an index or a variable, six at a time, and the values stay those of the
interpreter.
"""

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.names import CALLED
from gradgen.graph.nodes import Leaf, all_inputs, toposort
from gradgen.graph.origin import naming
from gradgen.lang.interpret import interpret
from gradgen.machine import CPU, using
from gradgen.passes.lower.naming import GENERATED
from tests.cpu.running import assert_close, unjitted
from tests.repeats import chosen

Outputs = dict[str, gg.Tensor]
ROLES = ("input", "param", "output", "size", "index", "variable")
PLAIN = dict(zip(ROLES, ("x", "w", "y", "B", "i", "h"), strict=True))


def softmax(name: Mapping[str, str]) -> Outputs:
    """A row kernel: maxima among integers, accumulators, values that stay in variables, an argmax, a view."""
    size = gg.size(name["size"])
    x, w = gg.input(name["input"], (size, 40)), gg.param(name["param"], (40,))
    i, j, k = gg.index(name["index"]), gg.index("j"), gg.index("k")
    with naming(name["variable"]):
        h = gg.compute((i, j), gg.exp(gg.tanh(x[i, j] * w[j]) + gg.relu(x[i, j]) + abs(w[j])))
    p = gg.compute((i, j), h[i, j] / gg.sum(h[i, k], over=k))
    best = gg.argmax(p, axis=1)
    return {name["output"]: gg.max(p, axis=1).reshape(-1, 1), "best": best, "loss": gg.sum(gg.log(p) * p)}


def scan(name: Mapping[str, str]) -> Outputs:
    """A loop over steps, and products whose sums are added up term by term."""
    size = gg.size(name["size"])
    x, w = gg.input(name["input"], (size, 3, 4)), gg.param(name["param"], (4, 4))
    with naming(name["variable"]):
        h = x * 2.0
    last, every = gg.scan(lambda s, row: (gg.tanh(s @ w + row),) * 2, gg.zeros((3, 4)), h)
    i = gg.index(name["index"])
    total = gg.compute((), gg.sum(last[i, 0] * last[i, 1], over=i))
    return {name["output"]: total, "every": every, "loss": gg.sum(every * every)}


def layers(name: Mapping[str, str]) -> Outputs:
    """Matrix products, and equal layers that become a loop over stacked arrays."""
    size = gg.size(name["size"])
    h = gg.input(name["input"], (size, 64))
    with naming(name["variable"]):
        for k in range(5):
            w = gg.param(f"{name['param']}x{k}", (64, 64))
            h = gg.tanh(h @ w)
    i, j = gg.index(name["index"]), gg.index("j")
    return {name["output"]: gg.compute((), gg.sum(h[i, j] * h[i, j], over=(i, j))), "last": h}


def blocks(name: Mapping[str, str]) -> Outputs:
    """A product whose sum goes over blocks that do not lie behind each other: they are added one by one."""
    size = gg.size(name["size"])
    x, w = gg.input(name["input"], (size, 4, 16, 70)), gg.param(name["param"], (size, 70, 48))
    i, b, n, m = gg.index(name["index"]), gg.index("b"), gg.index("n"), gg.index("m")
    k = gg.index("k")
    with naming(name["variable"]):
        h = gg.compute((k, n, m), gg.sum(x[b, k, n, i] * w[b, i, m], over=(b, i)))
    return {name["output"]: gg.sum(h * h), "blocks": h}


def convolution(name: Mapping[str, str]) -> Outputs:
    """Outer products in registers: boxes, elements of them, and loops over sums of indices."""
    size = gg.size(name["size"])
    x, w = gg.input(name["input"], (size, 8, 12, 12)), gg.param(name["param"], (16, 8, 3, 3))
    n, o, r, s, c, q = gg.indices("n o r s c q")
    i = gg.index(name["index"])
    with naming(name["variable"]):
        h = gg.compute((n, o, r, s), gg.sum(w[o, c, i, q] * x[n, c, r + i, s + q], over=(c, i, q)))
    return {name["output"]: gg.sum(h * h), "image": h}


MODELS: dict[str, Callable[[Mapping[str, str]], Outputs]] = {
    "softmax": softmax, "scan": scan, "layers": layers, "blocks": blocks, "convolution": convolution
}  # fmt: skip
SIZE = 3
STEP = 36  # of the namings that are tried; 1 tries every name in every role, which takes minutes


@pytest.fixture(autouse=True)
def loops_in_parts() -> Iterator[None]:
    with using(replace(CPU, threads=1.0)):
        yield


def network(model: str, name: Mapping[str, str]) -> gg.Network:
    outputs = MODELS[model](name)
    loss = "loss" if "loss" in outputs else name["output"]
    return gg.compile(outputs, name=model, loss=loss)


def arrays(net: gg.Network) -> dict[str, Any]:
    """The same numbers for the same places, whatever they are called."""
    rng = np.random.default_rng(0)
    shapes = [tuple(SIZE if text.isidentifier() else int(text) for text in x.shape) for x in net.interface.leaves]
    drawn = [0.5 * rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    return dict(zip([x.name for x in net.interface.leaves], drawn, strict=True))


def results(net: gg.Network, joint: gg.Network) -> list[Any]:
    """Outputs, gradients of the loss (by `joint`), and gradients of all outputs, in the order of declaration."""
    given = arrays(net)
    out, saved = net.forward(**given)
    floats = {x.name: np.ones_like(out[x.name]) for x in net.interface.outputs if x.dtype == "float32"}
    _, gradients = joint.value_and_grad(**given)
    every = net.backward(saved, **floats)
    return [*out.values(), *(g[x] for g in (gradients, every) for x in given if x in g)]


@cache
def wanted(model: str) -> list[Any]:
    """What the interpreter gives, for names that nothing else has."""
    outputs = MODELS[model](PLAIN)
    net = network(model, PLAIN)
    given = arrays(net)
    loss = "loss" if "loss" in outputs else PLAIN["output"]
    params = [gg.Tensor(x) for x in net.model.wrt]
    floats = [y for y in net.model.outputs.values() if y.dtype == "float32"]
    ones = [gg.ones(y.shape) for y in floats]
    roots = list(net.model.outputs.values())
    roots += [g.node for g in gg.grad(gg.Tensor(net.model.outputs[loss]), params)]
    roots += [g.node for g in gg.vjp([gg.Tensor(y) for y in floats], params, ones)]
    leaves = {x.name: x for x in toposort(roots, all_inputs) if isinstance(x, Leaf)}
    return interpret(roots, {x: given[name] for name, x in leaves.items()}, {"B": SIZE})


def check(net: gg.Network, joint: gg.Network, model: str) -> None:
    for found, expected in zip(results(net, joint), wanted(model), strict=True):
        assert_close(found, expected, "float32", model)


def names_in_the_text_of(model: str) -> list[str]:
    """Every name that the emitted file uses, and that may be given."""
    net = network(model, PLAIN)
    code = "\n".join(line.partition("#")[0] for line in net.source.splitlines())
    found = dict.fromkeys(re.findall(r"(?<![\w.])[^\W\d_]\w*", code))
    given = CALLED | set(PLAIN.values()) | set(net.model.outputs)
    return [name for name in found if not keyword.iskeyword(name) and name not in given]


@cache
def rotations(model: str) -> list[dict[str, str]]:
    """Names for all roles at once, such that each name has each role once; those of the module name no size."""
    names = names_in_the_text_of(model)
    found = []
    for k in range(len(names)):
        chosen = {role: names[(k + at) % len(names)] for at, role in enumerate(ROLES)}
        if chosen["size"] in GENERATED:
            chosen["size"] = "size"
        found.append(chosen)
    return found


JITTED = {
    "softmax": ("exp_f32", "max", "compute_loss", "parts", "first", "p_row"),
    "scan": ("tanh_f32", "abs", "forward", "t", "part", "loss_acc"),
    "layers": ("compute_h", "abs", "p", "shapes", "l", "tanh_f32"),
    "blocks": ("blocks_matrix", "row", "column", "shape", "compute_d_w", "p"),
}  # a convolution takes half a minute, and is only tried as plain Python


@pytest.mark.parametrize(("model", "names"), JITTED.items())
def test_names_that_the_compiled_text_uses(model: str, names: tuple[str, ...]) -> None:
    """Forward and backward; value_and_grad, which is made of the same, as plain Python."""
    assert set(names) <= set(names_in_the_text_of(model))
    net = network(model, dict(zip(ROLES, names, strict=True)))
    check(net, unjitted(net), model)


@pytest.mark.parametrize("first", chosen((0, STEP // 2), default=[0]))
@pytest.mark.parametrize("model", MODELS)
def test_no_name_in_the_text_of_a_model_is_out_of_reach(model: str, first: int) -> None:
    for name in rotations(model)[first::STEP]:
        plain = unjitted(network(model, name))
        check(plain, plain, model)
