"""Numba's cache on disk, made safe: its functions enter as imported, and load only what was stored whole.

Numba keeps an index and numbered data files per function. A truncated one raises in the user's call (`EOFError`,
`UnpicklingError`), damaged machine code is executed, and two processes that compile two signatures at once may both
choose number 1, so that one signature later loads the other's code. Here every signature has a file of its own, named
by its key and sealed with its digest: nothing to update, nothing to race for, and what is damaged is compiled again.
`module.py` calls `protect` on each module it imports.
"""

import pickle
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from gradgen.emit.store import digest, read_sealed, write_sealed
from gradgen.errors import CacheWarning

__all__ = ["SealedFiles", "protect"]


def protect(module: ModuleType) -> None:
    """Give every function that the module compiles with `cache=True` sealed files, on the CPU and on CUDA alike."""
    from numba.core.registry import CPUDispatcher

    functions: dict[str, Any] = {}
    for name, function in vars(module).items():
        cache = getattr(function, "_cache", None)
        if cache is None or not hasattr(cache, "_cache_file"):
            continue  # not a Numba function, or not a cached one
        if isinstance(cache._cache_file, SealedFiles):
            continue  # another name of a function
        if getattr(function.py_func, "__module__", None) != module.__name__:
            continue  # a user's function, imported from elsewhere
        functions[name] = function
        cache._cache_file = SealedFiles(cache._cache_file)
        called: list[Any] = []  # of the functions before; CUDA links them itself
        if isinstance(function, CPUDispatcher):
            names = function.py_func.__code__.co_names
            called = [functions[x] for x in names if x in functions and x != name]  # it may call itself
        cache.load_overload = partial(_load, cache.load_overload, called)
        cache.save_overload = partial(_save, cache.save_overload)


class SealedFiles:
    """One sealed file per signature. Stands where Numba has its `IndexDataCacheFile` (load, save, flush)."""

    def __init__(self, numba_file: Any) -> None:
        self._serialize: Callable[[object], bytes] = numba_file._dump
        self._folder = Path(numba_file._cache_path)
        self._function = str(numba_file._index_name).removesuffix(".nbi")
        self._source = f"{numba_file._version} {numba_file._source_stamp!r}"

    def mark(self, kind: str) -> None:
        """Keep what is compiled from now on apart from what was compiled of the same text in another way."""
        self._source = f"{self._source} {kind}"

    def _path(self, key: object) -> Path:
        return self._folder / f"{self._function}.{digest(f'{self._source} {key!r}'.encode())[:16]}.nbs"

    def load(self, key: object) -> Any:
        """What was saved under the key, or None."""
        data = read_sealed(self._path(key))
        if data is None:
            return None
        stored_key, overload = pickle.loads(data)
        return overload if stored_key == key else None

    def signatures(self) -> list[Any]:
        """Those for which this version of the function was saved."""
        found = ((path, read_sealed(path)) for path in sorted(self._folder.glob(f"{self._function}.*.nbs")))
        keys = ((path, pickle.loads(data)[0]) for path, data in found if data is not None)
        return [key[0] for path, key in keys if path == self._path(key)]

    def save(self, key: object, overload: object) -> None:
        """Save under the key. Not durable: after a loss of power the seal does not fit, and it is compiled again."""
        write_sealed(self._path(key), self._serialize((key, overload)), durable=False)

    def flush(self) -> None:
        """Forget every signature of the function."""
        for path in self._folder.glob(f"{self._function}.*.nbs"):
            path.unlink(missing_ok=True)


def _load(load: Callable[[Any, Any], Any], called: Sequence[Any], signature: Any, target: Any) -> Any:
    """The machine code of a function, behind that of the functions that it calls.

    With it comes a copy of theirs, which LLVM has optimised once more and which may round otherwise. The copy is not
    used where they are known already, as they are when Numba compiles: so one code runs in every process.
    """
    try:
        for function in called:
            for known in function._cache._cache_file.signatures():
                function.compile(known)
        return load(signature, target)
    except Exception:  # stored whole, yet not loadable: by another version of something; compile instead
        return None


def _save(save: Callable[[Any, Any], None], signature: Any, overload: Any) -> None:
    try:
        save(signature, overload)
    except OSError as error:
        warnings.warn(f"machine code was not kept for the next process: {error}.", CacheWarning, stacklevel=2)
