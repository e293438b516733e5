"""`gg.custom` against `jax.custom_vjp` in float64, with adjoints that differ from the derived ones on purpose."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradgen as gg
from gradgen.lang.interpret import interpret

jax.config.update("jax_enable_x64", True)


@jax.custom_vjp
def peer(a: Any, b: Any) -> Any:
    return jnp.exp(a) * b


peer.defvjp(
    lambda a, b: (peer(a, b), (a, b)),
    lambda r, d: (2 * d * jnp.sin(r[0]) * r[1], 3 * d * jnp.exp(r[0])),
)


def ours(a: gg.Tensor, b: gg.Tensor) -> gg.Tensor:
    return gg.custom(lambda a, b: gg.exp(a) * b, lambda d, a, b: (2 * d * gg.sin(a) * b, 3 * d * gg.exp(a)), a, b)


def looped(a: Any, b: Any) -> Any:
    for _ in range(3):
        a = peer(0.1 * a, b)
    return jnp.sum(a * a)


def declared() -> list[gg.Tensor]:
    return [gg.input(name, (4,), dtype="float64") for name in "abvu"]


POINT = np.random.default_rng(0).normal(size=(4, 4))


def value(t: gg.Tensor, leaves: list[gg.Tensor]) -> Any:
    return interpret([t.node], {x.node: array for x, array in zip(leaves, POINT, strict=True)})[0]


def test_first_and_second_derivatives() -> None:
    leaves = declared()
    a, b, v, u = leaves
    gradients = gg.grad(gg.sum(ours(a, b) ** 2), [a, b])
    second = gg.grad(gg.sum(gradients[0] * v + gradients[1] * u), [a, b])
    first = jax.grad(lambda a, b: jnp.sum(peer(a, b) ** 2), (0, 1))
    along = jax.grad(lambda a, b: jnp.sum(first(a, b)[0] * POINT[2] + first(a, b)[1] * POINT[3]), (0, 1))
    for mine, expected in zip([*gradients, *second], [*first(*POINT[:2]), *along(*POINT[:2])], strict=True):
        np.testing.assert_allclose(value(mine, leaves), expected, rtol=1e-12)


def test_forward_mode_is_the_transpose_of_the_adjoint() -> None:
    leaves = declared()
    a, b, v, u = leaves
    A, B, V, U = POINT
    found = value(gg.jvp(ours(a, b), [a, b], [v, u]), leaves)
    np.testing.assert_allclose(found, 2 * np.sin(A) * B * V + 3 * np.exp(A) * U, rtol=1e-12)


def test_inside_a_scan_and_compiled() -> None:
    a, b = gg.param("a", (4,)), gg.param("b", (4,))
    last, _ = gg.scan(lambda c, _: (ours(0.1 * c, b),) * 2, a, length=3)
    net = gg.compile({"loss": gg.sum(last * last)}, name="custom_scan", dtype="float64")
    _, found = net.value_and_grad(a=POINT[0], b=POINT[1])
    for name, expected in zip("ab", jax.grad(looped, (0, 1))(*POINT[:2]), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)


def test_straight_through_with_an_integer_operand_and_no_gradient() -> None:
    x, k = gg.input("x", (3,), dtype="float64"), gg.input("k", (), dtype="int64")
    y = gg.custom(lambda x, k: gg.round(x) * k, lambda d, x, k: (d, None), x, k)
    (found,) = interpret([gg.grad(gg.sum(y), x).node], {x.node: np.array([0.2, 1.7, -3.0]), k.node: np.array(5)})
    np.testing.assert_array_equal(found, np.ones(3))


def twice(x: gg.Tensor) -> gg.Tensor:
    """2 x with the adjoint 3 d, itself a custom function whose adjoint is 5 e."""
    return gg.custom(lambda x: 2 * x, lambda d, x: gg.custom(lambda d: 3 * d, lambda e, d: 5 * e, d), x)


def test_a_custom_function_inside_an_adjoint() -> None:
    x, v = gg.input("x", (4,), dtype="float64"), gg.input("v", (4,), dtype="float64")
    at = {x.node: POINT[0], v.node: POINT[1]}
    gradient = gg.grad(gg.sum(twice(x) * v), x)
    np.testing.assert_allclose(interpret([gradient.node], at)[0], 3 * POINT[1], rtol=1e-14)
    by_v = gg.grad(gg.sum(gradient), v)  # through the inner function: 5, and not the 3 of its formula
    np.testing.assert_array_equal(interpret([by_v.node], at)[0], np.full(4, 5.0))
    tangent = gg.jvp(twice(x), x, v)  # the transpose of what is applied to the cotangent
    np.testing.assert_allclose(interpret([tangent.node], at)[0], 5 * POINT[1], rtol=1e-14)


def test_equal_values_with_different_adjoints_do_not_mix() -> None:
    """The cotangents of both are written alike: one is used inside the adjoint of the other."""
    x = gg.input("x", (4,), dtype="float64")
    first = gg.custom(gg.sin, lambda d, x: 7 * d, x)
    second = gg.custom(gg.sin, lambda d, x: d * first, x)
    gradient = gg.grad(gg.sum(second), x)
    np.testing.assert_allclose(interpret([gradient.node], {x.node: POINT[0]})[0], np.sin(POINT[0]), rtol=1e-14)
    again = gg.grad(gg.sum(gradient), x)
    np.testing.assert_array_equal(interpret([again.node], {x.node: POINT[0]})[0], np.full(4, 7.0))


@pytest.mark.parametrize("length", [0, 1, 3])
def test_inside_an_adjoint_inside_a_scan(length: int) -> None:
    """The adjoint of a step reads a custom function of data of that step: it is lifted to all steps."""
    x, w = gg.input("x", (3, 4)), gg.param("w", (4,))

    def step(c: gg.Tensor, x: gg.Tensor) -> tuple[gg.Tensor, None]:
        scaled = gg.custom(
            lambda w, x: w * x, lambda d, w, x: (d * gg.custom(gg.exp, lambda e, x: 11 * e, x), None), w, x
        )
        return c + scaled, None

    last, _ = gg.scan(step, gg.zeros((4,)), x[:length])
    net = gg.compile({"loss": gg.sum(last), "d_w": gg.grad(gg.sum(last), w)}, name="lifted", dtype="float64")
    X = POINT[:3]
    np.testing.assert_allclose(net(x=X, w=POINT[3])["d_w"], np.exp(X[:length]).sum(0), rtol=1e-13)


def test_jacobian_and_hessian() -> None:
    x = gg.input("x", (4,), dtype="float64")
    for mode in ("forward", "reverse"):
        jacobian = gg.jacobian(twice(x) * x, x, mode=mode)
        factor = 5 if mode == "forward" else 3  # `twice` disagrees with itself, on purpose
        expected = np.diag(factor * POINT[0] + 2 * POINT[0])
        np.testing.assert_allclose(interpret([jacobian.node], {x.node: POINT[0]})[0], expected, rtol=1e-14)
    a, b = declared()[:2]
    hessian = gg.hessian(gg.sum(ours(a, b) ** 2), a)
    expected = jax.jacobian(jax.grad(lambda a, b: jnp.sum(peer(a, b) ** 2)))(POINT[0], POINT[1])
    found = interpret([hessian.node], {a.node: POINT[0], b.node: POINT[1]})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def clipped(x: gg.Tensor) -> gg.Tensor:
    """The usual clipping of a gradient on its way: not linear in the cotangent."""
    return gg.custom(lambda x: 1.0 * x, lambda d, x: gg.clip(d, -0.5, 0.5), x)


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_with_updates_and_symbolic_sizes(rows: int, dtype: str) -> None:
    N = gg.size("N")
    x, w = gg.input("x", (N, 4)), gg.param("w", (4,))
    y = gg.where(x > 0, clipped(x * w), 2.0)
    loss = gg.sum(y * y)
    net = gg.compile({"loss": loss}, name=f"clipped_{dtype}", dtype=dtype, updates=gg.optim.sgd(loss, lr=0.1))
    rng = np.random.default_rng(1)
    X, W = (rng.normal(size=shape).astype(dtype) for shape in ((rows, 4), (4,)))
    y_expected = np.where(X > 0, X * W, 2.0)
    gradient = (np.where(X > 0, np.clip(2 * y_expected, -0.5, 0.5), 0) * X).sum(0)
    values, found = net.value_and_grad(x=X, w=W)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(values["loss"], (y_expected**2).sum(), rtol=tolerance)
    np.testing.assert_allclose(found["w"], gradient, rtol=tolerance, atol=tolerance)
    state = {"w": W.copy()}
    net.step(state, x=X)
    np.testing.assert_allclose(state["w"], W - 0.1 * gradient, rtol=tolerance, atol=tolerance)


def test_nan_and_infinities_are_the_adjoints_own() -> None:
    x = gg.param("x", (4,))
    y = gg.custom(gg.log, lambda d, x: gg.where(x > 0, d / x, 0.0), x)
    net = gg.compile({"loss": gg.sum(y)}, name="safe_log", dtype="float64")
    values, found = net.value_and_grad(x=np.array([2.0, 0.0, -1.0, np.nan]))
    assert np.isnan(values["loss"])
    np.testing.assert_array_equal(found["x"], [0.5, 0.0, 0.0, 0.0])


def test_a_naive_adjoint_is_rewritten_like_any_formula() -> None:
    x = gg.param("x", (3,))

    def adjoint(d: gg.Tensor, x: gg.Tensor) -> gg.Tensor:
        return d * gg.exp(x) / gg.sum(gg.exp(x))

    y = gg.custom(lambda x: gg.log(gg.sum(gg.exp(x))), adjoint, x)
    net = gg.compile({"loss": y}, name="naive_adjoint")
    values, found = net.value_and_grad(x=np.float32([1000, 0, 1000]))
    np.testing.assert_allclose(values["loss"], 1000 + np.log(2), rtol=1e-6)
    np.testing.assert_allclose(found["x"], [0.5, 0, 0.5], rtol=1e-6)


# ---------------------------------------------------------------- subscripts that only the adjoint has


def test_what_only_the_adjoint_reads_is_checked_before_a_call() -> None:
    z, idx = gg.input("z", (5,)), gg.input("idx", (3,), dtype="int64")
    w = gg.param("w", (3,))
    for name, places in (("label", idx), ("computed", idx * 2)):
        y = gg.custom(lambda w: 1.0 * w, lambda d, w, at=places: d * z[at], w)
        net = gg.compile({"loss": gg.sum(y)}, name=f"adjoint_{name}", dtype="float64")
        Z, W = np.arange(5.0), np.ones(3)
        _, found = net.value_and_grad(z=Z, idx=np.array([0, 1, 2]), w=W)
        np.testing.assert_array_equal(found["w"], Z[[0, 1, 2]] if name == "label" else Z[[0, 2, 4]])
        with pytest.raises(gg.GradgenError, match=r"selects from axis 0|leaves axis 0"):
            net.value_and_grad(z=Z, idx=np.array([0, 1, 5]), w=W)


def test_sizes_that_only_the_adjoint_needs_are_checked_before_a_call() -> None:
    M = gg.size("M")
    z, w = gg.input("z", (M,)), gg.param("w", ())
    y = gg.custom(lambda w: 1.0 * w, lambda d, w: d * z[2], w)
    net = gg.compile({"loss": y}, name="adjoint_sizes", dtype="float64")
    _, found = net.value_and_grad(z=np.arange(4.0), w=np.float64(1))
    assert found["w"] == 2
    with pytest.raises(gg.GradgenError, match="a subscript leaves axis 0 of z"):
        net.value_and_grad(z=np.arange(2.0), w=np.float64(1))


def test_in_a_scan_what_only_the_adjoint_reads_is_checked() -> None:
    z, idx, w = gg.input("z", (5,)), gg.input("idx", (3,), dtype="int64"), gg.param("w", ())

    def step(c: gg.Tensor, at: gg.Tensor) -> tuple[gg.Tensor, None]:
        return c + gg.custom(lambda w: 2 * w, lambda d, w: d * z[at + 1], w), None

    last, _ = gg.scan(step, 0.0, idx)
    net = gg.compile({"loss": last}, name="adjoint_scan", dtype="float64")
    values, found = net.value_and_grad(z=np.arange(5.0), idx=np.array([0, 1, 3]), w=np.float64(1))
    assert (values["loss"], found["w"]) == (6, 1 + 2 + 4)
    with pytest.raises(gg.GradgenError, match=r"selects from axis 0|leaves axis 0"):
        net.value_and_grad(z=np.arange(5.0), idx=np.array([0, 1, 4]), w=np.float64(1))


# ---------------------------------------------------------------- refused


def test_an_adjoint_that_is_not_linear_has_no_tangent() -> None:
    x, v = gg.input("x", (3,), dtype="float64"), gg.input("v", (3,), dtype="float64")
    y = gg.custom(lambda x: x * 1.0, lambda d, x: gg.tanh(d), x)
    gg.grad(gg.sum(y), x)
    with pytest.raises(gg.GradgenError, match="not seen to be linear in the cotangent"):
        gg.jvp(y, x, v)


def refused(value: Any, adjoint: Any, *operands: Any) -> str:
    with pytest.raises(gg.GradgenError) as caught:
        gg.custom(value, adjoint, *operands)
    return str(caught.value).partition(": ")[2]


def test_messages() -> None:
    x, s = gg.input("x", (3,)), gg.input("s", (3,))
    k, m = gg.input("k", (3,), dtype="int64"), gg.index("m")

    def through(d: gg.Tensor, *operands: gg.Tensor) -> gg.Tensor:
        return d

    assert refused(gg.sin, through, 2.0) == "2.0 is no tensor: the operands of gg.custom are tensors."
    assert refused(lambda x: (x, x), through, x).endswith("is no tensor: the value of gg.custom is one tensor.")
    assert refused(lambda k: k + 1, through, k) == "the value of gg.custom is int64, and only floats have gradients."
    assert refused(lambda x: x * s, through, x) == (
        "the value of gg.custom reads s, which is not among its operands: give it as one (None is no gradient), "
        "or read gg.stop_gradient(s)."
    )
    assert refused(lambda x: x * 2.0, lambda d, x: (d, d), x) == (
        "the adjoint of gg.custom returns 2 values for 1 operands: return one for each, "
        "None where there is no gradient."
    )
    assert refused(lambda x: x * 2.0, lambda d, x: 1.0, x) == (
        "1.0 is no tensor: the adjoint of gg.custom returns tensors or None."
    )
    assert refused(lambda x: x * 2.0, lambda d, x: d[:2], x).endswith("is the adjoint of x (3): make the shapes equal.")
    assert refused(lambda x: x * 2.0, lambda d, x: gg.cast(d, "float64"), x) == (
        "a tensor (float64) is the adjoint of x (float32): gg.cast changes one."
    )
    assert refused(lambda x, k: x * k, lambda d, x, k: (d, d), x, k) == (
        "k (3) is int64, which has no gradient: return None for it."
    )
    assert refused(lambda x: x * 2.0, lambda d, x: gg.compute(m, d[m] * x[gg.cast(d, "int64")[m]]), x).endswith(
        "select by the operands instead."
    )


def test_what_the_value_may_read_besides_its_operands() -> None:
    """Integers, what conditions compare with, and what stands under stop_gradient: no gradient would reach them."""
    x, s, k = gg.param("x", (3,)), gg.input("s", (3,)), gg.input("k", (3,), dtype="int64")
    y = gg.custom(lambda x: gg.where(x > s, x * k, gg.stop_gradient(s)), lambda d, x: d, x)
    net = gg.compile({"loss": gg.sum(y)}, name="besides", dtype="float64")
    values, found = net.value_and_grad(x=np.array([1.0, 2, 3]), s=np.array([2.0, 1, 1]), k=np.array([5, 6, 7]))
    assert values["loss"] == 2 + 12 + 21
    np.testing.assert_array_equal(found["x"], np.ones(3))


def test_an_adjoint_that_adds_something_has_no_tangent() -> None:
    x, v = gg.input("x", (3,), dtype="float64"), gg.input("v", (3,), dtype="float64")
    with pytest.raises(gg.GradgenError, match="not seen to be linear"):
        gg.jvp(gg.custom(gg.sin, lambda d, x: d + 1, x), x, v)
