"""Every scalar function, one declaration each: meaning, result dtype, derivative, notation.

In: nothing. Out: `FUNCTIONS`, read by `scalar` (construction), `partials` (calculus) and the printers. A derivative
is written where SymPy's own would lose precision, where a convention at a kink has to be chosen, and for the commonest
functions, because importing SymPy takes as long as the rest of a start; it may use the arguments `x`, `y`, `z` and the
value `out`, and a test proves it equal to the derivative of the definition. What is a short formula over these
stands in `compositions`.
"""

from dataclasses import dataclass
from math import factorial, pi
from typing import Literal

Result = Literal["promote", "float", "bool", "int", "branches", "float32", "float64", "int64"]


@dataclass(frozen=True, eq=False, slots=True)
class ScalarFunction:
    """One scalar function.

    `definition` is a SymPy expression in x, y, z; `partials` overrides SymPy's derivative per argument, in terms of
    the arguments and `out`; `"0"` is an explicit zero ("no gradient", which is not the same as forgotten).
    `cost` is in units of one addition, for the scheduler. `singular`: the value or a derivative is infinite or nan at
    some finite argument, overflow included. `latex` is the notation, with $x, $y, $z for the arguments.
    """

    name: str
    arity: int
    result: Result
    definition: str
    partials: tuple[str, ...] | None = None
    symbol: str = ""
    precedence: int = 0
    cost: float = 1.0
    kink: str = ""
    singular: bool = False
    latex: str = ""

    def __repr__(self) -> str:
        return self.name


_ARGUMENTS = ("x", "y", "z")
_ZERO = "zero everywhere"
_BRANCH = "the branch taken forward; x on a tie"


def _sinc_slope_near_zero(terms: int) -> str:
    """The Taylor polynomial of sinc'(x), where the quotient of the definition cancels: for 8 terms 2e-17 at 1/4."""
    text = ""
    for k in range(terms, 0, -1):
        slope = (-1) ** k * pi ** (2 * k) * 2 * k / factorial(2 * k + 1)
        text = f"{slope!r} + x * x * ({text})" if text else repr(slope)
    return f"x * ({text})"


_DECLARED = (
    # arithmetic
    ScalarFunction("add", 2, "promote", "x + y", ("1", "1"), "+", 10, latex="$x + $y"),
    ScalarFunction("sub", 2, "promote", "x - y", ("1", "-1"), "-", 10, latex="$x - $y"),
    ScalarFunction("mul", 2, "promote", "x * y", ("y", "x"), "*", 20, latex="$x \\, $y"),
    ScalarFunction(
        "div", 2, "float", "x / y", ("1 / y", "-out / y"), "/", 20, 4, singular=True, latex=r"\frac{$x}{$y}"
    ),
    ScalarFunction(
        "floordiv",
        2,
        "promote",
        "floor(x / y)",
        ("0", "0"),
        "//",
        20,
        8,
        _ZERO,
        singular=True,
        latex=r"\left\lfloor \frac{$x}{$y} \right\rfloor",
    ),
    ScalarFunction(
        "mod",
        2,
        "promote",
        "x - y*floor(x / y)",
        ("1", "-(x // y)"),
        "%",
        20,
        8,
        singular=True,
        latex=r"$x \bmod $y",
    ),
    ScalarFunction("neg", 1, "promote", "-x", ("-1",), "-", 30, latex="-$x"),
    ScalarFunction(
        "pow",
        2,
        "promote",
        "x**y",
        ("y * x**(y - 1)", "where(x == 0, 0, log(x)) * out"),
        "**",
        40,
        40,
        kink="0 by the exponent where the base is 0",
        singular=True,
        latex="{$x}^{$y}",
    ),
    ScalarFunction("square", 1, "promote", "x**2", ("2 * x",), latex="{$x}^2"),
    ScalarFunction("reciprocal", 1, "float", "1 / x", ("-out * out",), cost=4, singular=True, latex=r"\frac{1}{$x}"),
    # exponentials and logarithms
    ScalarFunction("exp", 1, "float", "exp(x)", ("out",), cost=12, singular=True, latex=r"e^{$x}"),
    ScalarFunction("exp2", 1, "float", "2**x", ("0.6931471805599453 * out",), cost=20, singular=True, latex=r"2^{$x}"),
    ScalarFunction("expm1", 1, "float", "exp(x) - 1", ("out + 1",), cost=16, singular=True, latex=r"e^{$x} - 1"),
    ScalarFunction("log", 1, "float", "log(x)", ("1 / x",), cost=14, singular=True, latex=r"\log $x"),
    ScalarFunction(
        "log2",
        1,
        "float",
        "log(x) / log(2)",
        ("1.4426950408889634 / x",),
        cost=20,
        singular=True,
        latex=r"\log_2 $x",
    ),
    ScalarFunction(
        "log10",
        1,
        "float",
        "log(x) / log(10)",
        ("0.4342944819032518 / x",),
        cost=20,
        singular=True,
        latex=r"\log_{10} $x",
    ),
    ScalarFunction("log1p", 1, "float", "log(1 + x)", ("1 / (1 + x)",), cost=18, singular=True, latex=r"\log(1 + $x)"),
    ScalarFunction("sqrt", 1, "float", "sqrt(x)", ("0.5 / out",), cost=6, singular=True, latex=r"\sqrt{$x}"),
    ScalarFunction(
        "rsqrt", 1, "float", "1 / sqrt(x)", ("-0.5 * out / x",), cost=10, singular=True, latex=r"\frac{1}{\sqrt{$x}}"
    ),
    ScalarFunction(  # the definition holds for x > 0, and the function is odd
        "cbrt", 1, "float", "x**(1/3)", ("1 / (3 * out * out)",), cost=30, singular=True, latex=r"\sqrt[3]{$x}"
    ),
    ScalarFunction(
        "logaddexp",
        2,
        "float",
        "log(exp(x) + exp(y))",
        ("sigmoid(x - y)", "sigmoid(y - x)"),
        cost=30,
        latex=r"\log(e^{$x} + e^{$y})",
    ),
    ScalarFunction(
        "xlogy",
        2,
        "float",
        "x * log(y)",
        ("log(y)", "where((x == 0) & (y == 0), 0, x / y)"),
        cost=16,
        singular=True,
        kink="0 by y where both are 0",
        latex=r"$x \log $y",
    ),
    # circular and hyperbolic
    ScalarFunction("sin", 1, "float", "sin(x)", ("cos(x)",), cost=16, latex=r"\sin $x"),
    ScalarFunction("cos", 1, "float", "cos(x)", ("-sin(x)",), cost=16, latex=r"\cos $x"),
    ScalarFunction("tan", 1, "float", "tan(x)", ("1 + out * out",), cost=30, singular=True, latex=r"\tan $x"),
    ScalarFunction(
        "asin", 1, "float", "asin(x)", ("1 / sqrt((1 - x) * (1 + x))",), cost=30, singular=True, latex=r"\arcsin $x"
    ),
    ScalarFunction(
        "acos", 1, "float", "acos(x)", ("-1 / sqrt((1 - x) * (1 + x))",), cost=30, singular=True, latex=r"\arccos $x"
    ),
    ScalarFunction("atan", 1, "float", "atan(x)", ("1 / (1 + x * x)",), cost=30, latex=r"\arctan $x"),
    ScalarFunction(
        "atan2",
        2,
        "float",
        "atan2(x, y)",
        ("y / hypot(x, y) / hypot(x, y)", "-x / hypot(x, y) / hypot(x, y)"),
        cost=40,
        singular=True,
        latex=r"\operatorname{atan2}($x, $y)",
    ),
    ScalarFunction("sinh", 1, "float", "sinh(x)", ("cosh(x)",), cost=40, singular=True, latex=r"\sinh $x"),
    ScalarFunction("cosh", 1, "float", "cosh(x)", ("sinh(x)",), cost=40, singular=True, latex=r"\cosh $x"),
    ScalarFunction("tanh", 1, "float", "tanh(x)", ("1 - out * out",), cost=16, latex=r"\tanh $x"),
    ScalarFunction("asinh", 1, "float", "asinh(x)", ("1 / hypot(x, 1)",), cost=40, latex=r"\operatorname{arsinh} $x"),
    ScalarFunction(
        "acosh",
        1,
        "float",
        "acosh(x)",
        ("1 / (sqrt(x - 1) * sqrt(x + 1))",),
        cost=40,
        singular=True,
        latex=r"\operatorname{arcosh} $x",
    ),
    ScalarFunction(
        "atanh",
        1,
        "float",
        "atanh(x)",
        ("1 / ((1 - x) * (1 + x))",),
        cost=40,
        singular=True,
        latex=r"\operatorname{artanh} $x",
    ),
    ScalarFunction(
        "hypot",
        2,
        "float",
        "sqrt(x**2 + y**2)",
        ("where(out == 0, 0, x / out)", "where(out == 0, 0, y / out)"),
        cost=12,
        kink="0 by both where both are 0",
        singular=True,
        latex=r"\sqrt{{$x}^2 + {$y}^2}",
    ),
    ScalarFunction(
        "sinc",
        1,
        "float",
        "sin(pi*x) / (pi*x)",
        (f"where(abs(x) < 0.25, {_sinc_slope_near_zero(8)}, (cos(3.141592653589793 * x) - out) / x)",),
        cost=20,
        latex=r"\frac{\sin \pi $x}{\pi $x}",
    ),
    # the normal distribution and the gamma function
    ScalarFunction(
        "erf", 1, "float", "erf(x)", ("1.1283791670955126 * exp(-x * x)",), cost=20, latex=r"\operatorname{erf} $x"
    ),
    ScalarFunction(
        "erfc",
        1,
        "float",
        "erfc(x)",
        ("-1.1283791670955126 * exp(-x * x)",),
        cost=40,
        latex=r"\operatorname{erfc} $x",
    ),
    ScalarFunction(
        "erfinv",
        1,
        "float",
        "erfinv(x)",
        ("0.886226925452758 * exp(out * out)",),
        cost=40,
        singular=True,
        latex=r"\operatorname{erf}^{-1} $x",
    ),
    ScalarFunction(
        "lgamma", 1, "float", "loggamma(x)", ("digamma(x)",), cost=60, singular=True, latex=r"\log |\Gamma($x)|"
    ),
    ScalarFunction(
        "digamma", 1, "float", "digamma(x)", ("polygamma(1, x)",), cost=60, singular=True, latex=r"\psi($x)"
    ),
    ScalarFunction(
        "polygamma",
        2,
        "float",
        "polygamma(x, y)",
        ("0", "polygamma(x + 1, y)"),
        cost=100,
        singular=True,
        kink="zero by the order",
        latex=r"\psi^{($x)}($y)",
    ),
    # neural
    ScalarFunction("sigmoid", 1, "float", "1 / (1 + exp(-x))", ("out * (1 - out)",), cost=16, latex=r"\sigma($x)"),
    ScalarFunction("softplus", 1, "float", "log(1 + exp(x))", ("sigmoid(x)",), cost=30, latex=r"\log(1 + e^{$x})"),
    ScalarFunction("logsigmoid", 1, "float", "-log(1 + exp(-x))", ("sigmoid(-x)",), cost=30, latex=r"\log \sigma($x)"),
    ScalarFunction(
        "relu", 1, "promote", "Max(x, 0)", ("where(out <= 0, 0, 1)",), kink="relu'(0) = 0", latex=r"\max($x, 0)"
    ),
    # pieces
    ScalarFunction("abs", 1, "promote", "Abs(x)", ("sign(x)",), kink="|x|'(0) = 0", latex="|$x|"),
    ScalarFunction("sign", 1, "promote", "sign(x)", ("0",), kink=_ZERO, latex=r"\operatorname{sign} $x"),
    ScalarFunction("floor", 1, "promote", "floor(x)", ("0",), kink=_ZERO, latex=r"\lfloor $x \rfloor"),
    ScalarFunction("ceil", 1, "promote", "ceiling(x)", ("0",), kink=_ZERO, latex=r"\lceil $x \rceil"),
    ScalarFunction(  # halves go to the even neighbour, which the definition does not say
        "round", 1, "promote", "floor(x + 1/2)", ("0",), kink=_ZERO, latex=r"\operatorname{round} $x"
    ),
    ScalarFunction(
        "maximum",
        2,
        "promote",
        "Max(x, y)",
        ("where(x >= y, 1, 0)", "where(x >= y, 0, 1)"),
        kink=_BRANCH,
        latex=r"\max($x, $y)",
    ),
    ScalarFunction(
        "minimum",
        2,
        "promote",
        "Min(x, y)",
        ("where(x <= y, 1, 0)", "where(x <= y, 0, 1)"),
        kink=_BRANCH,
        latex=r"\min($x, $y)",
    ),
    ScalarFunction(
        "where",
        3,
        "branches",
        "Piecewise((y, x), (z, True))",
        ("0", "where(x, 1, 0)", "where(x, 0, 1)"),
        latex=r"\begin{cases} $y & $x \\\\ $z & \text{otherwise} \end{cases}",
    ),
    ScalarFunction(
        "stop_gradient",
        1,
        "promote",
        "x",
        ("0",),
        cost=0,
        kink="zero everywhere, by request",
        latex=r"\operatorname{stop}($x)",
    ),
    # comparisons and logic
    ScalarFunction("lt", 2, "bool", "x < y", ("0", "0"), "<", 5, latex="$x < $y"),
    ScalarFunction("le", 2, "bool", "x <= y", ("0", "0"), "<=", 5, latex=r"$x \le $y"),
    ScalarFunction("gt", 2, "bool", "x > y", ("0", "0"), ">", 5, latex="$x > $y"),
    ScalarFunction("ge", 2, "bool", "x >= y", ("0", "0"), ">=", 5, latex=r"$x \ge $y"),
    ScalarFunction("eq", 2, "bool", "Eq(x, y)", ("0", "0"), "==", 5, latex="$x = $y"),
    ScalarFunction("ne", 2, "bool", "Ne(x, y)", ("0", "0"), "!=", 5, latex=r"$x \ne $y"),
    ScalarFunction("and", 2, "bool", "x & y", ("0", "0"), "and", 3, latex=r"$x \land $y"),
    ScalarFunction("or", 2, "bool", "x | y", ("0", "0"), "or", 2, latex=r"$x \lor $y"),
    ScalarFunction("not", 1, "bool", "~x", ("0",), "not", 4, latex=r"\lnot $x"),
    ScalarFunction("isnan", 1, "bool", "false", ("0",), latex=r"\operatorname{isnan} $x"),
    # casts: the gradient of a cast between floats is the identity, of one to an integer zero
    ScalarFunction("float32", 1, "float32", "x", ("1",), latex=r"\operatorname{float32}($x)"),
    ScalarFunction("float64", 1, "float64", "x", ("1",), latex=r"\operatorname{float64}($x)"),
    ScalarFunction("int64", 1, "int64", "floor(x)", ("0",), kink=_ZERO, latex=r"\operatorname{int64}($x)"),
)

FUNCTIONS: dict[str, ScalarFunction] = {function.name: function for function in _DECLARED}


def argument_names(function: ScalarFunction) -> tuple[str, ...]:
    """The letters that stand for the arguments of a function in its declaration."""
    return _ARGUMENTS[: function.arity]
