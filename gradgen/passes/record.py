"""What a pass did and why, for `explain`.

In: the nodes a pass looked at. Out: one record per rewrite that fired, or per decision against one.
"""

from dataclasses import dataclass

from gradgen.graph.nodes import Node

__all__ = ["Rewrite"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One application of a rule: the node before and after it (the same one where the rule was declined)."""

    rule: str
    before: Node
    after: Node
    reason: str = ""
