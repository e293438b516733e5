"""Graph layers beyond the tables: refusals word for word, places out of range, large scores, symmetry."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import BindingError, DTypeError, GradgenError, OptionError, ShapeError
from gradgen.network import Network
from tests.cpu.running import unjitted

N, E = gg.size("N"), gg.size("E")
SOURCE, TARGET = np.array([0, 1, 1, 3, 4, 2, 0]), np.array([1, 2, 2, 3, 0, 1, 3])


def leaves(width: int = 3) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
    return gg.input("x", (N, width)), gg.input("source", (E,), "int64"), gg.input("target", (E,), "int64")


def values(net: Network, **arrays: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.array(net(**arrays)["y"])


def nodes(width: int = 3) -> np.ndarray:
    return np.random.RandomState(0).standard_normal((6, width))


LAYERS: list[Callable[[], nn.Module]] = [
    lambda: nn.GCNConv(3, 2, name="layer"),
    lambda: nn.SAGEConv(3, 2, aggr="max", name="layer"),
    lambda: nn.GATConv(3, 2, heads=2, name="layer"),
    lambda: nn.GINConv(nn.Linear(3, 2), name="layer"),
]


@pytest.mark.parametrize("make", LAYERS)
def test_the_order_of_nodes_and_edges_does_not_matter(make: Callable[[], nn.Module]) -> None:
    net = unjitted(gg.compile({"y": make()(*leaves())}, name="order", dtype="float64"))
    random, x, params = np.random.RandomState(1), nodes(), net.init(seed=0)
    y = values(net, x=x, source=SOURCE, target=TARGET, **params)
    moved, edges = random.permutation(6), random.permutation(7)
    place = np.argsort(moved)  # node moved[k] is now node k
    given = {"x": x[moved], "source": place[SOURCE][edges], "target": place[TARGET][edges]}
    np.testing.assert_allclose(values(net, **given, **params), y[moved], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize(("source", "target"), [([0, 6], [1, 1]), ([0, 1], [1, -1]), ([0, 1], [6, 1])])
def test_edges_to_nodes_that_there_are_not_are_refused(
    make: Callable[[], nn.Module], source: list[int], target: list[int]
) -> None:
    net = unjitted(gg.compile({"y": make()(*leaves())}, name="outside", dtype="float64"))
    with pytest.raises(BindingError, match=r"(source|target) holds (6|-1), outside 0\.\.5"):
        values(net, x=nodes(), source=np.array(source), target=np.array(target), **net.init(seed=0))


@pytest.mark.parametrize("make", LAYERS)
def test_a_graph_without_edges(make: Callable[[], nn.Module]) -> None:
    net = unjitted(gg.compile({"y": make()(*leaves())}, name="alone", dtype="float64"))
    none = np.zeros(0, np.int64)
    y = values(net, x=nodes(), source=none, target=none, **net.init(seed=0))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("loops", [False, True])
def test_attention_of_large_scores_is_a_softmax(loops: bool) -> None:
    layer = nn.GATConv(1, 1, add_self_loops=loops, bias=False, name="layer")
    x, source, target = leaves(1)
    y = layer(x, source, target)
    net = unjitted(gg.compile({"y": y}, name="large", dtype="float64"))
    one = np.ones((1, 1))
    params = {"layer_lin_weight": one, "layer_att_src": one[None], "layer_att_dst": one[None] * 0}
    given = np.array([[3000.0], [2999.0], [-5000.0]])
    y = values(net, x=given, source=np.array([0, 1, 0]), target=np.array([2, 2, 1]), **params)
    share = 1 / (1 + np.exp(-1.0))
    wanted = [3000 * share + 2999 * (1 - share), 3000 * share + 2999 * (1 - share) if loops else 3000.0]
    np.testing.assert_allclose(y[[2, 1], 0], wanted, rtol=1e-12)


def test_scatter_of_nothing_is_zero_and_nan_stays() -> None:
    x, places = gg.input("x", (E, 1)), gg.input("places", (E,), "int64")
    outputs = {reduce: nn.scatter(x, places, N, reduce) for reduce in ("sum", "mean", "max", "min")}
    net = unjitted(gg.compile(outputs, name="nothing", dtype="float64", sizes={"N": 3}))
    found = net(x=np.array([[-2.0], [np.nan], [-3.0]]), places=np.array([0, 2, 0]))
    wanted = {"sum": -5.0, "mean": -2.5, "max": -2.0, "min": -3.0}
    for name, y in found.items():
        np.testing.assert_array_equal(y[:, 0], [wanted[name], 0.0, np.nan], err_msg=name)


def test_attention_drops_edges_while_it_trains() -> None:
    layer = nn.GATConv(3, 2, dropout=0.5, name="layer")
    x, source, target = leaves()
    y = layer(x, source, target)
    net = unjitted(gg.compile({"y": y, "eval": layer.eval()(x, source, target)}, name="dropped", dtype="float64"))
    params = net.init(seed=0)
    assert sum("seed" in name for name in params) == 2  # edges, and loops
    assert len(nn.running_updates(layer)) == 1
    found = [values(net, x=nodes(), source=SOURCE, target=TARGET, **params | {"dropout_step": k}) for k in range(400)]
    with np.errstate(all="ignore"):
        kept = np.array(net(x=nodes(), source=SOURCE, target=TARGET, **params)["eval"])
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_allclose(np.mean(found, axis=0), kept, atol=0.3)


@pytest.mark.parametrize("seed", range(3))
def test_a_block_has_the_derivatives_that_differences_have(seed: int) -> None:
    random = np.random.RandomState(seed)
    count, edges = 4 + seed, 9
    source, target = (gg.input(name, (edges,), "int64") for name in ("source", "target"))
    block = nn.GraphBlock(
        edge=nn.Sequential(nn.Linear(2 + 2 * 2 + 1, 3), nn.tanh),
        node=nn.Sequential(nn.Linear(3 + 2 + 1, 2), nn.sigmoid),
        graph=nn.Linear(3 + 2 + 1, 1),
        node_reduce="max",
        graph_reduce="mean",
    )
    V, A, u = gg.input("V", (count, 2)), gg.input("A", (edges, 2)), gg.input("u", (1,))
    out = block(A, V, u, source, target)
    loss = sum((gg.sum(y * y) for y in out), start=gg.sum(u) * 0)
    arrays = {"V": random.standard_normal((count, 2)), "A": random.standard_normal((edges, 2)), "u": np.ones(1)}
    arrays |= {name: random.randint(0, count, edges) for name in ("source", "target")}
    arrays |= {str(p.name): random.standard_normal(tuple(int(s) for s in p.shape)) for p in block.parameters()}
    assert gg.check_grad(loss, arrays)


def test_parameters_have_the_names_of_pytorch_geometric() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.gcn, self.sage = nn.GCNConv(3, 3), nn.SAGEConv(3, 3, project=True)
            self.gat, self.gin = nn.GATConv(3, 3, residual=True), nn.GINConv(nn.Sequential(nn.Linear(3, 3)))

    names = dict(nn.named_parameters(Net()))
    assert sorted(names) == sorted(
        [
            "gcn.lin.weight", "gcn.bias",
            "sage.lin.weight", "sage.lin.bias", "sage.lin_l.weight", "sage.lin_l.bias", "sage.lin_r.weight",
            "gat.lin.weight", "gat.att_src", "gat.att_dst", "gat.bias", "gat.res.weight",
            "gin.nn.0.weight", "gin.nn.0.bias", "gin.eps",
        ]
    )  # fmt: skip


# ---------------------------------------------------------------- errors


def refused(kind: type[GradgenError], message: str, of: Callable[[], Any]) -> None:
    with pytest.raises(kind) as caught:
        of()
    assert str(caught.value).endswith(f": {message}"), str(caught.value)


def test_ways_to_reduce() -> None:
    ways = "'sum', 'mean', 'max', 'min'"
    x, places = gg.input("x", (4, 2)), gg.input("places", (4,), "int64")
    refused(OptionError, f"scatter reduces by {ways}, not by 'add'.", lambda: nn.scatter(x, places, 3, "add"))
    refused(OptionError, f"c reduces by {ways}, not by 'median'.", lambda: nn.SAGEConv(2, 2, "median", name="c"))
    refused(OptionError, f"b reduces by {ways}, not by 'no'.", lambda: nn.GraphBlock(node_reduce="no", name="b"))
    refused(OptionError, f"b reduces by {ways}, not by 'no'.", lambda: nn.GraphBlock(graph_reduce="no", name="b"))


def test_lists_of_edges() -> None:
    layer = nn.GCNConv(3, 2, name="c")
    x, source, target = leaves()
    floats, square = gg.input("floats", (E,)), gg.input("square", (E, 2), "int64")
    more = gg.input("more", (7,), "int64")
    refused(
        DTypeError,
        "c finds edges and nodes by integers; floats (E) is float32.",
        lambda: layer(x, floats, target),
    )
    refused(
        ShapeError,
        "c takes integers of one axis, and is given square (E, 2).",
        lambda: layer(x, square, target),
    )
    refused(
        ShapeError,
        "c takes integers of one axis, and is given more (7) beside source (E).",
        lambda: layer(x, source, more),
    )


def test_nodes_and_weights() -> None:
    layer = nn.GCNConv(3, 2, name="c")
    x, source, target = leaves()
    vector, weight = gg.input("vector", (N,)), gg.input("weight", (N,))
    refused(
        ShapeError, "c takes nodes of shape (N, F), and is given vector (N).", lambda: layer(vector, source, target)
    )
    refused(
        ShapeError,
        "c takes a weight for every edge, and is given weight (N) beside source (E).",
        lambda: layer(x, source, target, weight),
    )
    refused(
        ShapeError,
        "c_lin takes 3 inputs along the last axis, and is given wide (N, 4).",
        lambda: layer(gg.input("wide", (N, 4)), source, target),
    )
    refused(
        ShapeError,
        "scatter of x (N, 3) to source (E): give a place for every row.",
        lambda: nn.scatter(x, source, 4),
    )


def test_attributes_of_a_block() -> None:
    block = nn.GraphBlock(graph=nn.Linear(3, 2), name="b")
    x, source, target = leaves()
    vector, graphs = gg.input("vector", (N,)), gg.input("graphs", (4, 2))
    batch, edges = gg.input("batch", (N,), "int64"), gg.input("edges", (N, 2))
    form = "give (N, F), and (E, F) or None."
    refused(
        ShapeError,
        f"b is given nodes vector (N) and no edges for source (E): {form}",
        lambda: block(None, vector, None, source, target),
    )
    refused(
        ShapeError,
        f"b is given nodes x (N, 3) and edges (N, 2) for source (E): {form}",
        lambda: block(edges, x, None, source, target),
    )
    refused(
        ShapeError,
        "b is given graphs (4, 2): give (F) for one graph, and (G, F) with batch.",
        lambda: block(None, x, graphs, source, target),
    )
    refused(
        ShapeError,
        "b does not know how many graphs there are: give count.",
        lambda: block(None, x, None, source, target, batch),
    )
