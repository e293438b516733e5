"""Runs of equal calls become loops; what differs stays as it was."""

import gradgen as gg
from gradgen.graph.tensor import Tensor
from gradgen.network import Network
from gradgen.passes.loops.roll import shortened
from gradgen.program.kernels import Repeat


def chain(depth: int, strict: bool = False) -> Network:
    x = h = gg.input("x", (gg.size("B"), 128))
    for layer in range(depth):
        W: Tensor = gg.param(f"W{layer}", (128, 128))
        h = gg.tanh(h @ W + gg.param(f"mu{layer}", (128,)))
    loss = gg.mean((h - x) ** 2)
    return gg.compile({"loss": loss}, updates=gg.optim.sgd(loss, lr=0.01), name="chain", strict=strict)


def test_the_text_does_not_follow_the_depth() -> None:
    first, second = chain(7), chain(9)
    assert first.source.count("\n") == second.source.count("\n")
    assert "W: np.ndarray  # float32 (9, 128, 128): W0 .. W8" in second.source


def test_every_entry_repeats() -> None:
    program = chain(7).compiled.program
    assert all(any(isinstance(c, Repeat) for c in e.calls) for e in program.entries)


def test_three_layers_are_left_alone() -> None:
    assert not chain(3).compiled.program.stacks


def test_formulas_that_repeat_are_counted() -> None:
    assert shortened(["a1 = b1", "c = c"]) == ("a1 = b1", "c = c")
    assert len(shortened([f"h{k + 1} = tanh(h{k})" for k in range(50)])) == 4
