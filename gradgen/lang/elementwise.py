"""Functions that work element by element: of tensors, of formulas, and of numbers alike.

In: tensors, formulas, numbers. Out: the same; their meaning is declared in `graph.functions` and `graph.compositions`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gradgen.errors import GraphError
from gradgen.graph.axes import cast_name, shown
from gradgen.graph.compositions import COMPOSITIONS, Composition, composed
from gradgen.graph.declaration import ScalarFunction, argument_names
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.place import here
from gradgen.graph.tensor import apply, apply_formula
from gradgen.graph.written import written

__all__ = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_or", "bitwise_xor",
    "cast", "cbrt", "ceil", "celu", "clip", "cos", "cosh", "digamma", "elu", "equal", "erf", "erfc", "erfinv", "exp",
    "exp2", "expm1", "float32", "float64", "floor", "function", "gelu", "gelu_tanh", "greater", "greater_equal",
    "hardsigmoid", "hardswish", "hardtanh", "hypot", "int32", "int64", "isfinite", "isinf", "isnan", "leaky_relu",
    "left_shift", "less", "less_equal", "lgamma", "log", "log1p", "log2", "log10", "logaddexp", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logit", "logsigmoid", "maximum", "minimum", "mish", "mod", "negative",
    "not_equal", "polygamma", "power", "reciprocal", "relu", "relu6", "right_shift", "round", "rsqrt", "selu",
    "sigmoid", "sign", "silu", "sin", "sinc", "sinh", "softplus", "softsign", "sqrt", "square", "stop_gradient", "tan",
    "tanh", "uint32", "xlogy",
]  # fmt: skip


# What comes out, for the kinds of results that `ScalarFunction` has.
_RESULTS = {
    "promote": "the dtype of the arguments, or the one that both fit in",
    "float": "the float dtype of the arguments; float32 for integers",
    "bool": "the dtype bool",
    "float32": "the dtype float32",
    "float64": "the dtype float64",
    "int32": "the dtype int32",
    "int64": "the dtype int64",
    "uint32": "the dtype uint32",
    "integer": "the dtype of the integers, int64 where they differ",
}
_DESCRIBED = """{name}({arguments}): {meaning}.

Element by element: of tensors, which broadcast as NumPy's do, of formulas, and of numbers.{formula}{kink}
The result has {result}.

Raises:
    ShapeError: tensors that do not broadcast.
    DTypeError: arguments of a dtype that it is not defined for.
    TypeError: too few or too many arguments.
"""


def elementwise(function: str, name: str = "") -> Callable[..., Any]:
    """A scalar function as a function of tensors, formulas and numbers, under another name where one is given."""
    declared = FUNCTIONS[function]
    name = name or function
    letters = argument_names(declared)

    def applied(*arguments: Any) -> Any:
        if len(arguments) != declared.arity:
            raise TypeError(f"{here()}{name} takes {', '.join(letters)}: {len(arguments)} arguments were given.")
        return apply(function, *arguments)

    applied.__name__ = applied.__qualname__ = name
    applied.__doc__ = _DESCRIBED.format(
        name=name,
        arguments=", ".join(letters),
        meaning=declared.meaning,
        formula="",
        result=_RESULTS[declared.result],
        kink=_kink(declared),
    )
    vars(applied)["declared"] = declared  # for whoever lists the public functions
    return applied


def _kink(declared: ScalarFunction | Composition) -> str:
    return f"\nThe derivative at kinks: {declared.kink}." if declared.kink else ""


def composition(name: str) -> Callable[..., Any]:
    """A function with a formula, as a function of tensors, formulas and numbers."""
    return _function(COMPOSITIONS[name])


def function(name: str, expression: Any, arguments: Sequence[Any] | None = None) -> Callable[..., Any]:
    """A scalar function of your own, from a SymPy expression; it works element by element, as gg.exp does.

        x, a = sympy.symbols("x a")
        snake = gg.function("snake", x + sympy.sin(a * x) ** 2 / a, (x, a))
        y = snake(u, 0.5)

    The expression means what SymPy has made of it when it arrives here (`x*0` is 0). Its derivatives are those of its
    parts, with their conventions at kinks; `Piecewise` takes the first branch whose condition holds, and only the
    branch taken contributes.

    Args:
        name: what messages call it.
        expression: a SymPy expression, or text that SymPy reads, in real variables.
        arguments: its symbols, or their names, in the order in which values will be given; without them, all symbols
            in alphabetical order.

    Raises:
        GraphError: a part that is no scalar function, or a symbol that is no argument.
    """
    import sympy

    try:
        formula = sympy.sympify(expression)
    except sympy.SympifyError:
        raise GraphError(f"{here()}{name}: SymPy cannot read {expression!r}.") from None
    free = sorted(formula.free_symbols, key=str)
    order = free if arguments is None else [s if isinstance(s, sympy.Symbol) else sympy.Symbol(s) for s in arguments]
    by_name = {str(symbol): f"x{k}" for k, symbol in enumerate(order)}
    for symbol in free:
        if str(symbol) not in by_name:
            raise GraphError(f"{here()}{name}: {symbol} is not among the arguments {', '.join(by_name)}.")
    letters = {symbol: sympy.Symbol(by_name[str(symbol)], real=True) for symbol in free}
    try:
        text = written(formula.xreplace(letters))
    except GraphError as error:
        raise GraphError(f"{here()}{name}: {error}") from None
    made = _function(Composition(name, dict.fromkeys(by_name.values()), text))
    made.__doc__ = f"{name}({', '.join(by_name)}) = {formula}, element by element."
    return made


def _function(declared: Composition) -> Callable[..., Any]:
    names = list(declared.parameters)

    def applied(*arguments: Any, **named: Any) -> Any:
        given = dict(zip(names, arguments, strict=False))
        wrong = [key for key in named if key not in names or key in given]
        values = {**declared.parameters, **given, **named}
        missing = [key for key, value in values.items() if value is None]
        if len(arguments) > len(names) or wrong or missing:
            raise TypeError(f"{here()}{declared.name} takes {_listed(declared)}: see help(gg.{declared.name}).")
        return apply_formula(declared.name, lambda *xs: composed(declared, xs), *[values[key] for key in names])

    applied.__name__ = applied.__qualname__ = declared.name
    applied.__doc__ = _DESCRIBED.format(
        name=declared.name,
        arguments=_listed(declared),
        meaning=declared.meaning,
        formula=f"\nThe formula is {declared.formula}.",
        result="the dtype of the formula",
        kink=_kink(declared),
    )
    vars(applied)["declared"] = declared  # for whoever lists the public functions
    return applied


def _listed(declared: Composition) -> str:
    return ", ".join(key if value is None else f"{key}={value}" for key, value in declared.parameters.items())


def cast(x: Any, dtype: Any) -> Any:
    """A tensor or a formula as float32, float64, int32, int64 or uint32.

    Raises:
        DTypeError: another dtype.
    """
    return apply(cast_name(dtype, shown(x)), x)


abs = elementwise("abs")  # noqa: A001  # gg.abs
acos = elementwise("acos")
acosh = elementwise("acosh")
asin = elementwise("asin")
asinh = elementwise("asinh")
atan = elementwise("atan")
atan2 = elementwise("atan2")
atanh = elementwise("atanh")
bitwise_and = elementwise("bitwise_and")
bitwise_or = elementwise("bitwise_or")
bitwise_xor = elementwise("bitwise_xor")
cbrt = elementwise("cbrt")
ceil = elementwise("ceil")
cos = elementwise("cos")
cosh = elementwise("cosh")
digamma = elementwise("digamma")
equal = elementwise("eq", "equal")
erf = elementwise("erf")
erfc = elementwise("erfc")
erfinv = elementwise("erfinv")
exp = elementwise("exp")
exp2 = elementwise("exp2")
expm1 = elementwise("expm1")
float32 = elementwise("float32")
float64 = elementwise("float64")
floor = elementwise("floor")
greater = elementwise("gt", "greater")
greater_equal = elementwise("ge", "greater_equal")
hypot = elementwise("hypot")
int32 = elementwise("int32")
int64 = elementwise("int64")
isnan = elementwise("isnan")
left_shift = elementwise("left_shift")
less = elementwise("lt", "less")
less_equal = elementwise("le", "less_equal")
lgamma = elementwise("lgamma")
log = elementwise("log")
log10 = elementwise("log10")
log1p = elementwise("log1p")
log2 = elementwise("log2")
logaddexp = elementwise("logaddexp")
logical_and = elementwise("and", "logical_and")
logical_not = elementwise("not", "logical_not")
logical_or = elementwise("or", "logical_or")
logsigmoid = elementwise("logsigmoid")
maximum = elementwise("maximum")
minimum = elementwise("minimum")
mod = elementwise("mod")
negative = elementwise("neg", "negative")
not_equal = elementwise("ne", "not_equal")
polygamma = elementwise("polygamma")
power = elementwise("pow", "power")
reciprocal = elementwise("reciprocal")
relu = elementwise("relu")
right_shift = elementwise("right_shift")
round = elementwise("round")  # noqa: A001  # gg.round
rsqrt = elementwise("rsqrt")
sigmoid = elementwise("sigmoid")
sign = elementwise("sign")
sin = elementwise("sin")
sinc = elementwise("sinc")
sinh = elementwise("sinh")
softplus = elementwise("softplus")
sqrt = elementwise("sqrt")
square = elementwise("square")
stop_gradient = elementwise("stop_gradient")
tan = elementwise("tan")
tanh = elementwise("tanh")
uint32 = elementwise("uint32")
xlogy = elementwise("xlogy")

_logit = composition("logit")


def logit(x: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)), the inverse of sigmoid, element by element; nan outside of [0, 1].

    With eps, as in PyTorch, of x held between eps and 1 - eps, where the slope is 0 beyond them.

    Raises: as other functions of numbers.
    """
    return _logit(x if eps is None else clip(x, eps, 1 - eps))


vars(logit)["declared"] = COMPOSITIONS["logit"]

celu = composition("celu")
clip = composition("clip")
elu = composition("elu")
gelu = composition("gelu")
gelu_tanh = composition("gelu_tanh")
hardsigmoid = composition("hardsigmoid")
hardswish = composition("hardswish")
hardtanh = composition("hardtanh")
isfinite = composition("isfinite")
isinf = composition("isinf")
leaky_relu = composition("leaky_relu")
logical_xor = composition("logical_xor")
mish = composition("mish")
relu6 = composition("relu6")
selu = composition("selu")
silu = composition("silu")
softsign = composition("softsign")
