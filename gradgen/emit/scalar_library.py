"""The vectorisable scalar functions of generated CPU files: names of functions enter, text leaves.

A generated file imports `numpy as np` and `njit`, holds `HEADER` (which defines FAST_SCALAR) and what `blocks` returns,
two empty lines between them, and calls the functions by `emitted_name`. Its first lines switch ruff's FURB136 off: min
and max would swallow a nan. The CPU emitter is the caller.
A block is one file of templates/cpu/scalar as it stands; its numbers come from coefficients.py.
"""

from collections.abc import Iterable

from gradgen.emit.templates import template_text

__all__ = ["HEADER", "blocks", "emitted_name", "in_library", "template_path"]

HEADER = 'FAST_SCALAR = {"contract"}  # no reordering: the scalar functions rely on each rounding\n'

# what each function calls; callees stand first, and this is the order of the blocks
CALLS: dict[str, tuple[str, ...]] = {
    "relu": (),
    "maximum": (),
    "minimum": (),
    "difference": (),
    "less_one": (),
    "order": (),
    "from_order": (),
    "exp": (),
    "expm1": (),
    "log": (),
    "log1p": (),
    "sigmoid": ("exp",),
    "tanh": ("expm1",),
    "erf": ("exp",),
    "softplus": ("exp", "log1p"),
    "logsigmoid": ("exp", "log1p"),
    "logaddexp": ("exp", "log1p"),
    "xlogy": ("log",),
    "sinc": (),
    "erfc": ("exp",),
    "erfinv": ("log",),
    "lgamma": ("log",),
    "digamma": ("log",),
    "polygamma": ("digamma",),
}
SUFFIXES = {"float32": "f32", "float64": "f64"}
INTEGERS = ("add", "sub", "mul", "pow", "left_shift", "right_shift")  # of int64, which wraps around


def in_library(function: str, dtype: str) -> bool:
    """Whether `function` ("tanh") exists for `dtype` ("float32")."""
    return function in INTEGERS if dtype == "int64" else function in CALLS and dtype in SUFFIXES


def emitted_name(function: str, dtype: str) -> str:
    """The function's name in generated code: "tanh" and "float32" give "tanh_f32"."""
    return f"{function}_{SUFFIXES.get(dtype, 'i64')}"


def template_path(function: str, dtype: str) -> str:
    """Where the function's text stands, for `template_text`."""
    return f"cpu/scalar/{function}_{dtype}.py.j2"


def blocks(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """The texts of the wanted (function, dtype) pairs and of what they call, each once, callees first.

    The order depends only on the set: by dtype, then as in `CALLS`. Raises KeyError for a pair outside the library.
    """
    needed = set(wanted)
    for function, dtype in sorted(needed):
        if not in_library(function, dtype):
            raise KeyError(f"{function} for {dtype} is not in the scalar library; ask in_library first.")
    for function in reversed(CALLS):
        for dtype in SUFFIXES:
            if (function, dtype) in needed:
                needed |= {(callee, dtype) for callee in CALLS[function]}
    order = [*((f, dtype) for dtype in SUFFIXES for f in CALLS), *((f, "int64") for f in INTEGERS)]
    return [template_text(template_path(*each)) for each in order if each in needed]
