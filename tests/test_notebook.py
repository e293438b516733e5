"""The notebook runs anew, and prints and shows what it holds; numbers of the training may differ in the last digit."""

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient and ipykernel")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient and ipykernel")
pytest.importorskip("ipykernel", reason="notebooks need nbclient and ipykernel")

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(r"\d+\.\d+")


def shown(cell: Any) -> list[dict[str, str]]:
    """What a cell printed and showed, by its kind."""
    found: list[dict[str, str]] = []
    for output in cell.outputs:
        assert output.output_type != "error", output
        found.append({"text": output.text} if output.output_type == "stream" else dict(output.data))
    return found


def numbers(outputs: list[dict[str, str]]) -> list[float]:
    return [float(x) for output in outputs for text in output.values() for x in NUMBER.findall(text)]


def without_numbers(outputs: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{kind: NUMBER.sub("#", text) for kind, text in output.items()} for output in outputs]


def test_the_notebook_shows_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    known = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    again = nbformat.from_dict(known)
    for cell in again.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    again = nbclient.NotebookClient(again, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    codes = [(old, new) for old, new in zip(known.cells, again.cells, strict=True) if old.cell_type == "code"]
    assert len(codes) > 8
    for old, new in codes:
        before, after = shown(old), shown(new)
        assert without_numbers(before) == without_numbers(after), old.source
        assert numbers(before) == pytest.approx(numbers(after), abs=0.05), old.source
    pages = [output["text/html"] for old, _ in codes for output in shown(old) if "text/html" in output]
    assert len(pages) == 4
    assert all("$$" in page for page in pages)
