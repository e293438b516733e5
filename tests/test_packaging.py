"""What is built is complete: templates, type marker and licence are in the wheel, and the wheel works on its own."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout by the installed hatchling, without asking any package index."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*command, "-w", str(folder), str(ROOT)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_distribution_is_not_the_other_gradgen(wheel: Path) -> None:
    assert wheel.name.startswith("gradgen_numba-")


def test_the_wheel_holds_every_template_and_the_type_marker(unpacked: Path) -> None:
    templates = ROOT / "templates"
    expected = {path.relative_to(templates) for path in templates.rglob("*") if path.is_file()}
    expected = {path for path in expected if "__pycache__" not in path.parts}
    shipped = unpacked / "gradgen" / "templates"
    assert expected
    assert {path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()} == expected
    assert (unpacked / "gradgen" / "py.typed").is_file()
    assert list(unpacked.glob("*.dist-info/licenses/LICENSE"))


def test_the_wheel_holds_every_module_and_nothing_else(unpacked: Path) -> None:
    modules = {path.relative_to(ROOT) for path in (ROOT / "gradgen").rglob("*.py")}
    outside = unpacked / "gradgen" / "templates"
    shipped = {path.relative_to(unpacked) for path in unpacked.rglob("*.py") if not path.is_relative_to(outside)}
    assert shipped == modules


def test_templates_are_found_in_the_wheel_and_in_a_checkout(unpacked: Path, tmp_path: Path) -> None:
    program = (
        "import pathlib, gradgen.emit.templates as t\n"
        "print(pathlib.Path(t.__file__).parents[2], len(t.template_text('README.md')), len(t.render('README.md')))\n"
    )
    length = len((ROOT / "templates" / "README.md").read_text(encoding="utf-8"))
    for place in (unpacked, ROOT):
        command = [sys.executable, "-P", "-c", program]
        done = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(place)}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [str(place), str(length), str(length)]


def test_rendering_is_what_imports_jinja2(unpacked: Path) -> None:
    program = (
        "import sys, gradgen.emit.module, gradgen.emit.templates\n"
        "print(sorted({'jinja2', 'numba', 'sympy'} & {*sys.modules}))\n"
    )
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env={"PYTHONPATH": str(unpacked)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tools_are_pinned_alike() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = {name: {line for line in lines if line.startswith("ruff")} for name, lines in extras.items()}
    assert pins["test"] == pins["dev"] != set()
