"""What a saved module is made of, by the names that its text has for things.

In: an `Interface`, the fields of the module's named tuples, how first values are drawn. Out: a `Surface`, for
`makers`, `trial` and `head` to write by.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradgen.graph.nodes import tuple_text
from gradgen.lang.declare import Initialiser
from gradgen.runtime.interface import Argument, Interface

__all__ = ["Field", "Surface", "array_of", "dtype_text", "shape_text", "sizes_in"]


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a named tuple: its name there, and what callers know it as; equal layers are rows of one."""

    name: str
    members: tuple[Argument, ...]
    stacked: bool

    @property
    def shape(self) -> tuple[str, ...]:
        own = self.members[0].shape
        return (str(len(self.members)), *own) if self.stacked else own

    @property
    def dtype(self) -> str:
        return self.members[0].dtype


@dataclass(frozen=True)
class Surface:
    """A module as who calls it by hand sees it."""

    interface: Interface
    fields: Mapping[str, tuple[Field, ...]]
    initial: Mapping[str, Initialiser]  # of parameters and states

    @staticmethod
    def of(interface: Interface, names: Mapping[str, Sequence[str]], initial: Mapping[str, Initialiser]) -> "Surface":
        """`names` are the fields of the module's named tuples, by holder."""
        return Surface(interface, {key: _fields(interface, key, names[key]) for key in names}, initial)

    def makes(self, key: str) -> bool:
        """Whether there is a named tuple of this kind."""
        return bool(self.fields.get(key)) if key != "w" else "w" in self.fields

    def sizes(self, key: str) -> list[str]:
        """The sizes that the arrays of a named tuple depend on."""
        if key == "w":
            return list(self.interface.workspace)
        return sorted({name for field in self.fields[key] for extent in field.shape for name in sizes_in(extent)})


def _fields(interface: Interface, key: str, names: Sequence[str]) -> tuple[Field, ...]:
    if key == "w":
        return ()
    arguments = interface.fields[key]
    rows = {stack.at: stack.count for stack in interface.stacked(key)}
    found: list[Field] = []
    at = 0
    for name in names:
        count = rows.get(at, 1)
        found.append(Field(name, arguments[at : at + count], at in rows))
        at += count
    return tuple(found)


# ---------------------------------------------------------------- text


def sizes_in(extent: str) -> list[str]:
    """The size symbols of an extent."""
    return re.findall(r"[^\W\d]\w*", extent)


def shape_text(shape: Sequence[str]) -> str:
    """A shape as NumPy takes it, a number for one axis; in ruff's spacing."""
    return ast.unparse(ast.parse(shape[0] if len(shape) == 1 else tuple_text(shape)))


def dtype_text(dtype: str) -> str:
    """A dtype as NumPy's name for it."""
    return f"np.{'bool_' if dtype == 'bool' else dtype}"


def array_of(maker: str, field: Field) -> str:
    """`W=np.zeros((3, 4), np.float32)`."""
    return f"{field.name}={maker}({shape_text(field.shape)}, {dtype_text(field.dtype)})"
