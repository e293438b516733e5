"""What a peer hands to the harness: something that runs a case many times, and the numbers it found.

Each `peers_*.py` has `VARIANTS`, the names of its columns, `versions()`, and
`make(variant, case)`, which returns a Runner. Next: `worker.py`, which drives it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from .case import Case

STEPS_CHECKED = 3  # more, and float32 sends a few units to the other side of a kink

Numbers = dict[str, list[float]]


class Runner(Protocol):
    """A case compiled by a peer, with what the peer can say: how much it wrote and works in, how long until then."""

    emitted: Mapping[str, int]
    passes_s: float

    def reset(self) -> None:
        """Back to the first parameters."""

    def run(self, times: int) -> None:
        """So many steps or evaluations; returns when the results are there."""

    def result(self) -> tuple[float, Mapping[str, Any]]:
        """One step or evaluation: the loss (before the update), then new parameters or gradients, by name."""


class Kernel:
    """A kernel case: `evaluate()` returns value and gradients, and is timed as it stands."""

    def __init__(
        self,
        evaluate: Callable[[], tuple[Any, Mapping[str, Any]]],
        emitted: Mapping[str, int] = MappingProxyType({}),
        passes_s: float = 0.0,
    ) -> None:
        self.evaluate, self.emitted, self.passes_s = evaluate, emitted, passes_s

    def reset(self) -> None:
        pass

    def run(self, times: int) -> None:
        for _ in range(times):
            self.evaluate()

    def result(self) -> tuple[float, Mapping[str, Any]]:
        value, grads = self.evaluate()
        return float(value), grads


class Training:
    """A training case: `step()` updates the parameters behind `params()` and returns the loss."""

    def __init__(
        self,
        reset: Callable[[], None],
        step: Callable[[], Any],
        params: Callable[[], Mapping[str, Any]],
        wait: Callable[[], None] = lambda: None,
        emitted: Mapping[str, int] = MappingProxyType({}),
        passes_s: float = 0.0,
    ) -> None:
        self.reset, self.step, self.params, self.wait = reset, step, params, wait
        self.emitted, self.passes_s = emitted, passes_s

    def run(self, times: int) -> None:
        for _ in range(times):
            self.step()
        self.wait()

    def result(self) -> tuple[float, Mapping[str, Any]]:
        return float(self.step()), self.params()


def several(outputs: Any) -> tuple[Any, ...]:
    """What a kernel computes, of one output too."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def numbers(case: Case, runner: Runner) -> Numbers:
    """A few numbers that agree between two peers only if losses and every gradient do.

    Losses of the first steps, or the value; then of each gradient (of a training case: of the whole
    change of each parameter) the norm and the projection on a fixed direction.
    """
    runner.reset()
    steps = STEPS_CHECKED if case.training else 1
    found = [runner.result() for _ in range(steps)]
    arrays = {name: np.asarray(x, dtype=np.float64) for name, x in found[-1][1].items()}
    first = case.split()[0]
    out = {"loss": [loss for loss, _ in found]}
    for name in first:
        assert arrays[name].shape == first[name].shape, f"{case.name}: {name} has shape {arrays[name].shape}"
        d = arrays[name].ravel() - (first[name].ravel() if case.training else 0.0)
        out[f"d_{name}"] = [float(np.linalg.norm(d)), float(np.cos(np.arange(d.size)) @ d)]
    return out


def disagreement(one: Numbers, other: Numbers) -> tuple[float, str]:
    """The largest relative difference, and where it is. A projection is relative to its norm."""
    worst = (0.0, "")
    for name in one:
        for x, y in zip(one[name], other[name], strict=True):
            scale = max(abs(one[name][0]), 1e-30)
            difference = abs(x - y) / scale
            worst = max(worst, (difference if difference == difference else float("inf"), name))
    return worst
