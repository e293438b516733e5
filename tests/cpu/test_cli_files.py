"""What the command line says about model files and about places to write to."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import gradgen as gg
from gradgen.cli import app
from gradgen.cli.commands import _complete, _complete_file
from tests.cpu.test_cli import MODEL, SECOND


@pytest.fixture
def model(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("model.py")
    path.write_text(MODEL)
    return path


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def message(result: Any) -> str:
    """What the error stream says, without the frame that typer may draw around it."""
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ny = missing\n", "Error: model.py:2: NameError: name 'missing' is not defined\n"),
        ("x = 1\ny = = 2\n", "Error: model.py:2: SyntaxError: invalid syntax\n"),
        ("import nowhere\n", "Error: model.py:1: ModuleNotFoundError: No module named 'nowhere'\n"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", "Error: model.py:2: ZeroDivisionError: division by zero\n"),
        (
            "raise SystemExit\n",
            """Error: model.py ended itself (SystemExit). Put what it does beside declaring models under \
if __name__ == "__main__":
""",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_reported_by_its_line(model: Path, text: str, expected: str) -> None:
    model.write_text(text)
    result = run("show", model)
    assert (result.exit_code, result.stderr) == (1, expected)


def test_the_traceback_is_there_for_who_debugs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.write_text("y = missing\n")
    monkeypatch.setenv("GRADGEN_DEBUG", "1")
    error = run("show", model).exception
    assert isinstance(error, gg.GradgenError)
    assert isinstance(error.__cause__, NameError)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("missing.py", "Invalid value: there is no file missing.py."),
        (".", "Invalid value: . is a folder: give a Python file."),
        ("notes.txt", "Invalid value: notes.txt is no Python file: its name does not end in .py."),
        (
            "empty.py",
            "has no network: give the result of gg.compile(...) a name at the top level of the file.",
        ),
        ("empty.py:net", "Invalid value: empty.py has no network called 'net'; it has none."),
        ("model.py:other", "Invalid value: model.py has no network called 'other'; it has net, plain."),
    ],
)
def test_a_network_that_is_not_there(model: Path, argument: str, expected: str) -> None:
    model.write_text(MODEL + SECOND)
    Path("notes.txt").write_text("nothing")
    Path("empty.py").write_text("x = 1\n")
    result = run("build", argument)
    assert result.exit_code == 2
    assert message(result).endswith(expected)


def test_two_names_of_one_network_are_one_network(model: Path) -> None:
    model.write_text(MODEL + "same = net\n")
    assert run("show", model).stdout.count("loss = ") == 1
    assert run("show", f"{model}:same").exit_code == 0


def test_a_place_that_cannot_be_written(model: Path) -> None:
    Path("file").write_text("a file of the user")
    result = run("build", model, "-o", "file/out.py")
    assert result.exit_code == 2
    assert message(result).endswith("file/out.py cannot be written: file is not a folder. Choose another with -o.")


def test_a_name_that_the_system_refuses(model: Path) -> None:
    name = 300 * "a" + ".py"
    result = run("build", model, "-o", name)
    assert result.exit_code == 2
    assert message(result).endswith(
        f"{name} cannot be written: {os.strerror(errno.ENAMETOOLONG)}. Choose another with -o."
    )


def test_paths_and_passes_are_completed(model: Path) -> None:
    Path("folder").mkdir()
    Path("folder", "other.py").touch()
    Path("notes.txt").touch()
    assert _complete_file("") == ["folder/", "model.py"]
    assert _complete_file("mo") == ["model.py"]
    assert _complete_file("folder/") == ["folder/other.py"]
    assert _complete_file("./fol") == ["./folder/"]
    assert _complete_file("nowhere/") == []
    assert _complete("squ") == ["squeeze"]
