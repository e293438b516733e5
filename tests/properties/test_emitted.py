"""Random formulas through the whole compiler: the emitted file as plain Python gives what the interpreter gives.

Without Numba, whose compilation would allow a few examples only; `test_jitted` takes some of them to machine code. A
sixth of the examples of the profile, because each takes a second or more of passes.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings

from gradgen.errors import BindingError, ShapeError
from gradgen.lang.interpret import interpret
from tests.cpu.running import unjitted
from tests.properties import checks
from tests.properties.cases import Case
from tests.properties.formulas import formulas

SIXTH = settings(max_examples=max(settings.default.max_examples // 6, 8))


@pytest.fixture(autouse=True, scope="module")
def _checked() -> Iterator[None]:
    """The verifier looks at every program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADGEN_CHECK", "1")
        yield


@SIXTH
@given(formulas())
def test_the_emitted_file_computes_outputs_and_gradients(case: Case) -> None:
    checks.unjitted_code_agrees(case)


@SIXTH
@given(formulas(scans=True))
def test_scans(case: Case) -> None:
    checks.unjitted_code_agrees(case)


def test_subscripts_outside_are_refused_where_the_interpreter_raises() -> None:
    """No sooner and no later; else the values agree."""
    seen = Counter[bool]()

    @SIXTH
    @given(formulas(outside=True))
    def check(case: Case) -> None:
        assume("computed subscript that may be outside" in case.features)
        try:
            interpret(case.outputs, case.values, case.sizes)
        except IndexError:
            seen[True] += 1
            net = unjitted(checks.emitted(case))
            for call in (net, net.forward):
                with pytest.raises((BindingError, ShapeError), match=r"outside|leaves axis"):  # the data, or the sizes
                    call(**checks.given(case))
        else:
            seen[False] += 1
            try:
                checks.unjitted_code_agrees(case)
            except BindingError:  # what does not change with an empty loop is checked in spite of it
                assert checks.has_empty_loop(case)

    check()
    assert seen[True] > 1
    assert seen[False] > 1
