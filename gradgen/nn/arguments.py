"""What layers are called with: tensors, and arrays that become constants of the model, as in functions of tensors.

In: the arguments of a call. Out: the same, with tensors where `forward` is annotated to take them; `modules` goes on.
"""

from collections.abc import Callable, Iterable
from functools import cache
from inspect import Signature, signature
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from gradgen.errors import DTypeError
from gradgen.graph.constants import read_numbers
from gradgen.graph.operators import kind_of
from gradgen.graph.place import here
from gradgen.graph.scalar import Scalar
from gradgen.graph.tensor import Tensor, constant
from gradgen.lang.shapes import whole
from gradgen.ours import is_ours

__all__ = ["as_tensors"]


def as_tensors(
    layer: Any, inputs: tuple[Any, ...], options: dict[str, Any], own: Iterable[str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a layer, with tensors where its `forward` takes tensors.

    Args:
        layer: its name is in messages.
        inputs, options: what it is called with.
        own: the dtypes of its parameters; arrays of floats meet these, and the tensors beside them.

    Raises:
        DTypeError: what is neither tensor nor array nor number.
        ShapeError: lists of several lengths, or an array that is too large to be part of a model.
    """
    given = (*inputs, *options.values())
    if any(type(x).__module__.partition(".")[0] == "torch" for x in given):
        raise DTypeError(
            f"{here()}{layer.name} is given a tensor of PyTorch, and layers take those of a model: declare gg.input, "
            "compile, and call the network with arrays."
        )
    form, hints = _form(type(layer).forward)
    try:
        bound = form.bind(layer, *inputs, **options)
    except TypeError:  # the call itself says it
        return inputs, options
    beside = [*(x.dtype for x in given if isinstance(x, Tensor)), *own]
    for key, value in bound.arguments.items():
        if key in hints and value is not form.parameters[key].default:
            bound.arguments[key] = _as_tensor(value, hints[key], layer, beside)
    return bound.args[1:], bound.kwargs


def _as_tensor(value: Any, hint: Any, layer: Any, beside: list[str]) -> Any:
    if isinstance(value, Tensor) or (value is None and NoneType in get_args(hint)):
        return value
    if isinstance(value, (tuple, list)) and any(get_origin(part) is tuple for part in get_args(hint)):
        return tuple(_as_tensor(x, Tensor | None, layer, beside) for x in value)
    if isinstance(value, Scalar):
        if not is_ours(type(layer).forward.__code__.co_filename):  # a layer of one's own may be of formulas, too
            return value
        raise DTypeError(
            f"{here()}{layer.name} takes tensors, not the formula {kind_of(value)}: gg.compute makes a tensor of it."
        )
    numbers = read_numbers(value)
    if numbers is not None and numbers.dtype.kind == "f":
        return constant(numbers, *beside)
    return whole(value, layer.name)  # integers keep their dtype, as labels and places do


@cache
def _form(forward: Callable[..., Any]) -> tuple[Signature, dict[str, Any]]:
    """What a function is called with, and those of its annotations that say tensors, or tuples of tensors."""
    try:
        hints = get_type_hints(forward)
    except Exception:  # names that only type checkers know
        hints = {}
    form = signature(forward)
    single = {x.name for x in form.parameters.values() if x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)}
    return form, {key: hint for key, hint in hints.items() if key in single and _says_tensor(hint)}


def _says_tensor(hint: Any) -> bool:
    return hint is Tensor or any(map(_says_tensor, get_args(hint)))
