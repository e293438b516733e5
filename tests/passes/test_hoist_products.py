"""`hoist` computes products that do not depend on the carry before the loop."""

from gradgen.graph.nodes import Node, Project, Scan, body_nodes, carry, compute, project, scan
from gradgen.graph.scalar import position, step
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.rewrite.hoist_products import hoist
from gradgen.passes.rewrite.simplify import simplify
from tests.passes.building import M, N, T, assert_same_values, at, f, formula, formulas, i, j, k, scans, tensor, total

t = step(0)


def network(reverse: bool = False) -> tuple[list[Node], Node]:
    """h[t+1] = tanh(W x[t] + U h[t]), and the leaves x, W, U, h[0]."""
    x, w, u, start = tensor("x", T, M), tensor("w", N, M), tensor("u", N, N), tensor("start", N)
    h = carry(0, (N,), "float64", 0)
    row = formula((M,), at(x, t, i) * 0.5)
    fed = total((N,), (M,), at(w, i, j) * at(row, j))
    back = total((N,), (N,), at(u, i, j) * at(h, j))
    new = formula((N,), f("tanh", at(fed, i) + at(back, i)))
    return [x, w, u, start], project(scan(T, 0, [h], [start], [new], [], reverse), "states", 0)


def products(s: Scan) -> list[Node]:
    return [n for n in body_nodes(s) if getattr(n, "reducer", "") == "sum"]


def test_a_product_of_inputs_is_computed_before_the_loop() -> None:
    for reverse in (False, True):
        (x, w, _, _), states = network(reverse)
        (after,) = hoist([states])
        assert isinstance(after, Project)
        assert len(products(after.scan)) == 1
        row = formula((T, M), at(x, i, j) * 0.5)
        fed = compute((T, N), (T, N, M), [i, j], "sum", at(w, j, k) * at(row, i, k))
        assert fed in formulas(after)
        assert hoist([after]) == [after]
        assert hoist([states]) == [after]
        assert_same_values([states], [after])
        assert_same_values([states], simplify([after]))


def test_pointwise_work_and_sums_of_one_factor_stay() -> None:
    x, start, h = tensor("x", T, N, M), tensor("start", N), carry(0, (N,), "float64", 0)
    s = total((N,), (M,), at(x, t, i, j))
    new = formula((N,), at(h, i) + f("tanh", at(s, i)))
    states = project(scan(T, 0, [h], [start], [new], []), "states", 0)
    assert hoist([states]) == [states]


def test_the_adjoint_keeps_its_values() -> None:
    leaves, states = network()
    loss = total((), (T, N), at(states, i + 1, j) * at(states, i, j))
    gradients = vjp_nodes([loss], [formula((), f("float64", 1))], leaves)
    before = simplify([loss, *gradients])
    after = simplify(hoist(before))
    assert_same_values(before, after)
    assert simplify(hoist(after)) == after
    assert len(scans(*after)) == 2


def test_inner_loops_lift_into_the_body_of_outer_ones() -> None:
    x, w, start = tensor("x", T, M), tensor("w", N, M), tensor("start", N)
    outer, inner = carry(0, (N,), "float64", 0), carry(0, (N,), "float64", 1)
    fed = total((N,), (M,), at(w, i, j) * at(x, step(1), j))
    new = formula((N,), at(inner, i) * 0.5 + at(fed, i))
    loop = project(scan(T, 1, [inner], [outer], [new], []), "states", 0)
    after = project(scan(T, 0, [outer], [start], [formula((N,), at(loop, T, i))], []), "states", 0)
    (hoisted,) = hoist([after])
    assert all(not products(s) for s in scans(hoisted))
    assert_same_values([after], [hoisted])
    assert position(0) is i
