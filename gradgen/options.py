"""What a compilation may be told, in one record.

In: the arguments of `gg.compile`, which `asked` has checked. Out: what passes ask about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

TARGETS = ("cpu",)


@dataclass(frozen=True, slots=True)
class Options:
    """`dtype` replaces float32 everywhere, `sizes` turns size symbols into numbers, `skip` leaves rewrites out.

    `deterministic` divides loops into a fixed number of parts; `strict` is about calls and changes no text. `target` is
    what the statements are made for: `pipeline.ON_TARGET` has its passes.
    """

    dtype: str = "float32"
    sizes: Mapping[str, int] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    strict: bool = False
    deterministic: bool = False
    target: str = "cpu"
