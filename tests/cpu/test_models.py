"""Every model three ways: the interpreter, the emitted file as plain Python, and jitted; values and gradients.

Plain Python runs every entry point in both dtypes. Numba's compilation is what takes time, so by default each model has
machine code of forward and backward in one dtype, by turns; some have that of value_and_grad too, which is made of
nearly the same functions, and of the entry points around them.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradgen.network import Network
from gradgen.runtime.plans import Room, RoomPool
from tests.cpu.models import CANARIES, MODELS, Model, compiled_in, parameters
from tests.cpu.running import (
    DIFFERENCE_STEP,
    DIFFERENCE_TOLERANCE,
    Case,
    Guarded,
    assert_close,
    case,
    filled,
    unjitted,
)
from tests.repeats import DTYPES, parameter

ROOT = Path(__file__).resolve().parents[2]
SIZED = [model for model in MODELS if model.sizes]
WAYS = ("plain", "jitted", "entries")


def three_ways(models: Sequence[Model], jitted: Sequence[Model], entered: Sequence[Model]) -> list[Any]:
    """Models in each dtype and way, with those that are compiled by default in one."""
    default = {"plain": models, "jitted": jitted, "entries": entered}
    return [
        parameter(m.name, dtype, way, default=m in default[way] and (way == "plain" or dtype == compiled_in(m.name)))
        for m in models
        for dtype in DTYPES
        for way in WAYS
    ]


WITH_LOSS = [model for model in MODELS if model.loss]
CASES = three_ways(MODELS, MODELS, [model for model in MODELS if not model.loss][::3])
JOINT = three_ways(
    WITH_LOSS, [model for model in WITH_LOSS if model in CANARIES or model in WITH_LOSS[::3]], WITH_LOSS[::5]
)


def run(
    net: Network, arrays: Mapping[str, Any], cotangents: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Outputs and gradients by forward and backward; no argument is changed."""
    before = {name: np.array(x, copy=True) for name, x in {**arrays, **cotangents}.items()}
    with np.errstate(all="ignore"):
        outputs, saved = net.forward(**arrays)
        gradients = net.backward(saved, **cotangents) if "backward" in net._entries else {}
    for name, x in {**arrays, **cotangents}.items():
        np.testing.assert_array_equal(x, before[name], err_msg=f"{name} was changed")
    return outputs, gradients


def check_outputs(this: Case, found: Mapping[str, Any], wanted: Mapping[str, np.ndarray]) -> None:
    assert list(found) == this.names
    for key in this.names:
        assert found[key].dtype.name == this.nodes[key].dtype, key
        assert_close(found[key], wanted[key], this.dtype, key)


def check_gradients(this: Case, found: Mapping[str, Any], wanted: Mapping[str, np.ndarray]) -> None:
    for x in this.wrt:
        if x.name in found:
            assert found[x.name].dtype.name == x.dtype, x.name
            assert_close(found[x.name], wanted[x.name], this.dtype, f"the gradient by {x.name}")
        else:
            assert not wanted[x.name].any(), f"the gradient by {x.name} is missing"


@pytest.mark.parametrize(("name", "dtype", "way"), CASES)
def test_the_emitted_file_computes_what_the_formulas_say(name: str, dtype: str, way: str) -> None:
    this = case(name, dtype)
    net = this.network(way)
    outputs, gradients = run(net, this.arrays, this.cotangents)
    check_outputs(this, outputs, this.outputs)
    check_gradients(this, gradients, this.gradients)
    again, _ = run(net, this.arrays, this.cotangents)  # in a workspace that holds the values of another call
    for key in this.names:
        np.testing.assert_array_equal(again[key], outputs[key])


@pytest.mark.parametrize(("name", "dtype", "way"), JOINT)
def test_value_and_grad_is_forward_and_backward(name: str, dtype: str, way: str) -> None:
    this = case(name, dtype)
    net = this.network(way)
    with np.errstate(all="ignore"):
        outputs, gradients = net.value_and_grad(**this.arrays)
    check_outputs(this, outputs, this.outputs)
    _, wanted = run(this.plain, this.arrays, {this.model.loss: 1.0})
    assert gradients
    assert set(gradients) <= set(wanted)
    for name, g in gradients.items():
        assert g.dtype == wanted[name].dtype
        assert_close(g, wanted[name], this.dtype, f"the gradient by {name}")
    for name in wanted.keys() - gradients.keys():
        assert not wanted[name].any(), name


@pytest.mark.parametrize("name", parameters(SIZED))
def test_a_larger_workspace_changes_no_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another call has left there is neither read nor in the way."""
    this = case(name, "float64")
    net = unjitted(this.net)

    def make(pool: RoomPool, sizes: tuple[int, ...]) -> Room:
        made = getattr(net.module, "workspace", tuple[Any, ...])
        return Room(filled(made(*(size + k for k, size in enumerate(sizes, 2)))))

    monkeypatch.setattr(RoomPool, "make", make)
    outputs, gradients = run(net, this.arrays, this.cotangents)
    check_outputs(this, outputs, this.outputs)
    check_gradients(this, gradients, this.gradients)


@pytest.mark.parametrize("name", parameters())
def test_gradients_are_differences(name: str) -> None:
    """<J^T w, v> is d/dt <w, f(x + t v)>, and <J v, w>."""
    this = case(name, "float64")
    net = this.plain
    cotangents = this.cotangents_of(this.outputs, skip=this.model.detached)
    smooth = [key for key in cotangents if key not in this.model.detached]
    _, gradients = run(net, this.arrays, cotangents)
    rng = np.random.default_rng(2)
    directions = {x.name: rng.standard_normal(this.arrays[x.name].shape).astype(x.dtype) for x in this.wrt}

    def value(step: float) -> tuple[float, float]:
        moved = {key: this.arrays[key] + step * v for key, v in directions.items()}
        with np.errstate(all="ignore"):
            outputs = net(**{**this.arrays, **moved})
        terms = [np.asarray(outputs[key]) * cotangents[key] for key in smooth]
        return sum(float(np.sum(t)) for t in terms), sum(float(np.sum(np.abs(t))) for t in terms)

    products = [gradients[key] * v for key, v in directions.items() if key in gradients]
    derived = sum(float(np.sum(p)) for p in products)
    above, below = value(DIFFERENCE_STEP), value(-DIFFERENCE_STEP)
    measured = (above[0] - below[0]) / (2 * DIFFERENCE_STEP)
    scale = sum(float(np.sum(np.abs(p))) for p in products) + above[1]
    assert abs(derived - measured) < DIFFERENCE_TOLERANCE * scale

    tangents = this.tangents(directions, smooth)
    pushed = sum(float(np.sum(np.asarray(tangents[key]) * cotangents[key])) for key in smooth)
    assert abs(derived - pushed) < 1e-12 * scale


def between_guards(net: Network, monkeypatch: pytest.MonkeyPatch) -> tuple[Network, Guarded]:
    """A network whose outputs, gradients and workspace lie between guard values; nan if they were read."""
    guarded = Guarded()
    monkeypatch.setattr(np, "empty", guarded.empty)
    return net.with_module(net.module), guarded  # with a workspace to make


@pytest.mark.parametrize("way", ["plain", "jitted"])
@pytest.mark.parametrize("name", parameters())
def test_nothing_beside_an_array_is_written(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    this = case(name, compiled_in(name))
    net = this.network(way)
    run(net, this.arrays, this.cotangents)  # compiled before `np.empty` is another function
    fresh, guarded = between_guards(net, monkeypatch)
    outputs, gradients = run(fresh, this.arrays, this.cotangents)
    monkeypatch.undo()
    guarded.check()
    check_outputs(this, outputs, this.outputs)
    check_gradients(this, gradients, this.gradients)


@pytest.mark.parametrize(("name", "dtype", "way"), JOINT)
def test_value_and_grad_writes_nothing_beside_an_array(
    name: str, dtype: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = case(name, dtype)
    net = this.network(way)
    with np.errstate(all="ignore"):
        _, wanted = net.value_and_grad(**this.arrays)
        fresh, guarded = between_guards(net, monkeypatch)
        outputs, gradients = fresh.value_and_grad(**this.arrays)
    monkeypatch.undo()
    guarded.check()
    check_outputs(this, outputs, this.outputs)
    for key, g in wanted.items():
        np.testing.assert_array_equal(gradients[key], g, err_msg=key)


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("name", parameters(SIZED))
def test_other_sizes(name: str, size: int) -> None:
    """Empty and single axes, and sizes for which nothing was compiled specially."""
    this = case(name, compiled_in(name))
    sizes = {symbol: max(size, this.model.least.get(symbol, 0)) for symbol in this.model.sizes}
    arrays = this.model.arrays(this.leaves, seed=3, sizes=sizes)
    wanted = this.reference(arrays, sizes)
    cotangents = this.cotangents_of(wanted)
    wanted_gradients = this.reference_gradients(arrays, cotangents, sizes)
    for net in (this.net, this.plain):
        outputs, gradients = run(net, arrays, cotangents)
        check_outputs(this, outputs, wanted)
        check_gradients(this, gradients, wanted_gradients)


UNJITTED = """
import sys
import numpy as np
from tests.cpu.running import Case
for name in sys.argv[2:]:
    case = Case(name, "float32")
    with np.errstate(all="ignore"):
        outputs, gradients = case.net.value_and_grad(**case.arrays)
    np.savez(f"{sys.argv[1]}/{name}.npz", **outputs, **{f"d_{name}": g for name, g in gradients.items()})
"""


def test_numba_disable_jit(tmp_path: Path) -> None:
    """What the tests call plain Python is what NUMBA_DISABLE_JIT=1 gives, to the bit."""
    names = ["mlp_naive_ce", "gathers", "layernorm_softmax"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", UNJITTED, str(tmp_path), *names], check=True, env=environment)
    for name in names:
        plain = case(name, "float32")
        with np.errstate(all="ignore"):
            outputs, gradients = plain.plain.value_and_grad(**plain.arrays)
        with np.load(tmp_path / f"{name}.npz") as found:
            for key, value in {**outputs, **{f"d_{key}": g for key, g in gradients.items()}}.items():
                np.testing.assert_array_equal(found[key], value, err_msg=f"{name}: {key}")


def test_the_numbers_of_the_lecture() -> None:
    """ln(x1) + x1 x2 - sin(x2) at (2, 5), in straight lines; and the cross-entropy of four scores."""
    this = case("lecture_scalar", "float64")
    for net in (this.net, this.plain):
        outputs, gradients = net.value_and_grad(x1=2.0, x2=5.0)
        assert round(float(outputs["y"]), 3) == 11.652
        assert [round(float(gradients[key]), 3) for key in ("x1", "x2")] == [5.5, 1.716]
    assert not any(line.lstrip().startswith(("for ", "while ")) for line in this.net.source.splitlines())

    net = case("losses", "float64").plain
    rest = {"t": np.ones((1, 4))}
    for label, wanted in ((1, 2.95), (2, 0.75)):
        outputs = net(x=np.array([[0.1, -0.8, 1.4, 1.1]]), b=np.array([label]), **rest)
        assert round(float(outputs["cross_entropy"]), 2) == wanted
