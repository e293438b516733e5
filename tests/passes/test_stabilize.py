"""`stabilize`: what people write naively becomes what they mean; everything else stays."""

import numpy as np
import pytest

from gradgen.graph.nodes import Node, reshape
from gradgen.graph.scalar import Scalar, integer
from gradgen.lang.interpret import interpret
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.prepare.stabilize import RULES, stabilize
from tests.passes.building import (
    M,
    N,
    assert_same_values,
    at,
    f,
    formula,
    formulas,
    i,
    j,
    random_values,
    tensor,
    total,
    where,
)

INF = float("inf")


def stable(node: Node, *rules: str) -> Node:
    (after,), records = stabilize([node])
    assert sorted({r.rule for r in records}) == sorted(rules)
    assert stabilize([after]) == ([after], [])
    assert stabilize([node])[0] == [after]
    assert_same_values([node], [after], rtol=1e-9)
    return after


def exp(x: Scalar) -> Scalar:
    return f("exp", x)


def log(x: Scalar) -> Scalar:
    return f("log", x)


def softmax(x: Node) -> Node:
    lse = total((N,), (M,), at(x, i, j), "logsumexp")
    return formula((N, M), exp(at(x, i, j) - at(lse, i)))


def naive(x: Node) -> tuple[Node, Node, Node]:
    e = formula((N, M), exp(at(x, i, j)))
    z = total((N,), (M,), at(e, i, j))
    return e, z, formula((N, M), at(e, i, j) / at(z, i))


def shifted(x: Node) -> Node:
    m = total((N,), (M,), at(x, i, j), "max")
    return formula((N, M), at(x, i, j) - at(m, i))


# ---------------------------------------------------------------- softmax


def test_naive_softmax() -> None:
    x = tensor("x", N, M)
    assert stable(naive(x)[2], "softmax") is softmax(x)


def test_softmax_in_one_formula_and_by_a_reciprocal() -> None:
    x = tensor("x", N, M)
    z = total((N,), (M,), exp(at(x, i, j)))
    assert stable(formula((N, M), exp(at(x, i, j)) / at(z, i)), "softmax") is softmax(x)
    assert stable(formula((N, M), exp(at(x, i, j)) * (1 / at(z, i))), "softmax") is softmax(x)
    r = formula((N,), f("reciprocal", at(z, i)))
    assert stable(formula((N, M), at(r, i) * exp(at(x, i, j))), "softmax") is softmax(x)


def test_shifted_softmax() -> None:
    x = tensor("x", N, M)
    assert stable(naive(shifted(x))[2], "softmax", "max_shift") is softmax(x)


def test_a_shift_under_stop_gradient_and_with_kept_axes() -> None:
    x = tensor("x", N, M)
    m = total((N,), (M,), at(x, i, j), "max")
    kept = reshape(formula((N,), f("stop_gradient", at(m, i))), (N, integer(1)))
    s = formula((N, M), at(x, i, j) - at(kept, i, 0))
    e = formula((N, M), exp(at(s, i, j)))
    z = reshape(total((N,), (M,), at(e, i, j)), (N, integer(1)))
    assert stable(formula((N, M), at(e, i, j) / at(z, i, 0)), "softmax", "max_shift") is softmax(x)


def test_softmax_with_a_temperature() -> None:
    x = tensor("x", N, M)
    scaled = formula((N, M), at(x, i, j) * 0.5)
    s = formula((N, M), at(shifted(x), i, j) * 0.5)
    after = stable(naive(s)[2], "softmax", "max_shift")
    lse = total((N,), (M,), at(x, i, j) * 0.5, "logsumexp")
    assert after is formula((N, M), exp(at(x, i, j) * 0.5 - at(lse, i)))
    assert scaled is not after


def test_masked_softmax() -> None:
    x, c = tensor("x", N, M), tensor("c", N, M)
    e = formula((N, M), where(at(c, i, j) > 0, exp(at(shifted(x), i, j))))
    z = total((N,), (M,), at(e, i, j))
    masked = where(at(c, i, j) > 0, at(x, i, j), -INF)
    lse = total((N,), (M,), masked, "logsumexp")
    after = stable(formula((N, M), at(e, i, j) / at(z, i)), "softmax", "max_shift", "mask")
    assert after is formula((N, M), exp(masked - at(lse, i)))
    (p,) = interpret([after], {x: np.ones((2, 3)), c: np.array([[1.0, 0, 1], [0, 0, 0]])})
    np.testing.assert_allclose(p, [[0.5, 0, 0.5], [np.nan] * 3])


def test_attention_weights_with_values() -> None:
    x, v = tensor("x", N, M), tensor("v", M)
    e, z, _ = naive(x)
    lse = total((N,), (M,), at(x, i, j), "logsumexp")
    after = stable(total((N,), (M,), at(e, i, j) * at(v, j) / at(z, i)), "softmax")
    assert after is total((N,), (M,), exp(at(x, i, j) - at(lse, i)) * at(v, j))


# ---------------------------------------------------------------- logarithms


def test_log_softmax() -> None:
    x = tensor("x", N, M)
    lse = total((N,), (M,), at(x, i, j), "logsumexp")
    p = naive(shifted(x))[2]
    after = stable(formula((N, M), log(at(p, i, j))), "softmax", "max_shift", "log_exp")
    assert after is formula((N, M), at(x, i, j) - at(lse, i))


def test_cross_entropy_through_a_gather() -> None:
    x, b = tensor("x", N, M), tensor("b", N, dtype="int64")
    lse = total((N,), (M,), at(x, i, j), "logsumexp")
    e, z, p = naive(x)
    label = at(b, i)
    expected = total((), (N,), -(at(x, i, label) - at(lse, i)))
    assert stable(total((), (N,), -log(at(p, i, label))), "softmax", "log_exp") is expected
    assert stable(total((), (N,), -log(at(e, i, label) / at(z, i))), "softmax", "log_exp") is expected


def test_log_sum_exp() -> None:
    x = tensor("x", N, M)
    lse = total((N,), (M,), at(x, i, j), "logsumexp")
    assert stable(formula((N,), log(at(naive(x)[1], i))), "logsumexp") is lse
    m = total((N,), (M,), at(x, i, j), "max")
    s = naive(shifted(x))[1]
    assert stable(formula((N,), at(m, i) + log(at(s, i))), "logsumexp", "max_shift") is lse
    apart = formula((N,), log(at(s, i)))
    assert stable(formula((N,), at(apart, i) + at(m, i)), "logsumexp", "max_shift") is lse


def test_log_of_products_and_quotients() -> None:
    x, y, z = tensor("x", N), tensor("y", N), tensor("z", N)
    e = formula((N,), exp(at(x, i)))
    a = f("abs", at(y, i))
    b = f("abs", at(z, i))
    assert stable(formula((N,), log(at(e, i))), "log_exp") is x
    assert stable(formula((N,), log(at(e, i) * a / b)), "log_exp") is formula((N,), at(x, i) + log(a / b))
    assert stable(formula((N,), log(a / at(e, i))), "log_exp") is formula((N,), log(a) - at(x, i))
    assert stable(formula((N,), log(f("sqrt", at(e, i)))), "log_exp") is formula((N,), 0.5 * at(x, i))


def test_mean_of_exps() -> None:
    x = tensor("x", N, M)
    lse = total((N,), (M,), at(x, i, j), "logsumexp")
    after = stable(formula((N,), log(at(naive(x)[1], i) / M)), "logsumexp")
    assert after is formula((N,), at(lse, i) - log(f("float64", M)))


def test_weights_that_are_never_negative() -> None:
    x, w = tensor("x", N, M), tensor("w", M)
    square = at(w, j) * at(w, j)
    node = formula((N,), log(at(total((N,), (M,), square * exp(at(x, i, j))), i)))
    lse = total((N,), (M,), at(x, i, j) + log(square), "logsumexp")
    assert stable(node, "logsumexp") is lse
    signed = formula((N,), log(f("abs", at(total((N,), (M,), at(w, j) * exp(at(x, i, j))), i))))
    assert stable(signed) is signed
    plain = formula((N,), log(at(total((N,), (M,), at(w, j) * exp(at(x, i, j))), i)))
    assert stabilize([plain]) == ([plain], [])


def test_softplus_and_sigmoid() -> None:
    x = tensor("x", N)
    e = formula((N,), exp(at(x, i)))
    small = formula((N,), exp(-at(x, i)))
    softplus, sigmoid = formula((N,), f("softplus", at(x, i))), formula((N,), f("sigmoid", at(x, i)))
    assert stable(formula((N,), log(1 + at(e, i))), "softplus") is softplus
    assert stable(formula((N,), log(exp(at(x, i)) + 1.0)), "softplus") is softplus
    assert stable(formula((N,), f("log1p", at(e, i))), "softplus") is softplus
    assert stable(formula((N,), 1 / (1 + at(small, i))), "sigmoid") is sigmoid
    assert stable(formula((N,), f("reciprocal", 1 + exp(-at(x, i)))), "sigmoid") is sigmoid
    assert stable(formula((N,), at(e, i) / (1 + at(e, i))), "sigmoid") is sigmoid


def test_log_of_sigmoid() -> None:
    x, y = tensor("x", N), tensor("y", N)
    p = formula((N,), f("sigmoid", at(x, i)))
    q = formula((N,), 1 / (1 + exp(-at(x, i))))
    for node in (p, q):
        rules = ["logsigmoid"] if node is p else ["logsigmoid", "sigmoid"]
        assert stable(formula((N,), log(at(node, i))), *rules) is formula((N,), f("logsigmoid", at(x, i)))
        after = stable(formula((N,), at(y, i) * log(1 - at(node, i))), "logsigmoid", "sigmoid")
        assert after is formula((N,), at(y, i) * f("logsigmoid", -at(x, i)))
    assert stable(formula((N,), f("log1p", -at(p, i))), "logsigmoid") is formula((N,), f("logsigmoid", -at(x, i)))


# ---------------------------------------------------------------- what stays


def test_nothing_fires_without_a_gain() -> None:
    x, y = tensor("x", N), tensor("y", N)
    a, b = at(x, i), at(y, i)
    m = total((N,), (N,), at(x, j), "max")
    z = total((), (N,), f("abs", at(x, i)))
    for body in (
        log(f("abs", a * b)),
        exp(log(f("abs", a))),
        a - a,
        exp(a) / exp(b),
        log(1 + f("abs", a)),
        a - at(m, i) + at(m, i),
        a / at(z),
        1 / (2 + exp(a)),
    ):
        node = formula((N,), body)
        assert stabilize([node]) == ([node], [])


def test_rules_can_be_switched_off() -> None:
    x = tensor("x", N, M)
    nodes = [
        naive(shifted(x))[2],
        formula((N,), log(at(naive(x)[1], i))),
        formula((N,), log(1 + exp(at(x, i, 0)))),
        formula((N,), 1 / (1 + exp(at(x, i, 0)))),
        formula((N,), log(f("sigmoid", at(x, i, 0)))),
        formula((N,), log(exp(at(x, i, 0)))),
    ]
    assert stabilize(nodes, frozenset(RULES)) == (nodes, [])
    for rule in RULES:
        after, records = stabilize(nodes, frozenset([rule]))
        assert rule not in {r.rule for r in records}
        assert_same_values(nodes, after, rtol=1e-9)


def test_kept_nodes_are_not_looked_through() -> None:
    x = tensor("x", N, M)
    e, _, p = naive(x)
    node = formula((N, M), log(at(p, i, j)))
    assert stabilize([node], keep=frozenset([p])) == ([node], [])
    (after,), _ = stabilize([node], keep=frozenset([e]))
    assert e in formulas(after)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("special", [0.0, -INF, np.nan, 800.0, -800.0])
def test_values_at_special_places(special: float) -> None:
    x = tensor("x", N, M)
    p = naive(x)[2]
    nodes = [
        p,
        formula((N, M), log(at(p, i, j))),
        formula((N, M), log(1 + exp(at(x, i, j)))),
        formula((N, M), 1 / (1 + exp(-at(x, i, j)))),
    ]
    after, _ = stabilize(nodes)
    given = random_values(nodes)[x]
    given[1, 2] = special
    with np.errstate(all="ignore"):
        shift = given - given.max(axis=1, keepdims=True)
        reference = np.exp(shift) / np.exp(shift).sum(axis=1, keepdims=True)
        logs = shift - np.log(np.exp(shift).sum(axis=1, keepdims=True))
        expected = [reference, logs, np.logaddexp(given, 0), 1 / (1 + np.exp(-given))]
    for result, wanted in zip(interpret(after, {x: given}), expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-300)


def test_gradients_are_equal_and_do_not_overflow() -> None:
    x, b = tensor("x", N, M), tensor("b", N, dtype="int64")
    node = total((), (N,), -log(at(naive(shifted(x))[2], i, at(b, i))))
    (after,), _ = stabilize([node])
    one = formula((), f("float64", 1))
    (d_before,), (d_after,) = vjp_nodes([node], [one], [x]), vjp_nodes([after], [one], [x])
    assert_same_values([d_before], [d_after], rtol=1e-8)
    given = {x: random_values([node])[x] * 1000, b: np.array([0, 1, 2, 0, 1])}
    (d_x,) = interpret([d_after], given)
    assert np.all(np.isfinite(d_x))
    np.testing.assert_allclose(d_x.sum(axis=1), 0, atol=1e-12)
