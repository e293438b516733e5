"""A small module as gradgen emits them, what to do with it, and ways to damage a file."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from gradgen.emit.module import load_module, write_module

MODEL = '''\
"""A small module like an emitted one: a named tuple, three functions, one calls the others."""
from typing import NamedTuple

import numpy as np
from numba import njit


class Work(NamedTuple):
    h: np.ndarray


@njit(cache=True, error_model="numpy")
def scale(a, w):
    for n in range(a.shape[0]):
        w.h[n] = a[n] * 3


@njit(cache=True, error_model="numpy")
def total(w):
    z = 0.0
    for n in range(w.h.shape[0]):
        z += w.h[n]
    return z


@njit(cache=True, error_model="numpy")
def forward(a, w):
    scale(a, w)
    return total(w)
'''
FUNCTIONS = ("scale", "total", "forward")


def run(module: ModuleType, dtype: str = "float32") -> float:
    return float(module.forward(np.arange(4, dtype=dtype), module.Work(np.empty(4, dtype))))


def anew(text: str = MODEL) -> ModuleType:
    """The module as a process that just started would have it."""
    sys.modules.pop(f"gradgen_{write_module(text, 'model').parent.name}", None)
    return load_module(text, "model")


def hits(module: ModuleType) -> int:
    return sum(sum(getattr(module, name).stats.cache_hits.values()) for name in FUNCTIONS)


def machine_code(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nbs"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"3", b"4"))


def vanish(path: Path) -> None:
    path.unlink()
