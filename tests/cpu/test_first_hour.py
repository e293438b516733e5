"""What a newcomer sees: errors that end in his own line, signs of life, functions compiled before they are needed."""

import io
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

import gradgen as gg
from gradgen import patience, tracebacks
from gradgen.cli.terminal import working
from gradgen.errors import BindingError, DTypeError, GradgenError, ShapeError
from gradgen.network import Network
from gradgen.ours import is_ours

WRONG = """
import gradgen as gg

x, W = gg.input("x", (3,)), gg.param("W", (4, 3))


def model():
    return x @ W


try:
    model()
except gg.GradgenError as error:
    raise RuntimeError("no model") if {chained} else error
"""
SHOWN = """Traceback (most recent call last):
  File "model.py", line 12, in <module>
    model()
  File "model.py", line 8, in model
    return x @ W
gradgen.errors.ShapeError: model.py:8: x (3) @ W (4, 3): sizes 3 and 4 of the summed axis differ. \
Make them equal, or transpose one with .T.
"""


ROOT = Path(gg.__file__).parents[1]


def printed(folder: Path, chained: bool = False, **variables: str) -> str:
    (folder / "model.py").write_text(WRONG.format(chained=chained))
    return failed(folder, **variables)


def failed(folder: Path, **variables: str) -> str:
    """What `model.py` there writes to standard error."""
    done = subprocess.run(
        [sys.executable, "model.py"], cwd=folder, env={"PYTHONPATH": str(ROOT), **variables}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr.replace(f"{folder}/", "")


def lines_of(text: str) -> list[str]:
    """Without the lines that underline, of which Python 3.11 has some."""
    return [line for line in text.splitlines() if set(line.strip()) - set("^~")]


def test_a_traceback_ends_in_the_users_line(tmp_path: Path) -> None:
    found = printed(tmp_path)
    plain = [line for line in lines_of(found) if "raise RuntimeError" not in line and "line 14" not in line]
    assert plain == SHOWN.splitlines()


def test_a_package_with_a_longer_name_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "gradgen").symlink_to(ROOT / "gradgen")
    models = tmp_path / "gradgen_models"
    models.mkdir()
    (models / "__init__.py").write_text(
        "import gradgen as gg\n\n\ndef model():\n    return gg.zeros(3) @ gg.zeros(4)\n"
    )
    (tmp_path / "model.py").write_text("import gradgen_models\n\ngradgen_models.model()\n")
    assert lines_of(failed(tmp_path, PYTHONPATH=str(tmp_path)))[:-1] == [
        "Traceback (most recent call last):",
        '  File "model.py", line 3, in <module>',
        "    gradgen_models.model()",
        '  File "gradgen_models/__init__.py", line 5, in model',
        "    return gg.zeros(3) @ gg.zeros(4)",
    ]


def test_which_files_are_ours() -> None:
    folder = Path(gg.__file__).parent
    assert is_ours(str(folder / "graph" / "place.py"))
    assert not is_ours(f"{folder}_models{os.sep}mlp.py")
    assert not is_ours(f"{folder}.py")


def test_a_package_behind_a_link_is_ours(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "gradgen").symlink_to(ROOT / "gradgen")
    (tmp_path / "model.py").write_text("import gradgen as gg\n\ngg.zeros(3) @ gg.zeros(4)\n")
    lines = lines_of(failed(tmp_path, PYTHONPATH=str(tmp_path / "packages")))
    assert lines[1:-1] == ['  File "model.py", line 3, in <module>', "    gg.zeros(3) @ gg.zeros(4)"]
    assert lines[-1].startswith("gradgen.errors.ShapeError: model.py:3: ")


def test_a_traceback_is_whole_where_gradgen_is_debugged_or_the_error_is_another(tmp_path: Path) -> None:
    assert "gradgen/graph/axes.py" in printed(tmp_path, GRADGEN_DEBUG="1")
    assert "gradgen/graph/axes.py" in printed(tmp_path, chained=True)


def test_a_notebook_shows_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GradgenError) as caught:
        gg.zeros(3) @ gg.zeros((4, 3))
    lines = caught.value._render_traceback_()  # type: ignore[attr-defined]
    assert lines == tracebacks.shown(caught.value)
    assert not [line for line in lines if "/gradgen/graph/" in line]
    monkeypatch.setenv("GRADGEN_DEBUG", "1")
    whole = caught.value._render_traceback_()  # type: ignore[attr-defined]
    assert "\n".join(whole) == "".join(traceback.format_exception(caught.value)).rstrip("\n")
    assert [line for line in whole if "/gradgen/graph/" in line]


@pytest.mark.parametrize("debug", ["0", "1"])
def test_ipython_shows_it(debug: str, tmp_path: Path) -> None:
    pytest.importorskip("IPython", reason="IPython is not installed")
    code = "import gradgen as gg; gg.zeros(3) @ gg.zeros(4)"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--quick", "--colors=NoColor", "-c", code], capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "GRADGEN_DEBUG": debug}, check=False,
    )  # fmt: skip
    lines = lines_of(done.stdout)
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("gradgen.errors.ShapeError: ")
    assert any("/gradgen/graph/" in line for line in lines) == (debug == "1")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with patience.patience("thinking"), patience.patience("thinking deeper"):
        time.sleep(0.1)
    line = "gradgen: thinking ..."
    assert terminal.getvalue() == f"{line}\r{' ' * len(line)}\r"


def test_a_command_and_what_it_does_give_one_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with working("thinking"), working("thinking deeper"), patience.patience("thinking deepest"):
        time.sleep(0.2)
    assert "thinking ..." in terminal.getvalue()
    assert "deep" not in terminal.getvalue()


class Told:
    def __init__(self, what: str) -> None:
        self.told = [what]

    def start(self) -> None:
        self.told.append("start")

    def stop(self) -> None:
        self.told.append("stop")


@pytest.mark.parametrize(("seconds", "told"), [(0.0, ["thinking", "start", "stop"]), (60.0, ["thinking"])])
def test_another_display(seconds: float, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", seconds)
    monkeypatch.setattr(sys, "stderr", Terminal())
    displays: list[Told] = []
    with patience.patience("thinking", lambda what: displays.append(Told(what)) or displays[-1]):  # type: ignore[func-returns-value]
        time.sleep(0.05)
    assert [display.told for display in displays] == [told]


@pytest.mark.parametrize("quiet", ["a pipe", "told by others", "quick"])
def test_no_sign_of_life(quiet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 60.0 if quiet == "quick" else 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := io.StringIO() if quiet == "a pipe" else Terminal())
    if quiet == "told by others":
        with patience.told(), patience.patience("thinking"):
            time.sleep(0.05)
    else:
        with patience.patience("thinking"):
            time.sleep(0.05)
    assert terminal.getvalue() == ""


def small() -> Network:
    x, w = gg.input("x", (gg.size("N"),)), gg.param("w", (2,))
    loss = gg.sum(gg.sin(x)) * gg.sum(w * w)
    return gg.compile({"loss": loss}, name="small_warm", loss="loss", updates=gg.optim.sgd(loss, lr=0.1))


def compiled(net: Network) -> dict[str, int]:
    """How many types of arguments each function of a module has machine code for."""
    return {name: len(f.overloads) for name, f in vars(net.module).items() if hasattr(f, "overloads")}


def test_after_a_warmup_calls_compile_nothing() -> None:
    net = small()
    net.warmup()
    before = compiled(net)
    assert sum(before.values()) > 0
    state = net.init()
    for n in (3, 4):
        x = np.ones(n, np.float32)
        net(x=x, **state)
        net.value_and_grad(x=x, **state)
        net.step(state, x=x)
    assert compiled(net) == before


def test_a_warmup_looks_at_arrays() -> None:
    net = small()
    net.warmup(x=np.ones(3, np.float32), **net.init())
    with pytest.raises(BindingError, match=r"small_warm\.forward: x missing"):
        net.warmup(**net.init())


def test_the_second_call_goes_the_short_way() -> None:
    """The first one settles everything; from the second on a call does not look at its arguments one by one."""
    net = small()
    state, x = net.init(), np.ones(3, np.float32)
    net.value_and_grad(x=x, **state)
    caller = net._entries["value_and_grad"]
    caller._checked = None  # type: ignore[method-assign, assignment]  # the long way
    net.value_and_grad(x=x, **state)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X": 1, "w": 1}, "small_warm.forward: x missing; X (meant as x?) unknown. Needed are x, w."),
        ({"x": 1, "weight": 1}, "small_warm.forward: w missing; weight unknown. Needed are x, w."),
        ({"x": 1, "w": 1, "W": 1}, "small_warm.forward: W unknown. Needed are x, w."),
    ],
)
def test_names_that_are_meant(given: dict[str, int], message: str) -> None:
    with pytest.raises(BindingError) as caught:
        small()(**given)
    assert str(caught.value) == message


class Wrong:
    """A user's initialiser that draws something else than it is asked for."""

    def __init__(self, drawn: np.ndarray) -> None:
        self.drawn = drawn

    def draw(self, *_: object) -> np.ndarray:
        return self.drawn


@pytest.mark.parametrize(
    ("drawn", "kind", "message"),
    [
        (np.zeros(7, np.float32), ShapeError, "own.init: the initialiser of w draws (7,), and it is (3)."),
        (np.zeros(3), DTypeError, "own.init: the initialiser of w draws float64, and it is float32."),
    ],
)
def test_an_initialiser_draws_what_is_declared(drawn: np.ndarray, kind: type[GradgenError], message: str) -> None:
    w = gg.param("w", (3,), init=Wrong(drawn))
    with pytest.raises(kind) as caught:
        gg.compile({"y": w * 2.0}, name="own").init()
    assert str(caught.value) == message
