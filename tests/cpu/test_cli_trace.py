"""`gradgen trace`: the lecture's table, and derivatives that agree with those of whole graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gradgen.cli import app
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import tensor
from gradgen.inspect.trace import forward_trace, reverse_trace
from gradgen.inspect.trace_table import short
from gradgen.lang.interpret import interpret
from gradgen.lang.transforms import vjp
from gradgen.passes.prepare.retarget import retarget
from tests.cpu.models import BY_NAME, leaves_of
from tests.repeats import parameter

ROOT = Path(__file__).resolve().parents[2]
LECTURE = ROOT / "examples" / "quickstart.py"
REVERSE = """
 forward primal trace    value   reverse adjoint trace, read upwards    value
 ────────────────────────────────────────────────────────────────────────────
 v₋₁ = x1                    2   d_x1 = v̄₋₁                               5.5
 v₀ = x2                     5   d_x2 = v̄₀                              1.716
 v₁ = log(v₋₁)           0.693   v̄₋₁ = v̄₋₁ + v̄₁ / v₋₁                     5.5
 v₂ = v₋₁ × v₀              10   v̄₀ = v̄₀ + v̄₂ × v₋₁                     1.716
                                 v̄₋₁ = v̄₂ × v₀                              5
 v₃ = sin(v₀)           -0.959   v̄₀ = v̄₃ × cos(v₀)                     -0.284
 v₄ = v₁ + v₂           10.693   v̄₂ = v̄₄ × 1                                1
                                 v̄₁ = v̄₄ × 1                                1
 v₅ = v₄ - v₃           11.652   v̄₃ = v̄₅ × (-1)                            -1
                                 v̄₄ = v̄₅ × 1                                1
 y = v₅                 11.652   v̄₅ = d_y                                   1

"""
FORWARD = """
 forward primal trace    value   forward tangent trace      value
 ────────────────────────────────────────────────────────────────
 v₋₁ = x1                    2   v̇₋₁ = t_x1                     1
 v₀ = x2                     5   v̇₀ = t_x2                      0
 v₁ = log(v₋₁)           0.693   v̇₁ = v̇₋₁ / v₋₁               0.5
 v₂ = v₋₁ × v₀              10   v̇₂ = v₀ × v̇₋₁ + v₋₁ × v̇₀       5
 v₃ = sin(v₀)           -0.959   v̇₃ = cos(v₀) × v̇₀              0
 v₄ = v₁ + v₂           10.693   v̇₄ = v̇₁ + v̇₂                 5.5
 v₅ = v₄ - v₃           11.652   v̇₅ = v̇₄ - v̇₃                 5.5
 y = v₅                 11.652   t_y = v̇₅                     5.5

"""
TENSORS = """
import gradgen as gg

N = gg.size("N")
a = gg.input("a", (N, 2))
w = gg.param("w", (2,))
n, j = gg.indices("n j")
u = gg.compute(n, gg.sum(a[n, j] * w[j], over=j))
loss = gg.mean(gg.relu(u) ** 2)
net = gg.compile({"loss": loss, "u": u, "best": gg.argmax(u)}, name="tensors")
"""


def run(*arguments: Any, columns: int = 80) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": str(columns)})


def stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))


def message(result: Any) -> str:
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture
def tensors(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("tensors.py").write_text(TENSORS)
    return "tensors.py"


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_of_the_lecture(columns: int) -> None:
    result = run("trace", LECTURE, "--at", "x1=2", "--at", "x2=5", columns=columns)
    assert result.exit_code == 0, result.output
    assert stripped(result.stdout) == REVERSE


def test_forward_mode() -> None:
    result = run("trace", LECTURE, "--at", "x1=2", "--at", "x2=5", "--mode", "forward", "--seed", "x1")
    assert stripped(result.stdout) == FORWARD
    both = run("trace", LECTURE, "--at", "x1=2", "--at", "x2=5", "--mode", "forward", "--seed", "x1", "--seed", "x2=-1")
    assert "t_y = v̇₅" in both.stdout
    assert f"{5.5 - 1.7163378:.3f}" in both.stdout


def test_tensors_are_shown_with_their_indices(tensors: str) -> None:
    result = run("trace", tensors, "--at", "a=[[1, 2], [3, -4]]", "--at", "w=[1, 1]", columns=120)
    lines = [" ".join(line.split()) for line in result.stdout.split("\n")]
    assert "v₋₁ = a [[1, 2]," in lines
    assert "v₀ = w [1, 1] d_w = v̄₀ [3, 6]" in lines
    assert "v₁[n] = sum_j v₋₁[n, j] × v₀[j] [3, -1] v̄₀[n] = sum_i v̄₁[i] × v₋₁[i, n] [3, 6]" in lines
    assert "loss = v₅ 4.5 v̄₅ = d_loss 1" in lines


def test_what_a_branch_hides_is_masked_in_every_row(tmp_path: Path) -> None:
    """log(0) is -inf, its derivative infinite; neither is in the branch that was taken."""
    text = """
import gradgen as gg

x, c = gg.param("x", ()), gg.param("c", ())
net = gg.compile({"y": gg.where(c > 0, gg.log(x) * x, c * c)})
"""
    (tmp_path / "hidden.py").write_text(text, encoding="utf-8")
    result = run("trace", tmp_path / "hidden.py", "--at", "x=0", "--at", "c=-1", columns=120)
    lines = [" ".join(line.split()) for line in result.stdout.split("\n")]
    assert "v₋₁ = x 0 d_x = v̄₋₁ 0" in lines
    assert "v₂ = log(v₋₁) -inf v̄₋₁ = v̄₋₁ + (v̄₂ / v₋₁ if v₁ else 0) 0" in lines


def test_what_is_chosen_is_said(tensors: str) -> None:
    result = run("trace", tensors, "--random-seed", "3")
    assert "Chosen here: sizes N=2 (--size chooses others).\n" in result.stdout
    assert "Chosen here: a, w drawn, normal numbers, seed 3 (--at gives values).\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--at", "z=1"], 2, "Invalid value: --at z: tensors has no tensor 'z'; it has a, w."),
        (["--at", "w=[1, 2, 3]"], 2, "Invalid value: --at w: the shape is (3,), and w has (2,)."),
        (["--at", "w=[[1], [1, 2]]"], 2, "Invalid value: --at w=[[1], [1, 2]]: the rows have different lengths."),
        (["--at", "w='one'"], 2, "Invalid value: --at w: 'one' is no float32."),
        (
            ["--at", "w"],
            2,
            "--at w: write a value as NAME=NUMBER or NAME=[...], such as x1=2 or x='[1, 2, 3]'.",
        ),
        (["--mode", "forward", "--seed", "w=[1, 2, 3]"], 2, "--seed w: [1, 2, 3] is no tangent of shape (2,)."),
        (["--seed", "w"], 2, "--seed belongs to --mode forward; in reverse mode the output's adjoint is 1."),
        (["--mode", "forward", "--seed", "z"], 2, "--seed z: loss depends on no float tensor 'z'; those are a, w."),
        (["--size", "Q=3"], 2, "--size Q: no network here has that size; there are N."),
        (["--output", "best"], 2, "Invalid value: --output best: tensors has the float outputs loss, u."),
        (
            ["--size", "N=6000"],
            1,
            "Error: a has 12000 elements, and a trace of more than 10000 is nothing to read. Give smaller sizes, "
            + "as in --size N=2.",
        ),
    ],
)
def test_mistakes(tensors: str, arguments: list[str], code: int, expected: str) -> None:
    result = run("trace", tensors, *arguments, columns=200)
    assert result.exit_code == code
    assert message(result).endswith(expected)


def test_a_subscript_outside_its_axis_is_an_error_of_the_values(tensors: str) -> None:
    Path("rows.py").write_text(
        "import gradgen as gg\nE, at = gg.param('E', (4,)), gg.input('at', (2,), dtype='int64')\n"
        "net = gg.compile({'y': gg.sum(E[at])}, name='rows')\n"
    )
    result = run("trace", "rows.py", "--at", "at=[1, 9]", "--at", "E=1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: subscript 9 is outside axis 0 of E, which has 4 elements")
    assert result.stderr.endswith("Give other values with --at.\n")


def test_a_size_that_was_compiled_in_is_replaced(tensors: str) -> None:
    Path(tensors).write_text(TENSORS.replace('name="tensors"', 'name="tensors", sizes={"N": 9}'))
    assert "(9, 2): " in run("trace", tensors).stdout
    assert "[[" in run("trace", tensors, "--size", "N=2").stdout


def test_a_model_of_many_operations_is_refused(tensors: str) -> None:
    Path("deep.py").write_text(
        "import gradgen as gg\nx = gg.param('x', ())\ny = x\nfor _ in range(60):\n    y = gg.sin(y) * x\n"
        "net = gg.compile({'y': y}, name='deep')\n"
    )
    result = run("trace", "deep.py")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: this model has 120 operations, and a trace of more than 100 is nothing to read. "
        "Trace a part of it: an output nearer to the inputs, or fewer layers.\n"
    )


def test_of_several_networks_one_has_to_be_chosen(tensors: str) -> None:
    Path(tensors).write_text(TENSORS + "other = gg.compile(u, name='other')\n")
    result = run("trace", tensors, columns=200)
    assert result.exit_code == 2
    assert message(result).endswith("tensors.py has 2 networks: net, other. Choose one: gradgen trace tensors.py:NAME")


def test_values_are_short() -> None:
    assert short(np.array(1.71634)) == "1.716"
    assert short(np.array(-0.00001)) == "-1.00e-05"
    assert short(np.array([10.0, -0.0])) == "[10, 0]"
    assert short(np.arange(8.0).reshape(2, 4)) == "(2, 4): 0, 1, 2 … 7"
    assert short(np.array([np.nan, -np.inf])) == "[nan, -inf]"


LONG = ("deep_equal", "deep_different")  # of many layers


def scalar_losses() -> list[str]:
    found = []
    for name, model in BY_NAME.items():
        outputs = model.build()
        scalars = [key for key, y in outputs.items() if not y.ndim and y.node.dtype in FLOATS]
        if (model.loss or len(scalars) == 1) and (model.loss or scalars[0]) not in model.detached:
            found.append(name)
    return found


@pytest.mark.parametrize("name", [parameter(name, default=name not in LONG) for name in scalar_losses()])
def test_operations_one_by_one_have_the_derivatives_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reverse mode is that of the graph at once, and forward mode its product with a direction."""
    monkeypatch.setattr("gradgen.inspect.trace.MOST_ROWS", 10_000)
    model = BY_NAME[name]
    outputs = model.build()
    chosen = model.loss or next(key for key, y in outputs.items() if not y.ndim and y.node.dtype in FLOATS)
    (root,), _ = retarget([outputs[chosen].node], "float64", model.sizes)
    below = leaves_of({chosen: tensor(root)})
    arrays = model.arrays(below)
    values = {x: np.asarray(arrays[x.name], x.dtype) for x in below}
    wrt = [x for x in below if x.dtype in FLOATS]
    trace = reverse_trace(root, chosen, values, wrt, model.sizes)
    wanted = interpret([t.node for t in vjp(tensor(root), [tensor(x) for x in wrt], None)], values, model.sizes)
    for x, gradient in zip(wrt, wanted, strict=True):
        np.testing.assert_allclose(trace.results[x.name], gradient, rtol=1e-9, atol=1e-11, err_msg=x.name)
    rng = np.random.default_rng(2)
    seeds = {x: np.asarray(rng.standard_normal(values[x].shape)) for x in wrt}
    slope = forward_trace(root, chosen, values, seeds, model.sizes).results[chosen]
    np.testing.assert_allclose(slope, sum(np.sum(g * seeds[x]) for x, g in zip(wrt, wanted, strict=True)), rtol=1e-8)
