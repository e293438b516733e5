"""The reference interpreter against NumPy written by hand: reducers, padding, gather, scatter, scans, dtypes."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from gradgen.errors import BindingError, DTypeError, GraphError, ShapeError
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.nodes import Leaf, Node, carry, compute, leaf, pointwise, project, reshape, scan
from gradgen.graph.scalar import Scalar, as_poly, call, integer, load, number, position, size_symbol, step
from gradgen.lang.interpret import interpret
from gradgen.lang.interpret_scalar import IMPLEMENTATIONS

A, B, C = position(0), position(1), position(2)  # the loop indices of a formula, in order
N = size_symbol("N")
NAN, INF = np.nan, np.inf


def sizes(*extents):
    return [integer(e) if isinstance(e, int) else e for e in extents]


def tensor(name, *extents, dtype="float64"):
    return leaf(name, sizes(*extents), dtype, "input")


def formula(shape, body, *, over=(), target=None, reducer=None):
    """out[0, 1, ...] = reducer of body, the reduced extents in `over`."""
    shape = sizes(*shape)
    where = [position(k) for k in range(len(shape))] if target is None else target
    extents = [*shape, *sizes(*over)] if target is None else sizes(*over)
    return compute(shape, extents, where, reducer or ("sum" if over else "none"), body)


def values(output: Node, given: dict[Leaf, object], **bound):
    (result,) = interpret([output], {k: np.asarray(v, k.dtype) for k, v in given.items()}, bound)
    assert result.dtype.name == output.dtype
    return result


def test_every_function_has_an_implementation():
    assert set(IMPLEMENTATIONS) == set(FUNCTIONS)


# ---------------------------------------------------------------- reducers

ROWS = np.array(
    [
        [1.0, 3.0, 2.0, 3.0],
        [NAN, 5.0, 1.0, NAN],
        [-INF, -INF, -INF, -INF],
        [INF, 0.0, INF, 1.0],
        [INF, -INF, 0.0, 1.0],
        [1e300, 1e300, -1e300, 0.0],
        [1000.0, 1000.0, -1000.0, 0.0],
    ]
)


@pytest.mark.parametrize(
    ("reducer", "by_hand"),
    [
        ("sum", lambda x: x.sum(axis=1)),
        ("max", lambda x: x.max(axis=1)),
        ("min", lambda x: x.min(axis=1)),
        ("argmax", lambda x: x.argmax(axis=1)),
        ("argmin", lambda x: x.argmin(axis=1)),
        ("logsumexp", lambda x: logsumexp(x, axis=1)),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_reducers_keep_nan_and_infinity(reducer, by_hand, dtype):
    x = tensor("x", 7, 4, dtype=dtype)
    with np.errstate(all="ignore"):
        rows = ROWS.astype(dtype)
        wanted = by_hand(rows)
    found = values(formula((7,), load(x, [A, B]), over=(4,), reducer=reducer), {x: rows})
    np.testing.assert_allclose(found, wanted, rtol=1e-15 if dtype == "float64" else 1e-6)


def test_argmax_names_the_first_nan_else_the_first_maximum():
    x = tensor("x", 7, 4)
    assert values(formula((7,), load(x, [A, B]), over=(4,), reducer="argmax"), {x: ROWS}).tolist() == [
        1, 0, 0, 0, 0, 0, 0,
    ]  # fmt: skip
    assert values(formula((7,), load(x, [A, B]), over=(4,), reducer="argmin"), {x: ROWS}).tolist() == [
        0, 0, 0, 1, 1, 2, 2,
    ]  # fmt: skip


@pytest.mark.parametrize(("reducer", "nothing"), [("sum", 0.0), ("max", -INF), ("min", INF), ("logsumexp", -INF)])
def test_reducers_of_nothing(reducer, nothing):
    x = tensor("x", 2, N)
    found = values(formula((2,), load(x, [A, B]), over=(N,), reducer=reducer), {x: np.zeros((2, 0))})
    np.testing.assert_array_equal(found, [nothing, nothing])


@pytest.mark.parametrize("reducer", ["argmax", "argmin"])
def test_arg_reducers_of_nothing_name_the_first(reducer):
    """Calls refuse what a user asks for; an adjoint asks which element a maximum was, whatever there is."""
    x = tensor("x", 2, N)
    found = values(formula((2,), load(x, [A, B]), over=(N,), reducer=reducer), {x: np.zeros((2, 0))})
    np.testing.assert_array_equal(found, [0, 0])


@pytest.mark.parametrize("reducer", ["sum", "max", "min", "logsumexp", "argmax"])
def test_empty_results(reducer):
    x = tensor("x", N, 3)
    assert values(formula((N,), load(x, [A, B]), over=(3,), reducer=reducer), {x: np.zeros((0, 3))}).shape == (0,)


def test_two_reduced_axes():
    x = tensor("x", 2, 3, 4)
    array = np.random.default_rng(0).normal(size=(2, 3, 4))
    for reducer, by_hand in [("sum", np.sum), ("max", np.max), ("logsumexp", logsumexp)]:
        found = values(formula((2,), load(x, [A, B, C]), over=(3, 4), reducer=reducer), {x: array})
        np.testing.assert_allclose(found, by_hand(array, axis=(1, 2)), rtol=1e-15)


def test_sums_of_bool_are_integers():
    x = tensor("x", 5)
    found = values(formula((), call("gt", load(x, [A]), number(0)), over=(5,)), {x: [1, -1, NAN, 0, 2]})
    assert found == 2
    assert found.dtype == np.int64


# ---------------------------------------------------------------- scalar functions and dtypes

POINTS = np.array([-INF, -1000.5, -2.0, -0.5, -0.0, 0.0, 0.5, 2.0, 3.0, 1000.5, INF, NAN])


def test_float_functions_stay_float32():
    x = tensor("x", 12, dtype="float32")
    for name, function in FUNCTIONS.items():
        if function.arity == 1 and function.result in ("promote", "float"):
            found = values(pointwise(sizes(12), call(name, load(x, [A]))), {x: POINTS})
            assert found.dtype == np.float32, name
            assert np.isnan(found[-1]), name


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("softplus", lambda x: np.where(x > 30, x, np.log(1 + np.exp(x)))),
        ("logsigmoid", lambda x: np.where(x < -30, x, -np.log(1 + np.exp(-x)))),
        ("rsqrt", lambda x: 1 / np.sqrt(x)),
        ("relu", lambda x: np.where(x < 0, 0, x)),
        ("erf", lambda x: np.copysign([math.erf(abs(v)) for v in x], x)),
    ],
)
def test_functions_by_hand(name, by_hand):
    x = tensor("x", 12)
    with np.errstate(all="ignore"):
        wanted = by_hand(POINTS)
    np.testing.assert_allclose(values(pointwise(sizes(12), call(name, load(x, [A]))), {x: POINTS}), wanted, rtol=1e-14)


def test_nan_survives_at_every_argument():
    x, y = tensor("x", 2), tensor("y", 2)
    for name in ("add", "sub", "mul", "div", "floordiv", "mod", "maximum", "minimum"):
        found = values(pointwise(sizes(2), call(name, load(x, [A]), load(y, [A]))), {x: [NAN, 1], y: [1, NAN]})
        assert np.isnan(found).all(), name


def test_division_and_remainder_are_pythons():
    a, b = tensor("a", 4, dtype="int64"), tensor("b", 4, dtype="int64")
    given = {a: [7, -7, 7, -7], b: [2, 2, -2, -2]}
    for name, wanted in [("floordiv", [3, -4, -4, 3]), ("mod", [1, 1, -1, -1])]:
        opaque = [call("maximum", load(t, [A]), load(t, [A])) for t in (a, b)]  # calls, not integer polynomials
        assert values(pointwise(sizes(4), call(name, *opaque)), given).tolist() == wanted


def test_python_numbers_are_weak_and_integers_take_the_float_dtype():
    x, k = tensor("x", 1, dtype="float32"), tensor("k", 1, dtype="int64")
    body: Scalar = load(x, [A]) * 0.1 + load(k, [A]) / 3
    found = values(pointwise(sizes(1), body), {x: [3], k: [7]})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32(3) * np.float32(0.1) + np.float32(7) / np.float32(3))


def test_casts():
    x = tensor("x", 4)
    given = {x: [-1.5, 0.1, 2.9, 1e10]}
    assert values(pointwise(sizes(4), call("int64", load(x, [A]))), given).tolist() == [-1, 0, 2, 10**10]
    assert values(pointwise(sizes(4), call("float32", load(x, [A]))), given)[1] == np.float32(0.1)


def test_integers_refuse_negative_powers_where_they_are_taken():
    k = tensor("k", 3, dtype="int64")
    power = call("pow", number(2), load(k, [A]))
    guarded = call("where", load(k, [A]) >= 0, power, number(0))
    assert values(pointwise(sizes(3), guarded), {k: [3, -1, 0]}).tolist() == [8, 0, 1]
    with pytest.raises(ValueError, match="negative integer power"):
        values(pointwise(sizes(3), power), {k: [3, -1, 0]})


# ---------------------------------------------------------------- accesses


def test_strided_dilated_convolution():
    x, kernel = tensor("x", 11), tensor("k", 3)
    a, b = np.arange(11.0), np.array([1.0, -2.0, 0.5])
    body = load(kernel, [B]) * load(x, [2 * A + 3 * B])
    wanted = [sum(b[q] * a[2 * i + 3 * q] for q in range(3)) for i in range(3)]
    np.testing.assert_allclose(values(formula((3,), body, over=(3,)), {x: a, kernel: b}), wanted)


def test_diagonals_negative_steps_and_floor_divisions():
    x = tensor("x", N, N)
    a = np.arange(16.0).reshape(4, 4)
    found = values(pointwise([N], load(x, [N - 1 - A, A]) + load(x, [A, A // 2]) + load(x, [A % 2, A])), {x: a})
    np.testing.assert_array_equal(found, [a[3 - i, i] + a[i, i // 2] + a[i % 2, i] for i in range(4)])


def test_gather():
    table, at = tensor("E", 5, 2), tensor("at", 3, dtype="int64")
    e = np.random.default_rng(0).normal(size=(5, 2))
    found = values(pointwise(sizes(3, 2), load(table, [load(at, [A]), B])), {table: e, at: [4, 0, 4]})
    np.testing.assert_array_equal(found, e[[4, 0, 4]])


@pytest.mark.parametrize(("index", "named"), [(5, "subscript 5"), (-1, "subscript -1")])
def test_out_of_range_is_an_error_without_wraparound(index, named):
    table, at = tensor("E", 5), tensor("at", 2, dtype="int64")
    with pytest.raises(IndexError, match=rf"{named} is outside axis 0 of E, which has 5 elements \(at loop indices"):
        values(pointwise(sizes(2), load(table, [load(at, [A])])), {table: np.zeros(5), at: [0, index]})


def test_padding_reads_only_where_the_branch_is_taken():
    x = tensor("x", 4)
    a = np.array([1.0, 2.0, NAN, 4.0])
    at = A + B - 1
    inside = call("and", at >= 0, at < 4)
    body = call("where", inside, load(x, [at]), number(0.0))
    found = values(formula((4,), body, over=(3,)), {x: a})
    np.testing.assert_array_equal(found, np.convolve(a, np.ones(3), "same"))


def test_where_drops_the_untaken_branch_even_at_nan():
    x = tensor("x", 3)
    body = call("where", load(x, [A]) > 0, call("log", load(x, [A])), number(0.0))
    np.testing.assert_array_equal(values(pointwise(sizes(3), body), {x: [-1, 1, NAN]}), [0, 0, 0])


def test_conjunctions_guard_their_second_operand():
    x = tensor("x", 3)
    body = call("float64", call("and", A >= 1, load(x, [A - 1]) > 0))
    assert values(pointwise(sizes(4), body), {x: [1, -1, 1]}).tolist() == [0, 1, 0, 1]


def test_guarded_access_to_an_empty_tensor():
    x = tensor("x", N)
    body = call("where", A < N, load(x, [A]), number(7.0))
    assert values(pointwise(sizes(2), body), {x: []}).tolist() == [7, 7]


def test_nothing_is_accessed_by_an_empty_loop():
    x = tensor("x", 2)
    assert values(formula((3,), load(x, [A + 5]) * B, over=(0,)), {x: [1, 2]}).tolist() == [0, 0, 0]


# ---------------------------------------------------------------- accumulate


def test_scatter_adds_up_repeated_targets():
    message, to = tensor("m", 4, 2), tensor("to", 4, dtype="int64")
    m = np.arange(8.0).reshape(4, 2)
    node = formula((3, 2), load(message, [A, B]), over=(4, 2), target=[as_poly(load(to, [A])), B])
    wanted = np.zeros((3, 2))
    np.add.at(wanted, [2, 0, 2, 2], m)
    np.testing.assert_array_equal(values(node, {message: m, to: [2, 0, 2, 2]}), wanted)


def test_scatter_adds_in_source_order():
    x = tensor("x", 3, dtype="float32")
    node = formula((1,), load(x, [A]), over=(3,), target=[integer(0)], reducer="sum")
    assert values(node, {x: [1e8, 1, -1e8]}) == 0  # (1e8 + 1) - 1e8 in float32
    assert values(node, {x: [1e8, -1e8, 1]}) == 1


def test_scatter_into_a_part_of_the_result():
    x = tensor("x", 2)
    assert values(formula((4,), load(x, [A]), over=(2,), target=[A]), {x: [1, 2]}).tolist() == [1, 2, 0, 0]
    assert values(formula((4,), load(x, [A]), over=(2,), target=[2 * A + 1]), {x: [1, 2]}).tolist() == [0, 1, 0, 2]


def test_scatter_out_of_range_is_an_error_unless_nothing_is_added():
    x = tensor("x", 3)
    with pytest.raises(IndexError, match="subscript -1 is outside axis 0 of the result"):
        values(formula((3,), load(x, [A]), over=(3,), target=[A - 1]), {x: [1, 2, 3]})
    guarded = call("where", A >= 1, load(x, [A]), number(0.0))
    assert values(formula((3,), guarded, over=(3,), target=[A - 1]), {x: [1, 2, 3]}).tolist() == [2, 3, 0]


# ---------------------------------------------------------------- scans


def running(x, length, reverse=False):
    """s[t+1] = s[t] * x[t] + t and the stack of s[t] - x[t]; the other way round in reverse."""
    state = carry(0, [], "float64", 0)
    now, given = load(state, []), load(x, [step(0)])
    following = pointwise([], now * given + step(0))
    return scan(
        integer(length) if isinstance(length, int) else length,
        0, [state], [leaf("s0", [], "float64", "input")], [following], [pointwise([], now - given)], reverse,
    )  # fmt: skip


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_scan(reverse, length):
    x = tensor("x", N)
    loop = running(x, N, reverse)
    a = np.array([1.5, -0.5, 2.0, 0.25])[:length]
    states, stack = np.zeros(length + 1), np.zeros(length)
    order = list(range(length))[::-1] if reverse else list(range(length))
    states[length if reverse else 0] = 3.0
    for t in order:
        read, write = (t + 1, t) if reverse else (t, t + 1)
        stack[t] = states[read] - a[t]
        states[write] = states[read] * a[t] + t
    found = interpret([project(loop, "states", 0), project(loop, "stack", 0)], {x: a, loop.inits[0]: np.array(3.0)})
    np.testing.assert_allclose(found[0], states)
    np.testing.assert_allclose(found[1], stack)


def test_two_carries_change_at_the_same_time():
    a, b = carry(0, [], "float64", 0), carry(1, [], "float64", 0)
    one, two = leaf("a0", [], "float64", "input"), leaf("b0", [], "float64", "input")
    following = [pointwise([], load(b, [])), pointwise([], load(a, []) + load(b, []))]
    loop = scan(integer(6), 0, [a, b], [one, two], following, [])
    assert values(project(loop, "states", 0), {one: 0, two: 1}).tolist() == [0, 1, 1, 2, 3, 5, 8]


def test_nested_scans_see_the_outer_step_and_carry():
    x = tensor("x", 3, 2)
    inner_state, outer_state = carry(0, [], "float64", 1), carry(0, [], "float64", 0)
    zero = pointwise([], call("float64", number(0)))
    added = pointwise([], load(inner_state, []) + load(x, [step(0), step(1)]) * load(outer_state, []))
    inner = scan(integer(2), 1, [inner_state], [zero], [added], [])
    total = project(inner, "states", 0)
    start = leaf("start", [], "float64", "input")
    outer = scan(integer(3), 0, [outer_state], [start], [pointwise([], load(total, [2]) + 1.0)], [total])
    a = np.arange(6.0).reshape(3, 2)
    state, wanted = 2.0, []
    for t in range(3):
        inside = [0.0]
        for u in range(2):
            inside.append(inside[-1] + a[t, u] * state)
        wanted.append(inside)
        state = inside[-1] + 1
    np.testing.assert_allclose(values(project(outer, "stack", 0), {x: a, start: 2}), wanted)


# ---------------------------------------------------------------- nodes, sizes and errors


def test_reshape_and_chains_are_evaluated_once_and_without_recursion():
    x = tensor("x", N, 3)
    node = reshape(x, [3 * N])
    for _ in range(3000):
        node = pointwise([3 * N], load(node, [A]) + 1.0)
    np.testing.assert_array_equal(values(node, {x: np.arange(6).reshape(2, 3)}), np.arange(6) + 3000.0)


def test_deep_bodies_do_not_recurse():
    x = tensor("x", 2)
    body: Scalar = load(x, [A])
    for _ in range(3000):
        body = body + load(x, [A])
    np.testing.assert_allclose(values(pointwise(sizes(2), body), {x: [1, 2]}), [3001, 6002])


def test_sizes_are_bound_by_axes_and_by_name():
    M = size_symbol("M")
    x = tensor("x", N)
    assert values(pointwise([M], load(x, [A % N]) * M), {x: [1, 2]}, M=3).tolist() == [3, 6, 3]
    with pytest.raises(BindingError, match="size M is unknown"):
        values(pointwise([M], load(x, [A % N])), {x: [1, 2]})


def test_bad_input_is_refused():
    x, y = tensor("x", N), tensor("y", N)
    node = pointwise([N], load(x, [A]) + load(y, [A]))
    with pytest.raises(ShapeError, match="size N is 2, axis 0 of y has 3 elements"):
        values(node, {x: [1, 2], y: [1, 2, 3]})
    with pytest.raises(ShapeError, match="x has shape"):
        values(node, {x: [[1, 2], [3, 4]], y: [1, 2]})
    with pytest.raises(BindingError, match="no value for y"):
        values(node, {x: [1, 2]})
    with pytest.raises(DTypeError, match="x is float64, an array of dtype float32 was given"):
        interpret([node], {x: np.zeros(2, np.float32), y: np.zeros(2)})
    assert values(pointwise([N - 3], load(x, [A])), {x: [1, 2]}).shape == (0,)  # as a slice that ends before it begins
    with pytest.raises(GraphError, match="no value outside its body"):
        values(carry(0, [], "float64", 0), {})
