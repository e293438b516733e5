"""Values in the place of `gg.custom`, once nothing is differentiated any more.

In: nodes after `derive`. Out: the same without `Custom`; what was given as an adjoint is gone or in use.
"""

from collections.abc import Sequence

from gradgen.graph.nodes import Custom, Node
from gradgen.passes.rebuild.nodes import map_nodes


def resolve(roots: Sequence[Node]) -> list[Node]:
    """Every custom node replaced by its value."""
    return map_nodes(roots, lambda node: node.value if isinstance(node, Custom) else None)
