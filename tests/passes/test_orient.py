"""`orient` computes a sum in the order in which its readers read it."""

import pytest

from gradgen.graph.nodes import Node
from gradgen.graph.scalar import Poly
from gradgen.passes.rewrite.orient import orient
from tests.passes.building import M, N, T, assert_same_values, at, f, formula, i, j, k, m, tensor, total

a, b = tensor("a", N, T), tensor("b", M, T)
PRODUCT = total((N, M), (T,), at(a, i, k) * at(b, j, k))


def test_a_sum_read_transposed_is_computed_transposed() -> None:
    root = formula((M, N), at(PRODUCT, j, i) * 0.5)
    turned = total((M, N), (T,), at(a, j, k) * at(b, i, k))
    assert orient([root]) == [formula((M, N), at(turned, i, j) * 0.5)]
    assert_same_values([root], orient([root]))


def test_readers_that_disagree_leave_it_as_it_is() -> None:
    roots: list[Node] = [formula((M, N), at(PRODUCT, j, i) * 0.5), formula((N, M), f("tanh", at(PRODUCT, i, j)))]
    assert orient(roots) == roots


@pytest.mark.parametrize("places", [(0, j, i), (j, 0, i), (j, i, 0)])
def test_one_element_of_an_axis_is_no_order_of_axes(places: tuple[Poly | int, ...]) -> None:
    """The sum has an axis more than its reader, which reads one element of it."""
    shape = [N if place is j else M if place is i else 2 for place in places]
    c = tensor("c", *shape, T)
    summed = total(shape, (T,), at(c, i, j, k, m))
    root = formula((M, N), at(summed, *places) * 0.5)
    assert orient([root]) == [root]
