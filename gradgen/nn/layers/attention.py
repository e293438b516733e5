"""Attention with parameters: several heads, each with projections of its own.

In: sizes. Out: layers of queries, keys and values, with PyTorch's parameter layouts and first values.
"""

from collections.abc import Sequence
from typing import Any

from gradgen.errors import ShapeError
from gradgen.graph.axes import as_shape, describe, shown
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.scalar import Poly
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.shapes import whole, wholes
from gradgen.nn import init
from gradgen.nn.attention import attention_weights
from gradgen.nn.layers.dropout import Dropout
from gradgen.nn.layers.linear import Linear
from gradgen.nn.modules import Module, Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in several heads side by side (Vaswani et al. 2017, section 3.2.2).

    Queries (T, N, embed_dim), keys (S, N, kdim) and values (S, N, vdim), with `batch_first` (N, T, embed_dim) and so
    on, or all without the axis N. Head h attends with the features h * d to (h + 1) * d - 1 of the projected queries,
    keys and values, d = embed_dim / num_heads; a last projection joins the heads.

    `in_proj_weight` (3 * embed_dim, embed_dim) stacks the projections of queries, keys and values; with other sizes of
    keys or values they are `q_proj_weight`, `k_proj_weight` (embed_dim, kdim) and `v_proj_weight` (embed_dim, vdim).
    `in_proj_bias` is (3 * embed_dim), and `out_proj` a `Linear`. In training the weights that queries give to keys are
    dropped with the probability `dropout`.
    """

    in_proj_weight: Tensor | None
    q_proj_weight: Tensor | None
    k_proj_weight: Tensor | None
    v_proj_weight: Tensor | None
    in_proj_bias: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        kdim, vdim = (embed_dim if size is None else size for size in (kdim, vdim))
        for size in (embed_dim, num_heads, kdim, vdim):
            if not isinstance(size, int) or size < 1:
                raise ShapeError(
                    f"{here()}{self.name} has {shown(size)} for a size: give numbers of features and heads."
                )
        if embed_dim % num_heads:
            raise ShapeError(
                f"{here()}{self.name} has {embed_dim} features for {num_heads} heads: give a multiple of {num_heads}."
            )
        self.embed_dim, self.num_heads, self.batch_first = embed_dim, num_heads, batch_first
        self.kdim, self.vdim = kdim, vdim
        self.packed = kdim == vdim == embed_dim
        start = init.xavier_uniform()
        self.declare("in_proj_weight", Parameter((3 * embed_dim, embed_dim), dtype, start) if self.packed else None)
        for letter, size in (("q", embed_dim), ("k", kdim), ("v", vdim)):
            apart = None if self.packed else Parameter((embed_dim, size), dtype, start)
            self.declare(f"{letter}_proj_weight", apart)
        self.declare("in_proj_bias", Parameter((3 * embed_dim,), dtype, init.zeros()) if bias else None)
        self.drop = Dropout(dropout)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype)
        if bias:
            self.out_proj.declare("bias", Parameter((embed_dim,), dtype, init.zeros()))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """What the queries get, of their shape, and the weights that they give to the keys.

        A query that may see no key has the weights 0.

        Args:
            query: floats, (T, N, embed_dim).
            key: floats, (S, N, kdim).
            value: floats, (S, N, vdim).
            key_padding_mask: (N, S) booleans, true for a key that no query sees, or numbers added to the scores.
            need_weights: without, the second result is None.
            attn_mask: (T, S) or (N * num_heads, T, S) booleans, true where a query does not see a key, or numbers
                added to the scores.
            average_attn_weights: weights (N, T, S), the mean of the heads; without, (N, num_heads, T, S).
            is_causal: query i sees the keys 0 to i, whether a mask says so or not.

        Raises:
            ShapeError: sizes that do not fit.
            DTypeError: a mask of integers.
        """
        query, key, value = wholes("MultiheadAttention", query, key, value)
        self._check(query, key, value)
        if query.ndim == 2:
            axis = 0 if self.batch_first else 1
            batched = {id(x): array.expand_dims(x, axis) for x in (query, key, value)}
            query, key, value = (batched[id(x)] for x in (query, key, value))
            padding = None if key_padding_mask is None else key_padding_mask[None]
            y, weights = self.forward(
                query, key, value, padding, need_weights, attn_mask, average_attn_weights, is_causal
            )
            return array.squeeze(y, axis), None if weights is None else array.squeeze(weights, 0)
        with naming(f"{self.name}_in"):
            q, k, v = (self._heads(u) for u in self._projected(query, key, value))
        with naming(f"{self.name}_weights"):
            p = self.drop(attention_weights(q, k, self._masks(q, k, attn_mask, key_padding_mask), is_causal))
        with naming(f"{self.name}_means"):
            means = array.transpose(p @ v, (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)).reshape(query.shape)
        with naming(self.name):
            y = self.out_proj(means)
        if not need_weights:
            return y, None
        return y, reducers.mean(p, axis=1) if average_attn_weights else p

    def _projected(self, *inputs: Tensor) -> list[Tensor]:
        """Queries, keys and values times their weights; inputs that are one tensor, in one product."""
        e, bias = self.embed_dim, self.in_proj_bias
        packed = self.in_proj_weight
        if packed is not None and all(x is inputs[0] for x in inputs):
            u = inputs[0] @ array.transpose(packed)
            u = u if bias is None else u + bias
            return [u[..., m * e : (m + 1) * e] for m in range(3)]
        weights = (
            (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            if packed is None
            else [packed[m * e : (m + 1) * e] for m in range(3)]
        )
        products = [x @ array.transpose(w) for x, w in zip(inputs, weights, strict=True)]
        return products if bias is None else [u + bias[m * e : (m + 1) * e] for m, u in enumerate(products)]

    def _heads(self, u: Tensor) -> Tensor:
        """(N, T, embed_dim) or (T, N, embed_dim) to (N, num_heads, T, d)."""
        parts = u.reshape(*u.shape[:2], self.num_heads, self.embed_dim // self.num_heads)
        return array.transpose(parts, (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))

    def _masks(self, q: Tensor, k: Tensor, attn_mask: Tensor | None, padding: Tensor | None) -> list[Tensor]:
        """The masks along (N, num_heads, T, S), true where a query sees a key."""
        n, heads, t, _ = q.shape
        s = k.shape[2]
        masks = []
        if attn_mask is not None:
            attn_mask = whole(attn_mask, "MultiheadAttention")
            each = attn_mask.ndim == 3
            self._fits(attn_mask, (n * heads, t, s) if each else (t, s), "attn_mask")
            masks.append(attn_mask.reshape(n, heads, t, s) if each else attn_mask)
        if padding is not None:
            padding = whole(padding, "MultiheadAttention")
            self._fits(padding, (n, s), "key_padding_mask")
            masks.append(padding[:, None, None, :])
        return [array.logical_not(mask) if mask.dtype == "bool" else mask for mask in masks]

    def _fits(self, mask: Tensor, shape: tuple[Any, ...], what: str) -> None:
        if mask.ndim != len(shape) or not _same(mask, as_shape(shape)):
            sizes = ", ".join(str(size) for size in shape)
            raise ShapeError(f"{here()}{what} of {self.name} is {describe(mask.node)}, and must have ({sizes}).")

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        sizes = (self.embed_dim, self.kdim, self.vdim)
        for what, x, size in zip(("queries", "keys", "values"), (query, key, value), sizes, strict=True):
            if x.ndim not in (2, 3) or x.node.shape[-1].constant != size:
                axes = "(N, T, ...)" if self.batch_first else "(T, N, ...)"
                raise ShapeError(
                    f"{here()}{self.name} takes {what} {axes} or (T, ...) with {size} features, "
                    f"and is given {describe(x.node)}."
                )
        batch = 0 if self.batch_first else 1
        same = query.ndim == key.ndim and _same(key, value.node.shape[:-1])
        if not same or (query.ndim == 3 and query.node.shape[batch] is not key.node.shape[batch]):
            raise ShapeError(
                f"{here()}{self.name} of {describe(query.node)}, {describe(key.node)} and {describe(value.node)}: "
                "give as many keys as values, and of all three as many examples."
            )


def _same(x: Tensor, shape: Sequence[Poly]) -> bool:
    """Whether the first axes of a tensor have these sizes; an axis of features may follow."""
    return all(p is q for p, q in zip(x.node.shape, shape, strict=False)) and x.ndim >= len(shape)
