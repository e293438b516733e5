"""Algebra that is true for floats: nan, infinity and -0.0 included, so `x*0`, `x/x` and `x-x` stay.

In: a body. Out: an equal body with fewer operations; `simplify` calls this for every formula.
"""

import math
import operator

import numpy as np

from gradgen.graph.nodes import Compute
from gradgen.graph.scalar import FLOATS, Call, Const, Load, Poly, Scalar, call, number, promote, rewrite
from gradgen.passes.rebuild.look_through import is_pointwise

__all__ = ["simplify_algebra"]


def simplify_algebra(body: Scalar) -> Scalar:
    return rewrite(body, _rule, lambda atom: None)


def _rule(x: Scalar) -> Scalar | None:
    if not isinstance(x, Call):
        return None
    new = _simpler(x)
    return new if new is not None and new.dtype == x.dtype else None


def _simpler(x: Call) -> Scalar | None:
    folded = _folded(x)
    if folded is not None:
        return folded
    match x.function.name, x.arguments:
        case "sub", (a, b) if (y := _negative(b)) is not None:  # a - -y = a + y
            return call("add", a, y)
        case "add", (a, b) if (y := _negative(b)) is not None:  # a + -y = a - y
            return call("sub", a, y)
        case "add", (a, b) if (y := _negative(a)) is not None:  # -y + b = b - y
            return call("sub", b, y)
        case "add", (a, b) if a is b and x.dtype in FLOATS:  # a + a = 2 * a, the derivative of a * a
            return call("mul", number(2), a)
        case "neg", (Call(function=f, arguments=(Const() as c,)),) if f.name in FLOATS:
            return call(f.name, number(-c.value))
        case (("mul" | "div"), (a, b)) if x.dtype in FLOATS:
            new = _signless(x.function.name, a, b)
            return _by_constant(x, a, b) if new is None else new
        case (("float32" | "float64"), (Call(function=f, arguments=(a,)),)) if (
            f.name in FLOATS and a.dtype == x.dtype and f.name == "float64"
        ):  # to double and back
            return a
        case (("maximum" | "minimum"), (a, b)) if a is b:
            return a
        case "not", (Call(function=f, arguments=(a,)),) if f.name == "not":
            return a
        case "exp", (Call(function=f, arguments=(a, b)),) if f.name == "sub" and x.dtype in FLOATS:
            return _masked_power(a, b)
    return None


def _masked_power(a: Scalar, b: Scalar) -> Scalar | None:
    """exp(where(c, y, -inf) - b) = where(c, exp(y - b), 0) for a finite b, as in a softmax under a mask."""
    match a:
        case Call(function=f, arguments=(condition, y, least)) if (
            f.name == "where" and _value(least) == -math.inf and _is_finite(b)
        ):
            return call("where", condition, call("exp", call("sub", y, b)), number(0))
    return None


def _is_finite(x: Scalar) -> bool:
    """Whether a value is where(abs(u) < inf, u, 0), with any finite number for 0, or read from a tensor of such."""
    if isinstance(x, Load):
        node = x.tensor
        return isinstance(node, Compute) and is_pointwise(node) and _is_finite(node.body)
    match x:
        case Call(
            function=f,
            arguments=(Call(function=g, arguments=(Call(function=h, arguments=(u,)), bound)), v, other),
        ) if (f.name, g.name, h.name) == ("where", "lt", "abs"):
            least = _value(other)
            return u is v and _value(bound) == math.inf and least is not None and math.isfinite(least)
    return False


def _negative(x: Scalar) -> Scalar | None:
    """y of -y, for floats."""
    match x:
        case Call(function=f, arguments=(y,)) if f.name == "neg" and x.dtype in FLOATS:
            return y
    return None


def _signless(function: str, a: Scalar, b: Scalar) -> Scalar | None:
    """-x * y = x * -y = -(x * y), and so for quotients."""
    x, y = _negative(a), _negative(b)
    if x is not None and y is not None:
        return call(function, x, y)
    if x is not None:
        return call("neg", call(function, x, b))
    if y is not None:
        return call("neg", call(function, a, y))
    return None


def _by_constant(x: Call, a: Scalar, b: Scalar) -> Scalar | None:
    """x * 1 = x / 1 = x, x * -1 = x / -1 = -x, x / 2**k = x * 2**-k."""
    divisor = _value(b)
    if divisor is not None and abs(divisor) == 1 and promote((a.dtype, b.dtype)) == a.dtype:
        return a if divisor == 1 else call("neg", a)
    factor = _value(a) if x.function.name == "mul" else None
    if factor is not None and abs(factor) == 1 and promote((a.dtype, b.dtype)) == b.dtype:
        return b if factor == 1 else call("neg", b)
    if x.function.name == "div" and divisor and isinstance(b, Const) and math.isfinite(divisor):
        mantissa, exponent = math.frexp(divisor)
        if abs(mantissa) == 0.5 and abs(exponent) <= 100:
            return call("mul", a, number(1 / divisor))
    return None


_OPERATIONS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}


def _folded(x: Call) -> Scalar | None:
    """2 * 3.5 = 7.0, in the dtype in which it would be computed; what overflows, or is no number, stays as written.

    So does the 1 of some dtype that a gradient starts from: a function that takes it as an argument serves there too.
    """
    operation = _OPERATIONS.get(x.function.name)
    values = [_value(a) for a in x.arguments]
    if x.dtype not in ("pyfloat", *FLOATS) or operation is None or len(values) != 2:
        return None
    a, b = values
    if a is None or b is None or (b == 0 and operation is operator.truediv):
        return None
    if any(isinstance(part, Call) and value == 1 for part, value in zip(x.arguments, values, strict=True)):
        return None
    if x.dtype != "float32":
        found = operation(a, b)
    else:  # the shortest text of the same number
        with np.errstate(all="ignore"):
            found = float(str(operation(np.float32(a), np.float32(b))))
    if not math.isfinite(found):
        return None
    return number(found) if x.dtype == "pyfloat" else call(x.dtype, number(found))


def _value(x: Scalar) -> float | None:
    """The number that a constant is, under casts between floats too."""
    while isinstance(x, Call) and x.function.name in FLOATS:
        x = x.arguments[0]
    if isinstance(x, Poly):
        return None if x.constant is None else float(x.constant)
    return float(x.value) if isinstance(x, Const) and x.dtype != "bool" else None
