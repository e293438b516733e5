"""docs/generated holds what `gradgen build -o docs/generated` writes for the models of two pages of the docs.

`pytest tests/golden --update-golden` writes it anew.
"""

import filecmp
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gradgen.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FOLDER = DOCS / "generated"
PAGES = {"canaries.py": "canaries.md", "blocks.py": "blocks.md"}


@pytest.mark.parametrize("models", PAGES)
def test_the_generated_files_of_the_docs_are_up_to_date(
    models: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    target = FOLDER if request.config.getoption("--update-golden") else tmp_path
    result = CliRunner().invoke(app, ["build", str(ROOT / "examples" / models), "-o", str(target)])
    assert result.exit_code == 0, result.output
    names = [Path(line).name for line in result.output.split() if line.endswith("_grad.py")]
    assert names
    changed = [name for name in names if not filecmp.cmp(target / name, FOLDER / name, shallow=False)]
    assert changed == [], "--update-golden accepts this"
    page = (DOCS / PAGES[models]).read_text(encoding="utf-8")
    assert [name for name in names if name not in page] == []


def test_every_generated_file_is_on_a_page() -> None:
    pages = "".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES.values())
    assert [path.name for path in FOLDER.glob("*.py") if path.name not in pages] == []


def test_the_lines_of_a_file_are_those_that_the_page_counts() -> None:
    lines = (FOLDER / "mlp_grad.py").read_text(encoding="utf-8").splitlines()

    def at(name: str) -> int:
        return next(k for k, line in enumerate(lines) if line.startswith(f"def {name}("))

    made_and_tried = len(lines) - at("params")
    scalar = at("compute_h1") - at("difference_f32")
    own = at("compute_outside_1") - at("compute_loss_2")
    page = " ".join((DOCS / "canaries.md").read_text(encoding="utf-8").split())
    for words in (
        f"the file has {len(lines)}.",
        f"{made_and_tried} make arguments and try the file",
        f"{scalar} are scalar functions",
        f"{own} are kernels of `value_and_grad`",
    ):
        assert words in page
