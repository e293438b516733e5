"""Contractions become matrix products whatever the order in which indices and memory come."""

from collections.abc import Callable

import numpy as np
import pytest

import gradgen as gg
from gradgen.graph.nodes import Compute, Leaf, Node, toposort
from gradgen.graph.scalar import loads
from gradgen.graph.unproved import unproved
from gradgen.lang.interpret import interpret
from gradgen.passes.rewrite.contract import classify, pack_operands

B, T, H, D = 3, 40, 4, 32
p = gg.input("p", (B, H, T, T), dtype="float64")
v, u = gg.input("v", (B, T, H, D), dtype="float64"), gg.input("u", (B, T, H, D), dtype="float64")
L = gg.input("L", (H, D, D), dtype="float64")
b, h, i, j = gg.indices("b h i j")
d, e = gg.index("d", D), gg.index("e", D)

# The batch index (heads, components) stands between rows and columns of the result.
MIDDLE: dict[str, Callable[[], gg.Tensor]] = {
    "heads of attention": lambda: gg.compute((b, i, h, d), gg.sum(p[b, h, i, j] * v[b, j, h, d], over=j)),
    "triangles": lambda: gg.compute((b, i, h, d), gg.sum(gg.where(d > e, L[h, d, e], 0) * v[b, i, h, e], over=e)),
}


def values(root: Node) -> dict[Leaf, np.ndarray]:
    rng = np.random.default_rng(0)
    leaves = [n for n in toposort([root]) if isinstance(n, Leaf)]
    return {n: rng.standard_normal([s.constant or 0 for s in n.shape]) for n in leaves}


@pytest.mark.parametrize("what", MIDDLE)
def test_a_batch_index_in_the_middle(what: str) -> None:
    node = MIDDLE[what]().node
    new = pack_operands(node)
    assert isinstance(new, Compute)
    product = loads(new.body)[0].tensor
    found = classify(product)
    assert found is not None
    assert len(found.loops) == (2 if what == "heads of attention" else 1)
    given = values(node)
    np.testing.assert_allclose(interpret([new], given)[0], interpret([node], given)[0], rtol=1e-12, atol=1e-12)


def test_operands_are_packed_along_their_rows() -> None:
    node = gg.compute((h, d, e), gg.sum((v[b, i, h, d] + 1) * u[b, i, h, e], over=(b, i))).node
    product = pack_operands(node)
    assert product is not None
    assert classify(product) is not None
    for read in loads(product.body):
        packed = read.tensor
        assert isinstance(packed, Compute)
        source = loads(packed.body)[0]
        assert source.subscripts[-1] is read.tensor.target[-1]
    given = values(node)
    np.testing.assert_allclose(interpret([product], given)[0], interpret([node], given)[0], rtol=1e-12, atol=1e-12)


def test_what_one_operand_alone_is_summed_over_is_summed_once() -> None:
    """The index leaves the product with the packing: as a loop around it, it would count the product again."""
    N, K, M = gg.size("N"), gg.size("K"), gg.size("M")
    s, t = gg.input("s", (N, K, 2), dtype="float64"), gg.input("t", (N, 2), dtype="float64")
    w = gg.input("w", (K, M), dtype="float64")
    node = gg.einsum("nij,nj,ik->nk", s, t, w).node
    product = pack_operands(node)
    assert isinstance(product, Compute)
    assert len(product.reduced) == 1
    rng = np.random.default_rng(0)
    given = {s.node: rng.normal(size=(5, 6, 2)), t.node: rng.normal(size=(5, 2)), w.node: rng.normal(size=(6, 7))}
    np.testing.assert_allclose(interpret([product], given)[0], np.einsum("nij,nj,ik->nk", *given.values()), rtol=1e-12)


@pytest.mark.parametrize("front", [1, 2])
def test_a_matrix_in_memory_that_alone_is_summed_over_more(front: int) -> None:
    """It is in memory as it is, and yet has to be summed first; the other operand is packed."""
    x, w = gg.input("x", (*(2, 3)[-front:], T, T), dtype="float64"), gg.input("w", (T, D), dtype="float64")
    a, c = gg.index("a", 2), gg.index("c", 3)
    over = (a, c)[-front:]
    node = gg.compute((i, d), gg.sum(x[(*over, i, j)] * w[T - 1 - j, d], over=(*over, j))).node
    product = pack_operands(node)
    assert product is not None
    assert classify(product) is not None
    given = values(node)
    np.testing.assert_allclose(interpret([product], given)[0], interpret([node], given)[0], rtol=1e-12, atol=1e-12)


def test_a_condition_without_which_both_operands_would_be_read_outside_is_with_both() -> None:
    """As in a convolution with strides written as a scatter: no remainder larger than the kernel is read."""
    N = gg.size("N")
    x, w = gg.input("x", (N, N, 9), dtype="float64"), gg.input("w", (N, N, 1), dtype="float64")
    o, c, n, q = gg.index("o", N), gg.index("c", N), gg.index("n", N), gg.index("q", 17)
    term = gg.where(q % 2 < 1, x[n, c, q // 2] * w[o, c, q % 2], 0)
    product = pack_operands(gg.compute((q, n, o), gg.sum(term, over=c)).node)
    assert product is not None
    assert unproved(product) == []
    for read in loads(product.body):
        assert isinstance(read.tensor, Compute)
        assert unproved(read.tensor) == []


def test_an_operand_that_the_condition_on_another_shields_is_no_matrix() -> None:
    """Only a condition with an index that `short` does not have keeps it inside."""
    a, short = gg.input("a", (64, 64), dtype="float64"), gg.input("short", (40, 64), dtype="float64")
    n, m, k = gg.index("n", 64), gg.index("m", 64), gg.index("k", 64)
    node = gg.compute((n, m), gg.sum(gg.where(n + k < 40, a[n, k] * short[k, m], 0), over=k)).node
    assert classify(node) is None
    assert pack_operands(node) is None


def test_a_batch_index_in_the_middle_of_a_row_that_every_step_reads() -> None:
    """The steps of a scan stay inside what they read: heads side by side in one axis are packed there, too."""
    rows = gg.input("rows", (5, T, H * D), dtype="float64")

    def step(total: gg.Tensor, row: gg.Tensor) -> tuple[gg.Tensor, None]:
        heads = row.reshape((T, H, D))
        products = gg.compute((h, i, j), gg.sum(total[i, h, e] * heads[j, h, e], over=e))
        seen = gg.where(j <= i, products[h, i, j] * heads[j, h, d], 0)
        return total + gg.compute((i, h, d), gg.sum(seen, over=j)), None

    last, _ = gg.scan(step, gg.zeros((T, H, D), "float64") + 1, rows)
    net = gg.compile({"y": last}, dtype="float64", name="heads")
    assert net.source.count("np.dot(") == 2
    x = np.random.default_rng(0).standard_normal((5, T, H, D))
    wanted = np.ones((T, H, D))
    for row in x:
        wanted = wanted + np.einsum("ihe,jhe,jhd,ij->ihd", wanted, row, row, np.tri(T))
    np.testing.assert_allclose(net(rows=x.reshape(5, T, H * D))["y"], wanted, rtol=1e-10)
