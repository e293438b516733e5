"""From text to an imported module: emitted text enters, a file in a content-addressed cache and its module leave.

An entry is `<stem>_<digest>/<stem>.py`: tracebacks show a good name, Numba's `cache=True` has a place beside it, equal
text is equal everywhere. Only a file whose content fits the digest in its directory's name is ever executed, and what
is executed are the very bytes that were checked (no .pyc). The last stage: `runtime/` calls what was imported.
"""

import re
import shutil
import sys
import threading
from pathlib import Path
from types import ModuleType

from gradgen.emit.inner_functions import without_ways_in
from gradgen.emit.machine_code import protect
from gradgen.emit.store import cache_directory, check_private, digest, make_private, temporary_directory
from gradgen.errors import CacheError
from gradgen.files import write_file

__all__ = ["ENTRY", "import_module", "load_module", "write_module"]

_DIGITS = 16  # of the digest, in names
ENTRY = re.compile(rf"(?P<stem>[^\W\d]\w*)_(?P<digest>[0-9a-f]{{{_DIGITS}}})")
_importing = threading.RLock()


def load_module(text: str, stem: str, directory: Path | None = None) -> ModuleType:
    """`write_module`, then `import_module`: what callers want who have the text.

    Raises:
        CacheError: see there.
    """
    return import_module(write_module(text, stem, directory))


def write_module(text: str, stem: str, directory: Path | None = None) -> Path:
    """Put emitted text where it can be imported from, and return the path of the file.

    An entry that is there already and whole is left alone. One that is stale, truncated, foreign or changed is written
    anew. Any number of processes may do this at once.

    Args:
        text: the text of a Python module.
        stem: the name of the file without its ending, a Python name.
        directory: where to keep it, instead of the cache.

    Raises:
        CacheError: `directory` cannot be written. (The cache falls back on a temporary directory.)
    """
    if not stem.isidentifier():
        raise CacheError(f"{stem!r} cannot name a module. Use letters, digits and underscores.")
    data = text.encode()
    entry = f"{stem}_{digest(data)[:_DIGITS]}"
    if directory is not None:
        return _write_entry(directory.absolute() / entry, stem, data)
    try:
        return _write_entry(cache_directory() / entry, stem, data)
    except CacheError as error:  # the disk is full, or a quota is used up
        return _write_entry(temporary_directory(str(error)) / entry, stem, data)


def _write_entry(entry: Path, stem: str, data: bytes) -> Path:
    path = entry / f"{stem}.py"
    if entry.is_symlink() or (entry.exists() and not entry.is_dir()):
        entry.unlink(missing_ok=True)
    make_private(entry)
    if _read(path) == data:
        return path
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        write_file(path, data, private=True)
    except OSError as error:
        raise CacheError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _read(path: Path) -> bytes | None:
    try:
        return None if path.is_symlink() else path.read_bytes()
    except OSError:
        return None


def import_module(path: Path) -> ModuleType:
    """Import what `write_module` wrote. Equal text is imported once per process, whichever thread or path asks.

    Raises:
        CacheError: the content does not fit the digest in the directory's name, or another user could have changed it.
    """
    entry = ENTRY.fullmatch(path.parent.name)
    if entry is None or path.name != f"{entry['stem']}.py":
        raise CacheError(f"{path} is not an entry of the cache. Import a saved module as any other Python file.")
    check_private(path.parent)
    data = _read(path)
    if data is None or digest(data)[:_DIGITS] != entry["digest"]:
        raise CacheError(f"{path} is not what was written there. Compile the model again.")

    name = f"gradgen_{path.parent.name}"
    with _importing:
        known = sys.modules.get(name)
        return known if known is not None else _execute(data, name, path)


def _execute(data: bytes, name: str, path: Path) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # before execution: what Numba loads from its cache looks here for the module's classes
    try:
        exec(compile(data, path, "exec", dont_inherit=True), vars(module))
        protect(module)
        without_ways_in(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
