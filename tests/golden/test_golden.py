"""The emitted files of a few small models, to be read: a change of the compiler shows what it changes in them.

`pytest tests/golden --update-golden` writes them anew; the difference belongs into the commit.
"""

import ast
import difflib
import re
from pathlib import Path

import pytest

import gradgen as gg
from tests.cpu.models import BY_NAME, MODELS, compiled_in, parameters
from tests.cpu.running import case

FILES = Path(__file__).with_name("emitted")
NAMES = (
    "lecture_scalar",
    "mlp_naive_ce",
    "one_sample",
    "conv_plain",
    "embedding_tanh",
    "layernorm_softmax",
    "causal_attention",
    "recurrence",
    "concatenation",
)


def without_lines(text: str) -> str:
    """The text without the lines of the model file: they move whenever a model above is edited."""
    return re.sub(r"^( *#) +\d+(?:  |(?:, \d+)*: )", r"\1 ", text, flags=re.MULTILINE)


def golden_path(request: pytest.FixtureRequest) -> Path:
    """`emitted/<parameter of the test>.py`."""
    return FILES / f"{request.node.callspec.id}.py"


@pytest.mark.parametrize("name", NAMES)
def test_the_emitted_file(name: str, request: pytest.FixtureRequest) -> None:
    model, path = BY_NAME[name], golden_path(request)
    text = gg.compile(model.build(), name=name, loss=model.loss).source
    ast.parse(text)
    if request.config.getoption("--update-golden"):
        FILES.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    known = path.read_text(encoding="utf-8") if path.is_file() else ""
    if without_lines(text) != without_lines(known):
        lines = difflib.unified_diff(
            known.splitlines(), text.splitlines(), f"{path.name} (golden)", "emitted", lineterm=""
        )
        pytest.fail("\n".join([*lines, "", "--update-golden accepts this."]), pytrace=False)


@pytest.mark.parametrize("name", NAMES)
def test_comments_name_what_the_reader_can_find(name: str) -> None:
    """In the code below them, in a comment that defines it, or among the model's formulas at the head of the file.

    An array of the module by the name of another is in none of them, even where the head has a formula of that name.
    """
    text = (FILES / f"{name}.py").read_text(encoding="utf-8")
    head, *kernels = text.split("\ndef compute_")
    for kernel in kernels:
        lines = kernel.splitlines()
        code = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        in_code = set(re.findall(r"[A-Za-z_]\w*", code))
        known = in_code | set(re.findall(r"[A-Za-z_]\w*", head))
        known |= {f"d_{word}" for word in known}
        comments = "\n".join(line for line in lines if line.lstrip().startswith("#"))
        defined = set(re.findall(r"# (?:[\d, ]+: )?(\w+)(?:\[[^\]]*\])? \+?=", comments))
        read = set(re.findall(r"([A-Za-z_]\w*)\[", comments))
        assert read <= known | defined
        assert read & set(re.findall(r"^    (\w+): np.ndarray", head, re.MULTILINE)) - defined <= in_code


@pytest.mark.parametrize("name", parameters([m for m in MODELS if m.name != "deep_equal"]))  # most are left out there
def test_the_head_defines_what_it_names(name: str) -> None:
    """Every tensor that a formula at the head reads is an argument, or on the left side of another."""
    this = case(name, compiled_in(name))
    text = this.net.source
    head = "\n".join(line for line in text[: text.index("\n# ruff")].splitlines()[2:])
    known = {x.name for x in this.leaves}
    known |= set(re.findall(r"^#[ .\d]*(\w+)(?:\[.*?\])?(?: \+?=|: )", head, re.MULTILINE))
    read = set(re.findall(r"([A-Za-z_]\w*)\[", head)) | set(re.findall(r"= (\w+) as ", head))
    read |= {x for pair in re.findall(r": (\w+) in the first step, then (\w+) of", head) for x in pair}
    assert read <= known


def test_no_file_is_left_over() -> None:
    assert sorted(path.stem for path in FILES.glob("*.py")) == sorted(NAMES)
