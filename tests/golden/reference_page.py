"""The text of docs/reference.md: every public function, from its declaration or its docstring.

In: nothing. Out: `page()`. Derivatives are those that SymPy gives for the definitions; where one is declared to be
zero, or SymPy has none, the declared one stands.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import sympy

import gradgen as gg
from gradgen.graph.compositions import Composition
from gradgen.graph.declaration import ScalarFunction, argument_names
from gradgen.graph.functions import FUNCTIONS
from gradgen.lang import constants, elementwise, products, selecting, shapes, statistics
from gradgen.nn import init, optim

HEAD = """\
# Reference

`pytest tests/golden --update-golden` writes this page from the declarations and docstrings; `help(gg.sort)` shows all
of a docstring, with the errors that are raised. `docs/language.md` teaches the language, and `docs/semantics.md` says
what happens at kinks, to nan, and over empty axes.
"""

SCALAR = """\
## Functions of numbers

They work element by element, on tensors, formulas and numbers. The derivatives, by each argument in turn, are those
that SymPy gives; gradgen computes them in forms that neither overflow nor cancel, which a test proves equal. The
numbers in them are rounded here. NumPy's own functions (`np.exp(x)`) work on tensors, too.
"""

CONDITIONS = """\
## Conditions

They are true or false, element by element, and have no gradient.
"""


def _is_public(name: str, value: Any) -> bool:
    return inspect.isfunction(value) and not name.startswith("_")


def _own(module: ModuleType) -> set[str]:
    """The functions and classes that stand in a module."""
    return {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}


NETWORKS = {
    "linear layers and containers": "layers.linear layers.containers functional",
    "convolutions": "convolution layers.convolution",
    "pooling": "pooling layers.pooling",
    "other resolutions": "resampling layers.resampling",
    "attention and transformers": "attention positions layers.attention layers.embedding layers.transformer",
    "recurrences": "layers.cells layers.recurrent",
    "graphs": "layers.graph layers.graph_convolutions",
    "activations": "activations layers.activations layers.softmax",
    "normalisations": "normalisation running layers.normalisation layers.statistics",
    "dropout": "layers.dropout",
    "losses": "losses distances classification ctc layers.losses layers.distances layers.classification",
    "what layers are made of": "modules state_dicts summary",
}


def _of(modules: str) -> list[str]:
    """The names of gg.nn that stand in these modules of gradgen.nn, or that they pass on."""
    holders = [importlib.import_module(f"gradgen.nn.{module}") for module in modules.split()]
    stand = {name for holder in holders for name in (*getattr(holder, "__all__", ()), *_own(holder))}
    return [name for name in gg.nn.__all__ if name in stand and not inspect.ismodule(getattr(gg.nn, name))]


FAMILIES: dict[str, tuple[Any, Iterable[str]]] = {
    "Declarations": (gg, ["size", "index", "indices", "input", "param", "state", "scope"]),
    "Formulas": (gg, ["compute", "where", "padded", "accumulate", "scan", "materialize"]),
    "Reducers": (gg, ["sum", "mean", "max", "min", "logsumexp", "argmax", "argmin"]),
    "Tensors made of numbers": (gg, constants.__all__),
    "Shapes": (gg, shapes.__all__),
    "Products": (gg, products.__all__),
    "Statistics": (gg, statistics.__all__),
    "Chosen by data": (gg, selecting.__all__),
    "Functions of your own, and casts": (gg, ["function", "cast"]),
    "From graph to graph": (gg, ["grad", "vjp", "jvp", "hvp", "jacobian", "hessian", "vmap", "custom", "check_grad"]),
    "Compilation": (gg, ["compile"]),
    "What `gg.compile` returns": (gg.Network, [name for name, f in vars(gg.Network).items() if _is_public(name, f)]),
    **{f"gg.nn: {family}": (gg.nn, _of(modules)) for family, modules in NETWORKS.items()},
    "gg.nn.init": (init, init.__all__),
    "gg.optim": (optim, [name for name in optim.__all__ if _is_public(name, getattr(optim, name))]),
}


def page() -> str:
    """The whole page."""
    functions = [(name, getattr(getattr(gg, name), "declared", None)) for name in elementwise.__all__]
    declared = [(name, found) for name, found in functions if found is not None]
    smooth = [_row(name, found) for name, found in declared if not _is_condition(found)]
    conditions = [[_code(_call(name, found)), found.meaning] for name, found in declared if _is_condition(found)]
    parts = [HEAD, SCALAR, _table(("function", "value", "derivative", "in words", "at kinks"), smooth)]
    parts += [CONDITIONS, _table(("function", "in words"), conditions)]
    for title, (holder, names) in FAMILIES.items():
        rows = [[_code(_signature(name, getattr(holder, name))), _summary(getattr(holder, name))] for name in names]
        parts += [f"## {title}\n", _table(("call", "what it is"), sorted(rows))]
    return "\n".join(parts)


# ---------------------------------------------------------------- functions of numbers


def _row(name: str, declared: ScalarFunction | Composition) -> list[str]:
    formula = declared.formula if isinstance(declared, Composition) else declared.definition
    derivatives = [_derivative(declared, k) for k in range(len(_arguments(declared)))]
    shown = "; ".join(map(_code, derivatives))
    return [_code(_call(name, declared)), _code(formula), shown, declared.meaning, declared.kink]


def _call(name: str, declared: ScalarFunction | Composition) -> str:
    given = [key if value is None else f"{key}={value}" for key, value in _arguments(declared).items()]
    return f"{name}({', '.join(given)})"


def _arguments(declared: ScalarFunction | Composition) -> dict[str, float | None]:
    """The arguments, with their default values."""
    return declared.parameters if isinstance(declared, Composition) else dict.fromkeys(argument_names(declared))


def _is_condition(declared: ScalarFunction | Composition) -> bool:
    return not isinstance(_value(declared), sympy.Expr)


def _value(declared: ScalarFunction | Composition) -> Any:
    """What a declaration means to SymPy."""
    letters = {name: sympy.Symbol(name, real=True) for name in _arguments(declared)}
    if isinstance(declared, Composition):
        return sympy.sympify(declared.formula, locals={**_OURS, **letters})
    return sympy.sympify(declared.definition, locals=letters)


def _derivative(declared: ScalarFunction | Composition, at: int) -> str:
    written = declared.partials if isinstance(declared, ScalarFunction) else None
    if written is not None and written[at] == "0":
        return "0"
    derivative = sympy.diff(_value(declared), sympy.Symbol(list(_arguments(declared))[at], real=True))
    if written is not None and derivative.has(sympy.Derivative, sympy.Subs):
        return written[at]
    return str(derivative.xreplace({number: sympy.Float(number, 6) for number in derivative.atoms(sympy.Float)}))


def _meant(function: ScalarFunction) -> Callable[..., Any]:
    """A scalar function as a function of SymPy's expressions."""
    letters = argument_names(function)
    return lambda *xs: sympy.sympify(function.definition, locals=dict(zip(letters, xs, strict=True)))


_OURS = {name: _meant(function) for name, function in FUNCTIONS.items()}


# ---------------------------------------------------------------- the rest


def _signature(name: str, value: Callable[..., Any]) -> str:
    """The call as it is written: parameters and defaults, without their types."""
    given = [p for p in inspect.signature(value).parameters.values() if p.name not in ("self", "unnamed", "_", "__")]
    parameters = [p.replace(annotation=p.empty, default=_by_name(p.default)) for p in given]
    return f"{name}{inspect.Signature(parameters)}"


class _Named:
    """A function as a default."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def _by_name(default: Any) -> Any:
    return _Named(default.__name__) if inspect.isfunction(default) else default


def _summary(value: Any) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), ["---" for _ in head], *map(list, rows)]
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in lines]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in escaped)
