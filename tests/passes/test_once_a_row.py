"""`once_a_row` computes what depends on a chosen row alone once for every row."""

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Node
from gradgen.graph.scalar import Poly, Scalar, require_poly
from gradgen.passes.rewrite.once_a_row import once_a_row
from tests.passes.building import assert_same_values, at, f, formula, i, j, k, scatter, tensor, total

ROWS, EDGES = 5, 40
x, y, w = tensor("x", ROWS, 3), tensor("y", ROWS, 3), tensor("w", 3)
e, chosen, other = tensor("e", EDGES, 3), tensor("chosen", EDGES, dtype="int64"), tensor("other", EDGES, dtype="int64")
ROW = require_poly(at(chosen, i))


def of_row(row: Poly) -> Scalar:
    return f("exp", at(x, row, j) * at(w, j)) / f("sqrt", f("exp", at(y, row, j)) + 1.0)


COMPUTED = formula((ROWS, 3), of_row(i))


def test_what_a_row_decides_is_computed_for_every_row() -> None:
    root = formula((EDGES, 3), of_row(ROW) * at(e, i, j))
    (found,) = once_a_row([root])
    assert found is formula((EDGES, 3), at(COMPUTED, ROW, j) * at(e, i, j))
    assert_same_values([root], [found])
    assert once_a_row([found]) == [found]


def test_sums_over_edges_and_places_that_data_choose() -> None:
    body = of_row(ROW) * at(e, i, j)
    roots: list[Node] = [total((EDGES,), (3,), body), scatter((ROWS, 3), (EDGES, 3), (ROW, j), body)]
    found = once_a_row(roots)
    lifted = at(COMPUTED, ROW, j) * at(e, i, j)
    assert found == [total((EDGES,), (3,), lifted), scatter((ROWS, 3), (EDGES, 3), (ROW, j), lifted)]
    assert_same_values(roots, found)


def test_a_condition_on_the_edge_stays_with_the_edge() -> None:
    root = formula((EDGES, 3), f("where", at(e, i, j) >= 0.0, of_row(ROW), 0.0))
    (found,) = once_a_row([root])
    assert found is formula((EDGES, 3), f("where", at(e, i, j) >= 0.0, at(COMPUTED, ROW, j), 0.0))
    assert_same_values([root], [found])


@pytest.mark.parametrize(
    "root",
    [
        formula((EDGES, 3), f("exp", at(x, ROW, j) * at(e, i, j))),  # the edge is inside
        formula((EDGES, 3), f("exp", at(x, ROW, j) + at(x, require_poly(at(other, i)), j))),  # two rows
        formula((EDGES, 3), f("exp", at(x, require_poly(ROW - 1), j))),  # beside the row
        formula((EDGES, 3), at(x, ROW, j) + at(y, ROW, j)),  # cheap
        formula((8, 3), of_row(ROW)),  # nearly as many rows
        formula((EDGES, 3), f("exp", at(x, require_poly(i % ROWS), j))),  # nothing is chosen
        formula((EDGES, EDGES, 3), f("exp", at(x, require_poly(at(chosen, j)), k) * at(e, j, k))),
    ],
)
def test_what_stays(root: Node) -> None:
    assert once_a_row([root]) == [root]


def test_the_index_of_the_edge_is_a_number_too() -> None:
    root = formula((EDGES, 3), f("exp", at(x, ROW, j) * f("float64", i)))
    assert once_a_row([root]) == [root]


def test_gradients_of_a_model_with_it() -> None:
    """A normalised graph layer: the roots of the degrees are computed node by node."""
    nodes, edges = 6, 60
    rng = np.random.default_rng(3)
    h, source = gg.param("h", (nodes, 4)), gg.input("source", (edges,), "int64")
    degree = gg.input("degree", (nodes,))
    n, c = gg.index("n", edges), gg.index("c", 4)
    scale = gg.exp(-gg.sqrt(degree[source[n]] + 1.0)) * gg.tanh(h[source[n], 0])
    loss = gg.sum(gg.compute((n, c), scale * h[source[n], c]) ** 2)
    net = gg.compile({"loss": loss}, name="lifted", dtype="float64")
    given = {"source": rng.integers(0, nodes, edges), "degree": rng.uniform(1, 4, nodes)}
    values = {**given, "h": rng.standard_normal((nodes, 4))}
    assert gg.check_grad(loss, values).ok
    found = net.value_and_grad(**values)[1]["h"]
    direction = rng.standard_normal((nodes, 4))

    def at_step(t: float) -> float:
        return float(net(**given, h=values["h"] + t * direction)["loss"])

    assert np.vdot(found, direction) == pytest.approx((at_step(1e-6) - at_step(-1e-6)) / 2e-6, rel=1e-7)
    assert "tanh" in net.show(after="once-a-row")
