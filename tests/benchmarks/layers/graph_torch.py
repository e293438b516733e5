"""Graph layers in PyTorch by gathers and scatters, as PyTorch Geometric has them; and torch.nn with these among it.

In: nodes (N, F), and the edges source[e] -> target[e], none of them from a node to itself. Out: nodes.
"""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def looped(source: Tensor, target: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """The edges, and one from every node to itself."""
    own = torch.arange(nodes)
    return torch.cat([source, own]), torch.cat([target, own])


def along(places: Tensor, x: Tensor) -> Tensor:
    return places.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)


def added(x: Tensor, places: Tensor, size: int) -> Tensor:
    return x.new_zeros(size, *x.shape[1:]).scatter_add(0, along(places, x), x)


def most(x: Tensor, places: Tensor, size: int) -> Tensor:
    """The largest of every place, 0 where there is nothing."""
    return x.new_zeros(size, *x.shape[1:]).scatter_reduce(0, along(places, x), x, "amax", include_self=False)


class GCNConv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        source, target = looped(source, target, len(x))
        scale = added(x.new_ones(len(target)), target, len(x)).rsqrt()
        h = self.lin(x)
        sent = (scale[source] * scale[target])[:, None] * h.index_select(0, source)
        return added(sent, target, len(x)) + self.bias


class GATConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        self.lin = nn.Linear(inputs, heads * outputs, bias=False)
        self.att_src = nn.Parameter(torch.empty(1, heads, outputs))
        self.att_dst = nn.Parameter(torch.empty(1, heads, outputs))
        self.bias = nn.Parameter(torch.empty(heads * outputs))

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        source, target = looped(source, target, len(x))
        h = self.lin(x).reshape(len(x), *self.att_src.shape[1:])
        begin, end = (h * self.att_src).sum(2), (h * self.att_dst).sum(2)
        scores = F.leaky_relu(begin.index_select(0, source) + end.index_select(0, target), 0.2)
        p = (scores - most(scores.detach(), target, len(x)).index_select(0, target)).exp()
        p = p / added(p, target, len(x)).index_select(0, target)
        y = added(p[:, :, None] * h.index_select(0, source), target, len(x))
        return y.reshape(len(x), -1) + self.bias


class GraphBlock(nn.Module):
    """Of one graph; nodes and the graph take maxima."""

    def __init__(
        self, edge: nn.Module, node: nn.Module, graph: nn.Module, node_reduce: str = "max", graph_reduce: str = "max"
    ) -> None:
        super().__init__()
        assert node_reduce == graph_reduce == "max"
        self.edge, self.node, self.graph = edge, node, graph

    def forward(self, E: Tensor, V: Tensor, u: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ends = V.index_select(0, source), V.index_select(0, target)
        E = self.edge(torch.cat([E, *ends, u.expand(len(E), -1)], dim=1))
        V = self.node(torch.cat([most(E, target, len(V)), V, u.expand(len(V), -1)], dim=1))
        u = self.graph(torch.cat([E.amax(0), V.amax(0), u]))
        return E, V, u


LAYERS = SimpleNamespace(**vars(nn) | {"GCNConv": GCNConv, "GATConv": GATConv, "GraphBlock": GraphBlock})
