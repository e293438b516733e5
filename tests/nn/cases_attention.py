"""Attention, embeddings, encodings of positions, and transformers."""

import numpy as np

from tests.nn.table import Case, Drawn

QKV = {"q": (2, 4, 6), "k": (2, 5, 6), "v": (2, 5, 3)}
SEES = Drawn((4, 5), values=[[True, False, True, True, False], [False] * 5, [True] * 5, [False] * 4 + [True]])
CAUSAL = "torch.ones({0}, {1}, dtype=bool).triu(1)"
TABLE = Drawn((3, 4), values=[[0, 2, 1, 6], [2, 2, 3, 0], [5, 6, 1, 2]])
SELF = {"x": (5, 2, 6)}  # (T, N, E)
CROSS = {"q": (4, 2, 6), "k": (5, 2, 3), "v": (5, 2, 7)}
PADDED = Drawn((2, 5), values=[[False, False, True, False, True], [False, True, False, False, False]])
HIDDEN = Drawn((5, 5), values=np.triu(np.ones((5, 5), bool), 2))
ATTEND = "layer(x, x, x{0})"
LAYER = "6, 2, dim_feedforward=4"
SMALL = "dim_feedforward=3, dropout=0.0"
OTHERWISE = "layer_norm_eps=0.1, batch_first=True, norm_first=True, bias=False"
WAVES = "(torch.arange(4)[:, None] * BASE ** (-2 * torch.arange(3) / 6))"
MEMORY = {"x": (4, 2, 6), "y": (5, 2, 6)}
TURNED = (
    "torch.view_as_real(torch.view_as_complex(x.reshape(*x.shape[:-1], 3, 2)) * torch.exp(1j * {0})).reshape(x.shape)"
)


ALL_N = {"q": "N", "k": "N", "v": "N"}


CASES = [
    Case("sdpa", QKV, call="F.scaled_dot_product_attention(q, k, v)", compiled=True),
    Case(
        "sdpa_boolean",
        {**QKV, "m": SEES},
        call="F.scaled_dot_product_attention(q, k, v, attn_mask=m, dropout_p=0.0)",
        batch=ALL_N,
    ),
    Case(
        "sdpa_additive",
        {**QKV, "m": (4, 5)},
        call="F.scaled_dot_product_attention(q, k, v, m)",
        batch=ALL_N,
        derivatives=True,
    ),
    Case("sdpa_additive_for_each", {**QKV, "m": (2, 1, 5)}, call="F.scaled_dot_product_attention(q, k, v, m)"),
    Case("sdpa_causal", QKV, call="F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)"),
    Case(
        "sdpa_causal_wide",
        {"q": (5, 6), "k": (3, 6), "v": (3, 2)},
        call="F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        batch={"q": "T", "k": "S", "v": "S"},
    ),
    Case(
        "sdpa_heads",
        {"q": (2, 3, 4, 6), "k": (2, 3, 5, 6), "v": (2, 3, 5, 3), "m": Drawn((2, 1, 1, 5), "bool")},
        call="F.scaled_dot_product_attention(q, k, v, m)",
    ),
    Case("mha", SELF, "nn.MultiheadAttention(6, 2)", ATTEND.format(""), batch={"x": "T"}, derivatives=True),
    Case(
        "mha_batch_first",
        {"x": (2, 5, 6), "p": PADDED},
        "nn.MultiheadAttention(6, 3, dropout=0.0, bias=False, batch_first=True)",
        ATTEND.format(", key_padding_mask=p"),
        compiled=True,
    ),
    Case(
        "mha_masks",
        {**SELF, "p": PADDED, "m": HIDDEN},
        "nn.MultiheadAttention(6, 2)",
        ATTEND.format(", key_padding_mask=p, attn_mask=m, average_attn_weights=False"),
        batch={},
    ),
    Case(
        "mha_additive_masks",
        {**SELF, "p": (2, 5), "m": (5, 5)},
        "nn.MultiheadAttention(6, 2)",
        ATTEND.format(", p, need_weights=False, attn_mask=m"),
        batch={},
    ),
    Case(
        "mha_all_hidden",
        {**SELF, "m": Drawn((5, 5), values=[[True] * 5, *[[False, True, False, True, True]] * 4])},
        "nn.MultiheadAttention(6, 2)",
        ATTEND.format(", need_weights=False, attn_mask=m"),
        batch={},
    ),
    Case(
        "mha_mask_for_each",
        {"x": (2, 5, 6), "m": (4, 5, 5)},
        "nn.MultiheadAttention(6, 2, batch_first=True)",
        ATTEND.format(", attn_mask=m"),
        batch={},
    ),
    Case(
        "mha_boolean_for_each",
        {
            "x": (2, 5, 6),
            "m": Drawn((4, 5, 5), values=np.stack([np.triu(np.ones((5, 5), bool), k) for k in range(1, 5)])),
        },
        "nn.MultiheadAttention(6, 2, batch_first=True)",
        ATTEND.format(", attn_mask=m"),
        batch={},
    ),
    Case(
        "mha_causal",
        SELF,
        "nn.MultiheadAttention(6, 2)",
        ATTEND.format(", is_causal=True"),
        torch_call=ATTEND.format(f", is_causal=True, attn_mask={CAUSAL.format(5, 5)}"),
        batch={"x": "T"},
    ),
    Case("mha_cross", CROSS, "nn.MultiheadAttention(6, 2, kdim=3, vdim=7)", "layer(q, k, v)", batch={}),
    Case(
        "mha_cross_no_bias",
        {"q": (2, 4, 6), "k": (2, 5, 6), "v": (2, 5, 7)},
        "nn.MultiheadAttention(6, 1, bias=False, vdim=7, batch_first=True)",
        "layer(q, k, v, need_weights=False)",
    ),
    Case("mha_memory", {"q": (4, 2, 6), "k": (5, 2, 6)}, "nn.MultiheadAttention(6, 2)", "layer(q, k, k)", batch={}),
    Case("mha_one", {"x": (5, 6)}, "nn.MultiheadAttention(6, 2)", ATTEND.format("")),
    Case("embedding", {"x": TABLE}, "nn.Embedding(7, 5)", compiled=True, derivatives=True),
    Case("embedding_padding", {"x": TABLE}, "nn.Embedding(7, 5, padding_idx=2)"),
    Case("embedding_padding_last", {"x": TABLE}, "nn.Embedding(7, 5, padding_idx=-1)"),
    Case(
        "sinusoidal",
        {"x": (4, 6)},
        call="x * nn.sinusoidal_encoding(4, 6, base=50.0)",
        torch_call=f"x * torch.stack([torch.sin({WAVES}), torch.cos({WAVES})], 2).reshape(4, 6)".replace(
            "BASE", "50.0"
        ),
        batch={},
        compiled=True,
        derivatives=True,
    ),
    Case(
        "rotary",
        {"x": (2, 4, 6)},
        call="nn.rotary_encoding(x)",
        torch_call=TURNED.format(WAVES.replace("BASE", "10000.0")),
        compiled=True,
        derivatives=True,
    ),
    Case(
        "rotary_places",
        {"x": (4, 6), "t": Drawn((4,), values=[3, 0, 11, 5])},
        call="nn.rotary_encoding(x, positions=t, base=50.0)",
        torch_call=TURNED.format(WAVES.replace("torch.arange(4)", "t").replace("BASE", "50.0")),
        batch={"x": "T", "t": "T"},
    ),
    Case(
        "encoder_layer",
        SELF,
        f"nn.TransformerEncoderLayer({LAYER}, dropout=0.0)",
        batch={"x": "T"},
        derivatives=True,
    ),
    Case(
        "encoder_layer_norm_first",
        {"x": (2, 5, 6), "p": PADDED},
        f"nn.TransformerEncoderLayer({LAYER}, dropout=0.0, activation='gelu', batch_first=True, norm_first=True)",
        "layer(x, src_key_padding_mask=p)",
        compiled=True,
    ),
    Case(
        "encoder_layer_options",
        {**SELF, "m": HIDDEN},
        f"nn.TransformerEncoderLayer({LAYER}, dropout=0.0, activation=F.silu, layer_norm_eps=0.1, bias=False)",
        "layer(x, src_mask=m)",
        batch={},
    ),
    Case(
        "decoder_layer",
        MEMORY,
        f"nn.TransformerDecoderLayer({LAYER}, dropout=0.0)",
        "layer(x, y)",
        batch={},
    ),
    Case(
        "decoder_layer_norm_first",
        {"x": (2, 4, 6), "y": (2, 5, 6), "p": PADDED, "m": Drawn((4, 5), values=~np.tri(4, 5, dtype=bool))},
        f"nn.TransformerDecoderLayer({LAYER}, dropout=0.0, activation=F.gelu, batch_first=True, norm_first=True)",
        "layer(x, y, memory_mask=m, memory_key_padding_mask=p)",
        batch={"x": "N", "y": "N", "p": "N"},
    ),
    Case(
        "decoder_layer_options",
        MEMORY,
        f"nn.TransformerDecoderLayer({LAYER}, dropout=0.0, layer_norm_eps=0.1, bias=False)",
        "layer(x, y, tgt_is_causal=True)",
        torch_call=f"layer(x, y, tgt_mask={CAUSAL.format(4, 4)}, tgt_is_causal=True)",
        batch={},
    ),
    Case(
        "decoder_layer_one",
        {"x": (4, 2), "y": (3, 2)},
        "nn.TransformerDecoderLayer(2, 1, 1, 0.0)",
        "layer(x, y)",
        batch={},
    ),
    Case(
        "encoder",
        SELF,
        f"nn.TransformerEncoder(nn.TransformerEncoderLayer({LAYER}, dropout=0.0), num_layers=2, norm=nn.LayerNorm(6))",
        "layer(x, is_causal=True)",
        torch_call=f"layer(x, mask={CAUSAL.format(5, 5)})",
        batch={"x": "T"},
    ),
    Case(
        "encoder_small",
        {"x": (2, 3, 2)},
        "nn.TransformerEncoder(encoder_layer=nn.TransformerEncoderLayer(2, 1, 2, 0.0, batch_first=True), num_layers=2)",
    ),
    Case(
        "decoder",
        MEMORY,
        f"nn.TransformerDecoder(nn.TransformerDecoderLayer({LAYER}, dropout=0.0), num_layers=2, norm=nn.LayerNorm(6))",
        "layer(x, y)",
        batch={},
    ),
    Case(
        "decoder_small",
        {"x": (2, 2), "y": (3, 2)},
        "nn.TransformerDecoder(decoder_layer=nn.TransformerDecoderLayer(2, 1, 1, 0.0), num_layers=1)",
        "layer(x, y)",
        batch={},
    ),
    Case(
        "transformer",
        MEMORY,
        f"nn.Transformer(d_model=6, nhead=2, num_encoder_layers=1, num_decoder_layers=2, {SMALL})",
        "layer(y, x, tgt_is_causal=True)",
        torch_call=f"layer(y, x, tgt_mask={CAUSAL.format(4, 4)}, tgt_is_causal=True)",
        batch={},
    ),
    Case(
        "transformer_small",
        {"x": (1, 2, 2), "y": (1, 3, 2)},
        f"nn.Transformer(2, 1, 1, 1, {SMALL}, activation='gelu', {OTHERWISE})",
        "layer(y, x)",
    ),
    Case("layer_norm_layer", {"x": (3, 4)}, "nn.LayerNorm(4, eps=0.1)", compiled=True, derivatives=True),
    Case("layer_norm_layer_axes", {"x": (3, 2, 4)}, "nn.LayerNorm(normalized_shape=(2, 4), bias=False)"),
    Case("layer_norm_layer_plain", {"x": (3, 4)}, "nn.LayerNorm(4, elementwise_affine=False)"),
]
