"""The expressions of one formula over its loop grid, evaluated by NumPy under masks; `interpret` walks over the nodes.

In: a scalar body, sizes, steps of scans, an array for every tensor that it reads. Out: an array that broadcasts against
the grid. It shares no scalar evaluation with the compiler.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gradgen.errors import BindingError, GraphError
from gradgen.graph.nodes import Leaf, Node, show_shape
from gradgen.graph.polynomials import integer, sides, sub
from gradgen.graph.scalar import (
    Call,
    Const,
    FloorDiv,
    Load,
    Poly,
    Position,
    Scalar,
    SizeSymbol,
    Step,
    children,
    require_poly,
)
from gradgen.lang.interpret_scalar import IMPLEMENTATIONS, WEAK, Array, operand_dtype

__all__ = ["EVERYWHERE", "Formula", "in_range", "name_of"]

Mask: TypeAlias = Any  # a bool array that broadcasts against the grid; NumPy's stubs tell arrays and np.bool apart

EVERYWHERE: Mask = np.True_


@dataclass(slots=True)
class Formula:
    """The expressions of one node over its loop grid.

    Every expression is evaluated under a mask, which is False where no taken branch of a `where` needs it; what it is
    there is arbitrary. `and` and `or` need their second operand only where the first leaves the answer open.
    """

    sizes: Mapping[str, int]
    steps: Mapping[int, int]
    tensors: Mapping[Node, Array]
    grid: list[Array] = field(default_factory=list)
    done: dict[tuple[Scalar, int], tuple[Mask, Array]] = field(default_factory=dict)
    masks: dict[tuple[int, int, bool], tuple[Mask, Array, Mask]] = field(default_factory=dict)

    def value(self, x: Scalar, mask: Mask = EVERYWHERE) -> Array:
        """Parts before wholes, without Python's recursion."""
        waiting = [(x, mask)]
        while waiting:
            part, under = waiting[-1]
            missing = [need for need in self._needs(part, under) if (need[0], id(need[1])) not in self.done]
            if missing:
                waiting += reversed(missing)
                continue
            waiting.pop()
            if (part, id(under)) not in self.done:  # the mask is held, so that its id stays its own
                self.done[part, id(under)] = under, np.asarray(self._of_parts(part, under))
        return self._known(x, mask)

    def _known(self, x: Scalar, mask: Mask) -> Array:
        return self.done[x, id(mask)][1]

    def narrowed(self, mask: Mask, condition: Array, taken: bool) -> Mask:
        """The part of a mask where a condition is `taken`; the same object for the same question."""
        key = (id(mask), id(condition), taken)
        if key not in self.masks:
            self.masks[key] = (mask, condition, mask & (condition if taken else ~condition))
        return self.masks[key][2]

    def _needs(self, x: Scalar, mask: Mask) -> list[tuple[Scalar, Mask]]:
        """The parts of an expression, each with the mask that it is evaluated under; of a choice at first the first."""
        if isinstance(x, Call):
            if x.function.name in _CHOICES:
                first = x.arguments[0], mask
                return [first, *self._branches(x, mask)] if (x.arguments[0], id(mask)) in self.done else [first]
            if _is_order(x):
                return [(side, mask) for side in _order(x)[1:]]
        return [(part, mask) for part in children(x)]

    def _branches(self, x: Call, mask: Mask) -> list[tuple[Scalar, Mask]]:
        """The other operands of a choice, each where the first one asks for it."""
        first, *others = x.arguments
        condition = self._condition(first, mask)
        pairs = zip(others, _CHOICES[x.function.name], strict=True)
        return [(other, self.narrowed(mask, condition, taken)) for other, taken in pairs]

    def _condition(self, x: Scalar, mask: Mask) -> Array:
        """A condition as an array of its own, the same for every question."""
        found = self._known(x, mask)
        if found.dtype != np.bool_:
            found = found.astype(np.bool_)
            self.done[x, id(mask)] = mask, found
        return found

    def _of_parts(self, x: Scalar, mask: Mask) -> Any:
        match x:
            case Const(dtype=dtype):
                return np.asarray(x.value, WEAK.get(dtype, dtype))
            case Poly():
                return self._polynomial(x, mask)
            case Load():
                return self._access(x, mask)
            case Call():
                return self._call(x, mask)
        raise GraphError(f"a {type(x).__name__} has no value: bind letters, reducers and slots before interpreting")

    def _polynomial(self, p: Poly, mask: Mask) -> Any:
        if p.constant is not None:
            return np.asarray(_word(p.constant), np.int64)
        total: Any = None
        for monomial, factor in p.terms:
            term: Any = None if monomial and factor == 1 else _word(factor)
            for atom in monomial:
                match atom:
                    case FloorDiv(numerator=numerator, denominator=denominator):
                        value = self._known(numerator, mask) // self._known(denominator, mask)
                    case Scalar():
                        value = self._known(atom, mask).astype(np.int64, copy=False)
                    case _:
                        value = self._variable(atom)
                term = value if term is None else term * value
            total = term if total is None else total + term
        return np.asarray(total, np.int64)

    def _variable(self, atom: object) -> Any:
        match atom:
            case Position(position=at):
                return self.grid[at]
            case Step(depth=depth):
                return np.int64(self.steps[depth])
            case SizeSymbol(name=name):
                if name not in self.sizes:
                    raise BindingError(f"size {name} is unknown: give sizes={{{name!r}: ...}}")
                return np.int64(self.sizes[name])
        raise GraphError(f"a {type(atom).__name__} has no value: bind letters before interpreting")

    def _access(self, x: Load, mask: Mask) -> Array:
        tensor = self.tensors[x.tensor]
        subscripts = []
        for axis, (subscript, size) in enumerate(zip(x.subscripts, tensor.shape, strict=True)):
            at = self._known(subscript, mask)
            if not (any(at is index for index in self.grid) and at.size <= size):  # 0 .. size - 1, or less
                at = in_range(at, mask, size, axis, x.tensor)
            subscripts.append(at)
        if tensor.size == 0:  # nothing can be read, and in_range has seen that nothing has to
            return np.zeros(np.broadcast_shapes(*[s.shape for s in subscripts]), tensor.dtype)
        return np.asarray(tensor[tuple(subscripts)])

    def _call(self, x: Call, mask: Mask) -> Array:
        name = x.function.name
        if _is_order(x):
            compare, larger, smaller = _order(x)
            return np.asarray(compare(self._known(larger, mask), self._known(smaller, mask)))
        dtype = operand_dtype(x.function, x.dtype, [a.dtype for a in x.arguments])
        if name in _CHOICES:
            operands = [self._condition(x.arguments[0], mask)]
            operands += [self._known(*branch).astype(dtype, copy=False) for branch in self._branches(x, mask)]
        else:
            operands = [self._known(argument, mask).astype(dtype, copy=False) for argument in x.arguments]
            if name == "pow" and dtype in ("int32", "int64"):
                operands[1] = np.where(mask, operands[1], 1)  # a negative exponent counts only where it is taken
        if name not in IMPLEMENTATIONS:
            raise GraphError(f"the interpreter has no value for the scalar function {name}: see interpret_scalar.py")
        result = np.asarray(IMPLEMENTATIONS[name](*operands))
        wanted = np.dtype(WEAK.get(x.dtype, x.dtype))
        if result.dtype != wanted:
            raise AssertionError(f"{name} gave {result.dtype} for {wanted}")
        return result


# Functions whose first operand decides where the others are asked for: each where it holds, or where it does not.
_CHOICES = {"where": (True, False), "and": (True,), "or": (False,)}


def _is_order(x: Call) -> bool:
    return x.function.name == "ge" and isinstance(x.arguments[0], Poly)


def _order(x: Call) -> tuple[Any, Poly, Poly]:
    """a - b >= 0, where the difference may leave int64: the comparison, a, and b."""
    larger, smaller = sides(require_poly(x.arguments[0]))
    if any(not monomial for monomial, _ in smaller.terms):  # a > b - 1, which stays inside where b is at an end
        return np.greater, larger, sub(smaller, integer(1))
    return np.greater_equal, larger, smaller


def in_range(subscript: Array, mask: Mask, size: int, axis: int, tensor: Node | None = None) -> Array:
    """The subscript with 0 where the mask is False; no wraparound where it is True. Without a tensor, a result's."""
    outside = (subscript < 0) | (subscript >= size)
    bad = outside if mask is EVERYWHERE else mask & outside
    if bad.any():
        where = f"axis {axis} of {'the result' if tensor is None else name_of(tensor)}"
        at = tuple(int(k) for k in np.argwhere(bad)[0])
        wrong = np.broadcast_to(subscript, bad.shape)[at]
        raise IndexError(
            f"subscript {wrong} is outside {where}, which has {size} elements (at loop indices {at}): "
            "shorten the range of the index, or take the access in a branch of `where` only"
        )
    return subscript if mask is EVERYWHERE else np.where(mask, subscript, 0)


def _word(value: int) -> np.int64:
    """What int64 holds of a number."""
    return np.int64((value + (1 << 63)) % (1 << 64) - (1 << 63))


def name_of(node: Node) -> str:
    """What messages call a node."""
    return node.name if isinstance(node, Leaf) else f"a {type(node).__name__} of shape {show_shape(node.shape)}"
