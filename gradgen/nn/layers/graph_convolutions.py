"""Graph convolutions, with the parameters of PyTorch Geometric: nodes and what their neighbours send them.

In: nodes (N, in) and the edges source[e] -> target[e] as two lists of integers. Out: nodes (N, out).
"""

from collections.abc import Callable
from typing import Any

from gradgen.errors import ShapeError
from gradgen.graph.axes import describe
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang import array, reducers
from gradgen.lang.compute import accumulate, compute, where
from gradgen.lang.declare import index
from gradgen.nn import functional, init
from gradgen.nn.layers.dropout import Dropout
from gradgen.nn.layers.graph import edge_list, gathered, reduction, scatter
from gradgen.nn.layers.linear import Linear
from gradgen.nn.modules import Buffer, Module, Parameter

__all__ = ["GATConv", "GCNConv", "GINConv", "SAGEConv"]


class GCNConv(Module):
    """D^(-1/2) (A + I) D^(-1/2) x @ weight.T + bias, for D = the row sums of A + I (Kipf and Welling 2017).

    A[t, s] is the weight of the edge from s to t, or 1. The parameters are `lin.weight` (out, in) and `bias` (out).

    Args:
        inputs, outputs: sizes.
        improved: A + 2 I in place of A + I.
        add_self_loops: whether I is added; a node that has a loop keeps its own in place of that. By default as
            `normalize` says.
        normalize: whether D is there.
        bias: whether a bias is added.
    """

    bias: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        improved: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.lin = Linear(inputs, outputs, bias=False, dtype=dtype)
        self.own = (2.0 if improved else 1.0) if (normalize if add_self_loops is None else add_self_loops) else 0.0
        self.normalize = normalize
        self.declare("bias", Parameter((outputs,), dtype, init.zeros()) if bias else None)

    def forward(self, x: Tensor, source: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The layer of nodes; `weight` (E) are the weights of the edges.

        Raises:
            ShapeError: sizes that do not fit.
            DTypeError: source or target are no integers.
        """
        checked(self, x, source, target, weight)
        h = self.lin(x)
        e, n, f = index("e", source.shape[0]), index("n", h.shape[0]), index("f", h.shape[1])
        w = 1.0 if weight is None else weight[e]
        own: Any = 0.0  # what a node sends to itself
        if self.own:
            loops = accumulate(target[e], where(source[e] == target[e], 1.0, 0.0), shape=(h.shape[0],))
            own = where(loops[n] > 0, 0.0, self.own)
        if self.normalize:
            d = compute(n, accumulate(target[e], w, shape=(h.shape[0],))[n] + own)
            scale = compute(n, where(d[n] > 0, array.rsqrt(d[n]), 0.0))
            h = compute((n, f), scale[n] * h[n, f])
        arriving = accumulate((target[e], f), w * h[source[e], f], shape=h.shape)
        y = compute((n, f), arriving[n, f] + own * h[n, f]) if self.own else arriving
        y = compute((n, f), scale[n] * y[n, f]) if self.normalize else y
        return y if self.bias is None else y + self.bias


class SAGEConv(Module):
    """mean of x[source] over the edges to n, @ lin_l.weight.T + lin_l.bias + x @ lin_r.weight.T (Hamilton et al. 2017).

    The parameters are `lin_l.weight` and `lin_r.weight` (out, in), `lin_l.bias` (out), and with `project` `lin.weight`
    (in, in) and `lin.bias` (in).

    Args:
        inputs, outputs: sizes.
        aggr: "mean", "sum", "max" or "min" of the neighbours; 0 where there are none.
        normalize: whether every row is divided by its length.
        root_weight: whether the node itself is added.
        project: whether neighbours go through a linear layer and relu first.
        bias: whether a bias is added.

    Raises:
        OptionError: another way to aggregate.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        aggr: str = "mean",
        normalize: bool = False,
        root_weight: bool = True,
        project: bool = False,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.aggr, self.normalize = reduction(aggr, self.name), normalize
        self.lin = Linear(inputs, inputs, dtype=dtype) if project else None
        self.lin_l = Linear(inputs, outputs, bias, dtype=dtype)
        self.lin_r = Linear(inputs, outputs, bias=False, dtype=dtype) if root_weight else None

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """The layer of nodes.

        Raises:
            ShapeError: sizes that do not fit.
            DTypeError: source or target are no integers.
        """
        checked(self, x, source, target)
        sent = x if self.lin is None else functional.relu(self.lin(x))
        y: Tensor = self.lin_l(scatter(gathered(sent, source), target, x.shape[0], self.aggr))
        y = y if self.lin_r is None else y + self.lin_r(x)
        if not self.normalize:
            return y
        length = array.sqrt(reducers.sum(y * y, axis=1, keepdims=True))
        return y / array.maximum(length, 1e-12)  # type: ignore[no-any-return]  # of tensors, a tensor


class GATConv(Module):
    """sum of a[e] * h[source] over the edges to n, and its own, with attention a by heads (Velickovic et al. 2018).

        h = x @ lin.weight.T, for every head
        a = softmax over the edges to n of leaky_relu(att_src . h[source] + att_dst . h[n])

    The parameters are `lin.weight` (heads * out, in), `att_src` and `att_dst` (1, heads, out), and `bias`; with
    `residual` x @ res.weight.T is added.

    Args:
        inputs, outputs: sizes; there are `outputs` for every head.
        heads: how many.
        concat: whether heads stand one behind the other, (N, heads * out); otherwise their mean is taken, (N, out).
        negative_slope: of leaky_relu.
        dropout: how probable it is that an edge is left out while training.
        add_self_loops: whether every node has one edge to itself in place of those it may have.
        bias: whether a bias is added.
        residual: whether the nodes go through a linear layer beside.
    """

    att_src: Tensor
    att_dst: Tensor
    bias: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        bias: bool = True,
        residual: bool = False,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.lin = Linear(inputs, heads * outputs, bias=False, dtype=dtype)
        self.heads, self.outputs, self.concat = heads, outputs, concat
        self.negative_slope, self.add_self_loops = negative_slope, add_self_loops
        self.dropout = Dropout(dropout)
        for key in ("att_src", "att_dst"):
            self.declare(key, Parameter((1, heads, outputs), dtype, init.xavier_uniform()))
        width = heads * outputs if concat else outputs
        self.declare("bias", Parameter((width,), dtype, init.zeros()) if bias else None)
        self.res = Linear(inputs, width, bias=False, dtype=dtype) if residual else None

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """The layer of nodes.

        Raises:
            ShapeError: sizes that do not fit.
            DTypeError: source or target are no integers.
        """
        checked(self, x, source, target)
        h = self.lin(x).reshape(x.shape[0], self.heads, self.outputs)
        e, n, k, f = (
            index(*of) for of in (("e", source.shape[0]), ("n", x.shape[0]), ("k", self.heads), ("f", self.outputs))
        )
        begin = compute((n, k), reducers.sum(self.att_src[0, k, f] * h[n, k, f], over=f))
        end = compute((n, k), reducers.sum(self.att_dst[0, k, f] * h[n, k, f], over=f))
        score = array.leaky_relu(gathered(begin, source) + gathered(end, target), self.negative_slope)
        if not self.add_self_loops:
            total = accumulate((target[e], k), array.exp(score[e, k]), shape=(x.shape[0], self.heads))
            a = self.dropout(compute((e, k), array.exp(score[e, k]) / total[target[e], k]))
            y = accumulate((target[e], k, f), a[e, k] * h[source[e], k, f], shape=h.shape)
        else:
            other, own = source[e] != target[e], array.leaky_relu(begin + end, self.negative_slope)
            sent = where(other, array.exp(score[e, k]), 0.0)
            total = accumulate((target[e], k), sent, shape=own.shape) + array.exp(own)
            a = self.dropout(compute((e, k), sent / total[target[e], k]))
            loop = self.dropout(compute((n, k), array.exp(own[n, k]) / total[n, k]))
            y = accumulate((target[e], k, f), a[e, k] * h[source[e], k, f], shape=h.shape)
            y = compute((n, k, f), y[n, k, f] + loop[n, k] * h[n, k, f])
        y = y.reshape(x.shape[0], -1) if self.concat else reducers.mean(y, axis=1)
        y = y if self.res is None else y + self.res(x)
        return y if self.bias is None else y + self.bias


class GINConv(Module):
    """nn((1 + eps) * x[n] + sum of x[source] over the edges to n) (Xu et al. 2019).

    Args:
        nn: a layer, or a function of nodes.
        eps: the first value of `eps` (1).
        train_eps: whether it is a parameter; otherwise it stays.
    """

    eps: Tensor

    def __init__(
        self,
        nn: Callable[[Tensor], Tensor],
        eps: float = 0.0,
        train_eps: bool = False,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.nn = nn
        self.declare("eps", (Parameter if train_eps else Buffer)((1,), dtype, init.constant(eps)))

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """The layer of nodes.

        Raises:
            ShapeError: sizes that do not fit.
            DTypeError: source or target are no integers.
        """
        checked(self, x, source, target)
        return self.nn((1.0 + self.eps) * x + scatter(gathered(x, source), target, x.shape[0]))


def checked(layer: Module, x: Tensor, source: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
    """Refuse nodes and edges that do not fit."""
    edge_list(source, layer.name)
    edge_list(target, layer.name, source)
    if x.ndim != 2:
        raise ShapeError(f"{here()}{layer.name} takes nodes of shape (N, F), and is given {describe(x.node)}.")
    if weight is not None and (weight.ndim != 1 or weight.node.shape[0] is not source.node.shape[0]):
        raise ShapeError(
            f"{here()}{layer.name} takes a weight for every edge, and is given {describe(weight.node)} "
            f"beside {describe(source.node)}."
        )
