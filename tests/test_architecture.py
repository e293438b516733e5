"""docs/architecture.md names every module, so that a newcomer finds each one on one page."""

import re
from pathlib import Path

from gradgen.passes.rebuild.promises import PROMISES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"


def modules() -> list[str]:
    """Paths as the page writes them: `graph/nodes.py`. An __init__ of a folder without code of its own is no module."""
    package = ROOT / "gradgen"
    paths = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))
    return [path for path in paths if not path.startswith("templates/") and not path.endswith("/__init__.py")]


def names(page: str, module: str) -> bool:
    """Whether the page has the path, or under a heading or line for the folder the bare name, as a word of its own."""
    folder, _, file = module.rpartition("/")
    if re.search(rf"(?<![\w/])(gradgen/)?{re.escape(module)}(?!\w)", page):
        return True
    stem = re.escape(file.removesuffix(".py"))
    inside = re.compile(rf"(?<![\w/])(gradgen/)?{re.escape(folder)}/(?!\w)") if folder else None
    block = page if inside is None else "\n".join(_blocks_after(page, inside))
    return re.search(rf"`{stem}(\.py)?`", block) is not None


def _blocks_after(page: str, folder: re.Pattern[str]) -> list[str]:
    """Paragraphs and tables in which the folder is named."""
    return [block for block in re.split(r"\n(?=#)", page) if folder.search(block)]


def test_the_page_names_every_module() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [module for module in modules() if not names(page, module)] == []


def gone(page: str, existing: list[str]) -> list[str]:
    """What the page calls a module and is none: paths anywhere, bare names in the table of a folder."""
    folders = "|".join(sorted({module.split("/")[0] for module in existing if "/" in module}))
    named = {match[0] for match in re.finditer(rf"(?<![\w/])(?:{folders})/[\w/]+\.py", page)}
    for block in re.split(r"\n(?=#)", page):
        heading = re.match(r"#+ ([\w/]+)/", block)
        if heading is not None:
            folder = "" if heading[1] == "gradgen" else f"{heading[1]}/"
            named |= {folder + file for file in re.findall(r"^\| `(\w+\.py)` \|", block, re.MULTILINE)}
    return sorted(named - set(existing))


def test_the_page_names_no_module_that_is_gone() -> None:
    assert gone(PAGE.read_text(encoding="utf-8"), modules()) == []


def test_a_module_that_is_gone_is_noticed() -> None:
    page = "# Map\n\n### gradgen/ itself\n\n| `cli.py` | x |\n| `old.py` | x |\n\n### graph/: nodes\n\n"
    page += "| `nodes.py` | x |\n| `letters.py` | x |\n\n### lang/\n\n| `nodes.py` | x |\n\nsee graph/old.py\n"
    page += "\n### passes/derive/\n\n| `old.py` | x |\n"
    wanted = ["graph/letters.py", "graph/old.py", "lang/nodes.py", "old.py", "passes/derive/old.py"]
    assert gone(page, ["cli.py", "graph/nodes.py", "lang/scan.py"]) == wanted


def test_a_missing_module_is_noticed() -> None:
    page = "# Map\n\n## graph/\n\n| `nodes.py` | nodes |\n\n## lang/\n\n`compute` and gradgen/lang/scan.py\n"
    assert names(page, "graph/nodes.py")
    assert names(page, "lang/compute.py")
    assert names(page, "lang/scan.py")
    assert not names(page, "graph/compute.py")
    assert not names(page, "lang/nodes.py")
    assert not names(page, "graph/sizes.py")


def test_the_page_says_what_passes_leave_behind() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name, words, _ in PROMISES if f"| `{name}` | {words} |" not in page] == []
