"""What to say of arguments that are no arrays of numbers here: sparse, elsewhere, of other elements.

In: the argument as declared, and what was given. Out: an error that says what to give instead. `bindings` raises it.
"""

from typing import Any

from numpy.typing import NDArray

from gradgen.errors import DTypeError
from gradgen.runtime.interface import Argument

__all__ = ["no_array", "no_numbers", "out_of_reach", "unreadable"]

_CPU = 1  # DLPack's number for memory that the processor reads

Array = NDArray[Any]


def out_of_reach(x: Argument, value: Any) -> DTypeError:
    """What to say of an integer that the declared dtype does not hold."""
    return DTypeError(f"{x.name} is given {value}, which {x.dtype} does not hold.")


def unreadable(x: Argument, value: Any, error: Exception) -> DTypeError:
    """What to say of something that NumPy makes no array of, for this reason."""
    if getattr(value, "requires_grad", False) is True:
        return DTypeError(
            f"{x.name} requires a gradient, which PyTorch would not get through this call. Give {x.name}.detach(), or "
            "call gradgen.interop.torch.wrap(net)."
        )
    if type(error).__name__ == "TracerArrayConversionError":
        return DTypeError(f"{x.name} is traced by JAX and has no elements yet. Use gradgen.interop.jax.wrap(net).")
    if isinstance(value, (list, tuple)) and isinstance(error, ValueError):
        return DTypeError(f"{x.name} is a list whose parts have several lengths. Give a NumPy array of {x.dtype}.")
    if _lies_elsewhere(value):
        return DTypeError(f"{x.name} lies on another device. Copy it to the CPU first, as PyTorch's .cpu() does.")
    if (found := _sparse(x, value)) is not None:
        return found
    dtype: Any = getattr(value, "dtype", None)
    is_torchs = str(dtype).startswith("torch.") and isinstance(error, TypeError) and not value.is_meta
    if is_torchs and dtype.is_floating_point:  # bfloat16, say
        return DTypeError(f"{x.name} is {dtype}; the model declares {x.dtype}. Convert it with .to(torch.{x.dtype}).")
    return no_array(x, value)


def no_numbers(x: Argument, value: Any, array: Array) -> DTypeError:
    """What to say of elements that are no real numbers; `array` is what NumPy makes of the argument."""
    if (found := _sparse(x, value)) is not None:
        return found
    kind = array.dtype.kind
    given = f"an array of {array.dtype}" if array is value else type(value).__name__
    if kind in "UST" and not isinstance(value, (str, bytes)):
        return DTypeError(
            f"{x.name} holds text, not numbers (given: {given}). If it spells numbers, convert it with "
            f"np.array(..., {x.dtype!r})."
        )
    if kind == "O" and (array is value or (array.ndim and hasattr(value, "__array__"))):
        return DTypeError(
            f"{x.name} holds Python objects, not numbers (given: {given}). If all of them are numbers, convert it with "
            f"np.array(..., {x.dtype!r})."
        )
    if kind == "V" and hasattr(value, "astype"):  # bfloat16, say
        return DTypeError(
            f"{x.name} is {array.dtype}; the model declares {x.dtype}. Convert it with .astype('{x.dtype}')."
        )
    return no_array(x, value)


def no_array(x: Argument, value: Any) -> DTypeError:
    """What to say of anything else."""
    return DTypeError(
        f"{x.name} is no array of numbers (given: {type(value).__name__}). Give a NumPy array of {x.dtype}."
    )


def _lies_elsewhere(value: Any) -> bool:
    try:
        device, _ = value.__dlpack_device__()
    except (AttributeError, TypeError, ValueError):  # no array, or one that lies nowhere
        return False
    return bool(device != _CPU)


def _sparse(x: Argument, value: Any) -> DTypeError | None:
    """What to say of a matrix of which only some elements lie in memory; None of everything else."""
    in_torch = str(getattr(value, "layout", "")).startswith("torch.sparse")
    ways = ["to_dense"] if in_torch else [way for way in ("toarray", "todense") if hasattr(value, way)]
    if not ways:
        return None
    return DTypeError(
        f"{x.name} is sparse (given: {type(value).__name__}), and calls take arrays with all their elements. "
        f"Convert it with .{ways[0]}()."
    )
