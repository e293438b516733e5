"""Reducers: over indices inside a formula, over axes of a whole tensor. One function each.

In: a formula with `over=`, or a tensor with `axis=`. Out: a formula that `compute` turns into nodes, or a tensor.
"""

from typing import Any

from gradgen.errors import GraphError
from gradgen.graph import axes
from gradgen.graph.operators import refuse_operand
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Letter, Scalar, call, reduce_over
from gradgen.graph.tensor import Tensor, as_formula, constant, reduce_tensor
from gradgen.lang.declare import letter_of


def sum(x: Any, over: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001  # gg.sum
    """The sum over indices of a formula, or over axes of a tensor; 0 over nothing.

    Args:
        x: a formula (then give `over`) or a tensor (then `axis`: one, several, or None for all).
        over: the index or indices to reduce over.
        axis: the axis or axes; negative ones count from the back.
        keepdims: keep reduced axes with size 1.

    Raises:
        GraphError: a formula without `over`, a tensor with it, or an index given twice.
        ShapeError: an axis that the tensor does not have.
    """
    return _reduce("sum", x, over, axis, keepdims)


def mean(x: Any, over: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean, in float32 for integers; nan over nothing. Arguments as for `sum`."""
    return _reduce("mean", x, over, axis, keepdims)


def max(x: Any, over: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001  # gg.max
    """The maximum; the first nan if there is one, -inf over nothing. Arguments as for `sum`."""
    return _reduce("max", x, over, axis, keepdims)


def min(x: Any, over: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001  # gg.min
    """The minimum; the first nan if there is one, inf over nothing. Arguments as for `sum`."""
    return _reduce("min", x, over, axis, keepdims)


def logsumexp(x: Any, over: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))), without overflow; -inf over nothing. Arguments as for `sum`."""
    return _reduce("logsumexp", x, over, axis, keepdims)


def argmax(x: Any, over: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The place of the first nan, else of the first maximum; int64, refused over nothing. Arguments as for `sum`.

    Over several indices or axes it is the place among their elements in row-major order, the first one given slowest:
    `gg.argmax(x[i, j], over=(i, j))` is i * J + j, as of `numpy.argmax(x)`. Over all axes where none is given.
    """
    return _reduce("argmax", x, over, axis, keepdims)


def argmin(x: Any, over: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The place of the first nan, else of the first minimum; int64, refused over nothing. As `argmax`."""
    return _reduce("argmin", x, over, axis, keepdims)


def formula_over(name: str, x: Any, over: Any, axis: Any, keepdims: bool) -> tuple[Scalar, tuple[Letter, ...]]:
    """The formula that gg.NAME reduces, and the indices that it reduces over.

    Raises:
        GraphError: no indices, or axes beside them.
    """
    if over is None:
        if not isinstance(x, Scalar):
            refuse_operand(f"gg.{name}", x, "tensors, formulas and arrays")
        raise GraphError(f"{here()}gg.{name} of a formula reduces over indices: write gg.{name}(..., over=j).")
    if axis is not None or keepdims:
        raise GraphError(f"{here()}gg.{name} takes over= for a formula, or axis= and keepdims= for a tensor.")
    letters: list[Letter] = []
    if isinstance(x, Tensor) and x.ndim and isinstance(over, int):
        raise GraphError(f"{here()}gg.{name} of a whole tensor: write axis={over}; over= takes indices of a formula.")
    for value in over if isinstance(over, (tuple, list)) else (over,):
        letter = letter_of(value)
        if letter is None and name in ("max", "min") and isinstance(x, Tensor):
            raise GraphError(
                f"{here()}gg.{name} is that of one tensor, over an axis or over indices; gg.{name}imum compares two."
            )
        if letter is None:
            raise GraphError(
                f'{here()}over= takes indices, as gg.indices("i j") makes them; {axes.shown(value)} is not one.'
            )
        letters.append(letter)
    if len(set(letters)) != len(letters) or not letters:
        raise GraphError(f"{here()}over= takes at least one index, each of them once.")
    return as_formula(x), tuple(letters)


def _reduce(reducer: str, x: Any, over: Any, axis: Any, keepdims: bool) -> Any:
    if over is None and not isinstance(x, (Tensor, Scalar)):
        found = constant(x)
        x = x if found is None else found
    if over is None and isinstance(x, Tensor):
        return x.mean(axis, keepdims) if reducer == "mean" else reduce_tensor(reducer, x, axis, keepdims)
    body, letters = formula_over(reducer, x, over, axis, keepdims)
    if reducer in ("mean", "logsumexp") and body.dtype not in (*FLOATS, "pyfloat"):
        body = call("float32", body)
    return reduce_over(reducer, body, letters)
