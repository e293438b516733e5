"""What every stage made of a network: formulas after each pass, loops, the emitted text.

In: a network. Out: text, for `gradgen show` and `net.show`.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import StrEnum
from typing import Protocol

from gradgen.emit.cpu_passes import FOR_CPU, for_cpu
from gradgen.errors import GraphError, OptionError
from gradgen.graph.nodes import Node, all_inputs, leaf, pointwise, toposort
from gradgen.graph.scalar import FLOATS, call, number
from gradgen.inspect.programs import program_text
from gradgen.inspect.text import named_graph_text
from gradgen.model import Model
from gradgen.options import Options
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.prepare.retarget import retarget
from gradgen.pipeline import (
    AFTER_DIFFERENTIATING,
    ON_STATEMENTS,
    ON_TARGET,
    Compiled,
    after_declaring,
    compile_model,
    on_programs,
)
from gradgen.watch import Watch

__all__ = ["PASSES", "Stage", "after_pass", "later_texts", "looked_at", "pass_name", "stage_text", "stages"]


class Network(Protocol):
    """What is asked of a network, which `network.Network` answers."""

    source: str

    @property
    def model(self) -> Model: ...
    @property
    def options(self) -> Options: ...
    @property
    def compiled(self) -> Compiled: ...


class Stage(StrEnum):
    """What `gradgen show --stage` prints, and `net.show`."""

    graph = "graph"
    adjoint = "adjoint"
    program = "program"
    source = "source"


def pass_name(name: str) -> str:
    """The name of a pass as `--after` takes it, without spaces."""
    return name.replace(" ", "-")


# What is behind the graph: statements, programs, what the CPU target makes of them; with the reason for each.
_LATER = {
    "lower": "which formulas share loops and where values live is decided; what happens in the loops is written out",
    **{name: why for name, _, why in (*ON_STATEMENTS, *ON_TARGET["cpu"])},
    "cut": "functions of bounded size",
    **{name: why for name, _, why in on_programs()},
    **{name: why for name, _, why in FOR_CPU},
}

# What `gradgen show --after` and `net.show(after=...)` accept, in the order in which it happens.
PASSES = (
    "declare",
    *(pass_name(p[0]) for p in after_declaring()),
    "differentiate",
    *(pass_name(p[0]) for p in AFTER_DIFFERENTIATING),
    *map(pass_name, _LATER),
)


def looked_at(network: Network, stage: str | None, after: str | None) -> str:
    """A stage, that of declared formulas by default, or what a pass leaves.

    Raises:
        OptionError: no such stage or pass, or both.
        GraphError: as `stage_text` and `after_pass`.
    """
    if stage is not None and after is not None:
        raise OptionError("show takes a stage or the name of a pass (after=...), not both.")
    if after is not None:
        if not isinstance(after, str) or pass_name(after) not in PASSES:
            others = _meant(after, PASSES, Stage) or f"; the passes are {', '.join(PASSES)}."
            raise OptionError(f"show: there is no pass {after!r}{others}")
        return after_pass(network, pass_name(after))
    if stage is not None and stage not in list(Stage):
        others = _meant(stage, Stage, PASSES) or f"; the stages are {', '.join(Stage)}."
        raise OptionError(f"show: there is no stage {stage!r}{others}")
    return stage_text(network, Stage(stage or Stage.graph))


def _meant(given: object, known: Iterable[str], others: Iterable[str]) -> str:
    """The end of a message about a stage or a pass that there is not: a name near to it, or the other kind's."""
    if not isinstance(given, str):
        return ""
    name = pass_name(given).lower()
    near = get_close_matches(name, known, 1) or [x for x in others if x == name]
    if not near:
        return ""
    call = f'"{near[0]}"' if near[0] in list(Stage) else f'after="{near[0]}"'
    return f": did you mean net.show({call})?"


def stage_text(network: Network, stage: Stage) -> str:
    """A stage as text.

    Raises:
        GraphError: the adjoint of a network without a gradient.
    """
    match stage:
        case Stage.source:
            return network.source
        case Stage.program:
            return program_text(for_cpu(network.compiled.program))
    found = network.compiled.stages.get(stage.value)
    if found is None:
        raise GraphError(f"{network.model.name} has no {stage.value}: no output depends on a float parameter.")
    return named_graph_text(dict(found))


def after_pass(network: Network, wanted: str) -> str:
    """The formulas or the statements after a pass, by its name in `PASSES`.

    Raises:
        GraphError: a network without a gradient gets no further than `differentiate`.
    """
    later = {pass_name(name): reason for name, reason in _LATER.items()}
    if wanted in later:
        return f"# after {wanted}: {later[wanted]}\n{later_texts(network)[wanted]}"
    for name, reason, roots in stages(network):
        if name == wanted:
            return f"# after {name}: {reason}\n{named_graph_text(roots)}"
    raise GraphError(f"{network.model.name} has no gradient, so nothing comes after {wanted}.")


def later_texts(network: Network) -> dict[str, str]:
    """Statements and programs behind every pass that is behind the graph, in their order, by the names of `PASSES`."""
    watch = Watch(0, {})
    program = compile_model(network.model, network.options, watch).program
    texts = {**(watch.texts or {}), **{name: program_text(for_cpu(program, name)) for name, _, _ in FOR_CPU}}
    return {pass_name(name): texts[name] for name in _LATER}


def stages(network: Network) -> Iterator[tuple[str, str, dict[str, Node]]]:
    """Every pass's name and reason, and the outputs and gradients as it leaves them.

    The gradients are those of the scalar output, or products with cotangents `d_y` where no scalar was chosen.
    """
    model, options = network.model, network.options
    names = list(model.outputs)
    roots, leaves = retarget([*model.outputs.values(), *model.wrt], options.dtype, options.sizes)
    declared = dict(zip(names, roots, strict=False))
    current = list(declared.values())
    yield "declare", "as written", declared
    watch = Watch(0)
    for step in after_declaring(options.skip):
        name, _, reason = step
        current, _ = watch.run([step], current, "outputs")
        yield pass_name(name), reason, dict(zip(names, current, strict=True))
    outputs = dict(zip(names, current, strict=True))
    chosen = {model.loss: outputs[model.loss]} if model.loss is not None else outputs
    seeded = [(name, y, _seed(name, y, model.loss)) for name, y in chosen.items() if y.dtype in FLOATS]
    below = set(toposort([declared[name] for name, _, _ in seeded], all_inputs))
    wrt = [x for x in (leaves.get(x, x) for x in model.wrt) if x in below]
    if wrt:
        current = [*current, *vjp_nodes([y for _, y, _ in seeded], [d for _, _, d in seeded], wrt)]
    names += [f"d_{x.name}" for x in wrt]
    yield "differentiate", "one rule for every formula", dict(zip(names, current, strict=True))
    for step in AFTER_DIFFERENTIATING:
        name, _, reason = step
        current, _ = watch.run([step], current, "outputs and gradients")
        yield pass_name(name), reason, dict(zip(names, current, strict=True))


def _seed(name: str, y: Node, loss: str | None) -> Node:
    one = pointwise(y.shape, call(y.dtype, number(1)))
    return one if name == loss else leaf(f"d_{name}", y.shape, y.dtype, "input")
