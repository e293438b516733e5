"""docs/walkthrough.md shows what its commands print; `pytest tests/golden --update-golden` writes it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "walkthrough.md"
BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n.*?```", re.DOTALL)


def test_the_walkthrough_is_up_to_date(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    known = PAGE.read_text(encoding="utf-8")
    (model,) = re.findall(r"```python\n(.*?)```", known, re.DOTALL)
    (tmp_path / "softmax.py").write_text(model, encoding="utf-8")
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(folders), "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    environment["GRADGEN_CACHE_DIR"] = str(tmp_path / "cache")

    def block(found: re.Match[str]) -> str:
        command = found["command"]
        shell = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert done.stdout.strip(), f"{command} prints nothing"
        return f"```console\n$ {command}\n{done.stdout.strip()}\n```"

    text, count = BLOCK.subn(block, known)
    assert count >= 8
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text, encoding="utf-8")
        known = text
    assert known.splitlines() == text.splitlines(), "--update-golden accepts this"
