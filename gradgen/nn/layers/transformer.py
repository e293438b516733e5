"""Transformers: layers of attention and of two linear layers, each around a residual connection, and stacks of them.

In: sizes, layers. Out: layers of sequences (T, N, d_model), with PyTorch's parameter layouts, names and first values.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

from gradgen.errors import OptionError
from gradgen.graph.axes import shown
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.nn import functional, init
from gradgen.nn.layers.attention import MultiheadAttention
from gradgen.nn.layers.containers import ModuleList
from gradgen.nn.layers.dropout import Dropout
from gradgen.nn.layers.linear import Linear
from gradgen.nn.layers.normalisation import LayerNorm
from gradgen.nn.modules import Module, Parameter

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = str | Callable[[Tensor], Tensor]
Mask = Tensor | None


class _Layer(Module):
    """Attention and two linear layers, each with a residual connection around it."""

    attentions: ClassVar[tuple[str, ...]]
    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        self.activation, self.norm_first = _activation(activation), norm_first
        for attention in self.attentions:
            layer = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
            setattr(self, attention, layer)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        parts = range(1, len(self.attentions) + 2)  # what is added to x
        for k in parts:
            setattr(self, f"norm{k}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for k in parts:
            setattr(self, f"dropout{k}", Dropout(dropout))

    def fed_forward(self, x: Tensor) -> Tensor:
        """linear2(activation(linear1(x))), and what of it is dropped."""
        with naming(self.linear1.name):
            h = self.activation(self.linear1(x))
        with naming(self.linear2.name):
            return self.linear2(self.dropout(h))  # type: ignore[no-any-return]  # of a tensor, a tensor


class TransformerEncoderLayer(_Layer):
    """x1 = norm1(x + attention(x)), then norm2(x1 + linear2(activation(linear1(x1)))) (Vaswani et al. 2017).

    With `norm_first` x1 = x + attention(norm1(x)), then x1 + linear2(activation(linear1(norm2(x1)))).
    Sequences are (T, N, d_model), with `batch_first` (N, T, d_model), or (T, d_model). In training elements are dropped
    with the probability `dropout`: of the weights of attention, of what stands between the two linear layers, and of
    what is added to x.
    """

    attentions = ("self_attn",)

    def forward(
        self, src: Tensor, src_mask: Mask = None, src_key_padding_mask: Mask = None, is_causal: bool = False
    ) -> Tensor:
        """The layer of sequences; masks as in `MultiheadAttention`."""

        def attended(x: Tensor) -> Tensor:
            y, _ = self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)
            return y  # type: ignore[no-any-return]  # of tensors, a tensor

        x = _residual(src, attended, self.dropout1, self.norm1, self.norm_first)
        return _residual(x, self.fed_forward, self.dropout2, self.norm2, self.norm_first)


class TransformerDecoderLayer(_Layer):
    """x1 = norm1(x + attention(x)), x2 = norm2(x1 + attention(x1, memory)), then norm3(x2 + linear2(...)).

    The rest is as in `TransformerEncoderLayer`; `multihead_attn` has its queries from x1, keys and values from memory.
    """

    attentions = ("self_attn", "multihead_attn")
    multihead_attn: MultiheadAttention
    dropout3: Dropout
    norm3: LayerNorm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Mask = None,
        memory_mask: Mask = None,
        tgt_key_padding_mask: Mask = None,
        memory_key_padding_mask: Mask = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The layer of sequences and of what an encoder made of others; masks as in `MultiheadAttention`."""

        def to_itself(x: Tensor) -> Tensor:
            y, _ = self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)
            return y  # type: ignore[no-any-return]  # of tensors, a tensor

        def to_memory(x: Tensor) -> Tensor:
            masks = memory_key_padding_mask, False, memory_mask
            y, _ = self.multihead_attn(x, memory, memory, *masks, is_causal=memory_is_causal)
            return y  # type: ignore[no-any-return]  # of tensors, a tensor

        x = _residual(tgt, to_itself, self.dropout1, self.norm1, self.norm_first)
        x = _residual(x, to_memory, self.dropout2, self.norm2, self.norm_first)
        return _residual(x, self.fed_forward, self.dropout3, self.norm3, self.norm_first)


class TransformerEncoder(Module):
    """Encoder layers one after another, each a copy of `encoder_layer`, and `norm` behind them, if there is one."""

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None, name: str | None = None
    ) -> None:
        self.called(name)
        self.layers, self.norm = _copies(self, encoder_layer, num_layers), norm

    def forward(
        self, src: Tensor, mask: Mask = None, src_key_padding_mask: Mask = None, is_causal: bool = False
    ) -> Tensor:
        """The layers of sequences, all with the same masks."""
        x = src
        layer: Any  # of the form that was given
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, is_causal)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """Decoder layers one after another, each a copy of `decoder_layer`, and `norm` behind them, if there is one."""

    def __init__(
        self, decoder_layer: Module, num_layers: int, norm: Module | None = None, name: str | None = None
    ) -> None:
        self.called(name)
        self.layers, self.norm = _copies(self, decoder_layer, num_layers), norm

    def forward(self, tgt: Tensor, memory: Tensor, *masks: Any, **options: Any) -> Tensor:
        """The layers of sequences and one memory, all with the same masks: those of `TransformerDecoderLayer`."""
        x = tgt
        layer: Any  # of the form that was given
        for layer in self.layers:
            x = layer(x, memory, *masks, **options)
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of sequences and a decoder of others that attends to what the encoder made (Vaswani et al. 2017).

    Both are stacks with a norm behind them. Matrices start as Xavier and Glorot say.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.called(name)
        options: dict[str, Any] = {
            "dim_feedforward": dim_feedforward, "dropout": dropout, "activation": activation,
            "layer_norm_eps": layer_norm_eps, "batch_first": batch_first, "norm_first": norm_first, "bias": bias,
            "dtype": dtype,
        }  # fmt: skip
        norms = [LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype) for _ in range(2)]
        encoder_layer = TransformerEncoderLayer(d_model, nhead, **options)
        decoder_layer = TransformerDecoderLayer(d_model, nhead, **options)
        self.encoder = TransformerEncoder(encoder_layer, num_encoder_layers, norms[0])
        self.decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norms[1])
        for _, layer in self.named_modules():
            for key, said in layer._declared.items():
                if len(said.shape) > 1:
                    layer.declare(key, Parameter(said.shape, said.dtype, init.xavier_uniform()))

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Mask = None,
        tgt_mask: Mask = None,
        memory_mask: Mask = None,
        src_key_padding_mask: Mask = None,
        tgt_key_padding_mask: Mask = None,
        memory_key_padding_mask: Mask = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """What the decoder makes of `tgt` and the encoded `src`; masks as in `MultiheadAttention`."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        padding = tgt_key_padding_mask, memory_key_padding_mask
        y: Tensor = self.decoder(tgt, memory, tgt_mask, memory_mask, *padding, tgt_is_causal, memory_is_causal)
        return y


def _residual(x: Tensor, inner: Callable[[Tensor], Tensor], drop: Dropout, norm: LayerNorm, norm_first: bool) -> Tensor:
    if not norm_first:
        x = x + drop(inner(x))
    with naming(norm.name):
        y: Tensor = norm(x)
    return x + drop(inner(y)) if norm_first else y


def _activation(given: Activation) -> Callable[[Tensor], Tensor]:
    known: dict[Any, Callable[[Tensor], Tensor]] = {"relu": functional.relu, "gelu": functional.gelu}
    found = known.get(given, given) if isinstance(given, str) else given
    if not callable(found):
        raise OptionError(f"{here()}the activations by name are relu and gelu, not {shown(given)}; or give a function.")
    return found


def _copies(stack: Module, layer: Module, count: int) -> ModuleList:
    """Layers of this form with parameters of their own.

    A layer that is made for the stack in one statement with it has its place there, lest it be a second one of that
    statement, and the stack be called by a number.
    """
    if not isinstance(count, int) or count < 1:
        raise OptionError(f"{here()}a stack has {shown(count)} layers: give their number, 1 or more.")
    if layer._made == stack._made:
        stack._place("layer", layer)
    return ModuleList([deepcopy(layer) for _ in range(count)])
