"""One step of a recurrence as a formula: Elman's, the LSTM's, the GRU's.

In: parameters, an input and a state. Out: the next state. Cells are one of these; layers are one under a scan.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gradgen.graph.origin import naming
from gradgen.graph.tensor import Tensor
from gradgen.lang.array import relu, sigmoid, split, tanh, transpose

__all__ = ["NONLINEARITIES", "State", "Step", "Weights", "gru_step", "lstm_step", "rnn_step"]

State = tuple[Tensor, ...]
NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": tanh, "relu": relu}


@dataclass(frozen=True, slots=True)
class Weights:
    """The parameters of one step: of the input, of the state, and where there is one, of the projection."""

    ih: Tensor
    hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    hr: Tensor | None = None

    def of_input(self, x: Tensor) -> Tensor:
        """W_ih x + b_ih, for all gates one below the other."""
        return affine(x, self.ih, self.b_ih)

    def of_state(self, h: Tensor) -> Tensor:
        """W_hh h + b_hh, likewise."""
        return affine(h, self.hh, self.b_hh)


Step = Callable[[Weights, Tensor, State], State]


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias."""
    u = x @ transpose(weight)
    return u if bias is None else u + bias


def named(name: str, function: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    """A function of a tensor, called by this name in the emitted text."""
    with naming(name):
        return function(u)


def rnn_step(nonlinearity: str) -> Step:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (Elman 1990)."""
    activation = NONLINEARITIES[nonlinearity]

    def step(w: Weights, x: Tensor, state: State) -> State:
        (h,) = state
        with naming("h"):
            return (activation(w.of_input(x) + w.of_state(h)),)

    return step


def lstm_step(w: Weights, x: Tensor, state: State) -> State:
    """c' = f c + i g and h' = o tanh(c'), with gates i, f, o and news g (Hochreiter and Schmidhuber 1997; Gers 2000).

    With a projection h' = W_hr (o tanh(c')) (Sak et al. 2014).
    """
    h, c = state
    with naming("gates"):
        u_i, u_f, u_g, u_o = split(w.of_input(x) + w.of_state(h), 4, axis=-1)
    i = named("input_gate", sigmoid, u_i)
    f = named("forget_gate", sigmoid, u_f)
    g = named("news", tanh, u_g)
    o = named("output_gate", sigmoid, u_o)
    with naming("c"):
        c = f * c + i * g
    with naming("h"):
        h = o * tanh(c)
        return (h if w.hr is None else affine(h, w.hr, None)), c


def gru_step(w: Weights, x: Tensor, state: State) -> State:
    """h' = (1 - z) n + z h, with gates r, z and news n = tanh(x_n + r h_n) (Cho et al. 2014).

    As in PyTorch the gate r stands behind the product h_n = W_hn h + b_hn.
    """
    (h,) = state
    with naming("gates_x"):
        x_r, x_z, x_n = split(w.of_input(x), 3, axis=-1)
    with naming("gates_h"):
        h_r, h_z, h_n = split(w.of_state(h), 3, axis=-1)
    r = named("reset_gate", sigmoid, x_r + h_r)
    z = named("update_gate", sigmoid, x_z + h_z)
    n = named("news", tanh, x_n + r * h_n)
    with naming("h"):
        return ((1 - z) * n + z * h,)
