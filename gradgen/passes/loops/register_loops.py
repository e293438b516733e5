"""Contractions as outer products of registers: boxes filled, scalars times vectors added up, the result written back.

In: a `Contract`, for which `box_plans` has a schedule. Out: loops with literal strides and without a test in the
innermost one. A contraction without a schedule is a plain nest of loops.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice

from gradgen.graph.intern import intern
from gradgen.graph.names import free_name
from gradgen.graph.nodes import Shape
from gradgen.graph.scalar import Poly, Scalar, call, floor_div, integer, load, number, require_poly
from gradgen.program.box_plans import choose
from gradgen.program.boxes import Affine, Affinity, Box, Boxes, Operand, affinity, padded
from gradgen.program.contractions import one_by_one
from gradgen.program.loops import (
    Accumulate,
    Assign,
    Buffer,
    Contract,
    For,
    If,
    Indexed,
    LoopKind,
    Note,
    Role,
    Statement,
    letter,
    letter_atom,
)
from gradgen.program.rewriting import with_bodies

__all__ = ["MicroLoops", "in_registers"]

TERMS = 3  # products in a line
ROLES = {"out": "sums", "vector": "vectors", "scalar": "scalars"}  # what the box of a tensor is called

Make = Callable[[str, Shape, str, Role], Buffer]


def in_registers(body: Sequence[Statement], make: Make, taken: Set[str]) -> list[Statement]:
    """The statements with every contraction as loops; `make` gives arrays for boxes, no variable is in `taken`."""
    found: list[Statement] = []
    for statement in body:
        if isinstance(statement, Contract):
            boxes = choose(spec) if (spec := over_indices(statement)) is not None else None
            found += one_by_one(statement) if boxes is None else outer_products(statement, boxes, make, taken)
        else:
            found.append(with_bodies(statement, lambda inner: in_registers(inner, make, taken)))
    return found


def over_indices(contraction: Contract) -> Affinity | None:
    """The contraction over named indices: index `k` is its letter number k."""
    indices = [(letter_atom(name), extent) for name, extent in contraction.letters]
    sides = (contraction.out, contraction.left, contraction.right)
    return affinity(indices, *((x.buffer.shape[len(x.fixed) :], x.subscripts) for x in sides))


def outer_products(contraction: Contract, boxes: Boxes, make: Make, taken: Set[str]) -> list[Statement]:
    """The statements of a contraction by a schedule of it."""
    sides = {"left": contraction.left, "right": contraction.right}
    tensors = {"out": contraction.out, **{role: sides[box.operand.side] for role, box in _pairs(boxes)[1:]}}
    dtype = contraction.out.buffer.dtype
    flat = {
        role: make(f"{tensors[role].buffer.name}_{ROLES[role]}", (integer(box.size),), dtype, "work")
        for role, box in _pairs(boxes)
    }
    letters = [name for name, _ in contraction.letters]
    names = _name_indices(boxes.spec.extents, letters, taken)
    nest = MicroLoops(
        boxes,
        tensors,
        flat,
        _element_names({role: x.buffer.name for role, x in tensors.items()}, taken),
        names,
        {str(k): extent for k, (_, extent) in enumerate(contraction.letters) if extent.constant is None},
        taken | {*names.values()},
    )
    return nest.statements()


def _element_names(names: Mapping[str, str], taken: Set[str]) -> dict[str, str]:
    """`K` for the elements `K_0`, `K_1`, ... of K; longer where one of these is the name of something else."""
    found = dict(names)
    for role, name in names.items():
        others = {n for r, n in found.items() if r != role}
        like_a_box = name.endswith(tuple(f"_{box}" for box in ROLES.values()))  # of another array, with a number
        numbered = any(t.startswith(f"{name}_") and t[len(name) + 1 :].isdigit() for t in taken)
        if name in others or like_a_box or numbered:
            found[role] = f"{name}_{ROLES[role][:-1]}"
    return found


def _name_indices(indices: Iterable[str], letters: Sequence[str], taken: Iterable[str]) -> dict[str, str]:
    """A loop variable for every index: `3` is letter number 3, `3_strip` counts strips of it."""
    used = {*taken, *letters}
    found: dict[str, str] = {}
    for index in indices:
        position, _, suffix = index.partition("_")
        own = letters[int(position)]
        found[index] = free_name(f"{own}_{suffix}", used) if suffix else own
        used.add(found[index])
    return found


@dataclass(slots=True)
class MicroLoops:
    """The statements of one contraction; `stops` holds the extents that only the call knows.

    `tensors`, `flat` and `elements` are by the keys of `ROLES`: where a tensor lives, its box, and what the scalar
    variables that hold elements of it are called. No variable has a name in `taken`.
    """

    boxes: Boxes
    tensors: Mapping[str, Indexed]
    flat: Mapping[str, Buffer]
    elements: Mapping[str, str]
    names: Mapping[str, str]  # index -> loop variable
    stops: Mapping[str, Poly] = field(default_factory=dict)
    taken: Set[str] = frozenset()
    locals: dict[Hashable, Buffer] = field(default_factory=dict)

    def statements(self) -> list[Statement]:
        return self.nest(0)

    def nest(self, depth: int) -> list[Statement]:
        """Everything inside the first `depth` loops."""
        boxes, plan, spec = self.boxes, self.boxes.plan, self.boxes.spec
        found: list[Statement] = []
        for key, box in _pairs(boxes)[1:]:
            if box.level == depth:
                found += [self.note(key, box), *self.copy(key, box, into_box=True)]
        if boxes.out.level == depth:
            found += [self.note("out", boxes.out), self.cleared("out", boxes.out)]
        if depth == len(plan.loops):
            found += self.products()
        elif self.is_single(plan.loops[depth]):
            found += self.nest(depth + 1)
        else:
            i = plan.loops[depth]
            stop = self.stops.get(i, integer(padded(i, spec, plan)))
            kind: LoopKind = "parallel" if depth < boxes.out.level else "reduce"
            body = tuple(self.nest(depth + 1))
            found.append(For(self.names[i], integer(0), stop, kind, body, plan.block.get(i, 1)))
        if boxes.out.level == depth:
            found += self.copy("out", boxes.out, into_box=False)
        return found

    # ------------------------------------------------------------ the block

    def products(self) -> list[Statement]:
        """Scalars once, then for every vector element: the vectors, and each sum with all its products."""
        boxes, plan = self.boxes, self.boxes.plan
        dtype = self.flat["out"].dtype
        terms = [pair for found in boxes.products.values() for pair in found]
        scalars = self.elements_at("scalar", {s for s, _ in terms})
        vectors = self.elements_at("vector", {v for _, v in terms})
        bases = {key: self.local(key, f"{flat.name}_at", "int64") for key, flat in self.flat.items()}
        found: list[Statement] = [Assign(bases[key], (), self.base(box)) for key, box in _pairs(boxes)]
        at = {key: require_poly(load(b, ())) for key, b in bases.items()}
        found += [Assign(b, (), load(self.flat["scalar"], [at["scalar"] + k])) for k, b in scalars.items()]
        v = letter(self.names[plan.vector])
        inner: list[Statement] = [
            Assign(b, (), load(self.flat["vector"], [at["vector"] + k + v])) for k, b in vectors.items()
        ]
        total = self.local("total", f"{self.elements['out']}_sum", dtype)
        for k, pairs in boxes.products.items():
            place = (require_poly(at["out"] + k + v),)
            lines = list(_batched((scalars[s], vectors[x]) for s, x in pairs))
            if len(lines) == 1:
                inner.append(Accumulate(self.flat["out"], place, "sum", _sum_of_products(lines[0])))
                continue
            inner.append(Assign(total, (), _sum_of_products(lines[0])))
            inner += [Accumulate(total, (), "sum", _sum_of_products(line)) for line in lines[1:]]
            inner.append(Accumulate(self.flat["out"], place, "sum", load(total, ())))
        stop = integer(padded(plan.vector, boxes.spec, plan))
        return [*found, For(self.names[plan.vector], integer(0), stop, "reduce", tuple(inner))]

    def elements_at(self, key: str, offsets: set[int]) -> dict[int, Buffer]:
        """A scalar variable for the element at each offset of a box."""
        dtype = self.flat[key].dtype
        return {at: self.local((key, k), f"{self.elements[key]}_{k}", dtype) for k, at in enumerate(sorted(offsets))}

    def local(self, what: Hashable, name: str, dtype: str) -> Buffer:
        """A scalar variable, the same one for the same thing."""
        if what not in self.locals:
            free = free_name(name, self.taken | {b.name for b in self.locals.values()})
            self.locals[what] = intern(Buffer, free, (), dtype, "local", None)
        return self.locals[what]

    def counters(self, box: Box) -> list[str]:
        """A loop variable for each dimension of a box: the letter of its index, or those of several joined."""
        found: list[str] = []
        for dim in box.dims:
            letters = [self.names[i] for i in dim.terms]
            alone = len(letters) == 1 and letters[0] not in found
            found.append(letters[0] if alone else free_name("_".join(letters), self.taken | {*found}))
        return found

    def base(self, box: Box) -> Poly:
        """The part of an address that the loops inside the box's level move."""
        return self.poly(box.address.only(self.boxes.plan.loops))

    def poly(self, x: Affine) -> Poly:
        total = integer(x.const)
        for i, c in x.terms.items():
            if not self.is_single(i):
                total = require_poly(total + letter(self.names[i]) * c)
        return total

    def is_single(self, index: str) -> bool:
        """Whether an index is 0 and nothing else; it gets no loop."""
        return self.boxes.spec.extents[index] == 1 and index not in self.stops

    # ------------------------------------------------------------ copies

    def note(self, key: str, box: Box) -> Note:
        """What a box holds: the axes in its order, sums of indices as the tensor's subscripts have them."""
        axes = [(self.axis(d), size) for d, size in zip(box.dims, box.shape, strict=True) if size > 1]
        shape = f"{' x '.join(str(size) for _, size in axes)}, by {', '.join(text for text, _ in axes)}"
        what = {
            "out": f"sums for {self.tensors[key].buffer.name}",
            "vector": f"{self.tensors[key].buffer.name}, the vectors",
            "scalar": f"{self.tensors[key].buffer.name}, the scalars that vectors are multiplied by",
        }[key]
        return Note(f"{self.flat[key].name}: {what}: {shape}")

    def axis(self, dim: Affine) -> str:
        """The sum of indices that a dimension of a box stands for."""
        text = ""
        for i, c in sorted(dim.terms.items(), key=lambda term: term[1] < 0):
            sign = ("-" if c < 0 else "") if not text else (" - " if c < 0 else " + ")
            text += sign + (self.names[i] if abs(c) == 1 else f"{abs(c)} {self.names[i]}")
        return text

    def copy(self, key: str, box: Box, into_box: bool) -> list[Statement]:
        """Fill a box, zero where the tensor ends, or write the result back, in the memory order of the tensor."""
        operand, tensor, flat = box.operand, self.tensors[key], self.flat[key]
        axes = [box.coordinate(s) for s in operand.subscripts]
        names = self.counters(box)
        address = integer(0)
        for name, stride in zip(names, box.stride, strict=True):
            address = require_poly(address + letter(name) * stride)
        subscripts = [
            self.poly(at) if k is None else require_poly(letter(names[k]) * box.step[k] + self.poly(at))
            for k, at in axes
        ]
        element = (*tensor.fixed, *subscripts)
        body: Statement = (
            Assign(flat, (address,), load(tensor.buffer, element))
            if into_box
            else Assign(tensor.buffer, element, load(flat, [address]))
        )
        clipped = False
        for k in reversed(_copy_order(box, axes)):
            start, stop = self.bounds(box, operand, axes, k)
            clipped = clipped or start is not integer(0) or stop is not integer(box.shape[k])
            body = For(names[k], start, stop, "reduce", (body,))
        tests = self.tests(operand, axes)
        found: list[Statement] = [self.cleared(key, box)] if into_box and (clipped or tests) else []
        for test in reversed(tests):
            body = If(test, (body,))
        return [*found, body]

    def cleared(self, key: str, box: Box) -> Statement:
        flat = self.flat[key]
        at = self.local(key, f"{flat.name}_at", "int64").name
        return For(at, integer(0), integer(box.size), "reduce", (Assign(flat, (letter(at),), number(0)),))

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
                start = _larger(start, require_poly(-floor_div(origin, integer(step), exact=True)))
            if most + step * (box.shape[k] - 1) >= extent:
                last = floor_div(require_poly(extent - 1 - origin), integer(step), exact=True)
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


def _pairs(boxes: Boxes) -> list[tuple[str, Box]]:
    return [("out", boxes.out), ("vector", boxes.vector), ("scalar", boxes.scalar)]


def _copy_order(box: Box, axes: Sequence[tuple[int | None, Affine]]) -> list[int]:
    """The memory order of the tensor, the box's innermost dimension next to last, so that its rows stay in cache."""
    order = list(dict.fromkeys(k for k, _ in axes if k is not None))
    last = len(box.dims) - 1
    if len(order) > 2 and order[-1] != last:
        order.remove(last)
        order.insert(len(order) - 1, last)
    return order


def _batched(pairs: Iterable[tuple[Buffer, Buffer]]) -> Iterator[list[tuple[Buffer, Buffer]]]:
    """As many pairs as a line holds, whatever their names: equal loops are recognised as equal."""
    rest = iter(pairs)
    while part := list(islice(rest, TERMS)):
        yield part


def _sum_of_products(pairs: Iterable[tuple[Buffer, Buffer]]) -> Scalar:
    total: Scalar | None = None
    for s, v in pairs:
        term = call("mul", load(s, ()), load(v, ()))
        total = term if total is None else call("add", total, term)
    assert total is not None
    return total


def _larger(a: Scalar, b: Poly) -> Scalar:
    if isinstance(a, Poly) and a.constant is not None and b.constant is not None:
        return integer(max(a.constant, b.constant))
    return call("maximum", a, b)


def _smaller(a: Scalar, b: Poly) -> Scalar:
    if isinstance(a, Poly) and a.constant is not None and b.constant is not None:
        return integer(min(a.constant, b.constant))
    return call("minimum", a, b)
