"""Random products and their readers, compiled as large models are: the numbers are the interpreter's.

As plain Python, with any thresholds. A fifteenth of the examples of the profile, because each takes a second of passes.
"""

from collections import Counter

from hypothesis import given, settings

from gradgen.machine import Machine, using
from tests.cpu.running import unjitted
from tests.properties import checks
from tests.properties.cases import Case
from tests.properties.parts import any_thresholds, matrices


def test_what_is_computed_in_parts_is_right_for_every_reader() -> None:
    told = Counter[str]()

    @settings(max_examples=max(settings.default.max_examples // 15, 20))
    @given(matrices(), any_thresholds())
    def check(drawn: tuple[Case, dict[str, int]], chosen: Machine) -> None:
        case, sizes = drawn
        with using(chosen):
            net = checks.emitted(case, sizes)
        decisions = net.explain()
        assert "without parts" not in decisions
        told["rows at a time"] += "rows at a time" in decisions
        checks.emitted_code_agrees(case, unjitted(net))

    check()
    assert told["rows at a time"]
