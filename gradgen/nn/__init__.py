"""Networks: layers and losses with PyTorch's names and layouts, initialisers, optimisers. Every one is a formula."""

from typing import NoReturn

from gradgen.errors import nearest
from gradgen.nn import functional, init
from gradgen.nn.attention import scaled_dot_product_attention
from gradgen.nn.convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from gradgen.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    flatten,
    gelu,
    l1_loss,
    layer_norm,
    log_softmax,
    logsigmoid,
    mse_loss,
    nll_loss,
    one_hot,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from gradgen.nn.layers.attention import MultiheadAttention
from gradgen.nn.layers.cells import GRUCell, LSTMCell, RNNCell
from gradgen.nn.layers.containers import MLP, ModuleList, Sequential
from gradgen.nn.layers.convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gradgen.nn.layers.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d, dropout
from gradgen.nn.layers.embedding import Embedding
from gradgen.nn.layers.graph import GraphBlock, scatter
from gradgen.nn.layers.graph_convolutions import GATConv, GCNConv, GINConv, SAGEConv
from gradgen.nn.layers.linear import Flatten, Identity, Linear
from gradgen.nn.layers.normalisation import LayerNorm
from gradgen.nn.layers.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from gradgen.nn.layers.recurrent import GRU, LSTM, RNN
from gradgen.nn.layers.resampling import (
    Fold,
    PixelShuffle,
    PixelUnshuffle,
    Unfold,
    Upsample,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from gradgen.nn.layers.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from gradgen.nn.modules import (
    Buffer,
    Module,
    Parameter,
    from_state_dict,
    named_parameters,
    running_updates,
    state_dict_names,
)
from gradgen.nn.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from gradgen.nn.positions import rotary_encoding, sinusoidal_encoding
from gradgen.nn.resampling import fold, interpolate, pixel_shuffle, pixel_unshuffle, unfold

__all__ = [
    "GRU", "LSTM", "MLP", "RNN", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AvgPool1d",
    "AvgPool2d", "AvgPool3d", "Buffer", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d",
    "ConvTranspose3d", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "Embedding", "Flatten", "Fold", "GATConv",
    "GCNConv", "GINConv", "GRUCell", "GraphBlock", "Identity", "LSTMCell", "LayerNorm", "Linear", "MaxPool1d",
    "MaxPool2d", "MaxPool3d", "Module", "ModuleList", "MultiheadAttention", "Parameter", "PixelShuffle",
    "PixelUnshuffle", "RNNCell", "SAGEConv", "Sequential", "Transformer", "TransformerDecoder",
    "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer", "Unfold", "Upsample", "ZeroPad1d",
    "ZeroPad2d", "ZeroPad3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "binary_cross_entropy_with_logits", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cross_entropy", "dropout", "flatten", "fold", "from_state_dict",
    "functional", "gelu", "init", "interpolate", "l1_loss", "layer_norm", "log_softmax", "logsigmoid", "max_pool1d",
    "max_pool2d", "max_pool3d", "mse_loss", "named_parameters", "nll_loss", "one_hot", "pixel_shuffle",
    "pixel_unshuffle", "relu", "rotary_encoding", "running_updates", "scaled_dot_product_attention", "scatter",
    "sigmoid", "silu", "sinusoidal_encoding", "softmax", "softplus", "state_dict_names", "tanh", "unfold",
]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    near = "" if name.startswith("_") else nearest(name, __all__, "gg.nn")
    raise AttributeError(f"module 'gradgen.nn' has no attribute {name!r}{near}")
