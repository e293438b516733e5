"""Emitted modules on disk: whole, private, never stale, never foreign; and texts for the next process."""

import os
import stat
import sys
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import gradgen as gg
from gradgen import files
from gradgen.emit import module as emit_module
from gradgen.emit import store
from gradgen.emit.module import import_module, load_module, write_module
from gradgen.errors import CacheError, CacheWarning
from tests.cpu.small_model import MODEL, change, empty, run, truncate, vanish

pytestmark = pytest.mark.usefixtures("cache")


# -- writing and importing -----------------------------------------------------------------------------------------


def test_an_entry_is_named_by_its_content_and_private(cache: Path) -> None:
    path = write_module(MODEL, "model")
    assert path.name == "model.py"
    assert path.parent.name == f"model_{store.digest(MODEL.encode())[:16]}"
    assert path.parent.parent == cache
    assert path.read_text() == MODEL
    assert [stat.S_IMODE(place.stat().st_mode) for place in (cache, path.parent, path)] == [0o700, 0o700, 0o600]


def test_a_whole_entry_is_not_written_again() -> None:
    path = write_module(MODEL, "model")
    before = path.stat()
    assert write_module(MODEL, "model") == path
    assert path.stat().st_ino == before.st_ino
    assert write_module(MODEL + "\n", "model") != path


def test_a_directory_may_be_given(tmp_path: Path, cache: Path) -> None:
    path = write_module(MODEL, "model", tmp_path / "here")
    assert path.parent.parent == tmp_path / "here"
    assert run(import_module(path)) == 18.0
    assert not cache.exists()


def test_a_stem_that_is_no_name_is_refused() -> None:
    with pytest.raises(CacheError, match=r"'../model' cannot name a module\. Use letters, digits and underscores\."):
        write_module(MODEL, "../model")


def test_a_module_is_registered_before_it_is_executed() -> None:
    module = load_module("import sys\nfound = sys.modules[__name__].__name__\n", "early")
    assert module.found == module.__name__
    assert module.__name__.startswith("gradgen_early_")


def test_a_module_that_fails_is_not_left_half_imported() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        load_module("x = 1\nx / 0\n", "broken")
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (Path(last.filename).name, last.lineno, last.line) == ("broken.py", 2, "x / 0")
    assert not [name for name in sys.modules if name.startswith("gradgen_broken")]


def test_threads_import_equal_content_once() -> None:
    text = "import time\ntime.sleep(0.05)\nwhen = time.perf_counter_ns()\n"
    with ThreadPoolExecutor(16) as pool:
        modules = list(pool.map(lambda _: load_module(text, "once"), range(64)))
    assert {id(module) for module in modules} == {id(modules[0])}


def test_a_saved_module_is_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "mlp_grad.py"
    path.write_text(MODEL)
    with pytest.raises(CacheError, match=r"is not an entry of the cache\. Import a saved module as any other"):
        import_module(path)


# -- damaged and foreign entries -----------------------------------------------------------------------------------


def link_elsewhere(path: Path) -> None:
    other = path.with_name("other.py")
    path.rename(other)
    path.symlink_to(other)


def become_a_directory(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


@pytest.mark.parametrize("damage", [truncate, empty, change, link_elsewhere, become_a_directory, vanish])
def test_a_damaged_entry_is_refused_and_then_rewritten(damage: Callable[[Path], None]) -> None:
    path = write_module(MODEL, "model")
    damage(path)
    with pytest.raises(CacheError, match=r"is not what was written there\. Compile the model again\."):
        import_module(path)
    assert run(load_module(MODEL, "model")) == 18.0
    assert path.is_file()
    assert not path.is_symlink()
    assert path.read_text() == MODEL


def test_a_file_or_link_where_the_entry_belongs_is_replaced(cache: Path, tmp_path: Path) -> None:
    entry = write_module(MODEL, "model").parent
    entry.rename(tmp_path / "moved")
    entry.write_text("foreign")
    assert write_module(MODEL, "model").read_text() == MODEL
    entry.rename(tmp_path / "again")
    entry.symlink_to(tmp_path / "moved")
    assert write_module(MODEL, "model").read_text() == MODEL
    assert not entry.is_symlink()


def test_foreign_bytecode_beside_the_file_is_not_executed() -> None:
    import importlib.util
    import marshal

    path = write_module("value = 'ours'\n", "plain")
    bytecode = Path(importlib.util.cache_from_source(str(path)))
    bytecode.parent.mkdir()
    status = path.stat()
    header = importlib.util.MAGIC_NUMBER + b"\0\0\0\0"
    header += int(status.st_mtime).to_bytes(4, "little") + status.st_size.to_bytes(4, "little")
    bytecode.write_bytes(header + marshal.dumps(compile("value = 'foreign'\n", str(path), "exec")))
    assert import_module(path).value == "ours"


def give_away(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a directory look like another user's; only root could make it so."""
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        status = real(path)
        return os.stat_result((*status[:4], 12345, *status[5:10])) if path == directory else status

    monkeypatch.setattr(Path, "lstat", lstat)


def test_what_belongs_to_another_user_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_module(MODEL, "model")
    give_away(path.parent, monkeypatch)
    with pytest.raises(CacheError, match=r"belongs to another user \(id 12345\), who could change what runs here"):
        import_module(path)
    with pytest.warns(CacheWarning, match="belongs to another user"):
        assert run(load_module(MODEL, "model")) == 18.0


def test_a_cache_of_another_user_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(mode=0o700)
    give_away(cache, monkeypatch)
    with pytest.warns(CacheWarning, match="belongs to another user"):
        assert store.cache_directory() != cache


def test_what_others_may_write_is_not_used(cache: Path) -> None:
    path = write_module(MODEL, "model")
    path.parent.chmod(0o770)
    with pytest.raises(CacheError, match="may be written by other users; take that away with: chmod go-w"):
        import_module(path)
    path.parent.chmod(0o700)
    cache.chmod(0o777)
    with pytest.warns(CacheWarning, match="may be written by other users"):
        assert store.cache_directory() != cache


# -- a cache that cannot be written --------------------------------------------------------------------------------


def test_an_unwritable_cache_gives_a_private_temporary_one(cache: Path) -> None:
    cache.write_text("a file where the directory belongs; permission bits would not stop root")
    with pytest.warns(CacheWarning, match=r"kept for this process only: .* Set GRADGEN_CACHE_DIR to a directory of"):
        path = write_module(MODEL, "model")
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # says so once
        assert write_module(MODEL, "model") == path
        store.remember(store.key("k"), "text")
        assert store.lookup(store.key("k")) == "text"
    assert run(import_module(path)) == 18.0


def test_a_read_only_cache_gives_a_private_temporary_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write in spite of permission bits; on a disk that is mounted read-only it may not either."""
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != cache.resolve() and allowed(path, mode))
    with pytest.warns(CacheWarning, match="cannot be written"):
        assert write_module(MODEL, "model").is_file()


def test_a_full_disk_gives_a_private_temporary_directory(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_file(path: Path, data: bytes, *, private: bool) -> None:
        if path.is_relative_to(cache):
            raise OSError(28, "No space left on device")
        files.write_file(path, data, private=private)

    monkeypatch.setattr(emit_module, "write_file", write_file)
    with pytest.warns(CacheWarning, match="No space left on device"):
        assert not write_module(MODEL, "model").is_relative_to(cache)


def test_the_temporary_directory_is_gone_afterwards(cache: Path, python: Callable[..., Any]) -> None:
    cache.write_text("")
    program = "import warnings; warnings.simplefilter('ignore')\nfrom gradgen.emit.store import cache_directory as c\n"
    made = Path(python(program + "print(c())").communicate()[0].strip())
    assert made.name.startswith("gradgen-")
    assert not made.exists()


# -- remembered texts ----------------------------------------------------------------------------------------------


def test_a_text_is_found_by_its_key_only() -> None:
    assert store.lookup(store.key("graph", "options")) is None
    store.remember(store.key("graph", "options"), "text\r\n\u03bc")
    assert store.lookup(store.key("graph", "options")) == "text\r\n\u03bc"
    assert store.lookup(store.key("graph", "other")) is None
    assert store.key("ab", "c") != store.key("a", "bc")


@pytest.mark.parametrize("damage", [truncate, empty, change, vanish])
def test_a_damaged_text_is_not_found(cache: Path, damage: Callable[[Path], None]) -> None:
    store.remember(store.key("graph"), "x = 3  # some text that is long enough to be cut\n")
    damage(cache / "texts" / store.key("graph"))
    assert store.lookup(store.key("graph")) is None


def test_remembering_never_fails(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    (cache / "texts").write_text("in the way")
    store.remember(store.key("graph"), "text")
    assert store.lookup(store.key("graph")) is None


def test_another_compiler_has_other_keys(monkeypatch: pytest.MonkeyPatch, python: Callable[..., Any]) -> None:
    ours = store.key("graph")
    assert python("from gradgen.emit import store; print(store.key('graph'))").communicate()[0].strip() == ours
    monkeypatch.setattr(store, "compiler_stamp", lambda: "gradgen with an edited pass")
    assert store.key("graph") != ours


def test_a_model_is_found_again_in_the_same_process() -> None:
    """To compile it notes which nodes it is derived from, which is not a part of the model."""
    x, w = gg.input("x", (3,)), gg.param("w", (3,))
    loss = gg.sum(gg.sin(x * w))
    kept = gg.compile({"loss": loss, "slope": gg.grad(loss, w)}, name="again")
    assert kept._compiled is not None
    found = gg.compile({"loss": loss, "slope": gg.grad(loss, w)}, name="again")
    assert found._compiled is None
    assert found.source == kept.source
