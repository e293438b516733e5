"""Random programs of operations on whole tensors: against NumPy, emitted code, gradients, second order.

`--hypothesis-profile=long` draws 10,000 programs instead of 300 (docs/debugging.md).
"""

import numpy as np
from hypothesis import given

from tests.properties import checks
from tests.properties.operation_table import operations
from tests.properties.operations import Operations


@given(operations())
def test_values_are_those_of_numpy(program: Operations) -> None:
    case = program.case()
    with np.errstate(all="ignore"):
        wanted = program.by_numpy()
    for found, array in zip(checks.shapes_and_dtypes(case), wanted, strict=True):
        checks.assert_near(found, array, case, 1e-12, "by NumPy")


@given(operations())
def test_gradients(program: Operations) -> None:
    case = program.case()
    checks.gradients_are_differences(case)


@given(operations())
def test_modes(program: Operations) -> None:
    checks.forward_and_reverse_mode_agree(program.case())


@given(operations())
def test_second(program: Operations) -> None:
    checks.second_derivatives_are_differences_of_gradients(program.case())


@given(operations())
def test_emitted(program: Operations) -> None:
    checks.unjitted_code_agrees(program.case())
