"""Scalar bodies: numbers from NumPy, dtypes, canonical conditions and numbering of indices, text for people."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import DTypeError
from gradgen.graph.fingerprint import fingerprint
from gradgen.graph.nodes import carry, pointwise, scan
from gradgen.graph.origin import origin
from gradgen.graph.polynomials import at_least_zero
from gradgen.graph.records import walk
from gradgen.graph.scalar import Call, Poly, call, integer, is_zero, load, number, require_poly

N, M = gg.size("N"), gg.size("M")
n, i, j = gg.indices("n i j")
x = gg.param("x", (N, 5))
q = gg.input("q", (N,), dtype="int64")


@pytest.mark.parametrize("two", [np.float64(2), np.float32(2), np.array(2.0)])
def test_numpy_numbers_on_either_side_of_an_access(two: Any) -> None:
    assert x[n, i] * two is x[n, i] * 2.0
    assert two * x[n, i] is 2.0 * x[n, i]


def test_numpy_integers_and_bools_are_numbers() -> None:
    assert number(np.int32(3)) is number(3)
    assert number(np.bool_(True)) is number(True)
    assert n * np.int64(2) + np.int64(1) is 2 * n + 1


def test_conditions_on_integer_data_have_one_form_whichever_side_comes_first() -> None:
    assert (q[j] == n) is (n == q[j])
    assert (q[j] < n) is (n > q[j])
    assert (q[j] + n) is (n + q[j])


def test_python_integers_are_weak_and_sums_are_those_of_numpy(evaluate: Callable[..., Any]) -> None:
    small = gg.input("small", (3,), dtype="int32")
    assert (small + 1).dtype == "int32"
    assert (1 - small).dtype == "int32"
    assert (small + gg.input("large", (3,), dtype="int64")).dtype == "int64"
    assert (small * 2.5).dtype == "float32"
    assert gg.sum(small).dtype == "int64"
    assert gg.sum(small[i], over=i).dtype == "int64"
    assert evaluate(gg.sum(small), small=np.array([2**30] * 3, np.int32)) == 3 * 2**30


@pytest.mark.parametrize("build", [lambda: x & (x > 0), lambda: (x > 0) | x, lambda: ~x, lambda: (x[n, i] > 0) & 1.0])
def test_logic_takes_conditions_or_integers(build: Callable[[], Any]) -> None:
    with pytest.raises(DTypeError, match=r"takes two integers or two conditions, not \w+: compare first, as in x > 0"):
        build()


def test_logic_works_from_the_right() -> None:
    assert isinstance(True & (x[n, i] > 0), Call)
    assert (False | (x[n, i] > 0)).dtype == "bool"


def test_a_reducer_is_a_subscript(evaluate: Callable[..., Any]) -> None:
    y = gg.compute((n,), x[n, gg.argmax(x[n, i], over=i)] + 1.0)
    values = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_array_equal(evaluate(y, x=values, sizes={"N": 4}), values.max(axis=1) + 1)


def test_the_order_of_over_does_not_matter() -> None:
    a, w = gg.param("a", (20,)), gg.param("w", (3,))
    p, r = gg.index("p", 3), gg.index("r", 3)
    assert gg.compute((), gg.sum(a[4 * p + r], over=(p, r))) is gg.compute((), gg.sum(a[4 * p + r], over=(r, p)))
    assert gg.compute((), gg.sum(a[p + r] * w[p], over=(p, r))) is gg.compute((), gg.sum(a[p + r] * w[p], over=(r, p)))
    assert gg.compute((), gg.sum(a[p + r], over=(p, r))) is gg.compute((), gg.sum(a[p + r], over=(r, p)))
    assert gg.compute((), gg.sum(a[p + r] * w[p], over=(p, r))) is not gg.compute((), gg.sum(a[p + r], over=(p, r)))


def test_a_quotient_of_integers_has_the_dtype_of_the_model_beside_float64_too(evaluate: Callable[..., Any]) -> None:
    x, i = gg.input("x", (3,), dtype="float64"), gg.index("i")
    wide = np.arange(1, 4) / 10
    rounded = wide.astype("float32").astype("float64")
    for quotient, wanted in (
        (x[i] * ((i + 1) / 10), rounded),
        (x[i] * (i + 1) / 10, wide),
        (x[i] * (gg.float64(i + 1) / 10), wide),
    ):
        np.testing.assert_array_equal(evaluate(gg.compute(i, quotient), x=np.ones(3)), wanted)


def test_a_carry_keeps_its_dtype() -> None:
    c = carry(0, (), "float32", 0)
    zero = pointwise((), number(0.0))
    count = pointwise((), load(q.node, (integer(0),)))
    with pytest.raises(DTypeError, match="carry 0 of the scan is float32 before and int64 after a step"):
        scan(integer(3), 0, [c], [zero], [count], [])


def test_what_people_read() -> None:
    assert repr(x.shape) == "(N, 5)"
    assert repr(require_poly((N - 1) // 2 + 1)) == "((N + 1)//2)"
    assert repr(require_poly(N // (M + 1))) == "(N//(M + 1))"
    assert repr(x[n, 2 * i] * 2.0) == "(x[n, 2*i] * 2.0)"
    assert repr(gg.sum(x[n, i], over=i)) == "sum(x[n, i], over=i)"
    assert repr(x.node) == "<Leaf x: float32 (N, 5)>"
    assert repr(gg.exp(x).node) == "<Compute: float32 (N, 5)>"


def test_a_walk_meets_every_part_once_and_parts_before_wholes() -> None:
    body = x[n, i] * x[n, i] + x[n, i + 1]
    parts = list(walk(body))
    assert len(parts) == len(set(parts))
    assert parts[-1] is body
    assert isinstance(parts[0], Poly)
    assert at_least_zero(require_poly(n - 1)) is (n >= 1)


def test_nodes_without_leaves_are_shared_and_say_nothing_of_where_they_came_from() -> None:
    first = gg.zeros((N, 3))
    second = gg.zeros((N, 3))
    assert first is second
    assert origin(first.node) is None
    y = gg.exp(x)
    assert origin(y.node) is not None


def test_a_fingerprint_is_that_of_names_and_lines_too() -> None:
    def declared(twice: bool) -> str:
        a = gg.param("a", (N,))
        y = gg.tanh(a) * 2.0 if twice else gg.tanh(a)
        return fingerprint([y.node])

    same = [declared(False) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != declared(True)

    a = gg.param("a", (N,))
    z = gg.tanh(a)
    assert fingerprint([z.node]) != same[0]


def test_a_choice_between_zeros_is_zero_in_the_wider_dtype() -> None:
    condition = call("gt", load(x.node, (integer(0), integer(0))), number(0.0))
    zero = call("where", condition, call("float64", number(0)), number(0))
    assert is_zero(zero)
    assert zero.dtype == "float64"
