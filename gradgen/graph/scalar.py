"""Scalar bodies: what builds, folds and rewrites them. Every name that a user of scalar expressions needs is here.

In: numbers, sizes, indices, tensors with subscripts. Out: interned expressions whose arguments keep the order in
which they were written; `nodes` puts them into formulas. Only integer expressions (`Poly`) are normalised, because
integer algebra is exact; floating-point algebra is left to `passes.rewrite.simplify`.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.dtypes import DEFAULT_FLOAT, FLOATS, promote, result_dtype
from gradgen.graph.functions import FUNCTIONS
from gradgen.graph.intern import digest_of, intern, intern_built
from gradgen.graph.operators import Operators, refuse_operand
from gradgen.graph.place import here
from gradgen.graph.polynomials import (
    CANONICAL,
    EXACT,
    add,
    applied,
    as_poly,
    at_least_zero,
    atom_poly,
    floor_div,
    integer,
    mul,
    require_poly,
)
from gradgen.graph.records import (
    Atom,
    Call,
    Const,
    FloorDiv,
    Letter,
    Load,
    Monomial,
    Poly,
    Position,
    Reduce,
    Scalar,
    SizeSymbol,
    Slot,
    Step,
    Tensorlike,
    certain,
    children,
    contains,
    evaluated_parts,
    loads,
    mentions,
    positions_of,
    walk,
)
from gradgen.graph.spans import fits
from gradgen.graph.words import WORDS, as_integers, fold_words

__all__ = [
    "DEFAULT_FLOAT", "FLOATS", "Atom", "Call", "Const", "FloorDiv", "Letter", "Load", "Monomial", "Operators",
    "Poly", "Position", "Reduce", "Scalar", "SizeSymbol", "Slot", "Step", "as_poly", "as_scalar", "at_least_zero",
    "atom_poly", "call", "certain", "children", "conjuncts", "contains", "evaluated_parts", "floor_div", "integer",
    "is_one", "is_zero", "load", "loads", "mentions", "number", "position", "position_atom", "positions_of",
    "promote", "reduce_over", "require_poly", "result_dtype", "rewrite", "scalar_cost", "size_symbol", "slot",
    "step", "step_atom", "substitute", "typed", "walk", "written",
]  # fmt: skip


# ---------------------------------------------------------------- construction


def number(value: Any) -> Const:
    """A weak Python number, from one of Python's or NumPy's."""
    value = value.item() if hasattr(value, "item") else value
    kind = "bool" if isinstance(value, bool) else "pyint" if isinstance(value, int) else "pyfloat"
    text = repr(bool(value) if kind == "bool" else int(value) if kind == "pyint" else float(value))
    return intern_built(Const, (text, kind), lambda: Const(text, kind, digest_of("const", kind, text)))


def size_symbol(name: str) -> Poly:
    return atom_poly(intern(SizeSymbol, name, f"size {name}"))


@cache
def position(at: int) -> Poly:
    return atom_poly(position_atom(at))


@cache
def step(depth: int) -> Poly:
    return atom_poly(step_atom(depth))


def position_atom(at: int) -> Position:
    """The index itself, as it stands in polynomials."""
    return intern(Position, at, f"position {at:04d}")


def step_atom(depth: int) -> Step:
    """The step of a scan itself, as it stands in polynomials."""
    return intern(Step, depth, f"step {depth:04d}")


def load(tensor: Tensorlike, subscripts: Iterable[Any]) -> Load:
    """An access; subscripts are integers, sizes, indices, integer accesses, and sums and multiples of these."""
    subs = tuple(require_poly(subscript) for subscript in subscripts)
    if len(subs) != len(tensor.shape):
        raise ShapeError(f"{len(subs)} subscripts for a tensor of rank {len(tensor.shape)}")
    return intern_built(
        Load, (tensor, subs), lambda: Load(tensor, subs, digest_of("load", tensor.digest, *[s.digest for s in subs]))
    )


def slot(name: str, dtype: str) -> Slot:
    return intern(Slot, name, dtype, digest_of("slot", name, dtype))


def reduce_over(reducer: str, body: Scalar, letters: tuple[Letter, ...]) -> Reduce:
    dtype = "int64" if reducer in ("argmax", "argmin") else body.dtype
    if reducer in ("sum", "prod") and dtype in ("bool", "int32", "uint32"):
        dtype = "int64"
    dtype = DEFAULT_FLOAT if dtype == "pyfloat" else "int64" if dtype == "pyint" else dtype
    digest = digest_of("reduce", reducer, body.digest, *[letter.digest for letter in letters])
    return intern(Reduce, reducer, body, letters, dtype, digest)


def call(function: str, *arguments: Scalar) -> Scalar:
    """A call of a scalar function, folded only where the fold is exact for every value, nan and -0.0 included."""
    if len(arguments) != FUNCTIONS[function].arity:
        raise GraphError(f"{function} takes {FUNCTIONS[function].arity} arguments, {len(arguments)} were given")
    function, arguments = as_integers(function, arguments)
    declared = FUNCTIONS[function]
    folded = _fold(function, arguments)
    if folded is not None:
        return folded
    return applied(declared, arguments, result_dtype(declared, [argument.dtype for argument in arguments]))


def as_scalar(value: Any) -> Scalar | None:
    """A scalar expression from a number or an expression; None for anything else (a whole tensor, say)."""
    if isinstance(value, Scalar):
        return value
    if isinstance(value, (bool, int, float)) or (hasattr(value, "item") and getattr(value, "shape", None) == ()):
        return number(value)
    return None


def _operator(self: Scalar, function: str, *arguments: Any) -> Scalar:
    if function in ("add", "sub", "mul") and all(isinstance(x, Poly) and x.constant is None for x in arguments):
        exact = EXACT[function](*arguments)
        if exact is not None:  # where `call` comes to, and passes go all the time
            return exact
    converted = [as_scalar(argument) for argument in arguments]
    for argument, scalar in zip(arguments, converted, strict=True):
        if scalar is None:
            if isinstance(argument, Operators) or (argument is None and function in ("eq", "ne")):
                return NotImplemented  # type: ignore[no-any-return]  # a tensor knows better; `== None` is False
            refuse_operand(function, argument, "tensors, formulas and numbers")
    return written(function, *[argument for argument in converted if argument is not None])


def written(function: str, *arguments: Scalar) -> Scalar:
    """A call as users write it.

    Raises:
        GraphError: an integer is divided by 0, which is a mistake more often than a way to write 0.
    """
    are_integers = all(x.dtype not in FLOATS and x.dtype != "pyfloat" for x in arguments)
    if function in ("floordiv", "mod") and are_integers and is_zero(arguments[1]):
        raise GraphError(f"{here()}an integer is divided by zero.")
    return call(function, *arguments)


Scalar._apply = _operator  # type: ignore[assignment,method-assign]  # what operators build is known from here on


# ---------------------------------------------------------------- exact folding

_COMPARED = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip


def _fold(function: str, arguments: tuple[Scalar, ...]) -> Scalar | None:
    """Integer algebra, constants, and the identities that hold for every float."""
    if function in EXACT and any(isinstance(a, Poly) for a in arguments):
        operands = [as_poly(a) for a in arguments]
        if all(operand is not None for operand in operands):
            exact = EXACT[function](*operands)
            if exact is not None:
                return exact
    match function, arguments:
        case "neg", (Const(dtype="pyint" | "pyfloat") as c,):
            return number(-c.value)
        case (("add" | "sub" | "mul"), (Const(dtype="pyint") as a, Const(dtype="pyint") as b)):
            return number({"add": a.value + b.value, "sub": a.value - b.value, "mul": a.value * b.value}[function])
        case _, (Const(dtype="pyint" | "pyfloat") as a, Const(dtype="pyint" | "pyfloat") as b) if function in _COMPARED:
            return number(_COMPARED[function](a.value, b.value))
        case (("maximum" | "minimum"), (Const(dtype="pyint") as a, Const(dtype="pyint") as b)):
            return a if (a.value >= b.value) == (function == "maximum") else b
        case "neg", (Call(function=inner, arguments=(x,)),) if inner.name == "neg":
            return x
        case "mul", (x, c) if is_one(c) and (dtype := promote((x.dtype, c.dtype))) in (x.dtype, *FLOATS):
            return typed(x, dtype)
        case "mul", (c, x) if is_one(c) and (dtype := promote((x.dtype, c.dtype))) in (x.dtype, *FLOATS):
            return typed(x, dtype)
        case "mul", (x, Const(dtype="pyint", text="-1")):
            return call("neg", x)
        case "mul", (Const(dtype="pyint", text="-1"), x):
            return call("neg", x)
        case "div", (x, c) if is_one(c) and x.dtype in FLOATS:
            return x
        case "sub", (x, Const(dtype="pyint", text="0")) if x.dtype in FLOATS:
            return x
        case "where", (Const(dtype="bool") as c, x, y):
            return typed(x if c.value else y, promote((x.dtype, y.dtype)))
        case "where", (_, x, y) if x is y or (is_zero(x) and is_zero(y)):
            return x if x.dtype == promote((x.dtype, y.dtype)) else y
        case "and", (a, Const(dtype="bool") as c):
            return a if c.value else c
        case "and", (Const(dtype="bool") as c, a):
            return a if c.value else c
        case "or", (a, Const(dtype="bool") as c):
            return c if c.value else a
        case "not", (Const(dtype="bool") as c,):
            return number(not c.value)
        case (("float32" | "float64" | "int32" | "int64"), (x,)) if x.dtype == function:
            return x
        case "uint32", (x,) if x.dtype in (*FLOATS, "pyfloat"):
            return call("uint32", call("int64", x))  # as a wide integer, and of that the low bits
        case _ if function in WORDS:
            return fold_words(function, arguments)
        case "pow", (x, Const(dtype="pyint") as c) if x.dtype not in ("pyint", "pyfloat"):
            return _integral_power(x, int(c.value))
        case "pow", (x, Const(dtype="pyfloat") as c) if float(c.value).is_integer() and x.dtype in FLOATS:
            return _integral_power(x, int(c.value))
    return None


def _integral_power(x: Scalar, exponent: int) -> Scalar:
    """x**n as multiplications: x * x, then squares of squares; exponents past 64 stay a call."""
    if exponent < 0:
        if x.dtype not in FLOATS:
            raise DTypeError(
                f"{here()}an integer to a negative integer power is no integer: write 1 / x**n, or gg.cast the base."
            )
        return call("div", number(1), _integral_power(x, -exponent))
    if exponent == 0:
        return call(x.dtype if x.dtype in FLOATS else "int64", number(1))
    if exponent > 64:
        return applied(FUNCTIONS["pow"], (x, number(exponent)), x.dtype)
    half = _integral_power(x, exponent // 2) if exponent > 1 else None
    squared = x if half is None else call("mul", half, half)
    return call("mul", squared, x) if half is not None and exponent % 2 else squared


def is_one(x: Scalar) -> bool:
    """Whether this is the number 1, in any dtype."""
    while isinstance(x, Call) and x.function.name in FLOATS:
        x = x.arguments[0]
    return isinstance(x, Const) and x.dtype != "bool" and x.value == 1


# ---------------------------------------------------------------- rewriting


def rewrite(root: Scalar, change: Callable[[Scalar], Scalar | None], atom: Callable[[Atom], Poly | None]) -> Scalar:
    """Rebuild an expression bottom-up: `change` sees each rebuilt part, `atom` each index or size of a polynomial."""
    built: dict[Scalar, Scalar] = {}
    moved: set[Scalar] = set()
    new: Scalar
    for x in walk(root):
        same = all(built[part] is part for part in children(x))
        match x:
            case Poly():
                new = x if same and all(atom(a) is None for a in x.atoms) else _rebuild_poly(x, built, atom)
                if _is_moved(x, built):
                    moved.add(x)
            case _ if same:
                new = x
            case Call(function=function, arguments=(Poly() as p, _)) if p in moved and function.name in CANONICAL:
                new = CANONICAL[function.name](require_poly(built[p]))
            case Call(function=function, arguments=arguments) if function.name in FUNCTIONS:
                new = call(function.name, *[built[a] for a in arguments])
            case Call(function=function, arguments=arguments):
                new = applied(function, tuple(built[a] for a in arguments), x.dtype)
            case Load(tensor=tensor, subscripts=subscripts):
                new = load(tensor, [built[s] for s in subscripts])
            case Reduce(reducer=reducer, body=body, letters=letters):
                new = reduce_over(reducer, built[body], letters)
            case _:
                new = x
        changed = change(new)
        built[x] = new if changed is None else changed
    return built[root]


def _rebuild_poly(p: Poly, built: Mapping[Scalar, Scalar], change: Callable[[Atom], Poly | None]) -> Poly:
    total = integer(0)
    for monomial, factor in p.terms:
        product = integer(factor)
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                exact = _is_moved(atom.numerator, built) and _is_moved(atom.denominator, built)
                new = floor_div(require_poly(built[atom.numerator]), require_poly(built[atom.denominator]), exact)
            elif isinstance(atom, Scalar):
                new = require_poly(built[atom])
            else:
                changed = change(atom)
                new = atom_poly(atom) if changed is None else changed
            product = mul(product, new)
        total = add(total, product)
    return total


def _is_moved(p: Poly, built: Mapping[Scalar, Scalar]) -> bool:
    """Whether only indices are others: what int64 holds wherever the indices run, it holds at some of the places.

    A value may be another one of its dtype, but no formula: that may leave int64 where the value does not.
    """
    return all(_is_moved(part, built) if isinstance(part, Poly) else _is_value(built[part], part) for part in p.parts)


def _is_value(new: Scalar, old: Scalar) -> bool:
    """Whether something stands for a value of the same dtype, and is no sum or product that is looked into."""
    if new.dtype != old.dtype:
        return False
    return isinstance(new, Load) or (isinstance(new, Call) and as_poly(new) is atom_poly(new))


def substitute(root: Scalar, atoms: Mapping[Any, Poly], scalars: Mapping[Scalar, Scalar] | None = None) -> Scalar:
    """Replace indices and sizes, and whole sub-expressions, all at once."""
    replaced = scalars or {}
    return rewrite(root, replaced.get, atoms.get)


def conjuncts(condition: Scalar) -> list[Scalar]:
    """The parts of a condition that all have to hold; a negated order between integers is an order again."""
    found: list[Scalar] = []
    stack = [condition]
    while stack:
        match stack.pop():
            case Call(function=f, arguments=(a, b)) if f.name == "and":
                stack += [b, a]
            case Call(function=f, arguments=(Call(function=g, arguments=(Poly() as p, Poly())),)) if (
                f.name == "not" and g.name == "ge"
            ):
                found.append(at_least_zero(require_poly(-p - 1)))
            case Call(function=f, arguments=(Call(function=g, arguments=(a, b)),)) if (
                f.name == "not" and g.name == "or"
            ):
                stack += [call("not", b), call("not", a)]
            case Call(function=f, arguments=(Call(function=g, arguments=(a,)),)) if f.name == g.name == "not":
                stack.append(a)
            case part:
                found.append(part)
    return found


def typed(x: Scalar, dtype: str) -> Scalar:
    """A branch as the dtype of the whole `where`; a weak number stays one beside integers of 64 bits."""
    counts = dtype in FLOATS or "uint32" in (dtype, x.dtype) or x.dtype == "int32"
    return call(dtype, x) if counts and x.dtype != dtype else x


def is_zero(x: Scalar) -> bool:
    """Whether an expression is the number 0 (not -0.0), under casts too."""
    while isinstance(x, Call) and x.function.name in ("float32", "float64", "int32", "int64", "uint32"):
        x = x.arguments[0]
    match x:
        case Const(text=text):
            return text in ("0", "0.0")
        case Poly():
            return x.constant == 0
    return False


@lru_cache(maxsize=8192)  # many passes ask for those of the same bodies
def scalar_cost(x: Scalar) -> float:
    """The work of evaluating an expression once, in additions; equal parts are evaluated once, subscripts are free."""
    total, seen, stack = 0.0, set[Scalar | FloorDiv](), [x]
    while stack:
        part = stack.pop()
        if part in seen or isinstance(part, Load):
            continue
        seen.add(part)
        if isinstance(part, Call):
            total += part.function.cost
        elif isinstance(part, Poly):
            divisions = {atom for atom in part.atoms if isinstance(atom, FloorDiv)} - seen
            total += FUNCTIONS["floordiv"].cost * len(divisions)
            if not fits(part):  # arithmetic of values, not of places
                total += sum(max(len(monomial), 1) for monomial, _ in part.terms) - 1
            seen |= divisions
        stack += children(part)
    return total
