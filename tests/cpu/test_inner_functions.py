"""Functions that compiled code alone enters: fewer ways in, and a call from Python that works all the same."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import pytest
from numba import njit, types
from numba.core.registry import CPUDispatcher
from numba.typed import List

from gradgen.emit.inner_functions import inner_function
from gradgen.emit.module import load_module

pytestmark = pytest.mark.usefixtures("cache")

TEXT = """
import numpy as np
from numba import njit, types


@njit(cache=True)
def half(x):
    return 0.5 * x


@njit(cache=True)
def compute_y(x, y):
    for i in range(x.shape[0]):
        y[i] = half(x[i])


@njit(cache=True)
def forward(x, y):
    compute_y(x, y)


@njit(cache=True)
def step(x, y):
    forward(x, y)
"""


@pytest.fixture
def module() -> ModuleType:
    return load_module(TEXT, "inner")


def test_what_others_call_is_an_inner_function_and_entry_points_are_not(module: ModuleType) -> None:
    kinds = {name: type(getattr(module, name)) for name in ("half", "compute_y", "forward", "step")}
    assert kinds == {
        "half": inner_function(), "compute_y": inner_function(), "forward": CPUDispatcher, "step": CPUDispatcher,
    }  # fmt: skip


def test_no_way_in_is_compiled_for_it(module: ModuleType) -> None:
    x, y = np.arange(3.0), np.empty(3)
    module.step(x, y)
    (compiled,) = module.compute_y.overloads.values()
    names = [f.name for f in compiled.library._final_module.functions if not f.is_declaration]
    assert not any("7cpython" in name for name in names if "compute_y" in name)
    np.testing.assert_array_equal(y, [0, 0.5, 1])


def test_it_is_called_from_python_like_any_other(module: ModuleType) -> None:
    x, y = np.arange(3.0), np.empty(3)
    module.compute_y(x, y)
    np.testing.assert_array_equal(y, [0, 0.5, 1])
    module.step(2 * x, y)
    np.testing.assert_array_equal(y, [0, 1, 2])
    module.compute_y(x=x, y=y)
    np.testing.assert_array_equal(y, [0, 0.5, 1])
    assert module.half(3.0) == 1.5


def test_a_function_of_the_user_calls_it(module: ModuleType) -> None:
    inner = module.compute_y

    @njit
    def twice(x, y):  # type: ignore[no-untyped-def]
        inner(x, y)
        inner(y.copy(), y)

    y = np.empty(3)
    twice(np.arange(3.0), y)
    np.testing.assert_array_equal(y, [0, 0.25, 0.5])


def test_the_next_process_loads_it(module: ModuleType) -> None:
    x, y = np.arange(3.0), np.empty(3)
    module.step(x, y)
    del sys.modules[module.__name__]
    again = load_module(TEXT, "inner")
    assert again is not module
    again.step(x, y)
    assert sum(again.step.stats.cache_hits.values()) == 1
    again.compute_y(2 * x, y)
    np.testing.assert_array_equal(y, [0, 1, 2])


def test_no_internal_way_in_is_entered(module: ModuleType) -> None:
    """What Numba hands out calls the ordinary function."""
    half = module.half
    signature = (types.float64,)
    assert half.compile(signature)(3.0) == 1.5
    assert half.get_overload(signature)(3.0) == 1.5
    assert half.get_overload(signature) == half.get_overload(signature)


def test_it_is_a_value_of_compiled_code(module: ModuleType) -> None:
    kind = types.FunctionType(types.float64(types.float64))
    functions = List.empty_list(kind)
    functions.append(module.half)

    @njit
    def all_of(functions, x):  # type: ignore[no-untyped-def]
        for f in functions:
            x = f(x)
        return x

    assert all_of(functions, 3.0) == 1.5


def test_machine_code_with_ways_in_is_kept_apart(module: ModuleType) -> None:
    """The same text may be compiled by another version, which takes other functions for inner ones."""
    files = {name: getattr(module, name)._cache._cache_file for name in ("compute_y", "step")}
    assert files["compute_y"]._source == f"{files['step']._source} inner"


def test_threads_make_one_ordinary_function(module: ModuleType) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: id(module.half.ordinary), range(32)))
    assert len(found) == 1
