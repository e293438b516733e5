"""What must happen before differentiation: stability rewrites, branches, one node per transcendental.

In: the roots as declared. Out: roots ready for `differentiate`.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Node
from gradgen.passes.branches import inline_branches
from gradgen.passes.split import split
from gradgen.passes.stabilize import stabilize


def prepare(roots: Sequence[Node]) -> list[Node]:
    stable, _ = stabilize(roots)
    return split(inline_branches(stable))
