"""`updates={tensor: formula}`: rules written by hand, against NumPy; jitted, un-jitted, and from a saved file."""

import importlib.util
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.network import Network
from tests.cpu.running import unjitted

Arrays = dict[str, np.ndarray]
Step = Callable[..., Any]  # of a state and, by name, the inputs; gives the loss


@cache
def descent() -> Network:
    """Nesterov's method with a step length as input, an average of the weights, a counter, a copy of the past."""
    a, t, lr = gg.input("a", (8, 3)), gg.input("t", (8,)), gg.input("lr", ())
    w, v = gg.param("w", (3,)), gg.state("v", (3,))
    average, count, past = gg.state("average", (3,)), gg.state("count", (), dtype="int64"), gg.state("past", (3,))
    ahead = w + 0.9 * v
    (slope,) = gg.grad(gg.mean(gg.square(a @ ahead - t)), [w])
    v_new = 0.9 * v - lr * slope
    w_new = w + v_new
    updates = {v: v_new, w: w_new, average: 0.8 * average + 0.2 * w_new, count: count + 2, past: w}
    return gg.compile({"loss": gg.mean(gg.square(a @ w - t))}, updates=updates, name="descent", dtype="float64")


@cache
def rotation() -> Network:
    """Two states change places, a third adds one of them up; the loss reads one, nothing reads the third."""
    p, q, r = (gg.state(name, (5,)) for name in "pqr")
    updates = {p: q, q: p, r: r + p}
    return gg.compile({"loss": gg.sum(p)}, updates=updates, name="rotation", dtype="float64")


def from_file(net: Network, folder: Path) -> Step:
    """The step of a saved module, imported as anybody's."""
    path = net.save(folder / f"{net.interface.name}_saved.py")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    holders = {"p": getattr(module, "Params", None), "s": getattr(module, "State", None)}
    work = module.workspace() if hasattr(module, "workspace") else None

    def step(state: Arrays, **inputs: Any) -> Any:
        given = {
            key: kind(*[state[name] for name in kind._fields]) for key, kind in holders.items() if kind is not None
        }
        given |= {**inputs, "w": work}
        return module.step(**{name: given[name] for name in inspect.signature(module.step).parameters})

    return step


@pytest.fixture(params=["jitted", "plain", "saved"])
def stepping(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Network], Step]:
    def of(net: Network) -> Step:
        if request.param == "saved":
            return from_file(net, tmp_path)
        chosen = net if request.param == "jitted" else unjitted(net)
        return lambda state, **inputs: chosen.step(state, **inputs)["loss"]

    return of


def test_nesterov_and_an_average_by_hand(stepping: Callable[[Network], Step]) -> None:
    step, state = stepping(descent()), descent().init(seed=3)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((8, 3))
    t = a @ np.array([1.0, -2, 0.5]) + 0.1 * rng.standard_normal(8)
    state["w"][:] = w = rng.standard_normal(3)
    w, v, average = w.copy(), np.zeros(3), np.zeros(3)
    losses = []
    for k in range(20):
        lr = np.float64(0.1 / (1 + k))
        losses.append(step(state, a=a, t=t, lr=lr))
        np.testing.assert_allclose(losses[-1], np.mean((a @ w - t) ** 2), rtol=1e-12)
        np.testing.assert_array_equal(state["past"], w)
        v = 0.9 * v - lr * 2 / 8 * a.T @ (a @ (w + 0.9 * v) - t)
        w = w + v
        average = 0.8 * average + 0.2 * w
        for name, wanted in {"w": w, "v": v, "average": average}.items():
            np.testing.assert_allclose(state[name], wanted, rtol=1e-10, atol=1e-13, err_msg=name)
        assert state["count"] == 2 * (k + 1)
        w, v = state["w"].copy(), state["v"].copy()
    assert losses[-1] < losses[0] / 2
    assert state["count"].dtype == np.int64


def test_two_states_change_places(stepping: Callable[[Network], Step]) -> None:
    """All updates read the values at entry: nothing is lost, and r gets the p from before."""
    step = stepping(rotation())
    p, q, r = np.arange(5.0), np.arange(5.0, 10), np.ones(5)
    state = {"p": p.copy(), "q": q.copy(), "r": r.copy()}
    for _ in range(3):
        assert step(state) == p.sum()
        p, q, r = q, p, r + p
        for name, wanted in {"p": p, "q": q, "r": r}.items():
            np.testing.assert_array_equal(state[name], wanted, err_msg=name)


def test_what_is_only_copied_is_copied_from_the_values_at_entry() -> None:
    """Also where it is an output, has another shape, or is computed for two."""
    x, w, past, flat = gg.input("x", (2, 3)), gg.param("w", (2, 3)), gg.state("past", (2, 3)), gg.state("flat", (6,))
    new = w + x
    updates = {w: new, past: w, flat: w.reshape(6), gg.state("same", (2, 3)): new}
    net = gg.compile({"before": w, "rows": w.reshape(3, 2)}, updates=updates, name="only_copied")
    state, given = net.init(seed=1), np.arange(6, dtype="float32").reshape(2, 3)
    old = state["w"].copy()
    for step in (net.step, unjitted(net).step):
        found = step(state, x=given)
        for copied in (found["before"], found["rows"], state["past"], state["flat"]):
            np.testing.assert_array_equal(copied.ravel(), old.ravel())
        old = old + given
        np.testing.assert_array_equal(state["w"], old)
        np.testing.assert_array_equal(state["same"], old)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_what_two_tensors_become_overwrites_neither_before_its_last_reader(shape: tuple[int, ...]) -> None:
    """The new value is computed in the memory of the first; the others read what was there."""
    x = gg.input("x", shape)
    a, b, c = (gg.state(name, shape) for name in "abc")
    new = b + 0.5 * x
    updates = {a: new, b: (a + 0.5 * x) * b, c: new}
    net = gg.compile({"y": a - c}, updates=updates, name="two_alike", dtype="float64")
    rng = np.random.default_rng(0)
    u, v, w, given = (np.asarray(rng.standard_normal(shape)) for _ in range(4))
    for step in (net.step, unjitted(net).step):
        state = {"a": u.copy(), "b": v.copy(), "c": w.copy()}
        np.testing.assert_allclose(step(state, x=given)["y"], u - w, rtol=1e-15)
        for name, wanted in {"a": v + 0.5 * given, "b": (u + 0.5 * given) * v, "c": v + 0.5 * given}.items():
            np.testing.assert_allclose(state[name], wanted, rtol=1e-14, err_msg=name)
