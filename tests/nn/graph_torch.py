"""Graph layers in PyTorch, by dense adjacency matrices and loops over nodes: what the tables hold ours against.

Parameters have the names of PyTorch Geometric. It needs PyTorch.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Reduce = Callable[[Tensor], Tensor]
REDUCE: dict[str, Reduce] = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
    "max": lambda x: x.max(0).values,
    "min": lambda x: x.min(0).values,
}


def scatter(x: Tensor, places: Tensor, size: int, reduce: str = "sum") -> Tensor:
    """Row by row: what all x[e] of a place have in sum, ...; 0 of nothing."""
    rows = [x[places == i] for i in range(size)]
    return torch.stack([REDUCE[reduce](r) if len(r) else torch.zeros(x.shape[1:], dtype=x.dtype) for r in rows])


def dense(source: Tensor, target: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """A[t, s], the sum of the weights of all edges from s to t."""
    A = torch.zeros(size, size)
    for e in range(len(source)):
        A = A + (1.0 if weight is None else weight[e]) * _unit(int(target[e]), int(source[e]), size)
    return A


def _unit(i: int, j: int, size: int) -> Tensor:
    A = torch.zeros(size, size)
    A[i, j] = 1.0
    return A


class GCN(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        own: float = 1.0,
        normalize: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.lin = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.own, self.normalize = own, normalize

    def forward(self, x: Tensor, source: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        A = dense(source, target, len(x), weight)
        looped = [bool(((source == i) & (target == i)).any()) for i in range(len(x))]
        A = A + torch.diag(torch.tensor([0.0 if there else self.own for there in looped]))
        if self.normalize:
            d = A.sum(1)
            root = torch.diag(torch.where(d > 0, 1 / d.clamp(min=1e-300).sqrt(), 0.0))
            A = root @ A @ root
        y = A @ (x @ self.lin.weight.T)
        return y if self.bias is None else y + self.bias


class SAGE(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        aggr: str = "mean",
        normalize: bool = False,
        root_weight: bool = True,
        project: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.lin = nn.Linear(inputs, inputs) if project else None
        self.lin_l = nn.Linear(inputs, outputs, bias=bias)
        self.lin_r = nn.Linear(inputs, outputs, bias=False) if root_weight else None
        self.aggr, self.normalize = aggr, normalize

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        sent = x if self.lin is None else self.lin(x).relu()
        y = self.lin_l(scatter(sent[source], target, len(x), self.aggr))
        y = y if self.lin_r is None else y + self.lin_r(x)
        return F.normalize(y, dim=1) if self.normalize else y


class GAT(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        add_self_loops: bool = True,
        bias: bool = True,
        residual: bool = False,
    ) -> None:
        super().__init__()
        width = heads * outputs if concat else outputs
        self.lin = nn.Linear(inputs, heads * outputs, bias=False)
        self.att_src = nn.Parameter(torch.empty(1, heads, outputs))
        self.att_dst = nn.Parameter(torch.empty(1, heads, outputs))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None
        self.res = nn.Linear(inputs, width, bias=False) if residual else None
        self.heads, self.outputs, self.concat = heads, outputs, concat
        self.slope, self.loops = negative_slope, add_self_loops

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        size = len(x)
        if self.loops:
            other = source != target
            nodes = torch.arange(size)
            source, target = torch.cat([source[other], nodes]), torch.cat([target[other], nodes])
        h = self.lin(x).reshape(size, self.heads, self.outputs)
        rows = []
        for i in range(size):
            sent = h[source[target == i]]  # (edges, heads, outputs)
            score = F.leaky_relu((self.att_src * sent).sum(2) + (self.att_dst * h[i]).sum(2), self.slope)
            rows.append((score.softmax(0)[:, :, None] * sent).sum(0))
        y = torch.stack(rows)
        y = y.reshape(size, -1) if self.concat else y.mean(1)
        y = y if self.res is None else y + self.res(x)
        return y if self.bias is None else y + self.bias


class GIN(nn.Module):
    def __init__(self, inner: nn.Module, train_eps: bool = False) -> None:
        super().__init__()
        self.nn = inner
        if train_eps:
            self.eps = nn.Parameter(torch.empty(1))
        else:
            self.register_buffer("eps", torch.empty(1))

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        return self.nn((1 + self.eps) * x + dense(source, target, len(x)) @ x)


class Block(nn.Module):
    """One edge, one node, one graph at a time."""

    def __init__(
        self,
        edge: nn.Module | None = None,
        node: nn.Module | None = None,
        graph: nn.Module | None = None,
        node_reduce: str = "sum",
        graph_reduce: str = "sum",
    ) -> None:
        super().__init__()
        self.edge, self.node, self.graph = edge, node, graph
        self.node_reduce, self.graph_reduce = node_reduce, graph_reduce

    def forward(
        self,
        E: Tensor | None,
        V: Tensor,
        u: Tensor | None,
        source: Tensor,
        target: Tensor,
        batch: Tensor | None = None,
        count: int = 1,
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        of = torch.zeros(len(V), dtype=torch.int64) if batch is None else batch
        graphs = None if u is None else u[None] if batch is None else u
        count = count if graphs is None else len(graphs)
        if self.edge is not None:
            rows = []
            for e in range(len(source)):
                s, t = source[e], target[e]
                parts = [None if E is None else E[e], V[s], V[t], None if graphs is None else graphs[of[s]]]
                rows.append(self.edge(torch.cat([p for p in parts if p is not None])))
            E = torch.stack(rows)
        if self.node is not None:
            arriving = None if E is None else scatter(E, target, len(V), self.node_reduce)
            rows = []
            for n in range(len(V)):
                parts = [None if arriving is None else arriving[n], V[n], None if graphs is None else graphs[of[n]]]
                rows.append(self.node(torch.cat([p for p in parts if p is not None])))
            V = torch.stack(rows)
        if self.graph is not None:
            of_edges = None if E is None else scatter(E, of[source], count, self.graph_reduce)
            of_nodes = scatter(V, of, count, self.graph_reduce)
            rows = []
            for g in range(count):
                parts = [None if of_edges is None else of_edges[g], of_nodes[g], None if graphs is None else graphs[g]]
                rows.append(self.graph(torch.cat([p for p in parts if p is not None])))
            u = torch.stack(rows) if batch is not None else rows[0]
        return E, V, u
