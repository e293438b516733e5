"""logsumexp by its parts, and a softmax as a quotient of them: exponentials are computed once."""

import numpy as np
import pytest

from gradgen.graph.nodes import Compute, Node, all_inputs, toposort
from gradgen.graph.scalar import Call, walk
from gradgen.lang.interpret import interpret
from gradgen.passes.rewrite.logsumexp import lower_reducers
from tests.passes.building import M, N, assert_same_values, at, f, formula, i, j, k, tensor, total

x = tensor("x", N, M)
LSE = total((N,), (M,), at(x, i, j), "logsumexp")
SOFTMAX = formula((N, M), f("exp", at(x, i, j) - at(LSE, i)))


def lowered(*nodes: Node) -> list[Node]:
    after, _ = lower_reducers(nodes)
    assert_same_values(nodes, after, rtol=1e-12)
    return after


def exponentials(*nodes: Node) -> int:
    """How many different formulas compute an exp."""
    bodies = [n.body for n in toposort(nodes, all_inputs) if isinstance(n, Compute)]
    return sum(any(isinstance(part, Call) and part.function.name == "exp" for part in walk(body)) for body in bodies)


def test_a_softmax_divides_the_terms_of_its_sum() -> None:
    (after,) = lowered(SOFTMAX)
    assert isinstance(after, Compute)
    terms, sums = all_inputs(after)
    assert after is formula((N, M), at(terms, i, j) / at(sums, i))
    assert sums is total((N,), (M,), at(terms, i, j))
    assert exponentials(after) == 1


def test_the_logarithm_reads_the_same_sum() -> None:
    assert exponentials(*lowered(LSE, SOFTMAX)) == 1


def test_the_two_sums_of_a_logsumexp_read_the_same_terms() -> None:
    assert exponentials(*lowered(LSE)) == 1


def test_a_transposed_softmax() -> None:
    turned = formula((M, N), f("exp", at(x, j, i) - at(LSE, j)))
    assert exponentials(*lowered(turned)) == 1


def test_a_softmax_over_two_axes() -> None:
    y = tensor("y", N, M, N)
    both = total((N,), (M, N), at(y, i, j, k), "logsumexp")
    assert exponentials(*lowered(formula((N, M, N), f("exp", at(y, i, j, k) - at(both, i))))) == 1


@pytest.mark.parametrize(
    "other",
    [
        formula((N, M), f("exp", at(x, i, 0) - at(LSE, i))),  # one element of each row
        formula((N, M), f("exp", 2.0 * at(x, i, j) - at(LSE, i))),
        formula((N, N, M), f("exp", at(x, j, k) - at(LSE, i))),  # of other rows
    ],
)
def test_other_exponentials_stay(other: Node) -> None:
    assert exponentials(*lowered(other)) == 2


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_come_out_as_from_the_exponential(special: float) -> None:
    values = np.array([[1.0, special, 2.0], [special, special, special], [1000.0, -1000.0, 3.0]])
    before, after = (interpret([n], {x: values})[0] for n in (SOFTMAX, lower_reducers([SOFTMAX])[0][0]))
    np.testing.assert_allclose(after, before, rtol=1e-12)
