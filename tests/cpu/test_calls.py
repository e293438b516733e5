"""Calls of a compiled network: what is refused, what is recognised from the call before, what a process remembers."""

import copy
import pickle
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, DTypeError, LayoutWarning, ShapeError
from gradgen.network import Network
from gradgen.runtime.direct import RESULTS
from gradgen.runtime.plans import RoomPool
from tests.cpu.running import through_entry_points, unjitted

B, H, K = gg.size("B"), gg.size("H"), gg.size("K")


@pytest.fixture(scope="module")
def net() -> Network:
    """scores = a @ W.T, loss = mean of scores[n, b[n]] * rate; one step of gradient descent."""
    a, b = gg.input("a", (B, 3)), gg.input("b", (B,), dtype="int64")
    rate = gg.input("rate", ())
    w = gg.param("W", (4, 3))
    n = gg.index("n", B)
    scores = a @ w.T
    loss = gg.mean(gg.compute((n,), scores[n, b[n]])) * rate
    return gg.compile({"loss": loss, "scores": scores}, updates=gg.optim.sgd(loss, lr=1.0), name="calls")


def arrays(count: int = 5, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "a": rng.standard_normal((count, 3)).astype(np.float32),
        "b": rng.integers(0, 4, count),
        "rate": 2.0,
        "W": rng.standard_normal((4, 3)).astype(np.float32),
    }


def expected(given: dict[str, Any]) -> tuple[Any, Any]:
    scores = given["a"] @ given["W"].T
    chosen = np.eye(4, dtype=np.float32)[given["b"]]
    return (scores * chosen).sum() / len(scores) * given["rate"], chosen.T @ given["a"] / len(scores) * given["rate"]


def check(net: Network, given: dict[str, Any]) -> None:
    value, gradient = expected(given)
    out, grads = net.value_and_grad(**given)
    np.testing.assert_allclose(out["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(out["scores"], given["a"] @ given["W"].T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grads["W"], gradient, rtol=1e-5, atol=1e-6)
    assert out["loss"].dtype == np.float32


def test_arguments_of_every_size_and_kind_in_turn(net: Network) -> None:
    for count in (5, 7, 5, 1, 0, 7):
        for seed in range(2):
            given = arrays(count, seed)
            if count:
                check(net, given)
            else:
                assert net(**given)["scores"].shape == (0, 4)
    given = arrays()
    for rate in (3, np.float32(1.5), np.array(0.5, np.float32), np.float64(2.5)):
        check(net, {**given, "rate": rate})
    np.testing.assert_allclose(net(**{**given, "a": given["a"].tolist()})["scores"], net(**given)["scores"])
    read_only = {name: np.array(x) for name, x in given.items() if name != "rate"}
    for x in read_only.values():
        x.setflags(write=False)
    check(net, {**read_only, "rate": 1.0})


def test_the_same_arrays_with_other_contents_are_read_again(net: Network) -> None:
    given = arrays()
    check(net, given)
    given["W"] *= 2
    given["a"] += 1
    given["b"][:] = given["b"][::-1].copy()
    check(net, given)


def test_every_call_checks_what_the_one_before_did_not_have(net: Network) -> None:
    given = arrays()
    check(net, given)
    with pytest.raises(ShapeError, match=r"W has shape \(4, 4\)"):
        net(**{**given, "W": np.zeros((4, 4), np.float32)})
    with pytest.raises(DTypeError, match="W is float64; the model declares float32"):
        net(**{**given, "W": np.zeros((4, 3))})
    with pytest.raises(DTypeError, match="a is float64"):
        net(**{**given, "a": given["a"].astype(np.float64)})
    with pytest.raises(ShapeError, match=r"b's axis 0 is 4, but the size B is 5"):
        net(**{**given, "b": given["b"][:4]})
    with pytest.raises(ShapeError, match="a has 1 axes"):
        net(**{**given, "a": given["a"][0]})
    with pytest.raises(BindingError, match=r"calls\.forward: W missing"):
        net(a=given["a"], b=given["b"], rate=1.0)
    with pytest.raises(BindingError, match=r"calls\.forward: c unknown"):
        net(**given, c=1)
    with pytest.warns(LayoutWarning, match="a is not C-contiguous") as caught:
        check_layout = net(**{**given, "a": np.asfortranarray(given["a"])})
    assert caught[0].filename == __file__
    np.testing.assert_allclose(check_layout["scores"], net(**given)["scores"])


def test_a_strict_network_copies_nothing_and_is_the_same_text(net: Network) -> None:
    strict = Network(net.model, replace(net.options, strict=True))
    assert strict.module is net.module
    given = arrays()
    turned = {**given, "a": np.asfortranarray(given["a"])}
    for _ in range(3):
        with pytest.raises(BindingError, match=r"^a is not C-contiguous and would be copied, which strict=True"):
            strict.value_and_grad(**turned)
        check(strict, given)
    given["a"].setflags(write=False)
    check(strict, given)


def test_a_shape_changed_in_place_is_noticed(net: Network) -> None:
    given = arrays()
    check(net, given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        given["W"].shape = (3, 4)
    with pytest.raises(ShapeError, match=r"W has shape \(3, 4\)"):
        net(**given)


@pytest.fixture
def warm(net: Network, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments with which every entry point was called twice: from now on none of them may be checked in full."""
    given = arrays()
    state = {"W": given["W"]}
    data = {name: x for name, x in given.items() if name != "W"}
    for _ in range(2):
        check(net, given)
        net(**given)
        net.step(state, **data)

    def prepare(*_: Any) -> Any:
        raise AssertionError("checked in full")

    monkeypatch.setattr(net._entries["forward"], "_prepare", prepare)
    monkeypatch.setattr(net._entries["value_and_grad"], "_prepare", prepare)
    monkeypatch.setattr(net._entries["step"], "_prepare", prepare)
    return given


def test_what_was_there_before_is_not_checked_in_full(net: Network, warm: dict[str, Any]) -> None:
    for other in (warm, arrays(5, seed=1), {**warm, "rate": 0.5}, {**warm, "rate": np.float32(3)}):
        check(net, other)
        np.testing.assert_allclose(net(**other)["scores"], other["a"] @ other["W"].T, rtol=1e-5, atol=1e-6)
    data = {**arrays(5, seed=2), "b": np.full(5, 2)}
    del data["W"]
    before, (value, gradient) = warm["W"].copy(), expected({**data, "W": warm["W"]})
    out = net.step({"W": warm["W"]}, **data)
    np.testing.assert_allclose(out["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(warm["W"], before - gradient, rtol=1e-5, atol=1e-6)


def strided(x: Any) -> Any:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def unaligned(x: Any) -> Any:
    found = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    found[...] = x
    return found


class Derived(np.ndarray):
    """An array of a class of the user's."""


CHANGES: dict[str, Callable[[Any], Any]] = {
    "another dtype": lambda x: x.astype(np.float64),
    "as many bytes": lambda x: x.view(f"i{x.itemsize}" if x.dtype.kind == "f" else f"f{x.itemsize}"),
    "one row less": lambda x: x[1:],
    "one row more": lambda x: np.concatenate([x, x[:1]]),
    "one axis less": lambda x: x.reshape(-1)[:1].reshape(()),
    "one axis more": lambda x: x[None],
    "strided": strided,
    "unaligned": unaligned,
    "a list": lambda x: x.tolist(),
    "a class derived": lambda x: x.view(Derived),
    "a number": lambda x: 1,
    "nothing": lambda x: None,
    "a string": lambda x: "array",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["a", "b", "W"])
def test_whatever_is_new_is_checked_in_full(net: Network, warm: dict[str, Any], name: str, change: str) -> None:
    new = {**warm, name: CHANGES[change](warm[name])}
    state = {"W": new.pop("W")}
    for call in (
        lambda: net(**state, **new),
        lambda: net.value_and_grad(**state, **new),
        lambda: net.step(state, **new),
    ):
        with pytest.raises(AssertionError, match="checked in full"):
            call()


@pytest.mark.parametrize("rate", [np.float64(2), np.array(2, np.float32), np.array([2], np.float32), "2", None, True])
def test_a_number_of_another_kind_is_checked_in_full(net: Network, warm: dict[str, Any], rate: Any) -> None:
    with pytest.raises(AssertionError, match="checked in full"):
        net(**{**warm, "rate": rate})


def test_another_state_is_checked_in_full(net: Network, warm: dict[str, Any]) -> None:
    data = {name: x for name, x in warm.items() if name != "W"}
    frozen = warm["W"].view()
    frozen.setflags(write=False)
    for w in (warm["W"].copy(), frozen):
        with pytest.raises(AssertionError, match="checked in full"):
            net.step({"W": w}, **data)
        check(net, {**warm, "W": w})  # what is only read may lie anywhere
    net.step({"W": warm["W"].view()}, **data)  # the same memory under another name


def test_two_states_in_turn(net: Network) -> None:
    given = arrays()
    states = [{"W": given.pop("W")}, {"W": np.ones((4, 3), np.float32)}]
    for k in (0, 1, 0, 0, 1, 1, 0):
        before = {"W": states[k]["W"].copy()}
        net.step(states[k], **given)
        after = before["W"] - expected({**given, **before})[1]
        np.testing.assert_allclose(states[k]["W"], after, rtol=1e-5, atol=1e-6)


def test_numbers_of_every_kind_go_in_and_come_back() -> None:
    half, count = gg.input("half", (), dtype="float64"), gg.input("count", (), dtype="int64")
    short, flag = gg.input("short", (), dtype="int32"), gg.input("flag", (), dtype="bool")
    rows, table = gg.input("rows", (B,), dtype="int32"), gg.param("table", (4, 2))
    n, i = gg.indices("n i")
    net = gg.compile(
        {
            "scaled": half * 2.0,
            "sum": count + short,
            "chosen": gg.where(flag, half, -1.0),
            "picked": gg.compute((n, i), table[rows[n], i]),
            "total": gg.sum(table),
        },
        name="numbers",
    )
    given: dict[str, Any] = {
        "half": 0.5, "count": 1 << 40, "short": -3, "flag": True,
        "rows": np.array([3, 0], np.int32), "table": np.arange(8, dtype=np.float32).reshape(4, 2),
    }  # fmt: skip
    for _ in range(4):
        out = net(**given)
        found = [out[name] for name in ("scaled", "sum", "chosen", "total")]
        assert found == [1.0, (1 << 40) - 3, 0.5, 28.0]
        assert [x.dtype for x in found] == [np.float64, np.int64, np.float64, np.float32]
        np.testing.assert_array_equal(out["picked"], [[6, 7], [0, 1]])
    assert net(**{**given, "flag": False})["chosen"] == -1.0
    given["rows"][1] = -1
    with pytest.raises(BindingError, match=r"rows holds -1, outside 0\.\.3"):
        net(**given)
    assert net._entries["forward"]._direct is not None


def test_what_is_returned_has_its_place_in_the_memory_of_the_call() -> None:
    """Nothing is returned as a null pointer, which had gone into memory that was given back."""
    x = gg.param("x", (gg.size("N"), 3))
    net = gg.compile({"y": gg.sin(x), "loss": gg.sum(x)}, name="places")
    given = {"x": np.ones((4, 3), np.float32)}
    for _ in range(4):
        out, saved = net.forward(**given)
        assert out["loss"] == 12
        net.backward(saved, y=given["x"])
    assert len(saved.room.frames) == 2
    for frames, (words, _) in saved.room.frames.items():
        start = words.ctypes.data
        at, count = frames.table[4:6]
        assert count == len(frames._entry.runs)
        for _ in range(count):
            frame, moves = frames.table[at : at + 2]
            assert start <= words[frame + RESULTS] <= start + words.nbytes - words.itemsize
            at += 2 + 3 * moves


def test_rooms_begin_with_a_line_of_the_cache() -> None:
    """Whatever NumPy's allocator gives: in a kernel a load across two lines costs two."""
    net = gg.compile(gg.tanh(gg.exp(gg.param("v", (gg.size("N"), 3)))).sum(axis=0) ** 2, name="lines")
    work = net.module.workspace
    sizes = [(n,) for n in (0, 1, 5, 70_000)]
    rooms = [RoomPool(work).make(n) for n in sizes]
    for n, room in zip(sizes, rooms, strict=True):
        assert type(room.workspace) is type(work(*n))
        assert [(x.shape, x.dtype) for x in room.workspace] == [(x.shape, x.dtype) for x in work(*n)]
        assert all(x.flags.c_contiguous and x.ctypes.data % 64 == 0 for x in room.workspace)
    assert not any(np.shares_memory(x, y) for x, y in pairwise(x for room in rooms for x in room.workspace))


def test_where_arrays_lie_otherwise_in_memory_every_call_is_checked_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradgen.runtime.calls.headers_are_known", lambda: False)
    x = gg.param("x", (3,))
    net = gg.compile({"loss": gg.sum(x * x)}, updates=gg.optim.sgd(gg.sum(x * x), lr=0.25), name="halved")
    state = {"x": np.array([1, 2, 4], np.float32)}
    for k in range(4):
        assert net.step(state)["loss"] == 21 * 0.25**k
    assert net._entries["step"]._direct is None


@pytest.mark.parametrize("count", [1, 5, 100])
@pytest.mark.parametrize("bad", [-1, 4, 2**40, -(2**63)])
def test_labels_are_checked_at_every_call(net: Network, count: int, bad: int) -> None:
    given = arrays(count)
    net(**given)
    given["b"][-1] = bad
    with pytest.raises(BindingError, match=rf"b holds {bad}, outside 0\.\.3 \(it selects from axis 1 of scores\)"):
        net(**given)
    given["b"][-1] = 3
    net(**given)


def test_a_step_updates_in_place_and_refuses_what_it_cannot_update(net: Network) -> None:
    given = arrays()
    state = {"W": given.pop("W")}
    for _ in range(3):
        _, gradient = expected({**given, **state})
        before = state["W"].copy()
        net.step(state, **given)
        np.testing.assert_allclose(state["W"], before - gradient, rtol=1e-5, atol=1e-6)
    with pytest.raises(BindingError, match="W is no NumPy array"):
        net.step({"W": state["W"].tolist()}, **given)
    with pytest.raises(BindingError, match="W is not C-contiguous"):
        net.step({"W": np.asfortranarray(state["W"])}, **given)
    frozen = state["W"].copy()
    frozen.setflags(write=False)
    with pytest.raises(BindingError, match="W is read-only"):
        net.step({"W": frozen}, **given)


def test_a_step_refuses_arguments_that_share_memory_with_what_it_updates(net: Network) -> None:
    given = arrays(4)
    memory = np.zeros(60, np.float32)
    state = {"W": memory[:12].reshape(4, 3)}
    del given["W"]
    net.step(state, **{**given, "a": memory[12:24].reshape(4, 3)})
    net.step(state, **{**given, "a": memory[24:36].reshape(4, 3)})
    for first in (0, 9, 11):
        overlapping = memory[first : first + 12].reshape(4, 3)
        with pytest.raises(BindingError, match="share memory, and the step updates in place"):
            net.step(state, **{**given, "a": overlapping})
    net.step(state, **{**given, "a": memory[12:24].reshape(4, 3)})
    with pytest.raises(BindingError, match=r"W and a share memory|a and W share memory"):
        net.step(state, **{**given, "a": state["W"]})


def test_parameters_that_are_dropped_are_not_kept_alive(net: Network) -> None:
    given = arrays()
    net(**given)
    alive = weakref.ref(given["W"])
    del given["W"]
    assert alive() is None
    check(net, arrays(seed=3))


def test_forwards_and_backwards_in_any_order(net: Network) -> None:
    one, two = arrays(5, 1), arrays(5, 2)
    (_, saved_one), (_, saved_two) = net.forward(**one), net.forward(**two)
    for given, saved in ((one, saved_one), (two, saved_two), (one, saved_one)):
        np.testing.assert_allclose(net.backward(saved, loss=1.0)["W"], expected(given)[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"the cotangent of scores has shape \(2,\), the output \(5, 4\)"):
        net.backward(saved_one, scores=np.zeros(2, np.float32))
    with pytest.raises(BindingError, match="no float output is called score"):
        net.backward(saved_one, score=1.0)


def test_a_backward_pass_is_not_checked_in_full_again(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    given = arrays(5)
    _, saved = net.forward(**given)
    for _ in range(2):
        net.backward(saved, loss=1.0)
    monkeypatch.delattr(type(net._entries["backward"]), "_prepare")
    for cotangent in (2.0, np.float32(2), np.float64(2), np.array(2.0), 2):
        found = net.backward(saved, loss=cotangent)["W"]
        np.testing.assert_allclose(found, 2 * expected(given)[1], rtol=1e-5, atol=1e-6)


def test_two_networks_of_one_model(net: Network) -> None:
    again = Network(net.model, net.options)
    assert again.module is net.module
    for k in range(4):
        check(net, arrays(seed=k))
        check(again, arrays(seed=k))
    entries = [n._entries["value_and_grad"] for n in (net, again)]
    assert entries[0]._codes == entries[1]._codes != {}


def test_threads_share_a_network(net: Network) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for k in range(200):
                check(net, arrays(1 + (seed + k) % 3, seed))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


ON_ALL_THREADS = """
import threading
import numba
import numpy as np
import gradgen as gg
N = gg.size("N")
x, g = gg.param("x", (N, 768)), gg.input("g", (N, 768))
net = gg.compile({"loss": gg.sum(gg.nn.softmax(gg.nn.layer_norm(x)) * g)}, name="rows")
assert "prange" in net.source
arrays = {k: np.random.default_rng(0).standard_normal((300, 768)).astype("f") for k in "xg"}
wanted = net.value_and_grad(**arrays)[1]["x"]
right = []
def work():
    right.extend(np.array_equal(net.value_and_grad(**arrays)[1]["x"], wanted) for _ in range(50))
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(numba.threading_layer(), sum(right))
"""


def test_threads_share_a_network_that_uses_all_threads(
    python: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the layer of Numba that is always there and aborts when two threads enter it."""
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "workqueue")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    printed, errors = python(ON_ALL_THREADS).communicate()
    assert printed.split() == ["workqueue", "200"], errors


def test_sizes_that_make_no_sense_are_refused_by_name() -> None:
    x = gg.input("x", (B, 2))
    kernel, signal = gg.input("kernel", (K,)), gg.input("signal", (H,))
    h, p = gg.index("h", H - K + 1), gg.index("p")
    valid = gg.compute((h,), gg.sum(signal[h + p] * kernel[p], over=p))
    net = gg.compile({"last": x[-1], "three": x[:3], "valid": valid}, name="sizes")

    def call(b: int, h: int, k: int) -> Any:
        return net(x=np.ones((b, 2), np.float32), kernel=np.ones(k, np.float32), signal=np.ones(h, np.float32))

    np.testing.assert_array_equal(call(3, 4, 2)["valid"], [2, 2, 2])
    assert call(3, 4, 5)["valid"].shape == (0,)
    with pytest.raises(ShapeError, match=r"axis 0 of x, whose size is B: .* B is 0 for"):
        call(0, 4, 2)
    with pytest.raises(ShapeError, match=r"ends behind the last element here: B is 2 for B = 2"):
        call(2, 4, 2)
    with pytest.raises(ShapeError, match=r"axis 0 of valid has the size H - K \+ 1, .*: H - K \+ 1 is -2 for"):
        call(3, 2, 5)


def test_the_largest_of_nothing_is_refused_by_who_asks_for_it() -> None:
    """The gradient of a maximum asks which element it was, too: of nothing it is nothing."""
    x, k = gg.param("x", (3,)), gg.input("k", (K,))
    i, j = gg.indices("i j")
    place = gg.compile({"place": gg.argmax(k)}, name="place")
    assert place(k=np.array([1, 3, 2], np.float32))["place"] == 1
    with pytest.raises(ShapeError, match=r"argmax over K elements has none here: K is 0 for K = 0"):
        place(k=np.zeros(0, np.float32))
    most = gg.compute(i, gg.max(k[j] - x[i], over=j))
    gradient = gg.grad(gg.sum(gg.where(abs(most) < 9, most * most, 0.0)), x)
    both = {"gradient": gradient, "second": gg.grad(gg.sum(gradient * gradient), x)}
    given = {"x": np.ones(3, np.float32), "k": np.zeros(0, np.float32)}
    found = gg.compile(both, wrt=[], name="none")(**given)
    assert {name: list(y) for name, y in found.items()} == {"gradient": [0, 0, 0], "second": [0, 0, 0]}
    found = gg.compile(both, wrt=[], name="none")(**{**given, "k": np.array([1, 3], np.float32)})
    assert {name: list(y) for name, y in found.items()} == {"gradient": [-4, -4, -4], "second": [-16, -16, -16]}


def test_a_loop_without_steps_needs_no_elements() -> None:
    x, e = gg.input("x", (B,)), gg.input("e", (K,))
    net = gg.compile({"y": gg.scan(lambda state, weight: (state[0] * weight + state, None), x, e)[0]}, name="nothing")
    empty, two = np.ones(0, np.float32), np.ones(2, np.float32)
    np.testing.assert_array_equal(net(x=two, e=two)["y"], [4, 4])
    np.testing.assert_array_equal(net(x=two, e=empty)["y"], two)
    assert net(x=empty, e=empty)["y"].shape == (0,)
    with pytest.raises(ShapeError, match=r"ends behind the last element here: B is 0 for"):
        net(x=empty, e=two)


START = """
import sys
import numpy as np
import gradgen as gg
from gradgen import nn
a, b = gg.input("a", (gg.size("B"), 3)), gg.input("b", (gg.size("B"),), dtype="int64")
w = gg.param("W", (4, 3))
loss = nn.cross_entropy(gg.tanh(a @ w.T), b)
net = gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.5), name="again")
state = net.init(0)
out = net.step(state, a=np.ones((2, 3), np.float32), b=np.zeros(2, np.int64))
slow = [name for name in ("sympy", "jinja2") if name in sys.modules]
print(float(out["loss"]), net._compiled is None, slow)
"""


def test_another_process_runs_no_pass(cache: Any, python: Callable[..., Any]) -> None:
    found = []
    for _ in range(2):
        out, err = python(START).communicate(timeout=120)
        assert not err, err
        found.append(out.split())
    assert found[0][0] == found[1][0]
    assert found[0][1] == "False"
    assert found[1][1:3] == ["True", "[]"]


def test_sizes_that_only_an_argument_tells_reach_every_entry_point() -> None:
    """backward reads nothing with an axis M, and yet runs over it."""
    M = gg.size("M")
    x, y = gg.param("x", (3,)), gg.input("y", (M,))
    m = gg.index("m", M)
    i = gg.index("i", 3)
    total = gg.sum(gg.compute((m, i), gg.where(y[m] > 0.0, x[i], x[i] * gg.cast(m, "float32"))))
    net = gg.compile({"total": gg.sum(gg.compute((m, i), x[i] * x[i] * m)), "other": total}, name="telling")
    given = {"x": np.arange(3, dtype=np.float32), "y": np.ones(4, np.float32)}
    _, saved = net.forward(**given)
    np.testing.assert_allclose(net.backward(saved, total=1.0, other=0.0)["x"], 12.0 * given["x"])


def test_calls_from_python_compile_no_entry_point() -> None:
    """Those are for jitted code; the functions that they call are compiled once each, for both."""
    x = gg.param("x", (6, 5))
    net = gg.compile({"loss": gg.sum(gg.nn.softmax(x @ x.T) ** 2)}, updates={x: x * 0.5}, name="no_entry_points")
    state = net.init(seed=0)
    for _ in range(2):
        first = net.value_and_grad(**state)
        net.backward(net.forward(**state)[1], loss=1.0)
    net.step(state)
    entries = {e.name for e in net.interface.entries}
    functions = {name: f for name, f in vars(net.module).items() if hasattr(f, "signatures")}
    assert all(len(f.signatures) == (name not in entries) for name, f in functions.items() if name != "fitted")
    twin = through_entry_points(net)
    state = net.init(seed=0)
    again = twin.value_and_grad(**state)
    np.testing.assert_array_equal(again[0]["loss"], first[0]["loss"])
    np.testing.assert_array_equal(again[1]["x"], first[1]["x"])
    assert net.module.value_and_grad.signatures
    assert all(len(f.signatures) <= 1 for f in functions.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_go_from_one_function_to_the_next(dtype: str) -> None:
    """In the memory of a call, two of them in one word of it if they are small."""
    x = gg.param("x", (gg.size("N"),))
    a, b = gg.sum(gg.sin(x)), gg.max(x)
    n, m = gg.index("n"), gg.index("m", 7)
    y = gg.compute((n, m), gg.exp(-gg.square(x[n] * a - b)) * (m + 1))
    net = gg.compile({"a": a, "b": b, "y": y, "loss": gg.mean(y) * a}, loss="loss", name="numbers", dtype=dtype)
    calls = [c for entry in net.interface.entries for run in entry.runs for c in run.calls]
    handed_on = [x for c in calls for x in c.operands if x.source == "result"]
    assert handed_on
    given = {"x": np.random.default_rng(0).standard_normal(9).astype(dtype)}
    for _ in range(3):
        found, plain = (n.value_and_grad(**given) for n in (net, unjitted(net)))
        for got, wanted in zip(found, plain, strict=True):
            for name in wanted:
                np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5)


def permuted(depth: int = 8, width: int = 128) -> Network:
    """Equal layers, each with a permutation of its own, and a head that is trained."""
    h = gg.input("x", (1, width))
    b, i = gg.indices("b i")
    for k in range(depth):
        w, p = gg.param(f"W{k}", (width, width)), gg.state(f"p{k}", (width,), dtype="int64")
        z = gg.tanh(h @ w.T)
        h = gg.compute((b, i), z[b, p[i]])
    head = gg.param("head", (width,))
    loss = gg.mean(gg.square(h @ head))
    return gg.compile({"loss": loss}, name="permuted", wrt=[head], updates={head: head - 0.1 * gg.grad(loss, head)})


def test_every_row_of_a_stack_is_looked_at_in_every_call() -> None:
    """Its own subscripts, and whether it shares memory with what is updated; the first row said it for all."""
    net = permuted()
    assert net.interface.stacks
    rng = np.random.default_rng(0)
    width, x = 128, np.ones((1, 128), np.float32)
    given = {f"W{k}": rng.standard_normal((width, width)).astype(np.float32) / 10 for k in range(8)}
    given |= {f"p{k}": rng.permutation(width) for k in range(8)}
    state = {**net.stack(given), "head": np.ones(width, np.float32)}
    for _ in range(3):
        net.step(state, x=x)
        loss = net(x=x, **state)["loss"]
    state["p3"][2] += 10**5
    for call in (lambda: net(x=x, **state), lambda: net.step(state, x=x)):
        with pytest.raises(BindingError, match=r"p3 holds 100\d+, outside 0\.\.127"):
            call()
    state["p3"][2] -= 10**5
    assert net(x=x, **state)["loss"] == loss
    rows = np.stack([state[f"W{k}"] for k in range(8)])
    with pytest.raises(BindingError, match=r"head and W3 share memory"):
        net.step({**state, "head": rows[3, 0], **{f"W{k}": rows[k] for k in range(8)}}, x=x)
    state["head"] = rows[3, 0]
    for _ in range(2):
        net.step(state, x=x)
    before = rows.copy()
    with pytest.raises(BindingError, match=r"head and W3 share memory"):
        net.step({**state, **{f"W{k}": rows[k] for k in range(8)}}, x=x)
    np.testing.assert_array_equal(rows, before)


def test_integers_that_an_argument_does_not_hold() -> None:
    unsigned, small = gg.input("u", (), dtype="uint32"), gg.input("s", (), dtype="int32")
    many = gg.input("m", (2,), dtype="int32")
    net = gg.compile({"y": unsigned * 3, "z": small + many}, name="integers_held")
    for value in (2, np.uint32(2)):
        assert net(u=value, s=1, m=[1, 2])["y"] == 6
    for wrong in ({"u": -1}, {"u": 2**40}, {"s": 2**40}, {"s": np.int64(2**40)}, {"s": 2**70}, {"m": [2**40, 0]}):
        name, value = next(iter(wrong.items()))
        with pytest.raises(DTypeError, match=rf"{name} is .*({np.max(value)}|int64)"):
            net(**{"u": 2, "s": 1, "m": [1, 2], **wrong})


def test_arrays_of_other_classes_are_no_reason_to_compile_more() -> None:
    class Mine(np.ndarray):
        pass

    x = gg.input("x", (3,), dtype="int64")
    net = gg.compile({"y": x * 2}, name="other_classes")
    for given in (np.arange(3).view(Mine), np.arange(3, dtype=np.longlong), [0, 1, 2], range(3)):
        for _ in range(2):
            np.testing.assert_array_equal(net(x=given)["y"], [0, 2, 4])
    assert not net.module.forward.signatures


def test_names_in_any_order_from_several_threads() -> None:
    a, b, c, d = (gg.param(name, (2,)) for name in "abcd")
    net = gg.compile({"y": gg.sum(a * b + c * d)}, name="orders")
    values = {name: np.ones(2, np.float32) for name in "abcd"}
    failed: list[BaseException] = []

    def calls(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(60):
                _, saved = net.forward(**{name: values[name] for name in rng.permutation(list(values))})
                assert net.backward(saved, y=1.0)["a"][0] == 1
        except BaseException as error:  # a thread has nobody to raise to
            failed.append(error)

    threads = [threading.Thread(target=calls, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_what_forward_keeps_is_not_copied() -> None:
    """Two owners would hand its workspace to two calls at once."""
    w = gg.param("w", (3,))
    _, saved = gg.compile({"loss": gg.sum(w * w)}, name="kept").forward(w=np.ones(3, np.float32))
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            copying(saved)


def test_what_updates_alone_read_is_needed_by_steps_alone() -> None:
    x, w, rate = gg.input("x", (B,)), gg.param("w", ()), gg.input("rate", (B,))
    loss = gg.sum((w * x - 1) ** 2)
    net = unjitted(gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=gg.mean(rate)), name="rated"))
    given = {"x": np.ones(2, "float32"), "w": np.float32(0.5)}
    rates = np.full(2, 0.1, "float32")
    for found in (net(**given), net(**given, rate=rates), net.value_and_grad(**given)[0], net.forward(**given)[0]):
        assert found["loss"] == 0.5
    with pytest.raises(BindingError, match=r"^rated\.step: rate missing\. Needed are x, w, rate\.$"):
        net.step({"w": given["w"]}, x=given["x"])
    with pytest.raises(BindingError, match=r"^rated\.forward: x missing\. Needed are x, w\.$"):
        net(w=given["w"])
    with pytest.raises(ShapeError, match="size B is 2"):
        net(**given, rate=np.ones(3, "float32"))
