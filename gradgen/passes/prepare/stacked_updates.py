"""Updates of parameters that have become rows of a stack: one formula for all of them, and stacks for their states.

In: updates as declared, and a loop in the place of equal layers. Out: updates over stacks. The derivatives in them were
taken of the layers one by one; they are taken anew, of the loop.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from gradgen.graph.derivatives import derivative, remember_derivatives
from gradgen.graph.names import common_name
from gradgen.graph.nodes import Leaf, Node, all_inputs, leaf, same_shape, toposort
from gradgen.graph.scalar import Scalar, integer, step
from gradgen.passes.prepare.equal_layers import Layers
from gradgen.passes.rebuild.all_steps import lift, row
from gradgen.passes.rebuild.nodes import replace_nodes

__all__ = ["stacked_updates"]

Gradient = Callable[[Node, Sequence[Leaf], frozenset[str]], list[Node]]  # of a scalar by leaves, without some rewrites
Stacks = dict[Leaf, tuple[Leaf, ...]]
_LAYER = 1 << 16  # the depth of a loop over layers that is never written: no scan is so deep


def stacked_updates(
    updates: Mapping[Leaf, Node], layers: Layers, gradient: Gradient, taken: set[str]
) -> tuple[dict[Leaf, Node], Stacks] | None:
    """Updates over stacks, and all stacks, of states too; None where the rows of a stack are not updated alike."""
    rows = layers.rows()
    derived = _derived_anew(updates.values(), layers, rows, gradient)
    if derived is None:
        return None
    anew, wholes = derived
    changed = dict(
        zip(updates, replace_nodes(list(updates.values()), {**layers.replaced, **rows, **anew}), strict=True)
    )
    stacks = _with_states(dict(layers.stacks), changed, taken)
    if stacks is None:
        return None
    states = [s for s in stacks if s not in layers.stacks]
    any_layer = step(_LAYER)

    def at(k: Scalar) -> list[Node]:
        return [row(x, k) for x in (*stacks, *wholes)]

    def of_layer(k: int) -> list[Node]:
        """What stands in the updates of a layer for its rows."""
        return [stacks[x][k] if x in states else row(x, integer(k)) for x in (*stacks, *wholes)]

    found: dict[Leaf, Node] = {}
    members = {x: (stack, k) for stack, several in stacks.items() for k, x in enumerate(several)}
    every_row: dict[Node, Node] = {x: row(stack, integer(k)) for x, (stack, k) in members.items() if stack in states}
    for x, new in changed.items():
        if x not in members:
            found[x] = replace_nodes([new], every_row)[0]
            continue
        stack, _ = members[x]
        if stack in found:
            continue
        several = stacks[stack]
        if any(y not in changed for y in several):
            return None
        fixed = _common([changed[y] for y in several], {n for k in range(len(several)) for n in of_layer(k)})
        general = dict(zip(of_layer(0), at(any_layer), strict=True))
        (update,) = replace_nodes([changed[several[0]]], {**fixed, **general})
        for k, y in enumerate(several):
            if replace_nodes([update], dict(zip(at(any_layer), of_layer(k), strict=True)))[0] is not changed[y]:
                return None
        found[stack] = lift(update, integer(len(several)), _LAYER)
    return found, stacks


def _common(updates: Sequence[Node], rows: set[Node]) -> dict[Node, Node]:
    """What all updates read, and no row is: the norm of all gradients, say. It stays as it is."""
    first, *others = (set(toposort([n], all_inputs)) for n in updates)
    return {n: n for n in first.intersection(*others) - rows}


def _derived_anew(
    updates: Iterable[Node], layers: Layers, rows: Mapping[Node, Node], gradient: Gradient
) -> tuple[dict[Node, Node], list[Node]] | None:
    """For derivatives of what the layers compute those of the loop, and the derivatives by whole stacks."""
    members = {x: (stack, k) for stack, several in layers.stacks.items() for k, x in enumerate(several)}
    wanted: dict[tuple[Node, frozenset[str]], dict[Node, Leaf]] = {}
    through: dict[Node, bool] = {}  # whether a scalar depends on the layers
    for n in toposort(list(updates), all_inputs):
        known = derivative(n)
        if known is None:
            continue
        if known.of not in through:
            through[known.of] = not layers.replaced.keys().isdisjoint(toposort([known.of], all_inputs))
        if through[known.of]:
            wanted.setdefault((known.of, known.skip), {})[n] = known.by
    found: dict[Node, Node] = {}
    wholes: dict[Node, None] = {}
    for (of, skip), by_node in wanted.items():
        (looped,) = replace_nodes([of], {**layers.replaced, **rows})
        by = list(dict.fromkeys(members[x][0] if x in members else x for x in by_node.values()))
        gradients = dict(zip(by, gradient(looped, by, skip), strict=True))
        remember_derivatives(looped, by, list(gradients.values()), skip)
        for n, x in by_node.items():
            if x in members:
                stack, k = members[x]
                wholes[gradients[stack]] = None
                found[n] = row(gradients[stack], integer(k))
            else:
                found[n] = gradients[x]
    return found, list(wholes)


def _with_states(stacks: Stacks, changed: Mapping[Leaf, Node], taken: set[str]) -> Stacks | None:
    """Stacks, and one for every state that each of their rows has for itself."""
    waiting = [members for members in stacks.values() if members[0] in changed]
    owned: set[Leaf] = set()
    while waiting:
        members = waiting.pop()
        if any(x not in changed for x in members):
            return None
        columns = [[x for x in _states(changed[y]) if x in changed] for y in members]
        if len({len(column) for column in columns}) > 1:
            return None
        for several in zip(*columns, strict=True):
            if len(set(several)) == 1 or several in stacks.values():
                continue
            alike = all(same_shape(x.shape, several[0].shape) and x.dtype == several[0].dtype for x in several)
            if len(set(several)) < len(several) or not owned.isdisjoint(several) or not alike:
                return None
            owned.update(several)
            name = common_name([x.name for x in several], taken)
            taken.add(name)
            stacks[leaf(name, (integer(len(several)), *several[0].shape), several[0].dtype, "state")] = several
            waiting.append(several)
    return stacks


def _states(update: Node) -> list[Leaf]:
    return [x for x in toposort([update], all_inputs) if isinstance(x, Leaf) and x.role == "state"]
