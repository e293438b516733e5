"""`gradgen check`: what agrees is told, and what does not is found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import gradgen as gg
from gradgen.cli import app
from gradgen.cli.checks import check_network
from gradgen.cli.points import choose_point
from tests.cpu.test_cli import MODEL, SECOND

TRAINED = MODEL + 'train = gg.compile({"loss": loss}, updates=gg.optim.adam(loss, lr=1e-2), name="train")\n'
STOPPED = MODEL + 'wrong = gg.compile({"loss": gg.sum(w * gg.stop_gradient(w))}, name="wrong")\n'


@pytest.fixture
def model(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("model.py")
    path.write_text(MODEL)
    return path


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["check", *[str(a) for a in arguments]], env={"COLUMNS": "200"})


def test_a_report_of_every_network(model: Path) -> None:
    model.write_text(MODEL + SECOND)
    result = run(model)
    assert result.exit_code == 0, result.output
    lines = result.stdout.split("\n")
    assert lines[:4] == [
        "net: fit",
        "Chosen here: sizes N=5 (--size chooses others).",
        "Chosen here: x, t, w drawn, normal numbers, seed 0 (--at gives values).",
        "Slopes along a random direction, in float64:",
    ]
    assert "The gradient of loss agrees with difference quotients." in lines
    assert "Compiled code in float32 against the interpreter in float64, largest relative error:" in lines
    assert [line.split()[0] for line in lines if line.endswith("  ok")] == ["w", "loss", "y", "d_w", "y"]
    assert "There is no gradient to check: no float output depends on a float parameter." in lines
    assert lines[-2] == "net, plain: all is well."
    assert max(map(len, lines)) <= 100


def test_updates_are_compared_and_all_kinds_of_numbers_given(model: Path) -> None:
    model.write_text(TRAINED)
    result = run(f"{model}:train", "--at", "x=[1, 2, 3]", "--at", "w=0.5", "--dtype", "float64")
    assert result.exit_code == 0, result.output
    assert "sizes" not in result.stdout
    assert "Chosen here: t, adam_step, w_m, w_v drawn, normal numbers, seed 0 (--at gives values).\n" in result.stdout
    assert [line.split("  ")[0] for line in result.stdout.split("\n") if line.startswith("next")] == [
        "next adam_step",
        "next w_m",
        "next w_v",
        "next w",
    ]


def test_a_gradient_that_is_not_that_of_the_value_fails(model: Path) -> None:
    model.write_text(STOPPED)
    result = run(model)
    assert result.exit_code == 1
    assert "  WRONG\n" in result.stdout
    assert result.stdout.endswith("The check of wrong failed.\n")


def test_numbers_at_which_the_model_has_no_value_are_not_drawn(model: Path) -> None:
    model.write_text(MODEL.replace("gg.mean((y - t) ** 2)", "gg.mean(gg.log(t) * w)"))
    result = run(model)
    assert result.exit_code == 0, result.output
    assert "drawn, numbers between 0.1 and 0.9, seed 0" in result.stdout


def test_networks_without_a_loss_are_checked_with_cotangents(model: Path) -> None:
    model.write_text(MODEL.replace('{"loss": loss, "y": y}', '{"y": y, "z": w * y}'))
    result = run(model)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.split("\n") if line.endswith("  ok")] == ["w", "y", "z", "d_w"]


def test_a_gradient_of_zero_is_no_mistake(model: Path) -> None:
    """The quotient of a large loss is not 0, but its rounding error over the step."""
    softmax = "1e3 * gg.sum(gg.exp(x + w) / gg.sum(gg.exp(x + w)))"  # is 1e3 at any w
    model.write_text(MODEL.replace("gg.mean((y - t) ** 2)", softmax))
    result = run(model, "--dtype", "float64")
    assert result.exit_code == 0, result.output


def scaled(by: float) -> gg.Network:
    x, w = gg.input("x", (4,)), gg.param("w", ())
    return gg.compile({"loss": gg.sum(gg.tanh(w * x) * by)}, name="scaled")


def test_compiled_code_that_computes_something_else_is_found(cache: Path) -> None:
    net, other = scaled(1.0), scaled(1.01)
    point = choose_point(net, {}, {}, 0, 5)
    assert check_network(net, point)
    report = check_network(net.with_module(other.module), point)
    assert not report
    assert report.gradient is not None
    assert report.gradient.ok
    assert [x.ok for x in report.comparisons] == [False, False]
    assert all(abs(x.error - 0.01) < 1e-4 for x in report.comparisons)
    assert "differ in loss, d_w: values too large for float32 (try --dtype float64), or a mistake" in str(report)


def test_integers_are_drawn_where_they_select(cache: Path) -> None:
    E, at = gg.param("E", (7, 2)), gg.input("at", (gg.size("N"),), dtype="int64")
    net = gg.compile({"loss": gg.sum(gg.tanh(E[at]))}, name="rows")
    point = choose_point(net, {}, {"N": 200}, 0, 5)
    assert set(np.unique(point.arrays["at"])) == set(range(7))
    assert check_network(net, point)
