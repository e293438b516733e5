"""What a model starts from: sizes, indices, and the tensors that the caller provides.

In: names, and the scopes they are in, shapes and dtypes. Out: size polynomials, index letters and leaves; `compute`
and `array` build on them.
"""

import itertools
import keyword
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable
from unicodedata import normalize
from weakref import WeakKeyDictionary

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from gradgen.errors import DTypeError, GraphError, ShapeError
from gradgen.graph.axes import as_shape, describe, dtype_name
from gradgen.graph.constants import constant_leaf, copy_numbers, numbers_of
from gradgen.graph.intern import intern
from gradgen.graph.names import CALLED, note_derived
from gradgen.graph.nodes import Leaf, Role, leaf, show_shape
from gradgen.graph.place import here
from gradgen.graph.scalar import Letter, Poly, atom_poly, size_symbol
from gradgen.graph.side_tables import side_table
from gradgen.graph.tensor import Tensor, made

DTYPES = ("float32", "float64", "int32", "int64", "uint32", "bool")
_letters = itertools.count()
_scope: ContextVar[str] = ContextVar("gradgen_scope", default="")


@runtime_checkable
class Initialiser(Protocol):
    """How a parameter gets its first value; `nn.init` has the usual ones."""

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """An array of this shape and dtype, from this generator."""
        ...


class Assigned(NamedTuple):
    """What is written into an array of zeros: at a subscript, the value of an expression."""

    subscript: str
    value: str
    draws: bool  # from the generator


@runtime_checkable
class WrittenInitialiser(Initialiser, Protocol):
    """One that a saved module can say: without it, callers of the module give the first values themselves."""

    def written(self, shape: Sequence[str], dtype: str, rng: str) -> list[Assigned]:
        """The same in text, for extents that may be sizes and a generator of this name."""
        ...


@dataclass(frozen=True, slots=True)
class GivenNumbers:
    """First values that are those of a constant; of one number, the same everywhere."""

    of: Leaf

    def draw(self, rng: Generator, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        numbers = numbers_of(self.of, dtype)
        assert numbers is not None
        return numbers if numbers.ndim else np.full(shape, numbers)


_initialisers: WeakKeyDictionary[Leaf, Initialiser] = side_table("initialisers")


def size(name: str) -> Poly:
    """A size that is known at call time, never negative; the same name is the same size.

    >>> B = size("B")
    >>> B is size("B")
    True
    """
    return size_symbol(checked_name(name, "size"))


def input(name: str, shape: Any, dtype: Any = "float32") -> Tensor:  # noqa: A001  # gg.input
    """A tensor that the caller gives with every call; no gradient is taken unless asked for.

    Args:
        name: a Python identifier; the name of the argument.
        shape: integers, sizes, and arithmetic on them.
        dtype: float32, float64, int32, int64, uint32 or bool.

    Raises:
        GraphError: the name is no identifier.
        ShapeError: the shape holds something that is no size.
        DTypeError: a dtype that is not among these.
    """
    return declared(name, shape, dtype, "input")


def param(name: str, shape: Any, dtype: Any = "float32", init: Initialiser | ArrayLike | None = None) -> Tensor:
    """A parameter: a tensor that is learned. Gradients are taken with respect to all parameters by default.

    Args:
        name: a Python identifier; inside `gg.scope` what stands in front of it is left out.
        shape: integers, sizes, and arithmetic on them.
        dtype: float32, float64, int32, int64, uint32 or bool.
        init: how `net.init` draws the first value, one of `gg.nn.init`; or a number, which is the same everywhere, or
            an array or nested lists of the shape; by default PyTorch's for a layer's weight (uniform within
            1 / sqrt(fan-in)) where there are two axes or more, and zeros otherwise. Saved modules hold arrays of at
            most 4,096 elements; of larger ones whoever calls the module gives the first values.

    Raises:
        GraphError, ShapeError, DTypeError: as for `input`, and for an `init` that is none, or of another shape, or
            with numbers that the dtype does not hold.
    """
    return declared(scoped(name, "tensor"), shape, dtype, "param", init)


def state(name: str, shape: Any, dtype: Any = "float32", init: Initialiser | ArrayLike | None = None) -> Tensor:
    """A tensor that updates carry from step to step without a gradient, such as an optimiser's average.

    `net.init` gives zeros unless `init` says otherwise; the rest is as for `param`.
    """
    return declared(scoped(name, "tensor"), shape, dtype, "state", init)


def scope(name: str) -> AbstractContextManager[None]:
    """Parameters, states, constants and layers declared inside are called `name_...`; scopes stand inside scopes.

        def block(h):
            return h + gg.tanh(h @ gg.param("W", (8, 8)))

        for k in range(3):
            with gg.scope(f"block{k}"):  # block0_W, block1_W, block2_W
                h = block(h)

    Inputs keep their names, by which calls give them.

    Raises:
        GraphError: the name is no identifier.
    """
    return _within(f"{scoped(name, 'scope')}_")


@contextmanager
def _within(names: str) -> Iterator[None]:
    token = _scope.set(names)
    try:
        yield
    finally:
        _scope.reset(token)


def scoped(name: Any, what: str) -> str:
    """A name with those of the scopes in front of it.

    Raises:
        GraphError: it is no identifier.
    """
    return f"{prefix()}{checked_name(name, what)}"


def prefix() -> str:
    """What the scopes that are open put in front of a name."""
    return _scope.get()


def index(name: str, size: Any = None) -> Poly:
    """An index for formulas, with the range 0 .. size - 1, or the range that its accesses give it.

    Raises:
        GraphError: the name is no identifier.
        ShapeError: the size is no size.
    """
    extent = None if size is None else as_shape(size)[0]
    return _letter(checked_name(name, "index"), extent)


def indices(names: str) -> tuple[Poly, ...]:
    """Several indices: `n, i, j = gg.indices("n i j")`. Their ranges follow from their accesses.

    Raises:
        GraphError: a name is no identifier.
    """
    if not isinstance(names, str) or not names.strip(" ,"):
        raise GraphError(f'{here()}gg.indices takes names in one text, as in n, i = gg.indices("n i"), not {names!r}.')
    return tuple(_letter(checked_name(name, "index"), None) for name in names.replace(",", " ").split())


def indices_over(shape: Any) -> tuple[Poly, ...]:
    """One index for every axis of a shape: i, j, k, ..."""
    sizes = as_shape(tuple(shape))
    names = "ijklmnopq" if len(sizes) <= 9 else [f"i{k}" for k in range(len(sizes))]
    return tuple(index(name, size) for name, size in zip(names, sizes, strict=False))


def initialiser(of: Leaf) -> Initialiser | None:
    """What `init` said for a leaf."""
    return _initialisers.get(of)


def derived(of: Tensor) -> None:
    """Note that the name of a leaf follows from where it stands: of several with one name, it may get a number."""
    assert isinstance(of.node, Leaf)
    note_derived(of.node)


def renamed(of: Leaf, name: str) -> Leaf:
    """The same leaf by another name."""
    found = leaf(name, of.shape, of.dtype, of.role)
    copy_numbers(of, found)
    if (init := initialiser(of)) is not None:
        _initialisers[found] = init
    return found


def letter_of(value: Any) -> Letter | None:
    """The index that a value is, if it is exactly one."""
    if isinstance(value, Poly) and len(value.atoms) == 1:
        atom = value.atoms[0]
        if isinstance(atom, Letter) and value is atom_poly(atom):
            return atom
    return None


def fresh(like: Letter) -> Letter:
    """Another index with the same name and range: what an index becomes inside a reducer."""
    found = letter_of(_letter(like.name, like.size))
    assert found is not None
    return found


def checked_name(name: Any, what: str) -> str:
    """A name that can stand in Python text.

    Raises:
        GraphError: it is no identifier, or a keyword.
    """
    refused = f"{name!r} cannot name {_ARTICLE[what]} {what}"
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise GraphError(f"{here()}{refused}: use a Python identifier, such as x1.")
    if name.startswith("_") and what in ("tensor", "output"):
        raise GraphError(f"{here()}{refused}: in generated code such names are hidden. Begin with a letter.")
    if name in CALLED and what in ("tensor", "output", "size"):
        raise GraphError(f"{here()}{refused}: generated code calls it. Use {name}_, say.")
    if (plain := normalize("NFKC", name)) != name:  # Python reads the one as the other
        raise GraphError(f"{here()}{refused}: Python reads it as {plain!r}. Use that.")
    return name


_ARTICLE = {"scope": "a", "size": "a", "tensor": "a", "index": "an", "layer": "a", "output": "an", "module": "a"}


def checked_dtype(dtype: Any, name: str) -> str:
    """The NumPy name of an element type that gradgen has.

    Raises:
        DTypeError: it has no such type.
    """
    found = dtype_name(dtype)
    if found not in DTYPES:
        raise DTypeError(f"{here()}{name} has dtype {dtype!r}; use one of {', '.join(DTYPES)}.")
    return found


def _letter(name: str, extent: Poly | None) -> Poly:
    serial = next(_letters)
    return atom_poly(intern(Letter, name, serial, extent, f"letter {serial:012d}"))


def declared(name: str, shape: Any, dtype: Any, role: Role, init: Initialiser | ArrayLike | None = None) -> Tensor:
    """A tensor that the caller provides, by its whole name."""
    made_leaf = leaf(checked_name(name, "tensor"), as_shape(shape), checked_dtype(dtype, name), role)
    if init is not None:
        _initialisers[made_leaf] = init if isinstance(init, Initialiser) else _given(init, made_leaf)
    return made(made_leaf, (), name)


def _given(init: Any, to: Leaf) -> GivenNumbers:
    """A number, an array or nested lists as the first values of a leaf.

    Raises:
        GraphError: it is none of these.
        ShapeError: an array of another shape.
        DTypeError: numbers that the dtype of the leaf does not hold.
    """
    is_array = isinstance(init, (bool, int, float, np.generic, np.ndarray, list, tuple))
    try:
        numbers = np.asarray(init) if is_array and not isinstance(init, np.ma.MaskedArray) else None
    except ValueError:  # lists of several lengths
        numbers = None
    if numbers is None or numbers.dtype.kind not in "biuf":
        raise GraphError(
            f"{here()}the init of {to.name} is {init!r}: give a number, an array, or one of gg.nn.init, such as "
            "gg.nn.init.zeros()."
        )
    fits = numbers.ndim == len(to.shape) and all(
        size.constant in (None, given) for size, given in zip(to.shape, numbers.shape, strict=True)
    )
    if numbers.ndim and not fits:
        raise ShapeError(
            f"{here()}{describe(to)} has an init of shape {show_shape(as_shape(numbers.shape))}: give numbers of its "
            "own shape, or one number for all."
        )
    try:
        return GivenNumbers(constant_leaf(numbers, dtype=to.dtype))
    except DTypeError:
        raise DTypeError(
            f"{here()}{to.name} has an init with numbers that its dtype {to.dtype} does not hold."
        ) from None
