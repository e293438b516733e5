"""What a mask hides counts nowhere: nan and infinity there change no value and no derivative of any order."""

import numpy as np
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen.graph.nodes import toposort
from gradgen.lang.interpret import interpret
from tests.cpu.running import unjitted
from tests.properties.masked import Masked, masked_models

FILLINGS = st.sampled_from([np.nan, np.inf, -np.inf, 0.0])
FORMULAS, FILES = (settings(max_examples=settings.default.max_examples // n) for n in (10, 40))


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-12, err_msg=name)


@FORMULAS
@given(masked_models(), FILLINGS)
def test_formulas(model: Masked, filling: float) -> None:
    """As differentiation writes them, before any other pass."""
    roots = [t.node for t in model.outputs.values()]
    below = set(toposort(roots))

    def computed(filling: float) -> dict[str, np.ndarray]:
        arrays = model.arrays(filling)
        values = {x.node: arrays[name] for name, x in model.leaves.items() if x.node in below}
        with np.errstate(all="ignore"):
            return dict(zip(model.outputs, interpret(roots, values, {}), strict=True))

    wanted = computed(0.7)
    assume(all(np.all(np.isfinite(array)) for array in wanted.values()))
    for line in model.text:
        event(line.split("(")[0].split(" = ")[-1])
    same(computed(filling), wanted)


@FILES
@given(masked_models(), FILLINGS)
def test_emitted_files(model: Masked, filling: float) -> None:
    """As plain Python, after all passes."""
    outputs = {name: model.outputs[name] for name in ("loss", "gradient", "forward_over_reverse")}
    net = unjitted(gg.compile(outputs, name="masked", loss="loss", wrt=[model.leaves["x"]]))
    names = set(toposort([t.node for t in outputs.values()]))
    given_names = [name for name, x in model.leaves.items() if x.node in names]
    with np.errstate(all="ignore"):
        wanted, _ = net.forward(**{name: model.arrays(0.7)[name] for name in given_names})
        assume(all(np.all(np.isfinite(array)) for array in wanted.values()))
        arrays = {name: model.arrays(filling)[name] for name in given_names}
        same(net.forward(**arrays)[0], wanted)
        found, gradients = net.value_and_grad(**arrays)
    same(found, wanted)
    np.testing.assert_allclose(gradients["x"], wanted["gradient"], rtol=1e-9, atol=1e-12)
