"""Recurrences: cells, and layers over sequences that may end early.

What PyTorch says with `lengths` is what its packed sequences give.
"""

from tests.nn.table import Case, Drawn

PACKED = (
    "(lambda u, p: (torch.nn.utils.rnn.pad_packed_sequence(p[0], batch_first={first}, total_length={steps})[0], p[1]))"
    "(torch.nn.utils.rnn, layer(torch.nn.utils.rnn.pack_padded_sequence("
    "x, lengths, batch_first={first}, enforce_sorted=False){state}))"
)


def packed(steps: int, state: str = "", first: bool = False) -> str:
    """A layer of PyTorch over sequences that end early."""
    return PACKED.format(steps=steps, first=first, state=state and f", {state}")


LENGTHS = Drawn((3,), values=[2, 5, 3])
TIME = {"x": "T"}
BATCH_FIRST = {"x": "N", "lengths": "N"}

CELLS = [
    Case("rnn_cell", {"x": (2, 3), "h": (2, 4)}, "nn.RNNCell(3, 4)", "layer(x, h)", compiled=True, derivatives=True),
    Case("rnn_cell_relu", {"x": (2, 3)}, "nn.RNNCell(3, 4, bias=False, nonlinearity='relu')"),
    Case("rnn_cell_one", {"x": (3,), "h": (4,)}, "nn.RNNCell(3, 4)", "layer(x, h)", batch={}),
    Case(
        "lstm_cell", {"x": (2, 3), "h": (2, 4), "c": (2, 4)}, "nn.LSTMCell(3, 4)", "layer(x, (h, c))",
        compiled=True, derivatives=True,
    ),
    Case("lstm_cell_from_zeros", {"x": (2, 3)}, "nn.LSTMCell(3, 4, bias=False)"),
    Case("lstm_cell_one", {"x": (3,)}, "nn.LSTMCell(3, 2)", batch={}),
    Case("gru_cell", {"x": (2, 3), "h": (2, 4)}, "nn.GRUCell(3, 4)", "layer(x, h)", compiled=True, derivatives=True),
    Case("gru_cell_from_zeros", {"x": (2, 3)}, "nn.GRUCell(3, 4, bias=False)"),
    Case("gru_cell_one", {"x": (3,), "h": (4,)}, "nn.GRUCell(3, 4)", "layer(x, h)", batch={}),
]  # fmt: skip

RNNS = [
    Case(
        "rnn", {"x": (4, 2, 3), "h": (1, 2, 3)}, "nn.RNN(3, 3)", "layer(x, h)", batch=TIME,
        compiled=True, derivatives=True,
    ),
    Case("rnn_from_zeros", {"x": (3, 2, 2)}, "nn.RNN(2, 3, bias=False)", batch=TIME),
    Case("rnn_checkpoint", {"x": (4, 2, 2)}, "nn.RNN(2, 3, checkpoint=2)", torch_make="nn.RNN(2, 3)", batch={}),
    Case("rnn_relu", {"x": (3, 2, 2)}, "nn.RNN(2, 3, num_layers=2, nonlinearity='relu', dropout=0.0)", batch=TIME),
    Case("rnn_one", {"x": (4, 2), "h": (2, 3)}, "nn.RNN(2, 3, bidirectional=True)", "layer(x, h)", batch=TIME),
    Case("rnn_one_batch_first", {"x": (4, 2)}, "nn.RNN(2, 3, batch_first=True)", batch=TIME),
    Case("rnn_batch_first", {"x": (2, 4, 3)}, "nn.RNN(3, 2, batch_first=True)"),
    Case(
        "rnn_both", {"x": (3, 2, 2), "h": (4, 2, 2)}, "nn.RNN(2, 2, num_layers=2, bidirectional=True)", "layer(x, h)",
        batch=TIME,
    ),
    Case(
        "rnn_lengths", {"x": (3, 5, 2), "lengths": LENGTHS},
        "nn.RNN(2, 2, num_layers=2, batch_first=True, bidirectional=True)", "layer(x, lengths=lengths)",
        torch_call=packed(5, first=True), batch=BATCH_FIRST,
    ),
]  # fmt: skip

LSTMS = [
    Case(
        "lstm", {"x": (3, 2, 3), "h": (1, 2, 2), "c": (1, 2, 2)}, "nn.LSTM(3, 2)", "layer(x, (h, c))", batch=TIME,
        compiled=True, derivatives=True,
    ),
    Case("lstm_from_zeros", {"x": (3, 2, 2)}, "nn.LSTM(2, 3, bias=False, dropout=0.0)", batch=TIME),
    Case("lstm_levels", {"x": (4, 2, 2)}, "nn.LSTM(2, 3, num_layers=2)", batch=TIME),
    Case("lstm_one", {"x": (4, 2)}, "nn.LSTM(2, 3)", batch=TIME),
    Case("lstm_checkpoint", {"x": (5, 2, 2)}, "nn.LSTM(2, 2, num_layers=2, bidirectional=True, checkpoint=2)",
         torch_make="nn.LSTM(2, 2, num_layers=2, bidirectional=True)"),
    Case("lstm_batch_first", {"x": (2, 4, 3)}, "nn.LSTM(3, 2, batch_first=True)"),
    Case(
        "lstm_both", {"x": (3, 2, 2), "h": (4, 2, 2), "c": (4, 2, 2)},
        "nn.LSTM(2, 2, num_layers=2, bidirectional=True)", "layer(x, (h, c))", batch=TIME,
    ),
    Case(
        "lstm_projected", {"x": (3, 2, 2), "h": (1, 2, 2), "c": (1, 2, 3)}, "nn.LSTM(2, 3, proj_size=2)",
        "layer(x, (h, c))", batch=TIME,
    ),
    Case(
        "lstm_projected_both", {"x": (3, 2, 2)}, "nn.LSTM(2, 3, num_layers=2, bidirectional=True, proj_size=1)",
        batch=TIME,
    ),
    Case(
        "lstm_lengths", {"x": (5, 3, 2), "lengths": LENGTHS}, "nn.LSTM(2, 2)", "layer(x, lengths=lengths)",
        torch_call=packed(5), batch=TIME,
    ),
    Case(
        "lstm_lengths_both", {"x": (3, 5, 2), "lengths": LENGTHS, "h": (2, 3, 2), "c": (2, 3, 2)},
        "nn.LSTM(2, 2, batch_first=True, bidirectional=True)", "layer(x, (h, c), lengths=lengths)",
        torch_call=packed(5, "(h, c)", first=True), batch={},
    ),
]  # fmt: skip

GRUS = [
    Case(
        "gru", {"x": (3, 2, 3), "h": (1, 2, 2)}, "nn.GRU(3, 2)", "layer(x, h)", batch=TIME,
        compiled=True, derivatives=True,
    ),
    Case("gru_from_zeros", {"x": (3, 2, 2)}, "nn.GRU(2, 3, bias=False, dropout=0.0)", batch=TIME),
    Case("gru_levels", {"x": (4, 2, 2)}, "nn.GRU(2, 3, num_layers=2)", batch=TIME),
    Case("gru_one", {"x": (4, 2)}, "nn.GRU(2, 3)", batch=TIME),
    Case("gru_checkpoint", {"x": (4, 2, 2)}, "nn.GRU(2, 3, checkpoint='sqrt')", torch_make="nn.GRU(2, 3)", batch={}),
    Case("gru_batch_first", {"x": (2, 4, 3)}, "nn.GRU(3, 2, batch_first=True)"),
    Case(
        "gru_both", {"x": (3, 2, 2), "h": (4, 2, 2)}, "nn.GRU(2, 2, num_layers=2, bidirectional=True)", "layer(x, h)",
        batch=TIME,
    ),
    Case(
        "gru_lengths", {"x": (5, 3, 2), "lengths": LENGTHS, "h": (2, 3, 2)}, "nn.GRU(2, 2, bidirectional=True)",
        "layer(x, h, lengths=lengths)", torch_call=packed(5, "h"), batch=TIME,
    ),
]  # fmt: skip

CASES = [*CELLS, *RNNS, *LSTMS, *GRUS]
