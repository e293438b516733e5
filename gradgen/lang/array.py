"""NumPy's functions of whole tensors, each as a formula.

In: tensors and numbers; the elementwise functions take formulas too. Out: tensors, or formulas.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph import axes
from gradgen.graph.functions import FUNCTIONS, argument_names
from gradgen.graph.nodes import pointwise
from gradgen.graph.origin import here
from gradgen.graph.scalar import DEFAULT_FLOAT, Const, Scalar, call, number, position
from gradgen.graph.tensor import Tensor, apply, as_formula, made, tensor

__all__ = [
    "abs", "arange", "broadcast_to", "cast", "ceil", "clip", "concatenate", "cos", "equal", "erf", "exp",
    "expand_dims", "expm1", "float32", "float64", "floor", "full", "full_like", "greater", "greater_equal", "int64",
    "isnan", "less", "less_equal", "log", "log1p", "logical_and", "logical_not", "logical_or", "logsigmoid", "matmul",
    "maximum", "minimum", "mod", "negative", "not_equal", "ones", "ones_like", "outer", "power", "reciprocal", "relu",
    "reshape", "rsqrt", "sigmoid", "sign", "sin", "softplus", "sqrt", "square", "squeeze", "stack", "stop_gradient",
    "tanh", "transpose", "zeros", "zeros_like",
]  # fmt: skip


def elementwise(function: str) -> Callable[..., Any]:
    """A scalar function as a function of tensors, formulas and numbers."""
    declared = FUNCTIONS[function]

    def applied(*arguments: Any) -> Any:
        if len(arguments) != declared.arity:
            raise TypeError(f"{here()}{function} takes {declared.arity} arguments, {len(arguments)} were given.")
        return apply(function, *arguments)

    letters = argument_names(declared)
    kink = f" Derivative: {declared.kink}." if declared.kink else ""
    applied.__name__ = applied.__qualname__ = function
    applied.__doc__ = f"{function}({', '.join(letters)}) = {declared.definition}, element by element.{kink}"
    return applied


abs = elementwise("abs")  # noqa: A001  # gg.abs
ceil = elementwise("ceil")
cos = elementwise("cos")
equal = elementwise("eq")
erf = elementwise("erf")
exp = elementwise("exp")
expm1 = elementwise("expm1")
float32 = elementwise("float32")
float64 = elementwise("float64")
floor = elementwise("floor")
greater = elementwise("gt")
greater_equal = elementwise("ge")
int64 = elementwise("int64")
isnan = elementwise("isnan")
less = elementwise("lt")
less_equal = elementwise("le")
log = elementwise("log")
log1p = elementwise("log1p")
logical_and = elementwise("and")
logical_not = elementwise("not")
logical_or = elementwise("or")
logsigmoid = elementwise("logsigmoid")
maximum = elementwise("maximum")
minimum = elementwise("minimum")
mod = elementwise("mod")
negative = elementwise("neg")
not_equal = elementwise("ne")
power = elementwise("pow")
reciprocal = elementwise("reciprocal")
relu = elementwise("relu")
rsqrt = elementwise("rsqrt")
sigmoid = elementwise("sigmoid")
sign = elementwise("sign")
sin = elementwise("sin")
softplus = elementwise("softplus")
sqrt = elementwise("sqrt")
square = elementwise("square")
stop_gradient = elementwise("stop_gradient")
tanh = elementwise("tanh")


def clip(x: Any, low: Any, high: Any) -> Any:
    """x held between two bounds, element by element; nan stays nan."""
    return minimum(maximum(x, low), high)


def cast(x: Any, dtype: str) -> Any:
    """A tensor or a formula as float32, float64 or int64.

    Raises:
        DTypeError: another dtype.
    """
    if dtype not in ("float32", "float64", "int64"):
        raise DTypeError(f"{here()}cannot cast to {dtype!r}: float32, float64 or int64.")
    return apply(dtype, x)


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
