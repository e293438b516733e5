"""Functions that Numba compiled as addresses, and how each is called through a frame.

In: compiled functions. Out: a `Code` for each: machine code that takes a frame apart, the function, what it returns.
`plans` lays out frames for it, `direct` runs through them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradgen.runtime.direct import RESULTS

__all__ = ["Code", "codes_of"]


class Code(NamedTuple):
    """How a compiled function is called: code that unpacks a frame for it, the function, the words of its arguments.

    And the dtypes of what it returns, as Numba infers them: an int32 of the model may be an int64.
    """

    unpacking: int
    function: int
    width: int
    returned: tuple[np.dtype[Any], ...]


_alive: list[Any] = []
_unpacked: dict[str, tuple[int, int]] = {}  # by the type of a function: functions of one type share it


def codes_of(functions: Sequence[Any]) -> list[Code]:
    """The addresses of functions that Numba compiled, and of `int f(frame)`, which calls one."""
    from numba.core.compiler_lock import global_compiler_lock

    with global_compiler_lock:
        kinds = [
            x.target_context.call_conv.get_function_type(x.signature.return_type, x.signature.args) for x in functions
        ]
        new = {str(kind): kind for kind in kinds if str(kind) not in _unpacked}
        if new:
            _unpacked.update(zip(new, _unpacking(functions[0].target_context, list(new.values())), strict=True))
        return [
            Code(address, x.library.get_pointer_to_function(x.fndesc.llvm_func_name), width, _returned(x.signature))
            for x, (address, width) in zip(functions, (_unpacked[str(kind)] for kind in kinds), strict=True)
        ]


def _returned(signature: Any) -> tuple[np.dtype[Any], ...]:
    from numba import types
    from numba.np.numpy_support import as_dtype

    kind = signature.return_type
    if kind == types.none:
        return ()
    return tuple(as_dtype(types.unliteral(t)) for t in (kind.types if isinstance(kind, types.BaseTuple) else (kind,)))


def _unpacking(context: Any, kinds: Sequence[Any]) -> list[tuple[int, int]]:
    from llvmlite import ir

    names = [f"gradgen_unpacking_{len(_unpacked) + k}" for k in range(len(kinds))]
    library = context.codegen().create_library(names[0])
    module = library.create_ir_module(names[0])
    word = ir.IntType(64)
    for name, kind in zip(names, kinds, strict=True):
        code = ir.Function(module, ir.FunctionType(ir.IntType(32), [word.as_pointer()]), name)
        b = ir.IRBuilder(code.append_basic_block())
        places = [1, *range(RESULTS, RESULTS + len(kind.args))]
        function, *given = [
            b.load(b.bitcast(b.gep(code.args[0], [word(at)]), t.as_pointer()))
            for at, t in zip(places, [kind.as_pointer(), *kind.args], strict=True)
        ]
        b.ret(b.call(function, given))
    library.add_ir_module(module)
    library.finalize()
    _alive.append(library)  # machine code stays for the life of the process, as all of Numba's does
    return [
        (library.get_pointer_to_function(name), len(kind.args) - 2) for name, kind in zip(names, kinds, strict=True)
    ]
