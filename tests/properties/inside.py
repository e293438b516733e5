"""Random reads of one axis, of which a person knows whether they stay inside: by trying every index in Python.

In: choices of Hypothesis. Out: a `Read`, the text of a subscript and of a condition over indices, sizes and data, with
numbers for all of them. `test_inside` writes it as a formula and compares what happens with what has to.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import gradgen as gg

PYTHON = {"minimum": min, "maximum": max, "where": lambda c, a, b: a if c else b, "abs": abs, "true": True}
FORMULA = {"minimum": gg.minimum, "maximum": gg.maximum, "where": gg.where, "abs": gg.abs, "true": True}


@dataclass(frozen=True)
class Read:
    """x[subscript] under a condition, for i < I, q < Q and an axis of N elements; a[i] is integer data."""

    subscript: str
    condition: str
    padded: bool
    sizes: dict[str, int]
    symbolic: frozenset[str]
    data: tuple[int, ...] = ()

    def places(self) -> list[list[int | None]] | None:
        """What is read at each i and q, None where nothing is; no list at all where that is outside."""
        fixed = not re.search(r"\b[iqa]\b", self.subscript)  # an element of the whole tensor
        if fixed and not self.padded and not 0 <= eval(self.subscript, {**PYTHON, **self.sizes}) < self.sizes["N"]:
            return None
        found: list[list[int | None]] = []
        for i in range(self.sizes["I"]):
            found.append([])
            for q in range(self.sizes["Q"]):
                names = {**PYTHON, **self.sizes, "i": i, "q": q, "a": self.values()[i]}
                words = {k: np.int64(v) if isinstance(v, int) else v for k, v in names.items()}  # by 0 they give 0
                with np.errstate(all="ignore"):
                    read = eval(self.condition, words)
                try:
                    place = eval(self.subscript, names) if read else None
                except ZeroDivisionError:
                    return None
                inside = place is not None and 0 <= place < self.sizes["N"]
                if place is not None and not inside and not self.padded:
                    return None
                found[-1].append(place if inside else None)
        return found

    def values(self) -> tuple[int, ...]:
        return self.data or (0,) * self.sizes["I"]

    def network(self) -> Any:
        """y[i, q], and the loss that its gradient is of."""
        sizes: dict[str, Any] = {k: gg.size(k) if k in self.symbolic else v for k, v in self.sizes.items()}
        x, a = gg.param("x", (sizes["N"],), dtype="float64"), gg.input("a", (sizes["I"],), dtype="int64")
        w = gg.input("w", (sizes["I"], sizes["Q"]), dtype="float64")
        i, q = gg.index("i", sizes["I"]), gg.index("q", sizes["Q"])
        names = {**FORMULA, **sizes, "i": i, "q": q, "a": a[i]}
        source: Any = gg.padded(x) if self.padded else x
        value = source[eval(self.subscript, names)]
        condition = eval(self.condition, names)
        y = gg.compute((i, q), w[i, q] * (value if condition is True else gg.where(condition, value, 0.0)))
        # the second term keeps every size and every argument in the model
        loss = gg.sum(y * y) + gg.sum(x) * gg.sum(w) * gg.sum(a)
        return gg.compile({"loss": loss, "y": y}, name="read", loss="loss")


@st.composite
def reads(draw: st.DrawFn) -> Read:
    def pick(*options: Any) -> Any:
        return draw(st.sampled_from(options))

    sizes = {"N": pick(9, 12, 7, 20, 5, 3, 2, 1, 0), "I": pick(4, 3, 5, 2, 1, 0), "Q": pick(2, 3, 1)}
    common = pick(1, 1, 2, 3)
    affine = f"({pick(1, 2, 3) * common}*i + {pick(0, 1, 1, 2) * common}*q - {pick(0, 1, 2, 3) * pick(1, common)})"
    other = f"({pick(1, 2)}*i - {pick(0, 1)}*q + {pick(0, 1, 2)})"
    subscript = pick(
        affine,
        affine,
        other,
        f"({affine} // {pick(2, 3)})",
        f"({other} % {pick('N' if sizes['N'] else '3', '3', '2')})",  # by a size that is 0 it has no meaning
        "((N - 1) * i // (I - 1))",
        "(N * i // I)",
        f"((N - 1) * i // {pick(2, 3)} + {pick(0, 0, 1)})",
        f"(N - 1 - (N - 1) * i // {pick(2, 3)})",
        f"minimum({other}, N - 1)",
        f"maximum(minimum({affine}, N - 1), 0)",
        f"where({affine} < N, {affine}, 0)",
        f"where((a >= 0) & (a < {pick('N', '3')}), a, {pick('0', 'N - 1', other)})",
        f"abs({affine} - {pick(1, 2)})",
        "a",
        "(a + i)",
        "(i * (i + 1) // 2 + q)",
        "minimum(N - 1, 2)",
        "(i // (q + 1))",
        "(6 // (i - q))",
    )
    condition = pick(
        "true",
        "true",
        f"({subscript} >= 0) & ({subscript} < N)",
        f"({affine} < {pick('N', 'I', '3', '5')})",
        f"(({other} < 2) | ({other} > {pick('4', 'I')}))",
        "(i < 1)",
        "(i != q)",
        f"(a > {pick(0, 1)})",
        f"((a > 0) & ({subscript} >= 0))",
        f"((a > {pick(0, 1)}) & ({pick(6, 'a')} {pick('//', '%')} (i - q) >= {pick(0, 1)}))",
        "(N > 2)",
        f"(i < {pick('N', 'N - 1', 'I - 1')})",
    )
    symbolic = frozenset(name for name in sizes if draw(st.booleans()) or (name == "I" and "//" in subscript))
    if sizes["N"] == 1 and "(N - 1)" in subscript:
        symbolic |= {"N"}  # as a number it leaves 0 // (I - 1), which is 0 for I = 1, too
    data = tuple(draw(st.lists(st.integers(-1, 4), min_size=sizes["I"], max_size=sizes["I"])))
    return Read(subscript, condition, pick(False, True), sizes, symbolic, data)


def by_hand(read: Read, places: list[list[int | None]], x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y, and the gradient of the loss by x."""
    y, d_x = np.zeros_like(w), np.full_like(x, w.sum() * sum(read.values()))
    for (i, q), weight in np.ndenumerate(w):
        place = places[i][q]
        if place is not None:
            y[i, q] = weight * x[place]
            d_x[place] += 2 * y[i, q] * weight
    return y, d_x
