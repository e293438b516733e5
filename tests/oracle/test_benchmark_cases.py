"""Cases of the benchmark at small sizes: gradgen and JAX find the same losses and gradients.

The whole table is compared by `python -m tests.benchmarks`, which times nobody that disagrees. Here Numba compiles
nothing.
"""

import numba
import numpy as np
import pytest

from tests.benchmarks import peers_gradgen
from tests.benchmarks.case import Arrays, Case
from tests.benchmarks.harness import TOLERANCE
from tests.benchmarks.layers import cases
from tests.benchmarks.runner import disagreement, numbers

pytest.importorskip("jax")

GCN = cases.gcn(nodes=9, edges=20, width=3)


def labelled() -> Arrays:
    arrays = GCN.inputs()
    del arrays["g"]
    return arrays | {"b": np.arange(9) % 3}


SMALL = (
    cases.maxpool((2, 3, 6, 4), size=2),
    cases.graph_block(nodes=9, edges=20, width=3),  # three outputs; some nodes have no edges
    Case("step_gcn", "kinds of nodes", "step", labelled, ("x", "source", "target", "b"), GCN.option, adam=True),
)


@pytest.mark.parametrize("case", SMALL, ids=[case.name for case in SMALL])
def test_gradgen_and_jax_agree(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.benchmarks import peers_jax

    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    wanted = numbers(case, peers_jax.make("jax", case))
    found = numbers(case, peers_gradgen.make("gradgen", case))
    assert disagreement(wanted, found)[0] < TOLERANCE
