"""Partial derivatives of scalar functions: written beside the declaration, or SymPy's, once per function.

In: a call. Out: its derivative by each argument, as an expression in the arguments and the call itself; `differentiate`
multiplies them together. `None` is an explicit zero.
"""

from functools import cache
from types import CodeType
from typing import Any

from gradgen.errors import GraphError
from gradgen.graph.functions import FUNCTIONS, ScalarFunction, argument_names
from gradgen.graph.scalar import FLOATS, Call, Scalar, as_scalar, call

_SYMPY_NAMES = {"Abs": "abs", "ceiling": "ceil", "Max": "maximum", "Min": "minimum"}


class _Functions(dict[str, Any]):
    """The scalar functions by name, for evaluating a derivative's text."""

    def __missing__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise KeyError(name)
        return lambda *arguments: call(name, *[_scalar(a) for a in arguments])


def _scalar(value: Any) -> Scalar:
    scalar = as_scalar(value)
    assert scalar is not None
    return scalar


def partials(applied: Call) -> tuple[Scalar | None, ...]:
    """The derivatives of a call by its arguments, in their order; None where it is declared zero."""
    operands = [_as_float(argument, applied.dtype) for argument in applied.arguments]
    names = dict(zip(argument_names(applied.function), operands, strict=True))
    found: list[Scalar | None] = []
    for code in _compiled(applied.function):
        value = None if code is None else eval(code, {"__builtins__": {}}, _Functions(names, out=applied))
        found.append(None if value is None else _scalar(value))
    return tuple(found)


def _as_float(argument: Scalar, dtype: str) -> Scalar:
    """An integer operand of a float function counts as a float of its result: 1 / n is no float32 among float64."""
    return call(dtype, argument) if dtype in FLOATS and argument.dtype in ("int32", "int64") else argument


@cache
def _compiled(function: ScalarFunction) -> tuple[CodeType | None, ...]:
    texts = function.partials if function.partials is not None else derived(function)
    return tuple(None if text == "0" else compile(text, f"<derivative of {function.name}>", "eval") for text in texts)


@cache
def derived(function: ScalarFunction) -> tuple[str, ...]:
    """SymPy's derivative of the definition by each argument, as text in the letters of the declaration."""
    import sympy

    letters = {name: sympy.Symbol(name, real=True) for name in argument_names(function)}
    definition = sympy.sympify(function.definition, locals=letters)
    return tuple(_written(sympy.diff(definition, letter)) for letter in letters.values())


def _written(expression: Any) -> str:
    """A SymPy expression as text over the scalar functions."""
    import sympy

    if expression.is_Integer or expression.is_Float or expression.is_Symbol:
        return f"({expression})" if str(expression).startswith("-") else str(expression)
    if expression.is_Rational:
        return f"({expression.p} / {expression.q})"
    parts = [_written(argument) for argument in expression.args if not expression.is_Piecewise]
    if expression.is_Add:
        return f"({' + '.join(parts)})"
    if expression.is_Mul:
        numerator, denominator = sympy.fraction(expression)
        if denominator != 1:
            return f"({_written(numerator)} / {_written(denominator)})"
        return f"({' * '.join(parts)})"
    if expression.is_Pow:
        if expression.exp == -1:
            return f"(1 / {parts[0]})"
        return f"sqrt({parts[0]})" if expression.exp == sympy.Rational(1, 2) else f"({parts[0]} ** {parts[1]})"
    name = type(expression).__name__
    name = _SYMPY_NAMES.get(name, name)
    if name not in FUNCTIONS or len(parts) != FUNCTIONS[name].arity:
        raise GraphError(f"SymPy's {name} has no scalar function of that name: give the derivative explicitly")
    return f"{name}({', '.join(parts)})"
