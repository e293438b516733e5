"""Where to try a model, when nobody said: sizes, and the integers that may select.

In: an `Interface` and what is known. Out: a number for each size, at which the model means something; the range of
integers to draw from.
"""

import re
from collections.abc import Collection, Mapping

from gradgen.errors import ShapeError
from gradgen.runtime.bindings import check_requirements, label_bounds
from gradgen.runtime.interface import Argument, Interface, evaluate_size

__all__ = ["integers_to_draw", "open_sizes", "trial_sizes"]

LARGER = (0, 5, 13, 29, 61, 125)  # what is added to sizes at which the model means nothing


def open_sizes(interface: Interface) -> list[str]:
    """The sizes that a model leaves to its callers, in the order of its tensors."""
    extents = " ".join(extent for x in interface.leaves for extent in x.shape)
    return list(dict.fromkeys(re.findall(r"[^\W\d]\w*", extents)))


def trial_sizes(
    interface: Interface, known: Mapping[str, int], first: int, extents: Collection[str] = ()
) -> dict[str, int]:
    """The sizes known, and the others from `first` on: larger where requirements want it, or `extents` are empty.

    Raises:
        ShapeError: a requirement that none of the sizes that were tried satisfies.
    """
    start = {**interface.sizes, **known}
    chosen = [name for name in open_sizes(interface) if name not in start]
    fitting: dict[str, int] | None = None
    for more in LARGER:
        found = {**start, **{name: first + k + more for k, name in enumerate(chosen)}}
        try:
            check_requirements(interface.requirements, found)
            if all(evaluate_size(extent, found) > 0 for extent in extents):
                return found
        except ShapeError:
            if fitting is None and (not chosen or more == LARGER[-1]):
                raise
        else:
            fitting = fitting or found
        if not chosen:
            break
    assert fitting is not None
    return fitting


def integers_to_draw(interface: Interface, x: Argument, sizes: Mapping[str, int]) -> tuple[int, int]:
    """The least and the greatest value of an integer or bool argument: those that select, else 0 and 1.

    Raises:
        ShapeError: it selects from an axis without elements.
    """
    bounds = [label_bounds(label, sizes) for label in interface.labels if label.leaf == x.name]
    if not bounds or x.dtype == "bool":
        return 0, 1
    low, high = max(b[0] for b in bounds), min(b[1] for b in bounds)
    if low > high:
        raise ShapeError(f"{x.name} selects from an axis without elements.")
    return low, high
