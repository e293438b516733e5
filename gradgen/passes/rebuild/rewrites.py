"""What a pass is, and what one did and why, for `explain`.

In: the nodes a pass looked at. Out: one record per rewrite that fired, or per decision against one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradgen.graph.nodes import Node

__all__ = ["Pass", "Passes", "Rewrite"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One application of a rule: the node before and after it (the same one where the rule was declined)."""

    rule: str
    before: Node
    after: Node
    reason: str = ""


Pass = Callable[[Sequence[Node]], list[Node] | tuple[list[Node], list[Rewrite]]]
Passes = Sequence[tuple[str, Pass, str]]  # a name, the pass, and why it stands where it stands
