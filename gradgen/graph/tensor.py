"""What the user holds: a tensor with NumPy's operators, each of which is a formula.

In: nodes. Out: `Tensor`, one wrapper per node (so `is` is identity); `lang` builds on `apply` and `as_formula`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from numpy import ndarray, zeros

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph import axes, indexing
from gradgen.graph.constants import constant_leaf, read_numbers
from gradgen.graph.intern import intern
from gradgen.graph.nodes import Leaf, Node
from gradgen.graph.operators import refuse_operand
from gradgen.graph.origin import inherited_letters, origin, record
from gradgen.graph.place import here
from gradgen.graph.polynomials import INTEGERS
from gradgen.graph.scalar import (
    Letter,
    Load,
    Operators,
    Poly,
    Reduce,
    Scalar,
    as_scalar,
    load,
    number,
    walk,
    written,
)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Tensor(Operators["Tensor"]):
    """A tensor of the expression graph.

    Operators work element by element and broadcast as NumPy does, except that only a size that is literally 1 is
    stretched. Python numbers take the tensor's dtype. `t[n, i]` with indices is an access inside a formula; with
    numbers, slices, None and ... it is NumPy's indexing. `==` builds an elementwise tensor; identity is `is`.
    """

    node: Node

    def __post_init__(self) -> None:
        if not isinstance(self.node, Node):
            raise GraphError(
                f"{here()}gg.Tensor is the type of tensors and makes none of {type(self.node).__name__}: declare one "
                "with gg.input or gg.param, and give its numbers when the network is called."
            )

    @property
    def shape(self) -> tuple[int | Poly, ...]:
        """The sizes: integers where they are known, size polynomials otherwise."""
        return tuple(size if size.constant is None else size.constant for size in self.node.shape)

    @property
    def dtype(self) -> str:
        """The NumPy name of the element type."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.node.shape)

    @property
    def name(self) -> str | None:
        """The declared name of a leaf, or the variable that a formula was assigned to; d_ is that of a gradient."""
        if isinstance(self.node, Leaf):
            return self.node.name
        found = origin(self.node)
        return found.bound_name if found else None

    @property
    def T(self) -> "Tensor":
        """The axes in reverse order."""
        return made(axes.transpose(self.node))

    def _apply(self, function: str, *arguments: Any) -> "Tensor":
        if arguments[-1] is None and function in ("eq", "ne"):
            return NotImplemented  # type: ignore[no-any-return]  # `x == None` is False, as of other objects
        return apply(function, *arguments)  # type: ignore[no-any-return]  # a formula where the other operand is one

    def __matmul__(self, other: Any) -> "Tensor":
        return made(axes.matmul(self.node, self._factor(other).node))

    def __rmatmul__(self, other: Any) -> "Tensor":
        return made(axes.matmul(self._factor(other).node, self.node))

    def _factor(self, other: Any) -> "Tensor":
        if isinstance(other, Tensor):
            return other
        found = constant(other, self.dtype)
        if found is None:
            refuse_operand("@", other, "tensors and arrays")
        return found

    def __getitem__(self, key: Any) -> Any:
        """An access of a formula (a scalar expression) with indices; a tensor with NumPy's basic indexing."""
        items = key if isinstance(key, tuple) else (key,)
        parts = [_index_item(item, self.node) for item in items]
        if any(isinstance(item, Scalar) and is_open(item) for item in items):
            return load(self.node, indexing.formula_subscripts(self.node, parts))
        return made(indexing.index(self.node, parts))

    if not TYPE_CHECKING:  # type checkers know the attributes that there are

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(f"'Tensor' object has no attribute {name!r}")
            raise AttributeError(
                f"{here()}a tensor has no attribute {name!r}: functions of tensors are gg.NAME(x), gradients come from "
                "gg.grad or net.value_and_grad, and values from calls of a compiled network"  # and Python goes on
            )

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise GraphError(
            f"{here()}{self._described()} cannot be changed in place: choose between values with gg.where, add into "
            "places with gg.accumulate, and give new values of parameters as updates= of gg.compile."
        )

    def __delitem__(self, key: Any) -> NoReturn:
        raise GraphError(f"{here()}nothing can be deleted from {self._described()}: take the rest as a slice.")

    def __len__(self) -> NoReturn:
        raise GraphError(f"{here()}len() of {self._described()} asks for a number: use its .shape[0] or .ndim.")

    def __iter__(self) -> NoReturn:
        raise GraphError(
            f"{here()}{self._described()} cannot be iterated over: write a formula over indices, use gg.scan, "
            "or take elements as x[0]."
        )

    def __contains__(self, item: object) -> NoReturn:
        raise GraphError(f"{here()}`in` has no meaning for a tensor: compare with == and reduce with gg.max.")

    def __repr__(self) -> str:
        """Name, dtype, shape and formula in one line, quickly: debuggers, logs and messages ask for it."""
        return DISPLAYS["line"](self)

    def __str__(self) -> str:
        """The formula and the nearest of those that it is made of, as `print` shows them."""
        return DISPLAYS["text"](self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """At the prompt of IPython the lines of `print`; one line inside lists and dicts."""
        printer.text(repr(self) if len(printer.stack) > 1 else str(self))

    def _repr_html_(self) -> str:
        return DISPLAYS["html"](self)

    def _repr_latex_(self) -> str:
        return DISPLAYS["latex"](self)

    def _described(self) -> str:
        return axes.describe(self.node)

    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements under another shape, which may hold one -1."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return made(axes.reshaped(self.node, sizes))

    def transpose(self, *order: Any) -> "Tensor":
        """The axes in another order, reversed when none is given."""
        given = order[0] if len(order) == 1 and isinstance(order[0], (tuple, list)) else order
        return made(axes.transpose(self.node, given or None))

    def astype(self, dtype: str) -> "Tensor":
        """The elements as float32, float64, int32, int64 or uint32."""
        return made(axes.cast(self.node, dtype))

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """The sum over an axis, several, or all; 0 for an empty axis."""
        return reduce_tensor("sum", self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """The mean over an axis, several, or all; nan for an empty axis."""
        return made(axes.mean_axes(self.node, axis, keepdims))

    def max(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """The maximum; the first nan if there is one, -inf for an empty axis."""
        return reduce_tensor("max", self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """The minimum; the first nan if there is one, inf for an empty axis."""
        return reduce_tensor("min", self, axis, keepdims)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """The place of the first nan, else of the first maximum, in row-major order; int64. See `gg.argmax`."""
        return reduce_tensor("argmax", self, axis, keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> "Tensor":
        """The place of the first nan, else of the first minimum, in row-major order; int64. See `gg.argmax`."""
        return reduce_tensor("argmin", self, axis, keepdims)


# How a tensor is shown: as "line", "text", "html" or "latex". `gradgen/__init__` says it, from above.
DISPLAYS: dict[str, Callable[[Tensor], str]] = {}


def tensor(node: Node) -> Tensor:
    """The one wrapper of a node."""
    return intern(Tensor, node)


def made(
    node: Node, letters: Sequence[str] | None = None, name: str | None = None, item: int = 0, of: int = 1
) -> Tensor:
    """The wrapper of a node that the user's statement has just made: its origin is noted, result `item` of `of`."""
    record(node, inherited_letters(node) if letters is None else letters, name, item, of)
    return tensor(node)


def apply(function: str, *arguments: Any) -> Any:
    """A scalar function of tensors (a tensor), of formulas (a formula), or of numbers (a number).

    Raises: as `apply_formula`.
    """
    return apply_formula(function, lambda *operands: written(function, *operands), *arguments)


def apply_formula(name: str, body: Callable[..., Scalar], *arguments: Any) -> Any:
    """A scalar body, built from its operands, of tensors (a tensor), formulas (a formula), or numbers (a number).

    Raises:
        DTypeError: an argument is neither tensor, formula nor number.
        ShapeError: tensors that do not broadcast, or a whole tensor inside a formula.
    """
    beside = [x.dtype for x in arguments if isinstance(x, (Tensor, Scalar))]
    operands: list[Tensor | Scalar] = []
    for argument in arguments:
        part = _operand(argument)
        if part is None:
            part = constant(argument, *beside)
        if part is None:
            refuse_operand(name, argument)
        operands.append(part)
    open_ = any(isinstance(x, Scalar) and is_open(x) for x in operands)
    if open_ or not any(isinstance(x, Tensor) for x in operands):
        return body(*[as_formula(x) for x in operands])
    return made(axes.mapped(body, [x.node if isinstance(x, Tensor) else x for x in operands]))


def reduce_tensor(reducer: str, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """A reducer over axes of a whole tensor."""
    return made(axes.reduce_axes(reducer, x.node, axis, keepdims))


def constant(value: Any, *beside: str) -> Tensor | None:
    """An array, or nested lists of numbers, as part of the model, beside tensors of these dtypes; None of all else.

    Raises:
        ShapeError: too many elements for that.
        DTypeError: integers that the dtype does not hold.
    """
    numbers = read_numbers(value)
    return None if numbers is None else made(constant_leaf(numbers, beside), (), "constant")


def as_formula(value: Any) -> Scalar:
    """A scalar expression from a formula, a number, or a tensor without axes (its access).

    Raises:
        ShapeError: a tensor with axes.
        DTypeError: anything else.
    """
    part = _operand(value)
    if isinstance(part, Tensor):
        if part.ndim:
            raise ShapeError(
                f"{here()}{axes.describe(part.node)} stands whole inside a formula: give each of its {part.ndim} axes "
                "a subscript."
            )
        return load(part.node, ())
    if part is None:
        raise DTypeError(
            f"{here()}a formula is made of accesses, indices and numbers, not {type(value).__name__}: "
            "declare arrays with gg.input or gg.param."
        )
    return part


def is_open(x: Scalar) -> bool:
    """Whether an expression belongs inside a formula: it mentions an index, a reducer or an access."""
    return any(
        isinstance(part, (Load, Reduce)) or (isinstance(part, Poly) and any(isinstance(a, Letter) for a in part.atoms))
        for part in walk(x)
    )


def _operand(value: Any) -> Tensor | Scalar | None:
    if isinstance(value, (Tensor, Scalar)):
        return value
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return number(value.item())
    return as_scalar(value)


def _index_item(item: Any, node: Node) -> Any:
    """An integer tensor or array between the brackets as its node, or its access without axes; all else as it is."""
    if isinstance(item, (list, tuple, ndarray)):
        found = constant(item if isinstance(item, ndarray) or item else zeros(0, "int64"))
        item = item if found is None else found
    if not isinstance(item, Tensor):
        return item
    if item.dtype not in INTEGERS:
        remedy = "gg.where or gg.compress selects by conditions" if item.dtype == "bool" else "use integers"
        raise DTypeError(f"{here()}{axes.describe(node)} is indexed by {axes.shown(item)}: {remedy}.")
    return item.node if item.ndim else load(item.node, ())
