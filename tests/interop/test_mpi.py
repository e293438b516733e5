"""Training on two ranks against one process on the whole batch; how a run ends when a rank does."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import DTypeError, GraphError, OptionError
from gradgen.interop import mpi

ROOT = Path(__file__).resolve().parents[2]
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or find_spec("mpi4py") is None, reason="needs mpi4py and an mpiexec: pip install mpi4py mpich"
)


def on_two_ranks(*command: str) -> subprocess.CompletedProcess[str]:
    """Two processes of one thread each, un-jitted."""
    one = dict.fromkeys(("NUMBA_DISABLE_JIT", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.run(
        [str(MPIEXEC), "-n", "2", sys.executable, *command],
        env={**os.environ, **one, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def case(name: str, path: Path) -> subprocess.CompletedProcess[str]:
    return on_two_ranks("-m", "mpi4py", str(Path(__file__).with_name("ranks.py")), name, str(path))


@needs_mpi
def test_two_ranks_find_what_one_process_does(tmp_path: Path) -> None:
    done = case("numbers", tmp_path / "state.npz")
    assert done.returncode == 0, done.stdout + done.stderr
    held = ["whole_batch", "optimisers", "layers", "empty_shares", "counted", "statistics", "agreement", "files"]
    printed = "[1. 2. 3.] 0.0"
    assert f"    {printed}\n" in (ROOT / "docs" / "data_parallel.md").read_text(encoding="utf-8")
    held += [re.escape(printed), "page"]
    if find_spec("sklearn"):
        held += [r"epoch  1, loss 2\.\d+", r"test accuracy, 2 ranks: \d+\.\d\d%"]
    assert re.fullmatch("\n".join([*held, "example", ""]), done.stdout)


@needs_mpi
@pytest.mark.parametrize("how", ["raises", "dies"])
def test_a_rank_that_ends_ends_the_run_and_leaves_the_last_checkpoint(how: str, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    done = case(how, path)  # the other rank waits for a sum that never comes
    assert done.returncode != 0
    if how == "raises":
        assert "ValueError: no such batch\nrank 1 of 2 has failed, which ends all of them.\n" in done.stderr
    else:
        assert re.search(r"KILLED BY SIGNAL: 9|EXIT CODE: 9|signal 9", done.stdout + done.stderr)  # of mpiexec
    assert np.load(path)["adam_step"] == 2
    assert [found.name for found in tmp_path.iterdir()] == ["state.npz"]


# ---------------------------------------------------------------- what is refused

B = gg.size("B")
x = gg.input("x", (B, 3))
w = gg.param("w", (3,))
loss = gg.mean((x @ w) ** 2)


def message(error: type[Exception], net: gg.Network, **options: Any) -> str:
    """None of these comes so far as to need MPI."""
    with pytest.raises(error) as caught:
        mpi.DataParallel(net, **options)
    return str(caught.value)


def test_a_network_needs_updates_and_a_loss() -> None:
    assert message(GraphError, gg.compile({"loss": loss}, name="bare")) == (
        "bare has no updates: gg.compile(..., updates=gg.optim.sgd(loss, lr=0.1))."
    )
    two = gg.compile({"loss": loss, "other": 2.0 * loss}, updates=gg.optim.sgd(loss, lr=0.1), name="two")
    assert message(GraphError, two) == 'two has no loss: choose an output with gg.compile(..., loss="...").'


def test_updates_are_made_of_gradients_of_the_loss() -> None:
    """Else every rank would have parameters of its own, or Adam averages that belong to no batch."""
    told = (
        "{0}: the update of w depends on x otherwise than through gradients of loss, so it would differ from rank to "
        "rank. Make it of these, as gg.optim does."
    )
    polyak = {w: w - loss * gg.grad(loss, w)}
    assert message(GraphError, gg.compile({"loss": loss}, updates=polyak, name="polyak")) == told.format("polyak")
    other = gg.optim.sgd(gg.mean(gg.abs(x @ w)), lr=0.1)
    assert message(GraphError, gg.compile({"loss": loss}, updates=other, name="other")) == told.format("other")
    seen = gg.state("seen", (), dtype="int64")
    counts = gg.optim.sgd(loss, lr=0.1) | {seen: seen + gg.sum(gg.int64(x[:, 0] > 0))}
    assert message(GraphError, gg.compile({"loss": loss}, updates=counts, name="counts")) == told.replace(
        "of w", "of seen"
    ).format("counts")


def test_gradients_have_one_dtype() -> None:
    v = gg.param("v", (3,), dtype="float64")
    error = gg.mean((x @ w) ** 2) + gg.float32(gg.sum(v * v))
    net = gg.compile({"error": error}, updates=gg.optim.sgd(error, lr=0.1), name="mixed")
    assert message(DTypeError, net) == (
        "mixed: gradients are averaged in one vector of one dtype, not w float32 and v float64."
    )


def test_what_counts_the_examples_is_said_where_it_is_not_clear() -> None:
    T = gg.size("T")
    words = gg.input("words", (B, T))
    error = gg.mean((x @ w) ** 2) + gg.mean(words)
    net = gg.compile({"error": error, "rows": words[:, 0]}, updates=gg.optim.sgd(error, lr=0.1), name="texts")
    assert message(OptionError, net) == (
        "texts: its inputs have the sizes B, T. Say which one counts the examples of a rank: "
        'DataParallel(net, count="B").'
    )
    assert message(OptionError, net, count="rows") == (
        "texts: count='rows' is no size of an input (B, T) and no output without axes (error)."
    )


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    net = gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.1), name="line")
    assert message(OptionError, net) == "gradgen.interop.mpi needs two packages: pip install mpi4py mpich."


class Alone:
    """A communicator of one process, which sends by pickles as MPI's do."""

    rank, size = 0, 1

    def bcast(self, value: Any) -> Any:
        return pickle.loads(pickle.dumps(value))

    def allgather(self, value: Any) -> list[Any]:
        return [value]

    def Allreduce(self, how: Any, vector: Any) -> None:
        pass


def test_states_that_were_sent_are_trained_as_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their dtypes are equal to NumPy's objects, and others."""
    monkeypatch.setattr(mpi, "_mpi", lambda: (None, None))
    net = gg.compile({"loss": loss}, name="sent", updates=gg.optim.adam(loss, lr=0.1))
    train = mpi.DataParallel(net, Alone())
    state, same, a = train.init(), net.init(), np.ones((4, 3), "float32")
    assert state["w"].dtype is not np.dtype("float32")
    for _ in range(2):
        found, wanted = train.step(state, x=a), net.step(same, x=a)
        np.testing.assert_allclose(found["loss"], wanted["loss"], rtol=1e-6)
    assert state.keys() == same.keys()
    for name, value in same.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-6)
