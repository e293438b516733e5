"""What the compiler was once wrong on, held to every property."""

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradgen.graph.nodes import Leaf, all_inputs, show_size, toposort
from tests.cpu.models import evaluate_size
from tests.properties import checks
from tests.properties.cases import Case
from tests.properties.past_failures import PAST, Outputs

CHECKS = (
    checks.shapes_and_dtypes,
    checks.gradients_are_differences,
    checks.forward_and_reverse_mode_agree,
    checks.second_derivatives_are_differences_of_gradients,
    checks.passes_keep_the_values,
    checks.unjitted_code_agrees,
)


def case_of(build: Callable[[], Outputs]) -> Case:
    outputs = tuple(y.node for y in build())
    rng = np.random.default_rng(zlib.crc32(build.__name__.encode()))
    values: dict[Leaf, np.ndarray] = {}
    for x in toposort(outputs, all_inputs):
        if isinstance(x, Leaf):
            shape = [evaluate_size(show_size(extent), {}) for extent in x.shape]
            drawn = rng.uniform(-1.2, 1.2, shape) if x.dtype == "float64" else rng.integers(0, 6, shape)
            values[x] = np.asarray(drawn, x.dtype)
    return Case(outputs, values, {}, frozenset())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("build", PAST, ids=lambda build: build.__name__)
def test_a_past_failure(build: Callable[[], Outputs], check: Callable[[Case], object]) -> None:
    case = case_of(build)
    settings(max_examples=1)(given(st.just(case))(lambda case: check(case) and None))()
