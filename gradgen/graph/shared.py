"""Integers that a formula computes once and reads several times.

In: a scalar body. Out: such parts, inner ones before outer ones; `passes.rewrite.shared_integers` makes nodes of them,
and comments give them names. Exact arithmetic of indices and sizes is none: it says where something is, and proofs read
it.
"""

from collections import Counter
from collections.abc import Callable

from gradgen.graph.polynomials import INTEGERS
from gradgen.graph.scalar import Load, Poly, Scalar, children, scalar_cost, walk
from gradgen.graph.spans import fits

SHARED = 3.0  # from this cost on, an integer is written once, however often it is read


def shared_integer(body: Scalar, accepted: Callable[[Scalar], bool]) -> Scalar | None:
    """The first integer that several parts read, that takes some work, and that is accepted."""
    integers = [x for x in walk(body) if x.dtype in INTEGERS and x is not body and not _is_place(x)]
    if not any(scalar_cost(x) >= SHARED for x in integers):
        return None
    uses = Counter(part for x in walk(body) for part in children(x))
    return next((x for x in integers if uses[x] > 1 and scalar_cost(x) >= SHARED and accepted(x)), None)


def _is_place(x: Scalar) -> bool:
    """Whether an integer is an element as it is, or made of indices and sizes that int64 holds exactly."""
    return isinstance(x, Load) or (isinstance(x, Poly) and fits(x) and all(isinstance(p, Poly) for p in walk(x)))
