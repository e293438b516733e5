"""Every scalar function, one declaration each: meaning, result dtype, derivative, notation.

In: nothing. Out: `FUNCTIONS`, read by `scalar` (construction), `partials` (calculus) and the printers. A derivative
is written where SymPy's own would lose precision, where a convention at a kink has to be chosen, and for the commonest
functions, because importing SymPy takes as long as the rest of a start; it may use the arguments `x`, `y`, `z` and the
value `out`, and a test proves it equal to the derivative of the definition.
"""

from dataclasses import dataclass
from typing import Literal

Result = Literal["promote", "float", "bool", "int", "branches", "float32", "float64", "int64"]


@dataclass(frozen=True, eq=False, slots=True)
class ScalarFunction:
    """One scalar function.

    `definition` is a SymPy expression in x, y, z; `partials` overrides SymPy's derivative per argument, in terms of
    the arguments and `out`; `"0"` is an explicit zero ("no gradient", which is not the same as forgotten).
    `cost` is in units of one addition, for the scheduler.
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

    def __repr__(self) -> str:
        return self.name


_ARGUMENTS = ("x", "y", "z")

_DECLARED = (
    # arithmetic
    ScalarFunction("add", 2, "promote", "x + y", ("1", "1"), "+", 10),
    ScalarFunction("sub", 2, "promote", "x - y", ("1", "-1"), "-", 10),
    ScalarFunction("mul", 2, "promote", "x * y", ("y", "x"), "*", 20),
    ScalarFunction("div", 2, "float", "x / y", ("1 / y", "-out / y"), "/", 20, cost=4),
    ScalarFunction("floordiv", 2, "promote", "floor(x / y)", ("0", "0"), "//", 20, cost=8, kink="zero everywhere"),
    ScalarFunction("mod", 2, "promote", "x - y*floor(x / y)", ("1", "-floor(x / y)"), "%", 20, cost=8),
    ScalarFunction("neg", 1, "promote", "-x", ("-1",), "-", 30),
    ScalarFunction(
        "pow", 2, "promote", "x**y", ("y * x**(y - 1)", "where(x == 0, 0, log(x)) * out"), "**", 40, cost=40
    ),
    ScalarFunction("square", 1, "promote", "x**2", ("2 * x",)),
    ScalarFunction("reciprocal", 1, "float", "1 / x", ("-out * out",), cost=4),
    # exponentials and logarithms
    ScalarFunction("exp", 1, "float", "exp(x)", ("out",), cost=12),
    ScalarFunction("expm1", 1, "float", "exp(x) - 1", ("out + 1",), cost=16),
    ScalarFunction("log", 1, "float", "log(x)", ("1 / x",), cost=14),
    ScalarFunction("log1p", 1, "float", "log(1 + x)", ("1 / (1 + x)",), cost=18),
    ScalarFunction("sqrt", 1, "float", "sqrt(x)", ("0.5 / out",), cost=6),
    ScalarFunction("rsqrt", 1, "float", "1 / sqrt(x)", ("-0.5 * out / x",), cost=10),
    # circular and hyperbolic
    ScalarFunction("sin", 1, "float", "sin(x)", ("cos(x)",), cost=16),
    ScalarFunction("cos", 1, "float", "cos(x)", ("-sin(x)",), cost=16),
    ScalarFunction("tanh", 1, "float", "tanh(x)", ("1 - out * out",), cost=16),
    ScalarFunction("erf", 1, "float", "erf(x)", ("1.1283791670955126 * exp(-x * x)",), cost=20),
    # neural
    ScalarFunction("sigmoid", 1, "float", "1 / (1 + exp(-x))", ("out * (1 - out)",), cost=16),
    ScalarFunction("softplus", 1, "float", "log(1 + exp(x))", ("sigmoid(x)",), cost=30),
    ScalarFunction("logsigmoid", 1, "float", "-log(1 + exp(-x))", ("sigmoid(-x)",), cost=30),
    ScalarFunction("relu", 1, "promote", "Max(x, 0)", ("where(out <= 0, 0, 1)",), kink="relu'(0) = 0"),
    # pieces
    ScalarFunction("abs", 1, "promote", "Abs(x)", ("sign(x)",), kink="|x|'(0) = 0"),
    ScalarFunction("sign", 1, "promote", "sign(x)", ("0",), kink="zero everywhere"),
    ScalarFunction("floor", 1, "promote", "floor(x)", ("0",), kink="zero everywhere"),
    ScalarFunction("ceil", 1, "promote", "ceiling(x)", ("0",), kink="zero everywhere"),
    ScalarFunction(
        "maximum",
        2,
        "promote",
        "Max(x, y)",
        ("where(x >= y, 1, 0)", "where(x >= y, 0, 1)"),
        kink="the branch taken forward; x on a tie",
    ),
    ScalarFunction(
        "minimum",
        2,
        "promote",
        "Min(x, y)",
        ("where(x <= y, 1, 0)", "where(x <= y, 0, 1)"),
        kink="the branch taken forward; x on a tie",
    ),
    ScalarFunction("where", 3, "branches", "Piecewise((y, x), (z, True))", ("0", "where(x, 1, 0)", "where(x, 0, 1)")),
    ScalarFunction("stop_gradient", 1, "promote", "x", ("0",), cost=0, kink="zero everywhere, by request"),
    # comparisons and logic
    ScalarFunction("lt", 2, "bool", "x < y", ("0", "0"), "<", 5),
    ScalarFunction("le", 2, "bool", "x <= y", ("0", "0"), "<=", 5),
    ScalarFunction("gt", 2, "bool", "x > y", ("0", "0"), ">", 5),
    ScalarFunction("ge", 2, "bool", "x >= y", ("0", "0"), ">=", 5),
    ScalarFunction("eq", 2, "bool", "Eq(x, y)", ("0", "0"), "==", 5),
    ScalarFunction("ne", 2, "bool", "Ne(x, y)", ("0", "0"), "!=", 5),
    ScalarFunction("and", 2, "bool", "x & y", ("0", "0"), "and", 3),
    ScalarFunction("or", 2, "bool", "x | y", ("0", "0"), "or", 2),
    ScalarFunction("not", 1, "bool", "~x", ("0",), "not", 4),
    ScalarFunction("isnan", 1, "bool", "false", ("0",)),
    # casts: the gradient of a cast between floats is the identity, of one to an integer zero
    ScalarFunction("float32", 1, "float32", "x", ("1",)),
    ScalarFunction("float64", 1, "float64", "x", ("1",)),
    ScalarFunction("int64", 1, "int64", "floor(x)", ("0",), kink="zero everywhere"),
)

FUNCTIONS: dict[str, ScalarFunction] = {function.name: function for function in _DECLARED}


def argument_names(function: ScalarFunction) -> tuple[str, ...]:
    """The letters that stand for the arguments of a function in its declaration."""
    return _ARGUMENTS[: function.arity]
