"""What bridges are given is a network, and vectors have the length of what they hold."""

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import BindingError, OptionError, ShapeError
from gradgen.interop import jax, scipy


def net() -> gg.Network:
    w = gg.param("w", (3,))
    return gg.compile({"loss": gg.sum(w * w), "errors": w - 1.0}, name="bridged", loss="loss")


def test_something_else_is_no_network() -> None:
    with pytest.raises(OptionError, match=r"^wrap takes a network, as gg\.compile makes it, not int\.$"):
        jax.wrap(3)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"^objective takes a network, as gg\.compile makes it, not Tensor\.$"):
        scipy.objective(gg.zeros(3), {})  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"^residuals takes a network, as gg\.compile makes it, not dict\.$"):
        scipy.residuals({}, "errors", {})  # type: ignore[arg-type]


def test_arguments_in_another_order() -> None:
    with pytest.raises(BindingError, match=r"^residuals: no float output is called a dict\. Those are loss, errors\.$"):
        scipy.residuals(net(), {"w": np.ones(3)}, "errors")  # type: ignore[arg-type]


def test_a_vector_of_another_length() -> None:
    loss = scipy.objective(net(), {"w": np.ones(3, np.float32)})
    for call in (loss, loss.arrays):
        with pytest.raises(ShapeError, match=r"^the vector has 3 elements, and not the shape \(4,\)\.$"):
            call(np.ones(4))
