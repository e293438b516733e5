"""A saved module in the hands of somebody without gradgen: it makes its arguments, tries itself, says what it is."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import ShapeError
from gradgen.network import Network
from tests.cpu.models import MODELS
from tests.cpu.running import case, unjitted_module
from tests.repeats import chosen


def tried(net: Network, capsys: pytest.CaptureFixture[str], text: str = "") -> str:
    """What `python FILE` prints, of the file as plain Python, its calls timed once."""
    module = unjitted_module(text or net.standalone("module.py"))
    vars(module)["time_of"] = lambda call: call() is None or 1.0
    with np.errstate(all="ignore"):
        module.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("name", chosen([model.name for model in MODELS], [model.name for model in MODELS[::3]]))
def test_every_module_tries_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    net = case(name, "float64").net
    printed = tried(net, capsys)
    found = re.match(r"the gradient and central differences are (\S+) apart", printed)
    assert found is not None
    assert float(found[1]) < 1e-5


def deep(depth: int) -> Network:
    """Layers of every kind of first value, enough equal ones to be rows of one array; labels; an optimiser's states."""
    x, label = gg.input("x", (gg.size("B"), 8)), gg.input("label", (gg.size("B"),), "int64")
    h = x + gg.nn.Embedding(5, 8, padding_idx=1, name="table")(label)
    for k in range(depth):
        W = gg.param(f"W{k}", (8, 8), init=gg.nn.init.xavier_normal())
        h = gg.tanh(h @ W + gg.param(f"b{k}", (8,), init=gg.nn.init.uniform(-0.1, 0.1)))
    scale = gg.param("scale", (8,), init=gg.nn.init.constant(0.5))
    loss = gg.mean((h * scale) ** 2)
    return gg.compile({"loss": loss}, name="deep", loss="loss", updates=gg.optim.adam(loss, lr=1e-3))


def assert_first_values(net: Network, **sizes: int) -> None:
    module = unjitted_module(net.standalone("module.py"))
    wanted = net.init(3)
    made_here = [module.params(*sizes.values(), 3)] if hasattr(module, "params") else []
    for made in (*made_here, *([module.state()] if hasattr(module, "state") else [])):
        for name, rows in stacked(net, made).items():
            np.testing.assert_array_equal(rows, wanted[name], err_msg=name)
            assert rows.dtype == wanted[name].dtype, name


def stacked(net: Network, made: Any) -> dict[str, np.ndarray]:
    """The arrays of a named tuple by the names that callers know."""
    key = {"Params": "p", "State": "s"}[type(made).__name__]
    names = [x.name for x in net.interface.fields[key]]
    counts = {x.at: x.count for x in net.interface.stacked(key)}
    rows: list[np.ndarray] = []
    for x in made:
        rows += list(x) if len(rows) in counts else [x]
    return dict(zip(names, rows, strict=True))


@pytest.mark.parametrize("depth", [2, 12])
def test_first_values_are_those_of_init(depth: int) -> None:
    net = deep(depth)
    assert bool(net.interface.stacks) == (depth > 2)
    assert_first_values(net)
    text = net.standalone("module.py")
    assert text.count("rng.uniform(-0.1, 0.1") == 2  # each layer of two; the first of twelve, and a loop


def test_first_values_of_a_size_that_is_known_at_call_time() -> None:
    N = gg.size("N")
    w = gg.param("w", (3, N))
    v = gg.param("v", (N, 3), init=gg.nn.init.kaiming_normal())
    net = gg.compile({"y": gg.input("x", (N,)) @ (w.T @ v.T) + gg.sum(v)}, name="open_sizes")
    module = unjitted_module(net.standalone("module.py"))
    known = net.compiled_with(sizes={"N": 4}).init(3)
    for x, y in zip(module.params(4, seed=3), known.values(), strict=True):
        np.testing.assert_array_equal(x, y)


class Eye:
    """A user's own first value, which has no text."""

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.eye(*shape, dtype=dtype)


def test_first_values_that_have_no_text_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    w, v = gg.param("w", (3, 3), init=Eye()), gg.param("v", (3, 3))
    net = gg.compile({"loss": gg.sum((w @ v) ** 2)}, name="eye", loss="loss")
    text = net.standalone("module.py")
    assert "p, w, g = params(w), workspace(), gradients()" in text or "params(w)" in text
    made = unjitted_module(text).params(np.eye(3), 3)
    np.testing.assert_array_equal(made.w, np.eye(3))
    assert "apart" in tried(net, capsys)


def test_infinite_first_values_are_text() -> None:
    m = gg.state("m", (2,), init=gg.nn.init.constant(-np.inf))
    x = gg.input("x", (2,))
    net = gg.compile({"y": gg.sum(x)}, updates={m: gg.maximum(m, x)}, name="running_maximum")
    assert "s.m[...] = -np.inf" in net.standalone("module.py")
    assert_first_values(net)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_values_that_are_given_are_text(dtype: str) -> None:
    table = np.random.default_rng(2).normal(size=(5, 7))
    w, v = gg.param("w", (2, 3), init=[[1, 2, 3], [0.1, -5, 6]]), gg.param("v", (3,), init=0.1)
    u, rates = gg.param("u", (5, 7), init=table), gg.param("rates", (2,), init=np.array([np.inf, 1e-30]))
    least, count = gg.state("least", (4,), init=np.inf), gg.state("count", (), dtype="int64", init=2**60 + 1)
    flags = gg.state("flags", (2,), dtype="bool", init=[True, False])
    loss = gg.sum((w * v) ** 2) + gg.sum(u * u) + gg.sum(1 / rates) + gg.sum(gg.param("drawn", (2, 2)))
    updates = {least: gg.minimum(least, loss), count: count + 1, flags: ~flags}
    net = gg.compile({"loss": loss}, name="given_first", updates=updates, dtype=dtype)
    assert "p.v[...] = 0.1\n" in net.standalone("module.py")
    assert_first_values(net)
    first = net.init()
    np.testing.assert_array_equal(first["u"], table.astype(dtype))
    np.testing.assert_array_equal(first["v"], np.full(3, 0.1, dtype))
    np.testing.assert_array_equal(first["rates"], np.array([np.inf, 1e-30], dtype))
    assert (int(first["count"]), first["flags"].tolist()) == (2**60 + 1, [True, False])
    assert not np.shares_memory(first["u"], net.init()["u"])


def test_first_values_of_many_numbers_are_given_by_callers() -> None:
    numbers = np.arange(6000.0)
    w, v = gg.param("w", (6000,), init=numbers), gg.param("v", (2,))
    net = gg.compile({"loss": gg.sum(w) * gg.sum(v)}, name="many_first", loss="loss")
    np.testing.assert_array_equal(net.init()["w"], numbers.astype("float32"))
    made = unjitted_module(net.standalone("module.py")).params(numbers)
    np.testing.assert_array_equal(made.w, numbers.astype("float32"))


def test_given_first_values_of_a_size_that_is_another_are_refused() -> None:
    w = gg.param("w", (gg.size("N"), 2), init=np.ones((3, 2)))
    net = gg.compile({"loss": gg.sum(w)}, name="sized")
    assert net.compiled_with(sizes={"N": 3}).init()["w"].shape == (3, 2)
    with pytest.raises(ShapeError, match=r"^sized\.init: the initialiser of w draws \(3, 2\), and it is \(4, 2\)\.$"):
        net.compiled_with(sizes={"N": 4}).init()


def test_gradients_of_what_the_loss_does_not_read_are_zeros() -> None:
    w, v = gg.param("w", (2,)), gg.param("v", (2,))
    net = gg.compile({"loss": gg.sum(w * w), "other": gg.sum(v * v)}, name="apart", loss="loss")
    module = unjitted_module(net.standalone("module.py"))
    g = module.gradients()
    module.value_and_grad(module.params(), g)
    assert not g.d_v.any()
    module.main()


def test_names_that_look_like_the_generator(tmp_path: Path) -> None:
    """A given parameter whose name ends so, and a module that draws nothing, are in order for ruff."""
    wrng = gg.param("wrng", (3, 3), init=Eye())
    given = gg.compile({"loss": gg.sum(wrng * wrng)}, name="given", loss="loss").standalone("given.py")
    assert "def params(wrng):" in given
    counts = gg.compile(
        {"n": gg.sum(gg.exp(gg.arange(gg.size("N"), dtype="float32")))}, sizes={"N": 5}, name="counts"
    ).standalone("counts.py")
    for name, text in {"given": given, "counts": counts}.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_model_without_sizes_to_try_it_at_is_saved_without_a_test() -> None:
    a = gg.input("a", (gg.size("T"),))
    text = gg.compile({"y": a[3000] * a[0]}, name="far_out").standalone("far_out.py")
    assert "def main" not in text
    assert "`python" not in text
    unjitted_module(text).forward(np.arange(3001.0, dtype=np.float32))


def test_a_wrong_gradient_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    module = unjitted_module(deep(2).standalone("module.py"))
    right = module.value_and_grad

    def wrong(*arguments: Any) -> Any:
        loss = right(*arguments)
        arguments[-1].d_W0[...] *= 1.2
        return loss

    vars(module).update(value_and_grad=wrong, time_of=lambda call: 1.0)
    with pytest.raises(SystemExit, match="they differ: a wrong gradient, or numbers that are too large"):
        module.main()


def test_a_model_that_wants_positive_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    x, w, c = gg.input("x", (4,)), gg.param("w", (4,)), gg.input("c", ())
    net = gg.compile({"loss": gg.sum(gg.log(x) * gg.sqrt(w) + gg.log(c))}, name="logs", loss="loss", dtype="float64")
    found = re.match(r"the gradient and central differences are (\S+) apart", tried(net, capsys))
    assert found is not None
    assert float(found[1]) < 1e-6


def test_data_that_selects_outside_is_not_tried() -> None:
    k, x = gg.input("k", (4,), "int64"), gg.param("x", (4,))
    net = gg.compile({"loss": gg.sum(x[k + gg.input("n", (4,), "int64") + 5])}, name="far", loss="loss")
    with pytest.raises(SystemExit, match="what was drawn here selects outside of an axis: give data of your own"):
        unjitted_module(net.standalone("module.py")).main()


def test_a_module_runs_where_there_is_no_gradgen(tmp_path: Path) -> None:
    """Jitted, in a process of its own; what it says of itself can be copied."""
    path = deep(2).save(tmp_path / "deep_grad.py")
    (tmp_path / "gradgen.py").write_text("raise ImportError('this is no place for it')")
    clean = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, path.name], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"the gradient and central differences are \S+ apart, of 2e-02 \(float32\)", lines[0])
    assert lines[1] == "us of a call, with B = 4:"
    assert [line.split()[0] for line in lines[2:]] == ["forward", "value_and_grad", "step"]


def test_the_docstring() -> None:
    text = deep(2).standalone("deep_train.py")
    assert (
        text.split('"""')[1]
        == """deep: forward, backward, value_and_grad, step. It needs numpy, scipy and numba.

    p, s, w, g = params(), state(), workspace(B), gradients()
    loss = forward(x, label, p, w)
    backward(x, label, d_loss, p, w, g)
    loss = value_and_grad(x, label, p, w, g)
    loss = step(x, label, p, s, w)

x       float32 (B, 8)
label   int64 (B,), 0 to 4
d_loss  float32, the derivative by loss

Arrays are C-contiguous and of these dtypes; no function looks at the shapes of those in named tuples. step writes
its new values into p and s. check(label) counts subscripts outside of their axes: call the others only where that
is 0.

`python deep_train.py` compares the gradient with differences, and takes the time of calls.
"""
    )


def window(size: int) -> Network:
    """Sums of a window: at sizes below it there are none."""
    N, i, k = gg.size("N"), gg.index("i", gg.size("N") - size + 1), gg.index("k", size)
    x, w = gg.input("x", (N,)), gg.param("w", (size,))
    return gg.compile({"loss": gg.sum(gg.compute(i, gg.sum(x[i + k] * w[k], over=k)) ** 2)}, name="window", loss="loss")


def tripled(net: Network) -> Any:
    """The saved module as plain Python, its gradients three times too large."""
    module = unjitted_module(net.standalone("module.py"))
    right = module.value_and_grad

    def wrong(*arguments: Any) -> Any:
        result = right(*arguments)
        for d in arguments[-1]:
            d *= 3
        return result

    vars(module).update(value_and_grad=wrong, time_of=lambda call: 1.0)
    return module


def length() -> Network:
    x, w, n = gg.input("x", (gg.size("N"),)), gg.param("w", ()), gg.input("n", (), "int64")
    return gg.compile({"loss": gg.sum(gg.where(gg.arange(gg.size("N")) < n, x, 0.0)) * w}, name="length", loss="loss")


def tiny() -> Network:
    w = gg.param("w", (3,))
    return gg.compile({"loss": gg.sum(w * w) * 1e-38}, name="tiny", loss="loss", dtype="float64")


@pytest.mark.parametrize("net", [window(9), window(60), length(), tiny()], ids=lambda net: net.model.name)
def test_a_test_exercises_what_it_tests(net: Network) -> None:
    with pytest.raises(SystemExit, match="they differ: a wrong gradient, or numbers that are too large"):
        tripled(net).main()


def test_what_cannot_be_compared_is_said() -> None:
    w, x = gg.param("w", (3,)), gg.input("x", (3,))
    for loss, what in (
        (gg.sum(gg.log(-gg.abs(w) - 1.0) * x), "the number is nan"),
        (gg.sum(w * 0.0 + x), "the gradient is 0"),
    ):
        net = gg.compile({"loss": loss}, name="nothing", loss="loss")
        with np.errstate(all="ignore"), pytest.raises(SystemExit) as caught:
            unjitted_module(net.standalone("module.py")).main()
        assert str(caught.value) == f"nothing is compared: {what} at what was drawn here. Give data of your own."


def test_parameters_without_elements() -> None:
    P, x, w = gg.param("P", (3, 0)), gg.param("x", (3,)), gg.param("w", (3, 2))
    for loss in (gg.sum(P) + gg.sum(x**2), gg.sum(gg.input("none", (0, 3)) @ w)):
        text = gg.compile({"loss": loss}, name="empty", loss="loss").standalone("module.py")
        compile(text, "module.py", "exec")


def test_what_the_functions_leave_to_their_callers_is_said() -> None:
    k, n = gg.input("k", (4,), "int64"), gg.input("n", (4,), "int64")
    w = gg.param("w", (4,), init=Eye())
    losses = {"first": gg.sum(w[k * n]), "total": gg.sum(w * w)}
    text = gg.compile(losses, name="said", loss="total", updates=gg.optim.sgd(losses["total"], lr=0.1)).standalone(
        "s.py"
    )
    said = " ".join(text.split('"""')[1].split())
    for sentence in (
        "Arrays are C-contiguous and of these dtypes; no function looks at the shapes of those in named tuples.",
        "The gradient of value_and_grad is that of total.",
        "step writes its new values into p.",
        "check(k, n) counts subscripts outside of their axes: call the others only where that is 0.",
        "w float32 (4,), a first value that is yours to choose",
    ):
        assert sentence in said, sentence
