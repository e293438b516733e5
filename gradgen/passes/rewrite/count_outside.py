"""Computed subscripts are counted where they leave their axis: what only the data of a call decides.

In: roots as declared. Out: for every tensor and axis in question the number of elements read or written outside of it,
as a node that reads nothing outside itself; `pipeline` makes the entry point `check` of them. For integer leaves that
are subscripts by themselves callers have the labels of `runtime.requirements`, which need no loop over anything else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gradgen.graph.accesses import Access, guarded, is_counted, leaf_subscript, plainly_read, ranges_in
from gradgen.graph.neutral import neutral
from gradgen.graph.nodes import (
    Carry,
    Compute,
    Node,
    Project,
    Scan,
    body_nodes,
    compute,
    inside_inputs,
    pointwise,
    project,
    scan_like,
    show_size,
    stated,
    toposort,
)
from gradgen.graph.origin import carry_origin, display_name, origin
from gradgen.graph.polynomials import divisors
from gradgen.graph.scalar import (
    Call,
    Load,
    Poly,
    Scalar,
    call,
    children,
    integer,
    load,
    number,
    position,
    positions_of,
    require_poly,
    rewrite,
    walk,
)
from gradgen.graph.sizes import bounds, is_size, reads_data
from gradgen.graph.unproved import unproved
from gradgen.passes.rebuild.all_steps import sum_over_steps
from gradgen.passes.rebuild.look_through import at
from gradgen.passes.rebuild.nodes import map_nodes
from gradgen.passes.rewrite.customs import resolve
from gradgen.program.kernels import Checked

__all__ = ["Outside", "established", "outside"]

_NEVER = number(False)
Place = tuple[Node | None, int]  # a tensor (None: the result that is written) and an axis


@dataclass(frozen=True, slots=True)
class Outside:
    """How many elements leave one axis, what to say of them, and whether labels say as much."""

    count: Node
    message: str
    labelled: bool


def outside(roots: Sequence[Node]) -> list[Outside]:
    """The counts for everything below the roots."""
    counts = _counts(toposort(roots, stated), {})
    safe = map_nodes(resolve([x.count for x in counts]), _without_stray_reads)
    return [Outside(node, x.message, x.labelled) for node, x in zip(safe, counts, strict=True)]


def established(roots: Sequence[Node]) -> Checked:
    """What a call has checked when it runs: sizes that keep subscripts inside, and data that chooses from axes."""
    sizes: dict[tuple[Poly, ...], None] = {}
    chosen: set[Poly] = set()
    for node, lengths in _formulas(toposort(roots, stated), {}):
        ranges = ranges_in(node, lengths)
        for access in unproved(node, lengths):
            if reads_data(access.subscript):
                chosen.add(access.size)
                continue
            for end in (access.subscript, require_poly(access.size - access.subscript - 1)):
                ends = [bounds(require_poly(end - fact), ranges) for fact in (integer(0), *access.facts)]
                lowest = dict.fromkeys(pair[0] for pair in ends if pair is not None and is_size(pair[0]))
                if lowest and not any(p.constant is not None and p.constant >= 0 for p in lowest):
                    empty = (require_poly(-extent) for extent in (*lengths.values(), *node.extents))
                    sizes[*(p for p in (*lowest, *empty) if p.constant is None),] = None  # or nothing is read
    return Checked(tuple(filter(None, sizes)), frozenset(chosen))


def _formulas(order: Sequence[Node], lengths: Mapping[int, Poly]) -> Iterator[tuple[Compute, Mapping[int, Poly]]]:
    """Every formula with the lengths of the scans that it stands in."""
    yield from ((node, lengths) for node in order if isinstance(node, Compute))
    for s in dict.fromkeys(node.scan for node in order if isinstance(node, Project)):
        yield from _formulas(body_nodes(s, stated), {**lengths, s.depth: s.length})


def _counts(order: Sequence[Node], lengths: Mapping[int, Poly]) -> list[Outside]:
    """The counts of the formulas in `order`, and of those in the bodies of its scans."""
    found: list[Outside] = []
    for node in order:
        if isinstance(node, Compute):
            found += _of_formula(node, lengths)
    for s in dict.fromkeys(node.scan for node in order if isinstance(node, Project)):
        inner = _counts(body_nodes(s, stated), {**lengths, s.depth: s.length})
        found += [Outside(_over_steps(x.count, s), x.message, x.labelled) for x in inner]
    return found


def _over_steps(count: Node, s: Scan) -> Node:
    """The sum of a count over the steps of a scan; the recurrence runs along only if the count depends on it.

    What does not depend on the step counts once, also where there are no steps: it may be computed before the loop.
    """
    if s.depth not in count.steps:
        return count
    below = toposort([count], lambda n: inside_inputs(n, s.depth))
    if not any(isinstance(n, (Carry, Project)) and s.depth in n.steps for n in below):
        return sum_over_steps(count, s.length, s.depth)
    stack = project(scan_like(s, s.carries, s.inits, s.nexts, [count]), "stack", 0)
    return compute([], [s.length], [], "sum", load(stack, [position(0)]))


def _of_formula(node: Compute, lengths: Mapping[int, Poly]) -> list[Outside]:
    places: dict[Place, dict[Poly, None]] = {}
    ranges = ranges_in(node, lengths)
    chosen = [a for a in unproved(node, lengths) if is_counted(a, ranges)]
    for access in chosen:
        places.setdefault((access.tensor, access.axis), {})[access.subscript] = None
    others = {(a.tensor, a.axis) for a in _beyond_labels(node, chosen, lengths)}
    found: list[Outside] = []
    for (tensor, axis), subscripts in places.items():
        counts = [_count(node, _strays(node, tensor, axis, s)) for s in subscripts]
        total = counts[0]
        for count in counts[1:]:
            total = pointwise((), call("add", load(total, ()), load(count, ())))
        place = origin(node)
        what = "the result" if tensor is None else display_name(tensor)
        size = (node if tensor is None else tensor).shape[axis]
        divides = ", or divides by zero" if divisors(*subscripts) else ""
        found.append(
            Outside(
                total,
                f"{f'{place.place}: ' if place is not None else ''}"
                f"a computed subscript leaves axis {axis} of {what}, whose size is {show_size(size)}{divides}",
                (tensor, axis) not in others,
            )
        )
    return found


def _count(node: Compute, strays: Scalar) -> Node:
    """How often something leaves, over the loops that it changes with: from the others it may move out."""
    used = positions_of(strays)
    if used == list(range(len(node.extents))):
        count = compute([], node.extents, [], "sum", call("int64", strays))
        carry_origin(node, count)
        return count
    places = [position(used.index(k) if k in used else 0) for k in range(len(node.extents))]
    return compute([], [node.extents[k] for k in used], [], "sum", call("int64", at(strays, places)))


def _beyond_labels(node: Compute, chosen: Sequence[Access], lengths: Mapping[int, Poly]) -> list[Access]:
    """The accesses that no label covers."""
    ranges = ranges_in(node, lengths)
    plain = plainly_read(node) if chosen else set()
    return [a for a in chosen if a.subscript not in plain or leaf_subscript(a, ranges) is None]


def _strays(node: Compute, tensor: Node | None, axis: int, subscript: Poly) -> Scalar:
    """Whether an iteration reads (or writes) outside, by the rules of evaluation: a branch not taken reads nothing."""
    if tensor is None:
        condition: Scalar = number(True)
        for test in guarded(node.body, node.reducer)[0]:
            condition = _and(condition, test)
        return _and(condition, _beyond(node.target[axis], node.shape[axis]))
    found: dict[Scalar, Scalar] = {}
    for x in walk(node.body, *node.target):
        parts = [found[part] for part in children(x)]
        match x:
            case Call(function=f, arguments=(test, _, _)) if f.name == "where":
                taken = parts[1] if parts[1] is parts[2] else call("where", test, parts[1], parts[2])
                found[x] = _or(parts[0], taken)
            case Call(function=f, arguments=(first, _)) if f.name in ("and", "or"):
                needed = first if f.name == "and" else call("not", first)
                found[x] = _or(parts[0], _and(needed, parts[1]))
            case _:
                found[x] = _NEVER
                for part in parts:
                    found[x] = _or(found[x], part)
        if isinstance(x, Load) and x.tensor is tensor and x.subscripts[axis] is subscript:
            found[x] = _or(found[x], _beyond(x.subscripts[axis], tensor.shape[axis]))
    strays = found[node.body]
    for target in node.target:
        strays = _or(strays, found[target])
    return strays


def _beyond(subscript: Poly, size: Poly) -> Scalar:
    """Whether a subscript is outside, or nothing because it divides by zero."""
    beyond = call("or", call("lt", subscript, number(0)), call("ge", subscript, size))
    for divisor in reversed(divisors(subscript)):
        beyond = call("or", call("eq", divisor, number(0)), beyond)
    return beyond


def _within(subscript: Poly, size: Poly) -> Scalar:
    """The opposite."""
    within = _and(call("ge", subscript, number(0)), call("lt", subscript, size))
    for divisor in reversed(divisors(subscript)):
        within = _and(call("ne", divisor, number(0)), within)
    return within


def _and(a: Scalar, b: Scalar) -> Scalar:
    return _NEVER if a is _NEVER or b is _NEVER else call("and", a, b)


def _or(a: Scalar, b: Scalar) -> Scalar:
    return b if a is _NEVER or a is b else a if b is _NEVER else call("or", a, b)


def _without_stray_reads(node: Node) -> Node | None:
    """The same values where every subscript is inside; 0 is read instead of an element that is not there."""
    if not isinstance(node, Compute):
        return None
    ranges = ranges_in(node)
    wild = {(a.tensor, a.axis, a.subscript) for a in unproved(node) if is_counted(a, ranges)}
    if not wild:
        return None

    def change(x: Scalar) -> Scalar | None:
        if not isinstance(x, Load):
            return None
        condition: Scalar = number(True)
        for axis, (s, size) in enumerate(zip(x.subscripts, x.tensor.shape, strict=True)):
            if reads_data(s) or (x.tensor, axis, s) in wild:
                condition = _and(condition, _within(s, size))
        return call("where", condition, x, _NEVER if x.dtype == "bool" else number(0))

    body = rewrite(node.body, change, lambda atom: None)
    target = [rewrite(t, change, lambda atom: None) for t in node.target]
    for t, size in zip(target, node.shape, strict=True):
        assert isinstance(t, Poly)
        if reads_data(t):
            body = call("where", _within(t, size), body, neutral(node.reducer, body.dtype))
    return compute(node.shape, node.extents, [t for t in target if isinstance(t, Poly)], node.reducer, body)
