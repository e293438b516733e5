"""Small models with something unusual about them: un-jitted code gives what the interpreter gives, gradients included.

Sizes stay symbolic where they were when the model went wrong; values come from a seeded generator.
"""

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Leaf, all_inputs, leaf, show_size, toposort
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.runtime.interface import evaluate_size
from tests.cpu.running import assert_close, unjitted

F8 = "float64"


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier looks at every program."""
    monkeypatch.setenv("GRADGEN_CHECK", "1")


def agree(*outputs: Tensor, **sizes: int) -> None:
    """Outputs, with and without the gradients of all float leaves beside them, and these gradients, at sizes."""
    rng = np.random.default_rng(0)
    nodes = [y.node for y in outputs]
    leaves = sorted({x for x in toposort(nodes, all_inputs) if isinstance(x, Leaf)}, key=lambda x: x.serial)
    values = {}
    for x in leaves:
        shape = tuple(evaluate_size(show_size(extent), sizes) for extent in x.shape)
        values[x] = rng.normal(size=shape) if x.dtype == F8 else rng.integers(0, 2, shape)
    wrt = [x for x in leaves if x.dtype == F8]
    named = {f"y{k}": y for k, y in enumerate(outputs)}
    alone, net = (
        unjitted(gg.compile(named, wrt=by, name="unusual", dtype=F8)) for by in ([], [tensor(x) for x in wrt])
    )
    given = {x.name: array for x, array in values.items()}
    found, saved = net.forward(**given)
    wanted = dict(zip(named, interpret(nodes, values, sizes), strict=True))
    for name, array in wanted.items():
        assert_close(found[name], array, F8, name)
        assert_close(alone(**given)[name], array, F8, f"{name} alone")
    weights = {
        leaf(f"w_{name}", y.node.shape, F8, "input"): rng.normal(size=wanted[name].shape) for name, y in named.items()
    }
    pulled = net.backward(saved, **dict(zip(named, weights.values(), strict=True)))
    gradients = interpret(vjp_nodes(nodes, list(weights), wrt), values | weights, sizes)
    for x, array in zip(wrt, gradients, strict=True):
        assert_close(pulled[x.name], array, F8, f"d_{x.name}")


# ---------------------------------------------------------------- products


def test_an_axis_of_one_element_before_the_loop_around_a_product() -> None:
    """The loop over the second axis has a matrix for each of its steps, and the first axis no loop at all."""
    K, M = gg.size("K"), gg.size("M")
    a, w = gg.input("a", (1, 2, 3, K), F8), gg.input("w", (2, M, 3, 2), F8)
    n, group, o, h, c, p = gg.index("n", 1), *gg.indices("group o"), gg.index("h", K + 1), *gg.indices("c p")
    window = gg.padded(a)[n, group, c, h + p - 1]
    y = gg.compute((n, group, o, h), gg.sum(w[group, o, c, 1 - p] * window, over=(c, p)))
    agree(y, gg.sum(y * y), K=2, M=3)


# ---------------------------------------------------------------- names


def test_outputs_of_one_value_have_the_names_of_loops() -> None:
    x = gg.input("x", (4, 3), F8)
    y = -x
    net = gg.compile({"i": y, "j": y, "k": x * 2}, name="letters", dtype=F8)
    assert "for i in" not in net.source
    assert "for j in" not in net.source
    agree(y, x * 2)


def test_an_argument_has_the_name_of_the_step() -> None:
    t, t1 = gg.input("t", (4, 3), F8), gg.input("t1", (3,), F8)

    def inner(c: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        return c * row + t1[0], c

    def outer(c: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        return gg.tanh(c + row), gg.scan(inner, c, t)[0]

    last, each = gg.scan(outer, t1, t)
    agree(last, each)


# ---------------------------------------------------------------- loops


def test_two_carries_that_become_the_same_value_begin_with_their_own() -> None:
    a, b, xs = gg.input("a", (3,), F8), gg.input("b", (3,), F8), gg.input("xs", (gg.size("T"), 3), F8)

    def step(c: tuple[Tensor, Tensor], x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        after = gg.sin(c[0] * x + c[1])
        return (after, after), c[0] - 2.0 * c[1]

    agree(gg.scan(step, (a, b), xs)[1], T=3)


def test_two_loops_of_which_nobody_needs_the_last_carry() -> None:
    """The carries of the adjoint loop and of its tangent both become 0: each has states of its own."""
    xs, v = gg.input("xs", (gg.size("T"),), F8), gg.input("v", (gg.size("T"),), F8)
    last, _ = gg.scan(lambda c, x: (gg.sin(x), None), gg.zeros((), F8), xs)
    agree(gg.hvp(last * last, xs, v), T=3)


# ---------------------------------------------------------------- results


def test_a_scalar_result_that_is_another_shape_of_one_element() -> None:
    """Of a value that nobody else needs in memory, of one that is a result too, and of one that a loop makes."""
    x, v = gg.input("x", (), F8), gg.input("v", (), F8)
    row = gg.sin(x.reshape(-1))
    agree(row.reshape(()), gg.hvp(gg.sum(row * row), x, v))
    agree(row, row.reshape(()), row.reshape(1, 1))
    agree(gg.cumsum(row).reshape(()), x.reshape(1, 1), gg.concatenate([x.reshape(-1), row]))


def test_a_sum_in_the_body_of_a_loop_is_written_where_it_is_read() -> None:
    """In the comments of the second derivative, with the letter of the step."""
    x, xs, v = gg.input("x", (4,), F8), gg.input("xs", (gg.size("K"), 4), F8), gg.input("v", (4,), F8)
    last, _ = gg.scan(lambda c, row: (gg.nn.functional.softmax(c) * row, None), x, xs)
    agree(gg.hvp(gg.sum(last * last), x, v), K=3)


def test_a_condition_is_carried_beside_what_has_a_tangent() -> None:
    """The tangent of a scan carries the tangents of its floats alone."""
    x, xs, v = gg.input("x", (3,), F8), gg.input("xs", (gg.size("T"), 3), F8), gg.input("v", (3,), F8)

    def step(c: tuple[Tensor, Tensor, Tensor], row: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], None]:
        value, seen, count = c
        return (gg.where(seen, gg.sin(value) * row, value), gg.sum(value * row) > 0, count + 1), None

    (last, seen, count), _ = gg.scan(step, (x, x[0] > 0, gg.zeros((), "int64")), xs)
    agree(gg.jvp(last, x, v), gg.hvp(gg.sum(last * last), x, v), T=3)
    agree(gg.where(seen, last, count * last), T=3)


def test_a_sum_that_two_loops_compute_for_themselves() -> None:
    """A loop and its tangent have a body in common: the sum is one variable in each of them."""
    a, xs, v = gg.input("a", (3,), F8), gg.input("xs", (2, 3), F8), gg.input("v", (3,), F8)

    def step(c: tuple[Tensor, Tensor], x: Tensor) -> tuple[tuple[Tensor, Tensor], None]:
        return (c[0], gg.where(gg.sum(x) > 0, c[1] + 1, c[1])), None

    (last, _), _ = gg.scan(step, (gg.sin(a), gg.zeros((), "int64")), xs)
    agree(gg.jvp(gg.sum(last * last), a, v))


# ---------------------------------------------------------------- nothing


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1)])
def test_the_order_along_an_axis_of_no_or_one_element(shape: tuple[int, int]) -> None:
    x = gg.input("x", shape, F8)
    for axis in (0, 1):
        agree(gg.sort(x, axis=axis), gg.float64(gg.argsort(x, axis=axis, descending=True)), gg.topk(x, 0, axis=axis)[0])
