"""Recurrences: a scan is its cells one after another, sequences end where they end, and what is refused."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradgen as gg
from gradgen import nn
from gradgen.errors import DTypeError, GradgenError, OptionError, ShapeError
from gradgen.graph.tensor import Tensor
from gradgen.nn.steps import lstm_step
from tests.cpu.running import unjitted

STEPS, BATCH, INPUTS, HIDDEN = 2, 2, 2, 2
LAYERS: dict[str, Callable[..., Any]] = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


def drawn(of: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers for leaves whose shapes are numbers."""
    rng = np.random.RandomState(seed)
    return {x.name: 0.5 * rng.standard_normal(tuple(int(s) for s in x.shape)) for x in of}


def derivatives(loss: Tensor, by: list[Tensor], name: str) -> tuple[Any, list[Tensor]]:
    """The loss, its gradient, and its second derivative along directions, which are leaves."""
    directions = [gg.input(f"v_{x.name}", x.shape) for x in by]
    outputs = {"loss": loss}
    outputs |= {f"gradient_{k}": g for k, g in enumerate(gg.grad(loss, by))}
    outputs |= {f"second_{k}": g for k, g in enumerate(gg.hvp(loss, by, directions))}
    return unjitted(gg.compile(outputs, name=name, dtype="float64", wrt=[])), directions


def assert_equal(loop: Tensor, unrolled: Tensor, by: list[Tensor], others: tuple[Tensor, ...] = ()) -> None:
    (first, directions), (second, _) = derivatives(loop, by, "loop"), derivatives(unrolled, by, "unrolled")
    arrays = drawn([*by, *directions, *others])
    found, wanted = first(**arrays), second(**arrays)
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-10, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_is_its_cells_one_after_another(kind: str) -> None:
    layer = LAYERS[kind](INPUTS, HIDDEN)
    cell: Any = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}[kind](INPUTS, HIDDEN)
    x, g = gg.input("x", (STEPS, BATCH, INPUTS)), gg.input("g", (STEPS, BATCH, HIDDEN))
    weights = {key: getattr(layer, f"{key}_l0") for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    cell._tensors.update(weights)
    y, _ = layer(x)
    state, ys = None, []
    for t in range(STEPS):
        state = cell(x[t], state)
        ys.append(state[0] if kind == "LSTM" else state)
    assert_equal(gg.sum(y * g), gg.sum(gg.stack(ys) * g), [x, *weights.values()], (g,))


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, str]:
    """Formulas for the next carry and for the result, of a carry h, an element x and a matrix W."""

    def formula(depth: int) -> str:
        if depth == 0:
            return draw(st.sampled_from(["h", "x", "h @ W.T", "x @ W"]))
        form = draw(st.sampled_from(["gg.tanh({})", "gg.sin({})", "({} + {})", "({} * {})", "gg.where(x > 0, {}, {})"]))
        return form.format(*[formula(depth - 1) for _ in range(form.count("{}"))])

    return f"gg.tanh({formula(2)})", formula(2)


@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(), st.booleans())
def test_a_scan_is_its_body_again_and_again(body: tuple[str, str], reverse: bool) -> None:
    W, start = gg.param("W", (2, 2)), gg.input("start", (2, 2))
    xs, g = gg.input("xs", (3, 2, 2)), gg.input("g", (3, 2, 2))

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        scope = {"gg": gg, "h": h, "x": x, "W": W}
        return eval(body[0], scope), eval(body[1], scope)

    last, ys = gg.scan(step, start, xs, reverse=reverse)
    carry: Tensor = start
    results: dict[int, Tensor] = {}
    for t in reversed(range(3)) if reverse else range(3):
        carry, results[t] = step(carry, xs[t])
    # every leaf is in the loss, whatever the formulas mention
    more = gg.sum(W * W) + gg.sum(start * start) + gg.sum(xs * xs)
    loop = gg.sum(last * last) + gg.sum(ys * g) + more
    unrolled = gg.sum(carry * carry) + gg.sum(gg.stack([results[t] for t in range(3)]) * g) + more
    assert_equal(loop, unrolled, [W, start, xs], (g,))


# ---------------------------------------------------------------- sequences that end early


def lstm_by_hand(x: np.ndarray, p: dict[str, np.ndarray], end: str) -> np.ndarray:
    """One sequence (T, in) through one direction of an LSTM: its states h, beside the steps they belong to."""
    W_ih, W_hh, b_ih, b_hh = (p[f"lstm_{key}_l0{end}"] for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = c = np.zeros(W_hh.shape[1])
    hs = np.zeros((len(x), len(h)))
    for t in reversed(range(len(x))) if end else range(len(x)):
        i, f, g, o = np.split(W_ih @ x[t] + b_ih + W_hh @ h + b_hh, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        hs[t] = h = np.tanh(c) / (1 + np.exp(-o))
    return hs


def test_any_number_of_steps_and_of_sequences_each_to_its_end() -> None:
    T, N = gg.size("T"), gg.size("N")
    x, lengths = gg.input("x", (T, N, INPUTS)), gg.input("lengths", (N,), dtype="int64")
    lstm = nn.LSTM(INPUTS, HIDDEN, bidirectional=True)
    y, (h_n, _) = lstm(x, lengths=lengths)
    net = unjitted(gg.compile({"y": y, "h_n": h_n}, name="ends", dtype="float64", wrt=[]))
    p = drawn(lstm.parameters())
    for steps, ends in ((4, [4, 0, 1]), (6, [2, 6]), (1, [1])):
        xs = np.random.RandomState(steps).standard_normal((steps, len(ends), INPUTS))
        for n, end in enumerate(ends):
            xs[end:, n] = np.nan  # what is behind the end is not looked at
        found = net(x=xs, lengths=np.array(ends), **p)
        for n, end in enumerate(ends):
            wanted = np.zeros((steps, 2 * HIDDEN))
            forth, back = (lstm_by_hand(xs[:end, n], p, direction) for direction in ("", "_reverse"))
            wanted[:end] = np.concatenate([forth, back], axis=1)
            np.testing.assert_allclose(found["y"][:, n], wanted, atol=1e-12)
            last = np.stack([forth[-1], back[0]]) if end else np.zeros((2, HIDDEN))
            np.testing.assert_allclose(found["h_n"][:, n], last, atol=1e-12)


def test_what_is_behind_the_end_has_no_gradient_even_if_it_is_nan() -> None:
    x, lengths = gg.input("x", (3, 2, INPUTS)), gg.input("lengths", (2,), dtype="int64")
    gru = nn.GRU(INPUTS, HIDDEN)
    y, _ = gru(x, lengths=lengths)
    net = unjitted(gg.compile({"loss": gg.sum(y)}, name="ends", dtype="float64", wrt=[x, *gru.parameters()]))
    xs = np.ones((3, 2, INPUTS))
    _, clean = net.value_and_grad(x=xs, lengths=np.array([1, 3]), **drawn(gru.parameters()))
    clean = {name: d.copy() for name, d in clean.items()}
    xs[1:, 0] = np.nan
    _, found = net.value_and_grad(x=xs, lengths=np.array([1, 3]), **drawn(gru.parameters()))
    for name, d in clean.items():
        np.testing.assert_array_equal(found[name], d)


# ---------------------------------------------------------------- parameters


def test_the_names_are_those_of_a_state_dict() -> None:
    lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    keys = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ends = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    assert list(nn.state_dict_names(lstm)) == [f"lstm_{key}{end}" for end in ends for key in keys]
    inside = nn.Sequential(nn.GRUCell(3, 4))
    assert list(nn.state_dict_names(inside).values()) == ["0.weight_ih", "0.weight_hh", "0.bias_ih", "0.bias_hh"]
    assert lstm.weight_ih_l1_reverse.shape == (16, 4)
    assert lstm.weight_hh_l0.shape == (16, 2)
    assert lstm.weight_hr_l0.shape == (2, 4)


def test_parameters_start_within_one_by_the_root_of_hidden() -> None:
    rnn = nn.RNN(3, 16)
    y, _ = rnn(gg.input("x", (2, 2, 3)))
    net = gg.compile({"loss": gg.sum(y)}, name="start")
    for name, value in net.init(seed=0).items():
        assert 0.15 < np.abs(value).max() <= 0.25, name


# ---------------------------------------------------------------- what is refused

x3 = gg.input("x3", (5, 2, 3))
x4 = gg.input("x4", (5, 2, 4))
xd = gg.input("xd", (5, 2, 3), dtype="float64")
row = gg.input("row", (2, 3))
h1 = gg.input("h1", (1, 2, 4))
h2 = gg.input("h2", (2, 2, 4))
hd = gg.input("hd", (1, 2, 4), dtype="float64")
ends = gg.input("ends", (2,), dtype="int64")
five = gg.input("five", (5,), dtype="int64")
real = gg.input("real", (2,))

REFUSED: list[tuple[Callable[[], Any], type[GradgenError], str]] = [
    (lambda: nn.LSTM(3, 0, name="u"), ShapeError, "u has hidden_size=0: give a number from 1 on."),
    (lambda: nn.GRU(3, 4, num_layers=0, name="u"), ShapeError, "u has num_layers=0: give a number from 1 on."),
    (lambda: nn.RNNCell(2.5, 4, name="u"), ShapeError, "u has input_size=2.5: give a number from 1 on."),
    (
        lambda: nn.RNN(3, 4, nonlinearity="sin", name="u"),
        OptionError,
        "u has nonlinearity='sin': it is 'tanh' or 'relu'.",
    ),
    (
        lambda: nn.RNNCell(3, 4, nonlinearity=None, name="u"),
        OptionError,
        "u has nonlinearity=None: it is 'tanh' or 'relu'.",
    ),
    (
        lambda: nn.LSTM(3, 4, proj_size=4, name="u"),
        ShapeError,
        "u has proj_size=4: give a number below hidden_size=4, or 0 for no projection.",
    ),
    (
        lambda: nn.LSTM(3, 4, name="u")(x4),
        ShapeError,
        "u takes (T, N, 3) or (T, 3), and is given x4 (5, 2, 4).",
    ),
    (
        lambda: nn.GRU(3, 4, batch_first=True, name="u")(real),
        ShapeError,
        "u takes (N, T, 3) or (T, 3), and is given real (2).",
    ),
    (lambda: nn.GRUCell(3, 4, name="u")(x3), ShapeError, "u takes (N, 3) or (3), and is given x3 (5, 2, 3)."),
    (
        lambda: nn.RNN(3, 4, name="u")(xd),
        DTypeError,
        "u computes in float32, and is given xd (5, 2, 3), which is float64: gg.cast changes one, dtype= the other.",
    ),
    (
        lambda: nn.RNN(3, 4, name="u")(x3, h2),
        ShapeError,
        "u starts from h0 of shape (1, 2, 4), and is given h2 (2, 2, 4).",
    ),
    (
        lambda: nn.RNN(3, 4, name="u")(x3, hd),
        DTypeError,
        "u computes in float32, and is given hd (1, 2, 4), which is float64: gg.cast changes one, dtype= the other.",
    ),
    (
        lambda: nn.LSTM(3, 4, name="u")(x3, (h1, h2)),
        ShapeError,
        "u starts from c0 of shape (1, 2, 4), and is given h2 (2, 2, 4).",
    ),
    (lambda: nn.LSTM(3, 4, name="u")(x3, h1), ShapeError, "u starts from two states: give (h, c)."),
    (
        lambda: nn.GRUCell(3, 4, name="u")(row, h1),
        ShapeError,
        "u starts from h of shape (2, 4), and is given h1 (1, 2, 4).",
    ),
    (
        lambda: nn.GRU(3, 4, name="u")(x3, lengths=real),
        DTypeError,
        "u has lengths that are integers; real (2) is float32.",
    ),
    (
        lambda: nn.GRU(3, 4, name="u")(x3, lengths=five),
        ShapeError,
        "u takes lengths of shape (2), and is given five (5).",
    ),
    (
        lambda: nn.GRU(3, 4, name="u")(row, lengths=ends),
        ShapeError,
        "u takes lengths only for a batch of sequences, and is given ends (2).",
    ),
    # a body of one's own with the formula of a layer
    (
        lambda: gg.scan(lambda h, x: (x, h), gg.zeros((2, 4)), x3),
        ShapeError,
        "carry 0 of gg.scan has shape (2, 4) before a step and (2, 3) after it: they must be equal.",
    ),
    (
        lambda: gg.scan(
            lambda s, x: (lstm_step(nn.LSTM(3, 4).weights("_l0"), x, s), x),
            (gg.zeros((2, 4)), gg.zeros((2, 4), dtype="float64")),
            x3,
        ),
        DTypeError,
        "carry 0 of gg.scan is float32 before a step and float64 after it: they must be equal; gg.cast changes one.",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_it_says_what_does_not_fit(make: Callable[[], Any], error: type[GradgenError], message: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert re.sub(r"^test_recurrent\.py:\d+: ", "", str(caught.value)) == message
