"""Random integer formulas over indices and data, with their value by NumPy: what wraps around, wraps around.

In: a way to draw. Out: formulas in steps, some of which are nodes of their own, and the arrays that NumPy makes of the
same operations on int64 and uint32; `test_integers` holds interpreter and emitted text against them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradgen as gg

ROWS = 6
LARGE = (2**31 - 1, 2**32, 2**62 + 5, -(2**62) - 9, 6364136223846793005, 48271000, 2**63 - 2**40)
SMALL = (1, 2, 3, 5, 7, 16, 1000, -1, -3)
DTYPES = ("int64", "uint32", "int32")
OPERATIONS = (*"+-*+*", *("//", "%") * 2, *"^&|~", "<<", ">>", "-x", "where", "cast", "node", "max")


@dataclass(frozen=True)
class Value:
    """A formula over the index n (and m), and its values for every n and m."""

    formula: Any
    array: np.ndarray


Choose = Callable[[Sequence[Any]], Any]


def data(choose: Choose, dtype: str) -> np.ndarray:
    """Numbers, among them those at the ends of the dtype and near 2**62."""
    ends = np.iinfo(dtype)
    margin = 2**40 if dtype == "int64" else 0  # what comparisons with indices leave free, and more
    near = [k for k in (*SMALL, *LARGE, ends.min + margin, ends.max - margin) if ends.min <= k <= ends.max]
    return np.array([choose(near) + 0 for _ in range(ROWS)], dtype)


def number(choose: Choose, dtype: str, large: bool = True) -> int:
    ends = np.iinfo(dtype)
    return choose([k for k in (*SMALL, *(LARGE if large else ())) if ends.min <= k <= ends.max])


def step(choose: Choose, values: Sequence[Value], n: Any, m: Any) -> Value:
    """One more operation on the values so far."""
    a, b = choose(values), choose(values)
    operation = choose(OPERATIONS)
    dtype = a.array.dtype.name
    if choose((True, False)):
        k = number(choose, dtype)
        b = Value(k, np.array(k, dtype))
    x, y = a.formula, b.formula
    match operation:
        case "+":
            return Value(x + y, a.array + b.array)
        case "-":
            return Value(x - y, a.array - b.array)
        case "*":
            return Value(x * y, a.array * b.array)
        case "//" | "%":
            k = number(choose, dtype)
            if k == -1:  # the least number by -1 is no number
                k = 3
            divisor = np.array(k, dtype)
            return Value(x // k, a.array // divisor) if operation == "//" else Value(x % k, a.array % divisor)
        case "^":
            return Value(x ^ y, a.array ^ b.array)
        case "&":
            return Value(x & y, a.array & b.array)
        case "|":
            return Value(x | y, a.array | b.array)
        case "<<" | ">>":
            k = choose((0, 1, 5, 13, 31, 32, 40, 63, 64))
            if choose((True, False, False)):
                places = Value((n * 7 + m) % 66, (np.arange(ROWS)[:, None] * 7 + np.arange(2)[None]) % 66)
                if operation == "<<":
                    return Value(x << places.formula, a.array << places.array)
                return Value(x >> places.formula, a.array >> places.array)
            counts = np.array(k, dtype)
            return Value(x << k, a.array << counts) if operation == "<<" else Value(x >> k, a.array >> counts)
        case "~":
            return Value(~x, ~a.array)
        case "-x":
            return Value(-x, -a.array)
        case "where":
            less = choose(("<", "<=", "==", "!="))
            conditions = {"<": (x < y, a.array < b.array), "<=": (x <= y, a.array <= b.array)}
            conditions |= {"==": (x == y, a.array == b.array), "!=": (x != y, a.array != b.array)}
            formula, array = conditions[less]
            other = choose(values)
            return Value(gg.where(formula, x, other.formula), np.where(array, a.array, other.array))
        case "cast":
            to = choose(("int64", "uint32"))
            return Value(gg.cast(x, to), a.array.astype(to))
        case "max":
            other = choose(values)
            return Value(gg.maximum(x, other.formula), np.maximum(a.array, other.array))
    node = gg.compute((n, m), x)
    return Value(node[n, m], np.broadcast_to(a.array, (ROWS, 2)))


def formulas(choose: Choose, steps: int) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs, the arrays of the inputs, and what the outputs are."""
    n, m = gg.index("n", ROWS), gg.index("m", 2)
    arrays = {f"x_{dtype}": data(choose, dtype) for dtype in DTYPES}
    leaves = {name: gg.input(name, (ROWS,), array.dtype.name) for name, array in arrays.items()}
    values = [Value(n, np.arange(ROWS)[:, None] + 0), Value(m, np.arange(2)[None] + 0)]
    values += [Value(leaves[name][n], array[:, None]) for name, array in arrays.items()]
    with np.errstate(all="ignore"):
        for _ in range(steps):
            values.append(step(choose, values, n, m))
    last = {f"y_{k}": v for k, v in enumerate(values[-3:])}
    outputs = {k: gg.compute((n, m), v.formula) for k, v in last.items()}
    return outputs, arrays, {k: np.broadcast_to(v.array, (ROWS, 2)) for k, v in last.items()}
