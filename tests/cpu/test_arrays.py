"""NumPy's functions of whole tensors: values against NumPy, gradients against JAX.

Interpreted and as plain Python, all in one file; every eighth jitted as well, because Numba's compilation takes time.
"""

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

import gradgen as gg
from gradgen.errors import GradgenError
from gradgen.graph.nodes import Leaf, toposort
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret
from tests.cpu.array_table import OPERATIONS, Operation, by_jax
from tests.cpu.running import unjitted
from tests.repeats import parameter

jax.config.update("jax_enable_x64", True)
TOLERANCE = 1e-12
WAYS = {
    "interpreted": tuple(OPERATIONS),
    "plain": tuple(OPERATIONS),
    "jitted": tuple(OPERATIONS)[::8],
    "others jitted": tuple(OPERATIONS)[4::8],
}


def key(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.replace("@", "at"))


def cotangent(operation: Operation) -> np.ndarray:
    with np.errstate(all="ignore"):
        y = np.asarray(operation.theirs(np, *operation.given))
    return np.random.default_rng(1).standard_normal(y.shape)


@cache
def gradients(name: str) -> list[np.ndarray]:
    return by_jax(OPERATIONS[name], cotangent(OPERATIONS[name]))


@cache
def graph(names: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Value and gradients of operations, and the arrays that they take."""
    outputs: dict[str, Tensor] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        operation = OPERATIONS[name]
        given = []
        for k, x in enumerate(operation.given):
            given.append(gg.input(f"{key(name)}_x{k}", x.shape, dtype=x.dtype))
            arrays[f"{key(name)}_x{k}"] = x
        outputs[f"y_{key(name)}"] = y = operation.ours(*given)
        if operation.gradient:
            seed = cotangent(operation)
            arrays[f"{key(name)}_seed"] = seed
            wrt = [x for x in given if x.dtype == "float64"]
            d_y = gg.input(f"{key(name)}_seed", seed.shape, dtype="float64")
            outputs |= {f"d{k}_{key(name)}": d for k, d in enumerate(gg.vjp(y, wrt, [d_y]))}
    return outputs, arrays


@cache
def results(way: str) -> dict[str, np.ndarray]:
    outputs, arrays = graph(WAYS[way])
    with np.errstate(all="ignore"):
        if way == "interpreted":
            leaves = [n for n in toposort([y.node for y in outputs.values()]) if isinstance(n, Leaf)]
            found = interpret([y.node for y in outputs.values()], {n: arrays[n.name] for n in leaves})
            return dict(zip(outputs, found, strict=True))
        net = gg.compile(outputs, name="arrays", dtype="float64")
        return (unjitted(net) if way == "plain" else net)(**arrays)


@pytest.mark.parametrize(
    ("name", "way"),
    [parameter(name, way, default=way != "others jitted") for way, names in WAYS.items() for name in names],
)
def test_an_operation(name: str, way: str) -> None:
    operation = OPERATIONS[name]
    with np.errstate(all="ignore"):
        wanted = np.asarray(operation.theirs(np, *operation.given))
    found = results(way)[f"y_{key(name)}"]
    assert found.shape == wanted.shape
    assert found.dtype.kind == wanted.dtype.kind
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    if operation.gradient:
        for k, gradient in enumerate(gradients(name)):
            found = results(way)[f"d{k}_{key(name)}"]
            np.testing.assert_allclose(found, gradient, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"by argument {k}")


def evaluated(y: Tensor, **arrays: Any) -> Any:
    leaves = [n for n in toposort([y.node]) if isinstance(n, Leaf)]
    return interpret([y.node], {n: np.asarray(arrays[n.name]) for n in leaves})[0]


def test_symbolic_sizes() -> None:
    n = gg.size("N")
    x = gg.input("x", (n, 3), dtype="float64")
    values = np.random.default_rng(3).standard_normal((5, 3))
    for ours, theirs in [
        (gg.cumsum(x, 0), np.cumsum(values, 0)),
        (gg.prod(x, axis=0), np.prod(values, axis=0)),
        (gg.roll(x, 2, axis=0), np.roll(values, 2, axis=0)),
        (gg.tile(x, (2, 1)), np.tile(values, (2, 1))),
        (gg.repeat(x, 2, axis=0), np.repeat(values, 2, axis=0)),
        (gg.pad(x, ((2, 1), (0, 0)), mode="reflect"), np.pad(values, ((2, 1), (0, 0)), mode="reflect")),
        (gg.pad(x, ((1, 3), (0, 0)), mode="edge"), np.pad(values, ((1, 3), (0, 0)), mode="edge")),
        (gg.pad(x, ((2, 2), (1, 0)), mode="wrap"), np.pad(values, ((2, 2), (1, 0)), mode="wrap")),
        (gg.sort(x, axis=0), np.sort(values, axis=0)),
        (gg.var(x, axis=0, ddof=1), np.var(values, axis=0, ddof=1)),
        (gg.tril(x, -1), np.tril(values, -1)),
        (gg.flip(x, 0), np.flip(values, 0)),
        (gg.einsum("ni,nj->ij", x, x), values.T @ values),
        (x * gg.arange(n, dtype="float64")[:, None], values * np.arange(5)[:, None]),
    ]:
        np.testing.assert_allclose(evaluated(ours, x=values), theirs, rtol=1e-12)


def test_the_norm_has_slope_zero_at_zero() -> None:
    x = gg.input("x", (3,), dtype="float64")
    np.testing.assert_array_equal(evaluated(gg.grad(gg.norm(x), x), x=np.zeros(3)), np.zeros(3))
    assert np.isnan(evaluated(gg.norm(x), x=np.array([np.nan, 0, 0])))


def test_second_derivatives_of_a_product_at_zeros() -> None:
    x, v = gg.input("x", (4,), dtype="float64"), gg.input("v", (4,), dtype="float64")
    given = {"x": np.array([0.0, 2.0, 0.0, 3.0]), "v": np.array([1.0, -1.0, 0.5, 2.0])}
    wanted = jax.jvp(jax.grad(lambda z: jax.numpy.prod(z)), (given["x"],), (given["v"],))[1]
    np.testing.assert_allclose(evaluated(gg.hvp(gg.prod(x), x, v), **given), wanted, rtol=1e-12)


REFUSED = {
    "einsum('ij,jk->ik'): j has sizes 4 and 3.": lambda x, i: gg.einsum("ij,jk->ik", x, x),
    "einsum('ijk'): 'ijk' does not fit x (3, 4).": lambda x, i: gg.einsum("ijk", x),
    "einsum('ij->z'): 'z' has a letter twice, or one that no operand has.": lambda x, i: gg.einsum("ij->z", x),
    "axis 1 of x (3, 4) cannot be split into 3 equal parts.": lambda x, i: gg.split(x, 3, axis=1),
    "pad has no mode 'mirror': constant, edge, reflect, symmetric, wrap.": lambda x, i: gg.pad(x, 1, mode="mirror"),
    "axis 0 of x (3, 4) is too short to be padded by reflect.": lambda x, i: gg.pad(x, 3, mode="reflect"),
    "take_along_axis of x (3, 4) by i (2, 4): all axes but 1 have equal sizes.": lambda x, i: gg.take_along_axis(
        x, i, 1
    ),
    "the mask of compress is float64: compare first, as in x > 0.": lambda x, i: gg.compress(x, x, 2),
    "tensordot over 3 axes of x (3, 4), x (3, 4).": lambda x, i: gg.tensordot(x, x, 3),
    "the step of arange is 0: give a number other than 0.": lambda x, i: gg.arange(1, 3, 0),
    "diag takes a vector or a matrix, not z (2, 2, 4).": lambda x, i: gg.diag(gg.input("z", (2, 2, 4))),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused(message: str) -> None:
    x, i = gg.input("x", (3, 4), dtype="float64"), gg.input("i", (2, 4), dtype="int64")
    with pytest.raises(GradgenError) as caught:
        REFUSED[message](x, i)
    assert str(caught.value).split(": ", 1)[1] == message
