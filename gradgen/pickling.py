"""Tensors and networks in pickles: formulas and what is known of them, for another process.

In: records as they lie. Out: the same records by their constructors, so that equal ones are one object there too; a
leaf becomes a new declaration of its name. `gradgen/__init__` says that tensors and formulas pickle so, and imports
this module when the first does; it says the same of every other record.
"""

import copyreg
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from gradgen.graph.declaration import ScalarFunction
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.intern import intern, intern_built
from gradgen.graph.nodes import Carry, Compute, Custom, Leaf, Node, Project, Reshape, Scan, all_inputs, leaf, toposort
from gradgen.graph.origin import Origin, without_folders
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
from gradgen.graph.side_tables import TABLES, side_table
from gradgen.graph.tensor import Tensor, tensor

__all__ = ["Packed", "reduced"]


class Packed:
    """Nodes in an order in which each stands behind what it reads, and what is known of them beside their fields."""

    def __init__(self, roots: Sequence[Node]) -> None:
        self.parts: list[Any] = []  # in front of the nodes: pickling follows them one by one, and never deeply
        self.known: list[tuple[str, Node, Any]] = []
        nodes = _with_mentioned(roots)
        self.parts += sorted((x for x in nodes if isinstance(x, Leaf)), key=lambda x: x.serial)  # as they were declared
        for node in nodes:
            if isinstance(node, Compute):
                self.parts += walk(*node.extents, *node.target, node.body)
            self.parts.append(node)
            self.known += [(name, node, table[node]) for name, table in TABLES.items() if node in table]

    def unpack(self) -> None:
        """Behind a pickle: note what is known of the nodes."""
        for name, node, value in self.known:
            side_table(name).setdefault(node, value)


def _with_mentioned(roots: Sequence[Node]) -> list[Node]:
    """All nodes below the roots, and below those that are mentioned in what is known of others."""
    found: dict[Node, None] = {}
    more = list(roots)
    while more:
        new = [n for n in toposort(more, lambda n: () if n in found else all_inputs(n)) if n not in found]
        found.update(dict.fromkeys(new))
        more = [x for n in new for table in TABLES.values() if n in table for x in _mentioned(table[n])]
    return list(found)


def _mentioned(value: Any) -> list[Node]:
    if not is_dataclass(value) or isinstance(value, type):
        return []
    return [x for field in fields(value) if isinstance(x := getattr(value, field.name), Node)]


# ---------------------------------------------------------------- records


def _const(text: str, dtype: str, digest: str) -> Const:
    return intern_built(Const, (text, dtype), lambda: Const(text, dtype, digest))


def _quotient(numerator: Poly, denominator: Poly, digest: str) -> FloorDiv:
    return intern_built(FloorDiv, (numerator, denominator), lambda: FloorDiv(numerator, denominator, digest))


def _function(name: str) -> ScalarFunction:
    return FUNCTIONS[name]


def _tensor(nodes: Packed, node: Node) -> Tensor:
    nodes.unpack()
    return tensor(node)


REBUILT: dict[type, Any] = {
    Poly: lambda x: (polynomial, (x.terms,)),
    Const: lambda x: (_const, (x.text, x.dtype, x.digest)),
    FloorDiv: lambda x: (_quotient, (x.numerator, x.denominator, x.digest)),
    Load: lambda x: (load, (x.tensor, x.subscripts)),
    Call: lambda x: (applied, (x.function, x.arguments, x.dtype)),
    ScalarFunction: lambda x: (_function, (x.name,)),
    Leaf: lambda x: (leaf, (x.name, x.shape, x.dtype, x.role)),
    Tensor: lambda x: (_tensor, (Packed([x.node]), x.node)),
    Origin: lambda x: (Origin, _fields(without_folders(x))),
}
AS_THEY_LIE = (Letter, SizeSymbol, Position, Step, Reduce, Slot, Compute, Reshape, Carry, Scan, Project, Custom)


def reduced(x: Any) -> tuple[Any, tuple[Any, ...]]:
    """What makes a record anew, and of what."""
    found: tuple[Any, tuple[Any, ...]] = REBUILT[type(x)](x)
    return found


def _as_it_lies(x: Any) -> tuple[Any, tuple[Any, ...]]:
    return intern, (type(x), *_fields(x))


def _fields(x: Any) -> tuple[Any, ...]:
    return tuple(getattr(x, field.name) for field in fields(x))


REBUILT |= dict.fromkeys(AS_THEY_LIE, _as_it_lies)
for kind, reduce in REBUILT.items():
    copyreg.pickle(kind, reduce)
