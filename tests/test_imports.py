"""Imports run one way: read from the source, so that a cycle hidden in a function or under TYPE_CHECKING counts too."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gradgen"

BASE = {"errors", "version", "env", "options", "machine", "ours", "patience"}  # what everybody may import
LIBRARY = BASE | {
    "graph", "program", "lang", "nn", "emit", "inspect", "runtime", "standalone", "model", "watch", "pipeline", "asked",
    "stages", "emitted", "network", "compiling", "files", "tracebacks", "pickling", "first_values",
    "passes/rebuild", "passes/prepare", "passes/derive", "passes/rewrite", "passes/schedule", "passes/lower",
    "passes/loops", "passes",
}  # fmt: skip

PASSES = {name for name in LIBRARY if name.startswith("passes")}

# A folder or file of gradgen/, and what it may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    # the ground: no imports upwards
    "errors": set(),
    "version": set(),
    "env": {"errors"},
    "options": {"errors", "env"},
    "machine": {"env"},
    "files": {"errors"},
    "ours": set(),
    "patience": set(),
    "tracebacks": {"env", "errors", "ours"},
    "pickling": BASE | {"graph"},
    # what is declared: whole tensors, pure
    "graph": BASE,
    # from graph to program
    "program": BASE | {"graph"},
    "passes": set(),
    "passes/rebuild": BASE | {"graph", "program"},
    "passes/prepare": BASE | {"graph", "passes/rebuild"},
    "passes/derive": BASE | {"graph", "passes/rebuild"},
    "passes/rewrite": BASE | {"graph", "program", "passes/rebuild", "passes/prepare"},
    "passes/schedule": BASE | {"graph", "program", "passes/rebuild", "passes/rewrite"},
    "passes/loops": BASE | {"graph", "program", "passes/rebuild"},
    "passes/lower": BASE | {"graph", "program", *(f"passes/{x}" for x in ("rebuild", "rewrite", "schedule", "loops"))},
    # the language: formulas, and functions from graph to graph, which apply passes
    "lang": BASE | {"graph", "passes/rebuild", "passes/prepare", "passes/derive", "passes/rewrite"},
    "nn": BASE | {"graph", "lang"},
    # from program to text, and from text to a module
    "emit": BASE | {"files", "graph", "program"},
    "inspect": BASE | {"graph", "program", "emit", "lang", "runtime", *PASSES},
    "runtime": BASE | {"files", "graph", "program", "emit"},
    "standalone": BASE | {"graph", "lang", "program", "emit", "runtime"},
    # the compiler on one screen, and its users
    "watch": BASE | {"graph", "program", *PASSES, "inspect"},
    "model": BASE | {"graph", "program", *PASSES},
    "pipeline": BASE | {"graph", "lang", "program", *PASSES, "emit", "inspect", "model", "watch"},
    "asked": BASE | {"graph", "lang", "nn", "program", *PASSES, "model"},
    "first_values": BASE | {"graph", "nn", "runtime"},
    "stages": BASE | {"graph", "program", *PASSES, "emit", "inspect", "model", "watch", "pipeline"},
    "emitted": BASE | {"graph", "program", *PASSES, "emit", "runtime", "model", "watch", "pipeline"},
    "network": LIBRARY - {"network", "compiling"},
    "compiling": BASE | {"graph", "asked", "network"},
    "interop": LIBRARY,
    "cli": LIBRARY | {"__init__"},
    "__init__": LIBRARY,
    "__main__": {"cli"},
}

# Packages that are slow to import or optional: the only imports allowed inside a function.
HEAVY = {
    "cupy", "hypothesis", "jax", "jinja2", "llvmlite", "mpi4py", "mpmath", "numba", "numba_cuda", "onnx", "rich",
    "safetensors", "scipy", "sklearn", "sympy", "threadpoolctl", "torch",
}  # fmt: skip


class Import(NamedTuple):
    """`module` names what is imported; `inside` whether the statement stands in a function."""

    file: Path
    line: int
    module: str
    inside: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.module}"


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def place(module: str) -> str:
    """The folder or file of gradgen/ that a module belongs to: "graph" for gradgen.graph.nodes, "passes/derive"."""
    parts = module.split(".")
    return "/".join(parts[1:3] if parts[1:2] == ["passes"] else parts[1:2]) or "__init__"


def is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = {id(node) for function in functions for node in ast.walk(function)}
    package = module_name(path).split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            members = [f"{origin}.{alias.name}" for alias in node.names]
            names = [member if is_module(member) else origin for member in members]
        else:
            continue
        for name in dict.fromkeys(names):
            yield Import(path, node.lineno, name, id(node) in inner)


def own_imports(path: Path) -> list[Import]:
    return [found for found in imports(path) if found.module.split(".")[0] == "gradgen"]


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_a_module_imports_only_what_its_folder_may(path: Path) -> None:
    here = place(module_name(path))
    assert here in MAY_IMPORT, f"say in MAY_IMPORT what gradgen/{here} may import"
    allowed = MAY_IMPORT[here] | {here}
    assert [str(found) for found in own_imports(path) if place(found.module) not in allowed] == []


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_inside_functions_are_heavy_packages_only(path: Path) -> None:
    inside = [found for found in imports(path) if found.inside]
    assert [str(found) for found in inside if found.module.split(".")[0] not in HEAVY] == []


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_what_a_module_keeps_to_itself_nobody_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "gradgen" in (node.module or "")]
    private = [alias.name for node in found for alias in node.names if alias.name.startswith("_")]
    assert [name for name in private if not name.startswith("__")] == []


def test_the_table_itself_runs_one_way() -> None:
    order = list(TopologicalSorter(MAY_IMPORT).static_order())  # raises CycleError
    assert order.index("graph") < order.index("lang") < order.index("nn")
    stages = [order.index(f"passes/{stage}") for stage in ("rebuild", "prepare", "rewrite", "schedule", "lower")]
    assert stages == sorted(stages)
    assert order.index("graph") < stages[0] < stages[-1] < order.index("pipeline") < order.index("network")
    assert order.index("network") < order.index("cli")
    assert order.index("program") < min(order.index(name) for name in ("passes/loops", "emit", "inspect"))


def test_no_two_modules_import_each_other() -> None:
    edges = {
        module_name(path): {found.module for found in own_imports(path)} - {module_name(path)} for path in sources()
    }
    try:
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_reader_of_imports_sees_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gradgen"
    (package / "graph").mkdir(parents=True)
    (package / "lang").mkdir()
    (package / "graph" / "nodes.py").touch()
    source = package / "lang" / "compute.py"
    source.write_text(
        "import os\n"
        "import gradgen.graph.nodes as n\n"
        "from gradgen import graph\n"
        "from gradgen.graph import nodes, Missing\n"
        "from ..graph.nodes import Leaf\n"
        "from . import array\n"
        "if TYPE_CHECKING:\n"
        "    import gradgen.cli\n"
        "def late():\n"
        "    def later():\n"
        "        import sympy\n"
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert sorted((found.line, found.module, found.inside) for found in imports(source)) == [
        (1, "os", False),
        (2, "gradgen.graph.nodes", False),
        (3, "gradgen.graph", False),
        (4, "gradgen.graph", False),
        (4, "gradgen.graph.nodes", False),
        (5, "gradgen.graph.nodes", False),
        (6, "gradgen.lang", False),
        (8, "gradgen.cli", False),
        (11, "sympy", True),
    ]
