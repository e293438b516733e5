"""Running statistics, and steps that are counted: what training changes beside the parameters, as formulas.

In: layers that have been called in training. Out: `{tensor: its next value}` for `gg.compile(..., updates=...)`, and
which states updates have left out.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from gradgen.graph.nodes import Node, all_inputs, toposort
from gradgen.graph.origin import naming
from gradgen.graph.tensor import Tensor
from gradgen.nn.modules import Module

__all__ = ["Running", "left_alone", "note_call", "note_carried", "running_updates"]


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


@dataclass(frozen=True, slots=True)
class _Carried:
    states: Callable[[], Sequence[Tensor]]  # declared when they are asked for, and none where the layer is gone
    otherwise: str  # what comes of it where no update changes them


_carried: WeakKeyDictionary[Node, _Carried] = WeakKeyDictionary()  # by what only a network in training computes


def note_carried(of: Tensor, states: Callable[[], Sequence[Tensor]], otherwise: str) -> None:
    """Remember which states a step of training should change, if it computes this tensor."""
    _carried[of.node] = _Carried(states, otherwise)


def left_alone(roots: Iterable[Node], updated: Collection[Node]) -> dict[str, list[str]]:
    """The names of the states that a step should change and does not, by what comes of it."""
    found: dict[str, list[str]] = {}
    for carried in (_carried[n] for n in toposort(roots, all_inputs) if n in _carried):
        states = carried.states()
        if all(x.node not in updated for x in states):
            found.setdefault(carried.otherwise, []).extend(str(x.name) for x in states)
    return {otherwise: list(dict.fromkeys(names)) for otherwise, names in found.items() if names}


def mixed(statistic: Tensor, before: dict[Tensor, Tensor], own: Tensor, share: Any) -> Tensor:
    """(1 - share) * what the statistic was + share * that of the input, which has no gradient here."""
    with naming(f"{statistic.name}_next"):
        return (1 - share) * before.get(statistic, statistic) + share * own  # type: ignore[no-any-return]
