"""A network checked at one point: its gradient against difference quotients, its compiled code against the interpreter.

In: a network and a `Point`. Out: a `CheckReport`, which is true where everything agrees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradgen.cli.points import Point
from gradgen.graph.nodes import CARRIED, Leaf, Node, all_inputs, leaf, toposort
from gradgen.graph.scalar import FLOATS
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang import reducers
from gradgen.lang.checking import GradientReport, check_grad
from gradgen.lang.interpret import interpret
from gradgen.lang.transforms import vjp
from gradgen.network import Network
from gradgen.passes.prepare.retarget import retarget

__all__ = ["CheckReport", "Comparison", "check_network"]

Arrays = Mapping[str, NDArray[Any]]
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
SMALL = 1e-3  # an array that is smaller than the largest by this carries the rounding of others


@dataclass(frozen=True, slots=True)
class Comparison:
    """One array as compiled code gives it: how far it is from the interpreter's, relative to its largest element."""

    name: str
    shape: tuple[int, ...]
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The slopes of the gradient, if there is one, and every array that compiled code returns."""

    dtype: str
    gradient: GradientReport | None
    comparisons: tuple[Comparison, ...]

    def __bool__(self) -> bool:
        return (self.gradient is None or self.gradient.ok) and all(x.ok for x in self.comparisons)

    def __str__(self) -> str:
        width = max(len(x.name) for x in self.comparisons)
        shapes = max(len(str(x.shape)) for x in self.comparisons)
        rows = [
            f"{x.name:{width}}  {x.shape!s:{shapes}}  {x.error:8.1e}  {'ok' if x.ok else 'WRONG'}"
            for x in self.comparisons
        ]
        wrong = [x.name for x in self.comparisons if not x.ok]
        verdict = (
            "Compiled code and interpreter agree."
            if not wrong
            else f"Compiled code and interpreter differ in {', '.join(wrong)}: values too large for {self.dtype} "
            "(try --dtype float64), or a mistake of the compiler."
        )
        first = (
            [str(self.gradient), ""]
            if self.gradient is not None
            else ["There is no gradient to check: no float output depends on a float parameter.", ""]
        )
        head = f"Compiled code in {self.dtype} against the interpreter in float64, largest relative error:"
        return "\n".join([*first, head, *rows, verdict])


def check_network(network: Network, point: Point, seed: int = 0) -> CheckReport:
    """Outputs, gradients and updates of a network, each computed twice or three times."""
    model = network.model
    names, changed = list(model.outputs), list(model.updates)
    roots, renamed = retarget([*model.outputs.values(), *model.updates.values(), *model.wrt], "float64", point.sizes)
    outputs = dict(zip(names, roots[: len(names)], strict=True))
    updates = dict(zip([x.name for x in changed], roots[len(names) : len(names) + len(changed)], strict=True))
    loss, cotangents = _loss(outputs, model.loss, seed)
    below = set() if loss is None else set(toposort([loss.node]))
    wrt = [tensor(renamed[x]) for x in model.wrt if renamed[x] in below]
    arrays = {**point.arrays, **{f"weight_of_{name}": value for name, value in cotangents.items()}}

    comparisons: list[Comparison] = []
    report: GradientReport | None = None
    found, saved = network.forward(**point.arrays)
    comparisons += _compared("", names, found, _evaluated(list(outputs.values()), arrays))
    if loss is not None and wrt:
        report = check_grad(loss, arrays, wrt, seed=seed)
        gradients = network.value_and_grad(**point.arrays)[1] if model.loss else network.backward(saved, **cotangents)
        value, *wanted = _evaluated([loss.node, *[t.node for t in vjp(loss, wrt, None)]], arrays)
        comparisons += _compared("d_", [str(t.name) for t in wrt], gradients, wanted, abs(float(value)))
    if updates:
        kept = [x.name for x in network.interface.leaves if x.role in CARRIED]
        state = network.stack({name: point.arrays[name].copy() for name in kept})
        network.step(state, **{name: value for name, value in point.arrays.items() if name not in state})
        comparisons += _compared("next ", list(updates), state, _evaluated(list(updates.values()), arrays))
    return CheckReport(network.options.dtype, report, tuple(comparisons))


def _loss(outputs: Mapping[str, Node], chosen: str | None, seed: int) -> tuple[Tensor | None, dict[str, NDArray[Any]]]:
    """What is differentiated: the loss, or else all float outputs under random weights, which are their cotangents."""
    if chosen is not None:
        return tensor(outputs[chosen]), {}
    rng = np.random.default_rng(seed)
    total: Any = None
    cotangents: dict[str, NDArray[Any]] = {}
    for name, y in outputs.items():
        if y.dtype in FLOATS:
            shape = tuple(int(extent.constant or 0) for extent in y.shape)
            cotangents[name] = np.asarray(rng.standard_normal(shape))
            term = reducers.sum(tensor(y) * tensor(leaf(f"weight_of_{name}", y.shape, y.dtype, "input")))
            total = term if total is None else total + term
    return total, cotangents


def _evaluated(roots: Sequence[Node], arrays: Arrays) -> list[NDArray[Any]]:
    leaves = [x for x in toposort(roots, all_inputs) if isinstance(x, Leaf)]
    return interpret(roots, {x: np.asarray(arrays[x.name], x.dtype) for x in leaves})


def _compared(
    prefix: str, names: Sequence[str], found: Mapping[str, Any], wanted: Sequence[NDArray[Any]], beside: float = 0.0
) -> list[Comparison]:
    """Every array against the one that it should be; nan and infinities in the same places.

    The rounding that counts is at least that of the largest array, and of a number `beside` them: the loss.
    """
    largest = max([beside if np.isfinite(beside) else 0.0, *map(_largest, wanted)])
    rows = []
    for name, y in zip(names, wanted, strict=True):
        x = np.asarray(found[name])
        tolerance = TOLERANCE.get(x.dtype.name, 0.0)
        rows.append(Comparison(prefix + name, y.shape, _error(x, y, max(_largest(y), SMALL * largest)), tolerance))
    return rows


def _largest(x: NDArray[Any]) -> float:
    values = np.abs(np.asarray(x, np.float64))
    return float(values[np.isfinite(values)].max(initial=0.0))


def _error(x: NDArray[Any], y: NDArray[Any], scale: float) -> float:
    if x.shape != y.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        apart = np.where((x == y) | ((x != x) & (y != y)), 0.0, np.abs(np.asarray(x, np.float64) - y))
    worst = float(np.max(apart, initial=0.0))
    return worst / max(scale, 1e-300) if worst == worst else float("inf")
