"""Adjoints of adjoints: numbers of carries, masks that differ, scans inside scans; each against differences."""

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import (
    Compute,
    Leaf,
    Node,
    Project,
    all_inputs,
    carry,
    compute,
    leaf,
    pointwise,
    project,
    scan,
    toposort,
)
from gradgen.graph.scalar import Call, call, integer, load, number, position, size_symbol, step, walk
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.forward import jvp_nodes
from gradgen.passes.derive.reverse import node_adjoint, vjp_nodes
from gradgen.passes.derive.supports import NOWHERE
from gradgen.passes.rewrite.simplify import simplify
from tests.passes.building import leaves

H = 1e-5
k = position(0)


def tensor(name: str, *extents: int) -> Leaf:
    return leaf(name, [integer(e) for e in extents], "float64", "input")


def recurrence(x: Node, given: Node, depth: int, length: int) -> Node:
    """The states of s = tanh(s * x + given), from s = x."""
    state = carry(0, [], "float64", depth)
    body = call("tanh", call("add", call("mul", load(state, []), load(x, [])), load(given, [])))
    return project(scan(integer(length), depth, [state], [x], [pointwise([], body)], []), "states", 0)


def nested(x: Node, y: Node) -> Node:
    """A scan whose step runs a scan from its own carry, over y."""
    state = carry(0, [], "float64", 0)
    inner = recurrence(pointwise([], load(state, [])), pointwise([], load(y, [step(0)])), 1, 2)
    following = pointwise([], call("mul", load(inner, [2]), load(y, [step(0)])))
    return project(scan(integer(3), 0, [state], [x], [following], [inner]), "stack", 0)


def guarded(x: Node) -> Node:
    """One access under two conditions: (x[k-1] where k >= 1) + (x[k-1] where k >= 1 and x[0] > 0) * x[0]."""
    inside = call("ge", k - 1, integer(0))
    both = call("and", inside, call("gt", load(x, [0]), number(0.0)))
    first = call("where", inside, load(x, [k - 1]), number(0.0))
    second = call("where", both, load(x, [k - 1]), number(0.0))
    return pointwise([integer(3)], call("mul", first, call("add", call("mul", second, load(x, [0])), first)))


def cases() -> dict[str, tuple[Node, list[Leaf]]]:
    x, y, z = tensor("x"), tensor("y", 3), tensor("z", 3)
    return {
        "scan": (recurrence(x, pointwise([], load(y, [0])), 0, 4), [x, y]),
        "scan in a scan": (nested(x, y), [x, y]),
        "two masks": (guarded(z), [z]),
    }


@pytest.mark.parametrize("case", cases())
def test_first_and_second_derivatives(case: str) -> None:
    y, xs = cases()[case]
    rng = np.random.default_rng(0)
    w = leaf("w", y.shape, y.dtype, "input")
    values = {x: rng.uniform(0.2, 1.2, [int(e.constant or 0) for e in x.shape]) for x in xs}
    values[w] = rng.normal(size=interpret([y], values)[0].shape)
    seeds = {leaf(f"c_{x.name}", x.shape, x.dtype, "input"): rng.normal(size=values[x].shape) for x in xs}
    gradients = vjp_nodes([y], [w], xs)
    second = vjp_nodes(gradients, list(seeds), [*xs, w])
    found = interpret([*gradients, *second], {**values, **seeds})
    for n, x in enumerate(xs):
        for at in np.ndindex(values[x].shape):
            ends = []
            for h in (H, -H):
                moved = values[x].copy()
                moved[at] += h
                y_moved, *g_moved = interpret([y, *gradients], {**values, x: moved})
                paired = sum(np.sum(g * c) for g, c in zip(g_moved, seeds.values(), strict=True))
                ends.append((np.sum(y_moved * values[w]), paired))
            first, again = (np.subtract(*ends) / (2 * H)).tolist()
            assert found[n][at] == pytest.approx(first, rel=1e-7, abs=1e-8)
            assert found[len(xs) + n][at] == pytest.approx(again, rel=1e-7, abs=1e-8)
    (tangent,) = interpret(jvp_nodes([y], xs, list(seeds)), {**values, **seeds})
    np.testing.assert_allclose(found[-1], tangent, rtol=1e-12)


def test_the_adjoint_of_an_access_that_is_never_taken_is_a_zero_of_its_dtype() -> None:
    x = tensor("x", 4)
    never = call("where", call("ge", -k - 1, integer(0)), load(x, [-k - 1]), number(0.0))
    y, w = pointwise([integer(4)], call("add", call("square", never), load(x, [k]))), tensor("w", 4)
    gradients = simplify(vjp_nodes([y], [w], [x]))
    assert [n.dtype for n in (*gradients, *simplify([y]))] == ["float64", "float64"]
    values = {x: np.arange(4.0), w: np.ones(4)}
    np.testing.assert_array_equal(interpret(gradients, values)[0], np.ones(4))


def test_a_decided_where_keeps_its_dtype() -> None:
    x = tensor("x", 2)
    assert call("where", number(True), number(1), load(x, [k])).dtype == "float64"
    third = call("div", call("where", number(True), number(1), load(x, [k])), number(3))
    assert interpret([pointwise([], third)], {})[0] == 1 / 3


def test_the_maximum_over_two_indices_under_a_condition_on_both() -> None:
    x, d = tensor("x"), tensor("d")
    inside = call("eq", k - position(1) + 1, integer(0))
    extents = [integer(2), integer(2)]
    y = compute([], extents, [], "max", call("where", inside, load(x, []), number(0.0)))
    values = {x: np.array(0.4), d: np.array(1.5)}
    assert interpret([*vjp_nodes([y], [d], [x]), *jvp_nodes([y], [x], [d])], values) == [1.5, 1.5]


def test_an_access_whose_derivative_is_zero_is_not_left_without_its_condition() -> None:
    """0 * x[k - 1]**2 where k >= 1, under a second condition: the tangent read x[-1], and the adjoint wrote it."""
    x, t, d = tensor("x", 3), tensor("t", 3), tensor("d", 3)
    inside, outer = call("ge", k - 1, integer(0)), call("ge", k - 2, integer(0))
    square = call("square", call("where", inside, load(x, [k - 1]), number(0.0)))
    y = pointwise([integer(3)], call("where", outer, call("mul", square, call("float64", number(0.0))), number(0.0)))
    values = {x: np.arange(3.0), t: np.ones(3), d: np.ones(3)}
    for found in interpret([*jvp_nodes([y], [x], [t]), *vjp_nodes([y], [d], [x])], values):
        np.testing.assert_array_equal(found, np.zeros(3))


def test_what_goes_to_the_last_state_is_no_term_of_a_step() -> None:
    """From s[4] alone: every step multiplies by the derivative, and adds nothing that is zero."""
    x = tensor("x")
    last = pointwise([], load(recurrence(x, x, 0, 4), [4]))
    (d_x,) = vjp_nodes([last], [tensor("d")], [x])
    reverse = {n.scan for n in toposort([d_x], all_inputs) if isinstance(n, Project) and n.scan.reverse}
    (following,) = next(iter(reverse)).nexts
    assert isinstance(following, Compute)
    assert {part.function.name for part in walk(following.body) if isinstance(part, Call)} <= {"mul", "sub"}


def test_a_carry_that_nothing_depends_on_has_no_adjoint() -> None:
    """s = s * x beside n = n + 1, both returned: what n costs is no function of x."""
    x, zero = tensor("x"), pointwise([], call("float64", number(0)))
    s, n = (carry(at, [], "float64", 0) for at in range(2))
    nexts = [
        pointwise([], call("mul", load(s, []), load(x, []))),
        pointwise([], call("add", load(n, []), number(1.0))),
    ]
    loop = scan(integer(4), 0, [s, n], [x, zero], nexts, [])
    outputs = [pointwise([], load(project(loop, "states", at), [4])) for at in range(2)]
    (d_x,) = vjp_nodes(outputs, [tensor("d_s"), tensor("d_n")], [x])
    scans = {p.scan for p in toposort([d_x], all_inputs) if isinstance(p, Project)}
    assert sorted((found.reverse, len(found.carries)) for found in scans) == [(False, 2), (True, 1)]
    (value,) = interpret([d_x], {x: np.array(1.5), **{d: np.array(2.0) for d in leaves([d_x]) if d is not x}})
    np.testing.assert_allclose(value, 2.0 * 5 * 1.5**4)


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_first_state_may_be_the_last_one(reverse: bool, steps: int) -> None:
    """What goes to one state only goes to no other row of them, unless there is no step between the two."""
    length, x = size_symbol("T"), tensor("x")
    state = carry(0, [], "float64", 0)
    body = call("sin", load(state, []))
    states = project(scan(length, 0, [state], [x], [pointwise([], body)], [], reverse), "states", 0)
    begun, ended = (length, integer(0)) if reverse else (integer(0), length)
    y = pointwise([], call("add", load(states, [begun]), call("mul", load(states, [ended]), number(2.0))))
    (gradient,) = vjp_nodes([y], [pointwise([], call("float64", number(1)))], [x])
    (found,) = interpret([gradient], {x: np.array(0.3)}, {"T": steps})
    assert found == pytest.approx(3.0 if steps == 0 else 1.0 + 2.0 * np.cos(0.3), rel=1e-14)


def test_what_counts_nowhere_is_added_nowhere() -> None:
    """Its place need not be inside, and the guard is gone with the value."""
    x, i = gg.param("x", (4,), dtype="float64"), gg.index("i", 3)
    node = gg.compute(i, gg.sin(gg.where(i % 2 >= 1, x[i % 2 - 1], 0.0))).node
    d_node = leaf("d", node.shape, "float64", "cotangent")
    assert len(node_adjoint(node, d_node, {x.node})) == 1
    assert node_adjoint(node, d_node, {x.node}, NOWHERE) == []
