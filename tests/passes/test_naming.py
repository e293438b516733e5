"""Names: d_u is the adjoint of u, and nothing else is called so."""

import re

import pytest

import gradgen as gg
from gradgen.graph.nodes import all_inputs, same_shape, toposort
from gradgen.passes.lower.naming import name_nodes
from tests.cpu.models import compiled_in, parameters
from tests.cpu.running import case


@pytest.mark.parametrize("name", parameters())
def test_an_adjoint_has_the_shape_of_what_it_is_called_after(name: str) -> None:
    stages = case(name, compiled_in(name)).net.compiled.stages
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


def test_a_loop_is_told_by_what_its_steps_hand_on() -> None:
    """A carry, its states, their adjoints; stacks by the values that they keep; parts of a tensor that was split."""
    x, w = gg.input("x", (gg.size("T"), 6)), gg.param("w", (3,))

    def step(h: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, None]:
        a, b = gg.split(x, 2)
        h = gg.tanh(h * a) * gg.sin(w + b)
        return h, None

    h0 = gg.param("h0", (3,))
    last, _ = gg.scan(step, h0, x)
    source = gg.compile({"loss": gg.sum(last)}, name="told").source
    for text in (
        "h_carry: h0 in the first step, then h of the step before",
        ": h_carry = h_states[t]",
        ": h_tanh[i] = tanh(h_carry[i] * x[t, i])",
        "h_tanh_stack[t, i] = ",
        ": d_h_carry = d_h_states[t + 1]",
        " a[i] = x[t, i]",
        " b[i] = x[t, i + 3]",
    ):
        assert text in source


def test_two_loops_have_carries_of_their_own_names() -> None:
    x, a, b = gg.input("x", (5, 3)), gg.param("a", (3,)), gg.param("b", (3,))

    def first(c: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, None]:
        h = gg.tanh(c + x)
        return h, None

    def second(c: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, None]:
        k = gg.sin(c * x)
        return k, None

    hs, ks = gg.scan(first, a, x)[0], gg.scan(second, b, x)[0]
    source = gg.compile({"y": gg.sum(hs * ks)}, name="two_loops").source
    assert "h_carry: a in the first step, then h of the step before" in source
    assert "k_carry: b in the first step, then k of the step before" in source


def shared() -> tuple[gg.Tensor, gg.Tensor]:
    x, w, y, z = (gg.param(name, (4,)) for name in "xwyz")
    train = gg.mean((x * w - y) ** 2)
    valid = gg.mean(gg.tanh(x * w - z))
    return train, valid


def test_the_name_of_a_variable_is_left_to_what_it_is_bound_to() -> None:
    _, valid = shared()
    source = gg.compile({"valid": valid}, name="left").source
    assert "train_product" in source
    assert not re.search(r"\btrain\b", source)
    train, valid = shared()
    both = gg.compile({"train": train, "valid": valid}, name="both").source
    assert "train_product" in both


def test_compiling_gives_no_node_another_name() -> None:
    """What is looked at later is called as if nothing had been compiled before."""
    _, valid = shared()
    before = str(valid)
    first = gg.compile({"valid": valid}, name="before").source
    assert str(valid) == before
    assert gg.compile({"valid": valid}, name="before").source == first


def test_a_value_in_memory_keeps_its_name() -> None:
    x = gg.param("x", (4,))
    u = gg.materialize(gg.exp(x) * 2.0)
    source = gg.compile({"y": u * u, "z": gg.sum(u)}, name="memory").source
    assert re.search(r": u\[i\] = .*exp", source)
    assert "u_materialize" not in source


def test_reductions_of_one_formula_are_parts_of_it() -> None:
    x = gg.param("x", (gg.size("N"), 4))
    n, j = gg.indices("n j")
    y = gg.compute(n, gg.max(x[n, j], over=j) / gg.sum(x[n, j] * x[n, j], over=j))
    nodes = toposort([y.node], all_inputs)
    assert sorted(name_nodes(nodes, {}).values()) == ["x", "y", "y_max", "y_sum"]
