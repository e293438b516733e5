"""`gradgen doctor`: what is there is told, and what is wrong is marked."""

from pathlib import Path
from typing import Any

import numba
import numpy
import pytest
from numba.core import config
from typer.testing import CliRunner

import gradgen as gg
from gradgen.cli import app, doctor
from gradgen.cli.terminal import working
from gradgen.inspect.machine import Fact, facts, loaded_openblas, survey


def run(columns: int = 200) -> Any:
    return CliRunner().invoke(app, ["doctor"], env={"COLUMNS": str(columns)})


def told() -> dict[str, Fact]:
    return {fact.name: fact for fact in facts()}


def test_a_sound_installation(cache: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["gradgen", gg.__version__] in lines
    assert ["numpy", numpy.__version__] in lines
    assert ["numba", numba.__version__] in lines
    assert ["cache", f"{cache},", "made", "by", "the", "first", "model"] in lines
    assert any(line[:8] == ["a", "small", "model", "compiled,", "run", "and", "checked", "in"] for line in lines)
    assert lines[-1] == ["All", "is", "well."]
    again = run()
    assert f"{cache}, writable, 1 models, 0." in again.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(cache: Path, columns: int) -> None:
    assert max(map(len, run(columns).stdout.splitlines())) <= columns


def test_threads_and_libraries_are_asked(cache: Path) -> None:
    found = told()
    assert found["threads"].value.startswith(f"{config.NUMBA_NUM_THREADS} by ")
    assert found["BLAS of scipy"].value
    assert "cores" in found["processor"].value


def test_the_kernels_of_blas_are_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_openblas("scipy.libs")
    if loaded is not None:  # SciPy may stand on another BLAS
        assert told()["BLAS of scipy"].value.endswith(f", kernels for {loaded.kernels}, {loaded.threads} threads")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert "BLAS kernels" not in told()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert told()["BLAS kernels"].value == (
        "those for Haswell by OPENBLAS_CORETYPE, whatever the processor; products may be faster with it unset"
    )


def test_the_cache_is_surveyed(cache: Path) -> None:
    assert run().exit_code == 0
    (entry,) = [path for path in cache.iterdir() if path.name.startswith("doctor_")]
    (cache / "notes.txt").write_text("mine")
    models, size, foreign, damaged = survey(cache)
    assert (models, foreign, damaged) == (1, ["notes.txt"], [])
    assert size == sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert told()["foreign files"] == Fact("foreign files", "notes.txt in the cache: not gradgen's, never read")
    (entry / "doctor.py").write_text("changed")
    assert survey(cache)[3] == [entry.name]
    assert "written anew when needed, never imported" in told()["damaged"].value


def test_a_cache_that_others_may_write_in_is_a_problem(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    cache.chmod(0o777)
    with pytest.warns(gg.errors.CacheWarning):
        result = run(500)
    assert result.exit_code == 1
    assert f"! cache         {cache} may be written by other users; take that away with: chmod go-w {cache}" in (
        result.stdout
    )
    assert result.stdout.endswith("1 of these needs attention, marked with !\n")


def test_what_switches_numba_off_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    assert told()["compiling"] == Fact(
        "compiling", "switched off by NUMBA_DISABLE_JIT: emitted functions run as plain Python", ok=False
    )
    monkeypatch.setattr(config, "THREADING_LAYER", "tbb")
    monkeypatch.setattr("gradgen.inspect.machine._importable", lambda name: "tbb" not in name)
    assert told()["threads"].value == "NUMBA_THREADING_LAYER is tbb, which cannot be loaded: unset it"


def test_a_compiler_that_does_not_work_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("LLVM is not what it was")

    monkeypatch.setattr(doctor, "compile_network", broken)
    result = run()
    assert result.exit_code == 1
    assert "! a small model RuntimeError: LLVM is not what it was" in result.stdout


def test_quick_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with working("thinking"):
        pass
    assert capsys.readouterr() == ("", "")
