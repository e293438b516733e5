"""Four blocks of a lecture, made of layers: a convolution, an LSTM, a transformer block, a layer of a graph.

    python examples/blocks.py

prints how long each generated file is, and what each block is made of. `gradgen build examples/blocks.py -o
docs/generated` writes the files, and `docs/blocks.md` walks through them. No layer has a rule of its own for its
gradient: what the files hold follows from formulas.
"""

from collections.abc import Callable

import gradgen as gg
from gradgen import nn

N, T = gg.size("N"), gg.size("T")


def image_block() -> gg.Tensor:
    """A convolution with padding, rectified, then the largest of every 2 x 2."""
    block = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    x, g = gg.param("x", (N, 8, 16, 16)), gg.input("g", (N, 16, 8, 8))
    loss = gg.sum(block(x) * g)
    return loss


def sequence_block() -> gg.Tensor:
    """An LSTM over sequences of any length."""
    lstm = nn.LSTM(32, 64)
    x, g = gg.input("x", (T, N, 32)), gg.input("g", (T, N, 64))
    y, _ = lstm(x)
    loss = gg.sum(y * g)
    return loss


def transformer_block() -> gg.Tensor:
    """Attention of four heads and a network for each token, each behind a normalisation."""
    tf = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True, norm_first=True)
    x, g = gg.param("x", (N, T, 64)), gg.input("g", (N, T, 64))
    loss = gg.sum(tf(x) * g)
    return loss


def graph_block() -> gg.Tensor:
    """New attributes of edges, of nodes from the largest of their edges, and of the graph."""
    E, V = gg.size("E"), gg.size("V")
    block = nn.GraphBlock(
        edge=nn.MLP([4 + 2 * 16 + 8, 32]),
        node=nn.MLP([32 + 16 + 8, 32]),
        graph=nn.MLP([32 + 32 + 8, 8]),
        node_reduce="max",
    )
    edges, nodes, whole = gg.param("edges", (E, 4)), gg.param("nodes", (V, 16)), gg.param("whole", (8,))
    source, target = gg.input("source", (E,), "int64"), gg.input("target", (E,), "int64")
    new_edges, new_nodes, new_whole = block(edges, nodes, whole, source, target)
    loss = gg.sum(new_edges) + gg.sum(new_nodes**2) + gg.sum(new_whole**2)
    return loss


def compiled(block: Callable[[], gg.Tensor]) -> gg.Network:
    """A block as a network."""
    return gg.compile({"loss": block()}, name=block.__name__)


image_block_net = compiled(image_block)
sequence_block_net = compiled(sequence_block)
transformer_block_net = compiled(transformer_block)
graph_block_net = compiled(graph_block)

if __name__ == "__main__":
    for net in [value for value in list(globals().values()) if isinstance(value, gg.Network)]:
        print(f"{net.model.name}: {len(net.source.splitlines())} lines")
