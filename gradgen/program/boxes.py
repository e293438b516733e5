"""Affine contractions held in boxes: flat pieces of tensors with literal strides, the vector index last.

In: a contraction out[f(i)] = sum left[g(i)] * right[h(i)] with affine subscripts, and a schedule of it. Out: the boxes
that `box_plans` costs and `passes.loops.register_loops` fills, multiplies and writes back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import gcd, prod
from typing import Literal

from gradgen.graph.nodes import Shape
from gradgen.graph.scalar import Atom, Poly, atom_poly
from gradgen.machine import machine
from gradgen.program.cost import estimate


@dataclass(frozen=True)
class Affine:
    """A subscript: sum of coefficient * index, plus a constant."""

    terms: Mapping[str, int] = field(default_factory=dict)
    const: int = 0

    def __hash__(self) -> int:
        return hash((frozenset(self.terms.items()), self.const))

    def plus(self, other: "Affine", factor: int = 1) -> "Affine":
        terms = dict(self.terms)
        for i, c in other.terms.items():
            terms[i] = terms.get(i, 0) + factor * c
        return Affine({i: c for i, c in terms.items() if c}, self.const + factor * other.const)

    def only(self, indices: Iterable[str]) -> "Affine":
        kept = set(indices)
        return Affine({i: c for i, c in self.terms.items() if i in kept})

    def at(self, point: Mapping[str, int]) -> int:
        return self.const + sum(c * point[i] for i, c in self.terms.items() if i in point)

    def span(self, extents: Mapping[str, int]) -> tuple[int, int]:
        """The least and the largest value where every index runs through its extent."""
        ends = [c * (extents[i] - 1) for i, c in self.terms.items()]
        return self.const + sum(min(0, e) for e in ends), self.const + sum(max(0, e) for e in ends)


@dataclass(frozen=True)
class Operand:
    """One access: the extents of its tensor and its subscripts. Outside the tensor it reads 0.

    An axis of extent None is as long as the index that runs over it, whatever that is when the program is called.
    """

    side: Literal["out", "left", "right"]
    shape: tuple[int | None, ...]
    subscripts: tuple[Affine, ...]

    @cached_property
    def indices(self) -> frozenset[str]:
        return frozenset(i for s in self.subscripts for i in s.terms)


@dataclass(frozen=True)
class Affinity:
    """A contraction with affine subscripts: `vector` is the operand that holds the vector index, `scalar` the other."""

    extents: Mapping[str, int]
    out: Operand
    vector: Operand
    scalar: Operand
    open_ended: frozenset[str] = frozenset()  # indices whose extent is known only at call time, and assumed here

    def __hash__(self) -> int:
        return hash((frozenset(self.extents.items()), self.out, self.vector, self.scalar, self.open_ended))


def affinity(
    indices: Sequence[tuple[Atom, Poly]],
    out: tuple[Shape, Sequence[Poly]],
    left: tuple[Shape, Sequence[Poly]],
    right: tuple[Shape, Sequence[Poly]],
) -> Affinity | None:
    """A contraction with an affine subscript, over the indices "0", "1", ...; None where it is not of this kind.

    One index of a leading axis may be known only at call time, if it stands alone in every subscript.

    Args:
        indices: their atoms and extents.
        out: the extents of the result, and at which subscripts sums are added.
        left: the same of an operand, which is 0 outside.
        right: the same of the other one.
    """
    names = {atom: str(k) for k, (atom, _) in enumerate(indices)}
    operands = [
        _operand("out", *out, names), _operand("left", *left, names), _operand("right", *right, names),
    ]  # fmt: skip
    known = [x for x in operands if x is not None]
    unknown = [str(k) for k, (_, extent) in enumerate(indices) if extent.constant is None]
    if len(known) < len(operands) or len(unknown) > 1:
        return None
    subscripts = [s for x in known for s in x.subscripts]
    if not all(dict(s.terms) == {i: 1} and s.const == 0 for i in unknown for s in subscripts if i in s.terms):
        return None
    if not any(len(s.terms) > 1 for s in subscripts):
        return None  # a plain matrix product
    extents = {str(k): int(estimate(extent)) for k, (_, extent) in enumerate(indices)}
    return Affinity(extents, known[0], known[1], known[2], frozenset(unknown))


def _operand(
    side: Literal["out", "left", "right"], shape: Shape, subscripts: Sequence[Poly], names: Mapping[Atom, str]
) -> Operand | None:
    found = [x for x in (_affine(s, names) for s in subscripts) if x is not None]
    if len(found) < len(subscripts):
        return None
    for s, extent in zip(subscripts, shape, strict=True):
        if extent.constant is None and not any(s is atom_poly(a) for a in names):
            return None
    return Operand(side, tuple(extent.constant for extent in shape), tuple(found))


def _affine(s: Poly, names: Mapping[Atom, str]) -> Affine | None:
    terms: dict[str, int] = {}
    constant = 0
    for monomial, factor in s.terms:
        if not monomial:
            constant = factor
        elif len(monomial) == 1 and monomial[0] in names:
            terms[names[monomial[0]]] = factor
        else:
            return None
    return Affine({i: terms[i] for i in names.values() if i in terms}, constant)


@dataclass(frozen=True)
class Plan:
    """A schedule: loops from the outermost to the innermost, all other indices but the vector index are unrolled."""

    vector: str
    loops: tuple[str, ...]
    block: Mapping[str, int]  # positions of a loop that are unrolled
    levels: Mapping[str, int]  # "out", "vector", "scalar": the box is filled inside that many loops


def padded(i: str, spec: Affinity, plan: Plan) -> int:
    step = machine().box_lanes if i == plan.vector else plan.block.get(i, 1)
    return -(-spec.extents[i] // step) * step


class Box:
    """The part of a tensor that the loops inside a level touch."""

    def __init__(self, operand: Operand, spec: Affinity, plan: Plan, level: int, vector_last: bool) -> None:
        self.operand, self.level = operand, level
        fixed = plan.loops[:level]
        assert not any(i in plan.block for i in fixed), "a box holds every position that is unrolled"
        self.inner = [i for i in spec.extents if i not in fixed]
        assert not any(i in spec.open_ended for i in operand.indices & set(self.inner))
        size = {i: padded(i, spec, plan) for i in self.inner}
        self.dims: list[Affine] = []
        for s in operand.subscripts:
            part = s.only(self.inner)
            if part.terms and part not in self.dims:
                self.dims.append(part)
        if vector_last:
            self.dims.sort(key=lambda d: plan.vector in d.terms)
            assert plan.vector in self.dims[-1].terms
        spans = [d.span(size) for d in self.dims]
        self.low = [low for low, _ in spans]
        self.step = [gcd(*d.terms.values()) for d in self.dims]
        self.shape = [(high - low) // g + 1 for (low, high), g in zip(spans, self.step, strict=True)]
        self.stride = [prod(self.shape[k + 1 :]) for k in range(len(self.shape))]
        self.size = prod(self.shape)
        self.address = Affine()
        for d, low, g, stride in zip(self.dims, self.low, self.step, self.stride, strict=True):
            self.address = self.address.plus(
                Affine({i: c // g * stride for i, c in d.terms.items()}, -low // g * stride)
            )

    def coordinate(self, subscript: Affine) -> tuple[int | None, Affine]:
        """The dimension that a subscript runs through and its value at coordinate 0, or None and the subscript."""
        part = subscript.only(self.inner)
        if not part.terms:
            return None, subscript
        k = self.dims.index(part)
        return k, subscript.plus(part, -1).plus(Affine({}, self.low[k]))


def owns(spec: Affinity, plan: Plan, k: int) -> bool:
    """Whether the iterations of a loop, those outside it fixed, write disjoint parts of the result."""
    i, outside = plan.loops[k], plan.loops[:k]
    holders = [s for s in spec.out.subscripts if i in s.terms]
    if len(holders) != 1:
        return False
    size = {j: padded(j, spec, plan) for j in holders[0].terms}
    rest = sum(abs(c) * (size[j] - 1) for j, c in holders[0].terms.items() if j != i and j not in outside)
    return abs(holders[0].terms[i]) > rest


class Boxes:
    """The three boxes of a schedule, and what its innermost block multiplies."""

    def __init__(self, spec: Affinity, plan: Plan) -> None:
        self.spec, self.plan = spec, plan
        for i, count in plan.block.items():  # an overshoot would add to elements of the result
            alone = sum(i in s.terms for s in spec.out.subscripts) == 1
            alone = alone and any(set(s.terms) == {i} for s in spec.out.subscripts)
            assert alone or spec.extents[i] % count == 0, f"a block of {i} must divide it"
        self.out = Box(spec.out, spec, plan, plan.levels["out"], True)
        self.vector = Box(spec.vector, spec, plan, plan.levels["vector"], True)
        self.scalar = Box(spec.scalar, spec, plan, plan.levels["scalar"], False)
        assert plan.vector not in spec.scalar.indices
        assert all(owns(spec, plan, k) for k in range(plan.levels["out"])), "every element is written back once"

    @cached_property
    def products(self) -> dict[int, list[tuple[int, int]]]:
        """For each accumulator vector the (scalar, vector) pairs added to it; all are offsets into their boxes."""
        spec, plan = self.spec, self.plan
        free = {i: range(e) for i, e in spec.extents.items() if i not in plan.loops and i != plan.vector}
        free |= {i: range(count) for i, count in plan.block.items()}
        found: dict[int, list[tuple[int, int]]] = {}
        for values in product(*free.values()):
            point = dict(zip(free, values, strict=True))
            at = [b.address.at(point) for b in (self.out, self.scalar, self.vector)]
            found.setdefault(at[0], []).append((at[1], at[2]))
        return found
