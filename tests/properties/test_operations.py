"""Random programs of operations on whole tensors: against NumPy, emitted code, gradients, second order.

The profile's number of programs for each, three times as many against NumPy, half as many compiled: `docs/debugging.md`
has the command for the long profiles.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings

from tests.properties import checks
from tests.properties.operation_table import FEATURES, operations
from tests.properties.operations import Operations

EXAMPLES = settings.default.max_examples


@pytest.fixture(autouse=True, scope="module")
def _checked() -> Iterator[None]:
    """The verifier looks at every program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADGEN_CHECK", "1")
        yield


def test_values_are_those_of_numpy(record_property: Callable[[str, object], None]) -> None:
    """Every operation is drawn: the other tests mean nothing for one that never is."""
    drawn: Counter[str] = Counter()
    examples = Counter[str]()

    @settings(max_examples=max(3 * EXAMPLES, 1_200))
    @given(operations())
    def check(program: Operations) -> None:
        examples["all"] += 1
        drawn.update(program.features)
        case = program.case()
        for found, array in zip(checks.shapes_and_dtypes(case), program.by_numpy(), strict=True):
            checks.assert_near(found, array, case, 1e-12, "by NumPy")

    check()
    record_property("examples", examples["all"])
    record_property("of", "programs of operations")
    record_property("features", {feature: drawn[feature] for feature in FEATURES})
    assert drawn.keys() <= set(FEATURES)
    assert [feature for feature in FEATURES if not drawn[feature]] == []


@settings(max_examples=EXAMPLES // 2)
@given(operations())
def test_the_emitted_file_computes_outputs_and_gradients(program: Operations) -> None:
    checks.unjitted_code_agrees(program.case())


@given(operations())
def test_gradients_are_differences(program: Operations) -> None:
    checks.gradients_are_differences(program.case())


@given(operations())
def test_forward_and_reverse_mode_agree(program: Operations) -> None:
    checks.forward_and_reverse_mode_agree(program.case())


@given(operations(most=4))
def test_second_derivatives_are_differences_of_gradients(program: Operations) -> None:
    checks.second_derivatives_are_differences_of_gradients(program.case())
