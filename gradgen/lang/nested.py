"""Tensors in nested tuples, lists and dicts: what loops carry, and what functions over a new axis take and return.

In: a nested value. Out: its tensors in order, the same nesting with others, and its form as text for messages.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradgen.errors import DTypeError
from gradgen.graph.place import here
from gradgen.graph.tensor import Tensor, constant
from gradgen.lang.constants import full


def leaves(value: Any, what: str) -> list[Tensor]:
    """The tensors of nested tuples, lists and dicts, in order; None holds none, a number is a tensor without axes,
    and an array part of the model.

    Raises:
        DTypeError: anything else.
    """
    match value:
        case None:
            return []
        case Tensor():
            return [value]
        case bool() | int() | float():
            return [full((), value, {bool: "bool", int: "int64"}.get(type(value), "float32"))]
        case np.ndarray() | np.generic() if value.shape == ():
            return leaves(value.item(), what)
        case np.ndarray() if (found := constant(value)) is not None:
            return [found]
        case tuple() | list() | dict():
            return [leaf for part in _parts(value) for leaf in leaves(part, what)]
    raise DTypeError(
        f"{here()}{what} takes tensors, arrays, numbers, None, and tuples, lists and dicts of these, not {value!r}."
    )


def like(value: Any, tensors: list[Any]) -> Any:
    """The same nesting with other tensors; takes them off the front of the list."""
    match value:
        case None:
            return None
        case tuple() if hasattr(value, "_fields"):  # a named tuple
            return type(value)(*[like(part, tensors) for part in value])
        case tuple() | list():
            return type(value)([like(part, tensors) for part in value])
        case dict():
            found = {key: like(value[key], tensors) for key in _keys(value)}
            return {key: found[key] for key in value}
    return tensors.pop(0)


def form_of(value: Any) -> str:
    """The nesting alone: `(*, (*, None))`."""
    match value:
        case None:
            return "None"
        case tuple() | list():
            inner = ", ".join(form_of(part) for part in value)
            return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
        case dict():
            return "{" + ", ".join(f"{key!r}: {form_of(value[key])}" for key in _keys(value)) + "}"
    return "*"


def _parts(value: Any) -> Iterable[Any]:
    return [value[key] for key in _keys(value)] if isinstance(value, dict) else value


def _keys(value: dict[Any, Any]) -> list[Any]:
    """In an order that does not depend on who wrote the dict."""
    return sorted(value, key=str)
