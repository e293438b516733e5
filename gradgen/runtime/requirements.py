"""What only a call can check: data that is used as a subscript, subscripts and sizes that depend on the sizes given.

In: the roots of a model as declared. Out: labels and requirements as text, for `interface`; whatever is proved from
the declaration alone is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gradgen.graph.accesses import Access, is_counted, leaf_subscript, plainly_read, ranges_in, unsigned_sizes
from gradgen.graph.enumeration import Question, indices_in, question
from gradgen.graph.lengths import required
from gradgen.graph.nodes import Compute, Node, Project, all_inputs, body_nodes, show_size, stated, toposort
from gradgen.graph.origin import display_name, origin
from gradgen.graph.scalar import Atom, Poly, Scalar, integer, mentions, positions_of, require_poly, step_atom
from gradgen.graph.sizes import bounds, index_atoms, is_size, nonnegative
from gradgen.graph.unproved import unproved

__all__ = ["Label", "Requirement", "labels", "requirements"]


@dataclass(frozen=True, slots=True)
class Label:
    """Integer data that selects from an axis: 0 <= factor * value + low and factor * value + high < extent.

    Where one of `loops`, which it changes with, has no steps, nothing is selected.
    """

    leaf: str
    factor: int
    low: str
    high: str
    extent: str
    axis: str
    loops: tuple[str, ...] = ()


Ranges = dict[Atom, Poly]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of `either` is not negative, unless one of `extents` is zero (then nothing is read).

    Where that says too little, the answer to `inside` does.
    """

    either: tuple[str, ...]
    extents: tuple[str, ...]
    message: str
    problem: str
    shown: str
    inside: Question | None = None


def labels(roots: Sequence[Node]) -> tuple[Label, ...]:
    """Every integer leaf whose values are subscripts whatever other data says, where they are not proved inside.

    The rest of the data-dependent subscripts is for the entry point `check` to look at:
    `passes.rewrite.count_outside`.
    """
    found: dict[Label, None] = {}
    for node, ranges, lengths in _formulas(roots):
        plain = plainly_read(node)
        for access in unproved(node, lengths):
            given = leaf_subscript(access, ranges) if access.subscript in plain else None
            if given is None:
                continue
            loops = _loops_of(access.subscript, node, lengths)
            if any(extent.constant == 0 for extent in loops):
                continue
            counted = tuple(show_size(extent) for extent in loops if extent.constant is None)
            what = "the result" if access.tensor is None else display_name(access.tensor)
            where = f"it selects from axis {access.axis} of {what}"
            low, high = show_size(given.low), show_size(given.high)
            found[Label(given.leaf.name, given.factor, low, high, show_size(access.size), where, counted)] = None
    return tuple(found)


def _loops_of(subscript: Poly, node: Compute, lengths: dict[int, Poly]) -> tuple[Poly, ...]:
    """The lengths of the loops that a subscript changes with; from the others it may be moved out, even if empty."""
    steps = [n for depth, n in lengths.items() if mentions(subscript, step_atom(depth))]
    return (*steps, *[node.extents[k] for k in positions_of(subscript)])


def requirements(roots: Sequence[Node]) -> tuple[Requirement, ...]:
    """What the sizes of a call must satisfy: extents not negative, subscripts inside, something to be the largest."""
    found: dict[Requirement, None] = {}
    nodes = toposort(roots, all_inputs)
    positive = required(nodes)
    for node in nodes:
        for axis, extent in enumerate(node.shape):
            if extent in positive:
                size = show_size(extent)
                what = f"{_place(node)}axis {axis} of {display_name(node)}"
                found[Requirement((size,), (), f"{what} has the size {size}, which", "is negative", size)] = None
    for node, ranges, lengths in _formulas(roots):
        for access in unproved(node, lengths):
            found.update(dict.fromkeys(_stays_inside(node, access, ranges, lengths)))
        found.update(dict.fromkeys(_has_elements(node, lengths)))
    return tuple(found)


def _has_elements(node: Compute, lengths: dict[int, Poly]) -> list[Requirement]:
    """Of no elements none is the first; where an adjoint asks which one was, nobody reads the answer."""
    its = origin(node)
    if node.reducer not in ("argmax", "argmin") or (its is not None and its.note):
        return []
    steps = tuple(show_size(n) for n in lengths.values() if n.constant is None)
    return [
        Requirement((show_size(less),), steps, f"{_place(node)}{node.reducer} over {size} elements", "has none", size)
        for extent in dict.fromkeys(node.extents[k] for k in node.reduced)
        if not nonnegative(less := require_poly(extent - 1)) and (size := show_size(extent))
    ]


def _stays_inside(node: Compute, access: Access, ranges: Ranges, lengths: dict[int, Poly]) -> list[Requirement]:
    """The divisors and the two ends of a subscript of sizes and indices only, as far as they are not proved."""
    found: list[Requirement] = []
    p, size = access.subscript, access.size
    loops = _loops_of(p, node, lengths) if index_atoms(p) else (*lengths.values(), *node.extents)
    if is_counted(access, ranges) or any(extent.constant == 0 for extent in loops):
        return found  # counted, or nothing is read, whatever the sizes
    asked = question(p, size, _about(p, access.conditions), ranges)
    inside = None if asked is None else asked[0]
    extents = tuple(show_size(e) for e in loops if e.constant is None)
    what = "the result" if access.tensor is None else display_name(access.tensor)
    message = f"{_place(node)}a subscript leaves axis {access.axis} of {what}, whose size is {show_size(size)}: it"
    found += [
        Requirement(
            (show_size(require_poly(d - 1)), show_size(require_poly(-d - 1))),
            extents, message, "divides by zero", show_size(d), inside,
        )
        for d in unsigned_sizes(p, ranges)
    ]  # fmt: skip
    for end in (p, require_poly(size - p - 1)):
        if nonnegative(end, ranges, access.facts):
            continue
        ends = [bounds(require_poly(end - fact), ranges) for fact in (integer(0), *access.facts)]
        lowest = [pair[0] for pair in ends if pair is not None and is_size(pair[0])]
        problem = "is outside" if not lowest else "begins before 0" if end is p else "ends behind the last element"
        found.append(Requirement(tuple(map(show_size, lowest)), extents, message, problem, show_size(size), inside))
    return found


def _about(p: Poly, conditions: Sequence[Scalar]) -> list[Scalar]:
    """The conditions on sizes and on indices that have to do with those of p; the access moves out of other loops."""
    indices = set(index_atoms(p))
    for _ in conditions:
        indices.update(a for c in conditions if not indices.isdisjoint(indices_in(c)) for a in indices_in(c))
    return [c for c in conditions if indices.issuperset(indices_in(c))]


def _formulas(roots: Sequence[Node]) -> list[tuple[Compute, Ranges, dict[int, Poly]]]:
    """Every formula with the ranges of its indices and the lengths of the scans that it stands in."""
    found: list[tuple[Compute, Ranges, dict[int, Poly]]] = []
    pending: list[tuple[list[Node], dict[int, Poly]]] = [(toposort(roots, stated), {})]
    while pending:
        nodes, lengths = pending.pop()
        found += [(node, ranges_in(node, lengths), lengths) for node in nodes if isinstance(node, Compute)]
        scans = dict.fromkeys(node.scan for node in nodes if isinstance(node, Project))
        pending += [(body_nodes(s, stated), {**lengths, s.depth: s.length}) for s in scans]
    return found


def _place(node: Node) -> str:
    found = origin(node)
    return f"{found.place}: " if found is not None else ""
