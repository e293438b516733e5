"""Contractions with an affine operand run as outer products: values and both adjoints against the interpreter.

Small windows with strides, dilations, paddings, odd extents; the threshold of size is lowered for them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.interpret import interpret
from gradgen.machine import CPU, using
from gradgen.network import Network
from tests.cpu.models import leaves_of
from tests.cpu.running import assert_close, unjitted
from tests.repeats import DTYPES, chosen


@pytest.fixture(autouse=True)
def every_size_pays() -> Iterator[None]:
    with using(replace(CPU, outer=1)):
        yield


def window(
    images: int | str, channels: int, size: int, filters: int, taps: int, pad: int = 0, s: int = 1, d: int = 1
) -> Callable[[], Tensor]:
    """y[n, o, h, w] = sum_{c, p, q} K[o, c, p, q] * a[n, c, s h + d p - pad, s w + d q - pad]"""

    def build() -> Tensor:
        n_size = gg.size(images) if isinstance(images, str) else images
        a = gg.param("a", (n_size, channels, size, size))
        k = gg.param("K", (filters, channels, taps, taps))
        n, o, c, p, q = gg.indices("n o c p q")
        out = (size + 2 * pad - d * (taps - 1) - 1) // s + 1
        h, w = gg.index("h", out), gg.index("w", out)
        read = gg.padded(a) if pad else a
        term = k[o, c, p, q] * read[n, c, s * h + d * p - pad, s * w + d * q - pad]
        return gg.compute((n, o, h, w), gg.sum(term, over=(c, p, q)))

    return build


def echo() -> Tensor:
    """y[b, t] = sum_u x[b, t + u] * x[b, u]: both operands are one tensor."""
    x = gg.param("x", (3, 40))
    t, u, b = gg.index("t", 25), gg.index("u", 16), gg.index("b", 3)
    return gg.compute((b, t), gg.sum(x[b, t + u] * x[b, u], over=u))


def slanted() -> Tensor:
    """y[o, i, j] = sum_p x[i + p, i + 2 p, j] * K[o, p]: two axes of a box are made of the same indices."""
    x, k = gg.param("x", (12, 15, 16)), gg.param("K", (5, 4))
    o, i, j, p = gg.index("o", 5), gg.index("i", 9), gg.index("j", 16), gg.index("p", 4)
    return gg.compute((o, i, j), gg.sum(x[i + p, i + 2 * p, j] * k[o, p], over=p))


def diagonal() -> Tensor:
    """y[o, i] = sum_p x[i + p, i + 2 p] * K[o, p]: elements side by side along i lie apart in memory."""
    x, k = gg.param("x", (20, 24)), gg.param("K", (5, 4))
    o, i, p = gg.index("o", 5), gg.index("i", 17), gg.index("p", 4)
    return gg.compute((o, i), gg.sum(x[i + p, i + 2 * p] * k[o, p], over=p))


def twice_as_far() -> Tensor:
    """y[o, i] = sum_p x[i + p, 2 i] * K[o, p]"""
    x, k = gg.param("x", (20, 33)), gg.param("K", (16, 4))
    o, i, p = gg.index("o", 16), gg.index("i", 17), gg.index("p", 4)
    return gg.compute((o, i), gg.sum(x[i + p, 2 * i] * k[o, p], over=p))


CASES: dict[str, Callable[[], Tensor]] = {
    "odd channels": window(3, 5, 9, 7, 3, pad=1),
    "one image, one channel": window(1, 1, 11, 9, 5),
    "strided": window(2, 4, 11, 18, 3, pad=1, s=2),
    "stride 3, even extent": window(2, 3, 16, 17, 5, pad=2, s=3),
    "gaps that nothing reads": window(2, 3, 14, 17, 2, s=3),
    "dilated": window(2, 3, 12, 17, 3, pad=2, d=2),
    "any number of images": window("B", 4, 8, 16, 3, pad=1),
    "one tensor twice": echo,
    "two axes of the same indices": slanted,
}
SIZES = {"B": 3}


def arrays_of(leaves: Any, dtype: str, sizes: dict[str, int]) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    return {
        x.name: rng.standard_normal([e.constant if e.constant is not None else sizes["B"] for e in x.shape]).astype(
            dtype
        )
        for x in leaves
    }


def compiled(build: Callable[[], Tensor], dtype: str) -> tuple[Network, Tensor]:
    y = build()
    wrt = [tensor(x) for x in leaves_of({"y": y})]
    return gg.compile({"y": y}, name="outer", dtype=dtype, wrt=wrt), y


def check(net: Network, y: Tensor, dtype: str, sizes: dict[str, int]) -> None:
    leaves = leaves_of({"y": y})
    arrays = arrays_of(leaves, dtype, sizes)
    precise = {x: arrays[x.name].astype(np.float32) for x in leaves}  # the model is declared in float32
    wanted = interpret([y.node], precise, sizes)[0]
    out, saved = net.forward(**arrays)
    assert_close(out["y"], wanted.astype(dtype), "float32", "y")
    seed = gg.input("d_y", y.shape)
    rng = np.random.default_rng(5)
    cotangent = rng.standard_normal(wanted.shape).astype(np.float32)
    pulled = [g.node for g in gg.vjp([y], [tensor(x) for x in leaves], [seed])]
    found = net.backward(saved, y=cotangent.astype(dtype))
    for x, g in zip(leaves, interpret(pulled, {**precise, seed.node: cotangent}, sizes), strict=True):
        assert_close(found[x.name], g.astype(dtype), "float32", f"d_{x.name}")


@pytest.mark.parametrize("name", CASES)
def test_as_plain_python(name: str) -> None:
    net, y = compiled(CASES[name], "float32")
    assert "_sums[" in net.source
    check(unjitted(net), y, "float32", SIZES)


@pytest.mark.parametrize("build", [diagonal, twice_as_far])
def test_what_makes_no_vectors(build: Callable[[], Tensor]) -> None:
    net, y = compiled(build, "float32")
    check(unjitted(net), y, "float32", SIZES)


def test_the_adjoint_of_a_strided_window_adds_into_every_second_place() -> None:
    net, _ = compiled(CASES["strided"], "float32")
    assert "d_a_sums[" in net.source
    net, _ = compiled(CASES["gaps that nothing reads"], "float32")
    assert "d_a_sums[" not in net.source


@pytest.mark.parametrize("dtype", chosen(DTYPES, []))  # the canaries have a convolution in machine code
def test_compiled(dtype: str) -> None:
    """One network compiled, called with several sizes, an empty one among them."""
    net, y = compiled(CASES["any number of images"], dtype)
    for images in (3, 1, 0, 4):
        check(net, y, dtype, {"B": images})


def test_infinite_weights_meet_zeros_around_a_padded_tensor() -> None:
    """A padded tensor reads 0, and 0 * inf is nan."""
    net, y = compiled(CASES["odd channels"], "float32")
    leaves = leaves_of({"y": y})
    arrays = arrays_of(leaves, "float32", {})
    arrays["K"][0, 0, 0, 0] = np.inf
    with np.errstate(invalid="ignore"):
        wanted = interpret([y.node], {x: arrays[x.name] for x in leaves})[0]
        found = unjitted(net)(**arrays)["y"]
    assert np.isnan(wanted).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(wanted))
