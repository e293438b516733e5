"""Stacked arrays behind the user's own names: views, separate arrays, updates in place."""

import numpy as np
import pytest

from gradgen.errors import BindingError
from tests.cpu.running import unjitted
from tests.passes.test_roll import chain


def test_separate_arrays_give_the_same_and_steps_need_rows() -> None:
    net = unjitted(chain(6))
    x = np.ones((1, 128), "float32")
    rows = net.init()
    assert rows["W0"].base is rows["W5"].base
    apart = {name: value.copy() for name, value in rows.items()}
    wanted, gradients = net.value_and_grad(x=x, **rows)
    found, others = net.value_and_grad(x=x, **apart)
    assert found["loss"] == wanted["loss"]
    for name, value in gradients.items():
        np.testing.assert_array_equal(others[name], value)
    with pytest.raises(BindingError, match=r"W0 \.\. W5 are updated in place and must be rows of one array"):
        net.step(apart, x=x)
    together = net.stack(apart)
    net.step(together, x=x)
    for name, value in gradients.items():
        np.testing.assert_allclose(together[name], apart[name] - np.float32(0.01) * value, rtol=1e-5, atol=1e-6)
