"""A function for every element of a new axis, by the reference interpreter; JAX says what is right."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Leaf, Project, all_inputs, toposort
from gradgen.graph.origin import origin
from gradgen.graph.tensor import Tensor
from gradgen.lang.interpret import interpret

jax.config.update("jax_enable_x64", True)
RNG = np.random.default_rng(6)
GIVEN = {
    "x": RNG.standard_normal((5, 3)),
    "w": RNG.standard_normal((3, 4)),
    "y": RNG.standard_normal(5),
    "v": RNG.standard_normal(4),
    "t": RNG.standard_normal((2, 5, 3)),
}
OURS = SimpleNamespace(
    np=gg,
    vmap=gg.vmap,
    scan=gg.scan,
    one=gg.full((), 1.0, "float64"),
    grad=lambda f: lambda x, *rest: gg.grad(f(x, *rest), x),
    jvp=lambda f, x, along: gg.jvp(f(x), x, along),
    hvp=lambda f, x, along: gg.hvp(f(x), x, along),
    jacobian=lambda f: lambda x: gg.jacobian(f(x), x),
    hessian=lambda f: lambda x: gg.hessian(f(x), x),
    **{name: gg.input(name, array.shape, dtype="float64") for name, array in GIVEN.items()},
)
THEIRS = SimpleNamespace(
    np=jnp,
    vmap=jax.vmap,
    scan=jax.lax.scan,
    one=jnp.asarray(1.0),
    grad=jax.grad,
    jvp=lambda f, x, along: jax.jvp(f, (x,), (along,))[1],
    hvp=lambda f, x, along: jax.jvp(jax.grad(f), (x,), (along,))[1],
    jacobian=jax.jacobian,
    hessian=jax.hessian,
    **{name: jnp.asarray(array) for name, array in GIVEN.items()},
)


def loss(m: Any) -> Callable[..., Any]:
    return lambda w, x, y: m.np.sum(m.np.tanh(x @ w) * 0.5) - y**2 * m.np.sum(w)


def recurrence(m: Any, start: Any = None, reverse: bool = False) -> Callable[..., Any]:
    def step(level: Any, element: Any) -> Any:
        level = m.np.tanh(level + element * m.np.sum(m.w))
        return level, level * level

    return lambda x: m.scan(step, m.one * 0.25 if start is None else start, x, None, reverse)[1]


def nested(m: Any) -> Callable[..., Any]:
    """A loop in a loop, whose carry is mapped only by what the body reads, beside one that is the same for all."""

    def step(carry: Any, u: Any) -> Any:
        c, same = carry
        last, seen = m.scan(lambda d, _: (m.np.sin(d) * u + c, d), same, None, 3)
        return (last, same * 0.5), c * u + m.np.sum(seen)

    return lambda x: m.scan(step, (m.one, m.one), x, None, True)


def flat(found: Any) -> list[Any]:
    return [leaf for part in found for leaf in flat(part)] if isinstance(found, (tuple, list)) else [found]


CASES: dict[str, Callable[[Any], Any]] = {
    "axes": lambda m: m.vmap(lambda t, v: t[:, :, None] * v, (1, None), -1)(m.t, m.v),
    "what is the same": lambda m: m.vmap(lambda x: (m.v, m.w @ m.v * x), 0, (None, 1))(m.x),
    "what is repeated": lambda m: m.vmap(lambda x: m.v)(m.x),
    "two maps": lambda m: m.vmap(m.vmap(lambda a, b: a * b - a, (None, 0)), (0, None))(m.y, m.v),
    "a gradient for each sample": lambda m: m.vmap(m.grad(loss(m)), (None, 0, 0))(m.w, m.x, m.y),
    "gradient of a sum of them": lambda m: m.grad(
        lambda w: m.np.sum(m.vmap(m.grad(loss(m)), (None, 0, 0))(w, m.x, m.y) ** 2)
    )(m.w),
    "a map in a map": lambda m: m.vmap(m.vmap(recurrence(m)))(m.t),
    "a loop, backwards, from elements": lambda m: m.vmap(lambda start, x: recurrence(m, start, True)(x), (0, None), 1)(
        m.y, m.v
    ),
    "a loop in a loop": lambda m: flat(m.vmap(nested(m))(m.x)),
    "their gradients": lambda m: m.vmap(m.grad(lambda x: m.np.sum(nested(m)(x)[1])))(m.x),
    "tangents inside": lambda m: m.vmap(lambda x: m.jvp(recurrence(m), x, x * x))(m.x),
    "tangents outside": lambda m: m.jvp(m.vmap(recurrence(m)), m.x, m.x * m.x),
    "curvature inside": lambda m: m.vmap(lambda x: m.hvp(lambda z: m.np.sum(recurrence(m)(z)), x, x * x))(m.x),
    "curvature outside": lambda m: m.hvp(lambda z: m.np.sum(m.vmap(recurrence(m))(z)), m.x, m.x * m.x),
    "matrices": lambda m: m.vmap(m.jacobian(recurrence(m)))(m.x),
    "Hessians": lambda m: m.vmap(m.hessian(lambda x: m.np.sum(m.np.sin(x) @ m.w) * m.np.sum(x)))(m.x),
    "in a loop": lambda m: m.scan(
        lambda c, x: (m.vmap(lambda a, b: a * b + m.np.sum(x))(c, x), m.vmap(m.grad(lambda a: m.np.sin(a * c[0])))(x)),
        m.x[0],
        m.x,
    )[1],
    "by name, in a dict": lambda m: m.vmap(lambda p, k, y: p["a"] @ k + p["b"][0] * y, ({"a": 0, "b": None}, None))(
        {"a": m.x, "b": m.v}, m.w, y=m.y
    ),
}


@pytest.fixture(scope="module")
def found() -> dict[str, list[np.ndarray]]:
    """All of them at once."""
    tensors = {name: flat(case(OURS)) for name, case in CASES.items()}
    nodes = [y.node for several in tensors.values() for y in several]
    arrays = iter(interpret(nodes, {n: GIVEN[n.name] for n in toposort(nodes) if isinstance(n, Leaf)}))
    return {name: [next(arrays) for _ in several] for name, several in tensors.items()}


@pytest.mark.parametrize("name", CASES)
def test_as_in_jax(found: dict[str, list[np.ndarray]], name: str) -> None:
    for ours, theirs in zip(found[name], flat(CASES[name](THEIRS)), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def evaluated(y: Tensor) -> np.ndarray:
    leaves = [n for n in toposort([y.node]) if isinstance(n, Leaf)]
    return interpret([y.node], {n: GIVEN[n.name] for n in leaves})[0]


def test_an_element_is_a_part_of_what_is_mapped() -> None:
    """A derivative by the whole tensor goes through the element: row k of result k."""
    x = OURS.x
    slopes = evaluated(gg.vmap(lambda row: gg.grad(gg.sum(row * row) * gg.sum(x), x))(x))
    for k, slope in enumerate(slopes):
        wanted = jax.grad(lambda z, k=k: jnp.sum(z[k] ** 2) * jnp.sum(z))(GIVEN["x"])
        np.testing.assert_allclose(slope, wanted, rtol=1e-12)


def test_given_adjoints() -> None:
    """One that reads the element, an operand that is the same for all, and a tangent."""
    x, v = OURS.x, OURS.v

    def one(row: Tensor) -> list[Tensor]:
        y = gg.custom(lambda u, c: gg.round(u) * c[0], lambda d, u, c: (d * u * row, gg.sum(d) * c), row, v)
        return [gg.grad(gg.sum(y), row), gg.grad(gg.sum(y * row), v), gg.jvp(y, row, row)]

    by_row, by_v, along = (evaluated(y) for y in gg.vmap(one)(x))
    rows, c = GIVEN["x"], GIVEN["v"]
    np.testing.assert_allclose(by_row, rows**2, rtol=1e-13)
    np.testing.assert_allclose(by_v, rows.sum(1)[:, None] * c, rtol=1e-13)
    np.testing.assert_allclose(along, rows**3, rtol=1e-13)
    total = gg.grad(gg.sum(gg.vmap(lambda row: gg.custom(lambda u: u, lambda d, u: d * 3.0, row))(x)), x)
    np.testing.assert_array_equal(evaluated(total), np.full((5, 3), 3.0))


def test_formulas_get_one_more_index() -> None:
    """Places chosen by data, added into places, and read outside: for every row its own."""
    x, i = OURS.x, gg.index("i", 3)

    def one(row: Tensor) -> list[Tensor]:
        order = gg.argsort(row)
        moved = gg.compute(i, gg.padded(row)[i - 1] + row[order[i]])
        return [moved, gg.accumulate(order[i] // 2, row[i] * row[i], (2,)), gg.argmax(row), row > 0]

    moved, added, best, positive = (evaluated(y) for y in gg.vmap(one)(x))
    rows = GIVEN["x"]
    order = rows.argsort(1)
    np.testing.assert_array_equal(moved, np.pad(rows, ((0, 0), (1, 0)))[:, :-1] + np.sort(rows, 1))
    wanted = np.zeros((5, 2))
    np.add.at(wanted, (np.arange(5)[:, None], order // 2), rows * rows)
    np.testing.assert_array_equal(added, wanted)
    np.testing.assert_array_equal(best, rows.argmax(1))
    assert positive.dtype == bool
    np.testing.assert_array_equal(positive, rows > 0)


def test_one_loop_for_all_elements_and_the_users_names() -> None:
    def one(row: Tensor) -> Tensor:
        doubled = row * 2.0
        total, _ = gg.scan(lambda c, e: (c * e, None), 1.0, gg.float32(doubled))
        return total

    every = gg.vmap(one)(OURS.x)
    nodes = toposort([every.node], all_inputs)
    assert len({n.scan for n in nodes if isinstance(n, Project)}) == 1
    names = {found.name for n in nodes if (found := origin(n)) is not None}
    assert {"doubled", "every"} <= names
    assert every.shape == (5,)


def test_no_elements() -> None:
    n = gg.size("N")
    x = gg.input("x", (n, 3), dtype="float64")
    y = gg.vmap(lambda row: gg.cumsum(row)[-1])(x)
    assert y.shape == (n,)
    assert interpret([y.node], {x.node: np.zeros((0, 3))})[0].shape == (0,)
    assert interpret([y.node], {x.node: np.ones((1, 3))})[0].tolist() == [3.0]
