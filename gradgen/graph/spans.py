"""How far integer expressions may reach: which of them stay inside int64, so that exact algebra holds for them.

In: integer polynomials and scalar expressions. Out: their least and greatest value in exact arithmetic, and whether
int64 holds it; `polynomials` asks before it rewrites what wraps around would not survive.

An integer is an element of the ring of int64: sums, differences and products may be rewritten whatever their values.
Quotients, orders, casts and shifts read the value itself: there the exact value has to be the one that int64 holds.
"""

from collections.abc import Mapping

from gradgen.graph.records import (
    Atom,
    Call,
    Const,
    FloorDiv,
    Letter,
    Load,
    Poly,
    Position,
    Reduce,
    Scalar,
    SizeSymbol,
    Step,
    children,
    polynomial,
)

Span = tuple[int, int]

LEAST, GREATEST = -(1 << 63), (1 << 63) - 1
BOUND = 1 << 31  # what sizes and indices are taken to stay below, if no number is known
TOGETHER = 1 << 60  # what a product of sizes and indices stays below: no tensor, no loop nest is larger
SLACK = 1 << 33  # how close to the ends of int64 data may come that is compared with indices: not as close as this
OF_DTYPE: Mapping[str, Span] = {
    "bool": (0, 1),
    "uint32": (0, (1 << 32) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (LEAST, GREATEST),
}

_known: dict[str, Span] = {}  # by digest, which keeps no arrays alive
_MOST = 1 << 16


def fits(p: Poly, slack: int = 0) -> bool:
    """Whether the exact value is the one that int64 holds; `slack` lets it leave by as much, on either side."""
    if p.constant is None and is_size(p) and all(abs(factor) < BOUND for _, factor in p.terms):
        return True  # no size is larger than what an array has elements
    low, high = span(p)
    return low >= LEAST - slack and high <= GREATEST + slack


def is_size(p: Poly) -> bool:
    """Whether a polynomial is made of numbers and sizes only: no index, no data."""
    return all(
        isinstance(a, SizeSymbol) or (isinstance(a, FloorDiv) and is_size(a.numerator) and is_size(a.denominator))
        for a in p.atoms
    )


def span(x: Scalar) -> Span:
    """The least and the greatest value that an integer expression may have in exact arithmetic."""
    if len(_known) > _MOST:
        _known.clear()
    stack = [x]
    while stack:
        part = stack[-1]
        inner = () if part.digest in _known or isinstance(part, (Load, Reduce)) else children(part)
        missing = [c for c in inner if c.digest not in _known]
        if missing:
            stack += missing
            continue
        stack.pop()
        if part.digest not in _known:
            _known[part.digest] = _span(part)
    return _known[x.digest]


def _span(x: Scalar) -> Span:
    match x:
        case Poly():
            return _of_poly(x)
        case Const(dtype="pyint"):
            return int(x.value), int(x.value)
        case Call():
            return _of_call(x)
        case Load(tensor=tensor) if getattr(tensor, "reducer", "") in ("argmax", "argmin"):
            return 0, TOGETHER
    return OF_DTYPE.get(x.dtype, (LEAST, GREATEST))


def _of_call(x: Call) -> Span:
    """The values of a call; those of its dtype, where no rule says less."""
    every = OF_DTYPE.get(x.dtype, (LEAST, GREATEST))
    if any(a.dtype not in OF_DTYPE and a.dtype != "pyint" for a in x.arguments):
        return every
    match x.function.name, [_known[a.digest] for a in x.arguments]:
        case "mod", [_, (low, high)] if low > 0:
            return 0, high - 1
        case "mod", [_, (low, high)]:
            most = max(abs(low), abs(high)) - 1
            found = -max(most, 0), max(most, 0)
        case "floordiv", [(low, high), _]:
            most = max(abs(low), abs(high))
            found = -most, most
        case "bitwise_and", [(low, high), (least, most)] if low >= 0 or least >= 0:
            return 0, min(end for start, end in ((low, high), (least, most)) if start >= 0)
        case "right_shift", [(low, high), (few, many)] if 0 <= few <= many < 64:
            found = min(low >> few, low >> many), max(high >> few, high >> many)
        case "mul", [a, b]:
            found = _product(a, b)
        case "add", [(a, b), (c, d)]:
            found = a + c, b + d
        case "where", [_, (a, b), (c, d)]:
            found = min(a, c), max(b, d)
        case "minimum", [(a, b), (c, d)]:
            found = min(a, c), min(b, d)
        case "maximum", [(a, b), (c, d)]:
            found = max(a, c), max(b, d)
        case (("stop_gradient" | "materialize" | "int64"), [found]):
            pass
        case _:
            return every
    return found if every[0] <= found[0] and found[1] <= every[1] else every


def _product(a: Span, b: Span) -> Span:
    ends = [p * q for p in a for q in b]
    return min(ends), max(ends)


def _of_poly(p: Poly) -> Span:
    low = high = 0
    terms = dict(p.terms)
    for division in dict.fromkeys(atom for monomial in terms for atom in monomial if isinstance(atom, FloorDiv)):
        ends = _remainder(terms, division)
        low, high = low + ends[0], high + ends[1]
    for monomial, factor in terms.items():
        ends = _of_monomial(monomial)
        ends = _product(ends, (factor, factor))
        low, high = low + ends[0], high + ends[1]
    return low, high


def _remainder(terms: dict[tuple[Atom, ...], int], division: FloorDiv) -> Span:
    """Takes times * (n - d * (n // d)) out of the terms, and says how far it reaches."""
    by = division.denominator
    if by.constant == 0 or not is_size(by):
        return 0, 0
    divided = polynomial(((*m, division), f) for m, f in by.terms).terms
    first, factor = divided[0]
    times, rest = divmod(-terms.get(first, 0), factor)
    remainder = [*((m, -f) for m, f in divided), *division.numerator.terms]
    if rest or not times or any(terms.get(m, 0) != times * f for m, f in remainder if m):
        return 0, 0
    for monomial, f in remainder:
        terms[monomial] = terms.get(monomial, 0) - times * f
    least, most = _known[by.digest]
    return _product((min(least + 1, 0), max(most - 1, 0)), (times, times))


def _of_monomial(monomial: tuple[Atom, ...]) -> Span:
    found = 1, 1
    highest = 1  # of indices and sizes, each once
    counts = False
    for k, atom in enumerate(monomial):
        match atom:
            case SizeSymbol() | Letter() | Position() | Step():
                if any(atom is other for other in monomial[:k]):
                    found = _product(found, (0, _highest(atom)))
                else:
                    highest *= _highest(atom)
                counts = True
            case FloorDiv():
                found = _product(found, _of_division(atom))
            case Load() | Call() | Reduce():
                found = _product(found, _known[atom.digest])
    return _product(found, (0, min(highest, TOGETHER))) if counts else found


def _highest(atom: SizeSymbol | Letter | Position | Step) -> int:
    """The greatest value of an index or a size."""
    size = atom.size.constant if isinstance(atom, Letter) and atom.size is not None else None
    return BOUND - 1 if size is None else max(size - 1, 0)


def monomial_span(monomial: tuple[Atom, ...]) -> Span:
    """The least and the greatest value of a product of indices, sizes and quotients."""
    for atom in monomial:
        if isinstance(atom, FloorDiv):
            span(atom.numerator)
        elif isinstance(atom, Scalar):
            span(atom)
    return _of_monomial(monomial)


def _of_division(division: FloorDiv) -> Span:
    above = _known[division.numerator.digest]
    below = division.denominator.constant
    if below is None or below == 0:
        most = max(abs(end) for end in above)
        return -most, most
    ends = [end // below for end in above]
    return min(ends), max(ends)
