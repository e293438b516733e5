"""Random programs of NumPy-style operations on whole tensors: a Hypothesis strategy.

In: choices of Hypothesis. Out: an `Operations`, some lines such as `t2 = m.sum(t1 * x0, axis=(0, 2))`, which run with
gradgen or with NumPy as `m`. While it is drawn it runs with NumPy: shapes and values decide what may come next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

import gradgen as gg
from gradgen.graph.nodes import Leaf, toposort
from tests.properties.by_numpy import GRADGEN, NUMPY
from tests.properties.cases import Case

LARGEST = 6.0


@dataclass(frozen=True)
class Operations:
    """Leaves by name, lines that assign t0, t1, ... once each, and the families of their operations."""

    leaves: dict[str, np.ndarray]
    lines: tuple[str, ...]
    features: frozenset[str] = frozenset()

    def run(self, m: Any, given: dict[str, Any]) -> dict[str, Any]:
        """Every name that the lines assign."""
        names = dict(given)
        for line in self.lines:
            exec(line, {"m": m}, names)
        return {name: value for name, value in names.items() if name not in given}

    def outputs(self) -> list[str]:
        """What no later line reads."""
        text = " ".join(line.split(" = ", 1)[1] for line in self.lines)
        words = set("".join(c if c.isalnum() else " " for c in text).split())
        return [name for name in (line.split(" = ", 1)[0] for line in self.lines) if name not in words]

    def by_numpy(self) -> list[np.ndarray]:
        found = self.run(NUMPY, self.leaves)
        return [np.asarray(found[name]) for name in self.different()]

    def different(self) -> list[str]:
        """Of outputs that are one node, because they say the same, the first."""
        given = {name: gg.input(name, x.shape, dtype=x.dtype.name) for name, x in self.leaves.items()}
        found = self.run(GRADGEN, given)
        first = {found[name].node: name for name in reversed(self.outputs())}
        return [name for name in self.outputs() if first[found[name].node] == name]

    def case(self) -> Case:
        """The graph, as the other checks take it."""
        given = {name: gg.input(name, x.shape, dtype=x.dtype.name) for name, x in self.leaves.items()}
        found = self.run(GRADGEN, given)
        outputs = tuple(dict.fromkeys(found[name].node for name in self.outputs()))
        below = {n for n in toposort(outputs) if isinstance(n, Leaf)}
        values = {x.node: self.leaves[name] for name, x in given.items() if x.node in below}
        return Case(outputs, values, {}, self.features)

    def __repr__(self) -> str:
        arrays = [f"{name}: {x.dtype}{x.shape}" for name, x in self.leaves.items()]
        return "\n".join(["Operations", *arrays, *self.lines])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass
class Writer:
    """Draws lines one after the other; what they read is an earlier result or a new leaf."""

    draw: Callable
    rng: np.random.Generator
    leaves: dict[str, np.ndarray] = field(default_factory=dict)
    results: dict[str, np.ndarray] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    features: set[str] = field(default_factory=set)

    # ------------------------------------------------------------ small draws

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def pick(self, options: Sequence) -> Any:
        return options[self.draw(st.integers(0, len(options) - 1))]

    def extent(self) -> int:
        found = self.pick((3, 2, 4, 3, 2, 5, 1, 3))
        return 0 if found == 5 and self.chance(4) else found

    def axis(self, x: str) -> int:
        """Counted from the front or from the back."""
        rank = self[x].ndim
        return self.pick(range(-rank, rank))

    # ------------------------------------------------------------ operands

    def __getitem__(self, name: str) -> np.ndarray:
        return self.results[name] if name in self.results else self.leaves[name]

    def leaf(self, shape: Sequence[int]) -> str:
        name = f"x{len(self.leaves)}"
        self.leaves[name] = self.rng.uniform(-1.5, 1.5, tuple(shape))
        return name

    def integers(self, shape: Sequence[int], below: int) -> str:
        name = f"i{len(self.leaves)}"
        self.leaves[name] = self.rng.integers(0, max(below, 1), tuple(shape))
        return name

    def some(self, *ranks: int, full: bool = False) -> str:
        """One of the newest results, or a new leaf; of one of the ranks, without empty axes where `full`."""
        fitting = [
            name
            for name, x in self.results.items()
            if (not ranks or x.ndim in ranks) and x.dtype.kind == "f" and (x.size or not full)
        ]
        if fitting and not self.chance(5):
            return self.pick(fitting[::-1][:3])
        extents = [self.extent() for _ in range(self.pick(ranks or (2, 1, 3, 2, 0)))]
        return self.leaf([max(e, 1) for e in extents] if full else extents)

    def of_shape(self, shape: Sequence[int]) -> str:
        fitting = [name for name, x in self.results.items() if x.shape == tuple(shape) and x.dtype.kind == "f"]
        return self.pick(fitting) if fitting and not self.chance(3) else self.leaf(shape)

    def beside(self, x: str) -> str:
        """Something that broadcasts with x."""
        shape = self[x].shape
        fitting = [name for name, y in self.results.items() if y.dtype.kind == "f" and _broadcasts(y.shape, shape)]
        if fitting and self.chance(2):
            return self.pick(fitting[::-1])
        first = self.pick(range(len(shape) + 1)) if self.chance(2) else 0
        return self.leaf([1 if self.chance(4) else e for e in shape[first:]])

    # ------------------------------------------------------------ lines

    def line(self, table: dict[str, dict[str, Callable[["Writer"], str]]]) -> None:
        """One more line. Values stay moderate: a large result is scaled by a power of two."""
        family, operation = self.pick([(family, operation) for family in table for operation in table[family]])
        text = table[family][operation](self)
        with np.errstate(all="ignore"):
            value = np.asarray(eval(text, {"m": NUMPY}, {**self.leaves, **self.results}))
        largest = np.abs(value).max(initial=0) if value.dtype.kind == "f" else 0
        assert np.isfinite(largest), text
        if largest > LARGEST:
            factor = 0.5 ** int(np.ceil(np.log2(largest / LARGEST)))
            text, value = f"({text}) * {factor}", value * factor
        name = f"t{len(self.results)}"
        self.lines.append(f"{name} = {text}")
        self.results[name] = value
        self.features |= {family, operation}
        if value.size == 0:
            self.features.add("empty result")
        if 1 in value.shape:
            self.features.add("size one")


def _broadcasts(a: Sequence[int], b: Sequence[int]) -> bool:
    try:
        np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return False
    return True
