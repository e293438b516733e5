"""Formulas written as text over the scalar functions, such as a derivative or `x * sigmoid(x)`: read and written.

In: text and what its letters stand for, or a SymPy expression. Out: a scalar expression, or text; `partials` reads
derivatives, `compositions` the functions that are formulas.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import CodeType
from typing import Any

from gradgen.errors import GraphError
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.scalar import Scalar, as_scalar, call

__all__ = ["evaluated", "written"]


def evaluated(text: str, letters: Mapping[str, Scalar]) -> Scalar:
    """The scalar expression that a text means, where its letters stand for expressions."""
    return _scalar(eval(_compiled(text), {"__builtins__": {}}, _Functions(letters)))


@cache
def _compiled(text: str) -> CodeType:
    return compile(text, "<formula>", "eval")


class _Functions(dict[str, Any]):
    """The scalar functions by name, for evaluating a formula's text."""

    def __missing__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise KeyError(name)
        return lambda *arguments: call(name, *[_scalar(a) for a in arguments])


def _scalar(value: Any) -> Scalar:
    scalar = as_scalar(value)
    assert scalar is not None
    return scalar


# ---------------------------------------------------------------- from SymPy

# SymPy's classes under other names than ours; those of equal names need no entry.
_NAMES = {
    "Abs": "abs",
    "ceiling": "ceil",
    "loggamma": "lgamma",
    "StrictLessThan": "lt",
    "LessThan": "le",
    "StrictGreaterThan": "gt",
    "GreaterThan": "ge",
    "Equality": "eq",
    "Unequality": "ne",
    "Not": "not",
}
_FOLDED = {"Max": "maximum", "Min": "minimum", "And": "and", "Or": "or"}  # of any number of arguments
_SPECIAL: dict[str, Callable[..., str]] = {
    "digamma": lambda x: f"digamma({x})",
    "Heaviside": lambda x, at_zero: f"where({x} > 0, 1, where({x} < 0, 0, {at_zero}))",
    "sinc": lambda x: f"sinc({x} / 3.141592653589793)",  # SymPy's is sin(x) / x
    "sec": lambda x: f"(1 / cos({x}))",
    "csc": lambda x: f"(1 / sin({x}))",
    "cot": lambda x: f"(1 / tan({x}))",
    "coth": lambda x: f"(1 / tanh({x}))",
    "sech": lambda x: f"(1 / cosh({x}))",
    "csch": lambda x: f"(1 / sinh({x}))",
    "erf2": lambda x, y: f"(erf({y}) - erf({x}))",
    "erfcinv": lambda x: f"erfinv(1 - {x})",
}


def written(expression: Any) -> str:
    """A SymPy expression as text over the scalar functions, with its symbols as letters.

    Raises:
        GraphError: it has a part that is no scalar function, or is not a real number.
    """
    import sympy

    if expression in (sympy.true, sympy.false):
        return str(bool(expression))
    if expression.is_Symbol or expression.is_Integer:
        text = str(expression)
        return f"({text})" if text.startswith("-") else text
    if expression.is_Rational:
        return f"({expression.p} / {expression.q})"
    if expression.is_number and expression.is_extended_real and not expression.args:  # Float, pi, E, oo
        return _number(float(expression))
    if expression.is_Piecewise:
        return _piecewise(expression)
    if expression.is_Add or expression.is_Mul or expression.is_Pow:
        return _arithmetic(expression)
    parts = [written(argument) for argument in expression.args]
    name = type(expression).__name__
    if name in _FOLDED and parts:
        text = parts[0]
        for part in parts[1:]:
            text = _called(_FOLDED[name], [text, part])
        return text
    if name == "polygamma" and expression.args[0] == 0:
        return f"digamma({parts[1]})"
    if name in _SPECIAL:
        return _SPECIAL[name](*parts)
    name = _NAMES.get(name, name)
    if name not in FUNCTIONS or len(parts) != FUNCTIONS[name].arity:
        raise GraphError(
            f"SymPy's {expression} has no scalar function: write it with {', '.join(sorted(FUNCTIONS))}, "
            "or give the formula as a Python function of gg's own functions."
        )
    return _called(name, parts)


def _called(name: str, parts: list[str]) -> str:
    """A call; conditions are joined by Python's operators, because `and` is no name."""
    if name == "not":
        return f"(~{parts[0]})"
    if name in ("and", "or"):
        return f"({parts[0]} {'&' if name == 'and' else '|'} {parts[1]})"
    return f"{name}({', '.join(parts)})"


def _number(value: float) -> str:
    text = {float("inf"): "1e999", float("-inf"): "-1e999"}.get(value, repr(value))
    return f"({text})" if text.startswith("-") else text


def _arithmetic(expression: Any) -> str:
    import sympy

    if expression.is_Add:
        return f"({' + '.join(map(written, expression.args))})"
    if expression.is_Mul:
        numerator, denominator = sympy.fraction(expression)
        if denominator != 1:
            return f"({written(numerator)} / {written(denominator)})"
        return f"({' * '.join(map(written, expression.args))})"
    base, exponent = expression.args
    if base == sympy.E:
        return f"exp({written(exponent)})"
    if exponent == -1:
        return f"(1 / {written(base)})"
    if exponent == sympy.Rational(1, 2):
        return f"sqrt({written(base)})"
    if exponent == sympy.Rational(-1, 2):
        return f"rsqrt({written(base)})"
    return f"({written(base)} ** {written(exponent)})"


def _piecewise(expression: Any) -> str:
    """where(c1, y1, where(c2, y2, ...)); nan where no condition holds."""
    import sympy

    text = "(1e999 - 1e999)"
    for value, condition in reversed(expression.args):
        text = written(value) if condition == sympy.true else f"where({written(condition)}, {written(value)}, {text})"
    return text
