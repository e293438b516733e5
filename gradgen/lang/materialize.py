"""`gg.materialize`: a tensor that the schedule may neither dissolve into its readers nor compute twice.

In: a tensor. Out: the same values; `passes.rewrite.materialize` says what becomes of it.
"""

from gradgen.errors import DTypeError, GraphError
from gradgen.graph.axes import shown
from gradgen.graph.origin import display_name
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor, apply

__all__ = ["materialize"]


def materialize(x: Tensor) -> Tensor:
    """The same tensor, computed into an array of its own, whole, and never written into its readers.

    Its gradient is that of x. Without it the schedule decides, by what costs less, whether a tensor is stored, held row
    by row or part by part, or computed again where it is read. The backward pass finds what is materialized, except
    inside `gg.scan`, whose steps it computes again. What is right comes first: a stable form looks through it, and what
    may be infinite is computed inside the branch of `gg.where` that reads it. The array serves another value as soon
    as nobody reads this one.

    Args:
        x: a tensor of numbers.

    Raises:
        GraphError: x is no tensor.
        DTypeError: x is a condition.
    """
    if not isinstance(x, Tensor):
        raise GraphError(
            f"{here()}gg.materialize takes a tensor, and {shown(x)} is none. Make one of a formula by gg.compute."
        )
    if x.dtype == "bool":
        raise DTypeError(
            f"{here()}{display_name(x.node)} is bool, and gg.materialize takes numbers: gg.cast makes them."
        )
    found: Tensor = apply("materialize", x)
    return found
