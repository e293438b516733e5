"""The emitted text: the same bytes in every process, whatever was compiled before, and tidy."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cpu.models import MODELS

ROOT = Path(__file__).resolve().parents[2]
NAMES = tuple(model.name for model in MODELS)
SOME = NAMES[1::6]
EMIT = """
import sys
from pathlib import Path
import gradgen as gg
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import tensor
from tests.cpu.models import BY_NAME, leaves_of
for name in sys.argv[2:]:
    model = BY_NAME[name]
    outputs = model.build()
    wrt = [tensor(x) for x in leaves_of(outputs) if x.dtype in FLOATS]
    text = gg.compile(outputs, name=name, loss=model.loss, wrt=wrt).standalone(f"{name}.py")
    (Path(sys.argv[1]) / f"{name}.py").write_text(text, encoding="utf-8")
"""


@cache
def emitted(models: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """The text of models from two processes: other hash seeds, the opposite order, caches of their own."""
    with TemporaryDirectory() as folder:
        running = []
        for seed, names in (("0", models), ("1", models[::-1])):
            out = Path(folder) / f"out{seed}"
            out.mkdir()
            own = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "GRADGEN_CACHE_DIR": f"{folder}/cache{seed}"}
            command = [sys.executable, "-c", EMIT, str(out), *names]
            running.append((out, subprocess.Popen(command, env={**os.environ, **own})))
        codes = [process.wait(timeout=500) for _, process in running]
        assert codes == [0, 0]
        first, second = ({path.stem: path.read_text(encoding="utf-8") for path in out.iterdir()} for out, _ in running)
        return first, second


@pytest.fixture(params=[pytest.param(SOME, id="some"), pytest.param(NAMES, id="all", marks=pytest.mark.repeats)])
def models(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


@pytest.mark.slow
def test_the_text_is_the_same_in_every_process(models: tuple[str, ...]) -> None:
    first, second = emitted(models)
    assert sorted(first) == sorted(models)
    assert [name for name in models if first[name] != second[name]] == []


@pytest.mark.slow
def test_the_text_names_no_place_on_this_machine(models: tuple[str, ...]) -> None:
    for name, text in emitted(models)[0].items():
        assert str(ROOT) not in text, name
        assert "tests/" not in text, name
        assert "_tmp" not in text, name


RUFF = {
    "check": ("--extend-select=E501,W,I,B,UP", "--line-length=120"),  # Ruff's own selection, and what is as common
    "format": ("--check", "--line-length=120"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", RUFF)
def test_the_text_is_tidy(models: tuple[str, ...], command: str, tmp_path: Path) -> None:
    for name, text in emitted(models)[0].items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", command, "--isolated", "--quiet", *RUFF[command], str(tmp_path)]
    done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
