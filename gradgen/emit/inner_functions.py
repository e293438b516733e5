"""Functions that compiled code alone calls, without the way in from Python that Numba makes for each.

In: an imported module. Out: the same module; what its functions call is compiled in less time, the more arguments the
more. From Python such a function is still called like any other: an ordinary one, with the same text and without a
cache, is made then.
"""

import threading
from functools import cache
from types import ModuleType
from typing import Any

from gradgen.program.kernels import ENTRY_POINTS

__all__ = ["inner_function", "without_ways_in"]

_WITHOUT = {"no_cpython_wrapper": True}
_making = threading.Lock()


@cache
def inner_function() -> type:
    """The class of Numba's functions that Python cannot enter; who calls one from there enters an ordinary one."""
    from numba import njit
    from numba.core.registry import CPUDispatcher

    class InnerFunction(CPUDispatcher):  # type: ignore[misc]  # Numba is not typed
        @property
        def ordinary(self) -> Any:
            """The same function with a way in, compiled when it is called."""
            with _making:
                if "_ordinary" not in vars(self):
                    told = {k: x for k, x in self.targetoptions.items() if k not in _WITHOUT and k != "nopython"}
                    self._ordinary = njit(**told)(self.py_func)
            return self._ordinary

        def __call__(self, *arguments: Any, **named: Any) -> Any:
            return self.ordinary(*arguments, **named)

        def compile(self, signature: Any) -> "InnerFunction":
            """What Numba does, but for what it returns: the way in that is not there."""
            super().compile(signature)
            return self

        def get_overload(self, signature: Any) -> "_Overload":
            return _Overload(self, super().get_overload(signature))

    return InnerFunction


class _Overload:
    """What Numba finds a compiled function by, equal to the way in that is not there; called, it is not entered."""

    __slots__ = ("function", "key")

    def __init__(self, function: Any, key: object) -> None:
        self.function, self.key = function, key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self.key is (other.key if isinstance(other, _Overload) else other)

    def __call__(self, *arguments: Any) -> Any:
        return self.function.ordinary(*arguments)


def without_ways_in(module: ModuleType) -> None:
    """Make inner functions of those that others of the module call, but for its entry points.

    Their machine code is kept apart from that of functions with ways in.
    """
    from numba.core.registry import CPUDispatcher

    found = {name: x for name, x in vars(module).items() if type(x) is CPUDispatcher}
    own = {name: x for name, x in found.items() if x.py_func.__module__ == module.__name__}
    called = {name for x in own.values() for name in x.py_func.__code__.co_names}
    for name in called.intersection(own).difference(ENTRY_POINTS):
        function = own[name]
        function.targetoptions = function._compiler.targetoptions = {**function.targetoptions, **_WITHOUT}
        function.__class__ = inner_function()
        kept = getattr(function._cache, "_cache_file", None)
        if kept is not None:
            kept.mark("inner")
