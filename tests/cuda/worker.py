"""Runs in a process of its own: the CUDA simulator must be chosen before numba is imported.

`worker.py simulate MODULE ARRAYS CALLS` launches kernels over arrays, which it writes back; `worker.py compile MODULE
ARRAYS CALLS` compiles them for a GPU that need not be there and prints, as JSON, what came out.
"""

import json
import os
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 4
CC = (9, 0)


def load(path: Path) -> types.ModuleType:
    module = types.ModuleType(path.stem)
    exec(compile(path.read_text(encoding="utf-8"), path.name, "exec", dont_inherit=True), vars(module))
    return module


def simulate(module: types.ModuleType, arrays: dict[str, Any], calls: list[list[Any]]) -> None:
    """Fewer threads than rows, so that some take two, and threads without a row at the end."""
    for name, parameters in calls:
        getattr(module, name)[2, THREADS](*[arrays[p] for p in parameters])


def compiled(module: types.ModuleType, arrays: dict[str, Any], calls: list[list[Any]]) -> dict[str, Any]:
    """Text of PTX for each kernel, and what the assembler says of it where cuda.core is there to link."""
    import numba
    from numba import cuda

    assert "numba_cuda" in cuda.__file__, "the CUDA target of numba itself is deprecated"
    found: dict[str, Any] = {}
    for name, parameters in calls:
        signature = numba.void(*[numba.typeof(arrays[p]) for p in parameters])
        ptx, _ = cuda.compile_ptx(getattr(module, name).py_func, signature, cc=CC)
        found[name] = {"ptx": ptx, **linked(ptx)}
    return found


def linked(ptx: str) -> dict[str, Any]:
    try:
        from cuda.core import Linker, LinkerOptions, ObjectCode
    except ImportError:
        return {}
    options = LinkerOptions(arch="sm_90", ptxas_options=["-v"])
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    cubin = linker.link("cubin")
    log = linker.get_info_log() + linker.get_error_log()
    registers = re.search(r"(\d+) registers", log)
    return {"cubin": len(bytes(cubin.code)), "log": log, "registers": int(registers[1]) if registers else None}


def main() -> None:
    action, module_path, arrays_path, calls_path = sys.argv[1], *map(Path, sys.argv[2:])
    if action == "simulate":
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    calls = json.loads(calls_path.read_text(encoding="utf-8"))
    with np.load(arrays_path) as stored:
        arrays = dict(stored)
    module = load(module_path)
    if action == "simulate":
        simulate(module, arrays, calls)
        np.savez(arrays_path, **arrays)
    else:
        json.dump(compiled(module, arrays, calls), sys.stdout)


if __name__ == "__main__":
    main()
