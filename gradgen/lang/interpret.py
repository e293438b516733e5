"""The reference interpreter: a graph evaluated by NumPy, node by node, straight from the formulas.

In: output nodes, an array for each leaf, and the sizes that no leaf's shape tells. Out: an array for each output.
It runs no pass and shares no scalar evaluation with the compiler: tests hold emitted programs against it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gradgen.errors import BindingError, DTypeError, GraphError, ShapeError
from gradgen.graph.constants import numbers_of
from gradgen.graph.lengths import required
from gradgen.graph.nodes import (
    Carry,
    Compute,
    Custom,
    Leaf,
    Node,
    Project,
    Reshape,
    Scan,
    all_inputs,
    body_nodes,
    show_shape,
    toposort,
)
from gradgen.graph.polynomials import integer, sides, sub
from gradgen.graph.scalar import (
    FLOATS,
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
from gradgen.graph.spans import is_size
from gradgen.lang.interpret_scalar import IMPLEMENTATIONS, WEAK, Array, operand_dtype, reduce_last

__all__ = ["interpret"]

Mask: TypeAlias = Any  # a bool array that broadcasts against the grid; NumPy's stubs tell arrays and np.bool apart

_EVERYWHERE: Mask = np.True_


def interpret(
    outputs: Sequence[Node], values: Mapping[Leaf, Array], sizes: Mapping[str, int] | None = None
) -> list[Array]:
    """The values of `outputs`, where the leaves have `values`.

    A symbolic size is bound by every leaf axis that consists of it alone; `sizes` gives the others. Arrays have
    exactly the dtype that their node declares.

    Raises:
        BindingError: a leaf without a value, or a size that nothing binds.
        DTypeError: a value of another dtype than its leaf.
        ShapeError: a value of another shape than its leaf, sizes that disagree, a negative size.
        IndexError: an access or a target out of range; one in a branch of `where` that is not taken is no access.
        ValueError: an integer to a negative integer power.
    """
    order = toposort(outputs)
    leaves = {n: _given(n, values) for n in dict.fromkeys([*values, *order]) if isinstance(n, Leaf)}
    run = _Run(_bind_sizes(leaves, sizes or {}), frozenset(required(toposort(outputs, all_inputs))))
    known: dict[Node, Array] = {}
    with np.errstate(all="ignore"):
        for given, array in leaves.items():
            expected = run.sizes_of(given.shape, {}, {})
            if array.shape != expected:
                raise ShapeError(f"{given.name} has shape {expected}, an array of shape {array.shape} was given")
            known[given] = array
        run.evaluate(order, known, {})
    return [known[n] for n in outputs]


def _given(wanted: Leaf, values: Mapping[Leaf, Array]) -> Array:
    if wanted not in values:
        if (numbers := numbers_of(wanted)) is not None:
            return numbers
        raise BindingError(f"no value for {wanted.name}: give an array of dtype {wanted.dtype}")
    array = np.asarray(values[wanted])
    if array.dtype.name != wanted.dtype:
        raise DTypeError(f"{wanted.name} is {wanted.dtype}, an array of dtype {array.dtype.name} was given")
    return array


def _bind_sizes(leaves: Mapping[Leaf, Array], sizes: Mapping[str, int]) -> dict[str, int]:
    bound = dict(sizes)
    for given, array in leaves.items():
        for axis, (size, extent) in enumerate(zip(given.shape, array.shape, strict=False)):
            match size.terms:
                case (((SizeSymbol(name=name),), 1),) if bound.setdefault(name, extent) != extent:
                    raise ShapeError(
                        f"size {name} is {bound[name]}, axis {axis} of {given.name} has {extent} elements: "
                        "they must be equal"
                    )
    return bound


# ---------------------------------------------------------------- one formula


@dataclass(slots=True)
class _Formula:
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

    def value(self, x: Scalar, mask: Mask = _EVERYWHERE) -> Array:
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
    bad = outside if mask is _EVERYWHERE else mask & outside
    if bad.any():
        where = f"axis {axis} of {'the result' if tensor is None else _name(tensor)}"
        at = tuple(int(k) for k in np.argwhere(bad)[0])
        wrong = np.broadcast_to(subscript, bad.shape)[at]
        raise IndexError(
            f"subscript {wrong} is outside {where}, which has {size} elements (at loop indices {at}): "
            "shorten the range of the index, or take the access in a branch of `where` only"
        )
    return subscript if mask is _EVERYWHERE else np.where(mask, subscript, 0)


def _word(value: int) -> np.int64:
    """What int64 holds of a number."""
    return np.int64((value + (1 << 63)) % (1 << 64) - (1 << 63))


# ---------------------------------------------------------------- nodes


@dataclass(slots=True)
class _Run:
    """One evaluation of a graph under fixed sizes."""

    sizes: Mapping[str, int]
    positive: frozenset[Poly]  # extents that must not be negative
    extents: dict[Poly, int] = field(default_factory=dict)  # those that follow from the sizes

    def evaluate(self, order: Sequence[Node], known: dict[Node, Array], steps: Mapping[int, int]) -> dict[Node, Array]:
        """Add the values of `order`, producers first, to the known ones."""
        scans: dict[Scan, tuple[list[Array], list[Array]]] = {}
        for node in order:
            if node in known:
                continue
            match node:
                case Compute():
                    result = self._compute(node, known, steps)
                case Custom(value=value):
                    result = known[value]
                case Reshape(source=source, shape=shape):
                    result = known[source].reshape(self.sizes_of(shape, known, steps))
                case Project(scan=scan, kind=kind, number=number):
                    if scan not in scans:
                        scans[scan] = self._scan(scan, known, steps)
                    states, stacks = scans[scan]
                    result = (states if kind == "states" else stacks)[number]
                case Carry():
                    raise GraphError("the carry of a scan has no value outside its body")
                case _:
                    raise BindingError(f"no value for {_name(node)}")
            expected = self.sizes_of(node.shape, known, steps)
            if result.shape != expected or result.dtype.name != node.dtype:
                raise AssertionError(f"{result.dtype}{result.shape} for a node that declares {node.dtype}{expected}")
            known[node] = result
        return known

    def sizes_of(self, shape: Sequence[Poly], known: Mapping[Node, Array], steps: Mapping[int, int]) -> tuple[int, ...]:
        extents = tuple([self._extent(size, known, steps) for size in shape])
        if any(extent < 0 and size in self.positive for size, extent in zip(shape, extents, strict=True)):
            raise ShapeError(f"the sizes {extents} are not all positive or zero")
        return tuple(max(extent, 0) for extent in extents)

    def _extent(self, size: Poly, known: Mapping[Node, Array], steps: Mapping[int, int]) -> int:
        if size.constant is not None:
            return size.constant
        found = self.extents.get(size)
        if found is None:
            found = int(_Formula(self.sizes, steps, known).value(size))
            if is_size(size):  # neither the step of a scan nor data
                self.extents[size] = found
        return found

    def _compute(self, node: Compute, known: Mapping[Node, Array], steps: Mapping[int, int]) -> Array:
        shape = self.sizes_of(node.shape, known, steps)
        extents = self.sizes_of(node.extents, known, steps)
        empty = 0 in extents
        grid = [
            np.arange(extent).reshape(*[1] * axis, extent, *[1] * (len(extents) - axis - 1))
            for axis, extent in enumerate(extents)
        ]
        at = _Formula(self.sizes, steps, known, grid)
        if node.gathers and extents[: len(shape)] == shape:
            body = np.zeros((), WEAK.get(node.body.dtype, node.body.dtype)) if empty else at.value(node.body)
            rows = np.broadcast_to(body, extents).reshape(*shape, math.prod(extents[len(shape) :]))
            return reduce_last(node.reducer, rows, node.dtype)
        return _accumulated(node, at, shape, extents)

    def _scan(
        self, scan: Scan, known: Mapping[Node, Array], steps: Mapping[int, int]
    ) -> tuple[list[Array], list[Array]]:
        """All states of every carry, and all stacks: a Python loop."""
        (length,) = self.sizes_of((scan.length,), known, steps)
        order = body_nodes(scan)
        states = []
        for carry, init in zip(scan.carries, scan.inits, strict=True):
            states.append(np.zeros((length + 1, *known[init].shape), carry.dtype))
            states[-1][length if scan.reverse else 0] = known[init]
        stacks = [np.zeros((length, *self.sizes_of(n.shape, known, steps)), n.dtype) for n in scan.outputs]
        for t in reversed(range(length)) if scan.reverse else range(length):
            read, written = (t + 1, t) if scan.reverse else (t, t + 1)
            inside = {n: known[n] for n in scan.captured}
            inside |= {carry: state[read] for carry, state in zip(scan.carries, states, strict=True)}
            self.evaluate(order, inside, {**steps, scan.depth: t})
            for state, following in zip(states, scan.nexts, strict=True):
                state[written] = inside[following]
            for stack, output in zip(stacks, scan.outputs, strict=True):
                stack[t] = inside[output]
        return states, stacks


def _accumulated(node: Compute, at: _Formula, shape: tuple[int, ...], extents: tuple[int, ...]) -> Array:
    """result[target] += body in increasing order of the loop indices; or the largest body, and so on.

    `where(c, x, 0)` as the whole body adds nothing where c is False, and its target may lie outside there: this is
    what the adjoint of a padded access looks like. Of a maximum it is `where(c, x, -inf)`.
    """
    start = reduce_last(node.reducer, np.zeros((1, 0), WEAK.get(node.body.dtype, node.body.dtype)), node.dtype)[0]
    result = np.full(shape, start, node.dtype)
    if 0 in extents:
        return result
    body, mask = node.body, _EVERYWHERE
    while isinstance(body, Call) and body.function.name == "where":
        condition, taken, other = body.arguments
        if not (_is_number(taken, start) or _is_number(other, start)):
            break
        truth = at.value(condition, mask).astype(np.bool_, copy=False)
        body = taken if _is_number(other, start) else other
        mask = at.narrowed(mask, truth, taken=_is_number(other, start))
    if _is_number(body, start):  # what is left of a branch that is never taken
        return result
    added = np.broadcast_to(np.asarray(at.value(body, mask), node.dtype), extents)
    chosen = np.broadcast_to(mask, extents)
    subscripts = []
    for axis, (target, size) in enumerate(zip(node.target, result.shape, strict=True)):
        subscript = in_range(at.value(target, mask), mask, size, axis)
        subscripts.append(np.broadcast_to(subscript, extents)[chosen])
    places, values = tuple(subscripts), added[chosen]
    match node.reducer:
        case "sum":
            np.add.at(result, places, values)
        case "max":
            np.maximum.at(result, places, values)
        case "min":
            np.minimum.at(result, places, values)
        case _:
            _logsumexp_at(result, places, values.astype(np.float64))
    return result


def _logsumexp_at(result: Array, places: tuple[Array, ...], values: Array) -> None:
    """In float64, rounded once."""
    top = np.full(result.shape, -np.inf)
    np.maximum.at(top, places, values)
    shift = np.where(np.isfinite(top), top, 0.0)
    total = np.zeros(result.shape)
    np.add.at(total, places, np.exp(values - shift[places]))
    result[...] = np.log(total) + shift


def _is_number(x: Scalar, wanted: Any) -> bool:
    while isinstance(x, Call) and x.function.name in FLOATS:  # the number in a dtype
        x = x.arguments[0]
    if isinstance(x, Const):
        return x.dtype != "bool" and bool(x.value == wanted)
    return isinstance(x, Poly) and x.constant is not None and bool(x.constant == wanted)


def _name(node: Node) -> str:
    return node.name if isinstance(node, Leaf) else f"a {type(node).__name__} of shape {show_shape(node.shape)}"
