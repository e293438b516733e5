"""Functions that compiled code alone calls, without the ways in from Python and from C that Numba makes for each.

In: an imported module. Out: the same module; what its functions call is compiled in a tenth to a fifth less time, the
more arguments the more. From Python such a function is still called like any other: an ordinary one is made then.
"""

from types import ModuleType
from typing import Any

from numba import njit
from numba.core.registry import CPUDispatcher

from gradgen.program.kernels import ENTRY_POINTS

__all__ = ["InnerFunction", "without_ways_in"]

_WITHOUT = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class InnerFunction(CPUDispatcher):  # type: ignore[misc]  # Numba is not typed
    """A function of Numba's that only compiled code can enter; others enter an ordinary one with the same text."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        ordinary = vars(self).get("_ordinary")
        if ordinary is None:
            told = {k: x for k, x in self.targetoptions.items() if k not in _WITHOUT and k != "nopython"}
            ordinary = self._ordinary = njit(**told)(self.py_func)
        return ordinary(*arguments, **named)


def without_ways_in(module: ModuleType) -> None:
    """Make inner functions of those that others of the module call, but for its entry points."""
    found = {name: x for name, x in vars(module).items() if type(x) is CPUDispatcher}
    own = {name: x for name, x in found.items() if x.py_func.__module__ == module.__name__}
    called = {name for x in own.values() for name in x.py_func.__code__.co_names}
    for name in called.intersection(own).difference(ENTRY_POINTS):
        own[name].targetoptions.update(_WITHOUT)
        own[name].__class__ = InnerFunction
