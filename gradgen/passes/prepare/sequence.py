"""What must happen before differentiation: one dtype for operands, stability rewrites, one node per transcendental.

In: the roots as declared. Out: roots ready for `derive`. The pipeline watches these passes one by one; `gg.grad`
and its relatives run them at once.
"""

from collections.abc import Sequence
from functools import partial

from gradgen.graph.nodes import Node
from gradgen.passes.prepare.cast_operands import cast_operands
from gradgen.passes.prepare.split import split
from gradgen.passes.prepare.stabilize import stabilize
from gradgen.passes.rebuild.rewrites import Passes


def preparations(skip: frozenset[str] = frozenset(), differentiated: bool = True) -> Passes:
    """The passes in order; `skip` names rewrites of `stabilize`, `differentiated` says that adjoints are to follow."""
    return (
        ("cast", cast_operands, "operands have one dtype, whatever they meet when products are taken apart"),
        ("stabilize", partial(stabilize, skip=skip), "the adjoint of a naive softmax can no longer be saved"),
        (
            "split",
            partial(split, differentiated=differentiated),
            "an adjoint reads what a transcendental computed instead of computing it again",
        ),
    )


def prepare(roots: Sequence[Node], skip: frozenset[str] = frozenset()) -> list[Node]:
    """All of them."""
    current = list(roots)
    for _, run, _ in preparations(skip):
        result = run(current)
        current = result[0] if isinstance(result, tuple) else result
    return current
