"""What a call has to check: the reads and targets that are not proved to stay inside."""

import gradgen as gg
from gradgen.graph.nodes import Compute, Project, body_nodes, toposort
from gradgen.graph.tensor import Tensor
from gradgen.graph.unproved import unproved

N = gg.size("N")


def checks(tensor: Tensor) -> list[str]:
    assert isinstance(tensor.node, Compute)
    return [access.what for access in unproved(tensor.node)]


def test_formulas_with_indices_are_proved() -> None:
    a, K = gg.input("a", (N, 9)), gg.param("K", (3, 9))
    n, i, p, j = gg.indices("n i p j")
    h = gg.index("h", N)
    assert checks(gg.compute((n, i), gg.sum(K[p, j] * a[n, 2 * i + p], over=(p, j)))) == []
    assert checks(gg.compute((h, i), gg.padded(a)[h - 1, i])) == []
    assert checks(a[:, ::-1]) == []
    assert checks(gg.concatenate([a, a * 2, K])) == []


def test_data_and_short_axes_are_not() -> None:
    E, idx, x = gg.param("E", (N, 3)), gg.input("idx", (5,), "int64"), gg.input("x", (N,))
    e, f = gg.indices("e f")
    assert checks(E[idx]) == ["E's axis 0 (N)"]
    assert checks(x[-1]) == ["x's axis 0 (N)"]
    assert checks(x[:3]) == ["x's axis 0 (N)"]
    assert checks(gg.accumulate((idx[e], f), E[0, f] * 1, shape=(N, 3)))[-1] == "the result's axis 0 (N)"


def test_steps_of_a_scan() -> None:
    xs = gg.input("xs", (N, 3))
    last, _ = gg.scan(lambda h, x: (h + x, None), gg.zeros(3), xs)
    loop = next(n for n in toposort([last.node]) if isinstance(n, Project)).scan
    bodies = [n for n in body_nodes(loop) if isinstance(n, Compute)]
    assert bodies
    assert all(unproved(n, {0: loop.length}) == [] for n in bodies)
    assert isinstance(last.node, Compute)
    assert unproved(last.node) == []
