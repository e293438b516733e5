"""The records of scalar bodies: numbers, atoms, integer polynomials, accesses, calls and reducers.

In: fields that their constructors in `scalar` and `polynomials` have checked. Out: immutable records, compared by
identity, and the ways to read them: parts, walks, accesses, text.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Union

from gradgen.graph.declaration import ScalarFunction
from gradgen.graph.intern import digest_of, intern_built
from gradgen.graph.operators import Operators


class Tensorlike(Hashable, Protocol):
    """What an access needs to know of a tensor; `nodes.Node` is the only implementation."""

    @property
    def shape(self) -> "tuple[Poly, ...]": ...
    @property
    def dtype(self) -> str: ...
    @property
    def digest(self) -> str: ...


class Scalar(Operators["Scalar"]):
    """Base of the scalar expressions; `dtype` is a NumPy dtype name, or pyint / pyfloat for a weak Python number."""

    __slots__ = ()
    dtype: str
    digest: str

    @property
    def direct(self) -> "tuple[Scalar, ...]":
        """The direct parts; subscripts count, so that a walk meets every access."""
        return ()

    def __repr__(self) -> str:
        return shown(self)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Const(Scalar):
    """A number. Weak (pyint, pyfloat) until it meets a tensor."""

    text: str
    dtype: str
    digest: str

    @property
    def value(self) -> float | int | bool:
        if self.dtype == "bool":
            return self.text == "True"
        return int(self.text) if self.dtype == "pyint" else float(self.text)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class SizeSymbol:
    """A size known at call time; never negative."""

    name: str
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Letter:
    """An index as the user wrote it; lives in formulas only, until `lang.compute` binds it to a position."""

    name: str
    serial: int
    size: "Poly | None"
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Position:
    """The loop variable at a position of a node's loop nest."""

    position: int
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Step:
    """The step of the enclosing scan, counted from the outermost scan inwards."""

    depth: int
    digest: str


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class FloorDiv:
    """floor(numerator / denominator), in normal form: no part of the numerator divides exactly."""

    numerator: "Poly"
    denominator: "Poly"
    digest: str


Atom = Union[SizeSymbol, Letter, Position, Step, FloorDiv, "Load", "Call", "Reduce"]  # forward names
Monomial = tuple[Atom, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Poly(Scalar):
    """An integer expression: a polynomial with integer coefficients in sizes, indices and integer data.

    `atoms` are the distinct atoms in their order in the terms, those inside floor divisions left out; `parts` are the
    scalar expressions among them, floor divisions looked into.
    """

    terms: tuple[tuple[Monomial, int], ...]
    digest: str
    atoms: tuple[Atom, ...]
    parts: tuple[Scalar, ...]

    @property
    def dtype(self) -> str:  # type: ignore[override]  # constant
        return "int64"

    @property
    def constant(self) -> int | None:
        """The value, if it is a known integer."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and not self.terms[0][0]:
            return self.terms[0][1]
        return None

    def coefficient(self, atom: Atom) -> "Poly | None":
        """c in c * atom + rest, or None where the atom does not occur linearly."""
        found: list[tuple[Monomial, int]] = []
        for monomial, factor in self.terms:
            if contains(monomial, atom):
                rest = tuple(a for a in monomial if a is not atom)
                if len(rest) != len(monomial) - 1:
                    return None
                found.append((rest, factor))
            elif any(isinstance(a, FloorDiv) and mentions(a, atom) for a in monomial):
                return None
        return polynomial(found)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Load(Scalar):
    """An access: a tensor with one subscript per axis."""

    tensor: Any
    subscripts: tuple[Poly, ...]
    digest: str

    @property
    def dtype(self) -> str:  # type: ignore[override]  # the tensor's
        return str(self.tensor.dtype)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Call(Scalar):
    """A scalar function of expressions."""

    function: ScalarFunction
    arguments: tuple[Scalar, ...]
    dtype: str
    digest: str
    accesses: "tuple[Load, ...]"  # of the arguments, each once


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Reduce(Scalar):
    """A reducer inside a formula; `lang.compute` turns it into a node."""

    reducer: str
    body: Scalar
    letters: tuple[Letter, ...]
    dtype: str
    digest: str

    @property
    def direct(self) -> tuple[Scalar, ...]:
        return (self.body,)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Slot(Scalar):
    """A placeholder: an argument of a scalar function in its partials, or its value (`name == "out"`)."""

    name: str
    dtype: str
    digest: str


_PARTS: dict[Any, str] = {Poly: "parts", Load: "subscripts", Call: "arguments"}
for _kind, _parts in _PARTS.items():  # a field is read quicker than a property, and every pass walks over every body
    _kind.direct = getattr(_kind, _parts)


# ---------------------------------------------------------------- the one constructor of polynomials


_RANK: dict[type, int] = {SizeSymbol: 0, Letter: 1, Step: 2, Position: 3, FloorDiv: 4}


def polynomial(terms: Iterable[tuple[Monomial, int]]) -> Poly:
    """The sum of these terms in normal form; its order follows content, never construction."""
    collected: dict[Monomial, int] = {}
    for monomial, factor in terms:
        key = monomial if len(monomial) < 2 else tuple(sorted(monomial, key=_atom_key))
        collected[key] = collected.get(key, 0) + factor
    kept = [term for term in collected.items() if term[1]]
    if len(kept) > 1:
        kept.sort(key=_term_key)
    ordered = tuple(kept)
    return intern_built(Poly, (ordered,), lambda: _new_polynomial(ordered))


def _term_key(term: tuple[Monomial, int]) -> tuple[bool, list[tuple[int, str]]]:
    monomial, _ = term
    return not monomial, [_atom_key(a) for a in monomial]


def _new_polynomial(terms: tuple[tuple[Monomial, int], ...]) -> Poly:
    digest = digest_of("poly", *[f"{factor}*{'*'.join(a.digest for a in monomial)}" for monomial, factor in terms])
    atoms = tuple(dict.fromkeys(atom for monomial, _ in terms for atom in monomial))
    parts: list[Scalar] = []
    for atom in atoms:
        if isinstance(atom, FloorDiv):
            parts += [atom.numerator, atom.denominator]
        elif isinstance(atom, Scalar):
            parts.append(atom)
    return Poly(terms, digest, atoms, tuple(parts))


def _atom_key(atom: Atom) -> tuple[int, str]:
    return _RANK.get(type(atom), 5), atom.digest


# ---------------------------------------------------------------- reading


def children(x: Scalar) -> tuple[Scalar, ...]:
    """The direct parts of an expression; subscripts count, so that a walk meets every access."""
    return x.direct


def walk(*roots: Scalar) -> Iterator[Scalar]:
    """Every distinct sub-expression, parts before wholes, in the order of writing."""
    done: set[Scalar] = set()
    stack: list[Scalar | None] = [*reversed(roots)]
    while stack:
        x = stack.pop()
        if x is None:  # the parts of the next one are done
            x = stack.pop()
            assert x is not None
        elif x in done:
            continue
        elif parts := x.direct:
            stack += (x, None)
            stack += reversed(parts)
            continue
        if x not in done:
            done.add(x)
            yield x


def evaluated_parts(x: Scalar) -> tuple[Scalar, ...]:
    """The parts that are evaluated whenever the whole is: of a choice, of `and` and of `or` the first."""
    parts = children(x)
    return parts[:1] if isinstance(x, Call) and x.function.name in ("where", "and", "or") else parts


def certain(*roots: Scalar, parts: Callable[[Scalar], tuple[Scalar, ...]] = evaluated_parts) -> dict[Scalar, None]:
    """Every distinct sub-expression that is evaluated whenever the roots are, wholes before parts."""
    found: dict[Scalar, None] = {}
    stack = [*reversed(roots)]
    while stack:
        x = stack.pop()
        if x not in found:
            found[x] = None
            stack += reversed(parts(x))
    return found


def loads(*roots: Scalar) -> tuple[Load, ...]:
    """The distinct accesses of expressions, in the order of writing; every pass asks this of every body."""
    if len(roots) == 1:
        return _accesses(roots[0])
    return tuple(dict.fromkeys(access for x in roots for access in _accesses(x)))


def _accesses(x: Scalar) -> tuple[Load, ...]:
    if isinstance(x, Call):
        return x.accesses
    if isinstance(x, Load):
        return (*loads(*x.subscripts), x)
    return loads(*x.direct) if x.direct else ()


def contains(atoms: Iterable[Atom], atom: Atom) -> bool:
    """Membership by identity; `in` would ask `==`, which builds an expression."""
    return any(other is atom for other in atoms)


def mentions(x: Scalar | FloorDiv, atom: Atom) -> bool:
    """Whether an index or a size occurs anywhere in the expression, subscripts and floor divisions included."""
    roots = (x.numerator, x.denominator) if isinstance(x, FloorDiv) else (x,)
    return any(isinstance(part, Poly) and contains(part.atoms, atom) for part in walk(*roots))


def positions_of(*expressions: Scalar) -> list[int]:
    """The positions that expressions mention, subscripts included, in increasing order."""
    atoms = {atom for part in walk(*expressions) if isinstance(part, Poly) for atom in part.atoms}
    return sorted(atom.position for atom in atoms if isinstance(atom, Position))


def shown(x: Scalar) -> str:
    """An expression for people: `2*i + 1`, `X1[i, j]`, `exp(a[n])`."""
    match x:
        case Const(text=text):
            return text
        case Poly(terms=terms):
            parts = [_term(monomial, factor) for monomial, factor in terms]
            return " + ".join(parts).replace("+ -", "- ") if parts else "0"
        case Load(tensor=tensor, subscripts=subscripts):
            return f"{getattr(tensor, 'name', 'tensor')}[{', '.join(map(shown, subscripts))}]"
        case Call(function=function, arguments=arguments):
            if function.symbol and len(arguments) == 2:
                return f"({shown(arguments[0])} {function.symbol} {shown(arguments[1])})"
            return f"{function.name}({', '.join(map(shown, arguments))})"
        case Reduce(reducer=reducer, body=body, letters=letters):
            return f"{reducer}({shown(body)}, over={', '.join(letter.name for letter in letters)})"
        case Slot(name=name):
            return name
    return object.__repr__(x)


def _term(monomial: Monomial, factor: int) -> str:
    names = [shown_atom(atom) for atom in monomial]
    if abs(factor) != 1 or not names:
        names.insert(0, str(abs(factor)))
    return ("-" if factor < 0 else "") + "*".join(names)


def shown_atom(atom: Atom) -> str:
    """A size, an index, a floor division or integer data, for people; sizes are Python too."""
    match atom:
        case SizeSymbol() | Letter():
            return atom.name
        case Position():
            return f"i{atom.position}"
        case Step():
            return f"t{atom.depth or ''}"
        case FloorDiv():
            above, below = (
                text if text.replace("_", "a").isalnum() else f"({text})"
                for text in (shown(atom.numerator), shown(atom.denominator))
            )
            return f"({above}//{below})"
    return shown(atom)
