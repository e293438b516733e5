"""Layer norm followed by softmax as CUDA kernels: under the simulator, and compiled without a GPU.

No GPU runs here: the simulator sees neither races nor types, the assembler sees no numbers.
"""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.emit.cuda import CudaKernel, CudaPrinter, cuda_kernels, render_cuda_module
from gradgen.errors import GraphError, OptionError
from gradgen.graph.nodes import show_size
from gradgen.graph.scalar import integer, number
from gradgen.network import Network
from gradgen.pipeline import compile_model
from gradgen.program.kernels import Program
from gradgen.program.loops import Assign, Buffer, For, Sharing, letter
from gradgen.runtime.interface import evaluate_size

ROWS = 11
WORKER = Path(__file__).with_name("worker.py")
needs_numba_cuda = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is missing: install the extra `cuda`"
)


@cache
def network(columns: int = 24, wide: bool = False) -> Network:
    B, D = gg.size("B"), gg.size("D") if wide else columns
    x, weight, bias = gg.input("x", (B, D)), gg.param("weight", (D,)), gg.param("bias", (D,))
    centred = x - gg.mean(x, axis=1, keepdims=True)
    variance = gg.mean(centred * centred, axis=1, keepdims=True)
    y = centred / gg.sqrt(variance + 1e-5) * weight + bias
    return gg.compile({"y": nn.functional.softmax(y, axis=-1)}, name="layernorm_softmax")


@cache
def program_of(net: Network) -> Program:
    return compile_model(net.model, replace(net.options, target="cuda")).program


def kernels_of(program: Program, name: str) -> list[str]:
    entry = next(e for e in program.entries if e.name == name)
    return [call.kernel for call in entry.kernel_calls]


def text_of(net: Network) -> str:
    return render_cuda_module(program_of(net), kernels_of(program_of(net), "forward"))


def launches(net: Network) -> list[CudaKernel]:
    return cuda_kernels(program_of(net), kernels_of(program_of(net), "forward"))


def arguments(columns: int = 24) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"x": (ROWS, columns), "weight": (columns,), "bias": (columns,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def run(action: str, net: Network, columns: int, folder: Path) -> tuple[dict[str, np.ndarray], str]:
    """What the worker leaves in the arrays, and what it prints."""
    sizes = {"B": ROWS, "D": columns}
    arrays = arguments(columns)
    for kernel in launches(net):
        for b in kernel.parameters:
            shape = tuple(evaluate_size(show_size(extent), sizes) for extent in b.shape)
            arrays.setdefault(b.name, np.full(shape, np.nan, b.dtype))
    calls = []
    for kernel in launches(net):
        assert all(any(str(extent) == s for b in kernel.parameters for extent in b.shape) for s in kernel.sizes)
        calls.append([kernel.name, [b.name for b in kernel.parameters]])
    module, stored, listed = folder / "kernels.py", folder / "arrays.npz", folder / "calls.json"
    module.write_text(text_of(net), encoding="utf-8")
    listed.write_text(json.dumps(calls), encoding="utf-8")
    np.savez(stored, **arrays)
    command = [sys.executable, str(WORKER), action, str(module), str(stored), str(listed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(stored) as found:
        return dict(found), done.stdout


@needs_numba_cuda
@pytest.mark.parametrize(
    ("columns", "wide"), [(24, False), (300, False), (24, True)], ids=["small", "long", "symbolic"]
)
def test_the_simulated_kernels_compute_what_the_cpu_does(columns: int, wide: bool, tmp_path: Path) -> None:
    net = network(columns, wide)
    found, _ = run("simulate", net, columns, tmp_path)
    np.testing.assert_allclose(found["y"], net(**arguments(columns))["y"], rtol=4e-5, atol=1e-6)
    assert found["y"].dtype == np.float32
    np.testing.assert_array_equal(found["x"], arguments(columns)["x"])


@needs_numba_cuda
@pytest.mark.parametrize("columns", [24, 300])
def test_the_kernels_compile_for_a_gpu_that_is_not_there(columns: int, tmp_path: Path) -> None:
    _, printed = run("compile", network(columns), columns, tmp_path)
    for name, kernel in json.loads(printed).items():
        assert ".visible .entry" in kernel["ptx"]
        assert ".f64" not in kernel["ptx"], name
        if "cubin" in kernel:
            assert kernel["cubin"] > 0
            assert "0 bytes spill stores, 0 bytes spill loads" in kernel["log"], kernel["log"]


def test_a_short_row_is_the_thread_s_own_and_a_long_one_a_row_of_the_workspace() -> None:
    short, long = launches(network(24))[0], launches(network(300))[0]
    assert [b.shape[0].constant for b in short.own] == [24, 24]
    assert long.own == ()
    rows = [b for b in long.parameters if b.role == "work"]
    assert [[str(extent) for extent in b.shape] for b in rows if b.name.endswith("_rows")] == [["B", "300"]] * 2


def test_the_text(tmp_path: Path) -> None:
    text = text_of(network())
    assert text == text_of(network())
    assert "import math" in text
    assert "for n in range(cuda.grid(1), B, cuda.gridsize(1)):" in text
    assert "np.exp" not in text
    assert "njit" not in text
    assert str(Path.cwd()) not in text
    assert str(Path(__file__).parent) not in text
    path = tmp_path / "kernels.py"
    path.write_text(text, encoding="utf-8")
    for command in (["check"], ["format", "--check"]):
        line = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", str(path)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_sums_that_all_rows_share_are_refused() -> None:
    program = program_of(network())
    with pytest.raises(GraphError, match=r"sums into d_bias, d_weight, which its iterations share"):
        render_cuda_module(program, kernels_of(program, "backward"))


def test_loops_begin_anywhere() -> None:
    """Conditions on an index cut its loop: each piece is a launch."""
    N, n, i = gg.size("N"), gg.index("n"), gg.index("i", 5)
    x = gg.param("x", (N, 5))
    net = gg.compile({"y": gg.compute((n, i), gg.where(n < 1, gg.exp(x[n, i]), gg.sin(x[n, i])))}, name="begin")
    assert len(launches(net)) == 2
    assert "for n in range(n_seam + cuda.grid(1), N, cuda.gridsize(1)):" in text_of(net)


def test_loops_go_in_strides() -> None:
    b = Buffer("b", (integer(9),), "float32", "output", None)
    loop = For(
        "n", integer(1), integer(9), "parallel", (Assign(b, (letter("n"),), number(0.0)),), 2, shared=Sharing(())
    )
    assert CudaPrinter(shared=loop).range(loop) == "range(1 + 2 * cuda.grid(1), 9, 2 * cuda.gridsize(1))"


def test_what_is_made_for_a_cpu_is_refused() -> None:
    program = network().compiled.program
    with pytest.raises(GraphError, match=r"is not shared by threads: .* it is made for a CPU"):
        render_cuda_module(program, kernels_of(program, "forward"))


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(GraphError, match="layernorm_softmax has no kernel compute_z; it has compute_"):
        render_cuda_module(program_of(network()), ["compute_z"])


def test_whole_networks_are_not_offered_yet() -> None:
    x: Any = gg.input("x", (3,))
    with pytest.raises(OptionError, match="compiled for 'cpu', and for nothing else yet"):
        gg.compile({"y": x + x}, target="cuda")
