"""Attention: every query takes a mean of the values, weighted by how well their keys fit it.

In: tensors. Out: tensors. The scores of all pairs stand in the formula only: what is compiled has some rows at a time.
"""

import math
from collections.abc import Sequence

from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.nodes import show_size
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import compute, where
from gradgen.lang.declare import indices_over
from gradgen.lang.shapes import whole, wholes
from gradgen.nn.functional import softmax

__all__ = ["attention_weights", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale * query @ key.T + mask) @ value (Vaswani et al. 2017): (..., T, d), (..., S, d), (..., S, e) to
    (..., T, e).

    The leading axes broadcast, those of the mask with them. A query that may see no key has the result 0.

    Args:
        query: floats, (..., T, d).
        key: floats, (..., S, d).
        value: floats, (..., S, e).
        attn_mask: broadcasts to (..., T, S): booleans, true where a query sees a key, or numbers added to the scores.
        dropout_p: only 0.0; `MultiheadAttention` drops.
        is_causal: query i sees the keys 0 to i.
        scale: what the scores are multiplied with, by default 1 / sqrt(d).

    Raises:
        ShapeError: sizes that do not fit, or a number of features d that is no number and no scale.
        DTypeError: a mask of integers.
        OptionError: dropout.
    """
    if dropout_p != 0.0:
        raise OptionError(
            f"{here()}dropout_p of scaled_dot_product_attention is {dropout_p!r}: a function has no seed to drop by. "
            "Use nn.MultiheadAttention(..., dropout=p)."
        )
    query, key, value = wholes("scaled_dot_product_attention", query, key, value)
    if min(query.ndim, key.ndim, value.ndim) < 2 or key.node.shape[-2] is not value.node.shape[-2]:
        raise ShapeError(
            f"{here()}attention of {describe(query.node)} to {describe(key.node)} and {describe(value.node)}: "
            "give (..., T, d), (..., S, d) and (..., S, e)."
        )
    masks = () if attn_mask is None else (attn_mask,)
    p = attention_weights(query, key, masks, is_causal, scale)
    return p @ value


def attention_weights(
    query: Tensor, key: Tensor, masks: Sequence[Tensor] = (), is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """softmax(scale * query @ key.T + masks): (..., T, d) and (..., S, d) to (..., T, S), as above."""
    features = query.node.shape[-1]
    if features is not key.node.shape[-1]:
        raise ShapeError(
            f"{here()}attention of {describe(query.node)} to {describe(key.node)}: the last axes have the sizes "
            f"{show_size(features)} and {show_size(key.node.shape[-1])}. Make them equal."
        )
    if scale is None:
        scale = 1.0 / math.sqrt(_number(query))
    s = (scale * query) @ array.swapaxes(key, -1, -2)
    for mask in masks:
        s = _masked(s, mask)
    if is_causal:
        places = indices_over(s.shape)
        s = compute(places, where(places[-1] <= places[-2], s[places], -math.inf))
    p = softmax(s)
    return where(reducers.max(s, axis=-1, keepdims=True) == -math.inf, 0.0, p) if masks else p


def _masked(s: Tensor, mask: Tensor) -> Tensor:
    mask = whole(mask, "attention")
    if mask.dtype == "bool":
        return where(mask, s, -math.inf)  # type: ignore[no-any-return]  # of tensors, a tensor
    if mask.dtype not in FLOATS:
        raise DTypeError(
            f"{here()}a mask of attention has booleans or floats; {describe(mask.node)} is {mask.dtype}. "
            "Give a comparison, such as mask != 0."
        )
    return s + mask


def _number(query: Tensor) -> int:
    features = query.node.shape[-1].constant
    if not features:
        raise ShapeError(
            f"{here()}the last axis of {describe(query.node)} has the size {show_size(query.node.shape[-1])}, of which "
            "attention takes no square root. Give scale."
        )
    return features
