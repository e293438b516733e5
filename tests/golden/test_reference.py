"""docs/reference.md holds what the declarations and docstrings say; `pytest tests/golden --update-golden` writes it."""

import inspect
from pathlib import Path

import pytest

import gradgen as gg
from tests.golden.reference_page import FAMILIES, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"


def test_the_reference_is_up_to_date(request: pytest.FixtureRequest) -> None:
    text = page()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text, encoding="utf-8")
    known = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    assert known.splitlines() == text.splitlines(), "--update-golden accepts this"


def test_every_name_of_networks_is_in_one_family() -> None:
    listed = [name for title, (_, names) in FAMILIES.items() if title.startswith("gg.nn: ") for name in names]
    assert sorted(listed) == sorted(name for name in gg.nn.__all__ if not inspect.ismodule(getattr(gg.nn, name)))
