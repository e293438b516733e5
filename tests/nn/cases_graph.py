"""Graph layers against dense PyTorch (graph_torch.py): isolated nodes, loops, edges that occur twice."""

from collections.abc import Mapping
from typing import Any

from tests.nn.table import Case, Drawn

# Node 5 is isolated; 1 -> 2 occurs twice, 3 -> 3 is a loop, nothing comes to node 4.
SOURCE, TARGET = [0, 1, 1, 3, 4, 2, 0], [1, 2, 2, 3, 0, 1, 3]
GRAPHS = [0, 0, 0, 1, 1, 3]  # graph 2 has no nodes, graph 3 no edges
INSIDE = [0, 1, 1, 3, 4, 2, 0], [1, 2, 2, 3, 3, 1, 2]  # edges inside these graphs
EDGES = {"source": Drawn((7,), values=SOURCE), "target": Drawn((7,), values=TARGET)}
BATCHED = {"source": Drawn((7,), values=INSIDE[0]), "target": Drawn((7,), values=INSIDE[1])}
SIZES = {"x": "N", "source": "E", "target": "E", "weight": "E", "edges": "E", "nodes": "N", "batch": "N", "u": "G"}


def convolution(name: str, make: str, torch_make: str, call: str = "layer(x, source, target)", **more: Any) -> Case:
    inputs: dict[str, Any] = {"x": (6, 3), **EDGES}
    if "weight" in call:
        inputs["weight"] = Drawn((7,), "positive")
    return Case(name, inputs, make, call, torch_make=torch_make, batch=SIZES, **more)


def block(name: str, make: str, inputs: Mapping[str, Any], batched: bool = False, after: str = "", **more: Any) -> Case:
    E, u = ("edges" if "edges" in inputs else "None"), ("u" if "u" in inputs else "None")
    front = f"layer({E}, nodes, {u}, source, target"
    inputs = {**inputs, "nodes": (6, 3), **(BATCHED if batched else EDGES)}
    if not batched:
        call = f"{front})"
    elif u == "None":
        call = f"{front}, batch=batch, count=4)"
    else:
        call = f"{front}, batch=batch)"
    call += after
    if batched:
        inputs["batch"] = Drawn((6,), values=GRAPHS)
    sizes = SIZES if batched else {k: v for k, v in SIZES.items() if k != "u"}
    return Case(
        name, inputs, make, call, torch_make=make.replace("nn.GraphBlock", "graph_torch.Block"), batch=sizes, **more
    )


CASES = [
    *(
        Case(
            f"scatter_{reduce}",
            {"x": (7, 2), "places": Drawn((7,), values=TARGET)},
            call=f"F.scatter(x, places, 6, reduce={reduce!r})",
            torch_call=f"graph_torch.scatter(x, places, 6, {reduce!r})",
            batch={"x": "E", "places": "E"},
            compiled=reduce == "max",
            derivatives=reduce in ("sum", "max"),
        )
        for reduce in ("sum", "mean", "max", "min")
    ),
    Case(
        "scatter_vector",
        {"x": (7,), "places": Drawn((7,), values=TARGET)},
        call="F.scatter(x, places, 6)",
        torch_call="graph_torch.scatter(x, places, 6)",
        batch={"x": "E", "places": "E"},
    ),
    Case(
        "scatter_matrices",
        {"x": (7, 2, 3), "places": Drawn((7,), values=TARGET)},
        call="F.scatter(x, places, size=6, reduce='mean')",
        torch_call="graph_torch.scatter(x, places, 6, 'mean')",
        batch={"x": "E", "places": "E"},
    ),
    convolution("gcn", "nn.GCNConv(3, 4)", "graph_torch.GCN(3, 4)", compiled=True, derivatives=True),
    convolution("gcn_no_bias", "nn.GCNConv(3, 2, bias=False)", "graph_torch.GCN(3, 2, bias=False)"),
    convolution("gcn_improved", "nn.GCNConv(3, 4, improved=True)", "graph_torch.GCN(3, 4, own=2.0)"),
    convolution("gcn_no_loops", "nn.GCNConv(3, 4, add_self_loops=False)", "graph_torch.GCN(3, 4, own=0.0)"),
    convolution(
        "gcn_not_normalized", "nn.GCNConv(3, 4, normalize=False)", "graph_torch.GCN(3, 4, own=0.0, normalize=False)"
    ),
    convolution(
        "gcn_not_normalized_loops",
        "nn.GCNConv(3, 4, normalize=False, add_self_loops=True)",
        "graph_torch.GCN(3, 4, normalize=False)",
    ),
    convolution("gcn_weighted", "nn.GCNConv(3, 4)", "graph_torch.GCN(3, 4)", "layer(x, source, target, weight)"),
    convolution(
        "gcn_weighted_no_loops",
        "nn.GCNConv(inputs=3, outputs=4, add_self_loops=False)",
        "graph_torch.GCN(3, 4, own=0.0)",
        "layer(x, source, target, weight=weight)",
        derivatives=True,
    ),
    convolution("sage", "nn.SAGEConv(3, 4)", "graph_torch.SAGE(3, 4)", compiled=True, derivatives=True),
    *(
        convolution(f"sage_{aggr}", f"nn.SAGEConv(3, 4, aggr={aggr!r})", f"graph_torch.SAGE(3, 4, aggr={aggr!r})")
        for aggr in ("sum", "max", "min")
    ),
    convolution("sage_normalized", "nn.SAGEConv(3, 4, normalize=True)", "graph_torch.SAGE(3, 4, normalize=True)"),
    convolution(
        "sage_alone",
        "nn.SAGEConv(3, 4, root_weight=False, bias=False)",
        "graph_torch.SAGE(3, 4, root_weight=False, bias=False)",
    ),
    convolution(
        "sage_project",
        "nn.SAGEConv(inputs=3, outputs=4, project=True, aggr='max')",
        "graph_torch.SAGE(3, 4, project=True, aggr='max')",
    ),
    convolution("gat", "nn.GATConv(3, 4)", "graph_torch.GAT(3, 4)", compiled=True),
    convolution("gat_heads", "nn.GATConv(3, 2, heads=3)", "graph_torch.GAT(3, 2, heads=3)"),
    convolution(
        "gat_mean",
        "nn.GATConv(3, 2, heads=3, concat=False, negative_slope=0.1)",
        "graph_torch.GAT(3, 2, heads=3, concat=False, negative_slope=0.1)",
    ),
    convolution(
        "gat_no_loops",
        "nn.GATConv(3, 2, heads=2, add_self_loops=False)",
        "graph_torch.GAT(3, 2, heads=2, add_self_loops=False)",
        derivatives=True,
    ),
    convolution(
        "gat_residual",
        "nn.GATConv(inputs=3, outputs=2, heads=2, residual=True, bias=False, dropout=0.0)",
        "graph_torch.GAT(3, 2, heads=2, residual=True, bias=False)",
        derivatives=True,
    ),
    convolution(
        "gat_residual_mean",
        "nn.GATConv(3, 2, 2, False, 0.3, 0.6, residual=True).eval()",
        "graph_torch.GAT(3, 2, 2, False, 0.3, residual=True)",
    ),
    convolution(
        "gin",
        "nn.GINConv(nn.Sequential(nn.Linear(3, 4), nn.tanh, nn.Linear(4, 2)), eps=0.5)",
        "graph_torch.GIN(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))",
        compiled=True,
        derivatives=True,
    ),
    convolution(
        "gin_trained", "nn.GINConv(nn=nn.Linear(3, 2), train_eps=True)", "graph_torch.GIN(nn.Linear(3, 2), True)"
    ),
    block(
        "block",
        "nn.GraphBlock(edge=nn.Linear(10, 3), node=nn.Linear(8, 4), graph=nn.Linear(9, 2))",
        {"edges": (7, 2), "u": (2,)},
        compiled=True,
        derivatives=True,
    ),
    block("block_edges", "nn.GraphBlock(nn.Linear(6, 3))", {}),
    block(
        "block_nodes", "nn.GraphBlock(node=nn.Linear(5, 4), node_reduce='max')", {"edges": (7, 2)}, after=", source + 0"
    ),
    block("block_nodes_alone", "nn.GraphBlock(None, nn.Linear(3, 4))", {}, after=", source + 0, target + 0"),
    *(
        block(
            f"block_{reduce}",
            "nn.GraphBlock(edge=nn.Linear(8, 3), node=nn.Linear(6, 4), graph=nn.Linear(7, 2), "
            f"node_reduce={reduce!r}, graph_reduce={reduce!r})",
            {"edges": (7, 2)},
        )
        for reduce in ("mean", "max", "min")
    ),
    block(
        "block_graphs",
        "nn.GraphBlock(edge=nn.Linear(10, 3), node=nn.Linear(8, 4), graph=nn.Linear(9, 2))",
        {"edges": (7, 2), "u": (4, 2)},
        batched=True,
        derivatives=True,
    ),
    block(
        "block_graphs_mean",
        "nn.GraphBlock(edge=nn.Linear(8, 3), node=nn.Linear(6, 4), graph=nn.Linear(7, 2), "
        "node_reduce='min', graph_reduce='mean')",
        {"edges": (7, 2)},
        batched=True,
    ),
    block(
        "block_graphs_max",
        "nn.GraphBlock(graph=nn.Linear(5, 2), graph_reduce='max')",
        {"edges": (7, 2)},
        True,
        ", target + 0",
    ),
]
