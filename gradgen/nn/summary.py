"""What a network is made of, as a table: layers, the shapes they compute, parameters, operations.

In: layers, and tensors to call them with. Out: text. Operations are those on floats in the formulas as they are
declared, before any pass: each function is one, and so is each term that a sum or a maximum takes in.
"""

from collections.abc import Iterable, Sequence, Set
from typing import Any

from gradgen.errors import GraphError
from gradgen.graph.node_records import show_shape, show_size
from gradgen.graph.nodes import Compute, Node, Project, body_nodes, inputs, product, toposort
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS, Call, Poly, integer, require_poly, walk
from gradgen.graph.tensor import Tensor
from gradgen.nn.modules import Module, layers_in, telling

__all__ = ["operations", "summary"]

FREE = frozenset(["where", "float32", "float64"])  # choices and casts


def summary(layers: Any, *given: Any, **options: Any) -> str:
    """A table of layers: their places and classes, the shapes of what they compute, parameters and operations.

        x = gg.input("x", ("N", 1, 28, 28))
        print(nn.summary(net, x))

    Args:
        layers: a layer, or a dict or a list of layers.
        given: what the layer is called with, where shapes and operations are wanted.
        options: the same, by name.

    A layer that is called several times has the shape of its last call and the operations of all. Operations are those
    on floats of a forward pass as it is declared: in a product of matrices a multiplication and an addition for each
    term. Where shapes hold sizes, so do operations. The last line counts what several layers share once.

    Raises:
        GraphError: what is no layer, such as a compiled network; something to call with, and no single layer.
    """
    if not isinstance(layers, (Module, list, tuple, dict)):
        raise GraphError(
            f"{here()}nn.summary takes layers, not a {type(layers).__name__}: give the layer that the network is made "
            "of, as in nn.summary(mlp, x)."
        )
    found = list(_named(layers))
    calls: dict[int, list[tuple[tuple[Any, ...], Any]]] = {}
    outputs: Any = None
    if given or options:
        if not isinstance(layers, Module):
            raise GraphError(
                f"{here()}nn.summary calls one layer, and is given a {type(layers).__name__}: leave the inputs out."
            )

        def note(layer: Module, arguments: tuple[Any, ...], result: Any) -> None:
            calls.setdefault(id(layer), []).append((arguments, result))

        with telling(note):
            outputs = layers(*given, **options)
    rows = [("layer", "", "output", "parameters", "operations")]
    for path, layer in found:
        made = calls.get(id(layer), [])
        shapes = ", ".join(show_shape(x.node.shape) for x in _tensors(made[-1][1])) if made else ""
        work = _sum(_operations(arguments, result) for arguments, result in made)
        own = _size(_elements(x.node for x in layer.parameters()))
        rows.append((path or "(all)", type(layer).__name__, shapes, own, _size(work) if made else ""))
    shared = _size(_elements(dict.fromkeys(x.node for _, layer in found for x in layer.parameters())))
    total = _size(_operations((*given, *options.values()), outputs)) if given or options else ""
    rows.append(("in all", "", "", shared, total))
    columns = [k for k in range(5) if any(row[k] for row in rows[1:])]
    widths = {k: max(len(row[k]) for row in rows) for k in columns}
    lines = [
        "  ".join(row[k].rjust(widths[k]) if k >= 3 else row[k].ljust(widths[k]) for k in columns).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:-1], "-" * max(map(len, lines)), lines[-1]])


def _named(layers: Any) -> Iterable[tuple[str, Module]]:
    seen: set[int] = set()
    for path, layer in layers_in("", layers):
        for inner, found in layer.named_modules():
            if id(found) not in seen:
                seen.add(id(found))
                yield ".".join(filter(None, (path, inner))), found


def _size(p: Poly) -> str:
    return f"{p.constant:,}" if p.constant is not None else show_size(p)


def _elements(nodes: Iterable[Node]) -> Poly:
    return _sum(product(n.shape) for n in nodes)


def _sum(terms: Iterable[Poly]) -> Poly:
    total = integer(0)
    for term in terms:
        total = require_poly(total + term)
    return total


def _tensors(value: Any) -> list[Tensor]:
    match value:
        case Tensor():
            return [value]
        case tuple() | list():
            return [x for part in value for x in _tensors(part)]
        case dict():
            return _tensors(list(value.values()))
    return []


def _operations(arguments: Any, results: Any) -> Poly:
    """The operations between what a layer is given and what it computes."""
    return operations([x.node for x in _tensors(results)], {x.node for x in _tensors(arguments)})


def operations(ends: Iterable[Node], begun: Set[Node] = frozenset()) -> Poly:
    """The operations on floats in formulas as they are declared, behind those nodes that a computation has `begun`."""
    return _work(toposort(ends, lambda n: () if n in begun else inputs(n)), begun)


def _work(order: Sequence[Node], begun: Set[Node]) -> Poly:
    scans = dict.fromkeys(n.scan for n in order if isinstance(n, Project) and n not in begun)
    loops = (require_poly(s.length * _work(list(body_nodes(s)), begun)) for s in scans)
    return _sum([*(_of_formula(n) for n in order if isinstance(n, Compute) and n not in begun), *loops])


def _of_formula(node: Compute) -> Poly:
    calls = {x for x in walk(node.body) if isinstance(x, Call) and x.dtype in FLOATS and x.function.name not in FREE}
    return require_poly(product(node.extents) * (len(calls) + (node.reducer != "none")))
