"""Files written whole or not at all: readers see the old content or the new, also when the writer is killed.

In: a path and bytes. Out: the file. The cache writes with `write_file`, what users name is written by `save_file`.
"""

import os
import secrets
import shutil
import time
from pathlib import Path

from gradgen.errors import FileError

__all__ = ["save_file", "write_file"]

_ABANDONED = 3600.0  # seconds after which the temporary file of a killed writer is swept away


def save_file(path: Path, data: bytes | memoryview) -> None:
    """Write a file for its user: links are followed, permissions kept; new files have those that the user's do.

    What is no ordinary file, such as a device or a pipe, is written to as it is.

    Raises:
        FileError: the path, and the system's reason.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            write_file(path.resolve(), data)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}.") from error


def write_file(path: Path, data: bytes | memoryview, *, private: bool = False, durable: bool = True) -> None:
    """Write a file beside its place, then move it there.

    Args:
        path: its directory exists; whatever else has this name is replaced.
        data: the content.
        private: mode 0600; else the mode of the file that is replaced, or what the user's umask leaves of 0666.
        durable: wait until the content is on the disk, so that it survives a loss of power too.

    Raises:
        OSError: the file system refuses (full, read-only, a directory in the way).
    """
    temporary = path.with_name(f".gradgen-{secrets.token_hex(8)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            if not private and path.exists():
                shutil.copymode(path, temporary)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sweep(path.parent)


def _sweep(directory: Path) -> None:
    """Remove what writers killed long ago left behind."""
    for left in directory.glob(".gradgen-*.tmp"):
        try:
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
        except OSError:  # another process swept it first
            continue
