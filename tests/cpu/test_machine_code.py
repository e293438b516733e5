"""Machine code on disk: shared by processes, killed and damaged in every way, compiled again when in doubt."""

import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gradgen import files
from gradgen.emit import store
from gradgen.emit.module import load_module
from gradgen.errors import CacheWarning
from tests.cpu.small_model import FUNCTIONS, MODEL, anew, empty, hits, machine_code, run, truncate, vanish

pytestmark = pytest.mark.usefixtures("cache")


# -- many processes, killed processes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_four_processes_compile_the_same_new_model(cache: Path, python: Callable[..., Any]) -> None:
    kinds = ["float32", "float64"] * 2
    processes = [python(dtype=dtype) for dtype in kinds]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out.split()[:1]) == (0, ["18.0"]), err
    assert [path.name for path in cache.iterdir()] == [f"model_{store.digest(MODEL.encode())[:16]}"]
    assert not list(cache.rglob("*.tmp"))
    assert len(machine_code(cache)) == 2 * len(FUNCTIONS)
    module = load_module(MODEL, "model")
    assert [run(module, "float32"), run(module, "float64"), hits(module)] == [18.0, 18.0, 2 * len(FUNCTIONS)]


@pytest.mark.slow
@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_process_killed_while_compiling_leaves_a_cache_that_works(
    cache: Path, python: Callable[..., Any], files: int
) -> None:
    """Killed when the source is there, then after one and after two functions are stored."""
    victim = python()
    deadline = time.monotonic() + 120
    while len([path for path in cache.rglob("*.*") if path.suffix in {".py", ".nbs"}]) < files:
        assert victim.poll() is None, victim.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    victim.kill()
    victim.communicate()
    assert run(anew()) == 18.0
    again = anew()
    assert run(again) == 18.0
    assert hits(again) == len(FUNCTIONS)


KILLED_WRITING = """
import os, signal, sys
from gradgen.emit import store
from gradgen.emit.module import write_module
store.os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
write_module(open(sys.argv[1]).read(), "model")
"""


def test_a_process_killed_while_writing_leaves_no_broken_file(cache: Path, python: Callable[..., Any]) -> None:
    victim = python(KILLED_WRITING)
    victim.communicate()
    assert victim.returncode == -9
    (left,) = cache.rglob("*.tmp")
    assert list(cache.rglob("*.py")) == []
    assert run(load_module(MODEL, "model")) == 18.0
    assert left.exists()  # it might be in use
    os.utime(left, (0, 0))
    files.write_file(left.parent / "next", b"")
    assert not left.exists()


# -- damaged machine code ------------------------------------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def seal_something_else(path: Path) -> None:
    store.write_sealed(path, b"not a pickle")


def seal_under_the_wrong_key(path: Path) -> None:
    store.write_sealed(path, pickle.dumps(("another signature", "its code")))


def test_machine_code_is_loaded_by_the_next_process() -> None:
    assert run(anew()) == 18.0
    again = anew()
    assert run(again) == 18.0
    assert hits(again) == len(FUNCTIONS)  # what forward calls comes first, although its file has a copy


@pytest.mark.parametrize(
    "damage", [empty, truncate, cut_in_half, flip_a_bit, vanish, seal_something_else, seal_under_the_wrong_key]
)
def test_damaged_machine_code_is_compiled_again(cache: Path, damage: Callable[[Path], None]) -> None:
    assert run(anew()) == 18.0
    assert len(machine_code(cache)) == len(FUNCTIONS)
    for path in machine_code(cache):
        damage(path)
    mended = anew()
    assert run(mended) == 18.0
    assert hits(mended) == 0
    again = anew()
    assert run(again) == 18.0
    assert hits(again) == len(FUNCTIONS)


def test_machine_code_that_cannot_be_kept_is_a_warning(cache: Path) -> None:
    module = load_module(MODEL, "model")
    folder = Path(module.forward.stats.cache_path)
    folder.rmdir()
    folder.write_text("")
    with pytest.warns(CacheWarning, match="machine code was not kept for the next process"):
        assert run(module) == 18.0


def test_recompiling_forgets_what_is_stored(cache: Path) -> None:
    module = anew()
    run(module)
    module.total.recompile()
    run(module)
    assert len(machine_code(cache)) == len(FUNCTIONS)


def test_a_users_function_keeps_its_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users.py").write_text("from numba import njit\n@njit(cache=True)\ndef twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = load_module("from users import twice\n", "caller")
    assert type(module.twice._cache._cache_file).__name__ == "IndexDataCacheFile"
    del sys.modules["users"]


# -- why: what Numba does by itself. When one of these fails, Numba mended it, and machine_code.py may shrink --------


def numba_alone(folder: Path) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    folder.mkdir(exist_ok=True)
    path = folder / "alone.py"
    path.write_text(MODEL)
    spec = spec_from_file_location("alone", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["alone"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_numba_alone_raises_at_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    assert run(numba_alone(tmp_path / "alone")) == 18.0
    for path in tmp_path.rglob(f"*.{suffix}"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        run(numba_alone(tmp_path / "alone"))
    del sys.modules["alone"]


def test_numba_alone_may_load_the_code_of_another_signature(tmp_path: Path) -> None:
    from numba.core.caching import IndexDataCacheFile

    one, two, later = (IndexDataCacheFile(str(tmp_path), "f", "stamp") for _ in range(3))
    held: list[Any] = []
    two._save_data = lambda *args: held.append(args)
    two.save("float64", "code for float64")  # process two has written its index, and is about to write the data
    one._load_index = dict  # process one read the index before that
    one.save("float32", "code for float32")
    IndexDataCacheFile._save_data(two, *held[0])
    assert later.load("float32") == "code for float64"


# -- kernels on several threads --------------------------------------------------------------------------------------

IN_PARTS = """
import warnings
warnings.simplefilter("error")
import numba
import numpy as np
import gradgen as gg

N = gg.size("N")
x, c = gg.param("x", (N, 2000)), gg.input("c", (N, 2000))
y, loss = gg.exp(x) * gg.tanh(c), gg.sum(gg.nn.softmax(x) * c)
compiled = 0

def workspace(module, threads):
    numba.set_num_threads(threads)
    return module.workspace(300)

for outputs in ({"y": y}, {"y": y, "loss": loss}):
    net = gg.compile(outputs, name="in_parts")
    assert "prange(parts)" in net.source
    module, forward = net.module, net.module.forward

    @numba.njit
    def caller(*arguments):
        return forward(*arguments)

    values = []
    for f, parts, threads in ((forward, 2, 2), (caller, 2, 1), (caller, 1, 2)):
        w = workspace(module, parts)
        numba.set_num_threads(threads)
        x = np.linspace(-1, 1, 600_000, dtype="f").reshape(300, 2000)
        y = np.zeros_like(x)
        value = f(x[::-1].copy(), module.Params(x), w, *([module.Outputs(y)] if "y" in outputs else []))
        values.append((0 if value is None else value, y))
    for value in values:
        np.testing.assert_allclose(value[0], values[0][0], rtol=1e-6)
        np.testing.assert_array_equal(value[1], values[0][1])
    compiled += sum(sum(f.stats.cache_misses.values()) for f in vars(module).values() if hasattr(f, "stats"))
print(compiled)
"""


@pytest.mark.slow
def test_kernels_on_several_threads_are_compiled_once(
    python: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether parts have something for themselves or not; a workspace fits any number of threads."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    printed, errors = python(IN_PARTS).communicate()
    assert int(printed) > 2, errors
    printed, errors = python(IN_PARTS).communicate()
    assert printed == "0\n", errors
