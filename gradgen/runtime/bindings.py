"""Between a caller's arrays and the emitted functions: sizes, dtypes, layouts, and what must hold at call time.

In: arguments by name and an `Interface`. Out: arrays that the njit layer may trust, or an error that says what to do.
`calls` runs these checks when a call differs from the one before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from gradgen.errors import BindingError, DTypeError, LayoutWarning, ShapeError
from gradgen.graph.enumeration import Question, Stray, first_stray
from gradgen.graph.place import warn
from gradgen.graph.scalar import FLOATS
from gradgen.runtime.interface import Argument, Interface, evaluate_shape, evaluate_size, unknown_size
from gradgen.runtime.refusals import no_array, no_numbers, out_of_reach, unreadable
from gradgen.runtime.requirements import Label, Requirement

__all__ = [
    "Array", "Cotangents", "as_array", "bind_sizes", "check_fits", "check_label", "check_names", "check_requirements",
    "checked", "is_foreign", "label_bounds", "one_array", "refuse_overlaps", "rows_of", "widened", "with_state",
]  # fmt: skip

Array = NDArray[Any]


def check_names(given: Iterable[str], needed: Sequence[str], what: str, optional: Iterable[str] = ()) -> None:
    """Every needed name, and no other but those that may be given."""
    missing = [n for n in needed if n not in set(given)]
    unknown = [n for n in given if n not in needed and n not in optional]
    if missing or unknown:
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(_with_meant(n, missing) for n in unknown)} unknown"] if unknown else []
        raise BindingError(f"{what}: {'; '.join(wrong)}. Needed are {', '.join(needed) or 'none'}.")


def _with_meant(name: str, missing: Sequence[str]) -> str:
    """A name that nobody knows, and the missing one that may be meant."""
    near = [other for other in missing if other.lower() == name.lower()] or get_close_matches(name, missing, 1)
    return f"{name} (meant as {near[0]}?)" if near else name


def with_state(what: str, state: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The state, given as a dict, and the arguments by name."""
    try:
        given = {**state, **arguments}
    except TypeError:
        raise BindingError(
            f"{what} takes the state first, a dict of arrays by name, as net.init() makes it, "
            f"not {type(state).__name__}."
        ) from None
    if len(given) != len(state) + len(arguments):
        twice = ", ".join(name for name in arguments if name in state)
        raise BindingError(f"{what}: {twice} given twice, in the state and by name.")
    return given


def bind_sizes(arguments: Iterable[Argument], arrays: Mapping[str, Array], known: Mapping[str, int]) -> dict[str, int]:
    """The value of every size symbol, read off the axes that are one, and checked against all others."""
    sizes = dict(known)
    owners: dict[str, str] = {}
    for x in arguments:
        given = arrays[x.name].shape
        if len(given) != len(x.shape):
            raise ShapeError(
                f"{x.name} has {len(given)} axes, shape {given}; the model declares {x.shown}. Reshape the argument."
            )
        for axis, (name, value) in enumerate(zip(x.shape, given, strict=True)):
            if not name.isidentifier():
                continue
            if name in sizes and sizes[name] != value:
                raise ShapeError(
                    f"{x.name}'s axis {axis} is {value}, but the size {name} is {sizes[name]}"
                    f"{f' ({owners[name]})' if name in owners else ''}. Give arrays that agree."
                )
            sizes.setdefault(name, value)
            owners.setdefault(name, f"{x.name}'s axis {axis}")
    return sizes


def as_array(x: Argument, value: Any) -> Array:
    """The argument as an array. What is neither an array nor an axis-wise nesting of numbers is refused.

    Python's numbers, and lists of them, are taken in the declared dtype where NumPy calls that safe for Python numbers.
    Arrays of other libraries keep their dtype, for `checked` to see; they are not copied where they lie in memory as
    NumPy's do.
    """
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            raise DTypeError(f"{x.name} is a masked array, and masks are not read. Give {x.name}.filled(...).")
        if value.dtype.kind in "USTO":  # text, bytes, text of any length, objects
            raise no_numbers(x, value, value)
        return value
    try:
        only_dlpack = hasattr(value, "__dlpack__") and not _is_read_by_numpy(value)
        array = np.from_dlpack(value) if only_dlpack else np.asarray(value)
    except OverflowError:
        raise out_of_reach(x, value) from None
    except (TypeError, ValueError, RuntimeError, BufferError) as error:  # of torch, jax and DLPack
        raise unreadable(x, value, error) from error
    if array.dtype.kind not in "biuf":
        raise no_numbers(x, value, array)
    if array.ndim and is_foreign(value):
        return array
    wanted = np.dtype(x.dtype)
    if (array.dtype.kind == "f" and wanted.kind in "iub") or (array.dtype.kind in "iu" and wanted.kind == "b"):
        raise DTypeError(f"{x.name} is {array.dtype}; the model declares {x.dtype}. Round or cast it yourself.")
    with np.errstate(invalid="ignore"):
        found = array.astype(wanted, copy=False)
    if wanted.kind in "iu" and not np.array_equal(found, array):
        raise out_of_reach(x, array[found != array].flat[0])
    return found


def is_foreign(value: Any) -> bool:
    """Whether this is an array of another library than NumPy."""
    if isinstance(value, (np.ndarray, np.generic, float, int)):
        return False
    return _is_read_by_numpy(value) or hasattr(value, "__dlpack__")


def _is_read_by_numpy(value: Any) -> bool:
    """Whether NumPy finds an array in it without DLPack."""
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__") or hasattr(value, "__array_struct__")


def check_fits(x: Argument, array: Array, sizes: Mapping[str, int], own: bool = True) -> None:
    """Refuse an array of another dtype or shape than the declared ones.

    Args:
        x: what is declared.
        array: from `as_array`.
        sizes: the sizes of the call.
        own: whether the array is the caller's, not one made from something else.

    Raises:
        DTypeError, ShapeError: what is declared, and what to do.
    """
    if array.dtype != np.dtype(x.dtype):
        remedy = f"onvert it with .astype('{x.dtype}')" if own else f"onvert it to {x.dtype}"
        wider = array.dtype == np.float64 and x.dtype == "float32"
        instead = 'Compile with gg.compile(..., dtype="float64"), or c' if wider else "C"
        raise DTypeError(f"{x.name} is {array.dtype}; the model declares {x.dtype}. {instead}{remedy}.")
    expected = evaluate_shape(x.shape, sizes)
    if array.shape != expected:
        bound = "" if tuple(map(str, expected)) == x.shape else f", here {expected}"
        raise ShapeError(f"{x.name} has shape {array.shape}; the model declares {x.shown}{bound}.")


_EXACT = {"float32": 2**24, "float64": 2**53}  # up to here they hold every integer


def widened(x: Argument, array: Array) -> Array:
    """The array in the declared dtype, if that holds all of its values exactly; else the array as it is.

    bool, smaller integers and float16 always do; other integers where none of these is too large.
    """
    wanted = np.dtype(x.dtype)
    kinds = array.dtype.kind, wanted.kind
    if array.dtype == wanted or kinds[0] not in "biuf":
        return array
    if kinds[0] in "iu" and kinds[1] in "iuf":
        exact = _EXACT.get(x.dtype, 0)
        low, high = (-exact, exact) if exact else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        fits = array.size == 0 or (low <= int(array.min()) and int(array.max()) <= high)
    else:
        fits = np.can_cast(array.dtype, wanted, "safe")
    return array.astype(wanted) if fits else array


def checked(
    x: Argument, array: Array, sizes: Mapping[str, int], written: bool = False, own: bool = True, strict: bool = False
) -> Array:
    """The argument as a C-contiguous array of exactly the declared dtype and shape; `written`: updated in place.

    Raises what `check_fits` does. A layout that has to be copied warns (LayoutWarning), or raises BindingError where
    the array is to be updated, and under `strict`, as does another dtype, though it may hold what is given.
    """
    if not written:
        given, array = array, widened(x, array)
        if strict and array is not given:
            raise BindingError(
                f"{x.name} is {given.dtype} and would be copied, which strict=True refuses. Give an array of {x.dtype}."
            )
    check_fits(x, array, sizes, own)
    if written and not own:
        raise BindingError(f"{x.name} is no NumPy array, and the step updates it in place. Give a NumPy array.")
    if array.flags.c_contiguous and array.flags.aligned:
        if written and not array.flags.writeable:
            raise BindingError(f"{x.name} is read-only, and the step updates it in place. Give a writable array.")
        return array
    lacking, remedy = "C-contiguous", f"np.ascontiguousarray({x.name})"
    if array.flags.c_contiguous:
        lacking, remedy = "aligned", f"{x.name}.copy()"
    if written:
        raise BindingError(f"{x.name} is not {lacking}, and the step updates it in place. Give {remedy}.")
    if strict:
        raise BindingError(f"{x.name} is not {lacking} and would be copied, which strict=True refuses. Give {remedy}.")
    warn(f"{x.name} is not {lacking} and is copied for every call.", LayoutWarning)
    return np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])


class Cotangents:
    """The cotangents that `backward` takes, by the names of the outputs."""

    def __init__(self, interface: Interface) -> None:
        self.model = interface.name
        self.outputs = {x.name: x for x in interface.outputs if x.dtype in FLOATS}
        self._wanted = [(x.of, x.name, replace(x, name=f"the cotangent of {x.of}")) for x in interface.cotangents]

    def refuse_wrong(self, given: Mapping[str, Any]) -> None:
        """Names of no float output, and no cotangent at all."""
        known = ", ".join(self.outputs)
        wrong = [key for key in given if key not in self.outputs]
        if wrong:
            raise BindingError(f"backward: no float output is called {', '.join(wrong)}. Those are {known}.")
        if all(value is None for value in given.values()):
            first = next((x for x in self.outputs.values() if not x.shape), next(iter(self.outputs.values())))
            raise BindingError(
                f"{self.model}.backward: without a cotangent every gradient is 0. Give one for "
                f"{' or '.join(self.outputs)}: net.backward(saved, {first.name}={'...' if first.shape else '1.0'})."
            )

    def bound(self, given: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
        """By the names of the arguments; 0 for an output that has none."""
        found: dict[str, Any] = {}
        for output, name, wanted in self._wanted:
            shape = evaluate_shape(wanted.shape, sizes) if wanted.shape else ()
            value = given.get(output)
            found[name] = np.zeros(shape, wanted.dtype)[()] if value is None else cotangent(wanted, value, shape)
        return found


def cotangent(x: Argument, value: Any, shape: tuple[int, ...]) -> Any:
    """The cotangent of an output: any real numbers of its shape, in its dtype."""
    if type(value) is float and x.by_value:
        return np.dtype(x.dtype).type(value)
    array = as_array(x, value)
    if array.dtype.kind not in "biuf":
        raise no_array(x, array.dtype.type(0))
    if array.shape != shape:
        raise ShapeError(f"{x.name} has shape {array.shape}, the output {shape}.")
    array = np.asarray(array, dtype=x.dtype, order="C")
    return array[()] if x.by_value else array


# ---------------------------------------------------------------- what only a call can check


def check_requirements(wanted: Iterable[Requirement], sizes: Mapping[str, int]) -> None:
    """Sizes that are not negative, and subscripts that stay inside, at the sizes of a call."""
    for r in wanted:
        if any(evaluate_size(extent, sizes) == 0 for extent in r.extents):
            continue
        if any(evaluate_size(end, sizes) >= 0 for end in r.either):
            continue
        strays = None if r.inside is None else _strays(r.inside, sizes)
        if strays == []:
            continue
        problem = "divides by zero" if strays and strays[0].value is None else r.problem
        numbers = ", ".join(f"{name} = {value}" for name, value in sizes.items())
        value = evaluate_size(r.shown, sizes)
        raise ShapeError(f"{r.message} {problem} here: {r.shown} is {value} for {numbers}. Give larger arrays.")


def _strays(asked: Question, sizes: Mapping[str, int]) -> list[Stray] | None:
    try:
        return first_stray(asked, sizes)
    except NameError as error:
        raise unknown_size(error) from None


def label_bounds(label: Label, sizes: Mapping[str, int]) -> tuple[int, int]:
    """The least and the greatest value that may select."""
    low = evaluate_size(label.low, sizes)
    room = evaluate_size(label.extent, sizes) - 1 - evaluate_size(label.high, sizes)
    if label.factor > 0:
        return -(low // label.factor), room // label.factor
    return -(room // -label.factor), low // -label.factor


def check_label(label: Label, array: Array, low: int, high: int) -> None:
    """Integer data used as a subscript must be inside the axis it selects from."""
    smallest, largest = int(array.min()), int(array.max())
    if smallest < low or largest > high:
        bad = smallest if smallest < low else largest
        raise BindingError(
            f"{label.leaf} holds {bad}, outside {low}..{high} ({label.axis}). An index out of range is not read."
        )


def refuse_overlaps(arrays: Mapping[str, Array], written: Iterable[str]) -> None:
    """No array that a step writes may share memory with another argument."""
    updated = set(written)
    spans = sorted(
        (x.__array_interface__["data"][0], x.__array_interface__["data"][0] + x.nbytes, name)
        for name, x in arrays.items()
        if x.nbytes
    )
    end, before = -1, ""
    for start, stop, name in spans:
        if start < end and (name in updated or before in updated):
            raise BindingError(f"{before} and {name} share memory, and the step updates in place. Give a copy of one.")
        if stop > end:
            end, before = stop, name


def rows_of(array: Array) -> list[Array]:
    """The rows of an array as views; iterating over one axis gives numbers, whose memory is not that of the array."""
    return [array[k, ...] for k in range(len(array))]


def one_array(rows: Sequence[Array]) -> Array | None:
    """The array whose rows these are, without a copy; None where they do not follow each other in memory.

    It is good for as long as the rows are: whose memory theirs is differs where they were PyTorch's.
    """
    first = rows[0]
    origin = first.__array_interface__["data"][0]
    for k, x in enumerate(rows):
        if x.__array_interface__["data"][0] != origin + k * first.nbytes:
            return None
    return as_strided(first, (len(rows), *first.shape), (first.nbytes, *first.strides))
