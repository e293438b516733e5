"""A cache of its own for the tests that ask for one, and other processes that share it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradgen.emit import store
from tests.cpu.models import BY_NAME
from tests.cpu.small_model import MODEL

ROOT = Path(__file__).resolve().parents[2]
LOAD_AND_RUN = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np
from gradgen.emit.module import load_module
module = load_module(open(sys.argv[1]).read(), "model")
a = np.arange(4, dtype=sys.argv[2])
print(module.forward(a, module.Work(np.empty_like(a))), sum(module.forward.stats.cache_hits.values()))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of an empty cache; modules that the test imports are forgotten after it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRADGEN_CACHE_DIR", str(folder))
    monkeypatch.setattr(store, "_temporary", {})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(sys.modules)
    yield folder
    for name in [name for name in sys.modules if name.startswith("gradgen_") and name not in before]:
        del sys.modules[name]


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., Any]:
    """Starts a process; by default one that loads the small model, runs it, and prints its result and cache hits."""
    (tmp_path / "model.txt").write_text(MODEL)

    def start(program: str = LOAD_AND_RUN, dtype: str = "float32") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, str(tmp_path / "model.txt"), dtype]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    return start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one compiled model run one after another, so that one process compiles it and then has it."""
    places = [
        at for at, item in enumerate(items) if item.path.name == "test_models.py" and item.path.parent.name == "cpu"
    ]
    order = {name: at for at, name in enumerate(BY_NAME)}

    def model_and_dtype(item: pytest.Item) -> tuple[int, str]:
        found = getattr(item, "callspec", None)
        parameters = found.params if found is not None else {}
        return order.get(parameters.get("name", ""), len(order)), parameters.get("dtype", "float64")

    together = sorted((items[at] for at in places), key=model_and_dtype)
    for at, item in zip(places, together, strict=True):
        items[at] = item
