"""A loop divided among threads, as Numba's `prange` over calls of the function that does one part.

In: a `Parts` and the function of a part. Out: lines for the function around it, which `cpu` prints.
"""

import re
from collections.abc import Callable, Sequence

from gradgen.graph.scalar import Scalar
from gradgen.program.kernels import Kernel
from gradgen.program.loops import Parts


def parts_lines(
    parts: Parts,
    part: Kernel,
    sizes: Sequence[str],
    text: Callable[[Scalar], str],
    fill: Callable[[str, Sequence[str], int], list[str]],
    indent: int,
) -> list[str]:
    """`for part in prange(parts)` around a call of the function; `sizes` are those that it takes as arguments."""
    extent = text(parts.extent)
    whole = extent if re.fullmatch(r"\w+", extent) else f"({extent})"
    at, count = parts.part, text(parts.count)
    rows = {mine: f"{behind.name}[{at}]" for mine, behind in parts.own}
    bounds = {parts.first: f"{at} * {whole} // {count}", parts.last: f"({at} + 1) * {whole} // {count}"}
    arguments = [bounds.get(b.name, rows.get(b, b.name)) for b in part.parameters]
    call = fill(f"{part.name}(", [*arguments, *sizes], indent + 4)
    return [f"for {at} in prange({count}):", *[f"    {line}" for line in call]]
