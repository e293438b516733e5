"""Tensors of other shapes, joined, or made of numbers, each as a formula.

In: tensors and numbers. Out: tensors; what works element by element stands in `elementwise`.
"""

from collections.abc import Sequence
from typing import Any

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph import axes
from gradgen.graph.nodes import pointwise
from gradgen.graph.origin import here
from gradgen.graph.scalar import DEFAULT_FLOAT, Const, Scalar, call, number, position
from gradgen.graph.tensor import Tensor, as_formula, made, tensor

__all__ = [
    "arange", "broadcast_to", "concatenate", "expand_dims", "full", "full_like", "matmul", "ones", "ones_like",
    "outer", "reshape", "squeeze", "stack", "transpose", "zeros", "zeros_like",
]  # fmt: skip


# ---------------------------------------------------------------- products and shapes


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """NumPy's `a @ b`: (k) or (..., n, k) with (k) or (..., k, m); the leading axes broadcast."""
    return made(axes.matmul(_whole(a, "matmul").node, _whole(b, "matmul").node))


def outer(a: Tensor, b: Tensor) -> Tensor:
    """The products of all elements of two vectors: (n), (m) -> (n, m)."""
    if _whole(a, "outer").ndim != 1 or _whole(b, "outer").ndim != 1:
        raise ShapeError(f"{here()}outer takes two vectors, not {axes.describe(a.node)} and {axes.describe(b.node)}.")
    return a[:, None] * b[None, :]  # type: ignore[no-any-return]  # slices give tensors


def transpose(x: Tensor, order: Sequence[int] | None = None) -> Tensor:
    """The axes in another order; reversed without one."""
    return made(axes.transpose(_whole(x, "transpose").node, order))


def reshape(x: Tensor, shape: Any) -> Tensor:
    """The same elements in row-major order under another shape; one size may be -1."""
    return _whole(x, "reshape").reshape(shape)


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """A new axis of size 1 at this place of the result."""
    node = _whole(x, "expand_dims").node
    return made(axes.with_axis(node, axes.axis_number(axis, len(node.shape) + 1, "the result of expand_dims")))


def squeeze(x: Tensor, axis: int) -> Tensor:
    """Without an axis, whose size must be 1."""
    node = _whole(x, "squeeze").node
    at = axes.axis_number(axis, len(node.shape), axes.describe(node))
    if not axes.is_one(node.shape[at]):
        raise ShapeError(f"{here()}axis {at} of {axes.describe(node)} cannot be squeezed: its size is not 1.")
    return made(axes.reshaped(node, [*node.shape[:at], *node.shape[at + 1 :]]))


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """The tensor repeated along new axes in front, and along axes of size 1."""
    return made(axes.broadcast_to(_whole(x, "broadcast_to").node, axes.as_shape(shape)))


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after another along an axis; their other sizes are equal."""
    return made(axes.concatenate([_whole(x, "concatenate").node for x in _some(tensors, "concatenate")], axis))


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis."""
    return made(axes.stack([_whole(x, "stack").node for x in _some(tensors, "stack")], axis))


# ---------------------------------------------------------------- constants


def full(shape: Any, value: Any, dtype: str = "float32") -> Tensor:
    """A tensor with the same number, or tensor without axes, everywhere."""
    return made(pointwise(axes.as_shape(shape), _constant(as_formula(value), dtype)))


def zeros(shape: Any, dtype: str = "float32") -> Tensor:
    """Zeros, of dtype float32, float64, int64 or bool."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: str = "float32") -> Tensor:
    """Ones, of dtype float32, float64, int64 or bool."""
    return full(shape, 1, dtype)


def full_like(x: Tensor, value: Any) -> Tensor:
    """The same number everywhere, with the shape and dtype of a tensor."""
    return full(x.shape, value, x.dtype)


def zeros_like(x: Tensor) -> Tensor:
    """Zeros with the shape and dtype of a tensor."""
    return full(x.shape, 0, x.dtype)


def ones_like(x: Tensor) -> Tensor:
    """Ones with the shape and dtype of a tensor."""
    return full(x.shape, 1, x.dtype)


def arange(count: Any, dtype: str = "int64") -> Tensor:
    """0, 1, ..., count - 1."""
    body: Scalar = position(0) if dtype == "int64" else call(_castable(dtype), position(0))
    return made(pointwise(axes.as_shape(count)[:1], body))


def _constant(value: Scalar, dtype: str) -> Scalar:
    if dtype == "bool":
        return value if value.dtype == "bool" else call("ne", value, number(0))
    if dtype == DEFAULT_FLOAT and isinstance(value, Const):
        return number(float(value.value))
    return call(_castable(dtype), value)


def _castable(dtype: str) -> str:
    if dtype not in ("float32", "float64", "int64"):
        raise DTypeError(f"{here()}a constant has dtype float32, float64, int64 or bool, not {dtype!r}.")
    return dtype


def _some(tensors: Sequence[Tensor], what: str) -> Sequence[Tensor]:
    if isinstance(tensors, Tensor) or not tensors:
        raise ShapeError(f"{here()}{what} takes a list of at least one tensor.")
    return tensors


def _whole(x: Any, what: str) -> Tensor:
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (bool, int, float)):
        return tensor(pointwise((), number(x)))
    raise DTypeError(f"{here()}{what} takes tensors, not {type(x).__name__}: declare arrays with gg.input or gg.param.")
