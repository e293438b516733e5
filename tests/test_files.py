"""Files are written whole or not at all, with the permissions that their user expects."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradgen import files
from gradgen.errors import FileError


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_files_have_ordinary_permissions_and_old_ones_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    files.save_file(path, b"one")
    assert mode(path) == 0o640
    path.chmod(0o604)
    files.save_file(path, b"two")
    assert (path.read_bytes(), mode(path)) == (b"two", 0o604)
    files.write_file(path, b"three", private=True)
    assert (path.read_bytes(), mode(path)) == (b"three", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_followed_and_pipes_written_to(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target.name)
    files.save_file(link, b"one")
    assert link.is_symlink()
    assert target.read_bytes() == b"one"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.save_file(pipe, b"two")
    assert os.read(reader, 9) == b"two"
    os.close(reader)
    assert pipe.is_fifo()


def test_what_stops_a_writer_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.npz"
    files.save_file(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError) as caught:
        files.save_file(path, b"new")
    assert str(caught.value) == f"{path} cannot be written: No space left on device."
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_only_what_killed_writers_left_is_swept_away(tmp_path: Path) -> None:
    """`.gradgen-*.tmp` after an hour; a user's folder has other files that end in .tmp."""
    kept, recent, left = (tmp_path / name for name in (".notes.tmp", ".gradgen-1.tmp", ".gradgen-2.tmp"))
    for path in (kept, recent, left):
        path.touch()
    long_ago = time.time() - 4000
    for path in (kept, left):
        os.utime(path, (long_ago, long_ago))
    files.save_file(tmp_path / "w.npz", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gradgen-1.tmp", ".notes.tmp", "w.npz"]
