"""Windows over the last axes of a tensor: where they lie, how many there are, and what a caller may say of them.

In: kernel sizes, strides, paddings and dilations as PyTorch takes them. Out: `Windows`, by which convolutions, pooling
and unfolding write their subscripts. Numbers of windows are floor((size + padding - reach) / stride) + 1.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from gradgen.errors import OptionError, ShapeError
from gradgen.graph.axes import describe, shown
from gradgen.graph.place import here
from gradgen.graph.scalar import Poly, require_poly
from gradgen.graph.tensor import Tensor
from gradgen.lang.compute import padded
from gradgen.lang.declare import index
from gradgen.lang.shapes import whole

OUTER = {1: "t", 2: "h w", 3: "d h w"}  # the letters of the windows, by the number of axes
INNER = {1: "p", 2: "p q", 3: "p q r"}  # and of the elements of one
AXES = {1: "L", 2: "HW", 3: "DHW"}  # what the sizes are called


@dataclass(frozen=True, slots=True)
class Windows:
    """Element p of window o is element `stride * o + dilation * p - before` of an axis; one number for every axis."""

    what: str  # who asks, for messages
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]  # padding in front of an axis
    after: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def dims(self) -> int:
        """How many axes they slide along."""
        return len(self.kernel)

    @property
    def elements(self) -> int:
        """How many elements a window has."""
        return prod(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """How many elements there are from the first of a window to its last."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    @property
    def pads(self) -> bool:
        """Whether a window may lie outside."""
        return any(self.before) or any(self.after)

    def counts(self, x: Tensor, ceil: bool = False) -> tuple[Any, ...]:
        """How many windows there are along each axis; with `ceil` also those that begin inside and end outside.

        Raises:
            ShapeError: an axis is shorter than a window, or of unknown size where windows may end outside.
        """
        return tuple(self._count(x, k, size, ceil) for k, size in enumerate(x.shape[x.ndim - self.dims :]))

    def _count(self, x: Tensor, k: int, size: Any, ceil: bool) -> Any:
        room = size + self.before[k] + self.after[k] - self.reach[k]
        axis = x.ndim - self.dims + k
        if isinstance(room, int) and room < 0:
            raise ShapeError(
                f"{here()}axis {axis} of {describe(x.node)} with {self.before[k] + self.after[k]} of padding is "
                f"shorter than a window of {self.what}, which reaches over {self.reach[k]}."
            )
        if not ceil or self.stride[k] == 1:
            return room // self.stride[k] + 1
        if not isinstance(size, int):
            raise ShapeError(
                f"{here()}ceil_mode of {self.what} needs the size of axis {axis} of {describe(x.node)} as a number."
            )
        return min(-(-room // self.stride[k]) + 1, -(-(size + self.before[k]) // self.stride[k]))

    def inner(self) -> tuple[Poly, ...]:
        """Indices over the elements of a window."""
        return letters(INNER, self.kernel)

    def at(self, outer: Sequence[Poly], inner: Sequence[Poly]) -> tuple[Poly, ...]:
        """The subscripts of an element of a window."""
        numbers = zip(outer, inner, self.stride, self.dilation, self.before, strict=True)
        return tuple(require_poly(s * o + d * p - b) for o, p, s, d, b in numbers)

    def source(self, x: Tensor, value: float = 0.0, beyond: bool = False) -> Any:
        """What windows read: the tensor, with `value` outside where they may lie there."""
        return padded(x, value) if self.pads or beyond else x


def windows(
    what: str, dims: int, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, pooling: bool = False
) -> Windows:
    """Windows as PyTorch's arguments say; "same" pads so that there are as many windows as elements.

    Raises:
        OptionError: a number that cannot be, or "same" where windows are more than one element apart.
    """
    asked = stride
    kernel = numbers(kernel, dims, f"the kernel size of {what}", 1)
    stride = numbers(stride, dims, f"the stride of {what}", 1)
    dilation = numbers(dilation, dims, f"the dilation of {what}", 1)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise OptionError(f"{here()}padding 'same' of {what} is for windows with stride 1, not {shown(asked)}.")
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = tuple(n // 2 for n in total)
        after = tuple(n - n // 2 for n in total)
    elif isinstance(padding, str) and padding != "valid":
        raise OptionError(f"{here()}the padding of {what} is {padding!r}: give 'same', 'valid' or numbers.")
    else:
        before = after = numbers(0 if padding == "valid" else padding, dims, f"the padding of {what}", 0)
    if pooling and any(2 * b > k for b, k in zip(before, kernel, strict=True)):
        raise OptionError(
            f"{here()}the padding of {what} is {shown(padding)}: at most half of the kernel, {shown(kernel)}."
        )
    return Windows(what, kernel, stride, before, after, dilation)


def numbers(value: Any, count: int, what: str, least: int) -> tuple[int, ...]:
    """A number for every axis, from one for all of them or from as many.

    Raises:
        OptionError: anything else, or a number below the least.
    """
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    try:
        found = tuple(operator.index(n) for n in given)
    except TypeError:
        found = ()
    if len(given) == 1 and len(found) == 1:
        found *= count
    if len(found) != count or any(n < least for n in found):
        several = f", or {count} of them" if count > 1 else ""
        raise OptionError(f"{here()}{what} is {shown(value)}: give a number from {least} on{several}.")
    return found


def letters(names: dict[int, str], sizes: Sequence[Any]) -> tuple[Poly, ...]:
    """An index for every size."""
    return tuple(index(name, size) for name, size in zip(names[len(sizes)].split(), sizes, strict=True))


def leading(x: Tensor, dims: int, names: str) -> tuple[Poly, ...]:
    """Indices over the axes in front of the last `dims`, called by the last of these names."""
    sizes = x.shape[: x.ndim - dims]
    chosen = names.split()[len(names.split()) - len(sizes) :]
    return tuple(index(name, size) for name, size in zip(chosen, sizes, strict=True))


def check_rank(x: Tensor, dims: int, what: str) -> Tensor:
    """What has channels in front of its last `dims` axes, and examples in front of these or nothing.

    Raises:
        ShapeError: so many axes are neither.
        DTypeError: it is no tensor.
    """
    x = whole(x, what)
    if x.ndim not in (dims + 1, dims + 2):
        axes = ", ".join(AXES[dims])
        raise ShapeError(f"{here()}{what} takes (N, C, {axes}) or (C, {axes}), not {describe(x.node)}.")
    return x
