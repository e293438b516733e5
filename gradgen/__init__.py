"""gradgen: a symbolic-to-code gradient compiler.

    import gradgen as gg

Expression graphs in, readable Numba programs for values and gradients out. What differentiates and compiles is
imported when it is first used, so that declaring a model stays quick.
"""

import copyreg
from importlib import import_module
from typing import Any

from gradgen.errors import GradgenError, nearest
from gradgen.graph.operators import OTHER_WORDS
from gradgen.graph.records import Call, Const, Load, Poly, Reduce
from gradgen.graph.tensor import DISPLAYS, Tensor
from gradgen.lang.array import *  # noqa: F403  # its __all__ is the list of NumPy's functions
from gradgen.lang.array import __all__ as _array_names
from gradgen.lang.compute import accumulate, compute, padded, where
from gradgen.lang.declare import index, indices, input, param, scope, size, state
from gradgen.lang.materialize import materialize
from gradgen.lang.reducers import argmax, argmin, logsumexp, max, mean, min, sum
from gradgen.lang.scan import scan
from gradgen.tracebacks import install as _show_errors
from gradgen.version import __version__

_show_errors()

# Imported at first use: they need SymPy, Jinja or Numba. A name, and the module it stands in ("" for a module itself).
_LATER = {
    "nn": "gradgen.nn",
    "optim": "gradgen.nn.optim",
    "custom": "gradgen.lang.custom",
    "grad": "gradgen.lang.transforms",
    "vjp": "gradgen.lang.transforms",
    "jvp": "gradgen.lang.transforms",
    "hvp": "gradgen.lang.transforms",
    "vmap": "gradgen.lang.vmap",
    "jacobian": "gradgen.lang.jacobians",
    "hessian": "gradgen.lang.jacobians",
    "check_grad": "gradgen.lang.checking",
    "compile": "gradgen.compiling",
    "show": "gradgen.inspect.display",
    "Network": "gradgen.network",
}
_MODULES = ("nn", "optim")
_TYPES = ("GradgenError", "Network", "Tensor")  # which nobody calls
_VALUES = ("Variable", "array", "asarray", "placeholder", "tensor", "variable")  # elsewhere, for numbers

__all__ = [
    "GradgenError", "Tensor", "__version__", "accumulate", "argmax", "argmin", "compute", "index", "indices", "input",
    "logsumexp", "materialize", "max", "mean", "min", "padded", "param", "scan", "scope", "size", "state", "sum",
    "where",
    *_array_names, *_LATER,
]  # fmt: skip


def _display(how: str) -> Any:
    """What shows a tensor, imported when the first is shown."""
    return lambda x: getattr(import_module("gradgen.inspect.display"), f"tensor_{how}")(x)


DISPLAYS.update({how: _display(how) for how in ("line", "text", "html", "latex")})


def _pickled(x: Any) -> Any:
    """How a tensor or a formula pickles, imported when the first does."""
    return import_module("gradgen.pickling").reduced(x)


for _kind in (Tensor, Const, Poly, Load, Call, Reduce):
    copyreg.pickle(_kind, _pickled)


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        elsewhere = "" if name.startswith("_") else _elsewhere(name)
        raise AttributeError(f"module 'gradgen' has no attribute {name!r}{elsewhere}")
    module = import_module(_LATER[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def _elsewhere(name: str) -> str:
    """Where a name that is asked of the package stands instead, or the name that is nearest to it."""
    modules = {module: import_module(_LATER[module]) for module in _MODULES}
    found = [f"gg.{module}.{name}" for module, value in modules.items() if name in value.__all__]
    if found:
        return f": use {found[0]}"
    if name in _VALUES:
        return ": declare tensors with gg.input or gg.param; their numbers are given when the network is called"
    if name in OTHER_WORDS:
        return f": use {OTHER_WORDS[name]}"
    near = nearest(name, (word for word in __all__ if word not in _TYPES), "gg")
    others = (nearest(name, value.__all__, f"gg.{module}") for module, value in modules.items())
    return near or next(filter(None, others), "")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
