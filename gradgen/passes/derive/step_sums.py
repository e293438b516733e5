"""What the steps of a scan contribute to tensors outside, added up: behind the loop, or as it goes.

In: values of a step of a reverse scan, as formulas of its carries. Out: what that scan carries and stacks for them, and
the sums of them over all steps. Behind the loop a sum is one formula of stacks (a product over all steps); where the
steps keep nothing, each adds to what it carries, and a row that only one step writes is an output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gradgen.graph.nodes import Carry, Compute, Node, Scan, carry, compute, identity, project
from gradgen.graph.origin import carry_place
from gradgen.graph.scalar import Poly, integer, mentions, position, positions_of, require_poly, step, substitute
from gradgen.passes.derive.contributions import add_nodes
from gradgen.passes.rebuild.all_steps import row, sum_over_steps
from gradgen.passes.rebuild.nodes import replace_nodes

__all__ = ["AsItGoes", "BehindTheLoop", "StepSums"]

Values = Mapping[Node, Node]  # what stands outside the loop for forward values and for stacked ones


class StepSums(Protocol):
    """What a reverse scan carries and stacks for sums over its steps, and these sums."""

    @property
    def carries(self) -> Sequence[Carry]:
        """What is added up from step to step, beginning with nothing."""

    @property
    def nexts(self) -> Sequence[Node]:
        """The carries with what a step adds."""

    @property
    def stacked(self) -> Sequence[Node]:
        """What is kept of every step."""

    def totals(self, made: Scan, first: int, values: Values) -> dict[Node, Node]:
        """The sums, by what is summed: of the results of the reverse scan, whose carries are these from `first` on."""


@dataclass(frozen=True, slots=True)
class BehindTheLoop:
    """Formulas over all steps at once, of values that the reverse scan stacks."""

    wanted: Sequence[Node]
    stacked: Sequence[Node]
    carries: Sequence[Carry] = ()
    nexts: Sequence[Node] = ()

    def totals(self, made: Scan, first: int, values: Values) -> dict[Node, Node]:
        """A value of any step, as a formula of what is outside, and the sum of that."""
        t = step(made.depth)
        rows = {n: row(project(made, "stack", k), t) for k, n in enumerate(self.stacked)}
        found = replace_nodes(self.wanted, {**values, **rows}, made.depth)
        totals = [sum_over_steps(each, made.length, made.depth) for each in found]
        for each, total in zip(found, totals, strict=True):
            carry_place(each, total)
        return dict(zip(self.wanted, totals, strict=True))


@dataclass(frozen=True, slots=True)
class AsItGoes:
    """Each step adds its own to what it carries; of rows that one step alone writes, it writes its row."""

    own_rows: Sequence[Compute]
    added: Sequence[Node]
    carries: Sequence[Carry]

    @classmethod
    def of(cls, wanted: Sequence[Node], depth: int, free: int) -> "AsItGoes":
        """Sums of the values of a step at that depth, which may be carried by the numbers from `free` on."""
        own_rows = [n for n in wanted if isinstance(n, Compute) and _writes_one_row(n, step(depth))]
        added = [n for n in wanted if n not in own_rows]
        return cls(own_rows, added, [carry(free + k, n.shape, n.dtype, depth) for k, n in enumerate(added)])

    @property
    def nexts(self) -> Sequence[Node]:
        """The sums so far with those of a step."""
        return [add_nodes(pair) for pair in zip(self.carries, self.added, strict=True)]

    @property
    def stacked(self) -> Sequence[Node]:
        """The rows that a step alone writes."""
        return [compute(n.shape[1:], n.extents, n.target[1:], "sum", n.body) for n in self.own_rows]

    def totals(self, made: Scan, first: int, values: Values) -> dict[Node, Node]:
        """The last sums, and the rows where they belong."""
        end = integer(0) if made.reverse else made.length
        found = {n: row(project(made, "states", first + k), end) for k, n in enumerate(self.added)}
        (t,) = step(made.depth).atoms
        for k, n in enumerate(self.own_rows):
            stack = project(made, "stack", k)
            at = require_poly(substitute(n.target[0], {t: position(0)}))
            rest = [position(axis) for axis in range(1, len(n.shape))]
            found[n] = compute(n.shape, stack.shape, [at, *rest], "sum", identity(stack))
        for each, total in found.items():
            carry_place(each, total)
        return found


def _writes_one_row(node: Compute, t: Poly) -> bool:
    """Whether a step writes one row of a tensor, and no other step does."""
    if not node.target or positions_of(node.target[0]) or any(mentions(at, t.atoms[0]) for at in node.target[1:]):
        return False
    factor = node.target[0].coefficient(t.atoms[0])
    return factor is not None and factor.constant not in (None, 0)
