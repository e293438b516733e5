"""`split` gives transcendentals nodes of their own; what a branch hides from an adjoint stays hidden behind them."""

import numpy as np

from gradgen.graph.nodes import carry, project, scan
from gradgen.graph.scalar import integer, step
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.prepare.split import split
from tests.passes.building import N, assert_same_values, at, f, formula, i, j, scatter, tensor, total, values, where


def test_every_transcendental_gets_a_node() -> None:
    x = tensor("x", N, 4)
    before = formula((N, 4), f("log", 1 + f("exp", at(x, i, j))) + at(x, i, j))
    e = formula((N, 4), f("exp", at(x, i, j)))
    log = formula((N, 4), f("log", 1 + at(e, i, j)))
    assert split([before]) == [formula((N, 4), at(log, i, j) + at(x, i, j))]
    assert_same_values([before], split([before]))
    assert split(split([before])) == split([before])


def test_a_node_covers_the_positions_it_mentions() -> None:
    x, s = tensor("x", N, 4), tensor("s", 4)
    before = total((N,), (4,), at(x, i, j) * f("exp", at(s, j)))
    e = formula((4,), f("exp", at(s, i)))
    assert split([before]) == [total((N,), (4,), at(x, i, j) * at(e, j))]
    assert_same_values([before], split([before]))


def test_a_scalar_becomes_a_node_of_rank_0() -> None:
    x, s = tensor("x", N), tensor("s")
    e = formula((), f("exp", at(s)))
    assert split([formula((N,), at(x, i) * f("exp", at(s)))]) == [formula((N,), at(x, i) * at(e))]


def test_whole_bodies_branches_and_constants_stay() -> None:
    x = tensor("x", N)
    nodes = [
        formula((N,), f("tanh", at(x, i))),
        formula((N,), where(at(x, i) > 0, f("log", at(x, i)))),
        formula((N,), at(x, i) * f("sin", i * 0.5)),
        formula((N,), f("sqrt", at(x, i)) + 1),
    ]
    assert split(nodes) == nodes


def test_a_condition_is_always_evaluated() -> None:
    x = tensor("x", N)
    e = formula((N,), f("exp", at(x, i)))
    assert split([formula((N,), where(f("exp", at(x, i)) > 1, at(x, i)))]) == [
        formula((N,), where(at(e, i) > 1, at(x, i)))
    ]


def test_bodies_of_scans_are_split() -> None:
    x, start = tensor("x", N, 4), tensor("start", 4)
    h = carry(0, (integer(4),), "float64", 0)
    new = formula((4,), f("tanh", at(h, i)) + at(x, step(0), i))
    (after,) = split([project(scan(N, 0, [h], [start], [new], []), "states", 0)])
    tanh = formula((4,), f("tanh", at(h, i)))
    assert after.scan.nexts == (formula((4,), at(tanh, i) + at(x, step(0), i)),)


def test_the_adjoint_of_the_branch_not_taken_is_nothing() -> None:
    x = tensor("x", N)
    r = formula((N,), 1 / at(x, i))
    square = formula((N,), at(r, i) * at(r, i))
    y = formula((N,), where(at(x, i) > 0, f("log", at(square, i)), at(x, i)))
    ones = formula((N,), f("float64", 1))
    gradient = vjp_nodes(split([y]), [ones], [x])
    given = np.array([1.0, 0.0, -1.0, np.inf, 2.0])
    (d_x,) = values(gradient, {x: given})
    np.testing.assert_allclose(d_x[[0, 1, 2, 4]], [-2.0, 1.0, 1.0, -1.0])


def test_the_adjoint_of_a_sum_that_is_not_taken_is_nothing() -> None:
    x, c = tensor("x", N, 4), tensor("c", N)
    log = formula((N, 4), f("log", at(x, i, j)))
    s = total((N,), (4,), at(log, i, j))
    y = formula((N,), where(at(c, i) > 0, at(s, i)))
    (d_x,) = vjp_nodes([y], [formula((N,), f("float64", 1))], [x])
    given = {x: np.zeros((5, 4)), c: np.array([-1.0, 1, -1, 1, -1])}
    (result,) = values([d_x], given)
    assert np.array_equal(result[0], np.zeros(4))
    assert np.all(np.isinf(result[1]))


def test_what_guards_the_target_of_a_scatter_stays_with_it() -> None:
    """A wide body is cut in parts, and a choice that is one would take the guard along, out of sight of the target."""
    x, w, k = tensor("x", 4), tensor("w", 3), tensor("k", 3)
    a, b, c, d = at(x, i), at(k, j), at(w, i), at(x, j)
    chosen = a * b * c + a * d + c > a * b * d + c * d + b
    wide = a * b * c * d + a * at(k, i) * c + at(w, j) * d * c + d * b * c
    value = where(at(w, i) > 0, where(chosen, where(2 - i - j >= 0, wide)))
    before = scatter((3,), (3, 3), (i + j,), value)
    after = split([before])
    assert after != [before]
    assert_same_values([before], after)
