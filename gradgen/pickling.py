"""Networks in pickles: formulas and options, so that another process calls the same network.

In: records as they lie. Out: the same records by their constructors, so that equal ones are one object there too; a
leaf becomes a new declaration of its name. That this module is imported is what makes them picklable.
"""

import copyreg
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from gradgen.graph.declaration import ScalarFunction
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.intern import intern, intern_built
from gradgen.graph.nodes import Carry, Compute, Custom, Leaf, Node, Project, Reshape, Scan, all_inputs, leaf, toposort
from gradgen.graph.origin import Origin, keep_origin, origin
from gradgen.graph.polynomials import applied
from gradgen.graph.records import (
    Call,
    Const,
    FloorDiv,
    Letter,
    Load,
    Poly,
    Position,
    Reduce,
    SizeSymbol,
    Slot,
    Step,
    polynomial,
    walk,
)
from gradgen.graph.scalar import load
from gradgen.graph.tensor import Tensor, tensor
from gradgen.lang.declare import Initialiser, initialiser, keep_initialiser

__all__ = ["Packed"]


class Packed:
    """Nodes in an order in which each stands behind what it reads, and what is known of them beside their fields."""

    def __init__(self, roots: Sequence[Node]) -> None:
        self.parts: list[Any] = []  # in front of the nodes: pickling follows them one by one, and never deeply
        self.origins: list[tuple[Node, Origin]] = []
        self.first_values: list[tuple[Leaf, Initialiser]] = []
        nodes = toposort(roots, all_inputs)
        self.parts += sorted((x for x in nodes if isinstance(x, Leaf)), key=lambda x: x.serial)  # as they were declared
        for node in nodes:
            if isinstance(node, Compute):
                self.parts += walk(*node.extents, *node.target, node.body)
            self.parts.append(node)
            if (found := origin(node)) is not None:
                self.origins.append((node, found))
            if isinstance(node, Leaf) and (init := initialiser(node)) is not None:
                self.first_values.append((node, init))

    def unpack(self) -> None:
        """Behind a pickle: note what is known of the nodes."""
        for node, found in self.origins:
            keep_origin(node, found)
        for x, init in self.first_values:
            keep_initialiser(x, init)


# ---------------------------------------------------------------- records


def _const(text: str, dtype: str, digest: str) -> Const:
    return intern_built(Const, (text, dtype), lambda: Const(text, dtype, digest))


def _quotient(numerator: Poly, denominator: Poly, digest: str) -> FloorDiv:
    return intern_built(FloorDiv, (numerator, denominator), lambda: FloorDiv(numerator, denominator, digest))


def _function(name: str) -> ScalarFunction:
    return FUNCTIONS[name]


REBUILT: Mapping[type, Any] = {
    Poly: lambda x: (polynomial, (x.terms,)),
    Const: lambda x: (_const, (x.text, x.dtype, x.digest)),
    FloorDiv: lambda x: (_quotient, (x.numerator, x.denominator, x.digest)),
    Load: lambda x: (load, (x.tensor, x.subscripts)),
    Call: lambda x: (applied, (x.function, x.arguments, x.dtype)),
    ScalarFunction: lambda x: (_function, (x.name,)),
    Leaf: lambda x: (leaf, (x.name, x.shape, x.dtype, x.role)),
    Tensor: lambda x: (tensor, (x.node,)),
}
AS_THEY_LIE = (Letter, SizeSymbol, Position, Step, Reduce, Slot, Compute, Reshape, Carry, Scan, Project, Custom)


def _as_it_lies(x: Any) -> tuple[Any, tuple[Any, ...]]:
    return intern, (type(x), *(getattr(x, field.name) for field in fields(x)))


for kind, reduce in REBUILT.items():
    copyreg.pickle(kind, reduce)
for kind in AS_THEY_LIE:
    copyreg.pickle(kind, _as_it_lies)
