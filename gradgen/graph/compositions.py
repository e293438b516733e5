"""Functions that are short formulas over the scalar functions: activations, clipping, powers by another name.

In: nothing. Out: `COMPOSITIONS`, from which `lang.elementwise` makes the public functions. Their derivatives follow
from those of their parts, and so do their values at kinks, nan and infinity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gradgen.graph.scalar import Scalar
from gradgen.graph.written import evaluated

__all__ = ["COMPOSITIONS", "Composition", "composed"]


@dataclass(frozen=True, eq=False, slots=True)
class Composition:
    """A function with a formula: parameters with their default values (None: has to be given), and text over them.

    `latex` is the notation, with $x and the names of the other parameters for the arguments; `meaning` is the value in
    words.
    """

    name: str
    parameters: dict[str, float | None]
    formula: str
    kink: str = ""
    latex: str = ""
    meaning: str = ""


_X: dict[str, float | None] = {"x": None}

_DECLARED = (
    Composition(
        "relu6", _X, "minimum(6, relu(x))", "0 at 0 and 6", r"\min(\max($x, 0), 6)", meaning="x held between 0 and 6"
    ),
    Composition(
        "leaky_relu",
        {"x": None, "slope": 0.01},
        "where(x > 0, x, slope * x)",
        "the slope at 0",
        r"\begin{cases} $x & $x > 0 \\ $slope \, $x & \text{otherwise} \end{cases}",
        meaning="x where it is positive, else slope * x",
    ),
    Composition(
        "elu",
        {"x": None, "alpha": 1.0},
        "where(x > 0, x, alpha * expm1(x))",
        "alpha at 0",
        r"\begin{cases} $x & $x > 0 \\ $alpha (e^{$x} - 1) & \text{otherwise} \end{cases}",
        meaning="x where it is positive, else an exponential that tends to -alpha",
    ),
    Composition(
        "celu",
        {"x": None, "alpha": 1.0},
        "where(x > 0, x, alpha * expm1(x / alpha))",
        "1 at 0",
        r"\begin{cases} $x & $x > 0 \\ $alpha (e^{$x / $alpha} - 1) & \text{otherwise} \end{cases}",
        meaning="as elu, with derivative 1 at 0 for every alpha",
    ),
    Composition(  # the numbers make mean 0 and variance 1 a fixed point (Klambauer et al. 2017)
        "selu",
        _X,
        "1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * expm1(x))",
        "1.758 at 0",
        r"1.0507 \begin{cases} $x & $x > 0 \\ 1.6733 (e^{$x} - 1) & \text{otherwise} \end{cases}",
        meaning="elu with the numbers for which mean 0 and variance 1 stay",
    ),
    Composition(
        "gelu",
        _X,
        "0.5 * x * erfc(-0.7071067811865476 * x)",
        latex=r"\frac{$x}{2} \operatorname{erfc}\left(-\frac{$x}{\sqrt 2}\right)",
        meaning="x times the probability that a standard normal variable is below x",
    ),
    Composition(
        "gelu_tanh",
        _X,
        "x * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))",
        latex=r"\frac{$x}{2} \left(1 + \tanh\left(\sqrt{2/\pi} \, ($x + 0.044715 \, {$x}^3)\right)\right)",
        meaning="gelu, approximated by a tanh",
    ),
    Composition("silu", _X, "x * sigmoid(x)", latex=r"$x \, \sigma($x)", meaning="x sigmoid(x), also called swish"),
    Composition(
        "mish", _X, "x * tanh(softplus(x))", latex=r"$x \tanh(\log(1 + e^{$x}))", meaning="x tanh(softplus(x))"
    ),
    Composition(
        "hardtanh",
        {"x": None, "low": -1.0, "high": 1.0},
        "minimum(high, maximum(low, x))",
        "0 at both bounds",
        r"\min(\max($x, $low), $high)",
        meaning="x held between low and high",
    ),
    Composition(
        "hardsigmoid",
        _X,
        "minimum(6, relu(x + 3)) / 6",
        "0 at -3 and 3",
        r"\min(\max($x + 3, 0), 6) / 6",
        meaning="a sigmoid of three straight pieces",
    ),
    Composition(
        "hardswish",
        _X,
        "x * (minimum(6, relu(x + 3)) / 6)",
        "0 at -3, 1 at 3",
        r"$x \min(\max($x + 3, 0), 6) / 6",
        meaning="x hardsigmoid(x)",
    ),
    Composition("softsign", _X, "x / (1 + abs(x))", latex=r"\frac{$x}{1 + |$x|}", meaning="x / (1 + |x|)"),
    Composition(  # near 1/2 the two logarithms cancel; towards 0, 2 x - 1 loses x
        "logit",
        _X,
        "where(abs(x - 0.5) < 0.25, 2 * atanh(2 * x - 1), log(x) - log1p(-x))",
        latex=r"\log \frac{$x}{1 - $x}",
        meaning="the inverse of sigmoid; nan outside of [0, 1], unless logit(x, eps) holds x within eps of both ends",
    ),
    Composition(
        "clip",
        {"x": None, "low": None, "high": None},
        "minimum(maximum(x, low), high)",
        "the branch taken forward; x on a tie",
        r"\min(\max($x, $low), $high)",
        meaning="x held between low and high, which may be tensors",
    ),
    Composition("isinf", _X, "abs(x) == 1e999", latex=r"|$x| = \infty", meaning="whether x is inf or -inf"),
    Composition(
        "isfinite", _X, "abs(x) < 1e999", latex=r"|$x| < \infty", meaning="whether x is neither nan nor infinite"
    ),
    Composition(
        "logical_xor",
        {"x": None, "y": None},
        "(x | y) & ~(x & y)",
        latex=r"$x \oplus $y",
        meaning="whether exactly one of two conditions holds",
    ),
)

COMPOSITIONS: dict[str, Composition] = {composition.name: composition for composition in _DECLARED}


def composed(composition: Composition, arguments: Sequence[Scalar]) -> Scalar:
    """The formula of a composition, with its arguments in the order of its parameters."""
    return evaluated(composition.formula, dict(zip(composition.parameters, arguments, strict=True)))
