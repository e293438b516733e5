"""Eight models that between them use every part of the compiler; `docs/canaries.md` walks through what they become.

    python examples/canaries.py

prints how long each generated file is. `gradgen build examples/canaries.py -o docs/generated` writes them.
"""

import math
from collections.abc import Callable

import gradgen as gg
from gradgen import nn


def mlp() -> gg.Tensor:
    """Cross-entropy as a lecture prints it: -log(exp(u_b) / sum_j exp(u_j))."""
    B = gg.size("B")
    a, b = gg.input("a", (B, 64)), gg.input("b", (B,), dtype="int64")
    X1, mu1 = gg.param("X1", (128, 64)), gg.param("mu1", (128,))
    X2, mu2 = gg.param("X2", (10, 128)), gg.param("mu2", (10,))
    n, i, j = gg.indices("n i j")
    u1 = gg.compute((n, i), gg.sum(X1[i, j] * a[n, j], over=j) + mu1[i])
    h1 = gg.relu(u1)
    u2 = gg.compute((n, i), gg.sum(X2[i, j] * h1[n, j], over=j) + mu2[i])
    p = gg.compute(n, gg.exp(u2[n, b[n]]) / gg.sum(gg.exp(u2[n, j]), over=j))
    loss = gg.mean(-gg.log(p))
    return loss


def convolution() -> gg.Tensor:
    """3 x 3, plain."""
    N = gg.size("N")
    a, K, g = gg.param("a", (N, 8, 28, 28)), gg.param("K", (16, 8, 3, 3)), gg.input("g", (N, 16, 26, 26))
    n, o, h, w, c, p, q = gg.indices("n o h w c p q")
    y = gg.compute((n, o, h, w), gg.sum(K[o, c, p, q] * a[n, c, h + p, w + q], over=(c, p, q)))
    loss = gg.sum(y * g)
    return loss


def strided_convolution() -> gg.Tensor:
    """3 x 3 with stride 2, dilation 3, padding 2."""
    N = gg.size("N")
    a, K, g = gg.param("a", (N, 8, 29, 29)), gg.param("K", (16, 8, 3, 3)), gg.input("g", (N, 16, 14, 14))
    n, o, c, p, q = gg.indices("n o c p q")
    h, w = gg.index("h", 14), gg.index("w", 14)
    window = gg.padded(a)[n, c, 2 * h + 3 * p - 2, 2 * w + 3 * q - 2]
    y = gg.compute((n, o, h, w), gg.sum(K[o, c, p, q] * window, over=(c, p, q)))
    loss = gg.sum(y * g)
    return loss


def embedding() -> gg.Tensor:
    """Rows of a table by number, then a pointwise function; the adjoint adds into rows."""
    N = gg.size("N")
    E, idx, g = gg.param("E", (10_000, 64)), gg.input("idx", (N,), dtype="int64"), gg.input("g", (N, 64))
    n, f = gg.indices("n f")
    v = gg.compute((n, f), E[idx[n], f])
    loss = gg.sum(gg.tanh(v) * g)
    return loss


def lstm() -> gg.Tensor:
    """A recurrence over any number of steps: the generated file does not know how many."""
    T, B, H = gg.size("T"), 32, 128
    x, h0, c0 = gg.input("x", (T, B, 64)), gg.input("h0", (B, H)), gg.input("c0", (B, H))
    W_ih, W_hh, mu = gg.param("W_ih", (4 * H, 64)), gg.param("W_hh", (4 * H, H)), gg.param("mu", (4 * H,))
    g = gg.input("g", (T, B, H))

    def cell(carry: tuple[gg.Tensor, gg.Tensor], x: gg.Tensor) -> tuple[tuple[gg.Tensor, gg.Tensor], gg.Tensor]:
        h, c = carry
        u = x @ W_ih.T + h @ W_hh.T + mu
        i, f, z, o = gg.split(u, 4, axis=1)
        c = gg.sigmoid(f) * c + gg.sigmoid(i) * gg.tanh(z)
        h = gg.sigmoid(o) * gg.tanh(c)
        return (h, c), h

    _, hs = gg.scan(cell, (h0, c0), x)
    loss = gg.sum(hs * g)
    return loss


def attention() -> gg.Tensor:
    """Causal: token i looks at tokens j <= i."""
    B, T, d = gg.size("B"), gg.size("T"), 32
    q, k, v, g = gg.param("q", (B, T, d)), gg.param("k", (B, T, d)), gg.param("v", (B, T, d)), gg.input("g", (B, T, d))
    b, i, j, m, c = gg.indices("b i j m c")
    s = gg.compute((b, i, j), gg.sum(q[b, i, c] * k[b, j, c], over=c) / math.sqrt(d))
    e = gg.compute((b, i, j), gg.where(j <= i, gg.exp(s[b, i, j]), 0.0))
    p = gg.compute((b, i, j), e[b, i, j] / gg.sum(e[b, i, m], over=m))
    y = gg.compute((b, i, c), gg.sum(p[b, i, j] * v[b, j, c], over=j))
    loss = gg.sum(y * g)
    return loss


def norm_softmax() -> gg.Tensor:
    """Layer normalisation, then softmax over the same rows."""
    N = gg.size("N")
    x, g = gg.param("x", (N, 768)), gg.input("g", (N, 768))
    weight, bias = gg.param("weight", (768,)), gg.param("bias", (768,))
    y = nn.layer_norm(x, weight, bias)
    loss = gg.sum(nn.softmax(y) * g)
    return loss


def equal_layers() -> gg.Tensor:
    """A hundred layers of one shape."""
    N = gg.size("N")
    a, g = gg.input("a", (N, 128)), gg.input("g", (N, 128))
    h = a
    for k in range(1, 101):
        X, mu = gg.param(f"X{k}", (128, 128)), gg.param(f"mu{k}", (128,))
        h = gg.tanh(h @ X.T + mu)
    loss = gg.sum(h * g)
    return loss


def compiled(canary: Callable[[], gg.Tensor]) -> gg.Network:
    """A canary as a network."""
    return gg.compile({"loss": canary()}, name=canary.__name__)


mlp_net = compiled(mlp)
convolution_net = compiled(convolution)
strided_convolution_net = compiled(strided_convolution)
embedding_net = compiled(embedding)
lstm_net = compiled(lstm)
attention_net = compiled(attention)
norm_softmax_net = compiled(norm_softmax)
equal_layers_net = compiled(equal_layers)

if __name__ == "__main__":
    for net in [value for value in list(globals().values()) if isinstance(value, gg.Network)]:
        print(f"{net.model.name}: {len(net.source.splitlines())} lines")
