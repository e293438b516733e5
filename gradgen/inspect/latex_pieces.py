r"""Pieces of LaTeX: names, numbers, brackets, signs.

In: text. Out: text that MathJax, KaTeX and amsmath read; `latex` makes formulas of it.
"""

import re
from collections.abc import Sequence

__all__ = [
    "TALL", "aligned", "as_factor", "brackets", "floor", "heighten", "latex_name", "latex_number", "latex_text",
    "signs", "with_places",
]  # fmt: skip

TALL = re.compile(r"\\(frac|sum|max|min|log|begin)")
_SIGNS = {"==": "=", "!=": r"\ne", "<=": r"\le", ">=": r"\ge", "and": r"\land", "*": r"\,", "%": r"\bmod"}
_PYTHON = re.compile(r" (==|!=|<=|>=|and|\*|%) ")
_GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
    "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
})  # fmt: skip
_SPECIAL = {c: rf"\{c}" for c in "_#$%&{}"} | {"\\": r"\backslash ", "^": r"\hat{\ }", "~": r"\sim ", " ": r"\ "}


def latex_text(text: str) -> str:
    """A text in upright letters, whatever stands in it."""
    return rf"\mathrm{{{''.join(_SPECIAL.get(c, c) for c in text)}}}"


def latex_name(name: str) -> str:
    r"""A name: `x`, `\mu` for mu; with a number in one piece, `\mathit{W1}`; a longer one in upright letters."""
    found = re.fullmatch(r"(?P<base>[^\W\d_]+)(?P<number>\d*)", name)
    if found is None or (len(found["base"]) > 1 and found["base"] not in _GREEK):
        return latex_text(name)
    base = found["base"] if len(found["base"]) == 1 else rf"\{found['base']} "
    return rf"\mathit{{{base}{found['number']}}}" if found["number"] else base.strip()


def aligned(lines: Sequence[str]) -> str:
    """Lines below each other, as one displayed formula."""
    if len(lines) == 1:
        return f"$${lines[0].replace(' &', ' ', 1)}$$"
    rows = " \\\\\n".join(lines)
    return f"$$\\begin{{aligned}}\n{rows}\n\\end{{aligned}}$$"


def with_places(name: str, above: Sequence[str], below: Sequence[str]) -> str:
    """A name with the step of a scan above it, and its subscripts."""
    name += f"^{{({', '.join(above)})}}" if above else ""
    return name + (f"_{{{','.join(below)}}}" if below else "")


def brackets(text: str) -> str:
    return heighten(f"({text})") if TALL.search(text) else f"({text})"


def heighten(text: str) -> str:
    """The outermost brackets as high as what they hold."""
    return rf"\left{text[:-1]}\right{text[-1]}"


def as_factor(text: str, dtype: str) -> str:
    """A cast as a factor or a term: the value alone."""
    return brackets(text) if " " in re.sub(r"\{[^{}]*\}", "", text) else text


def floor(above: str, below: str) -> str:
    return rf"\left\lfloor \frac{{{above}}}{{{below}}} \right\rfloor"


def signs(text: str) -> str:
    return _PYTHON.sub(lambda found: f" {_SIGNS[found[1]]} ", text)


def latex_number(value: float, dtype: str) -> str:
    text = repr(value).removesuffix(".0")
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    if text in ("inf", "nan"):
        return sign + (r"\infty" if text == "inf" else r"\mathrm{nan}")
    digits, exponent, power = text.partition("e")
    if not exponent:
        return f"{sign}{text}"
    return sign + (f"10^{{{int(power)}}}" if digits == "1" else rf"{digits} \cdot 10^{{{int(power)}}}")
