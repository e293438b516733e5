"""Random matrices, read in every way at once: by rows, by columns, in other shapes, by data, by another loop.

In: draws. Out: a `Case` of products and what follows from them, with sizes that are symbols, and random `Machine`:
what is computed a row at a time, and by which of the ways that large models go, has readers that want it otherwise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import gradgen as gg
from gradgen.graph.nodes import Leaf, show_size, toposort
from gradgen.graph.scalar import Poly
from gradgen.graph.tensor import Tensor
from gradgen.machine import CPU, SMALLEST, Machine
from gradgen.runtime.interface import evaluate_size
from tests.properties.cases import Case

__all__ = ["any_thresholds", "matrices"]

D = 4


@st.composite
def any_thresholds(draw: Callable) -> Machine:
    """Every threshold as usual or at its smallest; what counts as outsized anywhere between the two."""
    names = [name for name in Machine.__dataclass_fields__ if name not in ("whole", "excess")]
    chosen = {name: getattr(draw(st.sampled_from((SMALLEST, CPU))), name) for name in names}
    whole = draw(st.sampled_from((1, 4, 12, 64, CPU.whole)))
    return Machine(whole=whole, excess=draw(st.sampled_from((0.0, 0.5, 1.0))), **chosen)


class Pool:
    """The tensors so far, and an operation for each way to make another one of them."""

    def __init__(self, draw: Callable, seed: int) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(seed)
        self.sizes = {"T": draw(st.sampled_from((3, 2, 5, 1))), "S": draw(st.sampled_from((2, 4, 1, 3)))}
        T, S = gg.size("T"), gg.size("S")
        self.values: dict[Leaf, np.ndarray] = {}
        leaves = (("a", T, D), ("b", S, D), ("c", T, D), ("w", D, D))
        self.matrices = [self.leaf(name, *shape) for name, *shape in leaves]
        self.vectors = [self.leaf("u", T), self.leaf("v", D)]
        self.rows = gg.input("rows", (T,), dtype="int64")
        self.values[self.rows.node] = self.rng.integers(0, self.sizes["T"], self.sizes["T"])

    def leaf(self, name: str, *shape: Any) -> Tensor:
        found = gg.param(name, shape, dtype="float64")
        lengths = [evaluate_size(show_size(size), self.sizes) for size in found.node.shape]
        self.values[found.node] = self.rng.uniform(-1.0, 1.0, lengths)
        return found

    def any(self, tensors: list[Tensor]) -> Tensor:
        return self.draw(st.sampled_from(tensors[::-1]))  # the latest first: chains, not only many readers of leaves

    def along(self, axis: int, extent: Poly) -> Tensor:
        return self.any([m for m in self.matrices if m.node.shape[axis] is extent])

    # ------------------------------------------------------------ operations

    def product(self) -> Tensor:
        left = self.any(self.matrices)
        return left @ self.along(1, left.node.shape[1]).T

    def product_from_the_right(self) -> Tensor:
        left = self.any(self.matrices)
        found = [m for m in self.matrices if m.node.shape[0] is left.node.shape[1]]
        return left @ self.any(found) if found else left.T @ left

    def function(self) -> Tensor:
        x = self.any(self.matrices)
        return self.draw(st.sampled_from((gg.tanh, gg.sin, gg.sigmoid, gg.exp)))(0.5 * gg.tanh(x))

    def together(self) -> Tensor:
        x = self.any(self.matrices)
        same = [m for m in self.matrices if all(p is q for p, q in zip(m.node.shape, x.node.shape, strict=True))]
        return 0.5 * x * self.any(same) + x

    def normalised(self) -> Tensor:
        x = self.any(self.matrices)
        axis = self.draw(st.sampled_from((1, 0)))
        return (
            gg.nn.softmax(x, axis=axis)
            if self.draw(st.booleans())
            else x / (1 + gg.sum(x * x, axis=axis, keepdims=True))
        )

    def transposed(self) -> Tensor:
        return gg.sin(self.any(self.matrices)).T if self.draw(st.booleans()) else self.any(self.matrices).T

    def in_another_shape(self) -> Tensor:
        x = self.any(self.matrices)
        n, m = x.shape
        flat = gg.sin(x.reshape((n * m,)))
        if self.draw(st.booleans()):
            return flat.reshape((m, n))
        return flat.reshape((n, 1, m)).transpose((1, 0, 2)).reshape((n, m)) * x

    def heads(self) -> Tensor:
        """Scores of two heads that lie side by side, read by subscript."""
        x, y = (self.along(1, self.matrices[0].node.shape[1]) for _ in range(2))
        h, e = gg.index("h", 2), gg.index("e", D // 2)
        i, j, c = gg.index("i", x.shape[0]), gg.index("j", y.shape[0]), gg.index("c", D)
        s = gg.nn.softmax(gg.compute((h, i, j), gg.sum(x[i, h * (D // 2) + e] * y[j, h * (D // 2) + e], over=e)))
        if self.draw(st.booleans()):
            return gg.compute((i, c), gg.sum(s[c // (D // 2), i, j] * y[j, c], over=j))
        z = s @ gg.compute((h, j, e), y[j, h * (D // 2) + e])
        return z.transpose((1, 0, 2)).reshape((x.shape[0], D))

    def by_data(self) -> Tensor:
        x = self.along(0, self.rows.node.shape[0])
        i, j = gg.index("i", x.shape[0]), gg.index("j", x.shape[1])
        return gg.compute((i, j), x[self.rows[i], j] * x[i, j])

    def shifted(self) -> Tensor:
        x = self.any(self.matrices)
        i, j = gg.index("i", x.shape[0]), gg.index("j", x.shape[1])
        return gg.compute((i, j), gg.padded(x)[i - 1, j] + x[i, j])

    def steps(self) -> Tensor:
        x = self.any(self.matrices)
        start = self.leaf(f"h{len(self.values)}", x.shape[1])
        _, states = gg.scan(lambda h, row: (gg.tanh(h + row),) * 2, start, x)
        return states

    def reduced(self) -> Tensor:
        x = self.any(self.matrices)
        reducer = self.draw(st.sampled_from((gg.sum, gg.max, gg.logsumexp, gg.mean)))
        found = reducer(x, axis=self.draw(st.sampled_from((1, 0))))
        self.vectors.append(found)
        return x * found[None, :] if x.node.shape[1] is found.node.shape[0] else x * found[:, None]

    def layer(self) -> Tensor:
        """A matrix times a vector, an outer product of two, each again a matrix."""
        x = self.any(self.matrices)
        u = self.any(self.vectors)
        y = x @ u if x.node.shape[1] is u.node.shape[0] else gg.tanh(u)
        return gg.tanh(y)[:, None] * u[None, :]

    OPERATIONS = (
        product, product, product_from_the_right, function, together, normalised, transposed, in_another_shape, heads,
        by_data, shifted, steps, reduced, layer,
    )  # fmt: skip

    def grow(self) -> None:
        self.matrices.append(self.draw(st.sampled_from(self.OPERATIONS))(self))


@st.composite
def matrices(draw: Callable) -> tuple[Case, dict[str, int]]:
    """A case, and the sizes that are to be known when it is compiled."""
    pool = Pool(draw, draw(st.integers(0, 2**16)))
    for _ in range(draw(st.integers(2, 6))):
        pool.grow()
    made = pool.matrices[4:]
    read = {x for m in made for x in toposort([m.node]) if x is not m.node}
    last = [m for m in made if m.node not in read]
    outputs = [gg.sum(gg.tanh(m)).node for m in last] + ([last[0].node] if draw(st.booleans()) else [])
    reached = set(toposort(outputs))
    values = {x: array for x, array in pool.values.items() if x in reached}
    bound = {show_size(size) for x in values for size in x.shape}
    sizes = {name: size for name, size in pool.sizes.items() if name not in bound}
    return Case(tuple(outputs), values, sizes, frozenset()), {**sizes, **(pool.sizes if draw(st.booleans()) else {})}
