"""Products of tensors, summed over axes that they share: `@`, einsum, tensordot; diagonals and traces.

In: tensors. Out: tensors, each one formula.
"""

from collections.abc import Sequence
from typing import Any

from gradgen.errors import ShapeError
from gradgen.graph import axes
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor, made
from gradgen.lang import reducers
from gradgen.lang.compute import compute, where
from gradgen.lang.declare import index, indices_over
from gradgen.lang.shapes import moveaxis, whole, wholes

__all__ = ["diag", "diagonal", "einsum", "matmul", "outer", "tensordot", "trace", "tril", "triu"]


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """NumPy's `a @ b`: (k) or (..., n, k) with (k) or (..., k, m); the leading axes broadcast."""
    a, b = wholes("matmul", a, b)
    return made(axes.matmul(a.node, b.node))


def outer(a: Tensor, b: Tensor) -> Tensor:
    """The products of all elements of two vectors: (n), (m) -> (n, m)."""
    a, b = wholes("outer", a, b)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"{here()}outer takes two vectors, not {axes.describe(a.node)} and {axes.describe(b.node)}.")
    return a[:, None] * b[None, :]  # type: ignore[no-any-return]  # slices give tensors


def einsum(spec: str, *operands: Tensor) -> Tensor:
    """Products of elements, summed over the letters that the result does not have: `einsum("nij,njk->nik", a, b)`.

    A letter that occurs twice in one operand takes the diagonal; `...` stands for any further axes, which broadcast.
    Without `->` the result has the letters that occur once, in alphabetical order.

    Raises:
        ShapeError: a number of letters that is not the number of axes, sizes that differ, or an unknown letter.
    """
    if not isinstance(spec, str):
        raise ShapeError(f"{here()}einsum takes its text first, as in gg.einsum('ij,jk->ik', a, b).")
    operands = tuple(wholes("einsum", *operands))
    terms, result = _parsed(spec, operands)
    sizes: dict[str, Any] = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, extent in zip(term, operand.node.shape, strict=True):
            known = sizes.setdefault(letter, extent)
            if axes.is_one(known) and letter.startswith("e"):
                sizes[letter] = extent
            elif known is not extent and not (axes.is_one(extent) and letter.startswith("e")):
                raise ShapeError(
                    f"{here()}einsum({spec!r}): {letter[1:]} has sizes {axes.shown(known)} and {axes.shown(extent)}."
                )
    places = {letter: index(letter[1:] if letter[0] == "i" else letter, extent) for letter, extent in sizes.items()}
    product: Any = None
    for term, operand in zip(terms, operands, strict=True):
        stretched = zip(term, operand.node.shape, strict=True)
        subscripts = tuple(0 if axes.is_one(extent) else places[letter] for letter, extent in stretched)
        element = operand[subscripts] if any(not isinstance(s, int) for s in subscripts) else operand[subscripts][()]
        product = element if product is None else product * element
    summed = [places[letter] for letter in places if letter not in result]
    body = reducers.sum(product, over=summed) if summed else product
    return compute(tuple(places[letter] for letter in result), body)


def _parsed(spec: str, operands: Sequence[Tensor]) -> tuple[list[list[str]], list[str]]:
    """The letters of every operand and of the result: `ix` for the index x, `e1` for the last axis but one of `...`."""
    left, arrow, right = spec.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(operands) or not operands:
        raise ShapeError(
            f"{here()}einsum({spec!r}) has {len(texts)} operands in its text and {len(operands)} beside it."
        )
    terms = []
    for text, operand in zip(texts, operands, strict=True):
        before, dots, after = text.partition("...")
        extra = operand.ndim - len(before) - len(after)
        named = before + after
        if (named and not named.isalpha()) or extra < 0 or (extra and not dots):
            raise ShapeError(f"{here()}einsum({spec!r}): {text!r} does not fit {axes.describe(operand.node)}.")
        middle = [f"e{k}" for k in range(extra, 0, -1)]
        terms.append([*[f"i{c}" for c in before], *middle, *[f"i{c}" for c in after]])
    widest = max((sum(letter[0] == "e" for letter in term) for term in terms), default=0)
    ellipsis = [f"e{k}" for k in range(widest, 0, -1)]
    if arrow:
        before, dots, after = right.partition("...")
        result = [*[f"i{c}" for c in before], *(ellipsis if dots else []), *[f"i{c}" for c in after]]
    else:
        every = [letter for term in terms for letter in term if letter[0] == "i"]
        result = [*ellipsis, *sorted(letter for letter in set(every) if every.count(letter) == 1)]
    known = {letter for term in terms for letter in term}
    if len(set(result)) != len(result) or not set(result) <= known:
        raise ShapeError(f"{here()}einsum({spec!r}): {right!r} has a letter twice, or one that no operand has.")
    return terms, result


def tensordot(a: Tensor, b: Tensor, axes_: Any = 2) -> Tensor:
    """The sum of products over axes of both: a number of last axes of `a` and first of `b`, or a pair of lists.

    Raises:
        ShapeError: axes that do not exist, or sizes that differ.
    """
    a, b = wholes("tensordot", a, b)
    if isinstance(axes_, int):
        pairs = [(a.ndim - axes_ + k, k) for k in range(axes_)]
        if axes_ > min(a.ndim, b.ndim) or axes_ < 0:
            raise ShapeError(
                f"{here()}tensordot over {axes_} axes of {axes.describe(a.node)}, {axes.describe(b.node)}."
            )
    else:
        if not isinstance(axes_, (tuple, list)) or len(axes_) != 2:
            raise ShapeError(f"{here()}tensordot over {axes_!r}: give a number of axes, or a pair of lists of axes.")
        firsts, seconds = ([x] if isinstance(x, int) else list(x) for x in axes_)
        if len(firsts) != len(seconds):
            raise ShapeError(f"{here()}tensordot sums over pairs of axes; {firsts} and {seconds} are no pairs.")
        pairs = [
            (axes.axis_number(p, a.ndim, axes.describe(a.node)), axes.axis_number(q, b.ndim, axes.describe(b.node)))
            for p, q in zip(firsts, seconds, strict=True)
        ]
    left, right = indices_over(a.shape), [index(f"m{k}", extent) for k, extent in enumerate(b.shape)]
    for p, q in pairs:
        if a.node.shape[p] is not b.node.shape[q]:
            raise ShapeError(
                f"{here()}tensordot of {axes.describe(a.node)} and {axes.describe(b.node)}: axes {p} and {q} differ."
            )
        right[q] = left[p]
    summed = [left[p] for p, _ in pairs]
    kept = [x for k, x in enumerate(left) if k not in [p for p, _ in pairs]]
    kept += [x for k, x in enumerate(right) if k not in [q for _, q in pairs]]
    product = a[left] * b[tuple(right)]
    return compute(tuple(kept), reducers.sum(product, over=summed) if summed else product)


# ---------------------------------------------------------------- diagonals


def diagonal(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """x[..., i, i + offset] along two axes; the diagonal is the last axis of the result."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = x.node.shape[-2:]
    length = axes.overlap(rows, columns, offset)
    *rest, i = indices_over((*x.shape[:-2], length))
    return compute((*rest, i), x[(*rest, i + max(-offset, 0), i + max(offset, 0))])


def diag(x: Tensor, k: int = 0) -> Tensor:
    """The k-th diagonal of a matrix, or the matrix whose k-th diagonal is a vector, with 0 elsewhere."""
    x = whole(x, "diag")
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"{here()}diag takes a vector or a matrix, not {axes.describe(x.node)}.")
    extent = x.node.shape[0] + abs(k)
    i, j = indices_over((extent, extent))
    return compute((i, j), where(j - i == k, x[i if k >= 0 else j], 0))


def trace(x: Tensor, offset: int = 0) -> Tensor:
    """The sum of the elements x[i, i + offset, ...] along the first two axes."""
    return reducers.sum(diagonal(x, offset), axis=-1)  # type: ignore[no-any-return]  # of a tensor, a tensor


def tril(x: Tensor, k: int = 0) -> Tensor:
    """The matrix, or stack of matrices, with 0 above its k-th diagonal."""
    x = whole(x, "tril")
    *rest, i, j = indices_over(x.shape)
    return compute((*rest, i, j), where(j <= i + k, x[(*rest, i, j)], 0))


def triu(x: Tensor, k: int = 0) -> Tensor:
    """The matrix, or stack of matrices, with 0 below its k-th diagonal."""
    x = whole(x, "triu")
    *rest, i, j = indices_over(x.shape)
    return compute((*rest, i, j), where(j >= i + k, x[(*rest, i, j)], 0))
