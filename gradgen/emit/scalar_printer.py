"""Scalar expressions as Python text: typed constants, as few parentheses as precedence allows.

In: expressions over buffers and loop variables, and a target's table of functions. Out: text, and which library
functions it calls. Choices, logic, chained comparisons, `//` and `%` are Python's: a target with other syntax overrides
`_call`, `_condition`, `_between`, `_poly` and `_atom`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gradgen.emit.integers import (
    NARROW,
    grows,
    has_words,
    is_bare,
    is_lone,
    is_narrow,
    is_number,
    is_python,
    is_widened,
    is_wrapping,
    leaves,
    raises,
    word,
)
from gradgen.graph.polynomials import as_written, sides
from gradgen.graph.records import polynomial
from gradgen.graph.scalar import (
    FLOATS,
    Call,
    Const,
    FloorDiv,
    Letter,
    Load,
    Monomial,
    Poly,
    Scalar,
    SizeSymbol,
    Slot,
    atom_poly,
    call,
    conjuncts,
    number,
    promote,
    require_poly,
)
from gradgen.graph.spans import fits

WHOLE = ("int32", "int64", "uint32")
ATOM, UNARY, PRODUCT, SUM, COMPARISON, NOT, AND, OR, CHOICE = 100, 30, 20, 10, 5, 4, 3, 2, 1
INFIX = {"add", "sub", "mul", "div", "floordiv", "mod", "lt", "le", "gt", "ge", "eq", "ne", "and", "or"}
SHIFTS = {"left_shift", "right_shift"}
INFIX |= SHIFTS | {"bitwise_and", "bitwise_xor", "bitwise_or"}


@dataclass(slots=True)
class ScalarPrinter:
    """`functions` writes a call: its name, the dtype it works in, its printed arguments. `access` writes an access."""

    functions: Callable[[str, str, list[str]], str]
    access: Callable[[Load, "ScalarPrinter"], str]
    literal: Callable[[float, str], str]
    cast: Callable[[str, str], str]
    wraps: bool = False  # whether sums and products that may leave int64 have to be functions, or are said with + and *

    def text(self, x: Scalar, dtype: str | None = None, above: int = 0) -> str:
        """The expression, as a value of `dtype` if one is wanted, in parentheses if it binds weaker than `above`."""
        text, strength = self._text(x, dtype)
        return f"({text})" if strength < above else text

    def _text(self, x: Scalar, dtype: str | None) -> tuple[str, int]:
        match x:
            case Const():
                return self._constant(x, dtype)
            case Poly(terms=(((atom,), 1),)) if dtype not in FLOATS and is_narrow(atom):
                return self.cast(self._atom(atom, 0), "int64"), ATOM
            case Poly():
                if dtype in FLOATS:
                    value = x.constant
                    return (
                        (self.literal(float(value), dtype), ATOM)
                        if value is not None
                        else (self.cast(self.poly(x), dtype), ATOM)
                    )
                return (self._wrapping(x), ATOM) if self.wraps and leaves(x) else self._poly(x)
            case Load():
                text = self.access(x, self)
                wider = dtype in FLOATS or (dtype == "int64" and x.dtype in NARROW)
                wider = wider or (x.dtype == "bool" and dtype in WHOLE)  # two of NumPy's bools have a bool for a sum
                return (self.cast(text, dtype or ""), ATOM) if wider and x.dtype != dtype else (text, ATOM)
            case Call():
                return self._call(x, dtype)
            case Slot(name=name):
                return name, ATOM
        raise AssertionError(f"{type(x).__name__} in a program")

    def _constant(self, x: Const, dtype: str | None) -> tuple[str, int]:
        if dtype in FLOATS:
            return self.literal(float(x.value), dtype or ""), ATOM
        if x.dtype == "pyfloat" and dtype is None:
            return repr(x.value), ATOM
        text = repr(x.value)
        return text, UNARY if text.startswith("-") else ATOM

    def _call(self, x: Call, dtype: str | None) -> tuple[str, int]:
        name = x.function.name
        work = self._working_dtype(x, dtype)
        if x.dtype == "bool" and (printed := self._condition(x)) is not None:
            text, level = printed
        elif (self.wraps and is_wrapping(x)) or (name in SHIFTS and not is_number(x.arguments[1])):
            text, level = self.functions(name, work, [self.text(a, work) for a in x.arguments]), ATOM
        elif name in ("add", "sub") and (opposite := negation(x.arguments[1])) is not None:
            sign = "-" if name == "add" else "+"
            text, level = f"{self.text(x.arguments[0], work, SUM)} {sign} {self.text(opposite, work, SUM + 1)}", SUM
        elif name in INFIX:
            strength = x.function.precedence
            left = self.text(x.arguments[0], work, strength if strength != COMPARISON else strength + 1)
            if grows(x):
                left = self.cast(self.text(x.arguments[0]), work)
            divides = name in ("floordiv", "mod") and work not in FLOATS
            right = self.divisor(x.arguments[1], work) if divides else self.text(x.arguments[1], work, strength + 1)
            if name == "or":  # `(a and b) or c`, for those who do not know which comes first
                left, right = self._alternative(x.arguments[0], OR), self._alternative(x.arguments[1], AND)
            if self.wraps and x.dtype == "uint32" and name in ("add", "sub", "mul") and is_number(x.arguments[1]):
                right = self.cast(right, x.dtype)
            text, level = f"{left} {x.function.symbol} {right}", strength
        elif name == "neg":
            text, level = f"-{self.text(x.arguments[0], work, UNARY)}", UNARY
        elif name == "reciprocal":
            text, level = f"{self._one(work)} / {self.text(x.arguments[0], work, PRODUCT + 1)}", PRODUCT
        elif name == "rsqrt":
            text = f"{self._one(work)} / {self.functions('sqrt', work, [self.text(x.arguments[0], work)])}"
            level = PRODUCT
        elif name == "not":
            text, level = f"not {self.text(x.arguments[0], None, NOT)}", NOT
        elif name == "where":
            condition, yes, no = (
                call(x.dtype, a) if x.dtype == "uint32" and isinstance(a, Const) and a.dtype == "pyint" else a
                for a in x.arguments
            )
            text = f"{self.text(yes, work, OR)} if {self.text(condition, None, OR)} else {self.text(no, work, CHOICE)}"
            level = CHOICE
        elif name in ("stop_gradient", "materialize", "wrapped"):
            return self._text(x.arguments[0], work)
        elif name in ("float32", "float64", "int32", "int64", "uint32"):
            source = x.arguments[0]
            if isinstance(source, (Const, Poly)) and name in FLOATS:
                text, level = self.text(source, name), ATOM
            elif name == "uint32" and is_python(source):
                low = source if isinstance(source, Const) else call("bitwise_and", source, number((1 << 32) - 1))
                text, level = self.cast(self.text(low), name), ATOM
            else:
                text, level = self.cast(self.text(source), name), ATOM
        else:
            arguments = [self.text(a, work) for a in x.arguments]
            text, level = self.functions(name, work, arguments), ATOM
        if is_widened(x):
            text, level = self.cast(text, x.dtype), ATOM
        if (dtype == "int64" and x.dtype in NARROW) or (dtype in WHOLE and x.dtype == "bool"):
            return self.cast(text, dtype or ""), ATOM
        if dtype in FLOATS and x.dtype != dtype and not (x.dtype == "pyfloat" and work == dtype):
            return self.cast(text, dtype), ATOM
        return text, level

    def _alternative(self, x: Scalar, above: int) -> str:
        text, level = self._text(x, None)
        return f"({text})" if level == AND or level < above else text

    def _one(self, dtype: str) -> str:
        return self.literal(1.0, dtype) if dtype in FLOATS else "1"

    def _working_dtype(self, x: Call, dtype: str | None) -> str:
        """The dtype that the arguments are brought to."""
        arguments = x.arguments[1:] if x.function.name == "where" else x.arguments
        if x.function.result == "float" or x.function.name == "where":
            work = x.dtype
        else:
            work = promote([a.dtype for a in arguments])
            work = x.dtype if work == "bool" and x.dtype in WHOLE else work
        if work == "pyfloat" or (work == "pyint" and dtype in FLOATS):
            return dtype if dtype in FLOATS and dtype is not None else "float32" if work == "pyfloat" else "int64"
        return work

    # ------------------------------------------------------------ conditions on integers

    def _condition(self, x: Call) -> tuple[str, int] | None:
        """Comparisons of indices as a person writes them: `8 <= k < 12`, `i == b[n]`, `(j + m) % 2 == 0`."""
        match x.function.name, x.arguments:
            case "ge", (Poly() as p, Poly() as zero) if zero.constant == 0:
                return self._order(p), COMPARISON
            case "eq", (Poly() as p, Poly() as zero) if zero.constant == 0:
                return self._equality(p, "=="), COMPARISON
            case "not", (Call(function=f, arguments=(Poly() as p, Poly() as zero)),) if zero.constant == 0:
                if f.name == "ge":
                    return self._order(require_poly(-p - 1)), COMPARISON
                if f.name == "eq":
                    return self._equality(p, "!="), COMPARISON
            case "and", _:
                parts = conjuncts(x)
                texts: list[str] = []
                for k, part in enumerate(parts):
                    between = self._between(parts[k - 1], part) if k else None
                    if between is not None:
                        texts[-1] = between
                    else:
                        texts.append(self.text(part, None, NOT))
                return " and ".join(texts), AND if len(texts) > 1 else COMPARISON
        return None

    def _order(self, p: Poly) -> str:
        """p >= 0 with every term on the side where it is positive."""
        larger, smaller = sides(_with_remainder(p))
        if larger.constant is not None:
            known = _constant_term(smaller)
            return f"{self.poly(require_poly(smaller - known))} < {larger.constant + 1 - known}"
        if smaller.constant is not None:
            return f"{self.poly(larger)} >= {smaller.constant}"
        strict = _constant_term(smaller) > 0
        if strict:
            smaller = require_poly(smaller - 1)
        if all(isinstance(a, SizeSymbol) for a in larger.atoms):
            return f"{self.poly(smaller)} {'<' if strict else '<='} {self.poly(larger)}"
        return f"{self.poly(larger)} {'>' if strict else '>='} {self.poly(smaller)}"

    def _equality(self, p: Poly, sign: str) -> str:
        remainder = _remainder(p)
        if remainder is not None and remainder[0].constant == 0:
            return f"{self.poly(p, COMPARISON + 1)} {sign} 0"
        left, right = sides(_with_remainder(p))
        left, right = (right, left) if left.constant is not None else (left, right)
        return f"{self.poly(left)} {sign} {self.poly(right)}"

    def _between(self, low: Scalar, high: Scalar) -> str | None:
        """`8 <= k < 12` for two orders of the same expression."""
        match low, high:
            case (
                Call(function=f, arguments=(Poly() as p, Poly())),
                Call(function=g, arguments=(Poly() as q, Poly())),
            ) if f.name == g.name == "ge":
                middle, least = sides(p)
                most, same = sides(q)
                if same is middle and least.constant is not None and most.constant is not None:
                    return f"{least.constant} <= {self.poly(middle)} < {most.constant + 1}"
        return None

    # ------------------------------------------------------------ integers

    def poly(self, p: Poly, above: int = 0) -> str:
        text, strength = self._poly(p)
        return f"({text})" if strength < above else text

    def divisor(self, x: Scalar, dtype: str | None) -> str:
        """What an integer is divided by: 0 gives 0, for which it has to be one of NumPy's numbers."""
        return self.cast(self.text(x), "int64") if raises(x) else self.text(x, dtype, PRODUCT + 1)

    def _wrapping(self, p: Poly) -> str:
        """A polynomial that may leave int64, by functions that wrap around."""
        total = ""
        for monomial, factor in p.terms:
            factors = [self.text(atom_poly(a), "int64") for a in monomial]
            factors += [str(word(factor))] if factor != 1 or not factors else []
            term = factors[0]
            for other in factors[1:]:
                term = self.functions("mul", "int64", [term, other])
            total = self.functions("add", "int64", [total, term]) if total else term
        return total

    def _poly(self, p: Poly) -> tuple[str, int]:
        if p.constant is not None:
            return str(word(p.constant)), UNARY if word(p.constant) < 0 else ATOM
        words = has_words(p)
        quotient = _quotient(p)
        if quotient is not None:
            return f"{self.poly(quotient[0], PRODUCT)} // {quotient[1]}", PRODUCT
        remainder = _remainder(p)
        if remainder is None:
            parts = [(factor, *self._monomial(monomial, abs(factor), p, words)) for monomial, factor in p.terms]
        else:
            rest, times, division = remainder
            text = f"{self.text(division.numerator, None, PRODUCT)} % {self.divisor(division.denominator, None)}"
            text = f"{self.cast(text, 'int64')}" if words else text
            text = text if abs(times) == 1 else f"{abs(times)} * ({text})"
            parts = [(factor, *self._monomial(monomial, abs(factor), p, words)) for monomial, factor in rest.terms]
            parts.append((times, text, PRODUCT))
        parts.sort(key=lambda part: part[0] < 0)
        text, level = "", ATOM
        for k, (factor, part, strength) in enumerate(parts):
            if k:
                text, level = f"{text} {'-' if factor < 0 else '+'} {part}", SUM
            elif factor < 0:
                text, level = f"-({part})" if "//" in part or "%" in part else f"-{part}", min(UNARY, strength)
            else:
                text, level = part, strength
        return text, level

    def _monomial(self, monomial: Monomial, factor: int, whole: Poly, words: bool) -> tuple[str, int]:
        """factor * atom * ..., without its sign; the numbers are NumPy's where Python's would not wrap around."""
        alone = len(monomial) == 1 and factor == 1
        names = [self._atom(a, SUM + 1 if alone else PRODUCT + 1) for a in monomial]
        lone = is_lone(monomial, whole)
        for k, a in enumerate(monomial):
            if (is_narrow(a) and not lone) or (words and is_bare(a)):
                names[k] = self.cast(self._atom(a, 0), "int64")
        pieces = ([str(factor)] if factor != 1 or not names else []) + names
        return " * ".join(pieces), PRODUCT if len(pieces) > 1 or (alone and "//" in names[0]) else ATOM

    def _atom(self, a: object, above: int = ATOM) -> str:
        match a:
            case SizeSymbol() | Letter():
                return a.name
            case FloorDiv():
                text = f"{self.text(a.numerator, None, PRODUCT)} // {self.divisor(a.denominator, None)}"
                return f"({text})" if above > PRODUCT else text
            case Load():
                return self.access(a, self)
            case Scalar():
                return self.text(a, None, above)
        raise AssertionError(f"{type(a).__name__} in a program")


def negation(x: Scalar) -> Scalar | None:
    """y for -y, where that is the same in a wider dtype."""
    match x:
        case Call(function=f, arguments=(y,)) if f.name == "neg" and x.dtype not in NARROW:
            return y
    return None


def _constant_term(p: Poly) -> int:
    return next((factor for monomial, factor in p.terms if not monomial), 0)


def _remainder(p: Poly) -> tuple[Poly, int, FloorDiv] | None:
    """r, times and n // d of p = r + times * (n - d * (n // d)), which is r + times * (n % d), if that is shorter."""
    factors = dict(p.terms)
    for division in dict.fromkeys(atom for atom in p.atoms if isinstance(atom, FloorDiv)):
        divided = polynomial(((*m, division), f) for m, f in division.denominator.terms).terms
        times, left = divmod(-factors.get(divided[0][0], 0), divided[0][1])
        if left or not times:
            continue
        taken = [*((m, -f) for m, f in divided), *division.numerator.terms]
        rest = polynomial([*p.terms, *((m, -times * f) for m, f in taken)])
        if len(rest.terms) + 1 < len(p.terms):
            return rest, times, division
    return None


def _with_remainder(p: Poly) -> Poly:
    """The same with n % d as one term, which stays on one side of a comparison: n and d * (n // d) may be large."""
    found = _remainder(p)
    if found is None:
        return p
    rest, times, division = found
    return require_poly(rest + times * as_written("mod", division.numerator, division.denominator))


def _quotient(p: Poly) -> tuple[Poly, int] | None:
    """n and d of p = n // d, where that is shorter than what is left outside of a normal form: h // 3 + 1 - h."""
    for monomial, factor in p.terms:
        if factor == 1 and len(monomial) == 1 and isinstance(division := monomial[0], FloorDiv):
            divisor = division.denominator.constant
            if divisor is not None:
                rest = [(m, f) for m, f in p.terms if m is not monomial]
                whole = polynomial([*division.numerator.terms, *((m, divisor * f) for m, f in rest)])
                if len(whole.terms) < len(division.numerator.terms) + len(rest) and fits(whole):
                    return whole, divisor
    return None
