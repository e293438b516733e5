"""The order of the loops of a formula: the innermost one runs through memory."""

from gradgen.graph.nodes import Compute, Node
from gradgen.passes.schedule.fusion import loop_order
from tests.passes.building import M, N, T, at, i, j, tensor, total

P, Q = tensor("P", N, T), tensor("Q", M, T)
user, item = tensor("user", M, dtype="int64"), tensor("item", M, dtype="int64")


def order(node: Node) -> list[int]:
    assert isinstance(node, Compute)
    return loop_order(node, node.body)


def test_rows_chosen_by_data_are_run_along() -> None:
    """`user[i]` is read once for a row, so it does not count for the loop over i."""
    assert order(total((M,), (T,), at(P, at(user, i), j) * at(Q, at(item, i), j))) == [0, 1]


def test_columns_are_added_up_row_by_row() -> None:
    assert order(total((T,), (N,), at(P, j, i))) == [1, 0]
