"""`materialize`: what is asked to be in memory is one node, which all readers read; schedules leave it there."""

import math

import pytest

import gradgen as gg
from gradgen.graph.nodes import Node, reshape, show_shape
from gradgen.graph.scalar import Scalar
from gradgen.passes.derive.linear import is_linear
from gradgen.passes.prepare.stabilize import stabilize
from gradgen.passes.rewrite.materialize import is_materialized, materialize
from gradgen.passes.rewrite.simplify import simplify
from gradgen.program.holders import held
from tests.passes.building import M, N, assert_same_values, at, f, formula, i, j, k, tensor, total

x, w = tensor("x", N, M), tensor("w", M, N)


def own(body: Scalar) -> Node:
    return formula((N, M), f("materialize", body))


def test_a_tensor_and_the_same_in_memory_are_one() -> None:
    e = formula((N, M), f("exp", at(x, i, j)))
    roots = [formula((N, M), at(e, i, j) * at(own(at(e, i, j)), i, j)), e]
    stored = own(f("exp", at(x, i, j)))
    assert materialize(roots) == [formula((N, M), at(stored, i, j) * at(stored, i, j)), stored]
    assert materialize(materialize(roots)) == materialize(roots)
    assert_same_values(roots, materialize(roots))


def test_twice_in_memory_is_once() -> None:
    once = own(at(x, i, j) * 2.0)
    assert materialize([own(at(once, i, j))]) == [once]


def test_a_sum_keeps_its_node_and_has_one_reader() -> None:
    product = total((N, N), (M,), at(x, i, k) * at(w, k, j))
    stored = formula((N, N), f("materialize", at(product, i, j)))
    roots = [formula((N, N), at(product, i, j) + at(stored, i, j))]
    assert materialize(roots) == [formula((N, N), at(stored, i, j) + at(stored, i, j))]


def test_leaves_loops_and_reshapes_are_in_memory_already() -> None:
    flat = reshape(formula((N, M), at(x, i, j) * 2.0), (M * N,))
    for node in (x, flat):
        places = [i, j][: len(node.shape)]
        assert materialize([formula(node.shape, f("materialize", at(node, *places)))]) == [node]


def test_other_places_of_a_tensor_are_another_tensor() -> None:
    for node in (formula((M, N), f("materialize", at(x, j, i))), formula((N,), f("materialize", at(x, i, 0)))):
        assert is_materialized(node)
        assert simplify([node]) == [node] == materialize([node])


def test_no_other_pass_takes_it_away_but_what_is_stable_looks_through() -> None:
    double = own(at(x, i, j) * 2.0)
    read = formula((N, M), at(double, i, j) + at(x, i, j))
    assert simplify([read]) == [read]
    e = own(f("exp", at(x, i, j)))
    (after,), records = stabilize([formula((N, M), f("log", at(e, i, j)))])
    assert [r.rule for r in records] == ["log_exp"]
    assert after is formula((N, M), at(x, i, j)) or after is x
    assert is_linear([double], x)


# ---------------------------------------------------------------- whole models


def network(asked: bool) -> gg.Network:
    a, b = gg.param("a", (gg.size("N"), 8)), gg.input("b", (gg.size("N"), 8))
    u = 2.0 * a + b
    v = gg.materialize(u) if asked else u
    return gg.compile({"loss": gg.sum(gg.tanh(v) * v)}, name="asked")


def shapes(net: gg.Network) -> dict[str, str]:
    """The arrays that a network works in."""
    return {b.name: show_shape(b.shape) for b in held(net.compiled.program, "w")}


def test_it_is_stored_saved_and_explained() -> None:
    without, with_it = network(False), network(True)
    assert "of its own" not in without.explain()
    assert with_it.explain().count("u: in memory of its own, as gg.materialize asks") == 2  # backward finds it
    assert "u" in shapes(with_it)
    assert "u" not in shapes(without)
    assert "u[i, j] = " in with_it.source
    assert "b (" not in with_it.source[with_it.source.index("def backward") :].split('"""')[1]


def test_what_outgrows_the_arguments_is_whole_where_it_is_asked_for() -> None:
    T = gg.size("T")
    q, keys, v = (gg.param(name, (T, 8)) for name in ("q", "keys", "v"))
    texts: list[dict[str, str]] = []
    for asked in (False, True):
        s = (q @ keys.T) / math.sqrt(8)
        s = gg.materialize(s) if asked else s
        net = gg.compile({"loss": gg.sum(gg.nn.softmax(s) @ v)}, name="whole")
        texts.append(shapes(net))
    assert "(T, T)" not in texts[0].values()
    assert "(T, T)" in texts[1].values()


@pytest.mark.parametrize("reverse", [False, True])
def test_inside_a_loop_every_step_has_it_in_memory(reverse: bool) -> None:
    T = gg.size("T")
    rows, first = gg.input("rows", (T, 3)), gg.param("first", (3,))

    def body(h: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, None]:
        u = gg.materialize(h * row)
        return u + u, None

    net = gg.compile({"last": gg.scan(body, first, rows, reverse=reverse)[0]}, name="inside")
    assert "u: in memory of its own, as gg.materialize asks" in net.explain()
    assert shapes(net)["u"] == "(3)"
