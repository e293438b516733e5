"""Names for every value of a program, from the user's own: `u1`, `d_u1`, `u1_max`; counters start at zero here.

In: the nodes of a program. Out: one identifier per node, unique in the generated file.
"""

import builtins
import keyword
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from gradgen.graph.nodes import COTANGENT, Carry, Compute, Leaf, Node, Project, Reshape
from gradgen.graph.origin import origin
from gradgen.graph.scalar import Call, Const, Poly, loads

Key = TypeVar("Key", bound=Hashable)
# What generated modules call by name.
GENERATED = frozenset(
    {"np", "njit", "prange", "get_num_threads", "NamedTuple", "FAST", "FAST_SCALAR"}
    | {"Params", "Work", "Outputs", "Gradients", "State", "workspace"}
    | {"forward", "backward", "value_and_grad", "step", "check"}
)
RESERVED = GENERATED | {*keyword.kwlist, *dir(builtins), "p", "w", "out", "g", "s"}


def name_nodes(order: Sequence[Node], fixed: Mapping[Node, str], reserved: Iterable[str] = ()) -> dict[Node, str]:
    """A name for every node: its leaf's, the one in `fixed`, the one the user assigned, or one for what it does."""
    names: dict[Node, str] = {}
    taken = set(RESERVED) | set(reserved)
    for node in order:
        if isinstance(node, Leaf):
            names[node] = node.name
        if node in fixed:
            names[node] = fixed[node]
    taken |= set(names.values())
    plain = _outermost(order)
    for node in order:
        if node in names or (node in plain and plain[node] in taken):
            continue
        if node in plain:
            names[node] = plain[node]
            taken.add(plain[node])
    for node in order:
        if node not in names:
            names[node] = _free(_described(node), taken)
            taken.add(names[node])
    return names


def fresh_names(wanted: Mapping[Key, str], taken: set[str]) -> dict[Key, str]:
    """Each name, with a number behind it where it is taken; from then on it is."""
    found: dict[Key, str] = {}
    for key, name in wanted.items():
        found[key] = _free(name, taken)
        taken.add(found[key])
    return found


def is_named_by_user(node: Node, name: str) -> bool:
    """Whether a name is the user's own, so that its formula stands at the head of the file; an adjoint's does not."""
    found = origin(node)
    return found is not None and not found.note and found.name == name


def _assigned(node: Node) -> str | None:
    found = origin(node)
    return f"{found.note}{found.name}" if found is not None and found.name else None


def _outermost(order: Sequence[Node]) -> dict[Node, str]:
    """Of the nodes that one statement made, the last one has the statement's name to itself."""
    best: dict[tuple[str, int, str], Node] = {}
    for node in order:
        found = origin(node)
        if found is None or not found.name:
            continue
        key = (found.note, found.execution, found.name)
        rival = best.get(key)
        rival_origin = origin(rival) if rival is not None else None
        if rival_origin is None or found.order >= rival_origin.order:
            best[key] = node
    return {node: f"{note}{name}" for (note, _, name), node in best.items()}


def _described(node: Node) -> str:
    assigned = _assigned(node)
    match node:
        case Project():
            element = node.scan.nexts[node.number] if node.kind == "states" else node.scan.outputs[node.number]
            return f"{_assigned(element) or assigned or 'scan'}_{node.kind}"
        case Reshape():
            return f"{assigned or 'value'}_reshaped"
        case Compute():
            kind = _kind(node)
            return f"{assigned}_{kind}" if assigned else kind
        case Carry():
            return "cotangent" if node.number == COTANGENT else "carry"
    return assigned or "value"


RESULT_OF = {"add": "total", "sub": "difference", "mul": "product", "div": "ratio", "where": "masked"}


def _kind(node: Compute) -> str:
    if node.reducer != "none":
        return {"sum": "sum", "max": "max", "min": "min"}.get(node.reducer, node.reducer)
    if isinstance(node.body, (Const, Poly)) or not loads(node.body):
        return "constant"
    if isinstance(node.body, Call):
        return RESULT_OF.get(node.body.function.name, node.body.function.name)
    return "part"


def _free(base: str, taken: set[str]) -> str:
    if base not in taken:
        return base
    number = 2
    while f"{base}_{number}" in taken:
        number += 1
    return f"{base}_{number}"
