"""A random graph with values for its leaves: what every strategy makes and every check takes.

In: nodes and arrays. Out: a `Case` that prints as formulas.
"""

from dataclasses import dataclass

import numpy as np

from gradgen.graph.nodes import Leaf, Node
from tests.properties.show import show


@dataclass(frozen=True)
class Case:
    """A graph, an array for each leaf below its outputs, and the sizes that no axis of a leaf binds."""

    outputs: tuple[Node, ...]
    values: dict[Leaf, np.ndarray]
    sizes: dict[str, int]
    features: frozenset[str]

    def __repr__(self) -> str:
        shapes = {given.name: array.shape for given, array in self.values.items()}
        return f"Case, leaves {shapes}, sizes {self.sizes}:\n{show(self.outputs)}"

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:  # Hypothesis would print every field of every node
        printer.text(repr(self))


def rounding(case: Case) -> float:
    """How far two ways of computing the same may be apart, as a fraction of the largest term."""
    return 1e-5 if "function float32" in case.features else 1e-10
