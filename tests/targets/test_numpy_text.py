"""A third target reads the same programs: nothing that a target needs is said to one of them alone."""

import numpy as np
import pytest

from gradgen.thresholds import SMALLEST, USUAL, Thresholds, using
from tests.cpu.running import assert_close, case
from tests.targets.numpy_text import run

NAMES = (
    "mlp_naive_ce", "conv_strided", "embedding_tanh", "lstm", "causal_attention", "blas_products", "batched_products",
    "reductions", "masks_on_values", "scatters", "recurrence", "stacked_layers", "scan_in_scan", "integers",
)  # fmt: skip


@pytest.mark.parametrize("chosen", [USUAL, SMALLEST], ids=["usual", "smallest"])
@pytest.mark.parametrize("name", NAMES)
def test_the_numbers(name: str, chosen: Thresholds) -> None:
    this = case(name, "float64")
    with using(chosen):
        program = this.net.compiled_with().compiled.program
    cotangents = {f"d_{key}": x[()] for key, x in this.cotangents.items()}
    with np.errstate(all="ignore"):
        forward = run(program, "forward", this.arrays, this.model.sizes)
        backward = run(program, "backward", {**forward, **this.arrays, **cotangents}, this.model.sizes)
    for key in this.names:
        assert_close(forward[key], this.outputs[key], "float64", key)
    for x in this.wrt:
        if f"d_{x.name}" in backward:
            assert_close(backward[f"d_{x.name}"], this.gradients[x.name], "float64", f"the gradient by {x.name}")
