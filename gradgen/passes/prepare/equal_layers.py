"""Equal layers that a model writes one after the other are one loop: a scan over their parameters, stacked.

In: outputs as declared. Out: the outputs over the loop, and which parameters have become rows of which stack. One
layer goes through all passes then, and its adjoint is one step of a loop backwards; time does not grow with the depth.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradgen.graph.names import common_name
from gradgen.graph.nodes import (
    Compute,
    Leaf,
    Node,
    Reshape,
    all_inputs,
    carry,
    leaf,
    project,
    same_shape,
    scan,
    toposort,
)
from gradgen.graph.origin import carry_origin
from gradgen.graph.scalar import integer, loads, step
from gradgen.machine import machine
from gradgen.passes.rebuild.all_steps import row
from gradgen.passes.rebuild.nodes import rebuild, replace_loads

__all__ = ["Layers", "as_loop"]

_STANDS_IN = 1 << 20  # the depth of carries that stand for the operands of a form; no scan is so deep


@dataclass(frozen=True, slots=True)
class Layers:
    """A loop in the place of equal layers: what it makes of nodes, and the parameters in each stack, in order."""

    replaced: Mapping[Node, Node]
    stacks: Mapping[Leaf, tuple[Leaf, ...]]

    def rows(self) -> dict[Node, Node]:
        """For every parameter the row that it has become."""
        return {x: row(stack, integer(k)) for stack, members in self.stacks.items() for k, x in enumerate(members)}


@dataclass(frozen=True, slots=True)
class _Run:
    """`layers` of nodes, one like the other; what each hands to the next, and the parameters that each has for itself.

    `carries` are places in a layer, `inits` what the first layer finds instead; `parameters` one tuple over the layers
    for each.
    """

    layers: tuple[tuple[Node, ...], ...]
    carries: tuple[int, ...]
    inits: tuple[Node, ...]
    parameters: tuple[tuple[Leaf, ...], ...]

    @property
    def size(self) -> int:
        return len(self.layers) * len(self.layers[0])


TooLarge = Callable[[Iterable[Node], Iterable[Node]], set[Node]]  # the values among nodes that outgrow others


def as_loop(roots: Sequence[Node], taken: Iterable[str], too_large: TooLarge) -> Layers | None:
    """The longest run of equal layers as a loop; None where there are none, or where loops are no better.

    A value that is `too_large` beside what the caller holds is computed in parts, where its layer stands alone; a loop
    would keep all of it for its adjoint.
    """
    run = _longest(roots)
    held = [x for x in toposort(roots, all_inputs) if isinstance(x, Leaf)]
    return None if run is None or too_large(run.layers[0], held) else _looped(run, set(taken))


# ---------------------------------------------------------------- to find them


def _longest(roots: Sequence[Node]) -> _Run | None:
    """The run of the most nodes that is legal as a loop."""
    order = toposort(roots, all_inputs)
    line = [n for n in order if not isinstance(n, Leaf) and not n.steps]
    forms = _numbered(line)
    least = machine().repetitions
    candidates: list[tuple[int, int, int]] = []  # nodes, period, start
    for period in range(1, min(len(line) // least, machine().layer) + 1):
        at = 0
        while at + period < len(line):
            length = 0
            while at + length + period < len(line) and forms[at + length] == forms[at + length + period]:
                length += 1
            if length >= (least - 1) * period:
                candidates.append((length // period * period + period, period, at))
            at += length + 1
    readers = defaultdict[Node, list[Node]](list)
    for n in order:
        for x in all_inputs(n):
            readers[x].append(n)
    for nodes, period, start in sorted(candidates, key=lambda c: (-c[0], c[1], c[2])):
        if nodes < machine().layers:
            break
        found = [
            run
            for first in range(start, start + period)
            if (run := _run(line, forms, first, period, roots, readers)) is not None
        ]
        if found:
            return max(found, key=lambda run: (run.size, -len(run.carries)))
    return None


def _numbered(line: Sequence[Node]) -> list[int]:
    """A number for the form of every node: equal where nodes differ in what they read only."""
    known: dict[object, int] = {}
    return [known.setdefault(_form(n), len(known)) for n in line]


def _form(node: Node) -> object:
    match node:
        case Compute():
            stand_ins: dict[Node, Node] = {
                x: carry(k, x.shape, x.dtype, _STANDS_IN) for k, x in enumerate(_operands(node))
            }
            target = tuple(replace_loads(t, stand_ins) for t in node.target)
            return (node.shape, node.extents, node.reducer, target, replace_loads(node.body, stand_ins))
        case Reshape():
            return (node.source.shape, node.shape, node.dtype)
    return node


def _operands(node: Node) -> list[Node]:
    if isinstance(node, Compute):
        return list(dict.fromkeys(access.tensor for access in loads(node.body, *node.target)))
    return list(all_inputs(node))


def _run(
    line: Sequence[Node],
    forms: Sequence[int],
    first: int,
    period: int,
    roots: Sequence[Node],
    readers: Mapping[Node, Sequence[Node]],
) -> _Run | None:
    """The layers from a node on, as many as hang together in the same way."""
    count = 1
    while forms[first : first + period] == forms[first + count * period : first + (count + 1) * period]:
        count += 1
    layers = [tuple(line[first + p * period : first + (p + 1) * period]) for p in range(count)]
    while len(layers) >= max(machine().repetitions, 2):
        place = {n: (p, k) for p, layer in enumerate(layers) for k, n in enumerate(layer)}
        ties = [_ties(layer, p, place) for p, layer in enumerate(layers)]
        same = next((p for p in range(2, len(layers)) if ties[p] != ties[1]), len(layers))
        if same == len(layers):
            return _tied(layers, ties[1], place, roots, readers)
        layers = layers[:same]
    return None


Tie = tuple[str, int] | Node


def _ties(layer: Sequence[Node], p: int, place: Mapping[Node, tuple[int, int]]) -> list[list[Tie]]:
    """What every node of a layer reads: a node of its own layer, of the one before, a parameter, or something else."""
    found: list[list[Tie]] = []
    for n in layer:
        ties: list[Tie] = []
        for x in _operands(n):
            q, k = place.get(x, (-1, 0))
            if q >= 0 and q in (p, p - 1):
                ties.append(("own" if q == p else "before", k))
            else:
                ties.append(("parameter", 0) if isinstance(x, Leaf) and x.role == "param" else x)
        found.append(ties)
    return found


def _tied(
    layers: Sequence[tuple[Node, ...]],
    ties: Sequence[Sequence[Tie]],
    place: Mapping[Node, tuple[int, int]],
    roots: Sequence[Node],
    readers: Mapping[Node, Sequence[Node]],
) -> _Run | None:
    """The run, if the first layer finds something for every carry, and nobody reads what is inside of a layer."""
    inits: dict[int, Node] = {}
    parameters: dict[tuple[Leaf, ...], None] = {}
    outside: dict[Node, None] = {}
    for k, row_of_ties in enumerate(ties):
        columns = zip(*(_operands(layer[k]) for layer in layers), strict=True)
        for tie, column in zip(row_of_ties, columns, strict=True):
            x = column[0]
            match tie:
                case ("own", int(at)):
                    if place.get(x) != (0, at):
                        return None
                case ("before", int(at)):
                    if inits.setdefault(at, x) is not x:
                        return None
                case ("parameter", _):
                    members = [y for y in column if isinstance(y, Leaf) and y.role == "param"]
                    if len(members) < len(column):
                        return None
                    if len(set(members)) == len(members):
                        parameters[tuple(members)] = None
                    elif len(set(members)) > 1:
                        return None
                case _ if any(y is not x for y in column):
                    return None
                case _:
                    outside[x] = None
    owners = [x for members in parameters for x in members]
    alike = all(same_shape(x.shape, m[0].shape) and x.dtype == m[0].dtype for m in parameters for x in m)
    if not parameters or not inits or not alike or len(set(owners)) < len(owners):
        return None
    for at, init in inits.items():
        after = layers[0][at]
        if not same_shape(init.shape, after.shape) or init.dtype != after.dtype or init.steps:
            return None
    handed = {layer[at] for layer in layers for at in inits}
    read = {x for x in place if x in roots or any(n not in place for n in readers.get(x, ()))}
    below = toposort([*outside, *inits.values()], all_inputs)
    if read - handed or any(n in place for n in below):
        return None
    carries = tuple(sorted(inits))
    return _Run(tuple(layers), carries, tuple(inits[at] for at in carries), tuple(parameters))


# ---------------------------------------------------------------- to write them


def _looped(run: _Run, taken: set[str]) -> Layers:
    """The loop, over the second layer, which reads the one before as all others do."""
    count, second = len(run.layers), run.layers[1]
    stacks: dict[Leaf, tuple[Leaf, ...]] = {}
    for members in run.parameters:
        name = common_name([x.name for x in members], taken)
        taken.add(name)
        stack = leaf(name, (integer(count), *members[0].shape), members[0].dtype, "param")
        stacks[stack] = members
    carries = [carry(k, second[at].shape, second[at].dtype, 0) for k, at in enumerate(run.carries)]
    built: dict[Node, Node] = {run.layers[0][at]: c for at, c in zip(run.carries, carries, strict=True)}
    built |= {members[1]: row(stack, step(0)) for stack, members in stacks.items()}
    for n, like in zip(second, run.layers[0], strict=True):
        built[n] = rebuild(n, built)
        carry_origin(like, built[n])
    loop = scan(integer(count), 0, carries, run.inits, [built[second[at]] for at in run.carries], [])
    replaced: dict[Node, Node] = {}
    for k, at in enumerate(run.carries):
        states = project(loop, "states", k)
        for p, layer in enumerate(run.layers):
            replaced[layer[at]] = row(states, integer(p + 1))
        carry_origin(run.layers[-1][at], replaced[run.layers[-1][at]])
    return Layers(replaced, stacks)
