"""Every scalar function as the random formulas use it: arguments inside the domain, values moderate.

In: scalar expressions of moderate value. Out: an expression that calls the function; `formulas` draws from the tables.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.scalar import Scalar, call, number


@dataclass(frozen=True)
class Form:
    """`smooth`: almost everywhere, the derivative of the value is the gradient that the language promises."""

    arguments: int
    build: Callable[..., Scalar]
    smooth: bool = True


def _positive(x: Scalar) -> Scalar:
    return call("add", call("square", x), number(0.5))


def _small(x: Scalar) -> Scalar:
    return call("sin", x)


def _inside(x: Scalar) -> Scalar:
    """Within (-1, 1), away from the ends."""
    return call("mul", call("sin", x), number(0.75))


def _off_zero(x: Scalar) -> Scalar:
    """Terms that cancel give 0 or what rounding leaves of them, and a jump at 0 would tell these apart."""
    return call("add", x, number(0.0371))


def _rounded(x: Scalar) -> Scalar:
    return call("int64", call("mul", _off_zero(x), number(2.0)))


def _word(name: str) -> Form:
    """An operation on the three lowest bits of two numbers, times the one."""

    def build(x: Scalar, y: Scalar) -> Scalar:
        low = [call("bitwise_and", _rounded(a), number(7)) for a in (x, y)]
        return call("mul", call("bitwise_and", call(name, *low), number(7)), y)

    return Form(2, build)


def _number(condition: Scalar, x: Scalar) -> Scalar:
    """A condition as a number of x's dtype."""
    return call("mul", call(x.dtype, condition), number(0.75))


def _unary(name: str, domain: Callable[[Scalar], Scalar] = lambda x: x) -> Form:
    return Form(1, lambda x: call(name, domain(x)))


def _binary(name: str, domain: Callable[[Scalar], Scalar] = lambda y: y) -> Form:
    return Form(2, lambda x, y: call(name, x, domain(y)))


def _comparison(name: str) -> Form:
    return Form(2, lambda x, y: call("where", call(name, x, y), x, call("mul", y, number(0.5))))


def _logic(name: str) -> Form:
    def build(x: Scalar, y: Scalar) -> Scalar:
        condition = call(name, call("gt", x, number(0.125)), call("lt", y, number(0.625)))
        return call("add", _number(condition, x), x)

    return Form(2, build)


FORMS: dict[str, Form] = {
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "div": _binary("div", _positive),
    "floordiv": Form(2, lambda x, y: call("floordiv", _off_zero(x), _positive(y))),
    "mod": Form(2, lambda x, y: call("mod", _off_zero(x), _positive(y))),
    "neg": _unary("neg"),
    "pow": Form(2, lambda x, y: call("pow", _positive(_small(x)), _small(y))),
    "square": _unary("square"),
    "reciprocal": _unary("reciprocal", _positive),
    "exp": _unary("exp", _small),
    "exp2": _unary("exp2", _small),
    "expm1": _unary("expm1", _small),
    "log": _unary("log", _positive),
    "log2": _unary("log2", _positive),
    "log10": _unary("log10", _positive),
    "log1p": _unary("log1p", _positive),
    "sqrt": _unary("sqrt", _positive),
    "rsqrt": _unary("rsqrt", _positive),
    "cbrt": _unary("cbrt", _positive),
    "logaddexp": _binary("logaddexp"),
    "xlogy": _binary("xlogy", _positive),
    "sin": _unary("sin"),
    "cos": _unary("cos"),
    "tan": _unary("tan", _small),
    "asin": _unary("asin", _inside),
    "acos": _unary("acos", _inside),
    "atan": _unary("atan"),
    "atan2": _binary("atan2", _positive),
    "sinh": _unary("sinh", _small),
    "cosh": _unary("cosh", _small),
    "tanh": _unary("tanh"),
    "asinh": _unary("asinh"),
    "acosh": _unary("acosh", lambda x: call("add", _positive(x), number(1.0))),
    "atanh": _unary("atanh", _inside),
    "hypot": _binary("hypot", _positive),
    "sinc": _unary("sinc"),
    "erf": _unary("erf"),
    "erfc": _unary("erfc"),
    "erfinv": _unary("erfinv", _inside),
    "lgamma": _unary("lgamma", _positive),
    "digamma": _unary("digamma", _positive),
    "polygamma": Form(1, lambda x: call("polygamma", number(1), _positive(x))),
    "sigmoid": _unary("sigmoid"),
    "softplus": _unary("softplus"),
    "logsigmoid": _unary("logsigmoid"),
    "relu": _unary("relu"),
    "abs": _unary("abs"),
    "sign": Form(2, lambda x, y: call("mul", call("sign", _off_zero(x)), y)),
    "floor": Form(2, lambda x, y: call("mul", call("floor", _off_zero(x)), y)),
    "ceil": Form(2, lambda x, y: call("mul", call("ceil", _off_zero(x)), y)),
    "round": Form(2, lambda x, y: call("mul", call("round", x), y)),
    "maximum": _binary("maximum"),
    "minimum": _binary("minimum"),
    "where": Form(3, lambda x, y, z: call("where", call("le", x, number(0.25)), y, z)),
    "stop_gradient": Form(2, lambda x, y: call("mul", call("stop_gradient", x), y), smooth=False),
    "difference": _binary("difference"),
    "less_one": Form(1, lambda x: call("less_one", x, call("sub", number(1), x), call("le", x, number(0.25)))),
    "materialize": _unary("materialize"),
    "lt": _comparison("lt"),
    "le": _comparison("le"),
    "gt": _comparison("gt"),
    "ge": _comparison("ge"),
    "eq": _comparison("eq"),
    "ne": _comparison("ne"),
    "and": _logic("and"),
    "or": _logic("or"),
    "not": Form(2, lambda x, y: call("where", call("not", call("lt", x, y)), x, y)),
    **{name: _word(name) for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift")},
    "wrapped": Form(2, lambda x, y: call("mul", call("wrapped", _rounded(x)), y)),
    "isnan": Form(2, lambda x, y: call("where", call("isnan", x), y, x)),
    "float32": Form(2, lambda x, y: call("mul", call("float32", x), y), smooth=False),
    "float64": Form(2, lambda x, y: call(y.dtype, call("mul", call("float64", x), y))),
    "int32": Form(2, lambda x, y: call("mul", call("int32", _rounded(x)), y)),
    "int64": Form(2, lambda x, y: call("mul", _rounded(x), y)),
    "uint32": Form(2, lambda x, y: call("mul", call("uint32", call("abs", _rounded(x))), y)),
}

# Integral powers of both signs become multiplications, a constant base and a fractional exponent do not.
POWERS: tuple[Callable[[Scalar], Scalar], ...] = (
    lambda x: call("pow", x, number(2)),
    lambda x: call("pow", x, number(3)),
    lambda x: call("pow", _positive(x), number(-1)),
    lambda x: call("pow", _positive(x), number(1.5)),
    lambda x: call("pow", number(1.75), _small(x)),
    lambda x: call("div", x, number(3)),
    lambda x: call("mod", _off_zero(x), number(0.75)),
)

assert set(FORMS) == set(FUNCTIONS), f"FORMS and FUNCTIONS differ in {sorted(set(FORMS) ^ set(FUNCTIONS))}"
