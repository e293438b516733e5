"""Updates write over what they update: what reads the old value reads it before, whatever loops they share."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Leaf, all_inputs, toposort
from gradgen.lang.interpret import interpret
from gradgen.machine import CPU, SMALLEST, Machine, using
from tests.cpu.running import assert_close, unjitted

Step = tuple[Mapping[str, gg.Tensor], Mapping[gg.Tensor, gg.Tensor]]  # outputs, updates
N = 6


def state(name: str) -> gg.Tensor:
    return gg.state(name, (N,))


def neighbour() -> Step:
    """The loop that writes p reads the element before, by way of a value that another update needs."""
    i, x, p, q = gg.index("i", N), gg.input("x", (N,)), state("p"), state("q")
    e = gg.compute(i, gg.tanh(x[i] * gg.where(i > 0, p[i - 1], 0.5)))
    new = gg.compute(i, p[i] * 0.5 + x[i])
    return {"o": gg.sum(e)}, {p: new, q: gg.compute(i, q[i] + e[i] * new[i])}


def scattered(reduce: str) -> Callable[[], Step]:
    def build() -> Step:
        i, x, p = gg.index("i", N), gg.input("x", (N,)), state("p")
        places = gg.input("places", (N,), dtype="int64")
        new = gg.accumulate((places[i],), x[i] * 2.0, shape=(N,), reduce=reduce)
        return {"y": gg.compute(i, gg.tanh(p[i]) * x[i])}, {p: new}

    return build


def begins_a_scan() -> Step:
    x, p, q = gg.input("x", (4, N)), state("p"), state("q")
    new = gg.tanh(p * 0.5) + 1.0
    last, seen = gg.scan(lambda c, row: (gg.tanh(c * 0.5 + row + new), c), p, x)
    return {"s": gg.sum(seen)}, {p: new, q: last}


def stacked_by_a_scan() -> Step:
    x, p = gg.input("x", (N,)), state("p")
    new = gg.tanh(p * 0.5) + x
    _, seen = gg.scan(lambda c, _: (c + new, p), gg.zeros((N,)), length=3)
    return {"s": gg.sum(seen**2, axis=0)}, {p: new}


def waiting_in_a_tile() -> Step:
    i, j = gg.index("i", N), gg.index("j", 5)
    x, y, p, q = gg.input("x", (N, 3)), gg.input("y", (3, 5)), state("p"), state("q")
    s = gg.sum(gg.tanh(x @ y), axis=1)
    e = gg.compute((i, j), gg.tanh(gg.exp(x[i, 0] * y[0, j])))
    w = gg.compute(i, gg.sum(e[i, j] * gg.where(i > 0, p[i - 1], 0.0), over=j))
    return {"s": gg.sum(s)}, {p: p * 0.5 + s, q: q + w * s}


def of_its_own_row() -> Step:
    """An element that every iteration reads before it writes it needs no copy."""
    i, x, p = gg.index("i", N), gg.input("x", (N,)), state("p")
    return {"y": gg.compute(i, gg.tanh(p[i]) * x[i])}, {p: gg.compute(i, p[i] - 0.1 * x[i])}


STEPS: dict[str, Callable[[], Step]] = {
    "neighbour": neighbour,
    "summed": scattered("sum"),
    "largest": scattered("max"),
    "begins a scan": begins_a_scan,
    "stacked by a scan": stacked_by_a_scan,
    "waiting in a tile": waiting_in_a_tile,
    "of its own row": of_its_own_row,
}


@pytest.mark.parametrize("machine", [CPU, SMALLEST], ids=["usual", "smallest"])
@pytest.mark.parametrize("name", STEPS)
def test_old_values_are_read_before_they_are_written_over(name: str, machine: Machine) -> None:
    outputs, updates = STEPS[name]()
    with using(machine):
        net = unjitted(gg.compile(outputs, updates=updates, name="overwrites"))
    rng = np.random.default_rng(0)
    nodes = [*(y.node for y in outputs.values()), *(y.node for y in updates.values())]
    leaves = [x for x in toposort([*nodes, *(p.node for p in updates)], all_inputs) if isinstance(x, Leaf)]
    given = {x: rng.standard_normal([int(n.constant or 0) for n in x.shape]).astype(np.float32) for x in leaves}
    given |= {x: rng.integers(0, N, N) for x in leaves if x.dtype == "int64"}
    wanted = interpret(nodes, given, {})
    names = {p.node.name for p in updates}
    states = {x.name: array.copy() for x, array in given.items() if x.name in names}
    found = net.step(states, **{x.name: array for x, array in given.items() if x.name not in names})
    for key, value in zip(outputs, wanted, strict=False):
        assert_close(found[key], value, "float32", key)
    for p, value in zip(updates, wanted[len(outputs) :], strict=True):
        assert_close(states[p.node.name], value, "float32", p.node.name)


def test_what_is_read_in_time_needs_no_copy() -> None:
    outputs, updates = of_its_own_row()
    assert "_copy" not in gg.compile(outputs, updates=updates, name="in_time").source
