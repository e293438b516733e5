"""A third target reads the same programs: nothing that a target needs is said to one of them alone."""

from dataclasses import replace

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.tensor import tensor
from gradgen.lang.interpret import interpret
from gradgen.machine import CPU, GPU, MACHINES, SMALLEST, SMALLEST_GPU, Machine, using, without_parts
from gradgen.options import TARGETS
from gradgen.pipeline import ON_TARGET, compile_model
from gradgen.program.kernels import Program
from gradgen.program.loops import Contract, Dot, For, Parts, statements
from tests.cpu.models import leaves_of
from tests.cpu.running import assert_close, case
from tests.cpu.test_outer_products import CASES, SIZES, arrays_of
from tests.repeats import by_turns
from tests.targets.numpy_text import run

NAMES = (
    "mlp_naive_ce", "conv_strided", "embedding_tanh", "lstm", "causal_attention", "blas_products", "batched_products",
    "reductions", "masks_on_values", "scatters", "recurrence", "stacked_layers", "scan_in_scan", "integers",
)  # fmt: skip


# What the CPU reads, and the same without what is made for a CPU: a target is an entry of a table.
TARGETS_HERE = ("cpu", "plain")
CPUS = {"usual": CPU, "smallest": SMALLEST}
GPUS = {"usual": GPU, "rows": replace(GPU, local_bytes=0), "smallest": SMALLEST_GPU}


@pytest.fixture
def plain_is_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ON_TARGET, "plain", ())


def test_every_target_that_users_may_name_has_passes_and_a_machine() -> None:
    assert set(TARGETS) <= set(ON_TARGET) == set(MACHINES)


def kinds(program: Program) -> set[type]:
    return {type(s) for k in program.kernels for s in statements(k.body)}


@pytest.mark.usefixtures("plain_is_a_target")
@pytest.mark.parametrize(("name", "way"), by_turns(NAMES, [f"{t}-{m}" for m in CPUS for t in TARGETS_HERE]))
def test_the_numbers(name: str, way: str) -> None:
    target, _, chosen = way.partition("-")
    found = check_numbers(name, CPUS[chosen], target)
    assert Parts not in kinds(found) or target == "cpu"


@pytest.mark.parametrize(("name", "chosen"), by_turns(NAMES, tuple(GPUS)))
def test_the_numbers_of_what_a_gpu_is_given(name: str, chosen: str) -> None:
    """Iterations that share a loop may run in any order, each with memory of its own, and no function returns any."""
    program = check_numbers(name, GPUS[chosen], "cuda")
    assert not kinds(program) & {Parts, Contract, Dot}
    assert not any(kernel.returns for kernel in program.kernels)
    outermost = [s for kernel in program.kernels for s in kernel.body if isinstance(s, For)]
    assert all(s.shared is not None for s in outermost if s.kind == "parallel")


def test_nobody_shares_a_loop_where_parts_were_not_legal() -> None:
    this = case("causal_attention", "float64")
    for usual in (CPU, SMALLEST, GPU):
        with using(without_parts(usual)):
            program = compile_model(this.net.model, this.net.options).program
        assert Parts not in kinds(program)
        assert all(s.shared is None for k in program.kernels for s in statements(k.body) if isinstance(s, For))


def check_numbers(name: str, chosen: Machine, target: str) -> Program:
    """Values and gradients of a model against the interpreter's, from the program as NumPy text."""
    this = case(name, "float64")
    with using(chosen):
        program = compile_model(this.net.model, replace(this.net.options, target=target)).program
    cotangents = {f"d_{key}": x[()] for key, x in this.cotangents.items()}
    with np.errstate(all="ignore"):
        forward = run(program, "forward", this.arrays, this.model.sizes)
        backward = run(program, "backward", {**forward, **this.arrays, **cotangents}, this.model.sizes)
    for key in this.names:
        assert_close(forward[key], this.outputs[key], "float64", key)
    for x in this.wrt:
        if f"d_{x.name}" in backward:
            assert_close(backward[f"d_{x.name}"], this.gradients[x.name], "float64", f"the gradient by {x.name}")
    return program


def steps_of_windows() -> gg.Tensor:
    """Every step of a scan slides the same window over what the last one left."""
    a, k = gg.param("a", (2, 9, 9)), gg.param("K", (3, 3))
    n, h, w, p, q = gg.index("n", 2), gg.index("h", 9), gg.index("w", 9), gg.index("p", 3), gg.index("q", 3)

    def step(x: gg.Tensor, _: None) -> tuple[gg.Tensor, None]:
        slid = gg.compute((n, h, w), gg.sum(k[p, q] * gg.padded(x)[n, h + p - 1, w + q - 1], over=(p, q)))
        return gg.tanh(slid), None

    last, _ = gg.scan(step, a, length=3)
    return last


@pytest.mark.usefixtures("plain_is_a_target")
@pytest.mark.parametrize(("name", "target"), by_turns((*CASES, "in a scan"), TARGETS_HERE))
def test_contractions_are_whole_until_a_target_makes_loops_of_them(name: str, target: str) -> None:
    with using(replace(CPU, outer=1)):
        y = CASES[name]() if name in CASES else steps_of_windows()
        leaves = leaves_of({"y": y})
        net = gg.compile({"y": y}, wrt=[tensor(x) for x in leaves])
        program = compile_model(net.model, replace(net.options, target=target)).program
    assert (Contract in kinds(program)) is (target == "plain")
    arrays = arrays_of(leaves, "float32", SIZES)
    values = {x: arrays[x.name] for x in leaves}
    seed = gg.input("d_y", y.shape)
    pulled = [g.node for g in gg.vjp([y], [tensor(x) for x in leaves], [seed])]
    wanted, *_ = interpret([y.node], values, SIZES)
    cotangent = np.random.default_rng(5).standard_normal(wanted.shape).astype(np.float32)
    forward = run(program, "forward", arrays, SIZES)
    backward = run(program, "backward", {**forward, **arrays, "d_y": cotangent}, SIZES)
    assert_close(forward["y"], wanted, "float32", "y")
    for x, g in zip(leaves, interpret(pulled, {**values, seed.node: cotangent}, SIZES), strict=True):
        assert_close(backward[f"d_{x.name}"], g, "float32", f"d_{x.name}")
