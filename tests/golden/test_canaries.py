"""docs/generated holds what `gradgen build examples/canaries.py -o docs/generated` writes.

`pytest tests/golden --update-golden` writes it anew.
"""

import filecmp
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gradgen.cli import app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "generated"
PAGE = ROOT / "docs" / "canaries.md"


def test_the_generated_files_of_the_docs_are_up_to_date(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    target = FOLDER if request.config.getoption("--update-golden") else tmp_path
    result = CliRunner().invoke(app, ["build", str(ROOT / "examples" / "canaries.py"), "-o", str(target)])
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in target.glob("*_grad.py"))
    assert names == sorted(path.name for path in FOLDER.glob("*_grad.py"))
    changed = [name for name in names if not filecmp.cmp(target / name, FOLDER / name, shallow=False)]
    assert changed == [], "--update-golden accepts this"
    assert [name for name in names if name not in PAGE.read_text(encoding="utf-8")] == []
