"""Integers that a formula computes once and reads several times.

In: a scalar body. Out: such parts, inner ones before outer ones; `passes.split` makes nodes of them, and comments give
them names.
"""

from collections import Counter
from collections.abc import Callable

from gradgen.graph.polynomials import INTEGERS
from gradgen.graph.scalar import Load, Scalar, children, scalar_cost, walk

SHARED = 3.0  # from this cost on, an integer is written once, however often it is read


def shared_integer(body: Scalar, accepted: Callable[[Scalar], bool]) -> Scalar | None:
    """The first integer that several parts read, that takes some work, and that is accepted."""
    integers = [x for x in walk(body) if x.dtype in INTEGERS and not isinstance(x, Load) and x is not body]
    if not any(scalar_cost(x) >= SHARED for x in integers):
        return None
    uses = Counter(part for x in walk(body) for part in children(x))
    return next((x for x in integers if uses[x] > 1 and scalar_cost(x) >= SHARED and accepted(x)), None)
