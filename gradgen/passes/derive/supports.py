"""Where a value counts: the conditions of `where` under which the result reads it, which travel with its adjoint.

In: a formula and where its own result counts. Out: the same for what it reads, and derivatives under that mask.
`derive` keeps one for every adjoint: outside of it the adjoint is 0, and what multiplies it may be nan there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradgen.graph.accesses import Access, accesses, is_inside, known, ranges_of
from gradgen.graph.nodes import Compute, Node, Reshape, Scan, compute, inputs, pointwise, project, reshape
from gradgen.graph.partials import has_derivative
from gradgen.graph.scalar import (
    Atom,
    Call,
    Const,
    Load,
    Poly,
    Scalar,
    Step,
    atom_poly,
    call,
    conjuncts,
    integer,
    is_zero,
    load,
    mentions,
    number,
    position,
    position_atom,
    positions_of,
    require_poly,
    scalar_cost,
    substitute,
    walk,
)
from gradgen.graph.sizes import Ranges, is_index_only
from gradgen.passes.rebuild.conditions import conjunction, fold_conditions
from gradgen.passes.rebuild.look_through import at, pointwise_body
from gradgen.passes.rebuild.solve_subscripts import solve_subscripts

__all__ = [
    "EVERYWHERE", "NOWHERE", "Support", "condition_of", "count_of_steps", "counted", "either", "masked",
    "read_supports", "read_under_masks", "reshaped_support", "row_support", "support_node", "support_of",
]  # fmt: skip

Path = tuple[Scalar, ...]
Support = tuple[Path, ...]  # any of the paths, each of which is a list of conditions over the axes of the value

EVERYWHERE: Support = ((),)
NOWHERE: Support = ()
_MOST_PATHS = 6  # a value that is read in more ways has its support in a node, or counts everywhere in one formula
_LONGEST = 8  # scalar operations of a support that every reader writes out


@dataclass(frozen=True, slots=True)
class _Reading:
    """An access under conditions over the positions of a formula; `outside`: from a step, of what is no step's."""

    access: Load
    node: Compute
    outside: bool


# ---------------------------------------------------------------- algebra


def either(*supports: Support) -> Support:
    """Where one of several holds: a path that a shorter one contains is gone; c & d or c & not d is c."""
    paths = [p for support in supports for p in support]
    found: list[frozenset[Scalar]] = []
    pending = [frozenset(p) for p in paths]
    while pending:
        new = pending.pop(0)
        if any(old <= new for old in found):
            continue
        found = [old for old in found if not new <= old]
        joined = next((j for old in found if (j := _joined(old, new)) is not None), None)
        if joined is not None:
            pending.append(joined)
        else:
            found.append(new)
    if frozenset() in found:
        return EVERYWHERE
    return tuple(_in_order(p, paths) for p in found)


def _in_order(path: frozenset[Scalar], paths: Sequence[Path]) -> Path:
    """The conditions as one of the paths has them: an earlier one may shield what a later one reads."""
    whole = next(p for p in paths if path <= frozenset(p))
    return tuple(c for c in whole if c in path)


def _joined(a: frozenset[Scalar], b: frozenset[Scalar]) -> frozenset[Scalar] | None:
    """c & d or c & not d = c."""
    if len(a) != len(b) or len(a - b) != 1:
        return None
    (x,), (y,) = a - b, b - a
    return a & b if _denies(x, y) or _denies(y, x) else None


def _denies(x: Scalar, y: Scalar) -> bool:
    parts = conjuncts(call("not", x))
    return len(parts) == 1 and parts[0] is y


def condition_of(support: Support) -> Scalar:
    whole: Scalar = number(False)
    for path in support:
        both = conjunction(path)
        whole = both if whole is number(False) else call("or", whole, both)
    return whole


def support_of(condition: Scalar) -> Support:
    if isinstance(condition, Const):
        return EVERYWHERE if condition.value else NOWHERE
    return (tuple(dict.fromkeys(conjuncts(condition))),)


def support_node(shape: Sequence[Poly], support: Support) -> Node:
    """A support as a tensor of booleans."""
    return pointwise(shape, condition_of(support))


def row_support(support: Support, first: Poly, ranges: Ranges) -> Support:
    """The support of one row of a tensor."""
    highest = max((k for p in support for k in positions_of(*p)), default=0)
    places = [first, *(position(k) for k in range(highest))]
    return _folded(tuple(tuple(at(c, places) for c in path) for path in support), ranges)


def _folded(support: Support, ranges: Ranges) -> Support:
    """Without conditions that the ranges of the indices decide."""
    return either(*[support_of(fold_conditions(conjunction(path), ranges)) for path in support])


def _short(support: Support, shape: Sequence[Poly]) -> Support:
    """A support that is long becomes a node, over the axes that it mentions."""
    if len(support) <= _MOST_PATHS and scalar_cost(condition_of(support)) <= _LONGEST:
        return support
    used = positions_of(*(c for path in support for c in path))
    places = [position(0)] * len(shape)
    for new, old in enumerate(used):
        places[old] = position(new)
    held = pointwise([shape[k] for k in used], at(condition_of(support), places))
    return ((load(held, [position(k) for k in used]),),)


# ---------------------------------------------------------------- derivatives


def masked(derivative: Scalar, node: Compute, d_node: Node, support: Support) -> Scalar:
    """where(support, derivative, 0), where it multiplies the adjoint of the node by something that may be nan.

    Behind the masks of the formula: the element that it writes may be outside where these fail.
    """
    seed = load(d_node, node.target)
    if support == EVERYWHERE or not _multiplies(derivative, seed):
        return derivative
    condition = condition_of(tuple(tuple(at(c, node.target) for c in path) for path in support))
    inner = pointwise_body(seed)
    match inner:  # the value under the mask, where that costs nothing to read again
        case Call(function=f, arguments=(c, (Load() | Const()) as x, zero)) if (
            f.name == "where" and c is condition and is_zero(zero) and x.dtype == seed.dtype
        ):
            return _behind_masks(derivative, condition, {seed: x})
    return _behind_masks(derivative, condition, {})


def _behind_masks(x: Scalar, condition: Scalar, replaced: Mapping[Scalar, Scalar]) -> Scalar:
    match x:
        case Call(function=f, arguments=(c, yes, no)) if f.name == "where":
            return call("where", c, *(_behind_masks(part, condition, replaced) for part in (yes, no)))
    return x if is_zero(x) else call("where", condition, substitute(x, {}, replaced), number(0))


def _multiplies(x: Scalar, seed: Load) -> bool:
    """Whether a derivative is more than the adjoint, its masks, sums and multiples by a number."""
    seen: set[Scalar] = set()
    stack = [x]
    while stack:
        part = stack.pop()
        if part in seen:
            continue
        seen.add(part)
        match part:
            case Call(function=f, arguments=(_, yes, no)) if f.name == "where":
                stack += [yes, no]
            case Call(function=f, arguments=(a, b)) if f.name in ("add", "sub"):
                stack += [a, b]
            case Call(function=f, arguments=(a, Const())) if f.name in ("mul", "div"):
                stack.append(a)
            case Call(function=f, arguments=(a,)) if f.name in ("neg", "float32", "float64"):
                stack.append(a)
            case _ if part is not seed and not isinstance(part, Const):
                return True
    return False


# ---------------------------------------------------------------- reading


def read_supports(node: Node, support: Support, wanted: Iterable[Node]) -> dict[Load, Support]:
    """Where the accesses of a formula to `wanted` count, in the axes of what they read."""
    assert isinstance(node, Compute)
    targets = set(wanted)
    mine = tuple(tuple(at(c, node.target) for c in path) for path in support)
    found: dict[Load, Support] = {}
    for access, ways in ways_of_reading(node.body).items():
        if access.tensor in targets:
            outside = not node.steps <= access.tensor.steps
            whole = either(tuple(tuple(dict.fromkeys((*q, *p))) for p in mine for q in ways))
            found[access] = _carried(_Reading(access, node, outside), whole)
    return found


def reshaped_support(node: Reshape, support: Support) -> Support:
    """The same elements in the axes of the source."""
    if support in (EVERYWHERE, NOWHERE):
        return support
    source = reshape(support_node(node.shape, support), node.source.shape)
    return ((load(source, [position(k) for k in range(len(node.source.shape))]),),)


def ways_of_reading(body: Scalar) -> dict[Load, Support]:
    """For every access with a derivative, the conditions of the choices under which it is made."""
    found: dict[Scalar, Support] = {body: EVERYWHERE}
    accesses: dict[Load, Support] = {}
    for x in reversed(list(walk(body))):
        if x not in found:
            continue
        ways = found[x] if len(found[x]) <= _MOST_PATHS else EVERYWHERE
        match x:
            case Load():
                accesses[x] = ways
            case Call(function=f, arguments=(condition, yes, no)) if f.name == "where":
                for part, c in ((yes, condition), (no, call("not", condition))):
                    under = tuple(tuple(dict.fromkeys((*path, *conjuncts(c)))) for path in ways)
                    found[part] = either(found.get(part, NOWHERE), under)
            case Call(function=f, arguments=arguments):
                for part, moves in zip(arguments, has_derivative(f), strict=True):
                    if moves:
                        found[part] = either(found.get(part, NOWHERE), ways)
    return accesses


def _carried(reading: _Reading, ways: Support) -> Support:
    """The support of what is read: elements for which one point of the loop nest reads them under its conditions."""
    if ways in (EVERYWHERE, NOWHERE):
        return ways
    shape = reading.access.tensor.shape
    if reading.outside:
        return _counted(reading, ways)
    return _short(either(*[_folded(_solved(reading, path), ranges_of(shape, {})) for path in ways]), shape)


def _solved(reading: _Reading, path: Path) -> Support:
    """One path, over the axes of what is read, by solving the subscripts for the positions of the loop nest."""
    access, node = reading.access, reading.node
    shape = access.tensor.shape
    rank = len(shape)
    s = solve_subscripts(access.subscripts, node.extents, shape, {})
    values: dict[Atom, Poly] = {atom: value for atom, value in s.solved.items()}  # noqa: C416  wider keys
    places: dict[Atom, Poly] = {
        position_atom(k): values.get(position_atom(rank + k), position(rank + k)) for k in range(len(node.extents))
    }
    plain = [*s.conditions, *[p == 0 for p in s.predicates if is_index_only(p)]]
    moved = [*plain, *[substitute(c, places) for c in path]]
    free: list[Atom] = list(s.unsolved)
    if any(mentions(c, a) and not is_index_only(c) for c in moved for a in free):
        return _counted(reading, (path,))
    ranges = {a: s.ranges[a] for a in free}
    kept = [_some(c, ranges) for c in moved]
    if not _as_shielded(kept, moved, {**ranges_of(shape, {}), **ranges}):
        return _counted(reading, (path,))
    return support_of(conjunction(kept))


def _as_shielded(conditions: Sequence[Scalar], before: Sequence[Scalar], ranges: Ranges) -> bool:
    """Whether what data decide is read inside, as far as it was under the conditions before."""
    reads = accesses((), *[c for c in conditions if not is_index_only(c)])

    def inside(access: Access, under: Sequence[Scalar]) -> bool:
        facts = [fact for c in under if is_index_only(c) for fact in known(c, True)]
        return is_inside(access, ranges, [*access.facts, *facts])

    return all(inside(access, conditions) or not inside(access, before) for access in reads)


def _some(condition: Scalar, ranges: Ranges) -> Scalar:
    """Where a condition on indices holds for one value of the free ones at least, or more than that."""
    free = [a for a in ranges if mentions(condition, a)]
    if not free:
        return condition
    match condition:
        case Call(function=f, arguments=(Poly() as p, Poly())) if f.name == "eq" and len(free) == 1:
            factor = p.coefficient(free[0])
            if factor is None or abs(factor.constant or 0) != 1:
                return number(True)
            value = require_poly(atom_poly(free[0]) - factor * p)  # the one for which p is 0
            return call("and", value >= 0, ranges[free[0]] - 1 - value >= 0)
        case Call(function=f, arguments=(Poly() as p, Poly())) if f.name == "ge":
            for a, extent in ranges.items():
                factor = p.coefficient(a) if mentions(p, a) else integer(0)
                if factor is None or factor.constant is None:
                    return number(True)
                best = require_poly(extent - 1) if factor.constant > 0 else integer(0)
                p = require_poly(substitute(p, {a: best}))
            return p >= 0
    return number(True)


def _counted(reading: _Reading, ways: Support) -> Support:
    """How many points of the loop nest read an element under their conditions, over the axes that these mention."""
    access, node = reading.access, reading.node
    shape = access.tensor.shape
    condition = condition_of(ways)
    mentioned = set(positions_of(condition))
    bare = {k: positions_of(s)[0] for k, s in enumerate(access.subscripts) if _is_bare(s)}
    idle = {
        k
        for k, p in bare.items()
        if p not in mentioned
        and node.extents[p] is shape[k]
        and all(p not in positions_of(s) for other, s in enumerate(access.subscripts) if other != k)
    }
    axes = [k for k in range(len(shape)) if k not in idle]
    used = positions_of(condition, *(access.subscripts[k] for k in axes))
    places = [position(0)] * len(node.extents)
    for new, old in enumerate(used):
        places[old] = position(new)
    count = compute(
        [shape[k] for k in axes],
        [node.extents[k] for k in used],
        [require_poly(at(access.subscripts[k], places)) for k in axes],
        "sum",
        call("where", at(condition, places), number(1), number(0)),
    )
    return ((call("gt", load(count, [position(k) for k in axes]), number(0)),),)


def _is_bare(s: Poly) -> bool:
    return any(s is position(k) for k in positions_of(s))


# ---------------------------------------------------------------- steps of a scan


def read_under_masks(
    source: Scan, body: Sequence[Node], moving: Sequence[int], totals: Mapping[Node, Support]
) -> list[int]:
    """The carries whose states count under masks only: of the others no test is needed, as some reader has none."""
    plain = {k for k in moving if totals.get(project(source, "states", k)) == EVERYWHERE}
    seeds = {y for k, y in enumerate(source.outputs) if totals.get(project(source, "stack", k)) == EVERYWHERE}
    while True:
        reached = {*seeds, *[source.nexts[k] for k in plain]}
        for node in reversed(body):
            if node in reached:
                reached |= _read_plainly(node)
        again = {k for k in moving if k in plain or source.carries[k] in reached}
        if again == plain:
            return [k for k in moving if k not in plain]
        plain = again


def _read_plainly(node: Node) -> set[Node]:
    if isinstance(node, Compute):
        return {access.tensor for access, ways in ways_of_reading(node.body).items() if ways == EVERYWHERE}
    return set(inputs(node))


def count_of_steps(x: Node, support: Support, depth: int) -> Node | None:
    """Whether the step of a scan reads a tensor outside, as a number that is added up over the steps.

    None where the step has nothing to do with it.
    """
    condition = condition_of(support)
    if not any(_is_of_step(part, depth) for part in walk(condition)):
        return None
    return pointwise(x.shape, call("int64", call("where", condition, number(1), number(0))))


def _is_of_step(x: Scalar, depth: int) -> bool:
    if isinstance(x, Load):
        return depth in x.tensor.steps
    return isinstance(x, Poly) and any(isinstance(a, Step) and a.depth == depth for a in x.atoms)


def counted(count: Node) -> Support:
    """Where a count is more than 0."""
    return ((call("gt", load(count, [position(k) for k in range(len(count.shape))]), number(0)),),)
