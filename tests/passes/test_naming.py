"""Names: d_u is the adjoint of u, and nothing else is called so."""

import pytest

import gradgen as gg
from gradgen.graph.nodes import all_inputs, same_shape, toposort
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import tensor
from gradgen.passes.naming import name_nodes
from tests.cpu.models import BY_NAME, leaves_of, parameters


@pytest.mark.parametrize("name", parameters())
def test_an_adjoint_has_the_shape_of_what_it_is_called_after(name: str) -> None:
    outputs = BY_NAME[name].build()
    wrt = [tensor(x) for x in leaves_of(outputs) if x.dtype in FLOATS]
    stages = gg.compile(outputs, name=name, loss=BY_NAME[name].loss, wrt=wrt).compiled.stages
    roots = {node: name for stage in ("graph", "adjoint") for name, node in stages[stage]}
    order = toposort([*roots], all_inputs)
    names = name_nodes(order, roots)
    found = {name: node for node, name in names.items()}
    assert len(found) == len(order)
    wrong = [x for x, n in found.items() if f"d_{x}" in found and not same_shape(found[f"d_{x}"].shape, n.shape)]
    assert wrong == []


def test_what_one_statement_made_is_told_apart() -> None:
    """Of `y = (x - mean) / sqrt(var)`, every value on the way has an adjoint of its own name."""
    x = gg.param("x", (gg.size("N"), 8))
    n, i, k = gg.indices("n i k")
    centred = gg.compute((n, i), x[n, i] - gg.mean(x[n, k], over=k))
    y = gg.compute((n, i), centred[n, i] / gg.sqrt(gg.mean(centred[n, k] * centred[n, k], over=k) + 1e-5))
    source = gg.compile({"loss": gg.sum(gg.tanh(y))}, name="norm").source
    assert ": d_y[n, i] = " in source
    assert ": d_y_sum[n] = " in source
    assert ": d_centred[n, i] = " in source
    assert ": d_centred_sum[n] = " in source
