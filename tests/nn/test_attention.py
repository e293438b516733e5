"""Attention, embeddings and transformers where PyTorch has no word: against NumPy written plainly, memory, errors."""

import re

import numpy as np
import pytest

import gradgen as gg
from gradgen import nn
from gradgen.errors import DTypeError, OptionError, ShapeError
from tests.cpu.running import unjitted


def arrays(seed: int, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.RandomState(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def attention_by_loops(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    y = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        e = np.array([np.exp(q[i] @ k[j] / np.sqrt(q.shape[1])) if j <= i else 0.0 for j in range(len(k))])
        y[i] = (e / e.sum()) @ v
    return y


def test_attention_of_leading_axes_that_broadcast_and_symbolic_lengths() -> None:
    N, T, S = gg.size("N"), gg.size("T"), gg.size("S")
    q, k, v = gg.input("q", (N, 2, T, 4)), gg.input("k", (1, 2, S, 4)), gg.input("v", (2, S, 3))
    net = gg.compile({"y": nn.scaled_dot_product_attention(q, k, v, is_causal=True)}, name="a", dtype="float64", wrt=[])
    given = arrays(0, q=(3, 2, 5, 4), k=(1, 2, 6, 4), v=(2, 6, 3))
    found = unjitted(net)(**given)["y"]
    for n, h in np.ndindex(3, 2):
        wanted = attention_by_loops(given["q"][n, h], given["k"][0, h], given["v"][h])
        np.testing.assert_allclose(found[n, h], wanted, rtol=1e-12)


@pytest.mark.parametrize("far", [1000.0, -1000.0])
def test_scores_far_from_zero_neither_overflow_nor_count_as_masked(far: float) -> None:
    q, k, v, m = gg.input("q", (2, 1)), gg.input("k", (3, 1)), gg.input("v", (3, 1)), gg.input("m", (2, 3), "bool")
    net = gg.compile({"y": nn.scaled_dot_product_attention(q, k, v, m)}, name="a", dtype="float64", wrt=[q])
    given = {"q": [[far], [far]], "k": np.ones((3, 1)), "v": [[1.0], [2.0], [4.0]]}
    seen = np.array([[True, False, True], [False, False, False]])
    net = unjitted(net)
    with np.errstate(invalid="ignore"):  # 0 / 0, which nobody reads
        out, saved = net.forward(**{name: np.array(x) for name, x in given.items()}, m=seen)
    np.testing.assert_allclose(out["y"], [[2.5], [0.0]], rtol=1e-12)
    gradient = net.backward(saved, y=np.ones((2, 1)))
    np.testing.assert_array_equal(next(iter(gradient.values())), 0.0)


def test_the_scores_of_all_pairs_are_never_whole() -> None:
    N, T = gg.size("N"), gg.size("T")
    x = gg.input("x", (N, T, 16))
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True, norm_first=True)
    told = gg.compile({"loss": gg.sum(layer(x) ** 2)}, name="encoder").explain()
    assert told.count("rows at a time") >= 2
    assert "kept whole" not in told


def test_multihead_attention_with_symbols_for_examples_and_lengths() -> None:
    N, T, S = gg.size("N"), gg.size("T"), gg.size("S")
    q, m = gg.input("q", (N, T, 4)), gg.input("m", (N * 2, T, S), "bool")
    k, p = gg.input("k", (N, S, 4)), gg.input("p", (N, S), "bool")
    mha = nn.MultiheadAttention(4, 2, batch_first=True)
    y, weights = mha(q, k, k, p, attn_mask=m)
    net = unjitted(gg.compile({"y": y, "weights": weights}, name="mha", dtype="float64", wrt=[]))
    given = arrays(1, q=(3, 2, 4), k=(3, 5, 4))
    rng = np.random.RandomState(2)
    hidden, padded = rng.uniform(size=(6, 2, 5)) < 0.3, rng.uniform(size=(3, 5)) < 0.3
    w = arrays(3, in_proj_weight=(12, 4), in_proj_bias=(12,), out_proj_weight=(4, 4), out_proj_bias=(4,))
    found = net(**given, m=hidden, p=padded, **{f"mha_{name}": x for name, x in w.items()})
    u, b = w["in_proj_weight"], w["in_proj_bias"]
    for n in range(3):
        heads, means = [], np.zeros((2, 5))
        for h in range(2):
            at = [slice(4 * part + 2 * h, 4 * part + 2 * h + 2) for part in range(3)]
            query = given["q"][n] @ u[at[0]].T + b[at[0]]
            key, value = (given["k"][n] @ u[a].T + b[a] for a in at[1:])
            e = np.exp(query @ key.T / np.sqrt(2)) * ~hidden[2 * n + h] * ~padded[n]
            weight = e / np.maximum(e.sum(1, keepdims=True), 1e-300)
            heads.append(weight @ value)
            means += weight / 2
        np.testing.assert_allclose(found["weights"][n], means, rtol=1e-9)
        wanted = np.concatenate(heads, 1) @ w["out_proj_weight"].T + w["out_proj_bias"]
        np.testing.assert_allclose(found["y"][n], wanted, rtol=1e-9)


def test_encodings_are_what_numpy_says() -> None:
    T = gg.size("T")
    x = gg.input("x", (T, 6))
    outputs = {"waves": x * 0 + nn.sinusoidal_encoding(T, 6), "turned": nn.rotary_encoding(x)}
    found = unjitted(gg.compile(outputs, name="places", dtype="float64", wrt=[]))(**arrays(4, x=(7, 6)))
    given = arrays(4, x=(7, 6))["x"]
    for t, k in np.ndindex(7, 3):
        angle = t / 10000.0 ** (2 * k / 6)
        c, s = np.cos(angle), np.sin(angle)
        np.testing.assert_allclose(found["waves"][t, 2 * k : 2 * k + 2], [s, c], rtol=1e-12, atol=1e-15)
        a, b = given[t, 2 * k : 2 * k + 2]
        np.testing.assert_allclose(found["turned"][t, 2 * k : 2 * k + 2], [a * c - b * s, a * s + b * c], rtol=1e-12)


def test_products_after_rotary_encoding_depend_on_distances_only() -> None:
    q, k, t = gg.input("q", (5, 4)), gg.input("k", (5, 4)), gg.input("t", (5,), "int64")
    s = gg.sum(nn.rotary_encoding(q, t) * nn.rotary_encoding(k, t + 3), axis=1)
    net = unjitted(gg.compile({"s": s}, name="turned", dtype="float64", wrt=[]))
    given = arrays(5, q=(4,), k=(4,))
    found = net(t=np.array([0, 1, 5, 17, 100]), **{name: np.tile(x, (5, 1)) for name, x in given.items()})["s"]
    np.testing.assert_allclose(found, found[0], rtol=1e-11)


def test_first_values_are_those_of_pytorch() -> None:
    x = gg.input("x", (2, 8))
    layer = nn.TransformerEncoderLayer(8, 2, 4)
    first = gg.compile({"y": layer(x)}, name="layer").init(0)
    assert set(nn.state_dict_names(layer).values()) == {
        *(f"self_attn.{end}" for end in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")),
        *(f"{part}.{end}" for part in ("linear1", "linear2", "norm1", "norm2") for end in ("weight", "bias")),
    }
    assert np.abs(first["layer_self_attn_in_proj_weight"]).max() <= np.sqrt(6 / 32)
    assert not first["layer_self_attn_in_proj_bias"].any()
    assert not first["layer_self_attn_out_proj_bias"].any()
    assert (first["layer_norm1_weight"] == 1).all()
    ids = gg.input("ids", (3,), "int64")
    table = nn.Embedding(50, 20, padding_idx=-50)
    drawn = gg.compile({"y": table(ids)}, name="rows").init(0)["table_weight"]
    assert not drawn[0].any()
    assert abs(drawn[1:].std() - 1) < 0.1


def test_a_stack_made_with_its_layer_in_one_statement_has_the_name_of_the_statement() -> None:
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 8), 2)
    layer = nn.TransformerDecoderLayer(4, 1, 8)
    other = nn.TransformerDecoder(layer, 1)
    assert "stack_layers_1_linear1_weight" in nn.state_dict_names(stack)
    assert "other_layers_0_linear1_weight" in nn.state_dict_names(other)
    assert "layer_linear1_weight" in nn.state_dict_names(layer)
    assert len(list(stack.parameters())) == 24


def test_a_transformer_starts_all_matrices_by_xavier() -> None:
    model = nn.Transformer(4, 1, 1, 1, 100)
    first = gg.compile({"y": gg.sum(model.encoder.layers[0].linear1.weight)}, name="model").init(0)
    assert np.abs(first["model_encoder_layers_0_linear1_weight"]).max() <= np.sqrt(6 / 104)
    assert np.abs(first["model_encoder_layers_0_linear1_weight"]).max() > 0.9 * np.sqrt(6 / 104)


X = gg.input("x", (3, 2, 4))
Y = gg.input("y", (3, 2, 5))
IDS = gg.input("ids", (3,), "int64")
X_LESS, Y_LESS, Y_ONE = gg.input("x_less", (3, 1, 4)), gg.input("y_less", (2, 2, 5)), gg.input("y_one", (2, 5))
EVERY = gg.size("d")
ERRORS = [
    (lambda: nn.MultiheadAttention(6, 4, name="attend"), ShapeError,
     "attend has 6 features for 4 heads: give a multiple of 4."),
    (lambda: nn.MultiheadAttention(6, 0, name="attend"), ShapeError,
     "attend has 0 for a size: give numbers of features and heads."),
    (lambda: nn.MultiheadAttention(6, 2, 1.5, name="attend"), OptionError,
     "dropout has p=1.5: give the probability to drop, from 0 to 1."),
    (lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"), OptionError,
     "the activations by name are relu and gelu, not 'tanh'; or give a function."),
    (lambda: nn.TransformerEncoder(nn.Identity(), 0), OptionError,
     "a stack has 0 layers: give their number, 1 or more."),
    (lambda: nn.MultiheadAttention(4, 2, name="attend")(X, Y, X), ShapeError,
     "attend takes keys (T, N, ...) or (T, ...) with 4 features, and is given y (3, 2, 5)."),
    (lambda: nn.MultiheadAttention(4, 2, vdim=5, name="attend")(X, X, Y_LESS), ShapeError,
     ("attend of x (3, 2, 4), x (3, 2, 4) and y_less (2, 2, 5): "
      "give as many keys as values, and of all three as many examples.")),
    (lambda: nn.MultiheadAttention(4, 2, name="attend")(X, X, X, attn_mask=Y), ShapeError,
     "attn_mask of attend is y (3, 2, 5), and must have (4, 3, 3)."),
    (lambda: nn.MultiheadAttention(4, 2, name="attend")(X, X, X, Y_ONE), ShapeError,
     "key_padding_mask of attend is y_one (2, 5), and must have (2, 3)."),
    (lambda: nn.scaled_dot_product_attention(X, Y, X), ShapeError,
     "attention of x (3, 2, 4) to y (3, 2, 5): the last axes have the sizes 4 and 5. Make them equal."),
    (lambda: nn.scaled_dot_product_attention(X, X, X_LESS), ShapeError,
     "attention of x (3, 2, 4) to x (3, 2, 4) and x_less (3, 1, 4): give (..., T, d), (..., S, d) and (..., S, e)."),
    (lambda: nn.scaled_dot_product_attention(X, X, X, IDS), DTypeError,
     "a mask of attention has booleans or floats; ids (3) is int64. Give a comparison, such as mask != 0."),
    (lambda: nn.scaled_dot_product_attention(X, X, X, dropout_p=0.5), OptionError,
     ("dropout_p of scaled_dot_product_attention is 0.5: a function has no seed to drop by. "
      "Use nn.MultiheadAttention(..., dropout=p).")),
    (lambda: nn.scaled_dot_product_attention(*[gg.input("z", (3, EVERY))] * 3), ShapeError,
     "the last axis of z (3, d) has the size d, of which attention takes no square root. Give scale."),
    (lambda: nn.Embedding(3, -1, name="table"), ShapeError,
     "table has -1 for a size: give numbers of rows and columns."),
    (lambda: nn.Embedding(3, 4, 3, name="table"), OptionError,
     "table has the rows 0..2, and no row 3."),
    (lambda: nn.Embedding(3, 4, name="table")(X), DTypeError,
     "table takes integers; x (3, 2, 4) is float32."),
    (lambda: nn.sinusoidal_encoding(4, 5), ShapeError,
     "sinusoidal_encoding has 5 features: give an even number."),
    (lambda: nn.rotary_encoding(Y), ShapeError,
     "rotary_encoding takes floats (..., T, d) with an even d, not y (3, 2, 5)."),
    (lambda: nn.rotary_encoding(X, IDS), ShapeError,
     "rotary_encoding of x (3, 2, 4) takes 2 positions along one axis, not ids (3)."),
    (lambda: nn.LayerNorm(5, name="norm")(X), ShapeError,
     "norm takes the sizes (5) along the last axes, and is given x (3, 2, 4)."),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "error", "message"), ERRORS)
def test_what_cannot_be_is_refused(wrong: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        wrong()  # type: ignore[operator]
    text = re.sub(r"^[\w.]+:\d+: ", "", str(raised.value))
    assert text == message
