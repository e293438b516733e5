"""Gradients checked by difference quotients, with a report that a person can read.

In: a scalar tensor and arrays for its leaves. Out: a `GradientReport`. Everything is computed by the reference
interpreter in float64, so the check is one of the formulas; compiled code is checked against the interpreter by tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradgen.errors import BindingError, GraphError
from gradgen.graph.axes import describe
from gradgen.graph.constants import numbers_of
from gradgen.graph.nodes import Leaf, Node, leaf, toposort
from gradgen.graph.place import here
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.interpret import interpret
from gradgen.lang.transforms import jvp, vjp
from gradgen.passes.prepare.retarget import retarget

__all__ = ["GradientReport", "check_grad"]

ROUNDING = 1e-5  # of the loss: what a difference quotient of rounded values cannot tell from zero
STEPS = (1e-4, 1e-5, 1e-6)  # the difference quotient that agrees best counts: large steps bend, small ones cancel


@dataclass(frozen=True, slots=True)
class Line:
    """One tensor: the slope along a random direction, by the gradient, in forward mode, and by differences."""

    name: str
    gradient: float
    forward: float
    difference: float
    tolerance: float
    least: float

    @property
    def error(self) -> float:
        """How far the three are apart, relative to the largest, or to what the rounding of the loss leaves visible."""
        values = (self.gradient, self.forward, self.difference)
        if np.isnan(values).any():
            return float("nan")
        return (max(values) - min(values)) / max(self.least, *map(abs, values))

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance


@dataclass(frozen=True, slots=True)
class GradientReport:
    """What `check_grad` found; true where everything agrees."""

    loss: str
    lines: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        return all(line.ok for line in self.lines)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        width = max(len(line.name) for line in self.lines)
        head = f"{'':{width}}  {'gradient':>14}  {'forward':>14}  {'difference':>14}  {'error':>8}"
        rows = [
            f"{x.name:{width}}  {x.gradient:14.7g}  {x.forward:14.7g}  {x.difference:14.7g}  {x.error:8.1e}  "
            f"{'ok' if x.ok else 'WRONG'}"
            for x in self.lines
        ]
        wrong = [line.name for line in self.lines if not line.ok]
        verdict = (
            f"The gradient of {self.loss} agrees with difference quotients."
            if not wrong
            else f"The gradient of {self.loss} differs for {', '.join(wrong)}: a kink or a jump nearby, a value that "
            "is nan or infinite, gg.stop_gradient, or a mistake. Move the point a little, and see if it stays."
        )
        return "\n".join(["Slopes along a random direction, in float64:", head, *rows, verdict])


def check_grad(
    loss: Tensor,
    values: Mapping[str, Any],
    wrt: Sequence[Tensor] | Tensor | None = None,
    sizes: Mapping[str, int] | None = None,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradientReport:
    """The gradient of a scalar against difference quotients and against forward mode; `print` the result.

    Args:
        loss: a tensor without axes.
        values: an array for every leaf, by name; floats are taken in float64.
        wrt: by which leaves; by default all float parameters, or all float inputs where there are none.
        sizes: symbolic sizes that no leaf has as an axis.
        tolerance: the largest relative difference that counts as agreement.
        seed: of the random directions.

    Raises:
        GraphError: the loss has axes, or nothing to differentiate by.
        BindingError: a leaf without a value.
    """
    if loss.ndim:
        raise GraphError(f"{here()}check_grad takes a scalar; {describe(loss.node)} has axes. Take its sum first.")
    (root,), renamed = retarget([loss.node], "float64", {})
    leaves = [n for n in toposort([root]) if isinstance(n, Leaf)]
    floats = [n for n in leaves if n.dtype in FLOATS]
    if wrt is None:
        chosen = [n for n in floats if n.role == "param"] or floats
    else:
        given = [wrt] if isinstance(wrt, Tensor) else list(wrt)
        chosen = [renamed[x.node] if isinstance(x.node, Leaf) else x.node for x in given]  # type: ignore[misc]
    if not chosen:
        raise GraphError(f"{here()}check_grad of {describe(loss.node)}: no float parameter or input is below it.")
    arrays: dict[Leaf, NDArray[Any]] = {}
    for n in leaves:
        value = values.get(n.name, numbers_of(n))
        if value is None:
            raise BindingError(f"{here()}check_grad has no value for {describe(n)}: give values[{n.name!r}].")
        arrays[n] = np.asarray(value, n.dtype)
    rng = np.random.default_rng(seed)
    pulled = [t.node for t in vjp(tensor(root), [tensor(x) for x in chosen], None)]
    value, *gradients = interpret([root, *pulled], arrays, sizes)
    least = max(1e-8, ROUNDING * abs(float(value)))
    lines = [
        _line(root, x, gradient, arrays, rng, sizes, tolerance, least)
        for x, gradient in zip(chosen, gradients, strict=True)
    ]
    return GradientReport(loss.name or "the loss", tuple(lines))


def _line(
    root: Node,
    x: Leaf,
    gradient: NDArray[Any],
    arrays: dict[Leaf, NDArray[Any]],
    rng: np.random.Generator,
    sizes: Mapping[str, int] | None,
    tolerance: float,
    least: float,
) -> Line:
    direction = rng.standard_normal(arrays[x].shape)
    direction /= max(float(np.linalg.norm(direction)), 1e-300)
    v = leaf(f"direction_{x.name}", x.shape, x.dtype, "input")
    tangent = jvp(tensor(root), tensor(x), tensor(v)).node
    with np.errstate(all="ignore"):
        (forward,) = interpret([tangent], {**arrays, v: direction}, sizes)
        slope = float(np.sum(gradient * direction))
        quotients = []
        for h in STEPS:
            ends = [interpret([root], {**arrays, x: arrays[x] + s * h * direction}, sizes)[0] for s in (1, -1)]
            quotients.append(float(ends[0] - ends[1]) / (2 * h))
    difference = min(quotients, key=lambda q: abs(q - slope) if q == q else np.inf)
    return Line(describe(x), slope, float(forward), difference, tolerance, least)
