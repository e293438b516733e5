"""What gradgen stands on: packages, processor, threads, BLAS, CUDA, cache.

In: nothing but the machine. Out: `Fact`s for `gradgen doctor`; one that is not `ok` says what to do.
"""

import ctypes
import ctypes.util
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradgen import env
from gradgen.emit.module import ENTRY
from gradgen.emit.store import check_private, digest
from gradgen.errors import CacheError
from gradgen.version import __version__

__all__ = ["Fact", "OpenBlas", "facts", "loaded_openblas", "survey"]

NEEDED = ("numpy", "scipy", "numba", "llvmlite", "sympy", "jinja2", "typer", "rich")
OPTIONAL = ("jax", "torch", "numba-cuda", "threadpoolctl")
FEATURES = ("fma", "avx2", "avx512f", "amx-tile", "neon", "sve")
LAYERS = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the report."""

    name: str
    value: str
    ok: bool = True


def facts() -> Iterator[Fact]:
    """Everything, in the order in which it is shown."""
    yield Fact("gradgen", __version__)
    yield Fact("Python", f"{platform.python_version()} ({sys.executable})")
    for name in NEEDED:
        version = _version(name)
        yield Fact(name, version or "missing: install it with pip", version is not None)
    for name in OPTIONAL:
        yield Fact(name, _version(name) or "not installed (optional)")
    yield Fact("system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield _processor()
    yield from _numba()
    yield from _blas()
    yield _cuda()
    yield from _cache()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- compiling and threads


def _processor() -> Fact:
    import llvmlite.binding as llvm

    has = llvm.get_host_cpu_features()
    features = [name for name in FEATURES if has.get(name)]
    return Fact(
        "processor", f"{llvm.get_host_cpu_name()}, {_cores()} cores, {', '.join(features) or 'no vector units'}"
    )


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _numba() -> Iterator[Fact]:
    from numba.core import config

    if config.DISABLE_JIT:
        yield Fact("compiling", "switched off by NUMBA_DISABLE_JIT: emitted functions run as plain Python", ok=False)
    found = [name for name in config.THREADING_LAYER_PRIORITY if _importable(f"numba.np.ufunc.{LAYERS[name]}")]
    wanted = config.THREADING_LAYER
    if wanted in LAYERS and wanted not in found:
        yield Fact("threads", f"NUMBA_THREADING_LAYER is {wanted}, which cannot be loaded: unset it", ok=False)
    elif not found:
        yield Fact("threads", "no threading layer of Numba can be loaded: install numba again", ok=False)
    else:
        used = wanted if wanted in found else found[0]
        others = [name for name in found if name != used]
        also = f", also {', '.join(others)}" if others else ""
        note = "; calls from several threads must follow each other" if used == "workqueue" else ""
        yield Fact("threads", f"{config.NUMBA_NUM_THREADS} by {used}{also}{note}")
    yield Fact(
        "SVML", "in use" if config.USING_SVML else "not found, and not needed: emitted functions vectorise alone"
    )


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


# ---------------------------------------------------------------- libraries


def _blas() -> Iterator[Fact]:
    """What matrix products run on: Numba calls SciPy's BLAS, functions that are not compiled call NumPy's."""
    for package in ("scipy", "numpy"):
        module: Any = importlib.import_module(package)
        found = module.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
        importlib.import_module(f"{package}.linalg")  # so that the library is loaded, and can be asked
        about = [f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()]
        loaded = loaded_openblas(f"{package}.libs")
        if loaded is not None:
            about += [f"kernels for {loaded.kernels}", f"{loaded.threads} threads"]
        yield Fact(f"BLAS of {package}", ", ".join(about))
    forced = env.blas_kernels()
    if forced:
        told = f"those for {forced} by OPENBLAS_CORETYPE, whatever the processor; products may be faster with it unset"
        yield Fact("BLAS kernels", told)


@dataclass(frozen=True, slots=True)
class OpenBlas:
    """What a loaded OpenBLAS says of itself: the processor that its kernels are written for, and its threads."""

    kernels: str
    threads: int


def loaded_openblas(folder: str) -> OpenBlas | None:
    """The OpenBLAS that was loaded from a folder of this name, where there is one that can be asked."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return None
    paths = sorted({line.split()[-1] for line in maps.read_text().splitlines() if "openblas" in line})
    for path in paths:
        if Path(path).parent.name == folder:
            library = ctypes.CDLL(path)
            kernels, threads = _exported(library, "get_corename"), _exported(library, "get_num_threads")
            if kernels is not None and threads is not None:
                kernels.restype = ctypes.c_char_p
                return OpenBlas(kernels().decode(), int(threads()))
    return None


def _exported(library: ctypes.CDLL, name: str) -> Any:
    """A function of OpenBLAS, which builds export with a prefix or a suffix of their own."""
    names = (f"{prefix}openblas_{name}{suffix}" for prefix in ("scipy_", "") for suffix in ("", "64_", "_64"))
    return next((getattr(library, found) for found in names if hasattr(library, found)), None)


def _cuda() -> Fact:
    if ctypes.util.find_library("cuda") is None:
        return Fact("CUDA", "no driver")
    try:
        from numba import cuda

        names = [device.name for device in cuda.gpus] if cuda.is_available() else []
    except Exception as error:  # whatever a half-installed driver raises
        return Fact("CUDA", f"a driver, but {type(error).__name__}: {error}")
    shown = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    return Fact("CUDA", ", ".join(shown) or "a driver, but no device that Numba can use")


# ---------------------------------------------------------------- the cache


def _cache() -> Iterator[Fact]:
    folder = env.cache_dir()
    if folder is None:
        yield Fact("cache", "no home directory: set GRADGEN_CACHE_DIR to a directory of your own", ok=False)
        return
    if not folder.exists():
        yield Fact("cache", f"{folder}, made by the first model")
        return
    try:
        check_private(folder.resolve())
    except CacheError as error:
        yield Fact("cache", str(error), ok=False)
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Fact("cache", f"{folder} cannot be written: set GRADGEN_CACHE_DIR to a directory of your own", ok=False)
        return
    models, size, foreign, damaged = survey(folder)
    yield Fact("cache", f"{folder}, writable, {models} models, {size / MEGABYTE:.1f} MB")
    if foreign:
        yield Fact("foreign files", f"{_listed(foreign)} in the cache: not gradgen's, never read")
    if damaged:
        yield Fact("damaged", f"{_listed(damaged)} in the cache: written anew when needed, never imported")


def survey(folder: Path) -> tuple[int, int, list[str], list[str]]:
    """Of a cache: its models, its bytes, what does not belong there, and entries that are not what was written."""
    models, foreign, damaged = 0, [], []
    for path in sorted(folder.iterdir()):
        entry = ENTRY.fullmatch(path.name)
        if path.name == "texts" and path.is_dir():
            continue
        if entry is None or path.is_symlink() or not path.is_dir():
            foreign.append(path.name)
            continue
        models += 1
        module = path / f"{entry['stem']}.py"
        if not module.is_file() or not digest(module.read_bytes()).startswith(entry["digest"]):
            damaged.append(path.name)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return models, size, foreign, damaged


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
