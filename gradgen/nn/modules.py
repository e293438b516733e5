"""Layers as objects: what they are made of has its place in the names of parameters, as in PyTorch.

In: parameters, and layers inside layers, as attributes. Out: objects that are called with tensors; one object called
twice shares its parameters. Parameters are declared when they are first asked for: by then a layer has its place.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NoReturn
from weakref import ref

from numpy.typing import ArrayLike

from gradgen.errors import GraphError, nearest
from gradgen.graph.node_records import Role
from gradgen.graph.origin import naming
from gradgen.graph.place import Statement, here, statement_here
from gradgen.graph.tensor import Tensor
from gradgen.lang.declare import Initialiser, declared, derived, prefix, scoped
from gradgen.nn.arguments import as_tensors

__all__ = ["Buffer", "Module", "Parameter", "layers_in", "telling"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What an attribute of a `Module` is declared as: a tensor that is learned.

    Its name is that of the layer with the attribute behind it. `init` is that of `gg.param`.
    """

    shape: Sequence[Any]
    dtype: str = "float32"
    init: Initialiser | ArrayLike | None = None


@dataclass(frozen=True, slots=True)
class Buffer:
    """What an attribute of a `Module` is declared as: a tensor that updates carry from step to step.

    It has no gradient, as a running mean; name and `init` are those of a `Parameter`.
    """

    shape: Sequence[Any]
    dtype: str = "float32"
    init: Initialiser | ArrayLike | None = None


class Module:
    """Layers inside layers: a class of one's own says in `forward` what it computes of its attributes.

    >>> from gradgen import nn
    >>> class Residual(nn.Module):
    ...     def __init__(self, width):
    ...         self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
    ...     def forward(self, x):
    ...         return x + self.fc2(nn.relu(self.fc1(x)))

    Attributes may be layers, lists, tuples and dicts of layers, and `nn.Parameter`. Of `net = Residual(8)` the first
    weight is the parameter `net_fc1_weight`; in a state_dict it is `fc1.weight`. A `name` that is given stands for all
    that is in front of an attribute's own.
    """

    _given: str | None  # a name that was given
    _at: tuple["Module", str] | None  # what it is an attribute of, and which
    _made: Statement | None  # by which the object was made
    _scope: str  # in which it was made
    _declared: dict[str, Parameter | Buffer]
    _tensors: dict[str, Tensor]
    held: list[tuple[str, Any]]  # layers and functions, by names that need not be attributes
    training: bool  # whether it computes what a step of training does, or what the trained network does

    def __new__(cls, *_: Any, **__: Any) -> "Module":
        self = super().__new__(cls)
        made = statement_here()
        for key, value in (
            ("_given", None),
            ("_at", None),
            ("_made", made),
            ("_scope", prefix()),
            ("_declared", {}),
            ("_tensors", {}),
            ("held", []),
            ("training", True),
        ):
            object.__setattr__(self, key, value)
        if made is not None:
            _note(made, self)
        return self

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the layer computes."""
        raise GraphError(f"{here()}{type(self).__name__} has no forward, which says what the layer computes.")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """What the layer computes.

        Arrays, nested lists of numbers and numbers are constants of the model, where `forward` is annotated to take a
        `gg.Tensor`.

        Raises:
            DTypeError: there, anything else; and tensors of PyTorch.
        """
        if not all(isinstance(x, Tensor) for x in (*inputs, *options.values())):
            own = (said.dtype for _, layer in self.named_modules() for said in layer._declared.values())
            inputs, options = as_tensors(self, inputs, options, own)
        found = self.forward(*inputs, **options)
        if (told := _told.get()) is not None:
            told(self, (*inputs, *options.values()), found)
        return found

    def train(self, mode: bool = True) -> "Module":
        """From here on compute what a step of training does (the default), or, without `mode`, what `eval` says.

        Layers inside do the same. What was computed before stays as it is: a network for each of the two is two calls
        of one layer.
        """
        for _, layer in self.named_modules():
            object.__setattr__(layer, "training", mode)
        return self

    def eval(self) -> "Module":
        """From here on compute what the trained network does: nothing dropped, statistics as kept."""
        return self.train(False)

    def __repr__(self) -> str:
        """Class, name and parameters with their shapes; then the layers inside, by their places."""
        known = self._given or self._at or (self._made is not None and self._made.name)
        return _shown(self, self.name if known else None, ())

    def __deepcopy__(self, memo: dict[int, Any]) -> "Module":
        """Another layer of the same form, with parameters of its own."""
        new = memo[id(self)] = type(self).__new__(type(self))
        for key, value in self.__dict__.items():
            if key not in ("_at", "_made", "_scope", "_tensors"):
                object.__setattr__(new, key, deepcopy(value, memo))
        for key, value in _attributes(new):
            new._place(key, value)
        return new

    # ------------------------------------------------------------ names

    @property
    def name(self) -> str:
        """What the names of its parameters begin with in the program."""
        if self._given is not None:
            return self._given
        if self._at is not None:
            return f"{self._at[0].name}_{self._at[1].replace('.', '_')}"
        found = self._made.name if self._made is not None else None
        own = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower() if found is None else found
        alike = [x for x in _made_by(self._made) if x._at is None and x._given is None]
        several = [x for x in alike if x._scope == self._scope]
        return f"{self._scope}{own}" if len(several) < 2 else f"{self._scope}{own}_{several.index(self)}"

    def called(self, name: str | None) -> None:
        """Take a name that is given, if it is.

        Raises:
            GraphError: it is no identifier.
        """
        if name is not None:
            object.__setattr__(self, "_given", scoped(name, "layer"))

    # ------------------------------------------------------------ attributes

    def declare(self, key: str, what: Parameter | Buffer | None) -> None:
        """Make an attribute a parameter, or None."""
        self.__setattr__(key, what)

    def hold(self, layers: Sequence[tuple[str, Any]]) -> None:
        """Have layers and functions inside by names that need not be attributes, such as "0"."""
        object.__setattr__(self, "held", list(layers))
        for key, layer in layers:
            self._place(key, layer)

    def _place(self, key: str, value: Any) -> None:
        for path, layer in layers_in(key, value):
            if layer._at is None and layer is not self and not layer._tensors:
                object.__setattr__(layer, "_at", (self, path))

    def __setattr__(self, key: str, value: Any) -> None:
        if isinstance(value, (Parameter, Buffer)):
            self._declared[key] = value
            return
        self._place(key, value)
        object.__setattr__(self, key, value)

    def __getattr__(self, key: str) -> Any:
        own = self.__dict__.get("_declared", {})
        if key not in own:
            self._missing(key)
        if key not in self._tensors:
            said = own[key]
            role: Role = "param" if isinstance(said, Parameter) else "state"
            name = f"{self.name}_{key}"
            with naming(name):
                made = declared(name, said.shape, said.dtype, role, said.init)
            if self._given is None:
                derived(made)
            self._tensors[key] = made
        return self._tensors[key]

    def _missing(self, key: str) -> NoReturn:
        known = [*self.__dict__.get("_declared", {}), *(k for k in self.__dict__ if not k.startswith("_"))]
        raise AttributeError(f"{type(self).__name__} has no attribute {key!r}{nearest(key, known, '')}")

    # ------------------------------------------------------------ what is inside

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """The layer itself, called "", and all layers inside of it, each once."""
        seen: set[int] = set()
        yield from _walk("", self, seen)

    def own_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """What attributes are declared as parameters or carried, by the names of the attributes."""
        return ((key, getattr(self, key)) for key in self._declared)

    def inner_layers(self) -> Iterator[tuple[str, "Module"]]:
        """The layers that attributes are, or hold, by their places."""
        return _inside(self)

    def parameters(self) -> Iterator[Tensor]:
        """The parameters, without what is only carried."""
        for _, layer in self.named_modules():
            for key, said in layer._declared.items():
                if isinstance(said, Parameter):
                    yield getattr(layer, key)


def layers_in(key: str, value: Any) -> Iterator[tuple[str, Module]]:
    """The layers that the value of an attribute is, or has among its elements, by their places behind `key`."""
    match value:
        case Module():
            yield key, value
        case list() | tuple():
            for k, x in enumerate(value):
                yield from layers_in(f"{key}.{k}" if key else str(k), x)
        case dict():
            for k, x in value.items():
                yield from layers_in(f"{key}.{k}" if key else str(k), x)


def _attributes(layer: Module) -> list[tuple[str, Any]]:
    own = [(key, value) for key, value in layer.__dict__.items() if not key.startswith("_") and key != "held"]
    return [*layer.held, *own]


def _inside(layer: Module) -> Iterator[tuple[str, Module]]:
    for key, value in _attributes(layer):
        yield from layers_in(key, value)


def _walk(path: str, layer: Module, seen: set[int]) -> Iterator[tuple[str, Module]]:
    if id(layer) not in seen:
        seen.add(id(layer))
        yield path, layer
        for key, inner in _inside(layer):
            yield from _walk(f"{path}.{key}" if path else key, inner, seen)


def _shown(layer: Module, name: str | None, above: tuple[Module, ...]) -> str:
    if layer in above:
        return "..."
    own = ", ".join(f"{key} ({', '.join(map(str, said.shape))})" for key, said in layer._declared.items())
    inside = [f"({key}): {_part(value, (*above, layer))}" for key, value in _held(layer)]
    head = " ".join(filter(None, (type(layer).__name__, name)))
    if not inside:
        return f"{head}({own})"
    lines = "\n".join([own, *inside] if own else inside).replace("\n", "\n  ")
    return f"{head}(\n  {lines}\n)"


def _part(value: Any, above: tuple[Module, ...]) -> str:
    if isinstance(value, Module):
        return _shown(value, value._given, above)
    return getattr(value, "__name__", type(value).__name__)


def _held(layer: Module) -> Iterator[tuple[str, Any]]:
    """Layers inside, and functions that stand among them."""
    places = {key for key, _ in layer.held}
    yield from layer.held
    yield from ((key, inner) for key, inner in _inside(layer) if key not in places)


# ---------------------------------------------------------------- calls, as they are made

Call = Callable[[Module, tuple[Any, ...], Any], None]  # a layer, what it is called with, what it computes
_told: ContextVar[Call | None] = ContextVar("gradgen_calls", default=None)


@contextmanager
def telling(of: Call) -> Iterator[None]:
    """Have every call of a layer told, those of the layers inside it first."""
    token = _told.set(of)
    try:
        yield
    finally:
        _told.reset(token)


# ---------------------------------------------------------------- several of one statement

_by_statement: dict[Statement, list["ref[Module]"]] = {}


def _note(made: Statement, layer: Module) -> None:
    """Remember which statement made a layer: `[nn.Linear(8, 8) for _ in range(3)]` makes three of one name."""
    for old in [s for s, layers in _by_statement.items() if all(x() is None for x in layers)]:
        del _by_statement[old]
    _by_statement.setdefault(made, []).append(ref(layer))


def _made_by(made: Statement | None) -> list[Module]:
    """The layers of one statement that are still there."""
    if made is None:
        return []
    return [x for x in (found() for found in _by_statement.get(made, [])) if x is not None]
