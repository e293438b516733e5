"""Every transcendental gets a node of its own, so that its adjoint reads its output instead of computing it again.

In: nodes as the user wrote them, after `stabilize`. Out: the same values; `derive` comes next, and
the schedule fuses the pieces back.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeGuard

from gradgen.graph.accesses import guards
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.nodes import Compute, Node, all_inputs, compute, pointwise
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Load,
    Poly,
    Scalar,
    call,
    children,
    load,
    loads,
    number,
    position,
    positions_of,
    walk,
)
from gradgen.graph.sizes import is_index_only
from gradgen.passes.rebuild.conditions import conjunction
from gradgen.passes.rebuild.look_through import at, is_pointwise
from gradgen.passes.rebuild.nodes import map_nodes

__all__ = ["split", "split_operations"]

_MANY = 3  # accesses to floats from which on a body may be cut
_REPEATED = 96  # operations times accesses from which on it is
_SHARED, _LARGE = 2, 6  # operations from which on a part goes apart: read several times, or once
_TRANSCENDENTAL = 10.0  # from this cost on, computing a value again is dearer than reading it


def split(roots: Sequence[Node], keep: frozenset[Node] = frozenset(), differentiated: bool = True) -> list[Node]:
    """f(x[i]) inside a larger body becomes F[i] with F[i] = f(x[i]), for every expensive f that is always evaluated.

    Branches of `where` are left alone (they may not be evaluated at all), and so is what reads no tensor. Where many
    accesses share much of a body that is to be `differentiated`, it is cut into parts: the derivative by each of them
    would repeat the whole; so is a choice by data that is read several times. A part of a branch takes the conditions
    along under which it is evaluated, X = where(c, x, 0). What guards the target of an accumulate stays with it. Nodes
    in `keep` stay as they are, with everything below them: they are what a gradient is taken by.
    """

    def change(node: Node) -> Node | None:
        if node in keep:
            return None
        return _split_node(node, is_transcendental, lambda body: differentiated and _is_wide(body), differentiated)

    return map_nodes(roots, change, lambda n: () if n in keep else all_inputs(n))


def split_operations(roots: Sequence[Node]) -> list[Node]:
    """Every operation on elements of tensors becomes a node, as if each had been written on a line of its own.

    A sum of products is one operation. Branches of `where` are left alone here too, and so is what adds into computed
    subscripts.
    """

    def change(node: Node) -> Node | None:
        apart = isinstance(node, Compute) and node.gathers
        return _split_node(node, _is_operation, lambda body: False) if apart else None

    return map_nodes(roots, change)


def _split_node(
    node: Node, goes_apart: Callable[[Scalar], bool], is_cut: Callable[[Scalar], bool], differentiated: bool = False
) -> Node | None:
    """The node over nodes for what goes apart, inner parts first; log(1 + exp(x)) gives one for exp and one for log."""
    if not isinstance(node, Compute):
        return None
    body = node.body
    whole_stays, wide = is_pointwise(node) or _is_product(body), node.dtype in FLOATS and is_cut(body)
    uses = Counter(part for x in walk(body) for part in children(x))
    around = _conditions_around(body)
    stays = set() if node.gathers else guards(body, node.reducer)
    built: dict[Scalar, Scalar] = {}
    sizes: dict[Scalar, int] = {}
    for x in walk(body):
        held = around[x]
        built[x], sizes[x] = x, 0
        if not isinstance(x, Call) or x.function.name not in FUNCTIONS:
            continue
        if any(built[part] is not part for part in x.arguments):
            built[x] = call(x.function.name, *[built[part] for part in x.arguments])
        sizes[x] = _computes(x) + sum(sizes[part] for part in x.arguments)
        if held is None or x in stays or (x is body and whole_stays):
            continue
        large = wide and x is not body and sizes[x] >= (_SHARED if uses[x] > 1 else _LARGE) and _is_float(x)
        if differentiated and uses[x] > 1 and x is not body and _chooses_by_data(x):
            large = True  # the derivative of what reads it would repeat the choice, in every branch
        if large or (not held and goes_apart(built[x])):
            value = call("where", conjunction(held), built[x], number(0)) if held else built[x]
            if value.dtype == x.dtype:
                built[x], sizes[x] = node_of(value, node.extents), 0
    new = built[body]
    return None if new is body else compute(node.shape, node.extents, node.target, node.reducer, new)


def _is_wide(body: Scalar) -> bool:
    """Whether the derivatives by all that a body reads would be much more work than the body."""
    accesses = sum(access.dtype in FLOATS for access in loads(body))
    accesses += sum(is_transcendental(x) for x in walk(body))  # each will be read from a node of its own
    operations = sum(_computes(x) for x in walk(body))
    return accesses >= _MANY and operations * accesses >= _REPEATED


def _computes(x: Scalar) -> bool:
    """Whether it is an operation on floats, and no choice among values."""
    return isinstance(x, Call) and x.dtype in FLOATS and x.function.name not in ("where", *FLOATS)


def _chooses_by_data(x: Call) -> bool:
    return x.function.name == "where" and _is_float(x) and not is_index_only(x.arguments[0])


def _is_float(x: Call) -> bool:
    return x.dtype in FLOATS and any(access.dtype in FLOATS for access in x.accesses)


def _conditions_around(root: Scalar) -> dict[Scalar, tuple[Scalar, ...] | None]:
    """For every part the conditions under which it is evaluated; None where it is in several places, under others."""
    found: dict[Scalar, tuple[Scalar, ...] | None] = {root: ()}
    for x in reversed(list(walk(root))):
        held = found.setdefault(x, None)
        match x:
            case Call(function=f, arguments=(condition, yes, no)) if f.name == "where":
                parts: list[tuple[Scalar, tuple[Scalar, ...]]] = [
                    (condition, ()),
                    (yes, (condition,)),
                    (no, (call("not", condition),)),
                ]
            case Call(function=f, arguments=(a, b)) if f.name in ("and", "or"):
                parts = [(a, ()), (b, (a if f.name == "and" else call("not", a),))]
            case Call():
                parts = [(part, ()) for part in x.arguments]
            case _:
                parts = []  # subscripts are left alone
        for part, more in parts:
            new = None if held is None else (*held, *more)
            found[part] = _meet(found[part], new) if part in found else new
    return found


def _meet(a: tuple[Scalar, ...] | None, b: tuple[Scalar, ...] | None) -> tuple[Scalar, ...] | None:
    """The conditions of the place that is evaluated whenever the other one is."""
    if a is None or b is None:
        return a if b is None and a == () else b if a is None and b == () else None
    shorter = min(a, b, key=len)
    return shorter if all(x is y for x, y in zip(a, b, strict=False)) else None


def node_of(x: Scalar, extents: Sequence[Poly]) -> Load:
    """The access of a new pointwise node over exactly the positions that an expression mentions."""
    used = positions_of(x)
    places = [position(0)] * (max(used, default=-1) + 1)
    for new, old in enumerate(used):
        places[old] = position(new)
    return load(pointwise([extents[k] for k in used], at(x, places)), [position(k) for k in used])


def _is_product(x: Scalar) -> bool:
    """Whether it is a product of two accesses: with the sum over it, one operation."""
    return isinstance(x, Call) and x.function.name == "mul" and all(isinstance(a, Load) for a in x.arguments)


def is_transcendental(x: Scalar) -> bool:
    return _is_operation(x) and x.dtype in FLOATS and x.function.cost >= _TRANSCENDENTAL


def _is_operation(x: Scalar) -> TypeGuard[Call]:
    return isinstance(x, Call) and any(isinstance(part, Load) for part in walk(x))
