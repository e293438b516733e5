"""Stacked arrays behind the user's own names: views, separate arrays, updates in place."""

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError
from gradgen.runtime.bindings import one_array
from tests.cpu.running import unjitted
from tests.passes.test_roll import chain


def test_separate_arrays_give_the_same_and_steps_need_rows() -> None:
    net = unjitted(chain(6))
    x = np.ones((1, 128), "float32")
    rows = net.init()
    assert rows["W0"].base is rows["W5"].base
    apart = {name: value.copy() for name, value in rows.items()}
    wanted, gradients = net.value_and_grad(x=x, **rows)
    found, others = net.value_and_grad(x=x, **apart)
    assert found["loss"] == wanted["loss"]
    for name, value in gradients.items():
        np.testing.assert_array_equal(others[name], value)
    with pytest.raises(BindingError, match=r"W0 \.\. W5 are updated in place and must be rows of one array"):
        net.step(apart, x=x)
    strict = unjitted(chain(6, strict=True))
    with pytest.raises(
        BindingError,
        match=r"^W0 \.\. W5 would be copied, which strict=True refuses, and must be rows of one array\. "
        r"Give the arrays of net\.init\(\), or those of net\.stack\(\.\.\.\)\.$",
    ):
        strict(x=x, **apart)
    together = net.stack(apart)
    assert strict(x=x, **together)["loss"] == wanted["loss"]
    net.step(together, x=x)
    for name, value in gradients.items():
        np.testing.assert_allclose(together[name], apart[name] - np.float32(0.01) * value, rtol=1e-5, atol=1e-6)


def test_small_layers_are_rolled_before_they_fuse() -> None:
    """Layers of width 8 are loops, no matrix products; fused, thirty would be one function of thousands of lines."""

    def chain_of(count: int) -> gg.Network:
        h: gg.Tensor = gg.input("x", (4, 8))
        for k in range(count):
            h = gg.tanh(h @ gg.param(f"W{k}", (8, 8)).T + gg.param(f"mu{k}", (8,)))
        return gg.compile({"loss": gg.mean(gg.square(h))}, name="small_layers")

    net, deeper = unjitted(chain_of(20)), chain_of(40)
    assert abs(len(deeper.source.splitlines()) - len(net.source.splitlines())) < 10
    assert "for t in range(20)" in net.source
    given = {"x": np.linspace(-1, 1, 32, dtype="float32").reshape(4, 8), **net.init()}
    wanted = given["x"].astype("float64")
    for k in range(20):
        wanted = np.tanh(wanted @ given[f"W{k}"].T.astype("float64") + given[f"mu{k}"])
    out, gradients = net.value_and_grad(**given)
    np.testing.assert_allclose(out["loss"], np.mean(wanted**2), rtol=1e-5)
    step = 1e-2
    for name in ("W0", "mu7", "W19"):
        direction = gradients[name] / np.linalg.norm(gradients[name])
        ends = [net(**{**given, name: given[name] + sign * step * direction})["loss"] for sign in (1, -1)]
        slope = (float(ends[0]) - float(ends[1])) / (2 * step)
        np.testing.assert_allclose(slope, np.sum(gradients[name] * direction), rtol=2e-2)


def test_rows_of_any_memory_are_one_array() -> None:
    memory = np.zeros(4 * 12, "uint8").view("float32")
    a, b, c = (memory[k : k + 4].reshape(2, 2) for k in (0, 4, 8))
    whole = one_array([a, b, c])
    assert whole is not None
    whole[...] = np.arange(12).reshape(3, 2, 2)
    np.testing.assert_array_equal(memory, np.arange(12))
    assert one_array([a, c]) is None
    assert one_array([b, a]) is None
    assert one_array([a, b.copy()]) is None
    assert one_array([a.copy(), b]) is None


def test_subscripts_are_checked_beside_rolled_layers() -> None:
    """The entry that checks them takes no parameters, stacked or not."""
    table, at = gg.input("table", (4, 8)), gg.input("at", (2,), dtype="int64")
    h: gg.Tensor = gg.input("x", (3, 8))
    for k in range(20):
        h = gg.tanh(h @ gg.param(f"W{k}", (8, 8)).T)
    chosen = gg.where(at[0] >= 0, table[at[0] + 1], 0.0)
    loss = gg.mean(gg.square(h + chosen))
    net = unjitted(gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.1), name="beside_rolled"))
    assert net.interface.stacks
    given = {"x": np.ones((3, 8), "float32"), "table": np.ones((4, 8), "float32")}
    state = net.init()
    out, _ = net.value_and_grad(at=np.array([2, 0]), **given, **state)
    assert net.step(state, at=np.array([2, 0]), **given)["loss"] == out["loss"]
    with pytest.raises(BindingError, match="a computed subscript leaves axis 0 of table, whose size is 4, once here"):
        net(at=np.array([3, 0]), **given, **state)
