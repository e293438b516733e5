"""The adjoint of a scan: a scan in the opposite direction over the adjoints of the carries that something moves.

In: a scan and the contributions to its results. Out: contributions to what the scan reads. Everything the body defines
is seen as a tensor with the step as its first axis. The reverse scan computes only what depends on the carried
adjoints; what it hands to tensors outside is stacked, and summed by one formula behind the loop (a weight's gradient
is one product over all steps). Where a state is read under masks only, whether it counts is one more carry. Of a scan
that is checkpointed states alone are kept: the reverse scan computes the step again, and adds up as it goes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gradgen.graph.accesses import ranges_of
from gradgen.graph.nodes import (
    Carry,
    Compute,
    Node,
    Project,
    Scan,
    body_nodes,
    carry,
    compute,
    identity,
    inputs,
    inside_inputs,
    project,
    scan,
    scan_like,
    toposort,
)
from gradgen.graph.origin import carry_place, name_part
from gradgen.graph.scalar import FLOATS, Atom, Poly, integer, require_poly, step
from gradgen.graph.sizes import is_size, nonnegative
from gradgen.passes.derive.contributions import Contribution, add_nodes, zeros_like
from gradgen.passes.derive.kept_steps import kept_values, reading, stacked_values
from gradgen.passes.derive.step_sums import AsItGoes, BehindTheLoop, StepSums
from gradgen.passes.derive.supports import (
    EVERYWHERE,
    NOWHERE,
    Support,
    count_of_steps,
    counted,
    either,
    read_under_masks,
    row_support,
    support_node,
    support_of,
)
from gradgen.passes.rebuild.all_steps import row
from gradgen.passes.rebuild.nodes import replace_nodes

__all__ = ["depending", "free_number", "scan_adjoint"]

Results = Mapping[Node, Sequence[Contribution]]  # the results of a scan, and what goes to them
Supports = Mapping[Node, Support]
Propagate = Callable[  # what `reverse` does with the nodes of a graph, here with those of a step
    [Sequence[Node], dict[Node, list[Contribution]], set[Node], set[Node]], tuple[dict[Node, Node], dict[Node, Support]]
]


def scan_adjoint(
    source: Scan, d_results: Results, active: set[Node], cuts: set[Node], propagate: Propagate
) -> list[Contribution]:
    """The contributions of a scan to the adjoints of what it reads; `d_results` are those to its results."""
    made = _ScanAdjoint(source, d_results, active)
    contributions = made.seeds()
    adjoints, supports = propagate(made.body, contributions, made.inside, cuts)
    outside = [term for x, terms in contributions.items() if x in active for term in terms]
    return made.handed_on(made.backwards(adjoints, supports, outside), outside)


def free_number(source: Scan) -> int:
    """The least number from which on no carry of a scan is numbered; an adjoint's own carries do not start at 0."""
    return 1 + max((c.number for c in source.carries), default=-1)


def depending(order: Iterable[Node], cuts: set[Node]) -> set[Node]:
    """The float nodes that depend on a cut."""
    active = set(cuts)
    for node in order:
        if node not in active and node.dtype in FLOATS and any(x in active for x in inputs(node)):
            active.add(node)
    return active


@dataclass(frozen=True, slots=True)
class _Backwards:
    """The reverse scan, sums over its steps, and the counts of steps asked for."""

    scan: Scan
    totals: Mapping[Node, Node]  # of what the steps contribute to something outside, and of the counts
    asked: Sequence[Node | None]  # for each contribution to something outside, where its support is not everywhere


@dataclass(slots=True)
class _ScanAdjoint:
    """What is known of the adjoint of one scan before its step is differentiated."""

    source: Scan
    d_results: Results
    active: set[Node]
    body: list[Node] = field(init=False)
    moving: list[int] = field(init=False)  # the carries whose adjoints are carried
    inside: set[Node] = field(init=False)  # what in the body depends on something active
    states: list[Node] = field(init=False)
    d_carries: list[Carry] = field(init=False)  # of the moving ones: the adjoints of the states
    totals: Supports = field(init=False)  # where a result counts
    counting: dict[int, Carry] = field(init=False)  # a carry that says where a state counts, unless that is everywhere

    def __post_init__(self) -> None:
        source = self.source
        self.body = body_nodes(source)
        self.moving, self.inside = _active_carries(source, self.body, self.active)
        self.states = [project(source, "states", k) for k in range(len(source.carries))]
        self.totals = {whole: either(*[x.support for x in terms]) for whole, terms in self.d_results.items()}
        free = free_number(source)
        self.d_carries = [
            carry(free + m, source.carries[k].shape, source.carries[k].dtype, source.depth)
            for m, k in enumerate(self.moving)
        ]
        sometimes = read_under_masks(source, self.body, self.moving, self.totals)
        self.counting = {
            k: carry(free + len(self.moving) + m, self.states[k].shape[1:], "bool", source.depth)
            for m, k in enumerate(sometimes)
        }

    @property
    def t(self) -> Poly:
        """The step at hand."""
        return step(self.source.depth)

    @property
    def before(self) -> Poly:
        """The row of the states that a step begins with."""
        return require_poly(self.t + 1) if self.source.reverse else self.t

    @property
    def ends(self) -> tuple[Poly, Poly]:
        """The rows of the first and of the last state."""
        return (self.source.length, integer(0)) if self.source.reverse else (integer(0), self.source.length)

    @property
    def steps(self) -> dict[Atom, Poly]:
        """How many steps there are; behind the loop, where this says nothing, there may be none."""
        return {self.t.atoms[0]: self.source.length}

    def row_counts(self, whole: Node, at: Poly) -> Support:
        """Where the row of a result counts that a step reads."""
        return row_support(self.totals.get(whole, NOWHERE), at, ranges_of((), {self.source.depth: self.source.length}))

    def seeds(self) -> dict[Node, list[Contribution]]:
        """What reaches a step from the step behind it, and from the rows of stacks."""
        found: dict[Node, list[Contribution]] = {}
        for k, d_carry in zip(self.moving, self.d_carries, strict=True):
            support = support_of(identity(self.counting[k])) if k in self.counting else EVERYWHERE
            found.setdefault(self.source.nexts[k], []).append(Contribution(self.source.nexts[k], d_carry, support))
        for k, y in enumerate(self.source.outputs):
            stack = project(self.source, "stack", k)
            if stack in self.d_results and isinstance(stack, Project):
                support = self.row_counts(stack, self.t)
                rows = _rows(self.d_results[stack], self.t, self.steps)
                found.setdefault(y, []).extend(Contribution(y, d_y, support) for d_y in rows)
        return found

    def begun(self) -> list[Node]:
        """The first values of the carries: what the last states are read for."""
        last = self.ends[1]
        found: list[Node] = []
        for k in self.moving:
            terms = _rows(self.d_results.get(self.states[k], ()), last, {})
            found.append(add_nodes(terms) if terms else zeros_like(self.source.inits[k]))
        for k in self.counting:
            counts = row_support(self.totals.get(self.states[k], NOWHERE), last, {})
            found.append(support_node(self.source.carries[k].shape, counts))
        return found

    def nexts(self, adjoints: Mapping[Node, Node], supports: Supports) -> list[Node]:
        """What a step hands to the step before it."""
        found: list[Node] = []
        for k in self.moving:
            own = self.source.carries[k]
            terms = [adjoints[own]] if own in adjoints else []
            terms += _rows(self.d_results.get(self.states[k], ()), self.before, self.steps)
            found.append(add_nodes(terms) if terms else zeros_like(own))
            name_part(self.source.nexts[k], found[-1], "d_")
        for k in self.counting:
            own = self.source.carries[k]
            here = self.row_counts(self.states[k], self.before)
            found.append(support_node(own.shape, either(supports.get(own, NOWHERE), here)))
        return found

    def backwards(
        self, adjoints: Mapping[Node, Node], supports: Supports, outside: Sequence[Contribution]
    ) -> _Backwards:
        """The reverse scan; it reads the forward values of its step from states and from stacks that are kept."""
        source, depth = self.source, self.source.depth
        nexts = self.nexts(adjoints, supports)
        asked = [count_of_steps(term.to, term.support, depth) for term in outside]
        counts = [count for count in asked if count is not None]
        wanted = list(dict.fromkeys([*[term.adjoint for term in outside], *counts]))
        forward = set(self.body)
        nodes = [n for n in toposort([*nexts, *wanted], lambda n: inside_inputs(n, depth)) if n not in forward]
        kept = [] if source.checkpointed else kept_values(nodes, self.body)
        augmented = scan_like(source, source.carries, source.inits, source.nexts, kept)
        values: dict[Node, Node] = {c: row(self.states[k], self.before) for k, c in enumerate(source.carries)}
        values.update({n: row(project(augmented, "stack", k), self.t) for k, n in enumerate(kept)})
        carried = [*self.d_carries, *self.counting.values()]
        sums: StepSums
        if source.checkpointed:
            sums = AsItGoes.of(wanted, depth, free_number(source) + len(carried))
        else:
            sums = BehindTheLoop(
                wanted, stacked_values(wanted, reading(nodes, {*carried, *_scans_inside(nodes, depth)}))
            )
        loop = replace_nodes([*nexts, *sums.nexts, *sums.stacked], values, depth)
        every = [*carried, *sums.carries]
        begun = [*self.begun(), *map(zeros_like, sums.carries)]
        made = scan(
            source.length, depth, every, begun, loop[: len(every)], loop[len(every) :], not source.reverse,
            source.checkpointed,
        )  # fmt: skip
        d_stacks = [project(made, "stack", k) for k in range(len(sums.stacked))]
        for whole in (*d_stacks, *(project(made, "states", m) for m in range(len(self.moving)))):
            carry_place(next(iter(self.d_results)), whole, "d_")
        return _Backwards(made, sums.totals(made, len(carried), values), asked)

    def handed_on(self, backwards: _Backwards, outside: Sequence[Contribution]) -> list[Contribution]:
        """What the first states get, and sums over all steps for what the body reads of outside."""
        first = self.ends[0]
        found: list[Contribution] = []
        flags = {k: len(self.moving) + m for m, k in enumerate(self.counting)}
        for m, k in enumerate(self.moving):
            if self.source.inits[k] in self.active:
                support = EVERYWHERE
                if k in flags:
                    support = support_of(identity(row(project(backwards.scan, "states", flags[k]), first)))
                d_init = row(project(backwards.scan, "states", m), first)
                found.append(Contribution(self.source.inits[k], d_init, support))
        for term, count in zip(outside, backwards.asked, strict=True):
            support = term.support if count is None else counted(backwards.totals[count])
            found.append(Contribution(term.to, backwards.totals[term.adjoint], support))
        return found


def _scans_inside(nodes: Iterable[Node], depth: int) -> list[Node]:
    """The results of scans that change with the step."""
    return [n for n in nodes if isinstance(n, Project) and depth in n.steps]


def _active_carries(source: Scan, body: Sequence[Node], active: set[Node]) -> tuple[list[int], set[Node]]:
    """The numbers of the carries that depend on something active, and everything in the body that does."""
    floats = [k for k, c in enumerate(source.carries) if c.dtype in FLOATS]
    found = [k for k in floats if source.inits[k] in active]
    while True:
        inside = depending(body, (active & set(source.captured)) | {source.carries[k] for k in found})
        again = [k for k in floats if k in found or source.nexts[k] in inside]
        if again == found:
            return found, inside
        found = again


def _rows(contributions: Sequence[Contribution], at: Poly, ranges: Mapping[Atom, Poly]) -> list[Node]:
    """Row `at` of a sum: what goes to one row of a result, as from its last state, is no term of any other row."""
    found: list[Node] = []
    whole: list[Node] = []
    for term in (x.adjoint for x in contributions):
        only = term.target[0] if isinstance(term, Compute) and term.reducer == "sum" else None
        if isinstance(term, Compute) and only is at:
            found.append(compute(term.shape[1:], term.extents, term.target[1:], "sum", term.body))
            carry_place(term, found[-1])
        elif only is None or not is_size(only) or not _is_apart(require_poly(at - only), ranges):
            whole.append(term)
    return [*([row(add_nodes(whole), at)] if whole else []), *found]


def _is_apart(distance: Poly, ranges: Mapping[Atom, Poly]) -> bool:
    """Whether two rows are never the same one, whatever the step; where a step has a range, there is one."""
    return any(nonnegative(require_poly(sign * distance - 1), ranges) for sign in (1, -1))
