"""Networks: layers and losses with PyTorch's names and layouts, initialisers, optimisers. Every one is a formula."""

from typing import NoReturn

from gradgen.errors import nearest
from gradgen.nn import functional, init
from gradgen.nn.attention import scaled_dot_product_attention
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
from gradgen.nn.layers.containers import MLP, ModuleList, Sequential
from gradgen.nn.layers.embedding import Embedding
from gradgen.nn.layers.linear import Flatten, Identity, Linear
from gradgen.nn.layers.normalisation import LayerNorm
from gradgen.nn.layers.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from gradgen.nn.modules import Buffer, Module, Parameter, from_state_dict, named_parameters, state_dict_names
from gradgen.nn.positions import rotary_encoding, sinusoidal_encoding

__all__ = [
    "MLP", "Buffer", "Embedding", "Flatten", "Identity", "LayerNorm", "Linear", "Module", "ModuleList",
    "MultiheadAttention", "Parameter", "Sequential", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
    "TransformerEncoder", "TransformerEncoderLayer", "binary_cross_entropy_with_logits", "cross_entropy", "flatten",
    "from_state_dict", "functional", "gelu", "init", "l1_loss", "layer_norm", "log_softmax", "logsigmoid",
    "mse_loss", "named_parameters", "nll_loss", "one_hot", "relu", "rotary_encoding",
    "scaled_dot_product_attention", "sigmoid", "silu", "sinusoidal_encoding", "softmax", "softplus",
    "state_dict_names", "tanh",
]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    near = "" if name.startswith("_") else nearest(name, __all__, "gg.nn")
    raise AttributeError(f"module 'gradgen.nn' has no attribute {name!r}{near}")
