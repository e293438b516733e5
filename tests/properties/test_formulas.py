"""What holds for every formula: shapes, gradients against differences, the dot test, second order, passes.

`--hypothesis-profile=long` draws 5,000 examples of each instead of 120 (docs/debugging.md).
"""

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings

from tests.properties import checks
from tests.properties.cases import Case
from tests.properties.formulas import FEATURES, formulas


def test_every_feature_is_drawn(record_property: Callable[[str, object], None]) -> None:
    """The other tests mean nothing for a feature that is never drawn."""
    drawn: Counter[str] = Counter()
    examples = Counter[str]()

    def count(case: Case) -> None:
        examples["all"] += 1
        drawn.update(case.features)

    settings(max_examples=max(settings.default.max_examples, 250))(given(formulas())(count))()  # nothing is compiled
    settings(max_examples=examples["all"] // 6)(given(formulas(scans=True))(count))()
    record_property("examples", examples["all"])
    record_property("of", "formulas")
    record_property("features", {feature: drawn[feature] for feature in FEATURES})
    assert drawn.keys() <= set(FEATURES)
    assert [feature for feature in FEATURES if not drawn[feature]] == []


@given(formulas())
def test_shapes_and_dtypes(case: Case) -> None:
    checks.shapes_and_dtypes(case)


@given(formulas(smooth=True))
def test_gradients_are_differences(case: Case) -> None:
    checks.gradients_are_differences(case)


@given(formulas())
def test_forward_and_reverse_mode_agree(case: Case) -> None:
    checks.forward_and_reverse_mode_agree(case)


@given(formulas(smooth=True))
def test_second_derivatives_are_differences_of_gradients(case: Case) -> None:
    checks.second_derivatives_are_differences_of_gradients(case)


@given(formulas())
def test_passes_keep_the_values(case: Case) -> None:
    checks.passes_keep_the_values(case)
