"""Integers as words of bits: `& | ^ << >>`, and numbers that the integers beside them can hold.

In: the name of a function and its arguments. Out: the same with every number in range, folded where that is exact;
`scalar.call` asks before it makes a record.
"""

from collections.abc import Sequence

from gradgen.errors import DTypeError
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.intern import digest_of, intern_built
from gradgen.graph.place import here
from gradgen.graph.polynomials import INTEGERS, applied, floor_div, integer, mod, mul
from gradgen.graph.records import Const, Poly, Scalar, walk
from gradgen.graph.spans import OF_DTYPE, fits

WORDS = ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift")
BITS = {"int32": 32, "int64": 64, "uint32": 32}
_CONDITIONS = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "ne"}
_MODULAR = ("add", "sub", "mul", "neg", *_CONDITIONS)  # where a number counts modulo 2**64
_ARITHMETIC = (*_MODULAR, "floordiv", "mod", "maximum", "minimum", "where", "lt", "le", "gt", "ge", "eq", "ne")
_NAMES = {"pyfloat": "floats"}
_COMPARE = "compare first, as in x > 0"
FLOATS = ("float32", "float64")


def as_integers(function: str, arguments: tuple[Scalar, ...]) -> tuple[str, tuple[Scalar, ...]]:
    """The call with conditions told from words, and every number as one of the dtype that it meets."""
    dtypes = {x.dtype for x in arguments}
    if function in _CONDITIONS and "bool" in dtypes:
        if dtypes == {"bool"}:
            return _CONDITIONS[function], arguments
        if function == "bitwise_xor" and _number(arguments[1]) == -1:  # ~x
            return "not", arguments[:1]
    dtypes -= {"pyint"}
    if function in (*_ARITHMETIC, *WORDS) and dtypes and dtypes <= set(INTEGERS) | {"bool"}:
        kinds = dtypes - {"bool"}
        dtype = kinds.pop() if len(kinds) == 1 else "int64"
        return function, tuple(_in_range(function, x, dtype) for x in arguments)
    return function, arguments


def _in_range(function: str, x: Scalar, dtype: str) -> Scalar:
    value = _number(x)
    if value is None:
        return x
    low, high = OF_DTYPE[dtype]
    if low <= value <= high:
        return x
    if dtype == "int64" and function in _MODULAR:
        return _integer((value - low) % (1 << 64) + low)
    if function == "bitwise_xor" and value == -1:  # ~x
        return _integer(high)
    if function in ("lt", "le", "gt", "ge", "eq", "ne") and dtype != "int64":
        return x  # both are compared as int64
    wider = "" if dtype == "int64" else ": gg.cast it to int64"
    name = FUNCTIONS[function].symbol or function
    raise DTypeError(f"{here()}{value} is no {dtype}, and meets one in {name}{wider}.")


def _number(x: Scalar) -> int | None:
    return int(x.value) if isinstance(x, Const) and x.dtype == "pyint" else None


def _integer(value: int) -> Const:
    text = str(value)
    return intern_built(Const, (text, "pyint"), lambda: Const(text, "pyint", digest_of("const", "pyint", text)))


def integer_dtype(symbol: str, dtypes: Sequence[str], promoted: str) -> str:
    """The dtype of a word, or an error that says what it may be made from."""
    if all(d in INTEGERS or d == "pyint" for d in dtypes):
        return promoted
    wrong = next((d for d in dtypes if d in ("pyfloat", *FLOATS)), "")
    if symbol in ("<<", ">>"):
        taken, remedy = "integers", "multiply by a power of 2, or gg.cast to integers" if wrong else _COMPARE
    else:
        taken, remedy = "two integers or two conditions", _COMPARE + (", or gg.cast to integers" if wrong else "")
    both = "conditions" if symbol in ("<<", ">>") else "one of each"
    raise DTypeError(f"{here()}{symbol} takes {taken}, not {_NAMES.get(wrong, wrong) or both}: {remedy}.")


def fold_words(function: str, arguments: tuple[Scalar, ...]) -> Scalar | None:
    """Shifts and masks of indices as arithmetic, so that they are subscripts like others; numbers as numbers."""
    first, second = arguments
    a, b = _number(first), _number(second)
    if a is not None and b is not None:
        return _integer(_of_numbers(function, a, b))
    if function in ("left_shift", "right_shift") and b is not None and first.dtype in BITS:
        if b < 0:
            raise DTypeError(f"{here()}{FUNCTIONS[function].symbol} by {b}: an integer is shifted by 0 places or more.")
        if b >= (bits := BITS[first.dtype]):
            if function == "left_shift" or first.dtype == "uint32":
                return applied(FUNCTIONS["bitwise_and"], (first, _integer(0)), first.dtype)
            return applied(FUNCTIONS[function], (first, _integer(bits - 1)), first.dtype)
        if b == 0:
            return first
    p = next((x for x in arguments if isinstance(x, Poly)), None)
    number = b if p is first else a
    if p is None or number is None or not fits(p) or any(not isinstance(part, Poly) for part in walk(p)):
        return None
    if function == "bitwise_and" and number > 0 and number & (number + 1) == 0 and number < 1 << 62:
        return mod(p, integer(number + 1))
    if p is first and function == "right_shift" and number < 63:
        return floor_div(p, integer(1 << number))
    if p is first and function == "left_shift" and number < 63:
        return mul(p, integer(1 << number))
    return None


def _of_numbers(function: str, a: int, b: int) -> int:
    match function:
        case "bitwise_and":
            return a & b
        case "bitwise_or":
            return a | b
        case "bitwise_xor":
            return a ^ b
        case "left_shift":
            return a << b
    return a >> b
