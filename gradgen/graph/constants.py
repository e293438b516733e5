"""Arrays that are part of a model: leaves whose numbers nobody gives with a call.

In: arrays and nested lists of numbers. Out: a leaf, whose numbers are kept beside it; `tensor` makes operands of them.
"""

import reprlib
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gradgen.errors import DTypeError, ShapeError
from gradgen.graph.names import free_name, is_derived, note_derived
from gradgen.graph.nodes import Leaf, leaf
from gradgen.graph.place import here
from gradgen.graph.polynomials import INTEGERS
from gradgen.graph.scalar import DEFAULT_FLOAT, FLOATS, integer
from gradgen.graph.side_tables import side_table

__all__ = ["LARGEST", "Array", "constant_leaf", "copy_numbers", "numbered", "numbers_of", "read_numbers", "value_of"]

LARGEST = 4096  # elements: saved modules hold them as text
Array = NDArray[Any]
_KEPT = {"int32": "int32", "uint32": "uint32"}  # other integers are int64
_numbers: WeakKeyDictionary[Leaf, Array] = side_table("numbers")  # floats as float64, whatever the leaf's dtype


class Numbered(NamedTuple):
    """What a leaf is called that nobody has named, and the first leaf of the same value, which may be itself."""

    name: str
    first: Leaf


def read_numbers(value: Any) -> Array | None:
    """The numbers of an array, or of nested lists, with one axis at least; None for whatever else.

    Raises:
        ShapeError: lists of several lengths, or more than `LARGEST` elements.
    """
    if not isinstance(value, (list, tuple, np.ndarray)) or not _is_made_of_numbers(value):
        return None
    try:
        found = np.asarray(value)
    except ValueError:
        raise ShapeError(f"{here()}{reprlib.repr(value)} is no array: its parts have several lengths.") from None
    if not found.ndim or found.dtype.kind not in "biuf":
        return None
    if found.size > LARGEST:
        raise ShapeError(
            f"{here()}an array of {found.size:,} elements is data, and constants have {LARGEST:,} at most: declare it "
            "with gg.input, and give it with every call."
        )
    return found


def _is_made_of_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_made_of_numbers, value))
    return isinstance(value, (int, float, np.generic, np.ndarray)) and not isinstance(value, np.ma.MaskedArray)


def constant_leaf(
    numbers: Array, beside: Iterable[str] = (), dtype: str | None = None, name: str | None = None
) -> Leaf:
    """A leaf with these numbers.

    Args:
        numbers: from `read_numbers`; they are copied.
        beside: the dtypes of what it is computed with, whose float dtype numbers take, or else whose integer dtype
            integers do, as Python's numbers would.
        dtype: the dtype itself, where it is known.
        name: as of any leaf; without one, equal numbers become one leaf in a model.

    Raises:
        DTypeError: numbers that an integer dtype, or bool, does not hold; floats are rounded.
    """
    wanted = dtype or _dtype(numbers, list(beside))
    with np.errstate(all="ignore"):
        kept = numbers.astype("float64" if wanted in FLOATS else wanted, order="C")
    changed = kept != numbers
    if wanted not in FLOATS and changed.any():
        raise DTypeError(f"{here()}a constant holds {numbers[changed].flat[0]}, which {wanted} does not.")
    found = leaf(name or "constant", [integer(size) for size in numbers.shape], wanted, "constant")
    if name is None:
        note_derived(found)
    _keep(found, kept)
    return found


def _dtype(numbers: Array, beside: list[str]) -> str:
    kind = numbers.dtype.kind
    if kind == "b":
        return "bool"
    floats = [x for x in beside if x in FLOATS]
    if floats or kind == "f":
        return "float64" if "float64" in floats else DEFAULT_FLOAT
    integers = [x for x in beside if x in INTEGERS]
    return integers[0] if integers else _KEPT.get(numbers.dtype.name, "int64")


def copy_numbers(of: Leaf, to: Leaf) -> None:
    """Another leaf has the numbers of a constant, if it is one."""
    if (numbers := _numbers.get(of)) is not None:
        _keep(to, numbers)


def numbers_of(of: Leaf, dtype: str | None = None) -> Array | None:
    """The numbers of a constant in its dtype, or in another one; None for other leaves."""
    found = _numbers.get(of)
    with np.errstate(over="ignore"):  # too large for float32 is inf
        return None if found is None else found.astype(dtype or of.dtype)


def value_of(constant: Leaf) -> tuple[Any, ...]:
    """What is equal for constants of one dtype and shape whose numbers are equal, bit for bit."""
    numbers = _numbers[constant]
    return constant.dtype, numbers.shape, numbers.tobytes()


def numbered(leaves: Iterable[Leaf], taken: Iterable[str], apart: Collection[Leaf] = ()) -> dict[Leaf, Numbered]:
    """What leaves are called that nobody has named: in the order of their declaration, with a number where it is taken.

    Constants of one value are one, but for those that stand `apart`.
    """
    leaves = sorted(leaves, key=lambda x: x.serial)
    names = {*taken, *(x.name for x in leaves if not is_derived(x))}
    found: dict[Leaf, Numbered] = {}
    constants: dict[Any, Leaf] = {}
    for x in leaves:
        if not is_derived(x):
            continue
        same = constants.setdefault(value_of(x), x) if x.role == "constant" and x not in apart else x
        name = found[same].name if same is not x else free_name(x.name, names)
        names.add(name)
        found[x] = Numbered(name, same)
    return found


def _keep(of: Leaf, numbers: Array) -> None:
    numbers.flags.writeable = False
    _numbers[of] = numbers
