"""The compiler on one screen: what happens to a graph, in order, and why.

In: a `Model` (outputs, parameters, updates). Out: a `Program`, which `emit` renders.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen import env
from gradgen.emit.formula import formula
from gradgen.graph.nodes import Compute, Leaf, Node, Project, all_inputs, leaf, pointwise, toposort
from gradgen.graph.origin import carry_origin, origin
from gradgen.graph.scalar import FLOATS, call, number
from gradgen.options import Options
from gradgen.passes.build import Builder, Request, Root
from gradgen.passes.contract import contract
from gradgen.passes.differentiate import vjp_nodes
from gradgen.passes.gather import gather
from gradgen.passes.in_place import update_in_place
from gradgen.passes.naming import name_nodes
from gradgen.passes.orient import orient
from gradgen.passes.prepare import prepare, settle
from gradgen.passes.record import Rewrite
from gradgen.passes.reducers import lower_reducers
from gradgen.passes.retarget import retarget
from gradgen.passes.roll import roll
from gradgen.passes.saving import choose_saved
from gradgen.passes.separate import separate
from gradgen.passes.simplify import simplify
from gradgen.passes.squeeze import squeeze
from gradgen.passes.unify import unify
from gradgen.program.loops import Program
from gradgen.program.verify import verify_program


@dataclass(frozen=True, slots=True)
class Model:
    """What is compiled: outputs by name, the tensors of the gradients, the scalar to differentiate, the updates."""

    name: str
    outputs: Mapping[str, Node]
    wrt: tuple[Leaf, ...]
    loss: str | None
    updates: Mapping[Leaf, Node] = field(default_factory=dict)


Pass = Callable[[Sequence[Node]], list[Node] | tuple[list[Node], list[Rewrite]]]

AFTER_DECLARING: tuple[tuple[str, Pass, str], ...] = (
    ("squeeze", squeeze, "axes of one element would hide that formulas are equal"),
    ("prepare", prepare, "stable, branches closed, transcendentals alone: their adjoints read what they computed"),
)
BEFORE_UPDATING: tuple[tuple[str, Pass, str], ...] = (
    ("squeeze", squeeze, "as above, so that updates and outputs share what they have in common"),
    ("settle", settle, "gradients in updates are taken already: branches stay as they are"),
)
AFTER_DIFFERENTIATING: tuple[tuple[str, Pass, str], ...] = (
    ("simplify", simplify, "copies and decided conditions vanish before anything looks at subscripts"),
    ("gather", gather, "adjoint loops own what they write"),
    ("reduce", lower_reducers, "logsumexp becomes a maximum, a sum and a logarithm"),
    ("simplify again", simplify, "solved subscripts bring new conditions and copies"),
    ("orient", orient, "a gradient that is only read transposed is computed transposed"),
    ("contract", contract, "large sums of products get operands that are matrices"),
    ("separate", separate, "from here on it matters in which loop a value lives: scans have carries of their own"),
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program, the leaves that stand for the declared ones, and outputs and updates over these."""

    program: Program
    leaves: Mapping[Leaf, Leaf]
    outputs: Mapping[str, Node]
    updates: Mapping[Leaf, Node]
    stages: Mapping[str, tuple[tuple[str, Node], ...]]


def compile_model(model: Model, options: Options) -> Compiled:
    """Every pass, for every entry point."""
    names = list(model.outputs)
    roots, leaves = retarget(
        [*model.outputs.values(), *model.updates.values(), *model.wrt], options.dtype, options.sizes
    )
    declared = dict(zip(names, roots[: len(names)], strict=True))
    updates = dict(zip([leaves.get(x, x) for x in model.updates], roots[len(names) :], strict=False))
    wrt = [n for n in roots[len(names) + len(updates) :] if isinstance(n, Leaf)]
    stages: dict[str, tuple[tuple[str, Node], ...]] = {"graph": tuple(declared.items())}

    prepared = _run(AFTER_DECLARING, list(declared.values()))
    outputs = dict(zip(names, prepared, strict=True))
    builder = Builder(model.name, formula)

    seeds = {f"d_{k}": leaf(f"d_{k}", y.shape, y.dtype, "cotangent") for k, y in outputs.items() if y.dtype in FLOATS}
    below = set(toposort([outputs[k[2:]] for k in seeds]))
    reached = [x for x in wrt if x in below]
    if reached:
        pulled = vjp_nodes([outputs[k[2:]] for k in seeds], list(seeds.values()), reached)
        _optimise_pair(builder, outputs, pulled, reached, stages)
    else:
        final = _run(AFTER_DIFFERENTIATING, list(outputs.values()))
        builder.add("forward", Request(_roots(outputs, final)))

    if reached and model.loss is not None:
        loss = outputs[model.loss]
        below_loss = set(toposort([loss]))
        mine = [x for x in reached if x in below_loss]
        gradients = vjp_nodes([loss], [pointwise(loss.shape, call(loss.dtype, number(1)))], mine)
        final = _run(AFTER_DIFFERENTIATING, [*outputs.values(), *gradients])
        _add_joint(builder, "value_and_grad", _roots(outputs, final), _gradient_roots(mine, final[len(outputs) :]))
    if updates:
        settled = _run(BEFORE_UPDATING, list(updates.values()))
        final = _run(AFTER_DIFFERENTIATING, [*outputs.values(), *settled])
        new = tuple(
            Root(f"{x.name}_next", n, "state", overwrites=x)
            for x, n in zip(updates, final[len(outputs) :], strict=True)
        )
        _add_joint(builder, "step", _roots(outputs, final), new)
    program = update_in_place(builder.program(_formulas(declared)))
    if env.check():
        verify_program(program)
    return Compiled(roll(unify(program)), leaves, declared, updates, stages)


def _run(passes: Sequence[tuple[str, Pass, str]], roots: Sequence[Node]) -> list[Node]:
    current = list(roots)
    for _, run, _ in passes:
        result = run(current)
        current = result[0] if isinstance(result, tuple) else result
    return current


def _add_joint(builder: Builder, name: str, ahead: tuple[Root, ...], back: tuple[Root, ...]) -> None:
    """Outputs and what is derived from them as one program, or as two where one would keep too much."""
    saved = tuple(choose_saved([r.node for r in ahead], [r.node for r in back]))
    builder.add(name, Request((*ahead, *back)), [Request(ahead, saved=saved), Request(back, given=saved)])


def _optimise_pair(
    builder: Builder,
    outputs: Mapping[str, Node],
    pulled: Sequence[Node],
    reached: Sequence[Leaf],
    stages: dict[str, tuple[tuple[str, Node], ...]],
) -> None:
    """forward and backward: optimised together, so that they agree on what is saved; scheduled apart."""
    final = _run(AFTER_DIFFERENTIATING, [*outputs.values(), *pulled])
    ahead, back = final[: len(outputs)], final[len(outputs) :]
    stages["adjoint"] = tuple(zip([f"d_{x.name}" for x in reached], back, strict=True))
    saved = tuple(choose_saved(ahead, back))
    builder.add("forward", Request(_roots(outputs, ahead), saved=saved))
    builder.add("backward", Request(_gradient_roots(reached, back), given=saved))


def _roots(outputs: Mapping[str, Node], final: Sequence[Node]) -> tuple[Root, ...]:
    return tuple(Root(name, node, "output") for name, node in zip(outputs, final[: len(outputs)], strict=True))


def _gradient_roots(wrt: Sequence[Leaf], nodes: Sequence[Node]) -> tuple[Root, ...]:
    return tuple(Root(f"d_{x.name}", n, "gradient") for x, n in zip(wrt, nodes, strict=True))


def _formulas(outputs: Mapping[str, Node]) -> list[str]:
    """The model as the user wrote it, for the head of the generated file."""
    order = toposort(list(outputs.values()), all_inputs)
    names = name_nodes(order, {n: k for k, n in outputs.items() if not isinstance(n, Leaf)})
    lines = []
    for node in order:
        if isinstance(node, (Compute, Project)):
            found = origin(node)
            line = f"{found.line:4d}" if found is not None else "    "
            lines.append(f"{line}  {formula(node, names)}")
    return lines


__all__ = ["AFTER_DECLARING", "AFTER_DIFFERENTIATING", "Compiled", "Model", "carry_origin", "compile_model", "replace"]
