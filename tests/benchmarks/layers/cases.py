"""Layers, by their sizes: value and gradients by input and parameters; then whole steps of networks, with Adam.

In: sizes. Out: cases whose parameters have the names of a state_dict. Edges lead from one node to another.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.case import Arrays, Case, Layer, normal

Shapes = dict[str, tuple[int, ...]]


def parameters(rng: np.random.Generator, shapes: Shapes) -> Arrays:
    """Weights that keep the size of what they are multiplied by, those of norms about 1, and small biases."""
    drawn = {}
    for name, shape in shapes.items():
        scale = 0.1 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
        middle = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
        drawn[name] = np.float32(middle) + normal(rng, *shape, scale=scale)
    return drawn


def nothing(_: np.random.Generator) -> Arrays:
    return {}


def layer(
    name: str,
    title: str,
    option: Layer,
    inputs: Shapes,
    shapes: Shapes,
    outputs: tuple[tuple[int, ...], ...],
    more: Callable[[np.random.Generator], Arrays] = nothing,
) -> Case:
    """A kernel case; `more` are inputs that have no gradient."""
    weights = ("g", "g1", "g2")[: len(outputs)]

    def arrays() -> Arrays:
        rng = np.random.default_rng(10)
        floats = {x: normal(rng, *shape) for x, shape in [*inputs.items(), *zip(weights, outputs, strict=True)]}
        return floats | parameters(rng, shapes) | more(rng)

    data = (*[x for x in option.inputs if x not in inputs], *weights)
    return Case(name, title, "layer", arrays, data, option, weights=weights)


def by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


# ---------------------------------------------------------------- images


def conv(name: str, image: tuple[int, ...], filters: int, size: int, groups: int = 1) -> Case:
    n, channels, *extent = image
    kernel = (size,) * len(extent)

    def make(nn: Any) -> Any:
        of = getattr(nn, f"Conv{len(extent)}d")
        return of(channels, filters, size, padding="same", groups=groups)

    title = f"{by(image)}, {filters}@{by(kernel)}" + (f" in {groups} groups" if groups > 1 else "")
    shapes = {"weight": (filters, channels // groups, *kernel), "bias": (filters,)}
    return layer(name, title, Layer(make, ("x",), "conv"), {"x": image}, shapes, ((n, filters, *extent),))


def conv_transposed(image: tuple[int, int, int, int], filters: int, size: int, stride: int, padding: int) -> Case:
    n, channels, *extent = image
    title = f"{by(image)}, {filters}@{size}x{size}, stride {stride}"
    option = Layer(
        lambda nn: nn.ConvTranspose2d(channels, filters, size, stride, padding), ("x",), "conv_transposed",
        {"stride": stride, "padding": padding},
    )  # fmt: skip
    out = (n, filters, *[(s - 1) * stride - 2 * padding + size for s in extent])
    shapes = {"weight": (channels, filters, size, size), "bias": (filters,)}
    return layer("conv_transposed", title, option, {"x": image}, shapes, (out,))


def maxpool(image: tuple[int, int, int, int], size: int) -> Case:
    n, channels, height, width = image
    option = Layer(lambda nn: nn.MaxPool2d(size), ("x",), "maxpool", {"size": size})
    out = (n, channels, height // size, width // size)
    return layer("maxpool", f"{by(image)}, {size}x{size}", option, {"x": image}, {}, (out,))


def batchnorm(image: tuple[int, int, int, int]) -> Case:
    option = Layer(lambda nn: nn.BatchNorm2d(image[1], track_running_stats=False), ("x",), "batchnorm")
    shapes = {"weight": image[1:2], "bias": image[1:2]}
    return layer("batchnorm", f"{by(image)}, training", option, {"x": image}, shapes, (image,))


def groupnorm(image: tuple[int, int, int, int], groups: int) -> Case:
    option = Layer(lambda nn: nn.GroupNorm(groups, image[1]), ("x",), "groupnorm", {"groups": groups})
    shapes = {"weight": image[1:2], "bias": image[1:2]}
    return layer("groupnorm", f"{by(image)}, {groups} groups", option, {"x": image}, shapes, (image,))


# ---------------------------------------------------------------- sequences


def recurrent(gates: int, width: int, hidden: int, level: int = 0) -> Shapes:
    return {
        f"weight_ih_l{level}": (gates * hidden, width),
        f"weight_hh_l{level}": (gates * hidden, hidden),
        f"bias_ih_l{level}": (gates * hidden,),
        f"bias_hh_l{level}": (gates * hidden,),
    }


def gru(steps: int, batch: int, width: int, hidden: int) -> Case:
    option = Layer(lambda nn: nn.GRU(width, hidden), ("x",), "gru", call=lambda layer, x: layer(x)[0])
    title = f"T={steps}, B={batch}, {width} to {hidden}"
    shapes = recurrent(3, width, hidden)
    return layer("gru", title, option, {"x": (steps, batch, width)}, shapes, ((steps, batch, hidden),))


def encoder_shapes(width: int, inner: int, bias: bool = True) -> Shapes:
    weights = {
        "self_attn.in_proj_weight": (3 * width, width),
        "self_attn.out_proj.weight": (width, width),
        "linear1.weight": (inner, width),
        "linear2.weight": (width, inner),
        "norm1.weight": (width,),
        "norm2.weight": (width,),
    }
    return weights | {name.replace("weight", "bias"): x[:1] for name, x in weights.items() if bias}


def encoder(name: str, batch: int, length: int, width: int, heads: int, norm_first: bool) -> Case:
    inner, x = 4 * width, (batch, length, width)
    option = Layer(
        lambda nn: nn.TransformerEncoderLayer(width, heads, inner, 0.0, batch_first=True, norm_first=norm_first),
        ("x",),
        "encoder",
        {"heads": heads, "norm_first": norm_first},
    )
    title = f"{'pre' if norm_first else 'post'}-norm, B={batch}, T={length}, d={width}, h={heads}"
    return layer(name, title, option, {"x": x}, encoder_shapes(width, inner), (x,))


# ---------------------------------------------------------------- graphs


def edges_of(nodes: int, count: int) -> Callable[[np.random.Generator], Arrays]:
    """Random edges, none of them from a node to itself."""

    def edges(rng: np.random.Generator) -> Arrays:
        source = rng.integers(0, nodes, count)
        return {"source": source, "target": (source + rng.integers(1, nodes, count)) % nodes}

    return edges


def gcn(nodes: int, edges: int, width: int) -> Case:
    option = Layer(lambda nn: nn.GCNConv(width, width), ("x", "source", "target"), "gcn")
    title, x = f"{nodes:,} nodes, {edges:,} edges, {width} features", (nodes, width)
    shapes = {"lin.weight": (width, width), "bias": (width,)}
    return layer("gcn", title, option, {"x": x}, shapes, (x,), edges_of(nodes, edges))


def gat(nodes: int, edges: int, heads: int, each: int) -> Case:
    width = heads * each
    option = Layer(lambda nn: nn.GATConv(width, each, heads), ("x", "source", "target"), "gat")
    title, x = f"{nodes:,} nodes, {edges:,} edges, {heads} heads of {each}", (nodes, width)
    attention = (1, heads, each)
    shapes = {"lin.weight": (width, width), "att_src": attention, "att_dst": attention, "bias": (width,)}
    return layer("gat", title, option, {"x": x}, shapes, (x,), edges_of(nodes, edges))


def graph_block(nodes: int, edges: int, width: int) -> Case:
    """Networks of one linear layer and relu each; nodes and the graph take maxima."""

    def make(nn: Any) -> Any:
        edge = nn.Sequential(nn.Linear(4 * width, width), nn.ReLU())
        node = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU())
        graph = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU())
        return nn.GraphBlock(edge, node, graph, node_reduce="max", graph_reduce="max")

    option = Layer(make, ("E", "V", "u", "source", "target"), "graph_block")
    inputs = {"E": (edges, width), "V": (nodes, width), "u": (width,)}
    shapes: Shapes = {}
    for part, parts in (("edge", 4), ("node", 3), ("graph", 3)):
        shapes |= {f"{part}.0.weight": (width, parts * width), f"{part}.0.bias": (width,)}
    title = f"{nodes:,} nodes, {edges:,} edges, {width} features, maxima"
    return layer("graph_block", title, option, inputs, shapes, tuple(inputs.values()), edges_of(nodes, edges))


LAYERS = (
    conv("conv_same", (64, 32, 14, 14), filters=64, size=3),
    conv("depthwise", (32, 64, 28, 28), filters=64, size=3, groups=64),
    conv("conv_groups", (32, 64, 14, 14), filters=64, size=3, groups=4),
    conv("conv3d", (4, 8, 16, 16, 16), filters=16, size=3),
    conv_transposed((16, 64, 14, 14), filters=32, size=4, stride=2, padding=1),
    maxpool((32, 64, 28, 28), size=2),
    batchnorm((64, 64, 28, 28)),
    groupnorm((32, 64, 28, 28), groups=8),
    gru(steps=64, batch=32, width=64, hidden=128),
    encoder("encoder", batch=8, length=128, width=256, heads=8, norm_first=False),
    encoder("encoder_prenorm", batch=8, length=128, width=256, heads=8, norm_first=True),
    gcn(nodes=10_000, edges=100_000, width=64),
    gat(nodes=10_000, edges=100_000, heads=8, each=8),
    graph_block(nodes=10_000, edges=100_000, width=64),
)
