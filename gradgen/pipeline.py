"""The compiler on one screen: what happens to a graph, in order, and why.

In: a `Model` (outputs, parameters, updates). Out: a `Program`, which `emit` renders.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gradgen.emit.formula import formula
from gradgen.errors import ProgramError
from gradgen.graph.names import fresh_names
from gradgen.graph.nodes import (
    Leaf,
    Node,
    all_inputs,
    leaf,
    pointwise,
    toposort,
)
from gradgen.graph.origin import files_of
from gradgen.graph.scalar import FLOATS, call, number
from gradgen.inspect.header import header
from gradgen.machine import machine_of, using, without_parts
from gradgen.model import Model, stacks_of, with_loops
from gradgen.options import Options
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.loops.add_up import add_up
from gradgen.passes.loops.bounds import bound_loops
from gradgen.passes.loops.hoist import hoist as hoist_code
from gradgen.passes.loops.in_place import update_in_place
from gradgen.passes.loops.keep_inside import keep_inside
from gradgen.passes.loops.one_form import one_form
from gradgen.passes.loops.over_states import over_states
from gradgen.passes.loops.roll import roll, shortened
from gradgen.passes.loops.shared_values import share
from gradgen.passes.loops.threads import FIXED_PARTS
from gradgen.passes.loops.unify import unify
from gradgen.passes.lower.drafts import OnStatements, multiplied, piece_by_piece, placed, threaded
from gradgen.passes.lower.entries import Builder
from gradgen.passes.lower.naming import sizes_of
from gradgen.passes.lower.requests import Request, RequestLowering, Root
from gradgen.passes.prepare.retarget import retarget
from gradgen.passes.prepare.sequence import preparations
from gradgen.passes.prepare.squeeze import squeeze
from gradgen.passes.rebuild.rewrites import Passes
from gradgen.passes.rewrite.contract import contract
from gradgen.passes.rewrite.count_outside import Outside, established, outside
from gradgen.passes.rewrite.customs import resolve
from gradgen.passes.rewrite.gather import gather
from gradgen.passes.rewrite.hoist_products import hoist
from gradgen.passes.rewrite.logsumexp import lower_reducers
from gradgen.passes.rewrite.materialize import materialize
from gradgen.passes.rewrite.merge_axes import merge_axes
from gradgen.passes.rewrite.once_a_row import once_a_row
from gradgen.passes.rewrite.orient import orient
from gradgen.passes.rewrite.separate_scans import separate
from gradgen.passes.rewrite.shared_integers import share_integers
from gradgen.passes.rewrite.simplify import simplify
from gradgen.passes.schedule.saved_values import choose_saved
from gradgen.program.kernels import Program
from gradgen.program.loops import Role
from gradgen.program.verify import Seen, verify_program, violations
from gradgen.watch import OnProgram, Watch


def after_declaring(skip: frozenset[str] = frozenset(), differentiated: bool = True) -> Passes:
    """What comes before differentiation, if it does; `skip` names rewrites of `stabilize`."""
    first = ("squeeze", squeeze, "axes of one element would hide that formulas are equal")
    return (first, *preparations(skip, differentiated))


AFTER_DIFFERENTIATING: Passes = (
    ("resolve", resolve, "adjoints that the user gave have done their work: what is left is the value"),
    ("share", share_integers, "integers are computed once and not multiplied out, however often they are read"),
    ("simplify", simplify, "copies and decided conditions vanish before anything looks at subscripts"),
    ("gather", gather, "adjoint loops own what they write"),
    ("reduce", lower_reducers, "logsumexp becomes a maximum, a sum and a logarithm"),
    ("simplify again", simplify, "solved subscripts bring new conditions and copies"),
    ("once a row", once_a_row, "what depends on the node of an edge alone is computed once for every node"),
    ("hoist", hoist, "products that do not depend on the carry of a scan become one product for all steps"),
    ("simplify hoisted", simplify, "the steps of a scan read rows of what was hoisted"),
    ("orient", orient, "a gradient that is only read transposed is computed transposed"),
    ("contract", contract, "large sums of products get operands that are matrices"),
    ("merge", merge_axes, "short axes that are walked through together are one axis"),
    ("materialize", materialize, "nobody computes again what gg.materialize asks to be in memory; formulas are final"),
    ("separate", separate, "from here on it matters in which loop a value lives: scans have carries of their own"),
)


# What happens to the statements of every entry point before they are cut into functions, for every target, ...
ON_STATEMENTS: tuple[tuple[str, OnStatements, str], ...] = (
    ("bound", piece_by_piece(bound_loops), "conditions on indices become bounds and strides, or cut a loop in pieces"),
    ("move", piece_by_piece(hoist_code), "what does not change in a loop is read and computed in front of it"),
    ("name", piece_by_piece(share), "what statements read several times, or cannot hold, is computed once"),
)

ADDED_UP = ("add up", piece_by_piece(add_up), "what a loop adds to one element of an array is added up in a variable")

# ... then for one of them, by what it has: a CPU vector registers and threads; ...
ON_TARGET: dict[str, tuple[tuple[str, OnStatements, str], ...]] = {
    "cpu": (
        ("multiply", multiplied, "sums of products that are no products of matrices are outer products of registers"),
        ADDED_UP,
        ("place", placed, "the costliest loops are shared by threads, where that pays"),
        ("threads", threaded, "what each thread needs for itself is a row of the workspace; its sums are added up"),
    ),
    "cuda": (
        ADDED_UP,
        ("place", placed, "every iteration of an outermost loop is a thread, with variables and small arrays"),
    ),
}


def on_programs(
    telling: OnProgram = lambda program: program, seen: Seen | None = None
) -> tuple[tuple[str, OnProgram, str], ...]:
    """... and to the functions; `telling` gives a program arguments for the sizes that new guards read."""
    return (
        ("in place", update_in_place, "values are written over what nobody needs any more"),
        (
            "over states",
            over_states,
            "what a step writes anew is a row of the states that it becomes, or comes of",
        ),
        (
            "keep inside",
            partial(_kept_inside, telling=telling, seen=seen),
            "what no proof keeps inside an array gets a guard",
        ),
        ("unify", unify, "functions that differ in names only are one function"),
        ("roll", roll, "runs of equal calls are a loop: the text does not grow with the depth"),
        ("one form", one_form, "functions that differ in lengths only are compiled once"),
    )


def after_differentiating(skip: frozenset[str] = frozenset()) -> Passes:
    """The same; `skip` names rewrites for stability."""
    return tuple(
        (n, partial(lower_reducers, skip=skip), why) if n == "reduce" else (n, run, why)
        for n, run, why in AFTER_DIFFERENTIATING
    )


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program, the leaves that stand for the declared ones, and outputs and updates over these, or over loops."""

    program: Program
    leaves: Mapping[Leaf, Leaf]
    outputs: Mapping[str, Node]
    updates: Mapping[Leaf, Node]
    updated: tuple[str, ...]  # the leaves that were declared to be updated
    stages: Mapping[str, tuple[tuple[str, Node], ...]]
    checks: Mapping[str, str]  # what `check` counts, and what a count that is not 0 means
    counts: bool  # whether labels do not say as much
    derivatives: Mapping[str, str]  # what a cotangent or a gradient belongs to, by its name in the program


def compile_model(model: Model, options: Options, watch: Watch | None = None) -> Compiled:
    """Every pass, for every entry point; without parts where the program with them is not legal, as `explain` says."""
    watch = Watch() if watch is None else watch
    usual = machine_of(options.target)
    try:
        with using(usual):
            return _compiled(model, options, watch)
    except ProgramError as error:
        wrong = str(error).splitlines()[1].strip()
        told = f"without parts, with which the program would not be legal; please report this with the model: {wrong}"
        with using(without_parts(usual)):
            return _compiled(model, options, watch, (told,))


def _compiled(model: Model, options: Options, watch: Watch, told: tuple[str, ...] = ()) -> Compiled:
    """Every pass, for every entry point; what was `told` before stands first in what is explained."""
    written, looped = model, with_loops(model)
    model = looped.model
    names = list(model.outputs)
    wanted = [*model.outputs.values(), *model.updates.values(), *model.wrt]
    rows = looped.rows
    roots, leaves = retarget([*wanted, *model.updates, *looped.stacks, *rows], options.dtype, options.sizes)
    declared = dict(zip(names, roots[: len(names)], strict=True))
    updates = dict(zip([leaves.get(x, x) for x in model.updates], roots[len(names) :], strict=False))
    wrt = [n for n in roots[len(names) + len(updates) : len(wanted)] if isinstance(n, Leaf)]
    stages: dict[str, tuple[tuple[str, Node], ...]] = {"graph": tuple(declared.items())}

    floats = [k for k, y in declared.items() if y.dtype in FLOATS]
    below = set(toposort([declared[k] for k in floats]))
    reached = [x for x in wrt if x in below]
    after = after_differentiating(options.skip)
    prepared, notes = watch.run(after_declaring(options.skip, bool(reached)), list(declared.values()), "outputs")
    outputs = dict(zip(names, prepared, strict=True))
    files = files_of(toposort([*declared.values(), *updates.values()], all_inputs))
    inputs = tuple(x for x in toposort(roots, all_inputs) if isinstance(x, Leaf))
    requests = RequestLowering(formula, files)
    builder = Builder(model.name, requests, (*told, *looped.notes, *notes), inputs)

    taken = {*outputs, *(x.name for x in builder.leaves), *sizes_of(roots), *(x.name for x in rows)}
    cotangents = fresh_names({k: f"d_{k}" for k in floats}, taken)
    gradients = fresh_names({x: f"d_{x.name}" for x in reached}, taken)
    nexts = fresh_names({x: f"{x.name}_next" for x in updates}, taken)
    requests.public = frozenset(taken)
    requests.declared |= {name: x.serial for x, name in gradients.items()}
    if reached:
        seeds = [leaf(cotangents[k], outputs[k].shape, outputs[k].dtype, "cotangent") for k in floats]
        pulled = vjp_nodes([outputs[k] for k in floats], seeds, reached)
        _optimise_pair(builder, watch, after, outputs, dict(zip(gradients.values(), pulled, strict=True)), stages)
    else:
        final, notes = watch.run(after, list(outputs.values()), "forward")
        builder.add("forward", Request(_roots(outputs, final)), notes=notes)

    if reached and model.loss is not None:
        below_loss = set(toposort([declared[model.loss]]))
        mine = {x: gradients[x] for x in reached if x in below_loss}
        _add_value_and_grad(builder, watch, after, outputs, outputs[model.loss], mine)
    if updates:
        settled, before = watch.run(
            after_declaring(options.skip, differentiated=False), list(updates.values()), "updates"
        )
        _add_step(builder, watch, after, outputs, dict(zip(nexts, settled, strict=True)), nexts, before)
    checks = _add_checks(builder, watch, after, [*declared.values(), *updates.values()], taken)
    parts = FIXED_PARTS if options.deterministic else None
    checked = established([*declared.values(), *updates.values()])
    drafts = watch.statements((*ON_STATEMENTS, *ON_TARGET[options.target]), builder.drafts)
    head = shortened(header(written.outputs, files)) if rows else header(declared, files)
    program = builder.program(drafts, head, parts, checked)
    stacks, of_rows = stacks_of(program, looped.stacks, leaves, gradients, taken)
    program = replace(program, stacks=stacks)
    program = watch.programs(on_programs(builder.telling, watch.seen), program)
    derivatives = {**{name: k for k, name in cotangents.items()}, **{name: x.name for x, name in gradients.items()}}
    derivatives |= of_rows
    messages = {name: x.message for name, x in checks.items()}
    counts = not all(x.labelled for x in checks.values())
    updated = tuple(x.name for x in written.updates)
    return Compiled(program, leaves, declared, updates, updated, stages, messages, counts, derivatives)


def _kept_inside(program: Program, telling: OnProgram, seen: Seen | None) -> Program:
    """The program, legal; seldom are there guards to add: where the loops do not show what keeps an access inside.

    Raises:
        ProgramError: it is not legal with them either, which is a bug.
    """
    if not violations(program, unify(program), seen):
        return program
    guarded = telling(keep_inside(program))
    verify_program(guarded, unify(guarded), seen)
    return guarded


def _add_value_and_grad(
    builder: Builder,
    watch: Watch,
    after: Passes,
    outputs: Mapping[str, Node],
    loss: Node,
    gradients: Mapping[Leaf, str],
) -> None:
    """The outputs, and the gradient of one of them."""
    pulled = vjp_nodes([loss], [pointwise(loss.shape, call(loss.dtype, number(1)))], list(gradients))
    final, notes = watch.run(after, [*outputs.values(), *pulled], "value_and_grad")
    ahead, back = final[: len(outputs)], final[len(outputs) :]
    _add_joint(builder, "value_and_grad", _roots(outputs, ahead), _roots(gradients.values(), back, "gradient"), notes)


def _add_step(
    builder: Builder,
    watch: Watch,
    after: Passes,
    outputs: Mapping[str, Node],
    updates: Mapping[Leaf, Node],
    names: Mapping[Leaf, str],
    before: tuple[str, ...],
) -> None:
    """The outputs, and what becomes of parameters and states; `before` says what was done to the updates."""
    final, notes = watch.run(after, [*outputs.values(), *updates.values()], "step")
    ahead, new = final[: len(outputs)], final[len(outputs) :]
    overwriting = (Root(names[x], n, "state", overwrites=x) for x, n in zip(updates, new, strict=True))
    _add_joint(builder, "step", _roots(outputs, ahead), tuple(overwriting), (*before, *notes))


def _add_joint(
    builder: Builder, name: str, ahead: tuple[Root, ...], back: tuple[Root, ...], notes: tuple[str, ...]
) -> None:
    """Outputs and what is derived from them as one program, or as two where one would keep too much."""
    saved = tuple(choose_saved([r.node for r in ahead], [r.node for r in back]))
    apart = [Request(ahead, saved=saved), Request(back, given=saved)]
    builder.add(name, Request((*ahead, *back)), apart, notes)


def _add_checks(
    builder: Builder, watch: Watch, after: Passes, declared: Sequence[Node], taken: set[str]
) -> dict[str, Outside]:
    """The entry point `check`, where data decides subscripts: how many of them leave their axes, message by message."""
    found = outside(declared)
    if not found:
        return {}
    names = fresh_names({x: f"outside_{k}" for k, x in enumerate(found, 1)}, taken)
    final, notes = watch.run(after, [x.count for x in names], "check")
    builder.add("check", Request(_roots(names.values(), final)), notes=notes)
    return {name: x for x, name in names.items()}


def _optimise_pair(
    builder: Builder,
    watch: Watch,
    after: Passes,
    outputs: Mapping[str, Node],
    gradients: Mapping[str, Node],
    stages: dict[str, tuple[tuple[str, Node], ...]],
) -> None:
    """forward and backward: optimised together, so that they agree on what is saved; scheduled apart."""
    final, notes = watch.run(after, [*outputs.values(), *gradients.values()], "forward and backward")
    ahead, back = final[: len(outputs)], final[len(outputs) :]
    stages["adjoint"] = tuple(zip(gradients, back, strict=True))
    saved = tuple(choose_saved(ahead, back))
    builder.add("forward", Request(_roots(outputs, ahead), saved=saved))
    builder.add("backward", Request(_roots(gradients, back, "gradient"), given=saved), notes=notes)


def _roots(names: Iterable[str], nodes: Sequence[Node], role: Role = "output") -> tuple[Root, ...]:
    return tuple(Root(name, node, role) for name, node in zip(names, nodes, strict=True))


__all__ = [
    "AFTER_DIFFERENTIATING", "ON_STATEMENTS", "ON_TARGET", "Compiled", "Model", "after_declaring", "compile_model",
    "on_programs",
]  # fmt: skip
