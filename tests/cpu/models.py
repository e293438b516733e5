"""Models for the tests of compiled networks, small, and each with a trait of its own; no layer is tested twice.

A model is a function that declares fresh tensors and returns outputs by name. `MODELS` says at which sizes it runs, and
how the arrays that cannot be any normal numbers are drawn.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gradgen as gg
from gradgen import nn
from gradgen.graph.nodes import Leaf, show_size, toposort
from gradgen.graph.tensor import Tensor
from gradgen.runtime.interface import evaluate_size
from tests.repeats import parameter, turn

Outputs = dict[str, Tensor]
Arrays = dict[str, np.ndarray]
Draw = Callable[[np.random.Generator, tuple[int, ...], Mapping[str, int]], np.ndarray]


@dataclass(frozen=True)
class Model:
    """What to build, at which sizes to run it, and what its arrays hold where normal numbers will not do.

    `loss` names the output of value_and_grad. `least` are sizes below which the model means nothing. The gradients of
    `detached` outputs are not those of their values: something in them is held constant.
    """

    build: Callable[[], Outputs]
    sizes: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, Draw] = field(default_factory=dict)
    loss: str | None = None
    least: Mapping[str, int] = field(default_factory=dict)
    detached: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.build.__name__

    def arrays(self, leaves: list[Leaf], seed: int = 0, sizes: Mapping[str, int] | None = None) -> Arrays:
        """An array for every leaf, in its dtype; equal seeds give equal numbers in every float dtype."""
        rng = np.random.default_rng(seed)
        sizes = self.sizes if sizes is None else sizes
        found: Arrays = {}
        for x in leaves:
            shape = tuple(evaluate_size(show_size(extent), sizes) for extent in x.shape)
            drawn = self.data[x.name](rng, shape, sizes) if x.name in self.data else 0.7 * rng.standard_normal(shape)
            found[x.name] = np.asarray(drawn, x.dtype)
        return found


def leaves_of(outputs: Outputs) -> list[Leaf]:
    """The leaves in the order of declaration."""
    found = [n for n in toposort([y.node for y in outputs.values()]) if isinstance(n, Leaf)]
    return sorted(found, key=lambda x: x.serial)


def below(count: int | str) -> Draw:
    """Integers from 0 to a number, or to a size, without it."""
    return lambda rng, shape, sizes: rng.integers(0, sizes[count] if isinstance(count, str) else count, shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...], sizes: Mapping[str, int]) -> np.ndarray:
    return rng.uniform(0.5, 2.0, shape)


def weights(rng: np.random.Generator, shape: tuple[int, ...], sizes: Mapping[str, int]) -> np.ndarray:
    """Layers of these neither shrink nor grow what passes through, however many there are."""
    return rng.standard_normal(shape) * shape[-1] ** -0.5


def coins(rng: np.random.Generator, shape: tuple[int, ...], sizes: Mapping[str, int]) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(bool)


def few(rng: np.random.Generator, shape: tuple[int, ...], sizes: Mapping[str, int]) -> np.ndarray:
    return rng.integers(-5, 6, shape)


def constant(value: float) -> Draw:
    return lambda rng, shape, sizes: np.full(shape, value)


# ---------------------------------------------------------------- the canaries; leaves as in tests/oracle


def mlp_naive_ce() -> Outputs:
    B = gg.size("B")
    a, b = gg.input("a", (B, 6)), gg.input("b", (B,), dtype="int64")
    X1, mu1 = gg.param("X1", (7, 6)), gg.param("mu1", (7,))
    X2, mu2 = gg.param("X2", (4, 7)), gg.param("mu2", (4,))
    n, i, j = gg.indices("n i j")
    u1 = gg.compute((n, i), gg.sum(X1[i, j] * a[n, j], over=j) + mu1[i])
    h1 = gg.relu(u1)
    u2 = h1 @ X2.T + mu2
    p = gg.compute(n, gg.exp(u2[n, b[n]]) / gg.sum(gg.exp(u2[n, j]), over=j))
    loss = gg.mean(-gg.log(p))
    return {"loss": loss, "scores": u2}


def conv_strided() -> Outputs:
    """Stride 2, dilation 3, padding 2."""
    N, H, W = gg.size("N"), gg.size("H"), gg.size("W")
    a, K = gg.input("a", (N, 3, H, W)), gg.param("K", (4, 3, 3, 3))
    n, o, c, p, q = gg.indices("n o c p q")
    h, w = gg.index("h", (H - 3) // 2 + 1), gg.index("w", (W - 3) // 2 + 1)
    g = gg.input("g", (N, 4, (H - 3) // 2 + 1, (W - 3) // 2 + 1))
    window = gg.padded(a)[n, c, 2 * h + 3 * p - 2, 2 * w + 3 * q - 2]
    y = gg.compute((n, o, h, w), gg.sum(K[o, c, p, q] * window, over=(c, p, q)))
    return {"loss": gg.sum(y * g), "y": y}


def conv_plain() -> Outputs:
    N = gg.size("N")
    a, K, g = gg.input("a", (N, 3, 8, 7)), gg.param("K", (4, 3, 3, 3)), gg.input("g", (N, 4, 6, 5))
    n, o, h, w, c, p, q = gg.indices("n o h w c p q")
    y = gg.compute((n, o, h, w), gg.sum(K[o, c, p, q] * a[n, c, h + p, w + q], over=(c, p, q)))
    return {"loss": gg.sum(y * g)}


def embedding_tanh() -> Outputs:
    N = gg.size("N")
    E, idx, g = gg.param("E", (11, 5)), gg.input("idx", (N,), dtype="int64"), gg.input("g", (N, 5))
    n, f = gg.indices("n f")
    v = gg.compute((n, f), E[idx[n], f])
    return {"loss": gg.sum(gg.tanh(v) * g), "v": v}


def lstm() -> Outputs:
    """Gates in the order i, f, g, o."""
    T, B, H = gg.size("T"), gg.size("B"), 5
    x, h0, c0 = gg.input("x", (T, B, 4)), gg.input("h0", (B, H)), gg.input("c0", (B, H))
    W_ih, W_hh = gg.param("W_ih", (4 * H, 4)), gg.param("W_hh", (4 * H, H))
    b_ih, b_hh = gg.param("b_ih", (4 * H,)), gg.param("b_hh", (4 * H,))
    g = gg.input("g", (T, B, H))

    def cell(carry: tuple[Tensor, Tensor], x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        h, c = carry
        u = x @ W_ih.T + b_ih + h @ W_hh.T + b_hh
        i, f, z, o = (u[:, k * H : (k + 1) * H] for k in range(4))
        c = gg.sigmoid(f) * c + gg.sigmoid(i) * gg.tanh(z)
        h = gg.sigmoid(o) * gg.tanh(c)
        return (h, c), h

    _, hs = gg.scan(cell, (h0, c0), x)
    return {"loss": gg.sum(hs * g)}


def causal_attention() -> Outputs:
    B, T, d = gg.size("B"), gg.size("T"), 4
    q, k, v, g = (gg.input(name, (B, 3, T, d)) for name in ("q", "k", "v", "g"))
    b, h, i, j, c = gg.indices("b h i j c")
    s = gg.compute((b, h, i, j), gg.sum(q[b, h, i, c] * k[b, h, j, c], over=c) / math.sqrt(d))
    e = gg.compute((b, h, i, j), gg.where(j <= i, gg.exp(s[b, h, i, j]), 0.0))
    p = e / gg.sum(e, axis=3, keepdims=True)
    y = gg.compute((b, h, i, c), gg.sum(p[b, h, i, j] * v[b, h, j, c], over=j))
    return {"loss": gg.sum(y * g)}


def layernorm_softmax() -> Outputs:
    N = gg.size("N")
    x, w = gg.input("x", (N, 7)), gg.input("w", (N, 7))
    weight, bias = gg.param("weight", (7,)), gg.param("bias", (7,))
    y = nn.layer_norm(x, weight, bias)
    return {"loss": gg.sum(w * nn.softmax(y))}


def _deep(widths: tuple[int, ...]) -> Outputs:
    N = gg.size("N")
    a, g = gg.input("a", (N, widths[0])), gg.input("g", (N, widths[-1]))
    h = a
    for k in range(1, len(widths)):
        X, mu = gg.param(f"X{k}", (widths[k], widths[k - 1])), gg.param(f"mu{k}", (widths[k],))
        h = gg.tanh(h @ X.T + mu)
    return {"loss": gg.sum(h * g)}


EQUAL_WIDTHS = (16,) * 101
DIFFERENT_WIDTHS = tuple(2 + (3 * k) % 7 + k % 2 for k in range(11))


def deep_equal() -> Outputs:
    return _deep(EQUAL_WIDTHS)


def deep_different() -> Outputs:
    """Ten layers of many shapes."""
    return _deep(DIFFERENT_WIDTHS)


# ---------------------------------------------------------------- products


def transposed_weights() -> Outputs:
    """One matrix, both ways around; vectors on either side; a product of two transposes."""
    B = gg.size("B")
    x, W, v = gg.input("x", (B, 5)), gg.param("W", (3, 5)), gg.param("v", (3,))
    code = gg.tanh(x @ W.T)
    back = code @ W
    both = W.T @ code.T
    return {"loss": gg.mean((back - x) ** 2), "left": v @ W, "right": code @ v, "both": both}


def blas_products() -> Outputs:
    """Sizes that are known and large enough for a matrix library."""
    x, W, V = gg.input("x", (24, 48)), gg.param("W", (40, 48)), gg.param("V", (32, 40))
    h = gg.tanh(x @ W.T)
    y = h @ V.T
    return {"loss": gg.mean(y * y), "y": y}


def batched_products() -> Outputs:
    B = gg.size("B")
    a, b, c = gg.param("a", (B, 2, 3, 4)), gg.param("b", (2, 4, 5)), gg.param("c", (B, 1, 5, 2))
    return {"y": (a @ b) @ c}


def three_factors() -> Outputs:
    """A bilinear form, and a chain over two indices."""
    N = gg.size("N")
    x, y, A = gg.input("x", (N, 4)), gg.input("y", (N, 3)), gg.param("A", (4, 3, 2))
    n, i, j, k = gg.indices("n i j k")
    z = gg.compute((n, k), gg.sum(x[n, i] * A[i, j, k] * y[n, j], over=(i, j)))
    Q = gg.param("Q", (4, 4))
    form = gg.compute(n, gg.sum(x[n, i] * Q[i, j] * x[n, j], over=(i, j)))
    return {"z": z, "form": form, "loss": gg.sum(z) + gg.sum(form * form)}


# ---------------------------------------------------------------- whole tensors


def broadcasting() -> Outputs:
    N = gg.size("N")
    x, row, column, s = gg.param("x", (N, 4)), gg.param("row", (4,)), gg.param("column", (3, 1, 1)), gg.param("s", ())
    y = x * row + column / (2.0 + s * s)
    return {"y": y, "outer": row[:, None] * row[None, :] - s, "loss": gg.mean(y * y)}


def reductions() -> Outputs:
    N = gg.size("N")
    x = gg.param("x", (N, 4, 3))
    return {
        "total": gg.sum(x, axis=1),
        "average": gg.mean(x, axis=(0, 2)),
        "largest": gg.max(x, axis=0),
        "smallest": gg.min(x, axis=-1, keepdims=True),
        "place": gg.argmax(x, axis=1),
        "bottom": gg.argmin(x, axis=2),
        "soft": gg.logsumexp(x, axis=(1, 2)),
    }


def full_reductions() -> Outputs:
    """Many scalars; none of them is the loss unless it is named."""
    N = gg.size("N")
    x = gg.param("x", (N, 4))
    return {
        "total": gg.sum(x),
        "average": gg.mean(x * x),
        "largest": gg.max(x),
        "smallest": gg.min(x),
        "soft": gg.logsumexp(x),
        "positives": gg.sum(x > 0),
    }


def nested_reducers() -> Outputs:
    """Reducers inside reducers, and a reducer in the middle of a formula."""
    N = gg.size("N")
    x, w = gg.param("x", (N, 4, 3)), gg.param("w", (4,))
    n, i, j = gg.indices("n i j")
    y = gg.compute(n, gg.max(w[i] * gg.sum(x[n, i, j] ** 2, over=j), over=i) / (1.0 + gg.sum(w[i] ** 2, over=i)))
    return {"y": y, "loss": gg.sum(y)}


def shared_index_names() -> Outputs:
    """One letter, several ranges: every formula has its own."""
    a, b = gg.param("a", (3, 4)), gg.param("b", (4, 5))
    i, j = gg.indices("i j")
    rows = gg.compute(i, gg.sum(a[i, j], over=j))
    columns = gg.compute(i, gg.sum(b[j, i], over=j))
    mixed = gg.compute((j, i), rows[j] * columns[i])
    return {"mixed": mixed, "loss": gg.sum(mixed * mixed)}


def strided_slices() -> Outputs:
    N = gg.size("N")
    x = gg.param("x", (N, 9))
    even, odd, back, inner = x[:, ::2], x[:, 1::2], x[::-1, ::-1], x[:, 2:7]
    y = even[:, :4] * odd + x[:, -1:] - back[:, :4]
    return {"y": y, "inner": inner, "one": x[:, 3], "loss": gg.sum(y * y) + gg.sum(inner * back[:, 1::2][:, :1])}


def concatenation() -> Outputs:
    N = gg.size("N")
    a, b, c = gg.param("a", (N, 2)), gg.param("b", (N, 3)), gg.param("c", (2, 2))
    wide = gg.concatenate([a, b * b, a], axis=1)
    long = gg.concatenate([a, c], axis=0)
    pile = gg.stack([a, gg.exp(a)], axis=1)
    return {"long": long, "pile": pile, "loss": gg.sum(gg.tanh(wide) * wide) + gg.sum(long * long)}


def reshapes() -> Outputs:
    N = gg.size("N")
    x, w = gg.param("x", (N, 2, 6)), gg.param("w", (3, 4))
    flat = x.reshape(N, 12)
    y = flat * w.reshape(12)
    z = gg.transpose(y.reshape(N, 3, 4), (2, 0, 1))
    return {"z": z, "t": x.T, "one": gg.expand_dims(w, 1), "loss": gg.sum(z * z)}


def shapes_in_between() -> Outputs:
    """Another shape of a value is whole only behind the loop that computes it."""
    x = gg.param("x", (6, 6))
    h = gg.tanh(x)
    r = gg.reshape(gg.exp(gg.reshape(h, (36,))), (6, 6))
    n, i = gg.indices("n i")
    z = gg.compute((n, i), r[i, n] * x[n, i])
    u = gg.compute((n, i), gg.reshape(gg.transpose(h), (6, 6))[n, i] + x[n, i])
    return {"loss": gg.sum(z * u), "z": z, "h": h}


def diagonals() -> Outputs:
    A, x = gg.param("A", (4, 4)), gg.param("x", (5,))
    i, j, k = gg.index("i"), gg.index("j", 4), gg.index("k", 3)
    diagonal = gg.compute(i, A[i, i])
    above = gg.compute(k, A[k, k + 1])
    anti = gg.compute(j, A[j, 3 - j])
    hankel = gg.compute((k, i), x[k + i])
    loss = gg.sum(diagonal**2) + gg.sum(above * above) * gg.sum(anti)
    return {"diagonal": diagonal, "above": above, "anti": anti, "hankel": hankel, "loss": loss}


def masks_on_indices() -> Outputs:
    N = gg.size("N")
    x, w = gg.param("x", (N, N)), gg.param("w", (N,))
    i, j = gg.indices("i j")
    lower = gg.compute((i, j), gg.where(j <= i, x[i, j] * w[j], 0.0))
    band = gg.compute((i, j), gg.where((j >= i - 1) & (j <= i + 1), x[i, j], -1.0))
    checker = gg.compute((i, j), gg.where((i + j) % 2 == 0, gg.exp(x[i, j]), 2.0))
    shifted = gg.compute(i, w[i] - gg.where(i > 0, w[i - 1], 0.0))
    loss = gg.sum(lower * band) + gg.sum(checker) + gg.sum(shifted**2)
    return {"lower": lower, "band": band, "checker": checker, "shifted": shifted, "loss": loss}


def masks_on_values() -> Outputs:
    """Branches that are nan or infinite where they are not taken."""
    N = gg.size("N")
    x, keep = gg.param("x", (N, 3)), gg.input("keep", (N, 3), dtype="bool")
    safe = gg.where(x > 0, gg.log(x), 0.0)
    root = gg.where(x >= 0.25, gg.sqrt(x - 0.25), -x)
    dropped = gg.where(keep, x * 2.0, 0.0)
    held = gg.clip(x, -0.5, 0.5)
    loss = gg.sum(safe) + gg.sum(root * dropped) + gg.sum(gg.abs(held))
    return {"safe": safe, "root": root, "dropped": dropped, "held": held, "loss": loss}


def padded_reads() -> Outputs:
    """Beyond both borders, with a number other than zero, and a maximum over windows."""
    N = gg.size("N")
    x, w = gg.param("x", (2, N)), gg.param("w", (3,))
    c, i = gg.index("c"), gg.index("i", N)
    p, q = gg.index("p", 3), gg.index("q", 3)
    smooth = gg.compute((c, i), gg.sum(w[p] * gg.padded(x)[c, i + p - 1], over=p))
    ones = gg.compute((c, i), gg.padded(x, 1.0)[c, i - 1] * x[c, i])
    largest = gg.compute((c, i), gg.max(gg.padded(x, -math.inf)[c, i + q - 1], over=q))
    return {"smooth": smooth, "ones": ones, "largest": largest, "loss": gg.sum(smooth * ones + largest)}


def places_under_guards() -> Outputs:
    """Quotients, remainders and products of indices name places that only a condition keeps inside."""
    N = gg.size("N")
    x, w, k = gg.param("x", (5,)), gg.param("w", (N,)), gg.param("k", (N,))
    t, p, i, j = gg.index("t", 10), gg.index("p", 3), gg.index("i", N), gg.index("j", N)
    n, far = t + 1 - p, i * 300000007
    fits = (n % 2 == 0) & (n >= 0) & (n // 2 < 5)
    transposed = gg.compute(t, gg.sum(gg.where(fits, gg.padded(x)[n // 2] * (p + 1), 0.0), over=p))
    product = gg.compute((i, j), gg.where(i * j < N, gg.padded(w)[i * j] * k[i], k[j]))
    several = gg.compute(i, gg.where(i % 7 < 5, gg.padded(x)[i % 7] * k[i], gg.where(i // 3 < 5, x[i // 3], 0.0)))
    rare = gg.compute(i, gg.where((far // 2 < 5) & (far % 2 == 0), gg.padded(x)[far // 2] * k[i], 0.0))
    squares = gg.sum(transposed * transposed) + gg.sum(product * product) + gg.sum(several * rare)
    return {"transposed": transposed, "several": several, "loss": squares + gg.sum(several * several)}


def pooling() -> Outputs:
    """A size with arithmetic: ceil(H / 2) windows of 3, and averages of pairs."""
    N, H = gg.size("N"), gg.size("H")
    x, bias = gg.param("x", (N, 2 * H + 1)), gg.param("bias", (H,))
    out = gg.index("h", (2 * H + 1 - 3) // 2 + 1)
    n, p, q = gg.index("n"), gg.index("p", 3), gg.index("q", 2)
    largest = gg.compute((n, out), gg.max(x[n, 2 * out + p], over=p))
    average = gg.compute((n, out), gg.mean(x[n, 2 * out + q], over=q))
    return {"largest": largest, "average": average, "loss": gg.sum(largest * average + bias)}


# ---------------------------------------------------------------- gathers and scatters


def gathers() -> Outputs:
    """Integers that select rows, columns and single elements, and integers looked up by integers."""
    N = gg.size("N")
    A = gg.param("A", (5, 4))
    r, c = gg.input("r", (N,), dtype="int64"), gg.input("c", (N,), dtype="int32")
    table = gg.input("table", (6,), dtype="int64")
    m = gg.input("m", (2, N), dtype="int64")
    n, f, k = gg.indices("n f k")
    elements = gg.compute(n, A[r[n], c[n]])
    columns = gg.compute((f, n), A[f, c[n]] ** 2)
    twice = gg.compute((k, n, f), A[table[m[k, n]], f])
    return {"elements": elements, "columns": columns, "twice": twice, "loss": gg.sum(elements**2) + gg.sum(twice)}


def graph_layer() -> Outputs:
    """Messages along edges, added up at their targets."""
    N, E = gg.size("N"), gg.size("E")
    x, W = gg.param("x", (N, 3)), gg.param("W", (2, 3))
    src, dst = gg.input("src", (E,), dtype="int64"), gg.input("dst", (E,), dtype="int64")
    e, f, c = gg.indices("e f c")
    message = gg.compute((e, f), gg.tanh(gg.sum(W[f, c] * x[src[e], c], over=c)))
    total = gg.accumulate((dst[e], f), message[e, f], shape=(N, 2))
    degree = gg.accumulate((dst[e],), 1, shape=(N,))
    loss = gg.sum(total * total)
    return {"total": total, "degree": degree, "loss": loss}


def scatters() -> Outputs:
    """Targets that are affine, partly affine, and repeated."""
    N = gg.size("N")
    x, w = gg.param("x", (N,)), gg.param("w", (3,))
    b = gg.input("b", (N,), dtype="int64")
    i, p = gg.indices("i p")
    spread = gg.accumulate((2 * i + p,), x[i] * w[p], shape=(2 * N + 1,))
    diagonal = gg.accumulate((i, i), x[i], shape=(N, N))
    bins = gg.accumulate((b[i], p), x[i] * w[p], shape=(4, 3))
    return {"spread": spread, "diagonal": diagonal, "bins": bins, "loss": gg.sum(bins**2) + gg.sum(spread**3)}


# ---------------------------------------------------------------- scans


def recurrence() -> Outputs:
    """Backwards, with a result per step and the last carry; a weight that every step reads."""
    T = gg.size("T")
    xs, W, h0 = gg.input("xs", (T, 2, 3)), gg.param("W", (3, 3)), gg.param("h0", (2, 3))

    def body(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = gg.tanh(h @ W + x)
        return h, gg.sum(h, axis=1)

    last, sums = gg.scan(body, h0, xs, reverse=True)
    return {"last": last, "sums": sums, "loss": gg.sum(sums * sums) + gg.sum(last)}


def iteration() -> Outputs:
    """Newton's method for a square root: no xs, and a scalar carry."""
    a = gg.param("a", (3,))
    x, trace = gg.scan(lambda x, _: (0.5 * (x + a / x), x), gg.ones(3), length=6)
    return {"x": x, "trace": trace, "loss": gg.sum(x)}


def stacked_layers() -> Outputs:
    """Equal layers as a scan over their stacked weights."""
    B = gg.size("B")
    a, X, mu = gg.input("a", (B, 4)), gg.param("X", (5, 4, 4)), gg.param("mu", (5, 4))
    h, _ = gg.scan(lambda h, layer: (gg.tanh(h @ layer[0].T + layer[1]), None), a, (X, mu))
    return {"h": h, "loss": gg.mean(h * h)}


def scan_in_scan() -> Outputs:
    T, S = gg.size("T"), gg.size("S")
    A, s = gg.param("A", (T, S)), gg.param("s", ())

    def row(total: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        return gg.scan(lambda z, x: (z * s + x * total, z), total, a)

    last, partial = gg.scan(row, gg.ones(()), A)
    return {"last": last, "partial": partial}


def scan_of_the_outer_carry() -> Outputs:
    """What the inner loop gives out depends on the carry of the outer one only."""
    T, S = gg.size("T"), gg.size("S")
    A, s, z = gg.param("A", (T,)), gg.param("s", ()), gg.param("z", (S,))

    def row(total: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        h, given = gg.scan(lambda h, x: (gg.tanh(h * 0.5 + x), total * total), 0.1 * s, z)
        return gg.tanh(total * s + a) + 0.1 * gg.sum(given) + 0.2 * h, gg.sum(given)

    last, partial = gg.scan(row, 0.3 * s, A)
    return {"last": last + gg.sum(partial), "partial": partial}


# ---------------------------------------------------------------- scalars, dtypes, odd outputs


def lecture_scalar() -> Outputs:
    x1, x2 = gg.param("x1", ()), gg.param("x2", ())
    y = gg.log(x1) + x1 * x2 - gg.sin(x2)
    return {"y": y}


def scalar_functions() -> Outputs:
    """Every smooth function, and powers."""
    N = gg.size("N")
    x, y = gg.param("x", (N,)), gg.param("y", (N,))
    smooth = [gg.exp, gg.expm1, gg.tanh, gg.sigmoid, gg.logsigmoid, gg.softplus, gg.erf, gg.sin, gg.cos, gg.square]
    halfline = [gg.log, gg.log1p, gg.sqrt, gg.rsqrt, gg.reciprocal]
    return {
        "smooth": gg.stack([f(x) for f in smooth]),
        "halfline": gg.stack([f(y) for f in halfline]),
        "powers": gg.stack([x**2, x**3, y**-2, y**0.5, y**x, 2.0**x, -x, x / y, 1.0 / y]),
        "kinks": gg.stack([gg.relu(x), gg.abs(x), gg.maximum(x, y), gg.minimum(x, 0.1), gg.sign(x), gg.floor(x)]),
        "rest": gg.stack([gg.ceil(x), gg.mod(x, y), x // y]),
        "held": gg.stop_gradient(x) * x,
    }


def losses() -> Outputs:
    """The formulas that are not stable as they are printed."""
    N = gg.size("N")
    x, t = gg.param("x", (N, 4)), gg.input("t", (N, 4))
    b = gg.input("b", (N,), dtype="int64")
    return {
        "cross_entropy": nn.cross_entropy(x, b),
        "log_softmax": nn.log_softmax(x),
        "binary": nn.binary_cross_entropy_with_logits(x, t),
        "soft": gg.log(1.0 + gg.exp(x)),
        "lse": gg.log(gg.sum(gg.exp(x), axis=1)),
        "gelu": nn.gelu(x),
        "silu": nn.silu(x),
    }


def integers() -> Outputs:
    """Integer arithmetic, comparisons, and what mixes with floats."""
    N = gg.size("N")
    k, m = gg.input("k", (N,), dtype="int64"), gg.input("m", (N,), dtype="int32")
    flag, x = gg.input("flag", (N,), dtype="bool"), gg.param("x", (N,))
    return {
        "floors": k // 3,
        "rests": k % 3,
        "products": k * m + 1,
        "ratios": k / 4,
        "mixed": x * k + m,
        "same": (k == m) & flag,
        "count": gg.sum(flag),
        "largest": gg.max(k),
        "rounded": gg.cast(x * 10.0, "int64"),
        "double": gg.float64(x) * 2.0,
        "ramp": gg.arange(N) * 2,
    }


def odd_outputs() -> Outputs:
    """Leaves, views, one node under two names, constants."""
    N = gg.size("N")
    x, k = gg.param("x", (N, 4)), gg.input("k", (N,), dtype="int64")
    y = x * 2.0
    return {
        "leaf": x,
        "integers": k,
        "flat": x.reshape(N * 4),
        "y": y,
        "again": y,
        "flat_y": y.reshape(2 * N, 2),
        "ones": gg.ones((2, 3)),
        "loss": gg.sum(y),
    }


def several_losses() -> Outputs:
    N = gg.size("N")
    x, w, unused = gg.input("x", (N, 3)), gg.param("w", (3,)), gg.param("unused", (2,))
    fit = gg.mean((x @ w) ** 2)
    penalty = gg.sum(w * w) + gg.sum(unused)
    return {"fit": fit, "penalty": penalty, "total": fit + 0.1 * penalty}


def awkward_names() -> Outputs:
    """What the generated file calls its own things, and names from beyond ASCII."""
    N = gg.size("n")
    w, g = gg.param("w", (N, 3)), gg.param("g", (3,))
    p, out, work, njit = gg.param("p", (3,)), gg.input("out", (N,)), gg.param("Work", (3,)), gg.param("njit", (3,))
    exp, i, forward = gg.param("exp", (3,)), gg.param("i", ()), gg.input("forward", (N, 3))
    d_w, mu = gg.input("d_v", (N, 3)), gg.param("μ", (3,))
    s = gg.exp(w * g + p) + work * njit - exp
    y = gg.tanh(s * d_w + forward) * i + mu
    return {"workspace": y, "backward": gg.sum(y, axis=1) * out, "loss": gg.sum(y * y)}


def batch_norm() -> Outputs:
    """Statistics over two axes, which every element needs; the running mean has no gradient."""
    N = gg.size("N")
    x, scale = gg.param("x", (N, 2, 3)), gg.param("scale", (1, 2, 1))
    m = gg.mean(x, axis=(0, 2), keepdims=True)
    v = gg.mean((x - m) ** 2, axis=(0, 2), keepdims=True)
    y = (x - m) / gg.sqrt(v + 1e-3) * scale
    return {"y": y, "mean": gg.stop_gradient(m), "loss": gg.sum(y**3)}


def one_sample() -> Outputs:
    """A controller: one observation, two layers of tanh; the sums are too short to hide a tanh behind."""
    a, y = gg.input("a", (6,)), gg.input("y", (3,))
    X1, mu1 = gg.param("X1", (24, 6)), gg.param("mu1", (24,))
    X2, mu2 = gg.param("X2", (3, 24)), gg.param("mu2", (3,))
    h1 = gg.tanh(X1 @ a + mu1)
    h2 = gg.tanh(X2 @ h1 + mu2)
    loss = gg.sum((h2 - y) ** 2)
    return {"loss": loss}


def materialized() -> Outputs:
    """Values in memory of their own: formulas, a sum, a product, a transpose, in a branch, in a loop, integers."""
    N = gg.size("N")
    x, w, k = gg.param("x", (N, 4)), gg.param("w", (4, 4)), gg.input("k", (N,), "int64")
    twice = gg.materialize(gg.materialize(2.0 * x) + 1.0)
    product = gg.materialize(x @ w)
    turned = gg.materialize(w.T)
    norm = gg.materialize(gg.sum(twice * twice, axis=1))
    logs = gg.materialize(gg.log(x))
    masked = gg.where(x > 0, logs, 0.0)
    e = gg.materialize(gg.exp(x))
    share = e / gg.sum(e, axis=1, keepdims=True)
    following = gg.materialize(k + 1)

    def body(h: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, gg.Tensor]:
        u = gg.materialize(h * row + 1.0)
        return gg.tanh(u), gg.materialize(u * u) + gg.materialize(h)

    last, steps = gg.scan(body, gg.materialize(w[0]), x)
    y = product @ turned + twice * twice + masked + share * norm[:, None] + gg.materialize(steps)
    return {"y": y, "e": e, "following": following * following, "loss": gg.sum(gg.materialize(y * y)) + gg.sum(last)}


CANARIES = (
    Model(mlp_naive_ce, {"B": 5}, {"b": below(4)}, "loss"),
    Model(conv_strided, {"N": 2, "H": 11, "W": 10}, loss="loss", least={"H": 3, "W": 3}),
    Model(conv_plain, {"N": 2}, loss="loss"),
    Model(embedding_tanh, {"N": 17}, {"idx": below(11)}, "loss"),
    Model(lstm, {"T": 10, "B": 3}, loss="loss"),
    Model(causal_attention, {"B": 2, "T": 9}, loss="loss"),
    Model(layernorm_softmax, {"N": 6}, loss="loss"),
    Model(deep_equal, {"N": 2}, {f"X{k}": weights for k in range(1, 101)}, loss="loss"),
    Model(deep_different, {"N": 2}, {f"X{k}": weights for k in range(1, 11)}, loss="loss"),
)
MODELS = (
    Model(one_sample, loss="loss"),
    *CANARIES,
    Model(transposed_weights, {"B": 4}, loss="loss"),
    Model(blas_products, loss="loss"),
    Model(batched_products, {"B": 2}),
    Model(three_factors, {"N": 3}, loss="loss"),
    Model(broadcasting, {"N": 3}, loss="loss"),
    Model(reductions, {"N": 5}, least={"N": 1}),
    Model(full_reductions, {"N": 5}, loss="soft", least={"N": 1}),
    Model(nested_reducers, {"N": 3}, loss="loss"),
    Model(shared_index_names, loss="loss"),
    Model(strided_slices, {"N": 3}, loss="loss"),
    Model(concatenation, {"N": 3}, loss="loss"),
    Model(reshapes, {"N": 2}, loss="loss"),
    Model(shapes_in_between, loss="loss"),
    Model(diagonals, loss="loss"),
    Model(masks_on_indices, {"N": 5}, loss="loss"),
    Model(masks_on_values, {"N": 5}, {"keep": coins}, loss="loss"),
    Model(padded_reads, {"N": 6}, loss="loss"),
    Model(places_under_guards, {"N": 12}, loss="loss"),
    Model(pooling, {"N": 2, "H": 3}, loss="loss", least={"H": 1}),
    Model(gathers, {"N": 7}, {"r": below(5), "c": below(4), "table": below(5), "m": below(6)}, "loss"),
    Model(graph_layer, {"N": 4, "E": 9}, {"src": below("N"), "dst": below("N")}, "loss"),
    Model(scatters, {"N": 5}, {"b": below(4)}, "loss"),
    Model(recurrence, {"T": 4}, loss="loss"),
    Model(iteration, data={"a": positive}, loss="loss"),
    Model(stacked_layers, {"B": 3}, loss="loss"),
    Model(scan_in_scan, {"T": 3, "S": 4}, loss="last"),
    Model(scan_of_the_outer_carry, {"T": 3, "S": 4}, loss="last"),
    Model(lecture_scalar, data={"x1": constant(2.0), "x2": constant(5.0)}, loss="y"),
    Model(scalar_functions, {"N": 6}, {"y": positive}, detached=("held",)),
    Model(losses, {"N": 5}, {"b": below(4), "t": positive}, loss="cross_entropy"),
    Model(integers, {"N": 6}, {"k": few, "m": few, "flag": coins}),
    Model(odd_outputs, {"N": 3}, {"k": few}, "loss"),
    Model(several_losses, {"N": 4}, loss="total"),
    Model(awkward_names, {"n": 4}, loss="loss"),
    Model(batch_norm, {"N": 4}, loss="loss", detached=("mean",)),
    Model(materialized, {"N": 5}, {"k": few}, loss="loss"),
)
BY_NAME = {model.name: model for model in MODELS}


def parameters(models: Sequence[Model] = MODELS) -> list[Any]:
    """The names of models for `pytest.mark.parametrize`."""
    return [parameter(model.name) for model in models]


def compiled_in(name: str) -> str:
    """The dtype in which a model has machine code by default; all tests in one process share it."""
    return turn(tuple(BY_NAME), name)
