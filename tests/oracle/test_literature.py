"""Formulas of twelve fields, typed as printed, against JAX: values and gradients; one network for each.

Every third of the shorter ones is jitted, because Numba's compilation takes time, the others are plain Python; the
longer ones are left to `pytest --all`.
"""

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

import gradgen as gg  # noqa: E402  # JAX first: it may be absent
from tests.cpu.running import unjitted  # noqa: E402
from tests.oracle.literature import FORMULAS  # noqa: E402
from tests.oracle.literature_jax import cases  # noqa: E402
from tests.repeats import by_turns, parameter  # noqa: E402

CASES = cases()
BY_NAME = {formula.__name__: formula for formula in FORMULAS}
LONG = ("kalman", "lattice_boltzmann", "gaussian_process", "stillinger_weber")  # for JAX too, each of them
TOLERANCE = 1e-10


def near(found: Any, wanted: Any, what: str) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max(), what


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *by_turns([name for name in CASES if name not in LONG], ("jitted", "plain", "plain")),
        *(parameter(name, way, default=False) for name in LONG for way in ("jitted", "plain")),
    ],
)
def test_a_formula_as_printed(name: str, way: str) -> None:
    formula, case = BY_NAME[name], CASES[name]
    declare = {**dict.fromkeys(case.params, gg.param), **dict.fromkeys(case.inputs, gg.input)}
    given = {**case.params, **case.inputs}
    tensors = {name: declare[name](name, x.shape, dtype=x.dtype) for name, x in given.items()}
    net = gg.compile({"value": formula(tensors)}, name=name)
    net = net if way == "jitted" else unjitted(net)
    outputs, gradients = net.value_and_grad(**given)
    value, wanted = jax.value_and_grad(lambda params: case.function({**params, **case.inputs}))(case.params)
    near(outputs["value"], value, "the value")
    assert gradients.keys() == wanted.keys()
    for key, gradient in wanted.items():
        near(gradients[key], gradient, key)


def test_every_formula_has_its_oracle() -> None:
    assert list(BY_NAME) == list(CASES)
