"""A scheduled contraction as statements: boxes filled, outer products of scalars and vectors, the result written back.

In: the boxes of `microkernel.choose` and the memory of the three tensors. Out: loops with literal strides and without a
test in the innermost one, for `kernels`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gradgen.graph.intern import intern
from gradgen.graph.scalar import Poly, Scalar, call, floor_div, integer, load, number, require_poly
from gradgen.program.boxes import Affine, Box, Boxes, Operand, padded
from gradgen.program.loops import Accumulate, Assign, Buffer, For, If, LoopKind, Statement, letter


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a tensor lives: a buffer, and the subscripts that stand before those of its axes."""

    buffer: Buffer
    prefix: tuple[Poly, ...] = ()


@dataclass(slots=True)
class MicroLoops:
    """The statements of one contraction; `stops` holds the extents that only the call knows."""

    boxes: Boxes
    out: Memory
    vector: Memory
    scalar: Memory
    names: Mapping[str, str]  # index -> loop variable
    flat: Mapping[str, Buffer]  # "out", "vector", "scalar" -> the buffer of the box
    stops: Mapping[str, Poly] = field(default_factory=dict)

    def statements(self) -> list[Statement]:
        return self.nest(0)

    def nest(self, depth: int) -> list[Statement]:
        """Everything inside the first `depth` loops."""
        boxes, plan, spec = self.boxes, self.boxes.plan, self.boxes.spec
        found: list[Statement] = []
        for key, box, memory in (("vector", boxes.vector, self.vector), ("scalar", boxes.scalar, self.scalar)):
            if box.level == depth:
                found += self.copy(box, memory, self.flat[key], into_box=True)
        if boxes.out.level == depth:
            found.append(_cleared(self.flat["out"], boxes.out.size))
        if depth == len(plan.loops):
            found += self.products()
        else:
            i = plan.loops[depth]
            stop = self.stops.get(i, integer(padded(i, spec, plan)))
            kind: LoopKind = "parallel" if depth < boxes.out.level else "reduce"
            body = tuple(self.nest(depth + 1))
            found.append(For(self.names[i], integer(0), stop, kind, body, plan.block.get(i, 1)))
        if boxes.out.level == depth:
            found += self.copy(boxes.out, self.out, self.flat["out"], into_box=False)
        return found

    # ------------------------------------------------------------ the block

    def products(self) -> list[Statement]:
        """Scalars once, then for every vector element: the vectors, and each accumulator with all its products."""
        boxes, plan = self.boxes, self.boxes.plan
        dtype = self.out.buffer.dtype
        pairs = [pair for found in boxes.products.values() for pair in found]
        scalar_at, vector_at = sorted({s for s, _ in pairs}), sorted({v for _, v in pairs})
        scalars = {at: _local(f"{self.flat['scalar'].name}_{k}", dtype) for k, at in enumerate(scalar_at)}
        vectors = {at: _local(f"{self.flat['vector'].name}_{k}", dtype) for k, at in enumerate(vector_at)}
        bases = {key: self.base(box) for key, box in self.pairs()}
        found: list[Statement] = [
            Assign(b, (), load(self.flat["scalar"], [bases["scalar"] + at])) for at, b in scalars.items()
        ]
        v = letter(self.names[plan.vector])
        inner: list[Statement] = [
            Assign(b, (), load(self.flat["vector"], [bases["vector"] + at + v])) for at, b in vectors.items()
        ]
        for at, terms in boxes.products.items():
            total: Scalar | None = None
            for s, x in terms:
                term = call("mul", load(scalars[s], ()), load(vectors[x], ()))
                total = term if total is None else call("add", total, term)
            assert total is not None
            inner.append(Accumulate(self.flat["out"], (require_poly(bases["out"] + at + v),), "sum", total))
        stop = integer(padded(plan.vector, boxes.spec, plan))
        return [*found, For(self.names[plan.vector], integer(0), stop, "parallel", tuple(inner))]

    def pairs(self) -> list[tuple[str, Box]]:
        return [("out", self.boxes.out), ("vector", self.boxes.vector), ("scalar", self.boxes.scalar)]

    def base(self, box: Box) -> Poly:
        """The part of an address that the loops inside the box's level move."""
        return self.poly(box.address.only(self.boxes.plan.loops))

    def poly(self, x: Affine) -> Poly:
        total = integer(x.const)
        for i, c in x.terms.items():
            total = require_poly(total + letter(self.names[i]) * c)
        return total

    # ------------------------------------------------------------ copies

    def copy(self, box: Box, memory: Memory, flat: Buffer, into_box: bool) -> list[Statement]:
        """Fill a box, zero where the tensor ends, or write the result back, in the memory order of the tensor."""
        operand, count = box.operand, len(box.dims)
        axes = [box.coordinate(s) for s in operand.subscripts]
        names = [f"{flat.name}_axis{k}" for k in range(count)]
        address = integer(0)
        for name, stride in zip(names, box.stride, strict=True):
            address = require_poly(address + letter(name) * stride)
        subscripts = [
            self.poly(at) if k is None else require_poly(letter(names[k]) * box.step[k] + self.poly(at))
            for k, at in axes
        ]
        place = (*memory.prefix, *subscripts)
        body: Statement = (
            Assign(flat, (address,), load(memory.buffer, place))
            if into_box
            else Assign(memory.buffer, place, load(flat, [address]))
        )
        clipped = False
        for k in reversed(_copy_order(box, axes)):
            start, stop = self.bounds(box, operand, axes, k)
            clipped = clipped or start is not integer(0) or stop is not integer(box.shape[k])
            body = For(names[k], start, stop, "parallel", (body,))
        tests = self.tests(operand, axes)
        found: list[Statement] = [_cleared(flat, box.size)] if into_box and (clipped or tests) else []
        for test in reversed(tests):
            body = If(test, (body,))
        return [*found, body]

    def bounds(
        self, box: Box, operand: Operand, axes: Sequence[tuple[int | None, Affine]], k: int
    ) -> tuple[Scalar, Scalar]:
        """The coordinates of one dimension that lie inside the tensor."""
        start: Scalar = integer(0)
        stop: Scalar = integer(box.shape[k])
        step = box.step[k]
        for (dimension, at), extent in zip(axes, operand.shape, strict=True):
            if dimension != k:
                continue
            assert extent is not None
            least, most = at.span(self.boxes.spec.extents)
            origin = self.poly(at)
            if least < 0:
                start = _larger(start, require_poly(-floor_div(origin, integer(step))))
            if most + step * (box.shape[k] - 1) >= extent:
                last = floor_div(require_poly(extent - 1 - origin), integer(step))
                stop = _smaller(stop, require_poly(last + 1))
        return start, stop

    def tests(self, operand: Operand, axes: Sequence[tuple[int | None, Affine]]) -> list[Scalar]:
        """Conditions on subscripts that stand still while the box is filled."""
        found: list[Scalar] = []
        for (dimension, at), extent in zip(axes, operand.shape, strict=True):
            if dimension is not None or extent is None:
                continue
            least, most = at.span(self.boxes.spec.extents)
            value = self.poly(at)
            if least < 0:
                found.append(call("ge", value, integer(0)))
            if most >= extent:
                found.append(call("ge", require_poly(extent - 1 - value), integer(0)))
        return found


def _copy_order(box: Box, axes: Sequence[tuple[int | None, Affine]]) -> list[int]:
    """The memory order of the tensor, the box's innermost dimension next to last, so that its rows stay in cache."""
    order = list(dict.fromkeys(k for k, _ in axes if k is not None))
    last = len(box.dims) - 1
    if len(order) > 2 and order[-1] != last:
        order.remove(last)
        order.insert(len(order) - 1, last)
    return order


def _cleared(flat: Buffer, size: int) -> Statement:
    name = f"{flat.name}_at"
    return For(name, integer(0), integer(size), "parallel", (Assign(flat, (letter(name),), number(0)),))


def _local(name: str, dtype: str) -> Buffer:
    return intern(Buffer, name, (), dtype, "local", None)


def _larger(a: Scalar, b: Poly) -> Scalar:
    if isinstance(a, Poly) and a.constant is not None and b.constant is not None:
        return integer(max(a.constant, b.constant))
    return call("maximum", a, b)


def _smaller(a: Scalar, b: Poly) -> Scalar:
    if isinstance(a, Poly) and a.constant is not None and b.constant is not None:
        return integer(min(a.constant, b.constant))
    return call("minimum", a, b)
