"""Random formulas through the whole compiler: the emitted file as plain Python gives what the interpreter gives.

Without Numba, whose compilation would allow a few examples only; tests/cpu compiles its models with it. A third of the
examples of the profile, because each takes half a second of passes.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings

import gradgen as gg
from gradgen.errors import ShapeError
from gradgen.graph.nodes import toposort
from gradgen.graph.tensor import tensor
from gradgen.lang.interpret import interpret
from gradgen.passes.differentiate import vjp_nodes
from tests.cpu.running import unjitted
from tests.properties.derivatives import float_leaves, float_outputs, moderate, twins
from tests.properties.formulas import Case, formulas, rounding


@pytest.fixture(autouse=True, scope="module")
def _checked() -> Iterator[None]:
    """The verifier looks at every program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADGEN_CHECK", "1")
        yield


@settings(max_examples=settings.default.max_examples // 3)
@given(formulas())
def test_the_emitted_file_computes_outputs_and_gradients(case: Case) -> None:
    wanted = interpret(case.outputs, case.values, case.sizes)
    named = {f"y{k}": node for k, node in enumerate(case.outputs)}
    below = set(toposort(list(case.outputs)))
    wrt = [x for x in float_leaves(case.values) if x in below]
    net = unjitted(
        gg.compile(
            {name: tensor(node) for name, node in named.items()},
            wrt=[tensor(x) for x in wrt] if float_outputs(case) else [],
            sizes=case.sizes,
            name="random",
        )
    )
    arrays = {x.name: array for x, array in case.values.items() if x in below}
    try:
        found = net(**arrays)
    except ShapeError as error:  # the sizes drawn leave nothing to compute from; the interpreter reads nothing there
        assume("which is negative" in str(error))
        raise
    for name, array in zip(named, wanted, strict=True):
        assert_close(found[name], array, case)
    if not wrt or not float_outputs(case):
        return
    weights = twins(float_outputs(case), "w", np.random.default_rng(0), [a for a in wanted if a.dtype.kind == "f"])
    gradients = interpret(vjp_nodes(float_outputs(case), list(weights), wrt), {**case.values, **weights}, case.sizes)
    assume(moderate(gradients))
    floats = [name for name, node in named.items() if node in float_outputs(case)]
    _, saved = net.forward(**arrays)
    pulled = net.backward(saved, **dict(zip(floats, weights.values(), strict=True)))
    for x, array in zip(wrt, gradients, strict=True):
        assert_close(pulled[x.name], array, case)


def assert_close(found: object, wanted: np.ndarray, case: Case) -> None:
    found = np.asarray(found)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    size = np.abs(wanted, where=np.isfinite(wanted), out=np.zeros(wanted.shape)).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=10 * rounding(case), atol=10 * rounding(case) * size)
