"""Calls of a compiled network: what is refused, what is recognised from the call before, what a process remembers."""

import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, DTypeError, LayoutWarning, ShapeError
from gradgen.network import Network

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


def test_a_shape_changed_in_place_is_noticed(net: Network) -> None:
    given = arrays()
    check(net, given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        given["W"].shape = (3, 4)
    with pytest.raises(ShapeError, match=r"W has shape \(3, 4\)"):
        net(**given)


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
    with pytest.raises(BindingError, match="W is no array"):
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
