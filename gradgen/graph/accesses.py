"""Every place where a formula reads, what is known there, and whether it is proved to stay inside.

In: formulas over letters or positions. Out: accesses with facts; `lang.ranges` infers ranges from them, and what is
not proved is for the checks of a call.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gradgen.graph.enumeration import is_decidable, question, strays
from gradgen.graph.neutral import is_neutral, neutral
from gradgen.graph.nodes import Compute, Leaf, Node, compute, identity, pointwise, show_size
from gradgen.graph.origin import display_name
from gradgen.graph.polynomials import distance, divisors, excess
from gradgen.graph.records import Tensorlike
from gradgen.graph.scalar import (
    FLOATS,
    Atom,
    Call,
    Const,
    Letter,
    Load,
    Poly,
    Reduce,
    Scalar,
    as_poly,
    call,
    children,
    integer,
    position_atom,
    require_poly,
    step_atom,
)
from gradgen.graph.sizes import bounds, index_atoms, is_size, nonnegative, reads_data
from gradgen.graph.spans import BOUND, span


@dataclass(frozen=True, eq=False, slots=True)
class Access:
    """One subscript: which axis of what, what is known where it is read, and which indices it does not bound.

    `conditions` are orders and equalities of integers that hold where it is read, `facts` what they say as polynomials
    that are >= 0. Data decides further where it is not `certain`: the access may be read at fewer places.
    """

    subscript: Poly
    size: Poly
    axis: int
    tensor: Node | None  # None: the result of an accumulate
    facts: tuple[Poly, ...] = ()
    conditions: tuple[Scalar, ...] = ()
    certain: bool = True
    soft: frozenset[Letter] = frozenset()

    @property
    def what(self) -> str:
        name = "the result" if self.tensor is None else display_name(self.tensor)
        return f"{name}'s axis {self.axis} ({show_size(self.size)})"


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known at a place of a formula; equal places are met once."""

    facts: tuple[Poly, ...] = ()
    conditions: tuple[Scalar, ...] = ()
    certain: bool = True
    soft: frozenset[Letter] = frozenset()

    def under(self, condition: Scalar, soft: frozenset[Letter]) -> "_Place":
        """The place behind a condition."""
        facts = (*self.facts, *known(condition, True))
        if is_decidable(condition):
            return _Place(facts, (*self.conditions, condition), self.certain, soft)
        return _Place(facts, self.conditions, False, soft)


def accesses(letters: Iterable[Letter], *expressions: Scalar) -> list[Access]:
    """Every subscript of a formula, with what is known where it is read.

    A branch of `where` is read only where its condition holds, so it bounds no index from outside the branch; the
    second operand of `and` only where the first one holds.
    """
    found: list[Access] = []
    seen: set[tuple[Scalar, _Place]] = set()
    stack: list[tuple[Scalar, _Place, frozenset[Letter]]] = [
        (expression, _Place(), frozenset(letters)) for expression in reversed(expressions)
    ]
    while stack:
        x, place, scope = stack.pop()
        if (x, place) in seen:
            continue
        seen.add((x, place))
        match x:
            case Call(function=function, arguments=(condition, yes, no)) if function.name == "where":
                stack += [
                    (no, place.under(call("not", condition), scope), scope),
                    (yes, place.under(condition, scope), scope),
                    (condition, place, scope),
                ]
                continue
            case Call(function=function, arguments=(first, second)) if function.name in ("and", "or"):
                needed = first if function.name == "and" else call("not", first)
                stack += [(second, place.under(needed, place.soft), scope), (first, place, scope)]
                continue
            case Reduce(body=body, letters=own):
                stack.append((body, place, scope | frozenset(own)))
                continue
            case Load(tensor=tensor, subscripts=subscripts):
                for axis, (subscript, size) in enumerate(zip(subscripts, tensor.shape, strict=True)):
                    found.append(
                        Access(subscript, size, axis, tensor, place.facts, place.conditions, place.certain, place.soft)
                    )
        stack += [(part, place, scope) for part in reversed(children(x))]
    return found


def written(body: Scalar, target: Sequence[Poly], shape: Sequence[Poly], reducer: str = "sum") -> list[Access]:
    """The subscripts at which an accumulate adds: only where the conditions on its body hold."""
    place = _Place()
    for condition in guarded(body, reducer)[0]:
        place = place.under(condition, frozenset())
    return [
        Access(p, size, axis, None, place.facts, place.conditions, place.certain)
        for axis, (p, size) in enumerate(zip(target, shape, strict=True))
    ]


def known(condition: Scalar, holds: bool) -> tuple[Poly, ...]:
    """Polynomials that are >= 0 where a condition holds, or where it does not: of what int64 holds of the data."""
    match condition:
        case Call(function=function, arguments=(a, b)) if function.name in ("and", "or"):
            return known(a, holds) + known(b, holds) if holds == (function.name == "and") else ()
        case Call(function=function, arguments=(a,)) if function.name == "not":
            return known(a, not holds)
        case Call(function=function, arguments=(a, b)) if condition.dtype == "bool":
            left, right = as_poly(a), as_poly(b)
            if left is None or right is None:
                return ()
            match function.name if holds else _OPPOSITE.get(function.name):
                case "ge":
                    return (excess(left, right),)
                case "gt":
                    return (excess(left, right, 1),)
                case "le":
                    return (excess(right, left),)
                case "lt":
                    return (excess(right, left, 1),)
                case "eq":
                    return (distance(left, right), distance(right, left))
    return ()


_OPPOSITE = {"ge": "lt", "gt": "le", "le": "gt", "lt": "ge", "ne": "eq"}


def decide(condition: Scalar, ranges: Mapping[Atom, Poly]) -> bool | None:
    """Whether an order between indices always holds, never holds, or depends."""
    match condition:
        case Const(dtype="bool", text=text):
            return text == "True"
        case Call(function=function, arguments=(Poly() as p, _)) if function.name == "ge" and not reads_data(p):
            if nonnegative(p, ranges):
                return True
            return False if nonnegative(require_poly(-p - 1), ranges) else None
    return None


def is_inside(access: Access, ranges: Mapping[Atom, Poly], facts: Sequence[Poly] = ()) -> bool:
    """Whether a subscript is proved to stay inside its axis."""
    p = access.subscript
    if p.constant is not None and 0 <= p.constant < (access.size.constant or 0):
        return True
    if len(p.atoms) == len(p.terms) == 1 and p.terms[0][1] == 1 and ranges.get(p.terms[0][0][0]) is access.size:
        return True
    if nonnegative(p, ranges, facts) and nonnegative(require_poly(access.size - p - 1), ranges, facts):
        return True
    low, high = span(p)
    if low >= 0 and high < (access.size.constant or 0):
        return True
    return strays(p, access.size, access.conditions, ranges) == []


def may_divide_by_zero(p: Poly, ranges: Mapping[Atom, Poly]) -> bool:
    """Whether a subscript divides by something that is not proved to be positive or negative."""
    return any(not isinstance(d, Poly) or not is_size(d) for d in divisors(p)) or unsigned_sizes(p, ranges) != []


def unsigned_sizes(p: Poly, ranges: Mapping[Atom, Poly]) -> list[Poly]:
    """The sizes that a subscript divides by and that are not proved to be positive or negative."""
    sizes = [d for d in divisors(p) if isinstance(d, Poly) and is_size(d)]
    return [
        d
        for d in sizes
        if not nonnegative(require_poly(d - 1), ranges) and not nonnegative(require_poly(-d - 1), ranges)
    ]


def guarded(body: Scalar, reducer: str = "sum") -> tuple[list[Scalar], Scalar]:
    """The conditions without which an accumulate adds nothing anywhere, outermost first, and what it adds under them.

    `where(c, x, 0)` adds nothing without c, `where(c, 0, x)` with it; they may be nested and cast. Of maxima it is
    `where(c, x, -inf)` that changes nothing, and so on.
    """
    around = list(_guards(body, reducer))
    inner = around[-1][-1] if around else body
    for x, condition, _ in reversed(around):
        if condition is None:
            inner = call(x.function.name, inner)
    return [condition for _, condition, _ in around if condition is not None], inner


def guards(body: Scalar, reducer: str = "sum") -> set[Scalar]:
    """The choices, and the casts between them, that hold the conditions of `guarded`."""
    return {x for x, *_ in _guards(body, reducer)}


def _guards(body: Scalar, reducer: str) -> Iterator[tuple[Call, Scalar | None, Scalar]]:
    """Such choices and casts from outside in, with the condition, and what is added under it."""
    while isinstance(body, Call):
        x = body
        match x.arguments:
            case (condition, yes, no) if x.function.name == "where" and (
                (last := is_neutral(reducer, no, x.dtype)) or is_neutral(reducer, yes, x.dtype)
            ):
                body = yes if last else no
                yield x, condition if last else call("not", condition), body
            case (inner,) if x.function.name in FLOATS:
                body = inner
                yield x, None, body
            case _:
                return


def remembered(node: Compute) -> Compute:
    """An accumulated maximum or minimum of values that are in memory: computed twice, a value may round to two.

    Its adjoint asks which value the largest one was.
    """
    conditions, x = guarded(node.body, node.reducer)
    kept = isinstance(x, Load) and (isinstance(x.tensor, Leaf) or is_materialized(x.tensor))
    if kept or x.dtype not in FLOATS:
        return node
    body: Scalar = identity(pointwise(node.extents, call("materialize", node.body)))
    for condition in reversed(conditions):
        body = call("where", condition, body, neutral(node.reducer, node.dtype))
    new = compute(node.shape, node.extents, node.target, node.reducer, body)
    assert isinstance(new, Compute)
    return new


def is_materialized(node: Tensorlike) -> bool:
    """Whether a tensor is computed once, into memory of its own: its formula is written materialize(...)."""
    return isinstance(node, Compute) and isinstance(node.body, Call) and node.body.function.name == "materialize"


@dataclass(frozen=True, eq=False, slots=True)
class LeafSubscript:
    """A subscript `factor * leaf[...] + rest`, where low <= rest <= high depends on sizes only."""

    leaf: Leaf
    factor: int
    low: Poly
    high: Poly


def ranges_of(extents: Sequence[Poly], steps: Mapping[int, Poly] = MappingProxyType({})) -> dict[Atom, Poly]:
    """The extent of every position; `steps` has the length of the scan at each depth around."""
    ranges: dict[Atom, Poly] = {position_atom(k): extent for k, extent in enumerate(extents)}
    return ranges | {step_atom(depth): length for depth, length in steps.items()}


def ranges_in(node: Compute, steps: Mapping[int, Poly] | None = None) -> dict[Atom, Poly]:
    """The extents of a node's indices, in the scans that it stands in."""
    return ranges_of(node.extents, steps or {})


def is_counted(access: Access, ranges: Mapping[Atom, Poly]) -> bool:
    """Whether only a pass over the data of a call can tell if an access stays inside; sizes tell of the others."""
    if reads_data(access.subscript):
        return True
    if not index_atoms(access.subscript):
        return False
    return not access.certain or question(access.subscript, access.size, access.conditions, ranges) is None


def leaf_subscript(access: Access, ranges: dict[Atom, Poly]) -> LeafSubscript | None:
    """A subscript that integer data given by the caller decides, all of it, so that the data alone can be checked."""
    p = access.subscript
    data = [a for a in p.atoms if isinstance(a, Load) and isinstance(a.tensor, Leaf)]
    factor = p.coefficient(data[0]) if len(data) == 1 else None
    if factor is None or not factor.constant or abs(factor.constant) >= BOUND or not _reads_all(data[0], ranges):
        return None  # of a larger multiple, int64 may hold another number
    others = require_poly(p - factor * require_poly(data[0]))
    own = [index for subscript in data[0].subscripts for index in index_atoms(subscript)]
    rest = bounds(others, ranges)
    if rest is None or not all(is_size(end) for end in rest) or not set(own).isdisjoint(index_atoms(others)):
        return None  # which elements stand beside which numbers decides
    leaf = data[0].tensor
    assert isinstance(leaf, Leaf)
    return LeafSubscript(leaf, factor.constant, *rest)


def _reads_all(access: Load, ranges: Mapping[Atom, Poly]) -> bool:
    """Whether every element of a tensor is read: an index of its own runs over each axis, to or fro."""
    free = set(ranges)
    for p, size in zip(access.subscripts, access.tensor.shape, strict=True):
        run = [
            a for a in index_atoms(p) if a in free and (c := p.coefficient(a)) is not None and abs(c.constant or 0) == 1
        ]
        if size.constant == 1 and p.constant == 0:
            continue
        ends = bounds(p, ranges)
        if len(run) != 1 or ends is None or ends[0] is not integer(0) or ends[1] is not require_poly(size - 1):
            return False
        free.remove(run[0])
    return True


def plainly_read(node: Compute) -> set[Poly]:
    """The subscripts that every iteration of a node uses: those in no branch."""
    found: set[Poly] = set()
    seen: set[Scalar] = set()
    stack: list[Scalar] = [node.body]
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        parts = children(x)
        if isinstance(x, Call) and x.function.name in ("where", "and", "or"):
            parts = parts[:1]
        if isinstance(x, Load):
            found.update(x.subscripts)
        stack += parts
    return found if guarded(node.body, node.reducer)[0] else found | set(node.target)
