"""Random reads are taken where every one stays inside, with the right values, and refused where one does not.

Un-jitted. A sixth of the examples of the profile, because each runs all passes.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings

from gradgen.errors import BindingError, ShapeError
from tests.cpu.running import unjitted
from tests.properties.inside import Read, by_hand, reads


@pytest.fixture(autouse=True, scope="module")
def _checked() -> Iterator[None]:
    """The verifier looks at every program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADGEN_CHECK", "1")
        yield


@np.errstate(divide="ignore")  # an integer by 0 is 0
def _check(read: Read) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=read.sizes["N"]), rng.normal(size=(read.sizes["I"], read.sizes["Q"]))
    given = {"x": x, "w": w, "a": np.array(read.values(), np.int64)}
    places = read.places()
    if places is None:
        with pytest.raises((ShapeError, BindingError)):
            unjitted(read.network())(**given)
        return
    out, gradients = unjitted(read.network()).value_and_grad(**given)
    y, d_x = by_hand(read, places, x, w)
    np.testing.assert_allclose(out["y"], y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradients["x"], d_x, rtol=1e-12, atol=1e-12)


FIVE = {"N": 5, "I": 4, "Q": 3}
PAST = [
    Read("2*i + 2*q - 2", "True", True, FIVE, frozenset()),
    Read("4*i + 6*q - 3", "True", True, FIVE, frozenset("NI")),
    Read("2*i", "True", True, FIVE, frozenset("N")),
    Read("2*i", "2*i < 3", False, {"N": 3, "I": 4, "Q": 1}, frozenset()),
    Read("where(a < 5, a, 0)", "True", False, FIVE, frozenset("N"), (3, 7, 4, 0)),
    Read("a", "(a >= 0) & (a < 6)", False, FIVE, frozenset("N"), (3, 7, -1, 0)),
    Read("a", "(a >= 0) & (a < 6)", False, FIVE, frozenset(), (3, 7, 5, 0)),
    Read("where(a > 0, 3, 0)", "True", False, FIVE, frozenset("N"), (3, 7, -1, 0)),
    Read("i", "i < 1", False, {"N": 1, "I": 7, "Q": 2}, frozenset("NI")),
    Read("minimum(i * (N - 1) // 4 + 1, N - 1)", "True", False, {"N": 1, "I": 5, "Q": 1}, frozenset()),
    Read("minimum(i * (N - 1) // 4 + 1, N - 1)", "True", False, {"N": 3, "I": 5, "Q": 1}, frozenset("N")),
    Read("(N - 1) * i // (I - 1)", "True", False, {"N": 5, "I": 9, "Q": 1}, frozenset("NI")),
    Read("(N - 1) * i // (I - 1)", "True", False, {"N": 5, "I": 1, "Q": 1}, frozenset("NI")),
    Read("(N - 1) * i // (I - 1)", "True", True, {"N": 9, "I": 1, "Q": 2}, frozenset("I")),
    Read("i % N", "True", False, {"N": 0, "I": 3, "Q": 1}, frozenset("NI")),
    Read("minimum(N - 1, 2)", "N > 2", False, {"N": 0, "I": 0, "Q": 2}, frozenset("N")),
    Read("i // (q + 1)", "True", False, FIVE, frozenset("N")),
    Read("6 // (i - q)", "True", True, {"N": 9, "I": 1, "Q": 2}, frozenset("NIQ")),
    Read("6 // (i - q)", "True", True, {"N": 9, "I": 1, "Q": 2}, frozenset()),
    Read("6 // (i - q)", "i != q", True, FIVE, frozenset("NI")),
    Read("6 // (i - q)", "(a > 0) & (6 // (i - q) >= 0)", True, FIVE, frozenset(), (1, 1, 0, 1)),
    Read("i", "6 % (i - q) >= 1", True, FIVE, frozenset("NI")),
    Read("i", "(a > 0) & (a // (i - q) >= 0)", False, {"N": 1, "I": 1, "Q": 1}, frozenset(), (1,)),
]


@pytest.mark.parametrize("read", PAST, ids=lambda read: f"{read.subscript} if {read.condition}")
def test_reads_that_were_refused_or_went_wrong(read: Read) -> None:
    _check(read)


def test_reads_are_refused_exactly_where_one_is_outside() -> None:
    seen = Counter[bool]()

    @settings(max_examples=max(settings.default.max_examples // 6, 20))
    @given(reads())
    def check(read: Read) -> None:
        seen[read.places() is None] += 1
        _check(read)

    check()
    assert min(seen[True], seen[False]) > 0, seen
