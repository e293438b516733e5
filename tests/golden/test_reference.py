"""docs/reference.md holds what the declarations and docstrings say; `pytest tests/golden --update-golden` writes it."""

from pathlib import Path

import pytest

from tests.golden.reference_page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"


def test_the_reference_is_up_to_date(request: pytest.FixtureRequest) -> None:
    text = page()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text, encoding="utf-8")
    known = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    assert known.splitlines() == text.splitlines(), "--update-golden accepts this"
