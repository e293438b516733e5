"""What `gg.compile` is asked for, checked before any pass runs: outputs, names, updates, options.

In: the arguments as given. Out: a `Model` and `Options`, or an error with the user's line. `network` goes on.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradgen.errors import CopiesWarning, DTypeError, GraphError, OptionError, ShapeError, StatesWarning
from gradgen.graph.axes import describe, dtype_name, shown
from gradgen.graph.constants import numbered
from gradgen.graph.derivatives import derivative, remember_derivatives
from gradgen.graph.nodes import CARRIED, Leaf, Node, Shape, all_inputs, same_shape, toposort
from gradgen.graph.origin import note_result, origin
from gradgen.graph.place import here, warn
from gradgen.graph.scalar import FLOATS, Poly, SizeSymbol
from gradgen.graph.tensor import Tensor
from gradgen.lang.declare import checked_name, renamed
from gradgen.model import Model
from gradgen.nn.running import left_alone
from gradgen.options import TARGETS, Options
from gradgen.passes.lower.naming import GENERATED, sizes_of
from gradgen.passes.prepare.stabilize import rules_to_skip
from gradgen.passes.rebuild.nodes import replacements

__all__ = ["asked_model", "asked_options", "leaves_of"]

COPIES = 50  # of one line, from which on a loop of the model is worth more than one in Python


def asked_model(outputs: Any, name: Any, wrt: Any, updates: Any, loss: Any) -> Model:
    """The model of `gg.compile`.

    Raises:
        GraphError: what is no tensor, names that clash, a gradient that is not defined.
        ShapeError: an update of another shape or dtype.
    """
    note_result()
    named = _outputs(outputs)
    name = checked_name(name, "module")
    changed = _updates({} if updates is None else updates)
    _warn_of_states([*named.values(), *changed.values()], changed)
    wanted = None if wrt is None else _wanted(wrt, named)
    numbered = _numbered([*named.values(), *changed.values(), *changed], named, wanted or ())
    if numbered:
        named = {key: numbered.get(node, node) for key, node in named.items()}
        changed = {_as_leaf(numbered.get(x, x)): numbered.get(node, node) for x, node in changed.items()}
        wanted = None if wanted is None else [_as_leaf(numbered.get(x, x)) for x in wanted]
    roots = [*named.values(), *changed.values(), *changed]
    leaves = leaves_of(roots)
    _refuse_clashes(roots, leaves, named)
    if wanted is None:
        wanted = [x for x in leaves if x.role == "param" and x.dtype in FLOATS]
    _warn_of_copies(roots)
    return Model(name, named, tuple(wanted), _loss(loss, named), changed)


def _numbered(roots: Sequence[Node], outputs: Iterable[str], wanted: Collection[Leaf]) -> dict[Node, Node]:
    """What nodes become where leaves that nobody has named are called like others, and get a number behind the name.

    Constants of one value are one leaf, but for those by which gradients are wanted.
    """
    leaves = {n for n in toposort(roots, all_inputs) if isinstance(n, Leaf)}
    others: dict[Node, Node] = {}
    for x, (name, first) in numbered(leaves, {*outputs, *sizes_of(roots)}, wanted).items():
        if first is not x:
            others[x] = others.get(first, first)
        elif name != x.name:
            others[x] = renamed(x, name)
    if not others:
        return {}
    found = replacements(roots, others)
    for old, new in found.items():
        known = derivative(old)
        if known is not None and new is not old:
            by = _as_leaf(found.get(known.by, known.by))
            remember_derivatives(found.get(known.of, known.of), [by], [new], known.skip)
    return found


def _as_leaf(node: Node) -> Leaf:
    assert isinstance(node, Leaf)
    return node


def leaves_of(roots: Sequence[Node]) -> list[Leaf]:
    """The leaves below the roots, in the order of their declaration; names must differ."""
    found = sorted({n for n in toposort(roots, all_inputs) if isinstance(n, Leaf)}, key=lambda x: x.serial)
    seen: set[str] = set()
    for x in found:
        if x.name in seen:
            raise GraphError(
                f"{here()}two tensors are called {x.name!r}: give every input, parameter, state, constant and layer "
                "(name=...) its own name."
            )
        seen.add(x.name)
    return found


def _warn_of_copies(roots: Sequence[Node]) -> None:
    """Tell where a loop in Python has written a step many times; layers with parameters of their own are no copies."""
    runs: dict[tuple[str, int, Shape], set[int]] = {}
    order = toposort(roots, all_inputs)
    for node in order:
        found = origin(node)
        if found is not None and not isinstance(node, Leaf):
            runs.setdefault((found.file, found.line, node.shape), set()).add(found.execution)
    place, most = max(runs.items(), key=lambda item: len(item[1]), default=(None, set[int]()))
    own = sum(1 for node in order if isinstance(node, Leaf) and node.role == "param")
    if place is not None and len(most) >= max(COPIES, own + 1):
        warn(
            f"{Path(place[0]).name}:{place[1]}: the model has {len(most)} copies of this line, as a loop in Python "
            "makes them, and every copy is compiled. gg.scan writes a step once, a formula over an index an element.",
            CopiesWarning,
        )


def _warn_of_states(roots: Sequence[Node], updated: Collection[Node]) -> None:
    """Tell which states of layers stay as they are where a step of training changes others."""
    left = left_alone(roots, updated) if updated else {}
    if left:
        said = "; ".join(
            f"no update changes {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}, "
            f"so that {otherwise}"
            for otherwise, names in left.items()
        )
        warn(f"{said}. Give updates=... | nn.running_updates(layer).", StatesWarning)


def asked_options(
    model: Model,
    dtype: Any,
    sizes: Any,
    skip: Any,
    strict: Any = False,
    deterministic: Any = False,
    target: Any = "cpu",
) -> Options:
    """The options of `gg.compile`.

    Raises:
        OptionError: one has a value that it cannot have.
    """
    if not isinstance(target, str) or target not in TARGETS:
        known = " or ".join(map(repr, TARGETS))
        raise OptionError(
            f"{here()}target={target!r}: networks are compiled for {known}, and for nothing else yet. Leave target out."
        )
    if dtype_name(dtype) not in ("float32", "float64"):
        raise OptionError(f"{here()}dtype={dtype!r}: give 'float32' or 'float64'.")
    for name, value in (("strict", strict), ("deterministic", deterministic)):
        if not isinstance(value, bool):
            raise OptionError(f"{here()}{name}={value!r}: give True or False.")
    given = _sizes(model, {} if sizes is None else sizes)
    return Options(dtype_name(dtype), given, rules_to_skip(skip), strict, deterministic, target)


def _sizes(model: Model, given: Any) -> dict[str, int]:
    known = sizes_of(model.roots)
    if not isinstance(given, Mapping):
        raise OptionError(f"{here()}sizes={given!r}: give numbers by the names of sizes, as in sizes={{'B': 32}}.")
    found: dict[str, int] = {}
    for key, value in given.items():
        name = _size_name(key)
        if name not in known:
            raise OptionError(
                f"{here()}sizes: {shown(key)} is no size of the model, which has {', '.join(known) or 'none'}."
            )
        if not hasattr(value, "__index__") or isinstance(value, (bool, Poly)) or value < 0:
            raise OptionError(f"{here()}sizes: {name} is {shown(value)}: give an integer that is not negative.")
        found[name] = int(value)
    return found


def _size_name(key: Any) -> Any:
    """The name of a size, which may be given as the size itself."""
    match key:
        case Poly(atoms=(SizeSymbol(name=name),)):
            return name
    return key


def _outputs(outputs: Any) -> dict[str, Node]:
    given = {"y": outputs} if isinstance(outputs, Tensor) else outputs
    if not isinstance(given, Mapping):
        raise GraphError(
            f"{here()}gg.compile takes a tensor, or tensors by the names of the outputs, as in "
            f"{{'loss': loss}}, not {shown(outputs)}."
        )
    if not given:
        raise GraphError(f"{here()}there is nothing to compile: give at least one output.")
    found: dict[str, Node] = {}
    for key, t in given.items():
        name = checked_name(key, "output")
        if not isinstance(t, Tensor):
            raise GraphError(f"{here()}output {name} is {shown(t)}: give a tensor, such as gg.compute makes.")
        _check_outside(t, f"output {name}")
        found[name] = t.node
    return found


def _check_outside(t: Tensor, what: str) -> None:
    """Refuse what has a value inside of a scan, or of a function that is mapped, only."""
    if t.node.steps:
        scan = ("body", "gg.scan", "the loop")
        inside, source, outside = ("function", "gg.vmap", "it") if min(t.node.steps) < 0 else scan
        raise GraphError(
            f"{here()}{what} is made of what the {inside} of {source} is called with, which has no value "
            f"outside {outside}: return it from the {inside}, and take it from what {source} returns."
        )


def _updates(updates: Any) -> dict[Leaf, Node]:
    if not isinstance(updates, Mapping):
        raise GraphError(f"{here()}updates={shown(updates)}: give new values by tensor, as in {{w: w - 0.1 * d_w}}.")
    changed: dict[Leaf, Node] = {}
    for t, new in updates.items():
        x = _leaf(t, "updates")
        if x.role not in CARRIED:
            what = "an input, which every call gives" if x.role == "input" else f"a {x.role}, which has one value"
            raise GraphError(f"{here()}updates hold {x.name}, {what}: declare a gg.state or gg.param.")
        if not isinstance(new, Tensor):
            raise GraphError(f"{here()}the update of {x.name} is {shown(new)}: give a tensor.")
        _check_outside(new, f"the update of {x.name}")
        if not same_shape(x.shape, new.node.shape) or x.dtype != new.dtype:
            raise ShapeError(
                f"{here()}the update of {x.name} is {new.dtype} {describe(new.node)}, and {describe(x)} is "
                f"{x.dtype}: shapes and dtypes must be equal."
            )
        changed[x] = new.node
    return changed


def _wanted(wrt: Any, outputs: Mapping[str, Node]) -> list[Leaf]:
    several = [wrt] if isinstance(wrt, (Tensor, str)) or not isinstance(wrt, Iterable) else list(wrt)
    wanted = [_leaf(t, "wrt") for t in several]
    below = set(toposort(list(outputs.values()), all_inputs))
    smooth = set(toposort([y for y in outputs.values() if y.dtype in FLOATS], all_inputs))
    for at, x in enumerate(wanted):
        if x.dtype not in FLOATS:
            raise DTypeError(
                f"{here()}wrt names {x.name}, which is {x.dtype}, and only floats have gradients: declare it as "
                "float32, or leave it out."
            )
        if x in wanted[:at]:
            raise GraphError(f"{here()}wrt names {x.name} twice.")
        if x not in below:
            raise GraphError(f"{here()}no output depends on {x.name}: leave it out of wrt, or use it in an output.")
        if x not in smooth:
            raise GraphError(
                f"{here()}no float output depends on {x.name}, and others have no gradient: leave it out of wrt."
            )
    return wanted


def _leaf(t: Any, what: str) -> Leaf:
    if not isinstance(t, Tensor) or not isinstance(t.node, Leaf):
        raise GraphError(
            f"{here()}{what} names declared tensors (gg.input, gg.param, gg.state), and {shown(t)} is none."
        )
    return t.node


def _loss(loss: Any, outputs: Mapping[str, Node]) -> str | None:
    scalars = [key for key, node in outputs.items() if not node.shape and node.dtype in FLOATS]
    if loss is None:
        return scalars[0] if len(scalars) == 1 else None
    if isinstance(loss, Tensor):
        named = [key for key, node in outputs.items() if node is loss.node]
        raise GraphError(
            f"{here()}loss is the name of an output, not a tensor: "
            + (f'loss="{named[0]}".' if named else 'gg.compile({"loss": loss}, loss="loss").')
        )
    if loss not in scalars:
        those = f"those are {', '.join(scalars)}" if scalars else "there is none: take a sum or a mean"
        raise GraphError(f"{here()}loss={shown(loss)} names no output that is a float scalar; {those}.")
    return str(loss)


def _refuse_clashes(roots: Sequence[Node], leaves: Sequence[Leaf], outputs: Mapping[str, Node]) -> None:
    """Sizes, arguments and outputs are all names in one generated file."""
    arguments = {x.name: x for x in leaves}
    for name in outputs:
        if name in arguments:
            raise GraphError(
                f"{here()}{name!r} names an output and {describe(arguments[name])}: give the output another name, "
                f"as in gg.compile({{'{name}_': ...}})."
            )
    for name in sizes_of(roots):
        if name in arguments or name in outputs:
            raise GraphError(f"{here()}{name!r} names a size and a tensor: use another name for one of them.")
        if name in GENERATED:
            raise GraphError(f"{here()}{name!r} cannot name a size: generated code calls it. Use {name}_, say.")
