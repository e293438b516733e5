"""Names for every value of a program, from the user's own: `u1`, `d_u1`, `u1_max`; counters start at zero here.

In: the nodes of a program. Out: one identifier per node, unique in the generated file.
"""

import builtins
import keyword
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from gradgen.graph.names import CALLED, Names
from gradgen.graph.nodes import (
    COTANGENT,
    Carry,
    Compute,
    Leaf,
    Node,
    Project,
    Reshape,
    all_inputs,
    toposort,
)
from gradgen.graph.origin import origin
from gradgen.graph.scalar import Call, Const, Poly, Scalar, is_zero, loads
from gradgen.graph.sizes import size_names
from gradgen.program.kernels import ENTRY_POINTS

# What generated modules call by name.
GENERATED = (
    CALLED
    | {"njit", "NamedTuple", "FAST", "FAST_SCALAR"}
    | {"Params", "Work", "Outputs", "Gradients", "State", "workspace"}
    | {*ENTRY_POINTS}
)
RESERVED = GENERATED | {*keyword.kwlist, *dir(builtins)}


def name_nodes(
    order: Sequence[Node], fixed: Mapping[Node, str], reserved: Iterable[str] = (), rewritten: bool = True
) -> dict[Node, str]:
    """A name for every node: its leaf's, the one in `fixed`, the one that the user assigned, or one for what it does;
    d_u for the adjoint of u.

    Of a graph that is `rewritten`, the last of the nodes that a layer has left in it is called as the layer.
    """
    names: dict[Node, str] = {node: node.name for node in order if isinstance(node, Leaf)}
    names |= {node: fixed[node] for node in order if node in fixed}
    given = Names({*RESERVED, *reserved, *names.values()})
    values = [node for node in order if not _note(node) and not isinstance(node, Carry)]
    plain = {node: name for node, name in _outermost(values, rewritten).items() if node not in names}
    for node, name in plain.items():
        names[node] = given.free(name)
    given.taken |= {
        found.name for node in order if _note(node) and (found := origin(node)) and found.name
    }  # d_u is of u
    for node in values:
        if node not in names:
            names[node] = given.free(described(node, names))
    _name_derivatives(order, names, given)
    _name_carries(order, names, given)
    return names


def _name_derivatives(order: Sequence[Node], names: dict[Node, str], given: Names) -> None:
    """d_u for the last of the nodes that compute the adjoint of u; names that belong to no adjoint for the others."""
    found = ((origin(node), node) for node in order)
    marked: dict[int | None, Node] = {its.mark: node for its, node in found if its is not None and its.mark is not None}
    derivatives = sorted((node for node in order if _note(node)), key=lambda node: len(_note(node)))
    last = {(_note(node), _of(node)): node for node in derivatives}
    called = {f"{note}{name}" for note in {_note(node) for node in derivatives} for name in [*names.values()]}
    for node in derivatives:
        if node in names:
            continue
        name = _derived(node, marked.get(_of(node)), names) if last[_note(node), _of(node)] is node else None
        if name is None:
            name = described(node, names)
            is_adjoint = isinstance(node, Project) and node.kind == "states"  # of the states
            name = f"{name}_term" if name in called and not is_adjoint else name
        names[node] = given.free(name, _Except(called, name))


@dataclass(frozen=True, slots=True)
class _Except(Container[str]):
    """All of these names but one."""

    names: Set[str]
    own: str

    def __contains__(self, name: object) -> bool:
        return name in self.names and name != self.own


def _name_carries(order: Sequence[Node], names: dict[Node, str], given: Names) -> None:
    """h_carry where a step hands h to the next, d_h_carry where the adjoint hands on what it knows of d_h."""
    found: dict[Node, str] = {}
    for scan in dict.fromkeys(node.scan for node in order if isinstance(node, Project)):
        for k, carry in enumerate(scan.carries):
            following = _assigned(scan.nexts[k])
            found.setdefault(carry, f"{following}_carry" if following else "carry")
    for node in order:
        if isinstance(node, Carry) and node not in names:
            other = "cotangent" if node.number == COTANGENT else "carry"
            names[node] = given.free(found.get(node, other))


def _derived(node: Node, value: Node | None, names: Mapping[Node, str]) -> str | None:
    """What the derivative of a value is called: after the value, or after the statement that it was the result of."""
    found = origin(node)
    if found is None or found.of is None:
        return None
    if value is not None and value in names:
        return f"{found.note.removesuffix(_note(value))}{names[value]}"
    return None if found.is_given else found.bound_name


def sizes_of(roots: Sequence[Node]) -> list[str]:
    """The size symbols of a model, in the order in which they are met."""
    found: dict[str, None] = {}
    for node in toposort(roots, all_inputs):
        mentioned: list[Scalar] = [*node.shape]
        if isinstance(node, Compute):
            mentioned += [*node.extents, *node.target, node.body]
        if isinstance(node, Project):
            mentioned.append(node.scan.length)
        found.update(dict.fromkeys(name for part in mentioned for name in size_names(part)))
    return list(found)


def is_named_by_user(node: Node, name: str) -> bool:
    """Whether a name is the user's own, so that its formula stands at the head of the file; an adjoint's does not."""
    found = origin(node)
    return found is not None and not found.note and found.name == name


def _note(node: Node) -> str:
    """ "d_" for an adjoint, "t_" for a tangent, "d_d_" for the adjoint of an adjoint."""
    found = origin(node)
    return found.note if found is not None else ""


def _of(node: Node) -> int | None:
    """The mark of the node that a node is the derivative of."""
    found = origin(node)
    return found.of if found is not None else None


def _assigned(node: Node) -> str | None:
    found = origin(node)
    return f"{found.note}{found.name}" if found is not None and found.name else None


def _outermost(values: Sequence[Node], rewritten: bool) -> dict[Node, str]:
    """Of the nodes that one statement made, the last one has the statement's name to itself.

    The name of a variable stays with the node that the variable is bound to, wherever that is. Where the graph is
    `rewritten`, that of a layer goes to the last node that is left of it.
    """
    best: dict[tuple[int, str], Node] = {}
    for node in values:
        found = origin(node)
        if found is None or not found.name or found.is_part:
            continue
        if not found.is_outermost and not (rewritten and found.is_given):
            continue
        rival = origin(best.get((found.execution, found.name), node))
        if rival is None or found.order >= rival.order:
            best[found.execution, found.name] = node
    return {node: name for (_, name), node in best.items()}


def described(node: Node, names: Mapping[Node, str]) -> str:
    """What a node is called that has no name of its own: what it does, after what it is a part of."""
    assigned = _assigned(node)
    match node:
        case Project(scan=scan, number=k):
            if node.kind == "states":  # of what all steps of the statement hand on, not of one sum on the way
                return f"{_assigned(scan.nexts[k]) or names.get(scan.nexts[k]) or assigned or 'scan'}_states"
            return f"{names.get(scan.outputs[k]) or _assigned(scan.outputs[k]) or assigned or 'scan'}_stack"
        case Reshape(source=source):
            return f"{names.get(source) or assigned or 'value'}_reshaped"
        case Compute():
            kind = _kind(node)
            return f"{_argument(node) or assigned}_{kind}" if assigned else kind
    return assigned or "value"


def _argument(node: Compute) -> str | None:
    """The name of the tensor that a node is a scalar function of, as the user wrote it; a derivative is another one."""
    found = origin(node)
    if found is None or found.note or node.reducer != "none" or len(loads(node.body)) != 1:
        return None
    return found.argument if isinstance(node.body, Call) and node.body.function.name not in RESULT_OF else None


RESULT_OF = {"add": "total", "sub": "difference", "mul": "product", "div": "ratio", "where": "masked"}


def _kind(node: Compute) -> str:
    if node.reducer != "none":
        return node.reducer
    if isinstance(node.body, (Const, Poly)) or not loads(node.body):
        return "constant"
    match node.body:
        case Call(function=f, arguments=(_, Call(function=g), other)) if (
            f.name == "where" and is_zero(other) and g.name not in RESULT_OF
        ):
            return g.name  # under a mask
        case Call(function=f):
            return RESULT_OF.get(f.name, f.name)
    return "part"
