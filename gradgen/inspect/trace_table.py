"""A trace as the table of the lecture: primal rows downwards, adjoint rows upwards beside them.

In: a `Trace`. Out: a table for the terminal, with values short enough to read.
"""

from itertools import zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from gradgen.inspect.trace import Row, Trace

__all__ = ["short", "trace_table"]

WIDE = 100  # columns of a terminal
FEW, FEWER = 6, 4  # elements that are shown one by one
HEADINGS = {"reverse": "reverse adjoint trace, read upwards", "forward": "forward tangent trace"}


def trace_table(trace: Trace, mode: Literal["reverse", "forward"], width: int) -> Table:
    """Four columns: what is computed and its value, twice; a narrow terminal gets fewer elements of each array."""
    few = FEW if width >= WIDE else FEWER
    numbers: JustifyMethod = "right" if all(not block.primal.value.ndim for block in trace.blocks) else "left"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("forward primal trace", HEADINGS[mode]):
        table.add_column(heading, overflow="fold")
        table.add_column("value", justify=numbers, overflow="fold")
    for block in trace.blocks:
        for primal, derivative in zip_longest([block.primal], block.derivative):
            table.add_row(*_cells(primal, few), *_cells(derivative, few))
    return table


def _cells(row: Row | None, few: int) -> tuple[Text, Text]:
    return (Text(), Text()) if row is None else (Text(row.text), Text(short(row.value, few)))


def short(value: NDArray[Any], few: int = FEW) -> str:
    """A number to three decimals; a small array row by row, a large one by its shape, first elements and last."""
    array = np.asarray(value)
    if array.size <= few:
        return _nested(array.tolist()).replace("], ", "],\n ")
    flat = array.reshape(-1)
    first = ", ".join(_number(x) for x in flat[: few // 2].tolist())
    return f"({', '.join(map(str, array.shape))}): {first} … {_number(flat[-1].item())}"


def _nested(value: Any) -> str:
    return f"[{', '.join(map(_nested, value))}]" if isinstance(value, list) else _number(value)


def _number(x: float | int | bool) -> str:
    if not isinstance(x, float) or not np.isfinite(x):
        return str(x)
    if x and not 1e-3 <= abs(x) < 1e6:
        return f"{x:.2e}"
    text = f"{x:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
