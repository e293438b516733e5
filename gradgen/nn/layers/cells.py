"""One step of a recurrence as a layer: Elman's, the LSTM and the GRU.

In: an input and a state. Out: the next state. `recurrent.py` walks whole sequences with the same formulas.
"""

import math
from typing import Any

import numpy as np

from gradgen.errors import DTypeError, OptionError, ShapeError
from gradgen.graph.axes import as_shape, describe, shown
from gradgen.graph.nodes import same_shape, show_shape
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor
from gradgen.lang.array import zeros
from gradgen.nn import init
from gradgen.nn.modules import Module, Parameter
from gradgen.nn.steps import NONLINEARITIES, State, Weights, gru_step, lstm_step, rnn_step

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class Recurrent(Module):
    """What cells and layers have in common: parameters of steps, and what is checked of inputs."""

    input_size: int
    hidden_size: int
    dtype: str

    def begin(self, name: str | None, dtype: str, **sizes: Any) -> None:
        """Take a name and sizes, each at least 1.

        Raises:
            ShapeError: one is no number, or below 1.
        """
        self.called(name)
        self.dtype = dtype
        self.input_size, self.hidden_size = sizes["input_size"], sizes["hidden_size"]
        for option, count in sizes.items():
            if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
                raise ShapeError(f"{here()}{self.name} has {option}={shown(count)}: give a number from 1 on.")

    def nonlinear(self, nonlinearity: Any) -> str:
        """Check the name of a function.

        Raises:
            OptionError: it is none of PyTorch's.
        """
        if not isinstance(nonlinearity, str) or nonlinearity not in NONLINEARITIES:
            raise OptionError(f"{here()}{self.name} has nonlinearity={nonlinearity!r}: it is 'tanh' or 'relu'.")
        return nonlinearity

    def declare_step(self, gates: int, inputs: int, bias: bool, end: str = "", projected: int = 0) -> None:
        """The parameters of one step, `weight_ih`, `weight_hh` and so on with this end, as PyTorch starts them."""
        hidden = self.hidden_size
        within = 1.0 / math.sqrt(hidden)
        shapes: dict[str, tuple[int, ...] | None] = {
            "weight_ih": (gates * hidden, inputs),
            "weight_hh": (gates * hidden, projected or hidden),
            "bias_ih": (gates * hidden,) if bias else None,
            "bias_hh": (gates * hidden,) if bias else None,
        }
        if projected:
            shapes["weight_hr"] = (projected, hidden)
        for key, shape in shapes.items():
            start = init.uniform(-within, within)
            self.declare(f"{key}{end}", None if shape is None else Parameter(shape, self.dtype, start))

    def weights(self, end: str = "", projected: bool = False) -> Weights:
        """The parameters of one step."""
        ih, hh, b_ih, b_hh = (getattr(self, f"{key}{end}") for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        return Weights(ih, hh, b_ih, b_hh, getattr(self, f"weight_hr{end}") if projected else None)

    def check_input(self, x: Tensor, axes: tuple[int, ...], form: str) -> None:
        """Check the axes and the dtype of an input.

        Raises:
            ShapeError: the number of axes, or the last one, is another.
            DTypeError: it is not of the dtype of the layer.
        """
        if x.ndim not in axes or not same_shape(x.node.shape[-1:], as_shape(self.input_size)):
            raise ShapeError(f"{here()}{self.name} takes {form}, and is given {describe(x.node)}.")
        self.check_dtype(x)

    def check_dtype(self, x: Tensor) -> None:
        """Check that a tensor has the dtype of the parameters.

        Raises:
            DTypeError: it has another one.
        """
        if x.dtype != self.dtype:
            raise DTypeError(
                f"{here()}{self.name} computes in {self.dtype}, and is given {describe(x.node)}, which is {x.dtype}: "
                "gg.cast changes one, dtype= the other."
            )

    def starting_from(self, x: Tensor, *given: Tensor | None) -> State:
        """The states that a cell starts from: as many as it has, zeros where none is given."""
        self.check_input(x, (1, 2), f"(N, {self.input_size}) or ({self.input_size})")
        shape = (*x.shape[:-1], self.hidden_size)
        return tuple(self.starting(what, h, shape) for what, h in zip("hc", given, strict=False))

    def starting(self, what: str, given: Tensor | None, shape: tuple[Any, ...]) -> Tensor:
        """A state to begin with: zeros, unless it is given.

        Raises:
            ShapeError: it has another shape.
            DTypeError: it has another dtype.
        """
        start = zeros(shape, self.dtype)
        if given is None:
            return start
        if not same_shape(given.node.shape, start.node.shape):
            raise ShapeError(
                f"{here()}{self.name} starts from {what} of shape {show_shape(start.node.shape)}, "
                f"and is given {describe(given.node)}."
            )
        self.check_dtype(given)
        return given

    def pair(self, hx: Any) -> tuple[Any, Any]:
        """The two states of an LSTM.

        Raises:
            ShapeError: they are no two.
        """
        if hx is None:
            return None, None
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ShapeError(f"{here()}{self.name} starts from two states: give (h, c).")
        return hx[0], hx[1]


# ---------------------------------------------------------------- cells


class RNNCell(Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu: (N, in) and (N, hidden) -> (N, hidden), with or without N.

    `weight_ih` (hidden, in), `weight_hh` (hidden, hidden) and the biases (hidden) start uniform within
    1 / sqrt(hidden), as in PyTorch. The source is Elman (1990).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        name: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.begin(name, dtype, input_size=input_size, hidden_size=hidden_size)
        self.step = rnn_step(self.nonlinear(nonlinearity))
        self.declare_step(1, input_size, bias)

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state, from zeros if there is none.

        Raises:
            ShapeError: shapes that do not fit.
            DTypeError: another dtype than that of the layer.
        """
        (h,) = self.step(self.weights(), x, self.starting_from(x, hx))
        return h


class LSTMCell(Recurrent):
    """c' = f c + i g, h' = o tanh(c'): (N, in) and two of (N, hidden) -> (h', c'), with or without N.

    The rows of `weight_ih` (4 hidden, in), `weight_hh` (4 hidden, hidden) and of the biases are those of i, f, g, o, in
    this order; they start uniform within 1 / sqrt(hidden), as in PyTorch. The source is Hochreiter and Schmidhuber
    (1997), with the forget gate of Gers et al. (2000).
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, name: str | None = None, dtype: str = "float32"
    ) -> None:
        self.begin(name, dtype, input_size=input_size, hidden_size=hidden_size)
        self.declare_step(4, input_size, bias)

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (h, c), from zeros if there are none.

        Raises:
            ShapeError: shapes that do not fit.
            DTypeError: another dtype than that of the layer.
        """
        h, c = lstm_step(self.weights(), x, self.starting_from(x, *self.pair(hx)))
        return h, c


class GRUCell(Recurrent):
    """h' = (1 - z) n + z h: (N, in) and (N, hidden) -> (N, hidden), with or without N.

    The rows of `weight_ih` (3 hidden, in), `weight_hh` (3 hidden, hidden) and of the biases are those of r, z, n, in
    this order; they start uniform within 1 / sqrt(hidden), as in PyTorch. The source is Cho et al. (2014).
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, name: str | None = None, dtype: str = "float32"
    ) -> None:
        self.begin(name, dtype, input_size=input_size, hidden_size=hidden_size)
        self.declare_step(3, input_size, bias)

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state, from zeros if there is none.

        Raises:
            ShapeError: shapes that do not fit.
            DTypeError: another dtype than that of the layer.
        """
        (h,) = gru_step(self.weights(), x, self.starting_from(x, hx))
        return h
