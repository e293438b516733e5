"""What a compilation may be told, in one record.

In: the arguments of `gg.compile`. Out: what passes and targets ask about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gradgen.errors import OptionError

Target = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Options:
    """`dtype` replaces float32 everywhere, `sizes` turns size symbols into numbers, `skip` leaves rewrites out."""

    target: Target = "cpu"
    dtype: str = "float32"
    sizes: Mapping[str, int] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.target not in ("cpu", "cuda"):
            raise OptionError(f"target={self.target!r}: it is 'cpu' or 'cuda'")
        if self.dtype not in ("float32", "float64"):
            raise OptionError(f"dtype={self.dtype!r}: it is 'float32' or 'float64'")
