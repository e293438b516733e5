"""Contractions as outer products in registers: the printed loops, un-jitted and jitted, against NumPy."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numba import njit

from gradgen.emit.cpu import CpuPrinter
from gradgen.graph.nodes import Compute
from gradgen.graph.scalar import (
    Atom,
    Load,
    Poly,
    Scalar,
    call,
    integer,
    load,
    number,
    position,
    require_poly,
    size_symbol,
    substitute,
)
from gradgen.machine import CPU, using
from gradgen.passes.loops.register_loops import in_registers, outer_products, over_indices
from gradgen.passes.rewrite.outer_products import AffineSum, recognise
from gradgen.program.box_plans import choose, schedules
from gradgen.program.boxes import Affinity, Boxes
from gradgen.program.contractions import one_by_one
from gradgen.program.loops import Buffer, Contract, Indexed, Statement, letter
from tests.passes.building import tensor, total

LETTERS = "ijkmnpqrs"
P = [position(at) for at in range(9)]


@pytest.fixture(autouse=True)
def every_size_pays() -> Iterator[None]:
    with using(replace(CPU, outer=1)):
        yield


def masked(left: Load, right: Load) -> Scalar:
    """left * right, 0 where a subscript leaves its tensor."""
    value = call("mul", left, right)
    for access in (left, right):
        for s, extent in zip(access.subscripts, access.tensor.shape, strict=True):
            if len(s.atoms) > 1:
                for inside in (s, require_poly(extent - 1 - s)):
                    value = call("where", call("ge", inside, integer(0)), value, number(0))
    return value


def summed(shape: Sequence[Any], reduced: Sequence[Any], left: Load, right: Load) -> Compute:
    node = total(shape, reduced, masked(left, right))
    assert isinstance(node, Compute)
    return node


def window(size: int, taps: int, inputs: int, outputs: int, s: int = 1, d: int = 1, pad: int = 0) -> Compute:
    """y[n, o, h, w] = sum_{c, p, q} K[o, c, p, q] * a[n, c, s h + d p - pad, s w + d q - pad]"""
    a = tensor("a", 2, inputs, size, size, dtype="float32")
    k = tensor("K", outputs, inputs, taps, taps, dtype="float32")
    n, o, h, w, c, p, q = P[:7]
    e = (size + 2 * pad - d * (taps - 1) - 1) // s + 1
    at = [n, c, s * h + d * p - pad, s * w + d * q - pad]
    return summed((2, outputs, e, e), (inputs, taps, taps), load(k, [o, c, p, q]), load(a, at))


def weights(size: int, taps: int, inputs: int, outputs: int, s: int = 1, d: int = 1, pad: int = 0) -> Compute:
    """d_K[o, c, p, q] = sum_{n, h, w} d_y[n, o, h, w] * a[n, c, s h + d p - pad, s w + d q - pad]"""
    e = (size + 2 * pad - d * (taps - 1) - 1) // s + 1
    a, g = tensor("a", 2, inputs, size, size, dtype="float32"), tensor("d_y", 2, outputs, e, e, dtype="float32")
    o, c, p, q, n, h, w = P[:7]
    at = [n, c, s * h + d * p - pad, s * w + d * q - pad]
    return summed((outputs, inputs, taps, taps), (2, e, e), load(g, [n, o, h, w]), load(a, at))


def inputs_of(size: int, taps: int, inputs: int, outputs: int, pad: int = 0) -> Compute:
    """d_a[n, c, x, y] = sum_{o, p, q} K[o, c, p, q] * d_y[n, o, x + pad - p, y + pad - q]"""
    e = size + 2 * pad - taps + 1
    k, g = tensor("K", outputs, inputs, taps, taps, dtype="float32"), tensor("d_y", 2, outputs, e, e, dtype="float32")
    n, c, x, y, o, p, q = P[:7]
    return summed(
        (2, inputs, size, size), (outputs, taps, taps), load(k, [o, c, p, q]), load(g, [n, o, x + pad - p, y + pad - q])
    )


def correlation() -> Compute:
    """r[f, t] = sum_{b, u} x[b, t + u] * z[b, f, u]"""
    x, z = tensor("x", 6, 60, dtype="float32"), tensor("z", 6, 20, 12, dtype="float32")
    f, t, b, u = P[:4]
    return summed((20, 49), (6, 12), load(x, [b, t + u]), load(z, [b, f, u]))


def banded() -> Compute:
    """m[t, f] = sum_u W[f, u] * x[t + u - 3], 0 outside of x: a window that leaves its tensor at both ends."""
    x, w = tensor("x", 41, dtype="float64"), tensor("W", 19, 7, dtype="float64")
    t, f, u = P[:3]
    return summed((41, 19), (7,), load(w, [f, u]), load(x, [t + u - 3]))


def recognised(node: Compute) -> tuple[AffineSum, Affinity]:
    found = recognise(node)
    assert found is not None
    return found


def contraction(node: Compute) -> Contract:
    """The statement for a node: left, right and out are its arrays."""
    found, _ = recognised(node)
    letters: dict[Atom, Poly] = {P[k].atoms[0]: letter(LETTERS[k]) for k in range(len(node.extents))}

    def indexed(name: str, shape: Any, subscripts: Sequence[Poly]) -> Indexed:
        at = tuple(require_poly(substitute(s, letters)) for s in subscripts)
        return Indexed(Buffer(name, tuple(shape), node.dtype, "output" if name == "out" else "input", None), (), at)

    return Contract(
        tuple(zip(LETTERS, found.extents, strict=False)),
        indexed("out", node.shape, found.target),
        indexed("left", found.left.tensor.shape, found.left.subscripts),
        indexed("right", found.right.tensor.shape, found.right.subscripts),
    )


Make = Callable[[Contract, Any], list[Statement]]


def by_plan(boxes: Boxes) -> Make:
    return lambda contract, lend: outer_products(contract, boxes, lend, frozenset())


def cheapest(contract: Contract, lend: Any) -> list[Statement]:
    return in_registers([contract], lend, frozenset())


def compiled(node: Compute, make: Make, jit: bool) -> tuple[Any, list[Buffer]]:
    boxes: list[Buffer] = []

    def lend(name: str, shape: Any, dtype: str, role: Any) -> Buffer:
        boxes.append(Buffer(name, shape, dtype, role, None))
        return boxes[-1]

    lines = CpuPrinter().lines(make(contraction(node), lend), 1)
    text = "\n".join([f"def f(left, right, out, {''.join(f'{b.name}, ' for b in boxes)}B=0):", *lines])
    scope: dict[str, Any] = {"np": np}
    exec(text, scope)
    f = njit(error_model="numpy", fastmath={"contract", "reassoc"})(scope["f"]) if jit else scope["f"]
    return f, boxes


def run(node: Compute, values: Sequence[Any], jit: bool = False, make: Make = cheapest) -> Any:
    f, boxes = compiled(node, make, jit)
    out = np.full([e.constant or 3 for e in node.shape], np.nan, node.dtype)
    f(*values, out, *[np.full(b.shape[0].constant, np.nan, node.dtype) for b in boxes], 3)
    return out


def draw(x: Load, seed: int) -> Any:
    shape = [e.constant or 3 for e in x.tensor.shape]
    return np.random.default_rng(seed).standard_normal(shape).astype(x.dtype)


def plain(node: Compute, values: Sequence[Any]) -> Any:
    """The sum over every combination of the reduced indices, in float64, straight from the subscripts."""
    spec = recognised(node)[1]
    shape = [e.constant or 3 for e in node.shape]
    out = np.zeros(shape)
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij", sparse=True)
    reduced = [range(e.constant or 3) for e in node.extents[len(shape) :]]
    sides = {spec.vector.side: spec.vector, spec.scalar.side: spec.scalar}
    for point in itertools.product(*reduced):
        known = dict(zip(map(str, range(9)), [*grid, *point], strict=False))
        term = np.ones(shape)
        inside = np.ones(shape, bool)
        for side, value in zip(("left", "right"), values, strict=True):
            subscripts = []
            for s, extent in zip(sides[side].subscripts, value.shape, strict=True):
                at = sum((c * known[i] for i, c in s.terms.items()), s.const)
                inside &= (at >= 0) & (at < extent)
                subscripts.append(np.clip(at, 0, extent - 1))
            term = term * value.astype(np.float64)[tuple(np.broadcast_arrays(*subscripts))]
        out += np.where(inside, term, 0)
    return out


CASES = {
    "window": window(12, 3, 6, 20),
    "padded window": window(9, 3, 5, 16, pad=1),
    "strided": window(11, 3, 4, 18, s=2, pad=1),
    "dilated": window(13, 3, 4, 17, d=2, pad=2),
    "strided and dilated": window(14, 3, 3, 16, s=3, d=2, pad=3),
    "few inputs, large window": window(12, 5, 1, 8),
    "weights": weights(8, 3, 20, 6, pad=1),
    "weights, strided": weights(9, 3, 16, 4, s=2, pad=1),
    "inputs": inputs_of(8, 3, 18, 6, pad=1),
    "inputs, no padding": inputs_of(7, 3, 16, 5),
    "correlation": correlation(),
    "banded": banded(),
}


JITTED = ("strided and dilated", "weights, strided", "correlation")  # a second or more of compilation each


def drawn(node: Compute) -> list[Any]:
    found, _ = recognised(node)
    return [draw(found.left, 1), draw(found.right, 2)]


@pytest.mark.parametrize(("name", "jit"), [*((name, False) for name in CASES), *((name, True) for name in JITTED)])
def test_value(name: str, jit: bool) -> None:
    node, values = CASES[name], drawn(CASES[name])
    got = run(node, values, jit)
    assert got.dtype == node.dtype
    close = {"rtol": 1e-4, "atol": 1e-4 if node.dtype == "float32" else 1e-10}
    np.testing.assert_allclose(got, plain(node, values), **close)


@pytest.mark.parametrize("name", ["padded window", "strided and dilated", "weights, strided", "inputs", "banded"])
def test_one_product_after_the_other(name: str) -> None:
    node, values = CASES[name], drawn(CASES[name])
    got = run(node, values, make=lambda contract, _: one_by_one(contract))
    np.testing.assert_allclose(got, plain(node, values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["padded window", "strided", "weights", "correlation"])
def test_every_schedule_means_the_same(name: str) -> None:
    node, values = CASES[name], drawn(CASES[name])
    wanted = plain(node, values)
    plans = list(schedules(recognised(node)[1]))[::13]
    assert plans
    for spec, plan in plans:
        got = run(node, values, make=by_plan(Boxes(spec, plan)))
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_the_statement_is_the_sum_that_was_recognised(name: str) -> None:
    assert over_indices(contraction(CASES[name])) == recognised(CASES[name])[1]


def test_what_no_index_makes_vectors_of_is_a_plain_nest() -> None:
    """Both operands change with the index that the result has."""
    x, y = tensor("x", 30, dtype="float64"), tensor("y", 30, dtype="float64")
    node = summed((20,), (11,), load(x, [P[0] + P[1]]), load(y, [P[0] + P[1]]))
    assert choose(recognised(node)[1]) is None
    values = drawn(node)
    np.testing.assert_allclose(run(node, values), plain(node, values), rtol=1e-10)


def test_batch_known_at_call_time() -> None:
    batch = size_symbol("B")
    a, k = tensor("a", batch, 4, 9, 9, dtype="float32"), tensor("K", 16, 4, 3, 3, dtype="float32")
    n, o, h, w, c, p, q = P[:7]
    node = summed((batch, 16, 7, 7), (4, 3, 3), load(k, [o, c, p, q]), load(a, [n, c, h + p, w + q]))
    found = choose(recognised(node)[1])
    assert found is not None
    assert found.plan.loops[0] == "0"
    values = drawn(node)
    np.testing.assert_allclose(run(node, values, jit=True), plain(node, values), rtol=1e-4, atol=1e-4)


def with_value_inside(name: str, value: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """What the outer products and the formula give where one element in the middle of an operand is `value`."""
    node, values = CASES[name], drawn(CASES[name])
    values[side][(*[x // 2 for x in values[side].shape],)] = value
    with np.errstate(invalid="ignore"):
        return run(node, values), plain(node, values)


UNPADDED = [(name, side) for name in ("window", "weights", "correlation") for side in (0, 1)]


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize(("name", "side"), [*UNPADDED, ("strided", 1)])
def test_infinity_and_nan_reach_what_reads_them(name: str, side: int, value: float) -> None:
    got, wanted = with_value_inside(name, value, side)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(wanted))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_weight_that_is_not_finite_meets_the_zeros_of_padding(value: float) -> None:
    """Terms outside of the image count as products with 0 (docs/decisions.md): nan in their places, and only there."""
    got, wanted = with_value_inside("strided", value, 0)
    same = ~np.isnan(got)
    np.testing.assert_allclose(got[same], wanted[same], rtol=1e-4, atol=1e-4)
    assert np.isnan(got)[np.isnan(wanted)].all()


def test_what_is_unusual_is_left_alone() -> None:
    i, j, k = P[:3]
    x, y = tensor("x", 64, 64), tensor("y", 64, 64)
    index = tensor("index", 64, dtype="int64")
    product = total((64, 64), (64,), call("mul", load(x, [i, k]), load(y, [k, j])))
    gathered = total((64, 30), (30,), call("mul", load(x, [load(index, [i]), k]), load(y, [i, j + k])))
    band = call("where", call("ge", k - j, integer(0)), call("mul", load(x, [i, k]), load(y, [i, j + k])), number(0))
    largest = total((64, 30), (30,), call("mul", load(x, [i, k]), load(y, [i, j + k])), "max")
    for node in (product, gathered, total((64, 30), (30,), band), largest):
        assert recognise(node) is None


def test_small_sums_are_left_alone() -> None:
    with using(CPU):
        assert recognise(CASES["window"]) is None
        assert recognise(window(56, 3, 8, 16, pad=1)) is not None
