"""Jinja2, in one place: a template's path and its finished names enter, text leaves.

Templates arrange what passes decided: they loop, join and indent, and decide nothing.
`gradgen/emit/cpu.py`, `cuda.py` and the reports call `render`; `module.py` writes what it returns.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gradgen.errors import GradgenError

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render", "template_text"]


@functools.cache
def _folder() -> Path:
    """`templates` inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "templates", package.parent / "templates"):
        if folder.is_dir():
            return folder
    raise GradgenError("gradgen's templates folder is missing from this installation. Install gradgen-numba again.")


@functools.cache
def _environment() -> Environment:
    # jinja2 takes tens of milliseconds to import, and a start from the cache renders nothing.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=jinja2.select_autoescape(("html", "html.j2"), default=False, default_for_string=False),
    )


def template_text(relative_path: str) -> str:
    """The text of a template as it is, for example of "cpu/module.py.j2"."""
    path = _folder() / relative_path
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GradgenError(
            f"gradgen's template {relative_path} is missing from this installation. Install gradgen-numba again."
        ) from None


def render(relative_path: str, **context: object) -> str:
    """A template filled in. A name that the template uses and `context` lacks is an error, not an empty string."""
    return _environment().get_template(relative_path).render(context)
