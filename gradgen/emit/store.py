"""Files of the cache: private to the user, checked when read.

Bytes and text enter, paths and checked bytes leave. `module.py` keeps emitted modules here, `machine_code.py` what
Numba compiled from them; `lookup` and `remember` let a later process skip every pass.
"""

import atexit
import functools
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from gradgen import env
from gradgen.errors import CacheError, CacheWarning
from gradgen.files import write_file
from gradgen.graph.place import warn
from gradgen.version import __version__

__all__ = [
    "cache_directory",
    "check_private",
    "compiler_stamp",
    "digest",
    "key",
    "lookup",
    "make_private",
    "read_sealed",
    "remember",
    "temporary_directory",
    "write_sealed",
]

_temporary: dict[int, Path] = {}  # the directory of each process: a forked child must not share its parent's


def digest(data: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


# -- directories ---------------------------------------------------------------------------------------------------


def cache_directory() -> Path:
    """The cache's directory, made if need be: `env.cache_dir()`, else a private temporary one.

    What is in it gets executed, so it must belong to the user and be writable by nobody else. Where that is not so, or
    where nothing can be written, the process works in a temporary directory and says why.
    """
    chosen = env.cache_dir()
    if chosen is None:
        return temporary_directory("there is no home directory")
    try:
        return make_private(chosen)
    except CacheError as error:
        return temporary_directory(str(error))


def temporary_directory(reason: str) -> Path:
    """This process's own directory, removed when it ends; the first call warns with `reason`."""
    pid = os.getpid()
    if pid not in _temporary or not _temporary[pid].is_dir():
        _temporary[pid] = Path(tempfile.mkdtemp(prefix="gradgen-"))  # mode 0700
        atexit.register(_remove, _temporary[pid], pid)
        warn(
            f"compiled models are kept for this process only: {reason.removesuffix('.')}."
            " Set GRADGEN_CACHE_DIR to a directory of your own to keep them.",
            CacheWarning,
        )
    return _temporary[pid]


def _remove(directory: Path, pid: int) -> None:
    if pid == os.getpid():  # not in a forked child, which inherits the registration
        shutil.rmtree(directory, ignore_errors=True)


def make_private(directory: Path) -> Path:
    """Make a directory with mode 0700, or check the one that is there, and return it with links resolved.

    Raises:
        CacheError: it cannot be made or written, or somebody else could have written in it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = directory.resolve(strict=True)
    except OSError as error:
        raise CacheError(f"{directory} cannot be made: {error.strerror or error}") from error
    check_private(directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CacheError(f"{directory} cannot be written")
    return directory


def check_private(directory: Path) -> None:
    """Refuse a directory that somebody else owns or may write in.

    Raises:
        CacheError: with the reason and the remedy.
    """
    if os.name != "posix":
        return  # elsewhere a user's own folders are private already
    try:
        status = directory.lstat()
    except OSError as error:
        raise CacheError(f"{directory} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise CacheError(f"{directory} is not a directory")
    if status.st_uid != os.geteuid():
        raise CacheError(f"{directory} belongs to another user (id {status.st_uid}), who could change what runs here")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheError(f"{directory} may be written by other users; take that away with: chmod go-w {directory}")


# -- files ---------------------------------------------------------------------------------------------------------


def write_sealed(path: Path, data: bytes, *, durable: bool = True) -> None:
    """A private file whose first line holds the digest of the rest."""
    write_file(path, digest(data).encode() + b"\n" + data, private=True, durable=durable)


def read_sealed(path: Path) -> bytes | None:
    """What `write_sealed` wrote; None when there is nothing, or anything but that."""
    try:
        seal, _, data = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return data if seal == digest(data).encode() else None


# -- what a later process can skip ---------------------------------------------------------------------------------


def key(*parts: str) -> str:
    """A key for `lookup` and `remember`: a digest of the parts (graph, options, ...) and of this very compiler."""
    return digest("".join(f"{len(part)}:{part}" for part in (compiler_stamp(), *parts)).encode())


@functools.cache
def compiler_stamp() -> str:
    """A digest of this very compiler: its version, and the size and time of every source file.

    An edited pass must not find yesterday's text.
    """
    package = Path(__file__).resolve().parent.parent
    sources = [*package.rglob("*.py")]
    for folder in (package / "templates", package.parent / "templates"):
        sources += [path for path in folder.rglob("*") if path.is_file()]
    stamps = ((str(path.relative_to(package.parent)), path.stat()) for path in sorted(sources))
    lines = [f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in stamps]
    return digest("\n".join([__version__, *lines]).encode())


def lookup(key: str) -> str | None:
    """The text remembered under a key from `key`, by this process or an earlier one; None when there is none."""
    data = read_sealed(_text_path(key))
    return None if data is None else data.decode()


def remember(key: str, text: str) -> None:
    """Keep a text for `lookup`. A file system that refuses is not an error: the next process does the work again."""
    path = _text_path(key)
    try:
        make_private(path.parent)
        write_sealed(path, text.encode())
    except OSError:  # CacheError is one too
        return


def _text_path(key: str) -> Path:
    return cache_directory() / "texts" / key
