"""Integers as text that wraps around as NumPy's do, jitted and as plain Python.

In: integer expressions. Out: which of their parts have to be NumPy's numbers. Loop variables and sizes are Python's
integers where the file is not jitted, and grow without end; Numba makes 64 bits of every narrower sum. What int64
holds in any case, and that is nearly all, stays as bare as a person writes it.
"""

from gradgen.graph.scalar import Call, Const, Load, Monomial, Poly, Scalar
from gradgen.graph.spans import GREATEST, LEAST, SLACK, fits, is_size, monomial_span, span

NARROW = ("int32", "uint32")
# Calls whose result is made one of its dtype again: of the words every one, as Numba takes two for 64 bits unsigned.
WIDENED = {"add", "sub", "mul", "neg", "floordiv", "mod", "abs", "square", "pow", "left_shift"}
WORDS = {"bitwise_and", "bitwise_or", "bitwise_xor", "right_shift"}
CHOOSING = {"where", "maximum", "minimum", "stop_gradient", "materialize", "abs", "sign"}

EXACT = {"add", "sub", "mul", "neg", "floordiv", "mod"}


def is_widened(x: Call) -> bool:
    """Whether the text of a call has to be cast to the dtype of its result."""
    return x.dtype in NARROW and (x.function.name in WIDENED or (x.dtype == "uint32" and x.function.name in WORDS))


def grows(x: Call) -> bool:
    """Whether a call of Python's integers may leave int64."""
    if not all(map(is_python, x.arguments)):
        return False
    return is_wrapping(x, slack=0) or (x.function.name == "left_shift" and x.dtype == "int64")


def raises(divisor: Scalar) -> bool:
    """Whether plain Python would raise where a divisor is 0: it may be, and is no number of NumPy's.

    Sizes are taken to be positive, as in subscripts. A variable may hold what was counted in Python's integers.
    """
    match divisor:
        case Load():
            return not divisor.subscripts
        case Poly(terms=(((Load() as only,), 1),)):
            return not only.subscripts
        case Poly() if divisor.constant is None and is_size(divisor):
            return False
    low, high = span(divisor)
    return low <= 0 <= high and is_python(divisor)


def leaves(p: Poly) -> bool:
    """Whether a polynomial may leave int64, data near its ends left out."""
    if p.constant is not None or is_lone(p.terms[0][0], p):
        return False
    return not fits(p, SLACK)


def is_wrapping(x: Call, slack: int = SLACK) -> bool:
    """Whether a sum or a product of int64 may leave it; by `slack` on either side it may."""
    if x.dtype != "int64" or x.function.name not in ("add", "sub", "mul"):
        return False
    (a, b), (c, d) = (_printed_span(argument) for argument in x.arguments)
    match x.function.name:
        case "add":
            ends = [a + c, b + d]
        case "sub":
            ends = [a - d, b - c]
        case _:
            ends = [a * c, a * d, b * c, b * d]
    return min(ends) < LEAST - slack or max(ends) > GREATEST + slack


def _printed_span(x: Scalar) -> tuple[int, int]:
    """How far a part reaches, where a number is printed as what int64 holds of it."""
    known = x.constant if isinstance(x, Poly) else None
    return span(x) if known is None else (word(known), word(known))


def is_python(x: Scalar) -> bool:
    """Whether a part is printed as one of Python's integers, where the file is not jitted."""
    match x:
        case Poly() if x.constant is not None:
            return True
        case Poly():
            return all(map(is_bare, x.atoms)) and not has_words(x)
        case Call() if x.function.name in CHOOSING:
            return any(map(is_python, x.arguments))
        case Call() if x.function.name == "wrapped" or (x.dtype == "int64" and x.function.name in WORDS):
            return all(map(is_python, x.arguments))
        case Call() if x.dtype == "int64" and x.function.name in EXACT and not grows(x):
            return all(map(is_python, x.arguments))
        case Call() | Load():
            return False
    return True


def is_bare(atom: object) -> bool:
    """Whether an atom is one of Python's integers, where the file is not jitted."""
    return not isinstance(atom, Load) and (not isinstance(atom, Call) or is_python(atom))


def has_words(p: Poly) -> bool:
    """Whether the indices of a polynomial are printed as NumPy's: where Python's integers may leave int64."""
    low = high = 0
    for monomial, factor in p.terms:
        rest = tuple(a for a in monomial if is_bare(a))
        if monomial and not rest:
            continue
        ends = sorted(end * factor for end in monomial_span(rest))
        if len(rest) < len(monomial) and not LEAST <= ends[0] <= ends[1] <= GREATEST:
            return True
        low, high = low + ends[0], high + ends[1]
    return not (low >= LEAST and high <= GREATEST) and not fits(p)


def is_number(x: Scalar) -> bool:
    """Whether an integer is known."""
    return isinstance(x, Const) or (isinstance(x, Poly) and x.constant is not None)


def is_lone(monomial: Monomial, p: Poly) -> bool:
    """Whether a polynomial is one value, and nothing is computed."""
    return len(p.terms) == 1 and len(monomial) == 1 and p.terms[0][1] == 1


def is_narrow(atom: object) -> bool:
    """Whether an atom has fewer bits than the polynomials that it stands in."""
    return isinstance(atom, (Load, Call)) and atom.dtype in NARROW


def word(factor: int) -> int:
    """What int64 holds of a number."""
    return (factor - LEAST) % (1 << 64) + LEAST
