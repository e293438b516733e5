"""gradgen's functions of whole tensors, in NumPy and SciPy, under gradgen's names.

In: arrays. Out: `NUMPY`, the module `m` of a line such as `m.softmax(t1, axis=0)`, and `GRADGEN`, its counterpart.
"""

from types import SimpleNamespace

import numpy as np
import scipy.special as special

import gradgen as gg
from gradgen import nn


def _norm(x, ord=2, axis=None, keepdims=False):  # noqa: A002  # NumPy's name
    if axis is None:
        x = x.ravel()
    return np.linalg.norm(x, ord, axis=0 if axis is None else axis, keepdims=keepdims and axis is not None)


def _pad(x, width, mode="constant", value=0):
    return np.pad(x, width, mode=mode, **({"constant_values": value} if mode == "constant" else {}))


def _scatter_add(x, at, values, axis=0):
    y = x.copy()
    places = list(np.indices(at.shape))
    places[axis] = at
    np.add.at(y, tuple(places), values)
    return y


def _compress(mask, x, count, axis=0):
    chosen = np.take(x, np.flatnonzero(mask)[:count], axis)
    widths = [(0, count - chosen.shape[axis] if k == axis % x.ndim else 0) for k in range(x.ndim)]
    return np.pad(chosen, widths)


def _topk(x, k, axis=-1):
    order = np.argsort(-x, axis=axis, kind="stable")
    first = np.take(order, np.arange(k), axis)
    return np.take_along_axis(x, first, axis), first


def _logsumexp(x, axis=None, keepdims=False):
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def _place(best):
    """NumPy's argmax or argmin over several axes, the first one given slowest."""

    def place(x, axis=None, keepdims=False):
        over = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        over = tuple(a % x.ndim for a in over)
        kept = [a for a in range(x.ndim) if a not in over]
        found = best(x.transpose(*kept, *over).reshape(*[x.shape[a] for a in kept], -1), axis=-1)
        return found.reshape([1 if a in over else x.shape[a] for a in range(x.ndim)]) if keepdims else found

    return place


def _one_hot(at, classes, dtype):
    return np.eye(classes, dtype=dtype)[at]


NUMPY = SimpleNamespace(**{
    **vars(np),
    "norm": _norm, "pad": _pad, "scatter_add": _scatter_add, "compress": _compress, "topk": _topk, "one_hot": _one_hot,
    "erf": special.erf, "logsumexp": _logsumexp, "softmax": special.softmax, "log_softmax": special.log_softmax,
    "sigmoid": special.expit, "relu": lambda x: np.maximum(x, 0), "softplus": lambda x: np.logaddexp(x, 0),
    "silu": lambda x: x * special.expit(x), "gelu": lambda x: x * special.ndtr(x), "atan": np.arctan,
    "cast": lambda x, dtype: x.astype(dtype), "argmax": _place(np.argmax), "argmin": _place(np.argmin),
    "cummax": lambda x, axis: (np.maximum.accumulate(x, axis), None),
    "cummin": lambda x, axis: (np.minimum.accumulate(x, axis), None),
})  # fmt: skip
GRADGEN = SimpleNamespace(
    **{name: getattr(gg, name) for name in gg.__all__ if name not in ("nn", "optim")},
    inf=np.inf,
    softmax=nn.functional.softmax,
    log_softmax=nn.functional.log_softmax,
)
