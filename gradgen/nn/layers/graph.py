"""Graphs as lists of edges: what edges, nodes and graphs make of their neighbours (Battaglia et al. 2018).

In: attributes of edges (E, F), nodes (N, F) and graphs (G, F) or (F); integers that say where an edge begins and ends.
Out: new attributes. An edge e leads from node `source[e]` to node `target[e]`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import accumulate, compute, where
from gradgen.lang.declare import index, indices_over
from gradgen.lang.shapes import concatenate
from gradgen.nn.modules import Module

__all__ = ["GraphBlock", "scatter"]

REDUCTIONS = ("sum", "mean", "max", "min")
Network = Callable[[Tensor], Tensor]


def scatter(x: Tensor, places: Tensor, size: Any, reduce: str = "sum") -> Tensor:
    """What rows with one place have in sum, on average, or at most or least: (E, ...) to (size, ...).

    y[i] is the sum, mean, max or min of all x[e] with `places[e] == i`, and 0 where there are none.

    Args:
        x: of one axis or more.
        places: integers of shape (E); one outside of 0 .. size - 1 is refused at the call.
        size: a number, or a size.
        reduce: "sum", "mean", "max" or "min". Of equal largest or smallest the first takes the gradient.

    Raises:
        ShapeError: as many rows as places are needed.
        DTypeError: places that are no integers.
        OptionError: another way to reduce.
    """
    reduction(reduce, "scatter")
    edge_list(places, "scatter")
    if x.ndim == 0 or x.node.shape[0] is not places.node.shape[0]:
        raise ShapeError(
            f"{here()}scatter of {describe(x.node)} to {describe(places.node)}: give a place for every row."
        )
    e, *f = indices_over(x.shape)
    shape = (size, *x.shape[1:])
    if reduce == "sum":
        return accumulate((places[e], *f), x[(e, *f)], shape=shape)
    n, count = index("n", size), degree(places, size)
    if reduce == "mean":
        total = accumulate((places[e], *f), x[(e, *f)], shape=shape)
        return compute((n, *f), total[(n, *f)] / array.maximum(count[n], 1.0))
    most = accumulate((places[e], *f), x[(e, *f)], shape=shape, reduce=reduce)
    return compute((n, *f), where(count[n] > 0, most[(n, *f)], 0.0))


def degree(places: Tensor, size: Any) -> Tensor:
    """How many edges have a place, as floats."""
    e = index("e", places.shape[0])
    return accumulate(places[e], 1.0, shape=(size,))


class GraphBlock(Module):
    """E, V, u -> E', V', u': new attributes of edges, nodes and graphs, in this order (Battaglia et al. 2018).

        E'[e] = edge([E[e], V[source[e]], V[target[e]], u])
        V'[n] = node([sum of E'[e] over the edges to n, V[n], u])
        u'    = graph([sum of E', sum of V', u])

    `edge`, `node` and `graph` are layers, or functions, of rows of what stands in brackets, one behind the other; None
    leaves that attribute as it is. Of several graphs, `batch` tells for every node to which one it belongs. Isolated
    nodes and graphs without edges have the sum 0, as they have the mean, max and min 0.

        block = nn.GraphBlock(edge=nn.MLP([2 * 8 + 4, 16, 16]), node=nn.MLP([16 + 8, 16, 8]))
        E, V, u = block(E, V, None, source, target)

    Args:
        edge, node, graph: networks of (rows, inputs) to (rows, outputs).
        node_reduce: "sum", "mean", "max" or "min": what nodes take of their edges.
        graph_reduce: the same, of what graphs take of edges and nodes.

    Raises:
        OptionError: another way to reduce.
    """

    def __init__(
        self,
        edge: Network | None = None,
        node: Network | None = None,
        graph: Network | None = None,
        node_reduce: str = "sum",
        graph_reduce: str = "sum",
        name: str | None = None,
    ) -> None:
        self.called(name)
        self.edge, self.node, self.graph = edge, node, graph
        self.node_reduce, self.graph_reduce = reduction(node_reduce, self.name), reduction(graph_reduce, self.name)

    def forward(
        self,
        edges: Tensor | None,
        nodes: Tensor,
        graphs: Tensor | None,
        source: Tensor,
        target: Tensor,
        batch: Tensor | None = None,
        count: Any = None,
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """The new attributes, those that are None as they are given.

        Args:
            edges: E, of shape (E, F), or None if edges have no attributes.
            nodes: V, of shape (N, F).
            graphs: u, of shape (F) for one graph, (G, F) with `batch`, or None.
            source, target: integers of shape (E).
            batch: integers of shape (N), below G.
            count: G, where `graphs` does not say it.

        Raises:
            ShapeError: sizes that do not fit, or several graphs without `batch`.
            DTypeError: source, target or batch are no integers.
        """
        edge_list(source, self.name)
        edge_list(target, self.name, source)
        if nodes.ndim != 2 or (
            edges is not None and (edges.ndim != 2 or edges.node.shape[0] is not source.node.shape[0])
        ):
            raise ShapeError(
                f"{here()}{self.name} is given nodes {describe(nodes.node)} and "
                f"{'no edges' if edges is None else describe(edges.node)} for {describe(source.node)}: "
                "give (N, F), and (E, F) or None."
            )
        if graphs is not None and graphs.ndim != (1 if batch is None else 2):
            raise ShapeError(
                f"{here()}{self.name} is given {describe(graphs.node)}: give (F) for one graph, and (G, F) with batch."
            )
        size = count if graphs is None or batch is None else graphs.shape[0]
        if batch is not None:
            edge_list(batch, self.name)
            if size is None and self.graph is not None:
                raise ShapeError(f"{here()}{self.name} does not know how many graphs there are: give count.")
        of_edge = None if batch is None else gathered(batch, source)

        if self.edge is not None:
            u = _spread(graphs, of_edge, source.shape[0])
            with self.part("edge_inputs"):
                rows = _rows(edges, gathered(nodes, source), gathered(nodes, target), u)
            with self.part("edges"):
                edges = self.edge(rows)
        if self.node is not None:
            with self.part("arriving"):
                arriving = None if edges is None else scatter(edges, target, nodes.shape[0], self.node_reduce)
            with self.part("node_inputs"):
                rows = _rows(arriving, nodes, _spread(graphs, batch, nodes.shape[0]))
            with self.part("nodes"):
                nodes = self.node(rows)
        if self.graph is not None:
            with self.part("graph_inputs"):
                of_edges = None if edges is None else _pooled(edges, of_edge, size, self.graph_reduce)
                u = graphs if graphs is None or batch is not None else graphs.reshape(1, -1)
                rows = _rows(of_edges, _pooled(nodes, batch, size, self.graph_reduce), u)
            with self.part("graphs"):
                found = self.graph(rows)
                graphs = found if batch is not None else found.reshape(-1)
        return edges, nodes, graphs

    def part(self, name: str) -> AbstractContextManager[None]:
        """Inside, values are called after a part of the layer."""
        return naming(f"{self.name}_{name}")


def gathered(x: Tensor, places: Tensor) -> Tensor:
    """The rows of x at these places."""
    e = index("e", places.shape[0])
    f = indices_over(x.shape[1:])
    return compute((e, *f), x[(places[e], *f)])


def edge_list(places: Tensor, of: str, like: Tensor | None = None) -> None:
    """Refuse what are no integers of shape (E), or of the shape of others.

    Raises:
        ShapeError: it has not one axis, or not as many elements as the other.
        DTypeError: no integers.
    """
    if places.dtype not in ("int32", "int64"):
        raise DTypeError(f"{here()}{of} finds edges and nodes by integers; {describe(places.node)} is {places.dtype}.")
    if places.ndim != 1 or (like is not None and places.node.shape[0] is not like.node.shape[0]):
        beside = "" if like is None else f" beside {describe(like.node)}"
        raise ShapeError(f"{here()}{of} takes integers of one axis, and is given {describe(places.node)}{beside}.")


def reduction(reduce: str, of: str) -> str:
    """A way to reduce.

    Raises:
        OptionError: it is none.
    """
    if reduce not in REDUCTIONS:
        raise OptionError(f"{here()}{of} reduces by {', '.join(map(repr, REDUCTIONS))}, not by {shown(reduce)}.")
    return reduce


def _pooled(x: Tensor, batch: Tensor | None, size: Any, reduce: str) -> Tensor:
    """What all rows of a graph have in sum, on average, at most or at least: one row for every graph."""
    if batch is not None:
        return scatter(x, batch, size, reduce)
    n, f, one = index("n", x.shape[0]), index("f", x.shape[1]), index("one", 1)
    found = getattr(reducers, reduce)(x[n, f], over=n)
    return compute((one, f), found if reduce == "sum" else where(x.shape[0] > 0, found, 0.0))


def _spread(graphs: Tensor | None, batch: Tensor | None, rows: Any) -> Tensor | None:
    """The attribute of its graph for every row."""
    if graphs is None or batch is not None:
        return None if graphs is None or batch is None else gathered(graphs, batch)
    n, f = index("n", rows), index("f", graphs.shape[0])
    return compute((n, f), graphs[f])


def _rows(*parts: Tensor | None) -> Tensor:
    """Attributes that there are, one behind the other."""
    return concatenate([x for x in parts if x is not None], axis=1)
