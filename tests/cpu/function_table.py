"""Every scalar function and composition with its JAX counterpart, and where the two are meant to differ.

In: nothing. Out: `ENTRIES` and `EXCEPTIONS`; `test_functions` runs over both. JAX is asked in float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special
from mpmath import mp

import gradgen as gg
from gradgen.graph.tensor import apply

jax.config.update("jax_enable_x64", True)

Function = Callable[..., Any]


class Entry(NamedTuple):
    """Ours and JAX's function of float arrays; `gradient` is False where the value is no float."""

    ours: Function
    jax: Function
    arity: int
    gradient: bool = True


def _of(name: str) -> Function:
    return lambda *xs: apply(name, *xs)


def _like(name: str, counterpart: Function, arity: int = 1) -> Entry:
    return Entry(_of(name), counterpart, arity)


def _condition(name: str, counterpart: Function, arity: int = 2) -> Entry:
    return Entry(_of(name), counterpart, arity, gradient=False)


def _logic(name: str, counterpart: Function) -> Entry:
    return Entry(lambda x, y: apply(name, x > 0, y > 1), lambda x, y: counterpart(x > 0, y > 1), 2, gradient=False)


def _rounded(x: Any) -> Any:
    return gg.int64(gg.clip(gg.where(gg.isnan(x), 0.0, x), -9.5, 9.5))


def _rounded_by_jax(x: Any) -> Any:
    return jnp.trunc(jnp.clip(jnp.where(jnp.isnan(x), 0.0, x), -9.5, 9.5)).astype(jnp.int64)


def _integer(ours: Function, counterpart: Function) -> Entry:
    return Entry(lambda x: ours(_rounded(x)), lambda x: counterpart(_rounded_by_jax(x)), 1, gradient=False)


def _word(name: str, counterpart: Function) -> Entry:
    """An operation on integers; places to be shifted by are from 6 to 26."""
    by = 16 if name.endswith("shift") else 0
    return Entry(
        lambda x, y: apply(name, _rounded(x), _rounded(y) + by),
        lambda x, y: counterpart(_rounded_by_jax(x), _rounded_by_jax(y)),
        2,
        gradient=False,
    )


def _composed(name: str, counterpart: Function, *fixed: float) -> Entry:
    return Entry(lambda x: getattr(gg, name)(x, *fixed), counterpart, 1)


ENTRIES: dict[str, Entry] = {
    "add": _like("add", jnp.add, 2),
    "sub": _like("sub", jnp.subtract, 2),
    "mul": _like("mul", jnp.multiply, 2),
    "div": _like("div", jnp.divide, 2),
    "floordiv": _like("floordiv", lambda x, y: jax.lax.stop_gradient(jnp.floor_divide(x, y)), 2),
    "mod": _like("mod", jnp.mod, 2),
    "neg": _like("neg", jnp.negative),
    "pow": _like("pow", jnp.power, 2),
    "square": _like("square", jnp.square),
    "reciprocal": _like("reciprocal", jnp.reciprocal),
    "exp": _like("exp", jnp.exp),
    "exp2": _like("exp2", jnp.exp2),
    "expm1": _like("expm1", jnp.expm1),
    "log": _like("log", jnp.log),
    "log2": _like("log2", jnp.log2),
    "log10": _like("log10", jnp.log10),
    "log1p": _like("log1p", jnp.log1p),
    "sqrt": _like("sqrt", jnp.sqrt),
    "rsqrt": _like("rsqrt", jax.lax.rsqrt),
    "cbrt": _like("cbrt", jnp.cbrt),
    "logaddexp": _like("logaddexp", jnp.logaddexp, 2),
    "xlogy": _like("xlogy", special.xlogy, 2),
    "sin": _like("sin", jnp.sin),
    "cos": _like("cos", jnp.cos),
    "tan": _like("tan", jnp.tan),
    "asin": _like("asin", jnp.arcsin),
    "acos": _like("acos", jnp.arccos),
    "atan": _like("atan", jnp.arctan),
    "atan2": _like("atan2", jnp.arctan2, 2),
    "sinh": _like("sinh", jnp.sinh),
    "cosh": _like("cosh", jnp.cosh),
    "tanh": _like("tanh", jnp.tanh),
    "asinh": _like("asinh", jnp.arcsinh),
    "acosh": _like("acosh", jnp.arccosh),
    "atanh": _like("atanh", jnp.arctanh),
    "hypot": _like("hypot", jnp.hypot, 2),
    "sinc": _like("sinc", jnp.sinc),
    "erf": _like("erf", jax.lax.erf),
    "erfc": _like("erfc", jax.lax.erfc),
    "erfinv": _like("erfinv", special.erfinv),
    "lgamma": _like("lgamma", special.gammaln),
    "digamma": _like("digamma", special.digamma),
    "polygamma": Entry(lambda x: gg.polygamma(1, x), lambda x: special.polygamma(1, x), 1),
    "sigmoid": _like("sigmoid", jax.nn.sigmoid),
    "softplus": _like("softplus", jax.nn.softplus),
    "logsigmoid": _like("logsigmoid", jax.nn.log_sigmoid),
    "relu": _like("relu", jax.nn.relu),
    "abs": _like("abs", jnp.abs),
    "sign": _like("sign", jnp.sign),
    "floor": _like("floor", jnp.floor),
    "ceil": _like("ceil", jnp.ceil),
    "round": _like("round", jnp.round),
    "maximum": _like("maximum", jnp.maximum, 2),
    "minimum": _like("minimum", jnp.minimum, 2),
    "where": Entry(lambda x, y: gg.where(x > 0.4, x * y, y), lambda x, y: jnp.where(x > 0.4, x * y, y), 2),
    "stop_gradient": Entry(lambda x: gg.stop_gradient(x) * x, lambda x: jax.lax.stop_gradient(x) * x, 1),
    "difference": Entry(lambda x, y: apply("difference", x, y), lambda x, y: x - y, 2),
    "less_one": Entry(lambda x, y: apply("less_one", x, 1 - x, x < y), lambda x, y: x - (x < y), 2),
    "materialize": _like("materialize", lambda x: x),
    "lt": _condition("lt", jnp.less),
    "le": _condition("le", jnp.less_equal),
    "gt": _condition("gt", jnp.greater),
    "ge": _condition("ge", jnp.greater_equal),
    "eq": _condition("eq", jnp.equal),
    "ne": _condition("ne", jnp.not_equal),
    "and": _logic("and", jnp.logical_and),
    "or": _logic("or", jnp.logical_or),
    "not": Entry(lambda x: gg.logical_not(x > 0), lambda x: ~(x > 0), 1, gradient=False),
    "bitwise_and": _word("bitwise_and", jnp.bitwise_and),
    "bitwise_or": _word("bitwise_or", jnp.bitwise_or),
    "bitwise_xor": _word("bitwise_xor", jnp.bitwise_xor),
    "left_shift": _word("left_shift", lambda x, y: jnp.left_shift(x, y + 16)),
    "right_shift": _word("right_shift", lambda x, y: jnp.right_shift(x, y + 16)),
    "wrapped": _integer(lambda x: gg.int64(apply("wrapped", x)), lambda x: x),
    "isnan": _condition("isnan", jnp.isnan, 1),
    "float32": _like("float32", lambda x: x),
    "float64": _like("float64", lambda x: x),
    "int32": _integer(gg.int32, lambda x: x.astype(jnp.int32)),
    "int64": _integer(lambda x: x, lambda x: x),
    "uint32": _integer(gg.uint32, lambda x: x.astype(jnp.uint32)),
    # compositions
    "relu6": _composed("relu6", jax.nn.relu6),
    "leaky_relu": _composed("leaky_relu", jax.nn.leaky_relu),
    "elu": _composed("elu", lambda x: jax.nn.elu(x, 1.5), 1.5),
    "celu": _composed("celu", lambda x: jax.nn.celu(x, 1.5), 1.5),
    "selu": _composed("selu", jax.nn.selu),
    "gelu": _composed("gelu", lambda x: jax.nn.gelu(x, approximate=False)),
    "gelu_tanh": _composed("gelu_tanh", lambda x: jax.nn.gelu(x, approximate=True)),
    "silu": _composed("silu", jax.nn.silu),
    "mish": _composed("mish", jax.nn.mish),
    "hardtanh": _composed("hardtanh", jax.nn.hard_tanh),
    "hardsigmoid": _composed("hardsigmoid", jax.nn.hard_sigmoid),
    "hardswish": _composed("hardswish", jax.nn.hard_swish),
    "logit": _composed("logit", special.logit),
    "softsign": _composed("softsign", jax.nn.soft_sign),
    "clip": _composed("clip", lambda x: jnp.clip(x, -0.5, 2.0), -0.5, 2.0),
    "isinf": Entry(gg.isinf, jnp.isinf, 1, gradient=False),
    "isfinite": Entry(gg.isfinite, jnp.isfinite, 1, gradient=False),
    "logical_xor": Entry(
        lambda x, y: gg.logical_xor(x > 0, y > 1), lambda x, y: jnp.logical_xor(x > 0, y > 1), 2, gradient=False
    ),
}


class Difference(NamedTuple):
    """Where JAX's number is not the one wanted.

    `parts`: value, d (first derivatives, by every argument), jvp, s (second derivatives). `wanted` gives the number
    instead: of the arguments, or, with several parts, one function each; None where only the reference interpreter is
    asked.
    """

    parts: str
    where: Callable[..., Any]
    why: str
    wanted: dict[str, Callable[..., Any]] | None = None


def _by_mpmath(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def values(x: Any) -> Any:
        with mp.workdps(30):
            return np.array([float(function(mp.mpf(float(v)))) for v in x])

    return values


def _constant(value: float) -> Callable[..., Any]:
    return lambda *xs: np.full(xs[0].shape, value)


def _pole(x: Any) -> Any:
    return (x <= 0) & (x == np.floor(x))


def _hypot_slopes(x: Any, y: Any) -> tuple[Any, Any, Any]:
    """By x twice, by x and y, by y twice."""
    with np.errstate(all="ignore"):
        r = np.sqrt(x * x + y * y)
        return y * y / r**3, -x * y / r**3, x * x / r**3


def _polygammas(first: int, parts: str) -> Difference:
    """JAX's zeta function does not reflect."""
    orders = {"value": first, "d0": first + 1, "jvp": first + 1, "s0": first + 2}
    wanted = {p: _by_mpmath(lambda x, n=n: mp.polygamma(n, x)) for p, n in orders.items() if p in parts.split()}
    return Difference(
        parts, lambda x: (x < 0) & ~_pole(x) & (x > -200), "JAX sums polygamma below 0 as it is above", wanted
    )


def _nan_of(*xs: Any) -> Any:
    return np.any([np.isnan(x) for x in xs], axis=0)


def _zero(x: Any) -> Any:
    return x == 0


def _both_zero(x: Any, y: Any) -> Any:
    return (x == 0) & (y == 0)


def _extreme(*xs: Any) -> Any:
    return np.any([~(np.abs(x) < 1e15) for x in xs], axis=0)


_TIE = Difference(
    "d0 d1 jvp",
    lambda x, y: x == y,
    "JAX gives half to each on a tie, gradgen all to the first",
    {"d0": _constant(1.0), "d1": _constant(0.0), "jvp": _constant(1.0)},
)
_NAN_BRANCH = Difference("d0 d1 jvp", _nan_of, "nan is the value; the slope is that of a branch, or nan")
_AT_POLES = Difference("value d0 jvp s0", _pole, "a pole: infinite or nan, by the side from which 0 is approached")

EXCEPTIONS: dict[str, tuple[Difference, ...]] = {
    "div": (Difference("d1 jvp", _extreme, "JAX divides by y**2, which overflows"),),
    "pow": (
        Difference(
            "d0 jvp",
            lambda x, y: (y == 0) & (x == 0),
            "x**0 is 1; JAX has 0 * inf",
            {"d0": _constant(0.0)},
        ),
        Difference("s0", lambda x, y: (x == 0) & (y == 1), "x**1 is a line; JAX has 0 * inf", {"s0": _constant(0.0)}),
    ),
    "mod": (Difference("d1 jvp", lambda x, y: np.isinf(x), "inf // y is nan in Python, and infinite in JAX"),),
    "logaddexp": (Difference("d0 d1 jvp", _extreme, "JAX takes exp(x - out), which is wrong beyond 1e16"),),
    "xlogy": (
        Difference("d1 jvp", _both_zero, "the limit from above along x = 0", {"d1": _constant(0.0)}),
        Difference("d1", lambda x, y: (x == 0) & np.isnan(y), "0 / nan", {"d1": _constant(np.nan)}),
    ),
    "acosh": (
        Difference(
            "d0 jvp s0",
            lambda x: x < 1,
            "no slope outside of the domain",
            {
                "d0": _constant(np.nan),
                "jvp": _constant(np.nan),
                "s0": _constant(np.nan),
            },
        ),
    ),
    "hypot": (
        Difference(
            "d0 d1 jvp", _both_zero, "the kink", {"d0": _constant(0.0), "d1": _constant(0.0), "jvp": _constant(0.0)}
        ),
        Difference("s0 s1", _both_zero, "the kink", {"s0": _constant(0.0), "s1": _constant(0.0)}),
        Difference("d0 d1 jvp", _extreme, "JAX scales, and divides infinity by itself"),
        Difference(
            "s0 s1",
            lambda x, y: (np.abs(x) == np.abs(y)) & (x != 0),
            "JAX scales by the larger argument, which has a kink there",
            {
                "s0": lambda x, y: _hypot_slopes(x, y)[0] + 0.7 * _hypot_slopes(x, y)[1],
                "s1": lambda x, y: _hypot_slopes(x, y)[1] + 0.7 * _hypot_slopes(x, y)[2],
            },
        ),
    ),
    "sinc": (
        Difference(
            "s0",
            lambda x: np.abs(x) < 1e-4,
            "JAX's loses digits",
            {
                "s0": lambda x: -(np.pi**2) / 3 + np.pi**4 / 10 * x * x,
            },
        ),
        Difference("d0 jvp", _extreme, "the cosine of an overflow"),
    ),
    "logit": (
        Difference("s0", lambda x: (np.abs(x) < 1e-200) & (x != 0), "inf - inf in JAX", {"s0": _constant(-np.inf)}),
    ),
    "lgamma": (_polygammas(-1, "s0"), _AT_POLES, Difference("value d0", np.isinf, "0 * inf in JAX")),
    "digamma": (_polygammas(0, "d0 jvp s0"), _AT_POLES, Difference("value d0 jvp", np.isinf, "0 * inf in JAX")),
    "polygamma": (_polygammas(1, "value d0 jvp s0"), _AT_POLES, Difference("value d0 jvp", _extreme, "as digamma")),
    "relu": (
        Difference(
            "d0 jvp",
            np.isnan,
            "the adjoint is handed on where the value is nan",
            {
                "d0": _constant(1.0),
                "jvp": _constant(1.0),
            },
        ),
    ),
    "abs": (
        Difference("d0 jvp", _zero, "the kink", {"d0": _constant(0.0), "jvp": _constant(0.0)}),
        Difference("d0 jvp", np.isnan, "nan", {"d0": _constant(np.nan), "jvp": _constant(np.nan)}),
    ),
    "maximum": (_NAN_BRANCH, _TIE),
    "minimum": (_NAN_BRANCH, _TIE),
    "where": (
        Difference(
            "d0 d1 jvp",
            _extreme,
            "JAX multiplies the branch not taken by 0",
            {"d0": lambda x, y: np.where(x > 0.4, y, 0.0), "d1": lambda x, y: np.where(x > 0.4, x, 1.0)},
        ),
    ),
    "leaky_relu": (Difference("d0 jvp", _zero, "the kink", {"d0": _constant(0.01), "jvp": _constant(0.01)}),),
    "celu": (Difference("s0", _zero, "the kink", {"s0": _constant(1 / 1.5)}),),
    "softsign": (Difference("s0", _zero, "the kink of |x|", {"s0": _constant(0.0)}),),
    "relu6": (_NAN_BRANCH,),
    "hardsigmoid": (_NAN_BRANCH,),
    "hardtanh": (
        Difference(
            "d0 jvp",
            lambda x: np.abs(x) == 1,
            "0 at both bounds, as in PyTorch",
            {"d0": _constant(0.0), "jvp": _constant(0.0)},
        ),
    ),
    "gelu_tanh": (Difference("d0 jvp", _extreme, "the cube overflows"),),
    "clip": (Difference("d0 jvp", lambda x: x == -0.5, "a tie", {"d0": _constant(1.0), "jvp": _constant(1.0)}),),
}
