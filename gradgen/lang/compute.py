"""Tensors by formula: indices get ranges, reducers become nodes, letters become positions.

In: indices and a scalar expression over accesses. Out: a tensor whose node the passes read; `array`, `nn` and users
write their operations with it.
"""

from collections.abc import Sequence
from typing import Any

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph import nodes
from gradgen.graph.accesses import accesses, decide, is_inside, is_materialized, remembered
from gradgen.graph.axes import as_shape, count_of, describe, shown
from gradgen.graph.canonical import bare_position
from gradgen.graph.indexing import formula_subscripts
from gradgen.graph.nodes import Compute, Node
from gradgen.graph.operators import refuse_operand
from gradgen.graph.origin import record
from gradgen.graph.place import here, one_call
from gradgen.graph.scalar import (
    Atom,
    Call,
    Const,
    Letter,
    Poly,
    Position,
    Reduce,
    Scalar,
    as_poly,
    atom_poly,
    call,
    contains,
    load,
    loads,
    number,
    position,
    reduce_over,
    require_poly,
    rewrite,
    substitute,
    walk,
)
from gradgen.graph.tensor import Tensor, apply, as_formula, constant, made
from gradgen.lang.declare import checked_name, fresh, letter_of
from gradgen.lang.ranges import Ranges, infer_ranges
from gradgen.lang.running import product_of_rows


def compute(indices: Any, expression: Any, name: str | None = None) -> Tensor:
    """The tensor with the elements that a formula gives.

    `compute((n, i), expression)[n, i]` is `expression`. The range of an index is the given one, or the size of the
    axes that it alone is the subscript of, or the largest that keeps every access inside. Formulas never broadcast.

    Args:
        indices: the indices of the result, one per axis; one index, or a tuple.
        expression: accesses, indices, sizes and numbers, scalar functions, `gg.where`, and reducers such as
            `gg.sum(..., over=j)` anywhere.
        name: what the emitted program calls it, where the variable it is assigned to will not do.

    Raises:
        ShapeError: sizes that disagree, or an access that leaves its tensor.
        GraphError: an index without a range, given twice, or neither in the result nor reduced.
    """
    if isinstance(name, Scalar):
        raise GraphError(f"{here()}compute takes several indices as one tuple: gg.compute((n, i), ...).")
    name = None if name is None else checked_name(name, "tensor")
    outputs = _letters(indices, "compute")
    root, free = _prepare(outputs, expression)
    _refuse_free([x for x in free if not contains(outputs, x)], outputs)
    ranges = infer_ranges(outputs, root)
    root, order = _settled(root, outputs, ranges)
    if isinstance(root, Reduce) and root.reducer in nodes.REDUCERS:
        node, letters = _node(outputs, root.letters, root.reducer, _lowered(root.body, order, ranges), ranges)
    else:
        node, letters = _node(outputs, (), "none", _lowered(root, order, ranges), ranges)
    return made(node, letters, name)


def accumulate(subscripts: Any, expression: Any, shape: Any, name: str | None = None, reduce: str = "sum") -> Tensor:
    """The tensor of a shape to whose elements a formula adds: `g[dst[e], f] += msg[e, f]`, starting from zeros.

    Repeated targets add up in increasing order of the indices, the first index in `subscripts` slowest. With
    `reduce="max"` or `"min"` an element is the largest or smallest value that is meant for it: nan if there is a nan,
    -inf or inf (of integers the least or greatest) if there is none; the first of equal ones takes the gradient.

        g = gg.accumulate((dst[e], f), msg[e, f], shape=(N, F))
        top = gg.accumulate(dst[e], score[e], shape=(N,), reduce="max")

    Args:
        subscripts: one subscript per axis of the result: indices, arithmetic on them, integer accesses.
        expression: what is added; every index in it or in the subscripts is looped over. One that integer algebra
            removes is not there any more: `0 * r` and `r % 1` are 0.
        shape: the shape of the result.
        name: as for `compute`.
        reduce: `"sum"`, `"max"` or `"min"`.

    Raises:
        ShapeError: sizes that disagree, or an access or target that leaves its tensor.
        GraphError: an index without a range, another way to reduce.
    """
    if reduce not in ("sum", "max", "min"):
        raise GraphError(f"{here()}accumulate reduces by 'sum', 'max' or 'min', not by {reduce!r}.")
    name = None if name is None else checked_name(name, "tensor")
    sizes = as_shape(shape)
    given = subscripts if isinstance(subscripts, tuple) else (subscripts,)
    if len(given) != len(sizes):
        raise ShapeError(f"{here()}accumulate has {len(given)} subscripts for a result of {len(sizes)} axes.")
    target: list[Poly] = []
    for axis, subscript in enumerate(given):
        p = as_poly(as_formula(subscript))
        if p is None:
            raise DTypeError(
                f"{here()}subscript {axis} of accumulate is {shown(subscript)}: a target is made of integers, sizes, "
                "indices and integer accesses."
            )
        target.append(p)
    root, free = _prepare((), expression, target)
    ranges = infer_ranges(free, root, target, sizes, reduce)
    root, order = _settled(root, free, ranges)
    own: tuple[Letter, ...] = ()
    if isinstance(root, Reduce) and root.reducer == reduce:
        own, root = root.letters, root.body
    node, letters = _node(free, own, reduce, _lowered(root, order, ranges), ranges, (target, sizes))
    return made(node, letters, name)


def where(condition: Any, yes: Any, no: Any) -> Any:
    """`yes` where the condition holds, else `no`: of formulas, or element by element with broadcasting.

    Only the branch taken counts, for values and gradients alike, even where the other is nan. In a formula a branch
    is read only where it is taken, so it gives its indices no range.
    """
    if isinstance(condition, (list, tuple)) and (found := constant(condition)) is not None:
        condition = found
    if getattr(condition, "dtype", "bool" if isinstance(condition, bool) else "") != "bool":
        raise DTypeError(f"{here()}the condition of gg.where is a comparison, not a number: write x != 0.")
    return apply("where", condition, yes, no)


class Padded:
    """A tensor that reads a number outside; made by `padded`."""

    __slots__ = ("_tensor", "_value")

    def __init__(self, tensor: Tensor, value: float) -> None:
        if not isinstance(tensor, Tensor):
            refuse_operand("gg.padded", tensor, "tensors")
        if not isinstance(value, (bool, int, float)):
            raise DTypeError(f"{here()}{describe(tensor.node)} is padded with {shown(value)}: give a number.")
        self._tensor = tensor
        self._value = value

    def __getitem__(self, key: Any) -> Scalar:
        """The access of a formula: the element, or the number where a subscript is outside its axis."""
        node = self._tensor.node
        items = key if isinstance(key, tuple) else (key,)
        subscripts = formula_subscripts(node, [as_formula(x) if isinstance(x, Tensor) else x for x in items], False)
        inside: Scalar = number(True)
        for subscript, extent in zip(subscripts, node.shape, strict=True):
            inside = call("and", call("and", inside, subscript >= 0), subscript <= extent - 1)
        kind = {"bool": bool, "float32": float, "float64": float}.get(node.dtype, int)
        return call("where", inside, load(node, subscripts), number(kind(self._value)))


def padded(tensor: Tensor, value: float = 0) -> Padded:
    """A tensor to be read inside formulas beyond its borders: `gg.padded(a)[n, c, h + p - 1, w + q - 1]`.

    Outside it reads `value`. A padded access gives an index a range only if nothing else does and the index is a
    whole subscript.
    """
    return Padded(tensor, value)


# ---------------------------------------------------------------- letters


def _letters(indices: Any, what: str) -> tuple[Letter, ...]:
    found: list[Letter] = []
    for value in indices if isinstance(indices, (tuple, list)) else (indices,):
        letter = letter_of(value)
        if letter is None:
            raise GraphError(
                f'{here()}{what} takes indices, as gg.indices("n i") makes them; {shown(value)} is not one.'
            )
        if contains(found, letter):
            raise GraphError(f"{here()}index {letter.name} is given twice.")
        found.append(letter)
    return tuple(found)


def _prepare(outputs: Sequence[Letter], expression: Any, target: Sequence[Poly] = ()) -> tuple[Scalar, list[Letter]]:
    """The formula with indices of its own inside every reducer, and the indices that are free in it."""
    root = as_formula(expression)

    def rename(x: Scalar) -> Scalar | None:
        if not isinstance(x, Reduce):
            return None
        for letter in x.letters:
            if contains(outputs, letter):
                raise GraphError(
                    f"{here()}index {letter.name} is reduced over and also an index of the result: use another index."
                )
        renamed = {letter: fresh(letter) for letter in x.letters}
        body = substitute(x.body, {old: atom_poly(new) for old, new in renamed.items()})
        return reduce_over(x.reducer, body, tuple(renamed.values()))

    root = rewrite(root, rename, lambda atom: None)
    bound = {letter for x in walk(root) if isinstance(x, Reduce) for letter in x.letters}
    free = dict.fromkeys(
        a
        for x in walk(*target, root)
        if isinstance(x, Poly)
        for a in x.atoms
        if isinstance(a, Letter) and a not in bound
    )
    return root, list(free)


def _refuse_free(free: Sequence[Letter], outputs: Sequence[Letter]) -> None:
    if free:
        name = free[0].name
        if any(letter.name == name for letter in outputs):
            raise GraphError(
                f"{here()}there are two indices {name}: every call of gg.index or gg.indices makes another one. "
                "Use one of them in the result and in the formula."
            )
        raise GraphError(
            f"{here()}index {name} is neither in the result nor reduced over: add it to the indices of gg.compute, "
            f"or reduce with gg.sum(..., over={name})."
        )


# ---------------------------------------------------------------- lowering


def _settled(root: Scalar, outer: Sequence[Letter], ranges: Ranges) -> tuple[Scalar, list[Letter]]:
    """Index conditions decided where they can be, reducers in branches guarded, and the order of the letters."""
    order = [*outer]
    for x in reversed([x for x in walk(root) if isinstance(x, Reduce)]):
        order += [letter for letter in x.letters if not contains(order, letter)]

    def change(x: Scalar) -> Scalar | None:
        if not isinstance(x, Call):
            return None
        if x.function.name == "where":
            condition, yes, no = x.arguments
            return call("where", condition, _guarded(yes, condition, ranges), _guarded(no, ~condition, ranges))
        decided = decide(x, ranges)
        return None if decided is None else number(decided)

    return rewrite(root, change, lambda atom: None), order


def _guarded(branch: Scalar, condition: Scalar, ranges: Ranges) -> Scalar:
    """where(c, reduce body, ...) = where(c, reduce where(c, body, 0), ...).

    A reducer becomes a node of its own, which is evaluated whether the branch is taken or not; so this is done where
    the body would leave its tensors otherwise.
    """

    def change(x: Scalar) -> Scalar | None:
        if not isinstance(x, Reduce) or all(is_inside(a, ranges, a.facts) for a in accesses((), x.body)):
            return None
        return reduce_over(x.reducer, call("where", condition, x.body, _zero(x.body)), x.letters)

    return rewrite(branch, change, lambda atom: None)


def _zero(like: Scalar) -> Const:
    return number(False) if like.dtype == "bool" else number(0)


def _lowered(root: Scalar, order: Sequence[Letter], ranges: Ranges) -> Scalar:
    """Every reducer as an access of a node over the outer indices that it mentions."""

    def change(x: Scalar) -> Scalar | None:
        if not isinstance(x, Reduce):
            return None
        mentioned = {a for part in walk(x.body) if isinstance(part, Poly) for a in part.atoms}
        free = [letter for letter in order if letter in mentioned and not contains(x.letters, letter)]
        if x.reducer == "prod":
            return load(_product(x, free, ranges), [atom_poly(letter) for letter in free])
        mean = x.reducer == "mean"
        node, letters = _node(free, x.letters, "sum" if mean else x.reducer, x.body, ranges)
        record(node, letters)
        value = load(node, [atom_poly(letter) for letter in free])
        return call("div", value, count_of(ranges[letter] for letter in x.letters)) if mean else value

    with one_call():
        return rewrite(root, change, lambda atom: None)


def _product(x: Reduce, free: Sequence[Letter], ranges: Ranges) -> Node:
    """The product of a formula over its own indices, the first one slowest, for all values of the free ones."""
    body = x.body if x.body.dtype == x.dtype else call(x.dtype, x.body)
    factors, letters = _node([*x.letters, *free], (), "none", body, ranges)
    record(factors, letters)
    count = nodes.product(ranges[letter] for letter in x.letters)
    return product_of_rows(nodes.reshape(factors, [count, *[ranges[letter] for letter in free]]))


def _node(
    free: Sequence[Letter],
    own: Sequence[Letter],
    reducer: str,
    body: Scalar,
    ranges: Ranges,
    accumulated: tuple[Sequence[Poly], Sequence[Poly]] | None = None,
) -> tuple[Node, tuple[str, ...]]:
    """The node of a formula without inner reducers, and the letters of its positions."""
    loops = [*free, *own]
    extents = [ranges[letter] for letter in loops]
    if reducer in ("argmax", "argmin") and any(ranges[letter].constant == 0 for letter in own):
        raise ShapeError(f"{here()}{reducer} over index {own[0].name}, whose range is empty.")
    places: dict[Atom, Poly] = {letter: position(k) for k, letter in enumerate(loops)}
    placed = substitute(body, places)
    if accumulated is None:
        target, shape = [position(k) for k in range(len(free))], extents[: len(free)]
    else:
        target, shape = [require_poly(substitute(t, places)) for t in accumulated[0]], list(accumulated[1])
    node = nodes.compute(shape, extents, target, reducer, placed)
    letters = _letter_names(loops, target, placed, node)
    if isinstance(node, Compute) and not node.gathers and reducer != "sum":
        kept = remembered(node)
        if kept is not node:
            values = next(x for x in loads(kept.body) if x.tensor.shape == kept.extents and is_materialized(x.tensor))
            moved = [bare_position(s) for s in values.subscripts]
            letters = tuple(letters[moved.index(k)] for k in range(len(moved)))
        node = kept
    return node, letters


def _letter_names(loops: Sequence[Letter], target: Sequence[Poly], body: Scalar, node: Node) -> tuple[str, ...]:
    """The user's letters in the order of the node's positions, which follows target and body."""
    if not isinstance(node, Compute) or len(node.extents) != len(loops):
        return tuple(letter.name for letter in loops)
    mentioned = [
        a.position for x in walk(*target, body) if isinstance(x, Poly) for a in x.atoms if isinstance(a, Position)
    ]
    first = range(len(node.shape)) if node.gathers else ()
    return tuple(loops[k].name for k in dict.fromkeys([*first, *mentioned, *range(len(loops))]))
