"""What is compiled, as it was declared; and the same with its equal layers as loops, before any other pass.

In: outputs, gradients, updates. Out: a `Model`, and which leaves have become the rows of which stacks; behind the
passes, these stacks as arrays of a program, whose rows callers know by the names they gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradgen.graph.intern import intern
from gradgen.graph.names import fresh_names
from gradgen.graph.nodes import Leaf, Node, all_inputs, pointwise, toposort
from gradgen.graph.scalar import call, number
from gradgen.passes.derive.reverse import vjp_nodes
from gradgen.passes.lower.naming import sizes_of
from gradgen.passes.prepare.equal_layers import Layers, as_loop
from gradgen.passes.prepare.sequence import prepare
from gradgen.passes.prepare.squeeze import squeeze
from gradgen.passes.prepare.stacked_updates import stacked_updates
from gradgen.passes.rebuild.nodes import replace_nodes
from gradgen.passes.schedule.too_large import outsized
from gradgen.program.kernels import Program, Stack
from gradgen.program.loops import Buffer

__all__ = ["Looped", "Model", "stacks_of", "with_loops"]


@dataclass(frozen=True, slots=True)
class Model:
    """What is compiled: outputs by name, the tensors of the gradients, the scalar to differentiate, the updates."""

    name: str
    outputs: Mapping[str, Node]
    wrt: tuple[Leaf, ...]
    loss: str | None
    updates: Mapping[Leaf, Node] = field(default_factory=dict)

    @property
    def roots(self) -> list[Node]:
        """Outputs, and what is updated, old and new."""
        return [*self.outputs.values(), *self.updates.values(), *self.updates]


@dataclass(frozen=True, slots=True)
class Looped:
    """A model whose equal layers are loops, and the leaves that are the rows of every stack."""

    model: Model
    stacks: Mapping[Leaf, tuple[Leaf, ...]]

    @property
    def rows(self) -> list[Leaf]:
        return [x for members in self.stacks.values() for x in members]

    @property
    def notes(self) -> tuple[str, ...]:
        """What `explain` says of it."""
        return tuple(
            f"{members[0].name} .. {members[-1].name}: of {len(members)} equal layers, which are one loop"
            for stack, members in self.stacks.items()
            if stack.role == "param"
        )


def with_loops(model: Model) -> Looped:
    """Equal layers that were written one after the other as loops over stacked parameters, where all is alike."""
    stacks: dict[Leaf, tuple[Leaf, ...]] = {}
    taken = {x.name for x in toposort(model.roots, all_inputs) if isinstance(x, Leaf)}
    taken |= {*model.outputs, *sizes_of(model.roots)}
    while True:
        layers = as_loop(list(model.outputs.values()), taken, outsized)
        if layers is None:
            return Looped(model, stacks)
        outputs = replace_nodes(list(model.outputs.values()), {**layers.replaced, **layers.rows()})
        stacked = stacked_updates(model.updates, layers, _derived, taken | {x.name for x in layers.stacks})
        wrt = _wrt_stacks(model.wrt, layers)
        if stacked is None or wrt is None:
            return Looped(model, stacks)
        updates, found = stacked
        gone = {*layers.replaced, *(x for members in found.values() for x in members)}
        if not gone.isdisjoint(toposort([*outputs, *updates.values()], all_inputs)):
            return Looped(model, stacks)
        taken |= {x.name for x in found}
        stacks |= found
        model = replace(model, outputs=dict(zip(model.outputs, outputs, strict=True)), wrt=wrt, updates=updates)


def _derived(of: Node, by: Sequence[Leaf], skip: frozenset[str]) -> list[Node]:
    """The derivatives of a scalar, with its value in the form that outputs get."""
    (prepared,) = prepare(squeeze([of]), skip)
    return vjp_nodes([prepared], [pointwise((), call(of.dtype, number(1)))], by)


def _wrt_stacks(wrt: Sequence[Leaf], layers: Layers) -> tuple[Leaf, ...] | None:
    """Stacks in the place of their rows; None where gradients are wanted by some rows of one only."""
    members = {x: stack for stack, several in layers.stacks.items() for x in several}
    chosen = {x for x in wrt if x in members}
    if any(0 < len(chosen.intersection(several)) < len(several) for several in layers.stacks.values()):
        return None
    return tuple(dict.fromkeys(members.get(x, x) for x in wrt))


def stacks_of(
    program: Program,
    stacks: Mapping[Leaf, tuple[Leaf, ...]],
    leaves: Mapping[Leaf, Leaf],
    gradients: Mapping[Leaf, str],
    taken: set[str],
) -> tuple[tuple[Stack, ...], dict[str, str]]:
    """The arrays of stacks with their rows; and for the names of the gradients of rows, what they are derivatives by.

    Args:
        program: where the arrays are.
        stacks: of the model.
        leaves: what has become of its leaves.
        gradients: the names of the gradients by leaves.
        taken: names that rows of gradients may not have.
    """
    arrays = {(b.name, b.role): b for b in program.buffers}
    found: list[Stack] = []
    derivatives: dict[str, str] = {}
    for stack, members in stacks.items():
        own, rows = leaves[stack], [leaves[x].name for x in members]
        whole = arrays.get((own.name, "param" if own.role == "param" else "state"))
        if whole is not None:
            found.append(_stack(whole, rows))
        gradient = arrays.get((gradients.get(own, ""), "gradient"))
        if gradient is not None:
            names = fresh_names({x: f"d_{x}" for x in rows}, taken)
            found.append(_stack(gradient, list(names.values())))
            derivatives |= {name: x for x, name in names.items()}
    return tuple(found), derivatives


def _stack(whole: Buffer, names: Sequence[str]) -> Stack:
    return Stack(whole, tuple(intern(Buffer, name, whole.shape[1:], whole.dtype, whole.role, None) for name in names))
