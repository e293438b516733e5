"""Recurrences over whole sequences: Elman's, the LSTM and the GRU, in levels and in both directions.

In: sequences, and how long each is. Out: the state behind every step, and the last ones. Each is a scan of a formula of
`cells.py`.
"""

from typing import ClassVar

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.nodes import same_shape, show_shape
from gradgen.graph.origin import naming
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang.array import concatenate, stack, swapaxes
from gradgen.lang.compute import compute, where
from gradgen.lang.declare import index
from gradgen.lang.scan import scan
from gradgen.nn.layers.cells import Recurrent
from gradgen.nn.layers.dropout import Dropout
from gradgen.nn.steps import State, Step, Weights, gru_step, lstm_step, rnn_step

__all__ = ["GRU", "LSTM", "RNN"]


class Sequences(Recurrent):
    """What the three layers have in common: levels, directions, and sequences that end early."""

    gates: ClassVar[int]
    step: Step
    proj_size: int

    def build(
        self,
        sizes: dict[str, int],
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        checkpoint: int | str | None,
        name: str | None,
        dtype: str,
        proj_size: int = 0,
    ) -> None:
        """Check the options and declare the parameters of every level and direction."""
        self.begin(name, dtype, **sizes)
        if not isinstance(proj_size, int) or not 0 <= proj_size < self.hidden_size:
            raise ShapeError(
                f"{here()}{self.name} has proj_size={shown(proj_size)}: give a number below "
                f"hidden_size={self.hidden_size}, or 0 for no projection."
            )
        self.proj_size = proj_size
        self.drop = Dropout(dropout)  # between levels
        self.num_layers, self.batch_first, self.bidirectional = sizes["num_layers"], batch_first, bidirectional
        self.checkpoint = checkpoint
        self.ends = ("", "_reverse") if bidirectional else ("",)
        self.output_size = self.proj_size or self.hidden_size
        for level in range(self.num_layers):
            inputs = self.input_size if level == 0 else len(self.ends) * self.output_size
            for end in self.ends:
                self.declare_step(self.gates, inputs, bias, f"_l{level}{end}", self.proj_size)

    def walk(self, x: Tensor, given: tuple[Tensor | None, ...], lengths: Tensor | None) -> tuple[Tensor, State]:
        """The outputs of the last level, and the last states of all levels and directions."""
        form = "(N, T, {0}) or (T, {0})" if self.batch_first else "(T, N, {0}) or (T, {0})"
        self.check_input(x, (2, 3), form.format(self.input_size))
        swapped = self.batch_first and x.ndim == 3
        x = swapaxes(x, 0, 1) if swapped else x
        count = self.num_layers * len(self.ends)
        sizes = self.output_size, self.hidden_size
        starts = [
            self.starting(f"{what}0", h, (count, *x.shape[1:-1], size))
            for what, h, size in zip("hc", given, sizes, strict=False)
        ]
        going = None if lengths is None else self.going(x, lengths)
        finals: list[State] = []
        for level in range(self.num_layers):
            ys = []
            for end in self.ends:
                begin = tuple(start[len(finals)] for start in starts)
                weights = self.weights(f"_l{level}{end}", self.proj_size > 0)
                with naming(f"{self.name}_l{level}{end}"):
                    final, y = self.direction(weights, x, begin, going, reverse=end != "")
                finals.append(final)
                ys.append(y)
            x = ys[0] if len(ys) == 1 else concatenate(ys, axis=-1)
            x = self.drop(x) if level < self.num_layers - 1 else x
        last = tuple(stack(states) for states in zip(*finals, strict=True))
        return (swapaxes(x, 0, 1) if swapped else x), last

    def direction(
        self, weights: Weights, x: Tensor, begin: State, going: Tensor | None, reverse: bool
    ) -> tuple[State, Tensor]:
        """One level in one direction. Behind its end a sequence keeps its state, and its outputs are 0."""

        def body(state: State, given: tuple[Tensor, Tensor | None]) -> tuple[State, Tensor]:
            x_t, going_t = given
            following = self.step(weights, x_t, state)
            if going_t is None:
                return following, following[0]
            on = going_t[:, None]
            kept = tuple(where(on, new, old) for new, old in zip(following, state, strict=True))
            return kept, where(on, following[0], 0.0)

        return scan(body, begin, (x, going), reverse=reverse, checkpoint=self.checkpoint)

    def going(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Whether sequence n has a step t: (T, N).

        Raises:
            ShapeError: there is not one length for each sequence.
            DTypeError: lengths are no integers.
        """
        if lengths.dtype not in ("int32", "int64"):
            raise DTypeError(
                f"{here()}{self.name} has lengths that are integers; {describe(lengths.node)} is {lengths.dtype}."
            )
        if x.ndim != 3 or not same_shape(lengths.node.shape, x.node.shape[1:2]):
            wanted = f"of shape {show_shape(x.node.shape[1:2])}" if x.ndim == 3 else "only for a batch of sequences"
            raise ShapeError(f"{here()}{self.name} takes lengths {wanted}, and is given {describe(lengths.node)}.")
        t, n = index("t", x.shape[0]), index("n", x.shape[1])
        return compute((t, n), t < lengths[n])


class OneState(Sequences):
    """What has one state h, and no other."""

    def forward(self, x: Tensor, hx: Tensor | None = None, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The outputs (output, h_n), from zeros if there is no state to start from.

        Raises:
            ShapeError: shapes that do not fit.
            DTypeError: another dtype than that of the layer, or lengths that are no integers.
        """
        y, (h,) = self.walk(x, (hx,), lengths)
        return y, h


class RNN(OneState):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu, for every t: x -> (output, h_n), as in PyTorch.

    x is (T, N, in), or (T, in), or with `batch_first` (N, T, in); `output` is (T, N, D hidden) likewise, for D = 2
    directions if `bidirectional`, else 1. `h0` and `h_n` are (D num_layers, N, hidden). `lengths` (N), integers from 0
    to T, says how many steps of each sequence there are: behind its end outputs are 0, `h_n` is the state at its end,
    and the second direction begins there, as with `pack_padded_sequence`. In training elements of what a next level
    reads are dropped with the probability `dropout`. `checkpoint` is that of `gg.scan`: gradients keep the states of
    every so many steps only.

    Parameters are `weight_ih_l0` (hidden, in), `weight_hh_l0` (hidden, hidden), `bias_ih_l0`, `bias_hh_l0`, with
    `_reverse` behind them for the second direction, and `_l1` for the next level, which reads the outputs of this one.
    They start uniform within 1 / sqrt(hidden). The source is Elman (1990).
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        checkpoint: int | str | None = None,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        self.build(sizes, bias, batch_first, dropout, bidirectional, checkpoint, name, dtype)
        self.step = rnn_step(self.nonlinear(nonlinearity))


class LSTM(Sequences):
    """The LSTM of every step: x -> (output, (h_n, c_n)), as in PyTorch; the formula is in `LSTMCell`.

    Shapes, `lengths`, levels, directions and checkpoints are those of `RNN`; `hx` is (h0, c0). The rows of
    `weight_ih_l0` (4 hidden, in), `weight_hh_l0` (4 hidden, hidden) and of the biases are those of i, f, g, o. With
    `proj_size` P states h are `weight_hr_l0` (P, hidden) times o tanh(c) (Sak et al. 2014): in the shapes of h, P
    stands for hidden.
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        checkpoint: int | str | None = None,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        self.step = lstm_step
        self.build(sizes, bias, batch_first, dropout, bidirectional, checkpoint, name, dtype, proj_size)

    def forward(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The outputs (output, (h_n, c_n)), from zeros if there are no states to start from.

        Raises:
            ShapeError: shapes that do not fit.
            DTypeError: another dtype than that of the layer, or lengths that are no integers.
        """
        y, (h, c) = self.walk(x, self.pair(hx), lengths)
        return y, (h, c)


class GRU(OneState):
    """The GRU of every step: x -> (output, h_n), as in PyTorch; the formula is in `GRUCell`.

    Shapes, `lengths`, levels, directions and checkpoints are those of `RNN`. The rows of `weight_ih_l0` (3 hidden, in),
    `weight_hh_l0` (3 hidden, hidden) and of the biases are those of r, z, n.
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        checkpoint: int | str | None = None,
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        self.step = gru_step
        self.build(sizes, bias, batch_first, dropout, bidirectional, checkpoint, name, dtype)
