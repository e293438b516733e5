"""What the README and the docs say is what is there: commands, examples, emitted code, files, conventions."""

import doctest
import inspect
import linecache
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import pytest

import gradgen as gg
from gradgen import env
from gradgen.cli import PASSES
from gradgen.graph.functions import FUNCTIONS
from gradgen.passes.prepare.stabilize import RULES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = {"gradgen.interop.torch": "torch", "gradgen.interop.jax": "jax"}  # which these modules need
COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[examples]' && .venv/bin/python examples/digits.py",
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -n 2 -q",
)


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_readme_has_the_two_commands() -> None:
    for command in COMMANDS:
        assert command in README


def test_the_emitted_code_in_the_readme_is_what_its_model_becomes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, emitted, *_ = blocks(README)
    path = tmp_path / "readme.py"  # a file, because names and lines are read from it
    path.write_text(model, encoding="utf-8")
    linecache.checkcache()
    module = ModuleType("readme")
    sys.modules["readme"] = module
    exec(compile(model, path, "exec"), vars(module))
    assert emitted in capsys.readouterr().out, "show what `print(net.source)` of the first block prints now"


def test_every_python_block_of_the_readme_is_python() -> None:
    for block in blocks(README):
        compile(block, "README.md", "exec")


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text("utf-8")], ids=lambda p: p.name)
def test_the_examples_of_a_page_run(page: Path) -> None:
    """But for those that import a package that is not there."""
    text = "\n".join(block for block in blocks(page.read_text(encoding="utf-8")) if is_installed(block))
    run(doctest.DocTestParser().get_doctest(text, {}, page.stem, page.name, 0))


def is_installed(block: str) -> bool:
    return all(find_spec(name) for name in re.findall(r"^>>> import (torch|jax)$", block, re.MULTILINE))


def test_the_examples_in_docstrings_run() -> None:
    found = doctest.DocTestFinder()
    names = [m.name for m in walk_packages(gg.__path__, "gradgen.") if "__main__" not in m.name]
    modules = [import_module(name) for name in names if find_spec(PACKAGES.get(name, "gradgen"))]
    tests = [test for module in modules for test in found.find(module) if test.examples]
    assert tests
    for test in tests:
        run(test)


def test_every_public_name_has_a_docstring() -> None:
    names = {f"gg.{name}": getattr(gg, name) for name in gg.__all__}
    for module in (gg.nn, gg.nn.init, gg.optim):
        names |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    for name, value in list(names.items()):
        if inspect.isclass(value):
            names |= {f"{name}.{key}": found for key, found in vars(value).items() if not key.startswith("_")}
    documented = {name: value for name, value in names.items() if inspect.isroutine(value) or inspect.isclass(value)}
    assert len(documented) > 150
    assert [name for name, value in documented.items() if not has_docstring(value)] == []


def has_docstring(value: Any) -> bool:
    """Python writes one for a dataclass without: its signature."""
    automatic = inspect.isclass(value) and str(value.__doc__).startswith(f"{value.__name__}(")
    return bool(value.__doc__) and not automatic


def run(examples: doctest.DocTest) -> None:
    """Three dots in an expected line stand for anything: the place in a message, say."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:docs|examples|tests|templates|gradgen)/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_page_on_debugging_names_every_variable() -> None:
    page = (ROOT / "docs" / "debugging.md").read_text(encoding="utf-8")
    assert [v.name for v in env.VARIABLES if f"| `{v.name}` | {v.values} |" not in page] == []


def test_passes_shown_in_the_pages_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"--after ([a-z][\w-]*)", text)) <= set(PASSES)


def test_the_page_on_semantics_names_every_kink_and_every_rule() -> None:
    page = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
    symbols = {"floordiv": "//", **dict.fromkeys(("int32", "int64", "uint32"), "casts to integers")}
    kinks = [symbols.get(f.name, f.name) for f in FUNCTIONS.values() if f.kink]
    assert [name for name in kinks if name not in page] == []
    words = {"log_exp": "log(exp(x)", "max_shift": "maximum subtracted", "mask": "masks"}
    assert [rule for rule in RULES if words.get(rule, rule) not in page] == []
