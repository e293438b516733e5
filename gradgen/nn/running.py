"""Running statistics, and steps that are counted: what training changes beside the parameters, as formulas.

In: layers that have been called in training. Out: `{tensor: its next value}` for `gg.compile(..., updates=...)`.
"""

from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from gradgen.graph.nodes import all_inputs, toposort
from gradgen.graph.origin import naming
from gradgen.graph.tensor import Tensor
from gradgen.nn.modules import Module

__all__ = ["Running", "note_call", "running_updates"]


@runtime_checkable
class Running(Protocol):
    """A layer that carries states from step to step, such as statistics of its inputs."""

    def following(self, x: Tensor, before: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """The states after one more input, from those before it; what is not in `before` is what is carried."""
        ...


_calls: WeakKeyDictionary[Module, list[Tensor]] = WeakKeyDictionary()  # with what a layer was called in training


def note_call(layer: Module, x: Tensor) -> None:
    """Remember what a layer is called with in training; of the same tensor, once."""
    seen = _calls.setdefault(layer, [])
    if all(x.node is not other.node for other in seen):
        seen.append(x)


def running_updates(layer: Module, *outputs: Tensor) -> dict[Tensor, Tensor]:
    """What a step of training makes of the states of a layer and of all layers inside, beside what the optimiser does.

    These are running statistics, which change as PyTorch changes them, and the number of steps that dropout draws by.

        loss = nn.cross_entropy(net(x), b)
        updates = {**gg.optim.adam(loss), **nn.running_updates(net, loss)}
        step = gg.compile({"loss": loss}, updates=updates)

    They have no gradient. Statistics of a layer that is called twice take both inputs, one after the other.

    Args:
        layer: it has been called, in training (see `Module.train`); layers that have not are left as they are.
        outputs: tensors; with them only those calls count that they depend on. Give the loss where one layer is called
            for several networks.

    Raises:
        GraphError: a layer that carries statistics was called inside a scan, whose steps cannot change them.
    """
    reached = {id(n) for n in toposort([y.node for y in outputs], all_inputs)}
    updates: dict[Tensor, Tensor] = {}
    for _, inner in layer.named_modules():
        if not isinstance(inner, Running):
            continue
        values: dict[Tensor, Tensor] = {}
        for x in _calls.get(inner, []):
            if outputs and id(x.node) not in reached:
                continue
            values = inner.following(x, values)
        updates |= values
    return updates


def mixed(statistic: Tensor, before: dict[Tensor, Tensor], own: Tensor, share: Any) -> Tensor:
    """(1 - share) * what the statistic was + share * that of the input, which has no gradient here."""
    with naming(f"{statistic.name}_next"):
        return (1 - share) * before.get(statistic, statistic) + share * own  # type: ignore[no-any-return]
