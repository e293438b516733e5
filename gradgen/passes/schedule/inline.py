"""Which formulas are written into their readers because storing their values costs more.

In: the nodes of one program. Out: the bodies so expanded, for `schedule`.
"""

from collections.abc import Mapping, Sequence

from gradgen.graph.nodes import Compute, Node, Project, Scan, all_inputs
from gradgen.graph.scalar import (
    Call,
    Load,
    Scalar,
    call,
    children,
    loads,
    position_atom,
    rewrite,
    scalar_cost,
    substitute,
    walk,
)
from gradgen.graph.sizes import is_index_only
from gradgen.machine import machine
from gradgen.passes.rewrite.contract import classify
from gradgen.passes.rewrite.materialize import is_materialized
from gradgen.passes.rewrite.outer_products import affine_sum
from gradgen.program.cost import volume

SELECTING = ("where", "and", "or", "ge", "eq")  # what may surround a value that is only moved


def choose_inlined(
    order: Sequence[Node], kept: set[Node], decisions: list[str], name: Mapping[Node, str]
) -> dict[Node, Scalar]:
    """The pointwise nodes that are written into their readers, with their bodies so expanded."""
    readers: dict[Node, dict[Node | Scan, None]] = {}
    for node in order:
        for n in all_inputs(node):
            readers.setdefault(n, {})[node.scan if isinstance(node, Project) else node] = None
    inlined: dict[Node, Scalar] = {}
    for node in order:
        if is_materialized(node):
            decisions.append(f"{name.get(node, 'value')}: in memory of its own, as gg.materialize asks")
            continue
        if not isinstance(node, Compute) or node.reducer != "none" or not node.gathers or node in kept:
            continue
        body = expand(node.body, inlined)
        reason = _reason_to_inline(node, body, list(readers.get(node, ())))
        if reason is not None:
            inlined[node] = body
            decisions.append(f"{name.get(node, 'value')}: written into its readers, {reason}")
    return inlined


def _reason_to_inline(node: Compute, body: Scalar, readers: Sequence[Node | Scan]) -> str | None:
    """Why a pointwise node costs less inside its readers, or None."""
    if not all(isinstance(r, Scan) or (isinstance(r, Compute) and not _reads_memory(r)) for r in readers):
        return None  # a matrix product or a reshape reads memory
    work = scalar_cost(body)
    if not loads(body):
        return "it reads nothing" if work <= machine().cheap else None
    if not node.shape and work > 1:
        return None  # one evaluation, not one for every element of its readers
    moved = sum(1 for x in walk(body) if isinstance(x, Call) and x.function.name not in SELECTING)
    if moved == 0 and len(loads(body)) == 1:
        return "it only moves data"
    if len(readers) == 1 and isinstance(readers[0], Scan):
        return "a loop begins with it"
    size = volume(node.shape)
    evaluations = sum(volume(r.extents) for r in readers if isinstance(r, Compute))
    if len(readers) == 1 and work <= machine().cheap and evaluations <= size:
        return f"work of {work:g} against a store and a load"
    if (
        readers
        and work <= machine().cheap
        and all(isinstance(r, Compute) and _reads_in_part(r, node) and volume(r.extents) <= size for r in readers)
    ):
        return f"work of {work:g} for the elements that they read against a store of all"
    return None


def _reads_in_part(reader: Compute, node: Node) -> bool:
    """Whether a formula reads another one only where conditions on its indices hold."""
    pending, seen = [reader.body, *reader.target], set[Scalar]()
    while pending:
        x = pending.pop()
        if x in seen:
            continue
        seen.add(x)
        match x:
            case Load(tensor=tensor) if tensor is node:
                return False
            case Call(function=f, arguments=(condition, _, _)) if f.name == "where" and is_index_only(condition):
                continue
        pending += children(x)
    return True


def _reads_memory(node: Compute) -> bool:
    return classify(node) is not None or affine_sum(node) is not None


def expand(x: Scalar, inlined: Mapping[Node, Scalar]) -> Scalar:
    """The expression with every inlined tensor replaced by its body at the subscripts of the access."""

    def change(part: Scalar) -> Scalar | None:
        if isinstance(part, Load) and part.tensor in inlined:
            atoms = {position_atom(k): s for k, s in enumerate(part.subscripts)}
            body = substitute(inlined[part.tensor], atoms)
            return body if body.dtype == part.dtype else call(part.dtype, body)
        return None

    return rewrite(x, change, lambda atom: None)
