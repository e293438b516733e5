"""NumPy's functions of whole tensors as gradgen, NumPy and JAX spell them, on small arrays.

In: nothing. Out: `OPERATIONS`, which `test_arrays` evaluates in every way there is. A function of a module is written
once where the three agree on its name and arguments.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradgen as gg

Function = Callable[..., Any]
RNG = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


class Operation(NamedTuple):
    """`ours` and `theirs` take the arrays of `given`; `theirs` before them NumPy or jax.numpy."""

    given: tuple[np.ndarray, ...]
    ours: Function
    theirs: Function
    gradient: bool = True


def same(given: tuple[np.ndarray, ...], function: Function, gradient: bool = True) -> Operation:
    """The same spelling everywhere: function(module, *arrays)."""
    return Operation(given, lambda *xs: function(gg, *xs), function, gradient)


A, B, V, W = floats(3, 4), floats(4, 5), floats(4), floats(6)
T, S, EMPTY, ONE = floats(2, 3, 4), floats(2, 4, 3), floats(0, 3), floats(1, 4)
M = floats(12, 9)
TIES = np.array([[2.0, 1.0, 2.0, 3.0], [0.0, -1.0, -1.0, 0.0], [5.0, 4.0, 3.0, 3.0]])
NANS = np.array([[2.0, np.nan, -np.inf, 3.0], [np.inf, 1.0, np.nan, np.nan]])
ZEROS = np.array([[2.0, 0.0, 3.0, 0.5], [0.0, 1.5, 0.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
# the first of equal ones by rows is not the first by columns
AHEAD = np.array([[-1.0, -1.0, 2.0, 3.0], [4.0, 5.0, -1.0, -2.0]])
STEPS = np.ones((3, 2, 4))
STEPS[0, :, 3] = STEPS[1, :, 1] = 0.0
UNIT = np.array([0.05, 0.2, 0.49, 0.7, 0.93])
ROW, COLUMN, LAST = gg.indices("i j k")
P, Q = np.array([2, 0, 2, 1]), np.array([1, 3, 1, 0])
PQ = np.array([[2, 0, 1, 2], [0, 0, 2, 1]])
MASK = np.array([True, False, True, True])


def _scatter(m: Any, x: Any, at: Any, values: Any) -> Any:
    columns = np.arange(at.shape[1])[None]
    if m is np:
        y = x.copy()
        np.add.at(y, (at, columns), values)
        return y
    return x.at[at, columns].add(values)


def _compressed(m: Any, x: Any, count: int) -> Any:
    chosen = np.flatnonzero(MASK)[:count]
    zeros = m.zeros((x.shape[0], count - len(chosen)))
    return m.concatenate([x[:, chosen], zeros], axis=1)


def _argmin(m: Any, x: Any) -> Any:
    """Over the last axis and the first, the last one slowest."""
    return m.argmin(x.transpose(1, 2, 0).reshape(x.shape[1], -1), axis=1)


def _running(m: Any, best: str, x: Any, axis: int) -> Any:
    return getattr(m, f"{best}imum").accumulate(x, axis) if m is np else getattr(jax.lax, f"cum{best}")(x, axis)


def _first_places(m: Any, x: Any) -> Any:
    """The first place of the largest of the first 1, 2, ... elements of a row."""
    return np.stack([x[:, : k + 1].argmax(axis=1) for k in range(x.shape[1])], axis=1)


def _topk(m: Any, x: Any, k: int) -> Any:
    return m.take_along_axis(x, np.argsort(-np.asarray(jax.lax.stop_gradient(x)), axis=1, kind="stable")[:, :k], 1)


OPERATIONS: dict[str, Operation] = {
    # broadcasting
    "rows": same((A, V), lambda m, x, v: x * v + x / (v * v + 1)),
    "columns": same((A, floats(3, 1)), lambda m, x, c: x - c * x),
    "new axes": same((T, V), lambda m, t, v: t + v[None, None] * t[:, :1]),
    "size one": same((ONE, A), lambda m, o, x: m.maximum(o, x) * o),
    "empty": same((EMPTY, floats(3)), lambda m, e, v: (e * v).sum(axis=0) + v),
    # products
    "vector @ vector": same((V, floats(4)), lambda m, x, y: x @ y),
    "matrix @ vector": same((A, V), lambda m, x, y: x @ y),
    "vector @ matrix": same((V, B), lambda m, x, y: x @ y),
    "matrix @ matrix": same((A, B), lambda m, x, y: m.matmul(x, y)),
    "stacks @": same((T, S), lambda m, x, y: x @ y),
    "stack @ matrix": same((T, B), lambda m, x, y: x @ y),
    "stacks that broadcast @": same((floats(2, 1, 3, 4), S), lambda m, x, y: x @ y),
    "outer": same((V, W), lambda m, x, y: m.outer(x, y)),
    "einsum of three": same((A, B, V), lambda m, x, y, v: m.einsum("ij,jk,j->ki", x, y, v)),
    "einsum, implicit": same((A, B), lambda m, x, y: m.einsum("ij,jk", x, y)),
    "einsum, alphabetical": same((A,), lambda m, x: m.einsum("ba", x)),
    "einsum, diagonal": same((floats(4, 4),), lambda m, x: m.einsum("ii->i", x)),
    "einsum, trace": same((floats(4, 4),), lambda m, x: m.einsum("ii", x)),
    "einsum, batched": same((T, S), lambda m, x, y: m.einsum("...ij,...jk->...ik", x, y)),
    "einsum, broadcast": same((T, B), lambda m, x, y: m.einsum("...j,jk", x, y)),
    "einsum, total": same((T,), lambda m, x: m.einsum("ijk->", x)),
    "tensordot": same((T, floats(3, 4, 5)), lambda m, x, y: m.tensordot(x, y)),
    "tensordot, pairs": same((T, floats(4, 5, 2)), lambda m, x, y: m.tensordot(x, y, ([0, 2], [2, 0]))),
    "tensordot, none": same((V, W), lambda m, x, y: m.tensordot(x, y, 0)),
    # diagonals
    "diag of a vector": same((V,), lambda m, x: m.diag(x)),
    "diag above": same((V,), lambda m, x: m.diag(x, 2)),
    "diag below": same((V,), lambda m, x: m.diag(x, -1)),
    "diag of a matrix": same((A,), lambda m, x: m.diag(x, 1)),
    "diagonal": same((T,), lambda m, x: m.diagonal(x, -1, 1, 2)),
    "trace": same((A,), lambda m, x: m.trace(x)),
    "trace, offset": same((T,), lambda m, x: m.trace(x, -1)),
    "tril": same((T,), lambda m, x: m.tril(x)),
    "triu": same((A,), lambda m, x: m.triu(x, 1)),
    # other shapes
    "transpose": same((T,), lambda m, x: m.transpose(x, (2, 0, 1))),
    "moveaxis": same((T,), lambda m, x: m.moveaxis(x, (0, 2), (1, 0))),
    "swapaxes": same((T,), lambda m, x: m.swapaxes(x, 0, -1)),
    "reshape": same((T,), lambda m, x: m.reshape(x, (4, -1))),
    "ravel": same((T,), lambda m, x: m.ravel(x)),
    "slices": same((T,), lambda m, x: x[1:, ::2, 1:4:2]),
    "negative steps": same((T,), lambda m, x: x[::-1, -1:0:-2, ::-3]),
    "numbers and slices": same((T,), lambda m, x: x[-1, ..., 1]),
    "concatenate": same((A, floats(3, 2)), lambda m, x, y: m.concatenate([x, y, x], axis=1)),
    "concatenate, empty": same((EMPTY, floats(2, 3)), lambda m, x, y: m.concatenate([x, y])),
    "stack": same((A, floats(3, 4)), lambda m, x, y: m.stack([x, y], axis=1)),
    "split": same((T,), lambda m, x: m.split(x, 2, axis=2)[1] * m.split(x, 2, axis=2)[0]),
    "split at": same((W,), lambda m, x: m.split(x, [2, 5])[1]),
    "tile": same((A,), lambda m, x: m.tile(x, (2, 1, 3))),
    "tile, fewer": same((T,), lambda m, x: m.tile(x, (2,))),
    "repeat": same((A,), lambda m, x: m.repeat(x, 3, axis=0)),
    "repeat, flat": same((A,), lambda m, x: m.repeat(x, 2)),
    "roll": same((T,), lambda m, x: m.roll(x, 5, axis=2)),
    "roll back": same((A,), lambda m, x: m.roll(x, -1, axis=0)),
    "roll, flat": same((A,), lambda m, x: m.roll(x, 2)),
    "flip": same((T,), lambda m, x: m.flip(x, (0, 2))),
    "flip all": same((A,), lambda m, x: m.flip(x)),
    "pad": same((A,), lambda m, x: m.pad(x, ((1, 2), (0, 3)))),
    "pad, value": Operation((A,), lambda x: gg.pad(x, 1, value=2.5), lambda m, x: m.pad(x, 1, constant_values=2.5)),
    "pad, edge": same((A,), lambda m, x: m.pad(x, ((2, 0), (1, 5)), mode="edge")),
    "pad, reflect": same((A,), lambda m, x: m.pad(x, ((2, 1), (0, 3)), mode="reflect")),
    "pad, symmetric": same((A,), lambda m, x: m.pad(x, ((2, 3), (4, 1)), mode="symmetric")),
    "pad, wrap": same((A,), lambda m, x: m.pad(x, ((3, 1), (0, 4)), mode="wrap")),
    # reductions
    "sum": same((T,), lambda m, x: m.sum(x, axis=(0, 2))),
    "sum, kept": same((T,), lambda m, x: m.sum(x, axis=1, keepdims=True) * x),
    "mean": same((T,), lambda m, x: m.mean(x, axis=-1)),
    "prod": same((ZEROS,), lambda m, x: m.prod(x, axis=1)),
    "prod, two axes": same((T,), lambda m, x: m.prod(x, axis=(0, 2), keepdims=True)),
    "prod of nothing": same((EMPTY,), lambda m, x: m.prod(x, axis=0)),
    "max": same((A,), lambda m, x: m.max(x, axis=0)),
    "min": same((T,), lambda m, x: m.min(x, axis=(1, 2), keepdims=True)),
    "var": same((T,), lambda m, x: m.var(x, axis=(0, 1))),
    "var, ddof": same((A,), lambda m, x: m.var(x, axis=1, ddof=1, keepdims=True)),
    "std": same((A,), lambda m, x: m.std(x)),
    "norm": Operation((A,), lambda x: gg.norm(x, axis=1), lambda m, x: m.linalg.norm(x, axis=1)),
    "norm, one": Operation((A,), lambda x: gg.norm(x, 1, axis=0), lambda m, x: m.linalg.norm(x, 1, axis=0)),
    "norm, three": Operation((V,), lambda x: gg.norm(x, 3), lambda m, x: m.linalg.norm(x, 3)),
    "norm, inf": Operation((A,), lambda x: gg.norm(x, np.inf, axis=1), lambda m, x: m.linalg.norm(x, m.inf, axis=1)),
    "norm of all": Operation((T,), lambda x: gg.norm(x), lambda m, x: m.sqrt(m.sum(x * x))),
    "logsumexp": Operation((A,), lambda x: gg.logsumexp(x, axis=1), lambda m, x: m.log(m.sum(m.exp(x), axis=1))),
    "argmax": same((TIES,), lambda m, x: m.argmax(x, axis=1), gradient=False),
    "argmin": same((TIES,), lambda m, x: m.argmin(x, axis=0), gradient=False),
    "argmax, flat": same((TIES,), lambda m, x: m.argmax(-x), gradient=False),
    "argmin, several": Operation((STEPS,), lambda x: gg.argmin(x, axis=(2, 0)), _argmin, gradient=False),
    "argmin, over": Operation(
        (STEPS,),
        lambda x: gg.compute(COLUMN, gg.argmin(x[ROW, COLUMN, LAST], over=(LAST, ROW))),
        _argmin,
        gradient=False,
    ),
    "argmax beside a loop over columns": same(
        (AHEAD,), lambda m, x: m.argmax(m.sign(x * (m.sum(x * x, axis=0) + 1))), gradient=False
    ),
    "prod, over": Operation(
        (ZEROS,),
        lambda x: gg.compute(ROW, 2.0 * gg.prod(x[ROW, COLUMN], over=COLUMN) + x[ROW, 0]),
        lambda m, x: 2.0 * m.prod(x, axis=1) + x[:, 0],
    ),
    "prod, over two": Operation(
        (A,),
        lambda x: gg.compute((), gg.prod(x[ROW, COLUMN] * x[ROW, COLUMN], over=(ROW, COLUMN))),
        lambda m, x: m.prod(x * x),
    ),
    "all, over": Operation(
        (ZEROS,),
        lambda x: gg.compute(COLUMN, gg.all(x[ROW, COLUMN], over=ROW)),
        lambda m, x: m.all(x, axis=0),
        gradient=False,
    ),
    "any, over": Operation(
        (ZEROS,),
        lambda x: gg.compute(ROW, gg.where(gg.any(x[ROW, COLUMN] > 2.5, over=COLUMN), x[ROW, 0] * 2.0, x[ROW, 3])),
        lambda m, x: m.where(m.any(x > 2.5, axis=1), x[:, 0] * 2.0, x[:, 3]),
    ),
    "all": same((ZEROS,), lambda m, x: m.all(x > 0, axis=1), gradient=False),
    "all of numbers": same((ZEROS,), lambda m, x: m.all(x, axis=0, keepdims=True), gradient=False),
    "all of nothing": same((EMPTY,), lambda m, x: m.all(x, axis=0), gradient=False),
    "any": same((A,), lambda m, x: m.any(x > 1), gradient=False),
    "any of nothing": same((EMPTY,), lambda m, x: m.any(x), gradient=False),
    "count_nonzero": same((ZEROS,), lambda m, x: m.count_nonzero(x, axis=0), gradient=False),
    "cumsum": same((T,), lambda m, x: m.cumsum(x, axis=1)),
    "cumsum, flat": same((A,), lambda m, x: m.cumsum(x)),
    "cumprod": same((ZEROS,), lambda m, x: m.cumprod(x, axis=1)),
    "cumprod, first": same((A,), lambda m, x: m.cumprod(x, axis=0)),
    "cummax": Operation((T,), lambda x: gg.cummax(x, axis=1)[0], lambda m, x: _running(m, "max", x, 1)),
    "cummin, flat": Operation((A,), lambda x: gg.cummin(x)[0], lambda m, x: _running(m, "min", x.ravel(), 0)),
    "cummax, nan": Operation(
        (NANS,), lambda x: gg.cummax(x, axis=1)[0], lambda m, x: m.maximum.accumulate(x, axis=1), gradient=False
    ),
    "cummax, places": Operation((TIES,), lambda x: gg.cummax(x, axis=1)[1], _first_places, gradient=False),
    # for every element of a new axis
    "vmap": Operation(
        (T, B),
        lambda x, y: gg.vmap(lambda row, y: gg.tanh(row @ y), (1, None), -1)(x, y),
        lambda m, x, y: m.moveaxis(m.tanh(x @ y), 1, -1),
    ),
    "vmap of a loop": Operation(
        (A, V),
        lambda x, v: gg.vmap(lambda row: gg.cumprod(row * v) + gg.scan(lambda c, e: (c * e, c), row[0], v)[1])(x),
        lambda m, x, v: m.cumprod(x * v, axis=1) + x[:, :1] * m.concatenate([m.ones((1,)), m.cumprod(v)[:-1]]),
    ),
    "a gradient for each sample": Operation(
        (A, B),
        lambda x, w: gg.vmap(lambda row: gg.grad(gg.sum(gg.tanh(row @ w)), w))(x),
        lambda m, x, w: x[:, :, None] * (1 - m.tanh(x @ w) ** 2)[:, None, :],
    ),
    # chosen by data
    "an integer array": same((A, P), lambda m, x, i: x[i]),
    "in the middle": same((T, P), lambda m, x, i: x[:, i, 1:]),
    "two integer arrays": same((A, P, Q), lambda m, x, i, j: x[i, j]),
    "arrays that broadcast": same((T, P[:, None] % 2, Q), lambda m, x, i, j: x[i, :, j]),
    "array and number": same((T, P), lambda m, x, i: x[1, i]),
    "separated": same((T, Q), lambda m, x, j: x[1, :, j]),
    "take": same((A, PQ), lambda m, x, i: m.take(x, i, axis=1)),
    "take, flat": same((A, PQ), lambda m, x, i: m.take(x, i)),
    "take_along_axis": same((A, PQ), lambda m, x, i: m.take_along_axis(x, i, axis=0)),
    "scatter_add": Operation((A, PQ, floats(2, 4)), lambda x, i, v: gg.scatter_add(x, i, v, 0), _scatter),
    "one_hot": Operation((PQ,), lambda i: gg.one_hot(i, 4, "float64"), lambda m, i: m.eye(4)[i], gradient=False),
    "compress": Operation((A, MASK), lambda x, c: gg.compress(c, x, 3, axis=1), lambda m, x, c: _compressed(m, x, 3)),
    "compress, more": Operation(
        (A, MASK), lambda x, c: gg.compress(c, x, 4, axis=1), lambda m, x, c: _compressed(m, x, 4)
    ),
    "compress, fewer": Operation(
        (A, MASK), lambda x, c: gg.compress(c, x, 2, axis=1), lambda m, x, c: _compressed(m, x, 2)
    ),
    "sort": same((A,), lambda m, x: m.sort(x, axis=1)),
    "sort, computed": same((M,), lambda m, x: m.sort(m.exp(x) / m.sum(m.exp(x), axis=0), axis=1)),
    "sort, first axis": same((T,), lambda m, x: m.sort(x, axis=0)),
    "sort, nan": same((NANS,), lambda m, x: m.sort(x), gradient=False),
    "argsort": Operation((TIES,), gg.argsort, lambda m, x: m.argsort(x, axis=-1, stable=True), gradient=False),
    "topk": Operation((A,), lambda x: gg.topk(x, 2, axis=1)[0], lambda m, x: _topk(m, x, 2)),
    "searchsorted": Operation(
        (np.sort(TIES.ravel()), NANS), gg.searchsorted, lambda m, a, v: m.searchsorted(a, v), gradient=False
    ),
    "searchsorted, right, of rows": Operation(
        (np.sort(TIES), TIES[:, ::2] + 1.0),
        lambda a, v: gg.searchsorted(a, v, side="right"),
        lambda m, a, v: m.stack([m.searchsorted(row, each, side="right") for row, each in zip(a, v, strict=True)]),
        gradient=False,
    ),
    "logit, eps": Operation(
        (UNIT,), lambda x: gg.logit(x, 0.1), lambda m, x: m.log(m.clip(x, 0.1, 0.9)) - m.log1p(-m.clip(x, 0.1, 0.9))
    ),
    # constants
    "arange": same((W,), lambda m, x: x * m.arange(1, 12, 2)),
    "arange, back": same((W,), lambda m, x: x + m.arange(5, -1, -1)),
    "arange, float": Operation(
        (W,), lambda x: x * gg.arange(0.5, 2.0, 0.25, "float64"), lambda m, x: x * m.arange(0.5, 2.0, 0.25)
    ),
    "linspace": Operation(
        (W,), lambda x: x * gg.linspace(-1, 2, 6, dtype="float64"), lambda m, x: x * m.linspace(-1, 2, 6)
    ),
    "linspace, open": Operation(
        (W,),
        lambda x: x * gg.linspace(-1, 2, 6, endpoint=False, dtype="float64"),
        lambda m, x: x * m.linspace(-1, 2, 6, endpoint=False),
    ),
    "eye": same((A,), lambda m, x: x * m.eye(3, 4, 1)),
}


def by_jax(operation: Operation, cotangent: np.ndarray) -> list[np.ndarray]:
    """The gradient by every float array."""
    wrt = [k for k, x in enumerate(operation.given) if x.dtype.kind == "f"]
    given = [jnp.asarray(x) for x in operation.given]

    def scalar(*chosen: Any) -> Any:
        every = list(given)
        for k, x in zip(wrt, chosen, strict=True):
            every[k] = x
        return jnp.sum(operation.theirs(jnp, *every) * cotangent)

    wanted, arrays = jax.grad(scalar, tuple(range(len(wrt)))), [given[k] for k in wrt]
    try:
        found = jax.jit(wanted)(*arrays)  # at once: operation by operation it takes four times as long
    except jax.errors.TracerArrayConversionError:  # what calls NumPy on the way
        found = wanted(*arrays)
    return [np.asarray(g) for g in found]
