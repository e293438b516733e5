"""Sizes to try a model at, where nobody gave them.

In: an `Interface` and the sizes that are known. Out: a number for each, at which the model means something.
"""

import re
from collections.abc import Mapping

from gradgen.errors import ShapeError
from gradgen.runtime.bindings import check_requirements
from gradgen.runtime.interface import Interface

__all__ = ["open_sizes", "trial_sizes"]

LARGER = (0, 5, 13, 29, 61)  # what is added to sizes at which the model means nothing


def open_sizes(interface: Interface) -> list[str]:
    """The sizes that a model leaves to its callers, in the order of its tensors."""
    extents = " ".join(extent for x in interface.leaves for extent in x.shape)
    return list(dict.fromkeys(re.findall(r"[^\W\d]\w*", extents)))


def trial_sizes(interface: Interface, known: Mapping[str, int], first: int) -> dict[str, int]:
    """The sizes known, and the others from `first` on, larger where requirements want it.

    Raises:
        ShapeError: a requirement that none of the sizes that were tried satisfies.
    """
    start = {**interface.sizes, **known}
    chosen = [name for name in open_sizes(interface) if name not in start]
    for more in LARGER:
        found = {**start, **{name: first + k + more for k, name in enumerate(chosen)}}
        try:
            check_requirements(interface.requirements, found)
        except ShapeError:
            if not chosen or more == LARGER[-1]:
                raise
            continue
        break
    return found
