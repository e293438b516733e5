"""Every place where a formula reads, what is known there, and whether it is proved to stay inside.

In: formulas over letters or positions. Out: accesses with facts; `lang.ranges` infers ranges from them, and what is
not proved is for the checks of a call.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradgen.graph.nodes import Compute, Node, show_size
from gradgen.graph.origin import display_name
from gradgen.graph.scalar import (
    Atom,
    Call,
    Const,
    Letter,
    Load,
    Poly,
    Reduce,
    Scalar,
    children,
    is_zero,
    position,
    require_poly,
    step,
)
from gradgen.graph.sizes import nonnegative, reads_data


@dataclass(frozen=True, eq=False, slots=True)
class Access:
    """One subscript: which axis of what, what is known where it is read, and which indices it does not bound."""

    subscript: Poly
    size: Poly
    axis: int
    tensor: Node | None  # None: the result of an accumulate
    facts: tuple[Poly, ...]
    soft: frozenset[Letter]

    @property
    def what(self) -> str:
        name = "the result" if self.tensor is None else display_name(self.tensor)
        return f"{name}'s axis {self.axis} ({show_size(self.size)})"


def accesses(letters: Iterable[Letter], *expressions: Scalar) -> list[Access]:
    """Every subscript of a formula, with what is known where it is read.

    A branch of `where` is read only where its condition holds, so it bounds no index from outside the branch.
    """
    found: list[Access] = []
    seen: set[tuple[Scalar, tuple[Poly, ...], frozenset[Letter]]] = set()
    stack: list[tuple[Scalar, tuple[Poly, ...], frozenset[Letter], frozenset[Letter]]] = [
        (expression, (), frozenset(), frozenset(letters)) for expression in reversed(expressions)
    ]
    while stack:
        x, facts, soft, scope = stack.pop()
        if (x, facts, soft) in seen:
            continue
        seen.add((x, facts, soft))
        match x:
            case Call(function=function, arguments=(condition, yes, no)) if function.name == "where":
                stack += [
                    (no, facts + known(condition, False), scope, scope),
                    (yes, facts + known(condition, True), scope, scope),
                    (condition, facts, soft, scope),
                ]
                continue
            case Reduce(body=body, letters=own):
                stack.append((body, facts, soft, scope | frozenset(own)))
                continue
            case Load(tensor=tensor, subscripts=subscripts):
                for axis, (subscript, size) in enumerate(zip(subscripts, tensor.shape, strict=True)):
                    found.append(Access(subscript, size, axis, tensor, facts, soft))
        stack += [(part, facts, soft, scope) for part in reversed(children(x))]
    return found


def known(condition: Scalar, holds: bool) -> tuple[Poly, ...]:
    """Polynomials that are >= 0 where a condition holds, or where it does not."""
    match condition:
        case Call(function=function, arguments=(Poly() as p, _)) if function.name == "ge":
            return (p,) if holds else (require_poly(-p - 1),)
        case Call(function=function, arguments=(Poly() as p, _)) if function.name == "eq" and holds:
            return (p, require_poly(-p))
        case Call(function=function, arguments=(a, b)) if function.name == ("and" if holds else "or"):
            return known(a, holds) + known(b, holds)
        case Call(function=function, arguments=(a,)) if function.name == "not":
            return known(a, not holds)
    return ()


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
    return nonnegative(access.subscript, ranges, facts) and nonnegative(
        require_poly(access.size - access.subscript - 1), ranges, facts
    )


def where_written(body: Scalar) -> tuple[Poly, ...]:
    """Polynomials that are >= 0 where an accumulate adds: `where(c, x, 0)` adds nothing, anywhere, without c."""
    facts: tuple[Poly, ...] = ()
    while isinstance(body, Call) and body.function.name == "where":
        condition, yes, no = body.arguments
        if not (is_zero(yes) or is_zero(no)):
            break
        facts += known(condition, is_zero(no))
        body = yes if is_zero(no) else no
    return facts


def unproved(node: Compute, steps: Mapping[int, Poly] | None = None) -> list[Access]:
    """The reads and targets of a node that are not proved to stay inside: a call has to check them.

    They are data-dependent subscripts, and numbers on axes whose size may be too small, such as `x[0]` of an empty x.
    `steps` has the length of the scan at each depth that the node stands in.
    """
    ranges: dict[Atom, Poly] = {position(k).atoms[0]: extent for k, extent in enumerate(node.extents)}
    ranges |= {step(depth).atoms[0]: length for depth, length in (steps or {}).items()}
    found = accesses((), node.body, *node.target)
    targets = zip(node.target, node.shape, strict=True)
    written = where_written(node.body)
    found += [Access(p, size, axis, None, written, frozenset()) for axis, (p, size) in enumerate(targets)]
    return [access for access in found if not is_inside(access, ranges, access.facts)]
