"""Partial derivatives of scalar functions: written beside the declaration, or SymPy's, once per function.

In: a call. Out: its derivative by each argument, as an expression in the arguments and the call itself; `derive`
multiplies them together. `None` is an explicit zero.
"""

from functools import cache

from gradgen.graph.declaration import ScalarFunction, argument_names
from gradgen.graph.scalar import FLOATS, Call, Scalar, call
from gradgen.graph.written import evaluated, written


def partials(applied: Call) -> tuple[Scalar | None, ...]:
    """The derivatives of a call by its arguments, in their order; None where it is declared zero."""
    operands = [_as_float(argument, applied.dtype) for argument in applied.arguments]
    letters = dict(zip(argument_names(applied.function), operands, strict=True))
    texts = _texts(applied.function)
    return tuple(None if text == "0" else evaluated(text, {**letters, "out": applied}) for text in texts)


def has_derivative(function: ScalarFunction) -> tuple[bool, ...]:
    """For every argument, whether the derivative by it is other than an explicit zero."""
    return tuple(text != "0" for text in _texts(function))


def _texts(function: ScalarFunction) -> tuple[str, ...]:
    return function.partials if function.partials is not None else derived(function)


def _as_float(argument: Scalar, dtype: str) -> Scalar:
    """An integer operand of a float function counts as a float of its result: 1 / n is no float32 among float64."""
    return call(dtype, argument) if dtype in FLOATS and argument.dtype in ("int32", "int64", "uint32") else argument


@cache
def derived(function: ScalarFunction) -> tuple[str, ...]:
    """SymPy's derivative of the definition by each argument, as text in the letters of the declaration."""
    import sympy

    letters = {name: sympy.Symbol(name, real=True) for name in argument_names(function)}
    definition = sympy.sympify(function.definition, locals=letters)
    return tuple(written(sympy.diff(definition, letter)) for letter in letters.values())
