"""Some random graphs through Numba as well: machine code gives what the interpreter and the un-jitted file give.

One of forty examples of the profile or so, because each compiles for ten seconds or more.
"""

from hypothesis import given, settings

from tests.cpu.running import unjitted
from tests.properties import checks
from tests.properties.cases import Case
from tests.properties.formulas import formulas
from tests.properties.operation_table import operations
from tests.properties.operations import Operations


def both_agree(case: Case) -> None:
    net = checks.emitted(case)
    checks.emitted_code_agrees(case, unjitted(net))
    checks.emitted_code_agrees(case, net)


@settings(max_examples=settings.default.max_examples // 40)
@given(formulas(smooth=True))
def test_formulas(case: Case) -> None:
    both_agree(case)


@settings(max_examples=settings.default.max_examples // 40)
@given(formulas(scans=True))
def test_scans(case: Case) -> None:
    both_agree(case)


@settings(max_examples=settings.default.max_examples // 40)
@given(operations(most=4))
def test_operations(program: Operations) -> None:
    both_agree(program.case())
