"""The reference interpreter: a graph evaluated by NumPy, node by node, straight from the formulas.

In: output nodes, an array for each leaf, and the sizes that no leaf's shape tells. Out: an array for each output.
It runs no pass and shares no scalar evaluation with the compiler: tests hold emitted programs against it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    toposort,
)
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Const,
    Poly,
    Scalar,
    SizeSymbol,
)
from gradgen.graph.spans import is_size
from gradgen.lang.interpret_formula import EVERYWHERE, Formula, in_range, name_of
from gradgen.lang.interpret_scalar import WEAK, Array, reduce_last

__all__ = ["interpret"]


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
                    raise BindingError(f"no value for {name_of(node)}")
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
            found = int(Formula(self.sizes, steps, known).value(size))
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
        at = Formula(self.sizes, steps, known, grid)
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


def _accumulated(node: Compute, at: Formula, shape: tuple[int, ...], extents: tuple[int, ...]) -> Array:
    """result[target] += body in increasing order of the loop indices; or the largest body, and so on.

    `where(c, x, 0)` as the whole body adds nothing where c is False, and its target may lie outside there: this is
    what the adjoint of a padded access looks like. Of a maximum it is `where(c, x, -inf)`.
    """
    start = reduce_last(node.reducer, np.zeros((1, 0), WEAK.get(node.body.dtype, node.body.dtype)), node.dtype)[0]
    result = np.full(shape, start, node.dtype)
    if 0 in extents:
        return result
    body, mask = node.body, EVERYWHERE
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
