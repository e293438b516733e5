"""Environment variables: read when asked, refused with the value and the remedy."""

import re
from pathlib import Path

import pytest

from gradgen import env
from gradgen.errors import OptionError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADGEN_CACHE_DIR", "GRADGEN_CHECK", "GRADGEN_DEBUG", "GRADGEN_THRESHOLDS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_defaults() -> None:
    assert env.cache_dir() == Path.home() / ".cache" / "gradgen"
    assert env.check() is False
    assert env.debug() == 0
    assert env.smallest() is False


def test_the_cache_directory_by_name_then_by_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert env.cache_dir() == Path.home() / ".cache" / "gradgen"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert env.cache_dir() == tmp_path / "gradgen"
    monkeypatch.setenv("GRADGEN_CACHE_DIR", "mine")
    assert env.cache_dir() == Path.cwd() / "mine"


@pytest.mark.parametrize(("given", "value"), [("1", True), ("true", True), ("0", False), ("", False), ("No", False)])
def test_check(monkeypatch: pytest.MonkeyPatch, given: str, value: bool) -> None:
    monkeypatch.setenv("GRADGEN_CHECK", given)
    assert env.check() is value


def test_values_that_mean_nothing_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADGEN_CHECK", "maybe")
    with pytest.raises(OptionError, match=r"^GRADGEN_CHECK is 'maybe'\. Set it to 0 or 1\.$"):
        env.check()
    monkeypatch.setenv("GRADGEN_DEBUG", "5")
    with pytest.raises(OptionError, match=r"^GRADGEN_DEBUG is '5'\. Set it to a number from 0 to 4\.$"):
        env.debug()
    monkeypatch.setenv("GRADGEN_THRESHOLDS", "small")
    with pytest.raises(OptionError, match=r"^GRADGEN_THRESHOLDS is 'small'\. Set it to usual or smallest\.$"):
        env.smallest()


def test_the_kernels_of_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert env.blas_kernels() == ""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert env.blas_kernels() == "Haswell"


def test_every_variable_that_is_read_is_in_the_table() -> None:
    source = Path(env.__file__).read_text(encoding="utf-8")
    functions = source[source.index("def cache_dir") :]
    assert set(re.findall(r"GRADGEN_\w+", functions)) == {variable.name for variable in env.VARIABLES}


def test_no_other_module_reads_the_environment() -> None:
    package = Path(env.__file__).parent
    readers = [
        path.name for path in package.rglob("*.py") if "os.environ" in path.read_text() or "getenv(" in path.read_text()
    ]
    assert readers == ["env.py"]
